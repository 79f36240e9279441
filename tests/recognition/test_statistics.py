"""Rates, intervals and curves against plain reckoning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.statistics import (
    Histogram,
    equal_error_rate,
    fold_accuracy,
    rate_of,
    true_rate_at,
    wilson,
)


@pytest.mark.parametrize(
    ("rate", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score, no correction).
    [(81 / 263, 263, 0.2553, 0.3662), (15 / 148, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1 / 29, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_gives_the_published_intervals(rate: float, n: int, low: float, high: float) -> None:
    assert wilson(rate, n) == pytest.approx((low, high), abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_the_rate_lies_in_its_interval(rate: float, n: int) -> None:
    low, high = wilson(rate, n)
    assert 0 <= low <= rate <= high <= 1


def test_no_trials_is_no_rate() -> None:
    assert rate_of(0, 0) is None
    assert rate_of(50, 200, 40) == {"rate": 0.25, "n": 40, "ci95": list(wilson(0.25, 40))}


def both(genuine: list[float], impostor: list[float]) -> tuple[Histogram, Histogram]:
    made = Histogram.empty(), Histogram.empty()
    made[0].add(np.array(genuine))
    made[1].add(np.array(impostor))
    return made


def test_error_rates_of_a_small_case() -> None:
    """One genuine score of four below one impostor score of four: 25 % both ways."""
    histograms = both([0.3, 0.7, 0.8, 0.9], [0.0, 0.1, 0.2, 0.5])
    assert equal_error_rate(*histograms) == pytest.approx(0.25)
    assert true_rate_at(*histograms, 0.25) == pytest.approx(1.0)
    assert true_rate_at(*histograms, 0.2) is None, "four impostors cannot show a fifth"
    assert equal_error_rate(*both([0.8, 0.9], [0.1, 0.2])) == 0


def test_a_failure_to_acquire_is_never_accepted() -> None:
    histograms = both([-1.0, 0.9, 0.9, 0.9], [0.1] * 100)
    assert true_rate_at(*histograms, 0.01) == pytest.approx(0.75)


def test_folds_judge_by_the_threshold_of_the_others() -> None:
    """The first fold's scores lie elsewhere: judged by the others' threshold it is half wrong."""
    fold = [0.9, 0.1] * 5
    scores = [0.9, 0.6] * 5 + fold * 9
    same = [True, False] * 50
    assert fold_accuracy(scores, same) == pytest.approx(0.95)
    assert fold_accuracy(fold * 10, same) == 1

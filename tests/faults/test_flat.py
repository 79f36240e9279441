"""The rule by which a long run is called flat: it must find a leak, and not noise."""

from __future__ import annotations

import random

import pytest

from tests.faults.flat import STRETCHES, growth, last_half
from tests.faults.rig import Broken
from tests.faults.yearcheck import MOST_KB, Sample, steady

VISITS = 217
"""A day's, in a year of 100,000."""


def year(leak: float = 0.0, objects: float = 0.0, jump_kb: int = 0) -> list[Sample]:
    """230 evenings with noise of a megabyte, first filling; then `leak` bytes a visit are lost."""
    rng = random.Random(3)
    return [
        Sample(
            day, day * VISITS,
            rss_kb=200_000 + min(day, 80) * 500 + rng.randrange(1024) + jump_kb * (day > 300)
            + int(day * VISITS * leak / 1024),
            heap_kb=40_000 + rng.randrange(300), objects=400_000 + rng.randrange(4000)
            + int(day * VISITS * objects),
            files=1, log=1, rows=1, oldest_days=1.0,
        )
        for day in range(0, 460, 2)
    ]  # fmt: skip


def test_what_fills_once_is_flat_and_says_its_interval() -> None:
    said = steady(year())
    assert "resident memory" in said
    assert "95 %" in said
    assert "too short" not in said


@pytest.mark.parametrize("lost", [{"leak": 200.0}, {"objects": 1.0}, {"jump_kb": 20_000}])
def test_a_leak_is_found(lost: dict[str, float]) -> None:
    with pytest.raises(Broken, match="not shown to be flat"):
        steady(year(**lost))  # type: ignore[arg-type]


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(8)
    x = [float(n) for n in range(115)]
    held = 0
    for _ in range(300):
        found = growth(x, [3 * at + rng.gauss(0, 40) for at in x])
        assert found is not None
        held += found.low < 3 < found.high
    assert 0.9 < held / 300 < 0.99
    assert found.over == 114


def test_a_short_run_is_held_to_two_points_alone() -> None:
    samples = year()[: 2 * STRETCHES]
    assert growth([1.0, 2.0], [1.0, 2.0]) is None
    assert "too short" in steady(samples)
    worse = [*samples[:-1], Sample(**{**vars(samples[-1]), "rss_kb": 300_000 + MOST_KB})]
    with pytest.raises(Broken, match="grew"):
        steady(worse)
    assert len(last_half(samples)) == STRETCHES

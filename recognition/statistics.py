"""Rates with their uncertainty, and the curves of a verification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""
BINS = 4001
"""Bins of a score histogram from -1 to 1: steps of 0.0005, a hundredth of the spread of scores."""

FALSE_RATES = (0.01, 0.001, 0.0001, 0.00001)
"""False rates at which reports give the true rate."""


def name_of(rate: float) -> str:
    """A false rate as a key of the report: "0.001"."""
    return f"{rate:.5f}".rstrip("0")


def wilson(rate: float, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of `rate` (0 to 1) over `n` trials; (0, 1) without trials."""
    if n <= 0:
        return 0.0, 1.0
    square = Z95**2
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = Z95 * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / (1 + square / n)
    # At the ends the formula is exact; rounding must not take the rate out of its interval.
    return max(0.0, min(middle - half, rate)), min(1.0, max(middle + half, rate))


def rate_of(hits: float, trials: float, n: int | None = None) -> dict[str, object] | None:
    """{"rate", "n", "ci95"}, or None without trials. n: distinct pictures, where `trials` counts
    some of them several times."""
    if trials <= 0:
        return None
    rate = hits / trials
    distinct = int(trials if n is None else n)
    return {"rate": rate, "n": distinct, "ci95": list(wilson(rate, distinct))}


@dataclass
class Histogram:
    """Counts of scores from -1 to 1."""

    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Histogram:
        """No scores yet."""
        return cls(np.zeros(BINS, np.int64))

    def add(self, scores: NDArray[np.floating]) -> None:
        """Count `scores`, any shape; below -1 counts as -1."""
        at = np.rint((np.clip(scores.reshape(-1), -1, 1) + 1) * ((BINS - 1) / 2)).astype(np.int64)
        self.counts += np.bincount(at, minlength=BINS)

    @property
    def total(self) -> int:
        """Scores counted."""
        return int(self.counts.sum())

    def at_least(self) -> NDArray[np.float64]:
        """Share of scores at or above each bin, shape (BINS,), falling from 1."""
        tail = np.cumsum(self.counts[::-1])[::-1]
        return np.asarray(tail / max(self.total, 1), np.float64)

    @staticmethod
    def scores() -> NDArray[np.float64]:
        """The middle of each bin."""
        return np.linspace(-1, 1, BINS)


def equal_error_rate(genuine: Histogram, impostor: Histogram) -> float:
    """Where the share of genuine scores below equals that of impostor scores at or above."""
    misses, alarms = 1 - genuine.at_least(), impostor.at_least()
    at = int(np.argmin(np.abs(misses - alarms)))
    return float((misses[at] + alarms[at]) / 2)


def true_rate_at(genuine: Histogram, impostor: Histogram, false_rate: float) -> float | None:
    """Share of genuine scores above the lowest threshold whose false rate is at most `false_rate`;
    None where there are too few impostors to say."""
    if impostor.total * false_rate < 1:
        return None
    at = int(np.argmax(impostor.at_least() <= false_rate))
    return float(genuine.at_least()[at])


def fold_accuracy(scores: Sequence[float], same: Sequence[bool], folds: int = 10) -> float:
    """Mean accuracy over contiguous folds, each judged by the threshold best on the others."""
    values, truth = np.asarray(scores, np.float64), np.asarray(same, bool)
    parts = [p for p in np.array_split(np.arange(len(values)), folds) if len(p)]
    if len(parts) < 2:
        return float("nan")
    accuracies = []
    for part in parts:
        rest = np.ones(len(values), bool)
        rest[part] = False
        threshold = _best_threshold(values[rest], truth[rest])
        accuracies.append(float(((values[part] >= threshold) == truth[part]).mean()))
    return float(np.mean(accuracies))


def _best_threshold(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    order = np.argsort(values)
    ranked, same = values[order], truth[order]
    # Cutting before rank i calls everything from i on the same.
    right = np.concatenate([[same.sum()], same.sum() + np.cumsum(np.where(same, -1, 1))])
    edges = np.concatenate([[ranked[0] - 1], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1]])
    return float(edges[int(np.argmax(right))])

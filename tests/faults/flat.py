"""Whether something stays flat over a long run: a slope with its interval, not two points."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

STRETCHES = 8
"""Samples near to each other are not independent; the medians of so many stretches nearly are."""
_T95 = 2.447
"""Student's two-sided 95 % with STRETCHES - 2 degrees of freedom."""


@dataclass(frozen=True)
class Growth:
    """What was added for each unit of x, and the bounds of its 95 % interval; `over` units."""

    each: float
    low: float
    high: float
    over: float

    @property
    def most(self) -> float:
        """What may have been added over all of it, at the most."""
        return self.high * self.over


def last_half(samples: Sequence[T]) -> Sequence[T]:
    """From the middle on: what was to be filled once has been filled by then."""
    return samples[len(samples) // 2 :]


def growth(x: Sequence[float], y: Sequence[float]) -> Growth | None:
    """The slope of a line through the medians of STRETCHES stretches of the samples, in order of x.

    None with fewer than two samples a stretch: nothing could be said then.
    """
    count = len(x)
    if count < 2 * STRETCHES or x[-1] <= x[0]:
        return None
    cuts = [count * n // STRETCHES for n in range(STRETCHES + 1)]
    parts = list(itertools.pairwise(cuts))
    xs = [statistics.median(x[a:b]) for a, b in parts]
    ys = [statistics.median(y[a:b]) for a, b in parts]
    line = statistics.linear_regression(xs, ys)
    middle = statistics.fmean(xs)
    rest = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(xs, ys, strict=True))
    spread = sum((a - middle) ** 2 for a in xs)
    error = _T95 * (rest / (STRETCHES - 2) / spread) ** 0.5
    return Growth(line.slope, line.slope - error, line.slope + error, x[-1] - x[0])

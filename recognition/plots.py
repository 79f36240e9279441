"""Two pictures of a verification, drawn with OpenCV: no plotting library is needed for them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.errors import RecognitionError
from recognition.statistics import Histogram

SIZE = (900, 640)
LEFT, RIGHT, TOP, BOTTOM = 125, 40, 90, 90
INK, GRID = (40, 40, 40), (220, 220, 220)
GENUINE, IMPOSTOR = (150, 110, 0), (0, 90, 210)  # BGR; apart for every kind of colour vision
FLOOR = 1e-5


def write_plots(
    folder: Path, scores: tuple[Histogram, Histogram], threshold: float, engine: str
) -> list[Path]:
    """det.png and scores.png in `folder`, made where it is not there; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, picture in (
        ("det.png", _det(*scores, threshold, engine)),
        ("scores.png", _distribution(*scores, threshold, engine)),
    ):
        path = folder / name
        ok, data = cv2.imencode(".png", picture)
        if not ok:
            raise RecognitionError(f"{path} cannot be drawn", f"无法绘制 {path}")
        path.write_bytes(data.tobytes())
        made.append(path)
    return made


class _Axes:
    """A white sheet with axes from (x0, y0) to (x1, y1)."""

    def __init__(self, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y
        width, height = SIZE
        self.sheet = np.full((height, width, 3), 255, np.uint8)
        self.text(title, (10, 30), 0.75)

    def at(self, x: float, y: float) -> tuple[int, int]:
        width, height = SIZE
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(LEFT + across * (width - LEFT - RIGHT)),
            round(height - BOTTOM - up * (height - TOP - BOTTOM)),
        )

    def text(self, words: str, place: tuple[int, int], size: float = 0.65) -> None:
        cv2.putText(self.sheet, words, place, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)

    def rule(self, x: float | None, y: float | None, words: str) -> None:
        """A grid line at x or at y with its label."""
        if x is not None:
            foot = self.at(x, self.y[0])
            cv2.line(self.sheet, foot, self.at(x, self.y[1]), GRID, 1)
            self.text(words, (foot[0] - 7 * len(words), foot[1] + 28), 0.65)
        if y is not None:
            foot = self.at(self.x[0], y)
            cv2.line(self.sheet, foot, self.at(self.x[1], y), GRID, 1)
            self.text(words, (foot[0] - 13 * len(words) - 6, foot[1] + 7), 0.65)

    def curve(
        self, xs: NDArray[np.float64], ys: NDArray[np.float64], colour: tuple[int, int, int]
    ) -> None:
        points = [self.at(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        cv2.polylines(self.sheet, [np.array(points, np.int32)], False, colour, 2, cv2.LINE_AA)


def _det(
    genuine: Histogram, impostor: Histogram, threshold: float, engine: str
) -> NDArray[np.uint8]:
    """Misses against false alarms, both logarithmic, down to what the numbers can show."""
    low = float(np.log10(FLOOR))
    axes = _Axes(
        f"{engine}: {genuine.total} pairs the same, {impostor.total} different", (low, 0), (low, 0)
    )
    for power in range(int(low), 1):
        axes.rule(power, None, f"{100 * 10.0**power:g}%")
        axes.rule(None, power, f"{100 * 10.0**power:g}%")
    axes.text("false match rate", (SIZE[0] // 2 - 60, SIZE[1] - 14))
    axes.text("false non-match rate", (10, TOP - 24))
    if genuine.total and impostor.total:
        alarms = np.log10(np.clip(impostor.at_least(), FLOOR, 1))
        misses = np.log10(np.clip(1 - genuine.at_least(), FLOOR, 1))
        axes.curve(alarms, misses, GENUINE)
        used = int(np.searchsorted(Histogram.scores(), threshold - 1e-9))
        place = axes.at(float(alarms[used]), float(misses[used]))
        cv2.circle(axes.sheet, place, 9, IMPOSTOR, -1, cv2.LINE_AA)
        axes.text(f"threshold {threshold}", (place[0] + 16, place[1] - 12))
    return axes.sheet


def _distribution(
    genuine: Histogram, impostor: Histogram, threshold: float, engine: str
) -> NDArray[np.uint8]:
    """Density of both kinds of scores, and the threshold."""
    curves = [_density(genuine), _density(impostor)]
    top = max(float(c.max()) for c in curves) or 1.0
    axes = _Axes(f"{engine}: scores of pairs", (-0.4, 1.0), (0, top))
    for tick in np.arange(-0.4, 1.01, 0.2):
        axes.rule(float(tick), None, f"{tick:.1f}")
    middles = Histogram.scores()[5::10][: len(curves[0])]
    shown = middles >= -0.4
    for density, colour, name, at in (
        (curves[0], GENUINE, "same person", 28),
        (curves[1], IMPOSTOR, "different people", 56),
    ):
        axes.curve(middles[shown], density[shown], colour)
        cv2.line(axes.sheet, (620, at - 6), (660, at - 6), colour, 3)
        axes.text(name, (670, at))
    cv2.line(axes.sheet, axes.at(threshold, 0), axes.at(threshold, top), INK, 2)
    foot = axes.at(threshold, top)
    axes.text(f"threshold {threshold}", (foot[0] - 80, foot[1] - 10))
    return axes.sheet


def _density(histogram: Histogram) -> NDArray[np.float64]:
    bins = histogram.counts[:-1].reshape(-1, 10).sum(axis=1).astype(np.float64)
    smooth = np.convolve(bins, np.ones(5) / 5, mode="same")
    return np.asarray(smooth / max(float(smooth.sum()), 1.0), np.float64)

"""Three more signs of an attack, each of which can be switched on: how the face entered, what a
display does to a camera, how the face answers to the fill light.

No sign decides, and none helps anybody: it calls for the challenge (`recognition.liveness`). What
each brings and costs: docs/accuracy.md, "Signs". All of it was measured on simulations, whose
physics stands in `recognition.staging`; none on footage, for there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.challenge import turn_of
from recognition.types import Face, Frame

Grey = NDArray[np.float32]

GRID = (32, 24)
WATCHED_SECONDS = 0.5
"""The scene must have been seen for this long before the face, or nothing is known of its coming:
a clip that begins with a face in it says nothing."""
CHANGED = 14.0
"""Grey levels by which a cell of the grid must have changed, gain and brightness taken out."""
COVERED = 0.4
"""Share of the background's cells that changed when the face came, from which on something was put
before the whole of the scene."""
GREW = 1.25
"""Growth of the face from its first sight to its becoming the subject, or within
`APPROACH_SECONDS` after, that is an approach."""
CAME = 0.5
"""Way of the face's middle in its own widths that counts like growth: he stepped in from a side."""
APPROACH_SECONDS = 1.0
MEMORY_SECONDS = 1.5

LOOKS = 5
"""Frames that a verdict on a display needs."""
BANDS = 0.042
"""Change from frame to frame, as a share of the brightness, that goes in rows across the face."""
PEAK = 200.0
"""Height of the highest peak in the face's spectrum over the median at its frequency. Clips of
people: 37 at most (ten windows); the same shown by simulated panels of 1.45 camera pixels a pixel:
296 at least (docs/accuracy.md, November 2026)."""
WINDOW = 96
"""Pixels of the square of skin that is looked at, at the camera's own scale."""

LIGHT_SECONDS = 0.4
STEP_OF_LIGHT = 0.3
"""Least difference of two commanded levels, of 0 to 1, whose pictures are compared."""
SETTLE_SECONDS = 0.15
"""The lamp, the exposure and the pipeline need this long."""
ALIKE = 0.03
"""Difference of `turn_of` up to which two looks are compared: some 3 degrees."""
RELIEF = 0.04
"""How much more the middle of a face brightens than its sides, as a share of the light that is
there (natural logarithm), that a head shows and a sheet or a screen does not."""


class Sign(Enum):
    """The signs, by the names that the setting knows."""

    ENTRY = "entry"
    DISPLAY = "display"
    LIGHT = "light"


DEFAULT_SIGNS: frozenset[Sign] = frozenset()
"""None: all that is known of them is simulated. Clips put together out of pieces show people who
appear at once; compressed pictures and lamps on the mains bear a display's marks; where the day is
bright a fill light adds too little, and a head would be accused."""
LIGHT_LEVELS = (0.0, 1.0)
"""The levels, each for `LIGHT_SECONDS`, at which a fill light is wanted, one after the other."""


def signs_of(text: str | None) -> frozenset[Sign]:
    """The signs named in `text`, by commas; None: the default, "none" or empty: none of them.

    Raises ValueError for a name that is none.
    """
    if text is None:
        return DEFAULT_SIGNS
    names = [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]
    return frozenset(Sign(name) for name in names)


class Suspicion(Enum):
    """What a sign saw."""

    APPEARED = "appeared"
    COVERED = "covered"
    BANDED = "banded"
    MOIRE = "moire"
    UNLIT = "unlit"


def grid_of(frame: Frame) -> Grey:
    """The frame on the coarse grid, grey, float32, shape (24, 32)."""
    small = cv2.resize(frame, GRID, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


@dataclass(eq=False)
class Doorway:
    """What was seen before there was a subject. Feed every frame to `see`; when a face becomes the
    subject, `entrance` tells how it came."""

    _since: float = math.inf
    _view: Grey | None = None
    _faces: list[tuple[float, Face]] = field(default_factory=list)

    def see(self, frame: Frame, faces: list[Face], t: float) -> None:
        """A frame without a subject."""
        self._since = min(self._since, t)
        if not faces:
            self._view = grid_of(frame)
        self._faces = [(at, f) for at, f in self._faces if t - at <= MEMORY_SECONDS]
        self._faces += [(t, face) for face in faces]

    def entrance(self, face: Face, t: float) -> Entrance:
        """How `face`, the subject since this frame, came. The doorway forgets what it saw."""
        known = t - self._since >= WATCHED_SECONDS
        came = any(_approached(before, face) for _, before in self._faces)
        view = self._view if known else None
        self._since, self._view, self._faces = math.inf, None, []
        return Entrance(t, face, known, came, view=view)


def _approached(before: Face, now: Face) -> bool:
    way = math.hypot(*np.subtract(before.centre, now.centre))
    return now.box[3] >= GREW * before.box[3] or way >= CAME * now.box[2]


def _beside(frame: Frame, face: Face) -> NDArray[np.bool_]:
    """Cells of the grid where neither head nor shoulders are."""
    free = np.ones(GRID[::-1], np.bool_)
    across, down = GRID[0] / frame.shape[1], GRID[1] / frame.shape[0]
    x, y, w, h = face.box
    for left, top, right in (
        (x - 0.4 * w, y - 0.5 * h, x + 1.4 * w),
        (x - 1.2 * w, y + 0.9 * h, x + 2.2 * w),
    ):
        rows = slice(max(int(top * down), 0), None)
        free[rows, max(int(left * across), 0) : max(math.ceil(right * across), 0)] = False
    return free


@dataclass(eq=False)
class Entrance:
    """How a face became the subject. known: the scene was watched before. came: it approached.
    covered: the largest share of the background, in its first second, that had been replaced."""

    since: float = -math.inf
    first: Face | None = None
    known: bool = False
    came: bool = False
    covered: float = 0.0
    view: Grey | None = None

    def see(self, frame: Frame, face: Face, t: float) -> None:
        """The subject in one of its first frames."""
        if self.first is None or t - self.since > APPROACH_SECONDS:
            self.view = None
            return
        self.came = self.came or _approached(self.first, face)
        if self.view is not None:
            self.covered = max(self.covered, _replaced(self.view, frame, face))

    def suspicion(self) -> Suspicion | None:
        """What the entrance tells, None where it tells nothing or nothing bad."""
        if self.covered >= COVERED:
            return Suspicion.COVERED
        return Suspicion.APPEARED if self.known and not self.came else None


def _replaced(before: Grey, frame: Frame, face: Face) -> float:
    """The share of the background's cells that became something else."""
    free = _beside(frame, face)
    if free.sum() < 12:
        return 0.0
    a, b = before[free], grid_of(frame)[free]
    a, b = a - a.mean(), b - b.mean()
    # Cameras adjust to whoever steps before them: a change of gain and level is no other scene.
    gain = float(np.clip((a * b).mean() / max(float((a * a).mean()), 1.0), 0.5, 2.0))
    return float((np.abs(b - gain * a) > CHANGED).mean())


@dataclass(eq=False)
class Display:
    """What a display does to a camera: rows that brighten and darken as its refresh runs against
    the shutter, and the grid of its pixels beaten against the sensor's (moire)."""

    bands: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    _last: Grey | None = None

    def see(self, frame: Frame, face: Face) -> None:
        """One frame; a few milliseconds."""
        window = _skin(frame, face)
        if window is None:
            self._last = None
            return
        self.peaks = [*self.peaks[-11:], _highest_peak(window)]
        if self._last is not None:
            self.bands = [*self.bands[-11:], _bands(self._last, window)]
        self._last = window

    def suspicion(self) -> Suspicion | None:
        """By the median of the frames seen, so that one gust of noise is none."""
        if len(self.peaks) >= LOOKS and float(np.median(self.peaks)) > PEAK:
            return Suspicion.MOIRE
        if len(self.bands) >= LOOKS and float(np.median(self.bands)) > BANDS:
            return Suspicion.BANDED
        return None


def _skin(frame: Frame, face: Face) -> Grey | None:
    """The square around the nose, `WINDOW` pixels wide, grey, at the camera's scale: no resampling,
    which would make or hide a moire of its own. None where it reaches over the border."""
    x, y = (int(v) - WINDOW // 2 for v in face.landmarks[2])
    if x < 0 or y < 0 or x + WINDOW > frame.shape[1] or y + WINDOW > frame.shape[0]:
        return None
    part = frame[y : y + WINDOW, x : x + WINDOW]
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.float32)


_HANN = np.outer(np.hanning(WINDOW), np.hanning(WINDOW)).astype(np.float32)
_RADIUS = np.hypot(*np.meshgrid(np.fft.fftfreq(WINDOW), np.fft.fftfreq(WINDOW)))
_BINS = np.abs(np.fft.fftfreq(WINDOW) * WINDOW)
_ON_BLOCKS = np.abs(_BINS - 12 * np.round(_BINS / 12)) <= 1
_RING = np.where(np.logical_and.outer(_ON_BLOCKS, _ON_BLOCKS), -1, (_RADIUS * WINDOW).astype(int))
"""Ring of each frequency; none for those of the blocks of 8 pixels that JPEG and its kin leave."""


def _highest_peak(window: Grey) -> float:
    """The highest power between 0.12 and 0.5 cycles a pixel over the median on its ring."""
    power = np.abs(np.fft.fft2((window - window.mean()) * _HANN)) ** 2
    best = 0.0
    for ring in range(int(0.12 * WINDOW), WINDOW // 2):
        at = power[ring == _RING]
        best = max(best, float(at.max() / max(float(np.median(at)), 1e-6)))
    return best


def _bands(before: Grey, now: Grey) -> float:
    """How much more the rows than the columns changed, as a share of the brightness: what moves
    changes both, a rolling shutter before a display only rows."""
    change = np.log(cv2.blur(now, (5, 5)) + 8) - np.log(cv2.blur(before, (5, 5)) + 8)
    ramp = np.linspace(-1, 1, WINDOW)
    ends = []
    for axis in (1, 0):
        profile = np.median(change, axis=axis)
        ends.append(float(np.std(profile - np.polyval(np.polyfit(ramp, profile, 1), ramp))))
    return ends[0] - ends[1]


@dataclass(eq=False)
class Lighting:
    """The face under a fill light whose level was commanded. Tell it the levels (`command`, 0 dark
    to 1 full, time in seconds) and feed it frames.

    A head brightens most where it faces the lamp; a sheet evenly, a screen hardly at all.
    """

    _levels: list[tuple[float, float]] = field(default_factory=list)
    _seen: dict[float, list[tuple[float, Grey]]] = field(default_factory=dict)

    def command(self, level: float, t: float) -> None:
        """The lamp stands at `level`, since `t` where that is new."""
        level = min(max(level, 0.0), 1.0)
        if not self._levels or self._levels[-1][1] != level:
            self._levels = [*self._levels[-7:], (t, level)]

    def see(self, frame: Frame, face: Face, t: float) -> None:
        """One frame, taken into account where the lamp had settled."""
        if not self._levels or t - self._levels[-1][0] < SETTLE_SECONDS:
            return
        kept = self._seen.setdefault(self._levels[-1][1], [])
        if len(kept) < 6:
            kept.append((turn_of(face), _face_grid(frame, face)))

    @property
    def commanded(self) -> bool:
        """Somebody sets a lamp and tells of it."""
        return bool(self._levels)

    @property
    def relief(self) -> float | None:
        """How unevenly the face brightened, None before it was seen dark and bright, looking the
        same way: a head that turns under any light brightens unevenly."""
        levels = sorted(level for level, looks in self._seen.items() if len(looks) >= 2)
        if not levels or levels[-1] - levels[0] < STEP_OF_LIGHT:
            return None
        pairs = [
            (abs(a - b), dark, bright)
            for a, dark in self._seen[levels[0]]
            for b, bright in self._seen[levels[-1]]
        ]
        alike = [pair for pair in pairs if pair[0] <= ALIKE]
        if len(alike) < 2:
            return None
        before = np.mean([dark for _, dark, _ in alike], 0)
        bright = [bright for _, _, bright in alike]
        gain = np.log(np.mean(bright, 0) + 4) - np.log(before + 4)
        # A reflection off glass is added, so that it brightens the dark parts more: no relief.
        parts = [np.ones(GAIN_GRID**2), _DOME.ravel(), np.log(before + 4).ravel()]
        parts.append(1 / (before.ravel() + 4))
        found = np.linalg.lstsq(np.stack(parts, 1), gain.ravel(), rcond=None)[0]
        return float(found[1])

    def suspicion(self) -> Suspicion | None:
        """What the answer to the light tells."""
        relief = self.relief
        return Suspicion.UNLIT if relief is not None and relief < RELIEF else None


GAIN_GRID = 12
_ACROSS, _DOWN = np.meshgrid(np.linspace(-1, 1, GAIN_GRID), np.linspace(-1, 1, GAIN_GRID))
_DOME = 1 - _ACROSS**2 - 0.4 * _DOWN**2
"""How light from beside the camera falls off over a face, towards its sides first."""


def _face_grid(frame: Frame, face: Face) -> Grey:
    """The face on a grid of 12 x 12, in linear light (gamma 2.2), float32, 0 to 255."""
    points = np.array([[29, 35], [67, 35], [48, 74]], np.float32)
    eyes, mouth = face.landmarks[:2], face.landmarks[3:].mean(axis=0)
    warp = cv2.getAffineTransform(np.array([*eyes, mouth], np.float32), points)
    chip = cv2.warpAffine(frame, warp, (96, 96), flags=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(chip, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    linear = np.asarray(255 * grey**2.2, np.float32)
    return np.asarray(
        cv2.resize(linear, (GAIN_GRID, GAIN_GRID), interpolation=cv2.INTER_AREA), np.float32
    )

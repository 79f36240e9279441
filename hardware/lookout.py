"""What is wrong with a live camera's pictures, and whether the machine is hot: states as values.

Times are readings of the monotonic clock in seconds, given by the caller.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from hardware.frames import Image

FROZEN_S = 10.0
"""Seconds of one and the same picture. A living sensor has noise: no two are equal."""
COVERED_S = 3.0
"""Seconds of blackness: a hand that passes is none."""
BLACK, FLAT = 16.0, 6.0
"""Mean and standard deviation of grey, 0 to 255, up to which a picture is black all over."""
DETAIL = 3.0
"""Steps of grey up to which a picture shows nothing (`detail`): something close before the lens, or
a blank wall. Of 500 pictures of `../shared/data`, as they are, overexposed, in fog and at a third
of the light, none lay below, 1 at an eighth; of 500 surfaces 5 mm before the lens (simulated, a
tenth of the contrast) all did, 3 cm before it 1: docs/accuracy.md, `scripts/measure_covered.py`,
2026-11-29. No real covered camera was tried."""
BLANK_S = 10.0
"""Seconds of nothing until it is told, in words that leave a doubt."""
BLANK_EVERY_S = 1.0
USUAL_S = 60.0
"""A view that shows something for so long is one that usually does."""
PASSERS = 2
"""Shorter visits to a blank view after which it is taken for a wall, and no more is said."""
TURN_EVERY_S = 2.0
"""Between two looks at the picture turned by 180 degrees: one detection each."""
TURNED = 3
"""Looks, one after the other, that found a face better when turned."""
TURNED_SCORE, TURNED_MARGIN = 0.7, 0.05
"""Least score of YuNet for a turned face, and how far it must be above that of the picture as it
is. Tried once by hand on 133 pictures with a face (every n-th of public portraits and attacks,
2026-11-25): none was taken for upside down as it is, and 131 were when turned."""

HOT_C, COOL_C = 80.0, 75.0
"""A Raspberry Pi slows itself from 80 °C (its documentation, "Frequency management and thermal
control"); the kiosk does less from there until it has cooled to 75 °C."""
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
LOOK_S = 10.0
"""Between two readings of the temperature."""


class View(StrEnum):
    """How a camera's pictures are."""

    OK = "ok"
    FROZEN = "frozen"
    COVERED = "covered"
    BLANK = "blank"
    UPSIDE_DOWN = "upside_down"


def detail(image: Image) -> float:
    """How much there is to see in a picture (uint8 BGR): the bend of grey from cell to cell of a
    grid of 32 by 24, in steps of 0 to 255, that 2 % of the cells exceed.

    The means of cells know no sensor noise, and a bend no slow gradient: what lies on the lens is
    out of focus and leaves nothing else.
    """
    import cv2

    grid = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).mean(axis=2)
    across = np.abs(grid[1:-1, :-2] + grid[1:-1, 2:] - 2 * grid[1:-1, 1:-1])
    down = np.abs(grid[:-2, 1:-1] + grid[2:, 1:-1] - 2 * grid[1:-1, 1:-1])
    return float(np.percentile(np.maximum(across, down), 98))


class PictureWatch:
    """Follows the pictures of one live camera.

    best: the detector's best score for a face in a picture (uint8 BGR), 0 where there is none; None
    where faces cannot be looked for.
    """

    def __init__(self, best: Callable[[Image], float] | None = None) -> None:
        self.view = View.OK
        self._best = best
        self._print: int | None = None
        self._same_since = 0.0
        self._dark_since: float | None = None
        self._turn_at = 0.0
        self._votes = 0
        self._detail_at = 0.0
        self._blank_since: float | None = None
        self._shown_since: float | None = None
        self._passers = 0
        self._after_blank = False

    def see(self, image: Image, now_s: float) -> View:
        """Take the next picture; how they are now."""
        sample = np.ascontiguousarray(image[::8, ::8])
        mark = zlib.crc32(sample.tobytes())
        if mark != self._print:
            self._print, self._same_since = mark, now_s
        black = float(sample.mean()) <= BLACK and float(sample.std()) <= FLAT
        if not black:
            self._dark_since = None
        elif self._dark_since is None:
            self._dark_since = now_s
        if now_s >= self._detail_at:
            self._detail_at = now_s + BLANK_EVERY_S
            self._weigh(image, now_s)
        if self._dark_since is not None and now_s - self._dark_since >= COVERED_S:
            self.view = View.COVERED
        elif now_s - self._same_since >= FROZEN_S:
            self.view = View.FROZEN
        elif self._blank(now_s):
            self.view = View.BLANK
        elif self.view not in (View.OK, View.UPSIDE_DOWN):
            self.view = View.OK
        if self.view in (View.OK, View.UPSIDE_DOWN) and not black:
            self._turned(image, now_s)
        return self.view

    def _blank(self, now_s: float) -> bool:
        """Whether nothing has been seen for long where something usually is."""
        return self._blank_long(now_s) and self._passers < PASSERS

    def _blank_long(self, now_s: float) -> bool:
        return self._blank_since is not None and now_s - self._blank_since >= BLANK_S

    def _weigh(self, image: Image, now_s: float) -> None:
        """Whether the picture shows something; who only passes before a wall is counted."""
        if detail(image) > DETAIL:
            if self._blank_since is not None or self._shown_since is None:
                self._after_blank = self._blank_long(now_s)
                self._shown_since, self._blank_since = now_s, None
            if now_s - self._shown_since >= USUAL_S:
                self._passers = 0
        elif self._blank_since is None:
            shown = USUAL_S if self._shown_since is None else now_s - self._shown_since
            self._passers += self._after_blank and shown < USUAL_S
            self._blank_since = now_s

    def _turned(self, image: Image, now_s: float) -> None:
        if self._best is None or now_s < self._turn_at:
            return
        self._turn_at = now_s + TURN_EVERY_S
        turned = self._best(np.ascontiguousarray(image[::-1, ::-1]))
        if turned < TURNED_SCORE and self.view is View.OK:
            self._votes = 0
            return
        upright = self._best(image)
        if turned >= TURNED_SCORE and turned > upright + TURNED_MARGIN:
            self._votes += 1
            if self._votes >= TURNED:
                self.view = View.UPSIDE_DOWN
        elif upright >= TURNED_SCORE and upright > turned + TURNED_MARGIN:
            self.view, self._votes = View.OK, 0


@dataclass(frozen=True, slots=True)
class Warmth:
    """celsius: None where it cannot be read. slow: do less, the machine is too hot. weak: the
    supply gives too little voltage now."""

    celsius: float | None = None
    slow: bool = False
    weak: bool = False


class Thermometer:
    """Reads the processor's temperature and what a Raspberry Pi's firmware says of itself.

    thermal: holds thousandths of a degree. throttled: the firmware's bits in hexadecimal, as
    `vcgencmd get_throttled` prints them: 0 under-voltage, 1 capped, 2 throttled, 3 soft limit.
    """

    def __init__(
        self,
        thermal: Path = THERMAL,
        throttled: Path = THROTTLED,
    ) -> None:
        self._thermal, self._throttled = thermal, throttled
        self._read_at: float | None = None
        self._last = Warmth()

    @classmethod
    def of(cls, root: Path) -> Thermometer:
        """Of the machine whose files lie below `root`."""
        return cls(root / THERMAL.relative_to("/"), root / THROTTLED.relative_to("/"))

    def look(self, now_s: float) -> Warmth:
        """The last reading, or a new one every `LOOK_S`."""
        if self._read_at is not None and now_s - self._read_at < LOOK_S:
            return self._last
        self._read_at = now_s
        celsius, bits = None, 0
        with contextlib.suppress(OSError, ValueError):
            celsius = int(self._thermal.read_text("ascii")) / 1000
        with contextlib.suppress(OSError, ValueError):
            bits = int(self._throttled.read_text("ascii").strip().removeprefix("throttled="), 16)
        limit = COOL_C if self._last.slow else HOT_C
        slow = bool(bits & 0b1100) or (celsius is not None and celsius >= limit)
        self._last = Warmth(celsius, slow, bool(bits & 1))
        return self._last

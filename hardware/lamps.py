"""The lamp board: one coloured lamp for each id, on real pins, mock pins, or drawn on a screen.

A lamp id is any string; this package knows nothing of the people behind it.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from hardware.errors import LampError

BLINK_S = 0.5
"""Seconds that a blinking lamp is lit, then dark: 1 Hz, well below the 3 flashes a second that
WCAG 2.3.1 allows."""


class Colour(StrEnum):
    """What a lamp can show."""

    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    RED = "red"
    OFF = "off"

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Which of the red, green and blue parts are lit, each 0 or 1."""
        return _RGB[self]


_RGB = {
    Colour.GREEN: (0, 1, 0),
    Colour.BLUE: (0, 0, 1),
    # Plain bits: PWM made by software on two dozen pins flickers. The series resistors make the
    # mixture yellow (docs/wiring.md).
    Colour.YELLOW: (1, 1, 0),
    Colour.RED: (1, 0, 0),
    Colour.OFF: (0, 0, 0),
}
_COLOUR_OF = {rgb: colour for colour, rgb in _RGB.items()}


@dataclass(frozen=True, slots=True)
class Latched:
    """What a lamp really shows, read back from its driver.

    colour: None where the pins show no colour of ours, so that it is unknown.
    blinking: whether it blinks; the colour is then that of the lit half.
    """

    colour: Colour | None
    blinking: bool = False


Asked = tuple["Colour | str", bool]
"""What a lamp is to show: its colour, and whether it blinks."""


@dataclass(frozen=True, slots=True)
class LampState:
    """A lamp with what it shows."""

    lamp: str
    colour: Colour | None
    blinking: bool = False


class LampBoard(ABC):
    """Lamps by id. A context manager; `close` may be called any number of times. Thread-safe.

    driver: its name as `hardware.drivers.open_lamps` takes it.
    """

    driver: str

    @property
    @abstractmethod
    def lamps(self) -> tuple[str, ...]:
        """Every lamp that is shown anywhere, in the order of the board."""

    @abstractmethod
    def set_lamps(self, lamps: Sequence[str]) -> None:
        """Change which lamps there are: known ones keep their pins and state, new ones are off."""

    @abstractmethod
    def has(self, lamp: str) -> bool:
        """Whether this driver itself shows the lamp; False where it is drawn on the screen only."""

    def driver_of(self, lamp: str) -> str:
        """The driver that shows this lamp: ours, or ``screen`` where we have no pins for it."""
        return self.driver if self.has(lamp) else "screen"

    @abstractmethod
    def show(self, lamp: str, colour: Colour | str, blinking: bool = False) -> Latched:
        """Set a lamp and read back what it shows; a lamp we never heard of is added, screen only.

        Raises LampError where the driver fails, ValueError for no colour of `Colour`.
        """

    def show_all(self, wanted: Mapping[str, Asked]) -> dict[str, Latched | LampError]:
        """`show` for several lamps, each with what it reads back or how it failed; a driver that
        writes all its lamps at once does so once. Raises ValueError for no colour of `Colour`."""
        found: dict[str, Latched | LampError] = {}
        for lamp, (colour, blinking) in wanted.items():
            try:
                found[lamp] = self.show(lamp, colour, blinking)
            except LampError as error:
                found[lamp] = error
        return found

    @abstractmethod
    def latched(self, lamp: str) -> Latched:
        """Read back what a lamp shows; an unknown lamp is off. Raises LampError."""

    def states(self) -> tuple[LampState, ...]:
        """Every lamp with what it shows, in the order of the board. Raises LampError."""
        found = ((lamp, self.latched(lamp)) for lamp in self.lamps)
        return tuple(LampState(lamp, seen.colour, seen.blinking) for lamp, seen in found)

    @abstractmethod
    def tick(self, now_s: float) -> None:
        """Carry blinking on at a reading of the monotonic clock; harmless at any rate."""

    @property
    def wired(self) -> tuple[str, ...]:
        """Every lamp that the driver itself can show, also one that no official has now."""
        return ()

    def self_test(self, pause: Callable[[], None]) -> dict[str, LampError | None]:
        """Show each colour once on all wired lamps together; they are dark afterwards.

        pause: called while a colour is lit. Returns the lamps that did not follow, each with its
        fault, None where the driver merely read back something else.
        """
        lamps, wired = self.lamps, self.wired
        bad: dict[str, LampError | None] = {}
        for colour in (Colour.GREEN, Colour.BLUE, Colour.YELLOW, Colour.RED, Colour.OFF):
            shown = self.show_all(dict.fromkeys(wired, (colour, False)))
            for lamp, seen in shown.items():
                if isinstance(seen, LampError):
                    bad[lamp] = seen
                elif seen.colour is not colour:
                    bad.setdefault(lamp, None)
            if wired and colour is not Colour.OFF:
                pause()
        with contextlib.suppress(LampError):  # those of `bad` again
            self.set_lamps(lamps)
        return bad

    def all_off(self) -> None:
        """Switch every lamp off. Raises LampError after having tried all."""
        failed: LampError | None = None
        for lamp in self.lamps:
            try:
                self.show(lamp, Colour.OFF)
            except LampError as error:
                failed = error
        if failed is not None:
            raise failed

    @abstractmethod
    def close(self) -> None:
        """Switch the lamps off and let the pins go; never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ScreenBoard(LampBoard):
    """No pins: keeps what is shown, for the terminal and the kiosk's page to draw."""

    driver = "screen"

    def __init__(self, lamps: Sequence[str] = ()) -> None:
        self._lock = threading.RLock()
        self._shown: dict[str, Latched] = {lamp: Latched(Colour.OFF) for lamp in lamps}

    @property
    def lamps(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._shown)

    def set_lamps(self, lamps: Sequence[str]) -> None:
        with self._lock:
            self._shown = {lamp: self._shown.get(lamp, Latched(Colour.OFF)) for lamp in lamps}

    def has(self, lamp: str) -> bool:
        with self._lock:
            return lamp in self._shown

    def show(self, lamp: str, colour: Colour | str, blinking: bool = False) -> Latched:
        with self._lock:
            shown = Colour(colour)
            # A dark lamp has nothing to blink with.
            self._shown[lamp] = Latched(shown, blinking and shown is not Colour.OFF)
            return self._shown[lamp]

    def latched(self, lamp: str) -> Latched:
        with self._lock:
            return self._shown.get(lamp, Latched(Colour.OFF))

    def tick(self, now_s: float) -> None:
        """Nothing to do: who draws the board draws the blinking."""

    def close(self) -> None:
        with self._lock:
            self._shown = {lamp: Latched(Colour.OFF) for lamp in self._shown}


def colour_of(rgb: tuple[int, ...]) -> Colour | None:
    """The colour whose (red, green, blue) bits these are; None where there is none."""
    return _COLOUR_OF.get((rgb[0], rgb[1], rgb[2])) if len(rgb) == 3 else None

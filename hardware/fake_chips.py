"""Simulated chips that hang on mock pins and decode clock and data into what a person would see.

They know the chips' data sheets and nothing of the drivers, so that a driver which is wrong is not
believed. Each keeps the history of what was seen, from power-on.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gpiozero.pins.mock import MockFactory

from hardware.fakes import FaultyPin
from hardware.wiring import Chain

Light = tuple[int, int, int]
"""Red, green and blue as they come out of a lamp, each 0 to 255; brightness is in them."""


def perceive(light: Light) -> str:
    """What somebody at three metres calls it: a colour's name, `off`, or `odd` for none of ours."""
    red, green, blue = (part / max(*light, 1) for part in light)
    if max(light) == 0:
        return "off"
    if red > 0.9 and green > 0.6 and blue < 0.1:
        return "yellow"
    for name, part, others in (
        ("red", red, (green, blue)),
        ("green", green, (red, blue)),
        ("blue", blue, (red, green)),
    ):
        if part > 0.9 and max(others) < 0.1:
            return name
    return "odd"


class _Chips:
    """What both kinds share: pins by number, and a history without repeats."""

    def __init__(self, factory: MockFactory, chain: Chain) -> None:
        self.chain = chain
        self._factory = factory
        self.clocks = 0

    def _pin(self, number: int) -> FaultyPin:
        pin: FaultyPin = self._factory.pin(number)
        return pin

    def _answer(self, bit: int) -> None:
        """Put a bit on the wire that leads back."""
        if self.chain.readback is None:
            return
        pin = self._pin(self.chain.readback)
        if pin.function == "input":
            if bit:
                pin.drive_high()
            else:
                pin.drive_low()


class ShiftChips(_Chips):
    """A chain of 74HC595 with a pull-up on OE, and LEDs on its outputs.

    anode: the LEDs are common anode, so that a low output lights.
    broken: index of a chip whose serial output is torn off, None for a whole chain.
    seen: sets of lit outputs, each as it came, beginning with what power-on showed.
    """

    def __init__(
        self,
        factory: MockFactory,
        chain: Chain,
        chips: int,
        *,
        anode: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(factory, chain)
        self.anode = anode
        self.broken: int | None = None
        rng = random.Random(seed)  # noqa: S311 (the chips wake up with anything)  # nosec B311 # guards nothing
        self.register = [rng.randint(0, 1) for _ in range(8 * chips)]
        self.storage = [rng.randint(0, 1) for _ in range(8 * chips)]
        self.latches = 0
        self.seen: list[frozenset[int]] = []
        self._look()
        self._pin(chain.clock).watchers.append(self._clock)
        self._pin(chain.latch).watchers.append(self._latch)
        self._pin(chain.enable).watchers.append(lambda _: self._look())

    @property
    def blank(self) -> bool:
        """OE is high: by the pin, or by its pull-up while no pin drives it."""
        pin = self._pin(self.chain.enable)
        return pin.function != "output" or bool(pin.state)

    def lights(self, parts: Iterable[tuple[int, int, int]]) -> list[str]:
        """What lamps on those outputs (red, green, blue) look like now."""
        return [self.look(self.seen[-1], each) for each in parts]

    @staticmethod
    def look(lit: frozenset[int], part: tuple[int, int, int]) -> str:
        """What one lamp looks like where `lit` are the outputs that light."""
        red, green, blue = (255 * (output in lit) for output in part)
        return perceive((red, green, blue))

    def _clock(self, pin: FaultyPin) -> None:
        if not pin.state:
            return
        self.clocks += 1
        before = self.register
        self.register = [int(bool(self._pin(self.chain.data).state)), *before[:-1]]
        if self.broken is not None:
            at = 8 * (self.broken + 1)
            if at < len(before):
                self.register[at] = 0  # the next chip's input floats low
        torn = self.broken == len(before) // 8 - 1
        self._answer(0 if torn else self.register[-1])

    def _latch(self, pin: FaultyPin) -> None:
        if pin.state:
            self.latches += 1
            self.storage = list(self.register)
            self._look()

    def _look(self) -> None:
        lit = frozenset(
            output for output, bit in enumerate(self.storage) if bool(bit) is not self.anode
        )
        now = frozenset() if self.blank else lit
        if not self.seen or self.seen[-1] != now:
            self.seen.append(now)


@dataclass
class PixelChip:
    """One APA102: takes the first frame after 32 zeros, passes everything later on.

    dead: it takes its own frame but passes nothing on.
    """

    light: Light = (0, 0, 0)
    brightness: int = 0
    dead: bool = False
    _zeros: int = 0
    _armed: bool = False
    _frame: list[int] = field(default_factory=list)

    def clock(self, bit: int) -> int:
        """Take a bit; the bit that goes to the next pixel half a clock later."""
        self._zeros = 0 if bit else self._zeros + 1
        if self._frame or (self._armed and bit):
            self._frame.append(bit)
            if len(self._frame) == 32:
                self._take()
            return 0
        if self._zeros >= 32:
            self._armed = True
        return 0 if self.dead else bit

    def _take(self) -> None:
        word = int("".join(map(str, self._frame)), 2)
        self._frame, self._armed, self._zeros = [], False, 0
        if word >> 29 != 0b111:
            return
        self.brightness = word >> 24 & 0x1F
        blue, green, red = (word >> shift & 0xFF for shift in (16, 8, 0))
        scale = self.brightness / 31
        self.light = (round(red * scale), round(green * scale), round(blue * scale))


class PixelChips(_Chips):
    """A strip of APA102.

    seen: what each pixel looked like, one tuple after each transfer that changed anything.
    """

    def __init__(self, factory: MockFactory, chain: Chain, pixels: int) -> None:
        super().__init__(factory, chain)
        self.pixels = [PixelChip() for _ in range(pixels)]
        self.seen: list[tuple[str, ...]] = [("off",) * pixels]
        self._wire = [0] * (pixels + 1)
        self._edges = 0
        self._pin(chain.clock).watchers.append(self._edge)
        self._pin(chain.select).watchers.append(self._selected)

    def feed(self, bits: Sequence[int]) -> None:
        """Clock bits in without any pins."""
        for bit in bits:
            self._step(bit)
            self._step(bit)

    def _edge(self, pin: FaultyPin) -> None:
        self.clocks += bool(pin.state)
        self._step(int(bool(self._pin(self.chain.data).state)))

    def _step(self, bit: int) -> None:
        """Half a clock: every second pixel takes what its neighbour put out half a clock ago."""
        wire = self._wire
        wire[0] = bit
        for at in range(self._edges % 2, len(self.pixels), 2):
            wire[at + 1] = self.pixels[at].clock(wire[at])
        self._edges += 1
        self._answer(self._wire[-1])

    def _selected(self, pin: FaultyPin) -> None:
        if pin.state:
            self.look()

    def look(self) -> tuple[str, ...]:
        """Look at the strip, and remember it where it changed."""
        now = tuple(perceive(pixel.light) for pixel in self.pixels)
        if self.seen[-1] != now:
            self.seen.append(now)
        return now

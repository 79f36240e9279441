"""What hangs on which pin: the lamps of every driver and whatever else surrounds the screen.

`hardware.wiring_file` reads it from `wiring.toml` (docs/wiring.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PINS = range(2, 28)
"""BCM numbers of the 40-pin header that may carry something; 0 and 1 belong to the HAT's EEPROM."""

FREE_PINS = tuple(range(4, 28))
"""BCM numbers taken in order where no wiring file says otherwise: 24 pins, 8 lamps of three.
2 and 3 are left to the I2C bus, where a hardware clock sits."""

WIRED_DRIVERS = ("screen", "rgb", "shift", "apa102")
"""Drivers that a wiring file can name; ``screen`` is for a kiosk with buttons but no lamp board."""

BRIGHTEST = 31
"""The most that an APA102's five bits of global brightness can say."""

COLOURS = ("green", "blue", "yellow", "red")
"""The colours of the four buttons, in the order of the statuses."""


@dataclass(frozen=True, slots=True)
class Pins:
    """One RGB lamp's three parts: BCM numbers for ``rgb``, outputs of the chain for ``shift``
    (0 is QA of the chip nearest to the Pi)."""

    red: int
    green: int
    blue: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The SPI line that feeds a chain of chips; BCM numbers.

    clock, data, select: the pins of hardware SPI 0 unless said otherwise; nothing hangs on select.
    latch, enable: ``shift`` only: RCLK and the inverted output enable of all 74HC595.
    readback: what the last chip passes on comes back here, None where no wire does.
    length: chips (``shift``) or pixels (``apa102``); None: as many as the lamps need.
    brightness: ``apa102`` only, global, 0 to 31.
    """

    clock: int = 11
    data: int = 10
    select: int = 8
    latch: int = 25
    enable: int = 24
    readback: int | None = None
    length: int | None = None
    brightness: int = 8


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that is on or off. active_high: whether a high pin means on."""

    pin: int
    active_high: bool = True


@dataclass(frozen=True, slots=True)
class Door:
    """A door buzzer or lock relay, pulsed for `seconds` when somebody was recorded."""

    pin: int
    active_high: bool = True
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """A checked wiring file.

    driver: the lamp driver it is for.
    active_high: True for common-cathode lamps (a high output lights), False for common-anode ones.
    lamps: parts by lamp id (``rgb`` and ``shift``), in the order of the file.
    pixels: index in the chain, from 0, by lamp id (``apa102``).
    buttons: pins by colour, each closing to ground. The rest is None where it is not wired.
    """

    driver: str = "rgb"
    active_high: bool = True
    lamps: Mapping[str, Pins] = field(default_factory=dict)
    pixels: Mapping[str, int] = field(default_factory=dict)
    chain: Chain = field(default_factory=Chain)
    buttons: Mapping[str, int] = field(default_factory=dict)
    motion: Switch | None = None
    door: Door | None = None
    buzzer: int | None = None
    light: Switch | None = None

"""Who holds which GPIO line, as the kernel's character device tells it, without taking any."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

HEADERS = ("pinctrl-bcm2", "pinctrl-rp1")
"""How the chip of the 40-pin header is called: up to the Pi 4, and on the Pi 5."""
LINES = 28
_CHIP_INFO = 0x8044B401  # GPIO_GET_CHIPINFO_IOCTL: name 32, label 32, lines u32
_LINE_INFO = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL: name 32, consumer 32, offset, attributes ...
_USED = 1


def lines_in_use(devices: Path = Path("/dev")) -> Mapping[int, str] | None:
    """Holder by BCM number of the lines of the 40-pin header that somebody holds.

    None where there is no such chip, it may not be opened, or the kernel is too old to tell.
    """
    import fcntl

    for device in sorted(devices.glob("gpiochip*")):
        try:
            with device.open("rb") as file:
                chip = fcntl.ioctl(file, _CHIP_INFO, bytes(68))
                if not _text(chip[32:64]).startswith(HEADERS):
                    continue
                held = {}
                for line in range(LINES):
                    asked = struct.pack("=64xI188x", line)
                    told = fcntl.ioctl(file, _LINE_INFO, asked)
                    if struct.unpack_from("=Q", told, 72)[0] & _USED:
                        held[line] = _text(told[32:64]) or "?"
                return held
        except OSError:
            continue
    return None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")

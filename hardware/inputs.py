"""How fingers reach the machine: a touch screen, a keyboard, or neither."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

DEVICES = Path("/proc/bus/input/devices")
SCREEN_UNIT = Path("/etc/systemd/system/quxiang-screen.service")
"""Where this lies, install-kiosk.sh set the machine up for fingers."""
_DIRECT = 0b10
"""INPUT_PROP_DIRECT of the kernel (uapi/linux/input-event-codes.h)."""


class WayIn(StrEnum):
    """The best way in that is plugged in; unknown where the kernel does not tell."""

    TOUCH = "touch"
    KEYBOARD = "keyboard"
    NONE = "none"
    UNKNOWN = "unknown"


def way_in_of(root: Path) -> WayIn:
    """Of the machine whose files lie below `root`; unknown where nobody set it up for fingers."""
    return way_in(root / DEVICES.relative_to("/"), root / SCREEN_UNIT.relative_to("/"))


def way_in(devices: Path = DEVICES, screen: Path | None = None) -> WayIn:
    """What the kernel lists now. A card reader that types counts as a keyboard.

    screen: unknown where that file is missing, since nobody is meant to touch such a machine.
    """
    if screen is not None and not screen.exists():
        return WayIn.UNKNOWN
    try:
        text = devices.read_text("utf-8", "replace")
    except OSError:
        return WayIn.UNKNOWN
    found = WayIn.NONE
    for block in text.split("\n\n"):
        properties = re.search(r"^B: PROP=([0-9a-f ]+)$", block, re.MULTILINE)
        if properties and int(properties[1].split()[-1], 16) & _DIRECT and "\nB: ABS=" in block:
            return WayIn.TOUCH
        # The kernel hangs sysrq on whatever has the keys of a keyboard; a power button has not.
        if re.search(r"^H: Handlers=.*\bsysrq\b", block, re.MULTILINE):
            found = WayIn.KEYBOARD
    return found

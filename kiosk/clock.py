"""The kiosk's clocks: what the wall shows, which boot this is, and how long it lasts."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Reading:
    """The clocks at one moment.

    `wall_ms` is the wall clock in Unix milliseconds, right or wrong; `boot_id` a lower-case UUID;
    `boottime_ns` nanoseconds since that boot, suspend included, never stepping.
    """

    wall_ms: int
    boot_id: str
    boottime_ns: int


class Clock(Protocol):
    """Whatever can be read for the time."""

    def read(self) -> Reading:
        """The clocks now."""
        ...


class SystemClock:
    """The machine's clocks. Where there is no CLOCK_BOOTTIME, each process counts as a boot."""

    def __init__(self) -> None:
        boot = ""
        if hasattr(time, "CLOCK_BOOTTIME") and _BOOT_ID.is_file():
            boot = _BOOT_ID.read_text("ascii").strip().lower()
        self._boot_id = boot or str(uuid.uuid4())
        self._boottime = bool(boot)

    def read(self) -> Reading:
        """The clocks now."""
        if self._boottime:
            ticks = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        else:
            ticks = time.monotonic_ns()
        return Reading(time.time_ns() // 1_000_000, self._boot_id, ticks)


class FrameClock:
    """A clock for footage: the wall shows the run's start plus the file's own time.

    The boot clock stays the machine's, so that time proofs of the server hold for such records
    as for any other.
    """

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._start_ms = base.read().wall_ms
        self._t_ms = 0

    def at(self, t_seconds: float) -> None:
        """The frame at `t_seconds` of the footage is being looked at."""
        self._t_ms = max(0, round(t_seconds * 1000))

    def read(self) -> Reading:
        """The clocks at the frame being looked at."""
        now = self._base.read()
        return Reading(self._start_ms + self._t_ms, now.boot_id, now.boottime_ns)

"""Fakes of the kiosk's edge, with memory."""

from __future__ import annotations

import uuid

from kiosk.clock import Reading


class FakeClock:
    """A clock that moves only when told.

    `wall_ms` may be stepped at will; `boottime_ns` only grows until `reboot`.
    """

    def __init__(self, wall_ms: int = 1_780_000_000_000, boottime_ns: int = 60_000_000_000) -> None:
        self.wall_ms = wall_ms
        self.boottime_ns = boottime_ns
        self.boot_id = str(uuid.uuid4())

    def read(self) -> Reading:
        """The clocks as they were set."""
        return Reading(self.wall_ms, self.boot_id, self.boottime_ns)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_ms += round(seconds * 1000)
        self.boottime_ns += round(seconds * 1_000_000_000)

    def reboot(self, *, wall_ms: int | None = None, boottime_ns: int = 20_000_000_000) -> None:
        """A new boot, with the wall clock at `wall_ms` where given."""
        self.boot_id = str(uuid.uuid4())
        self.boottime_ns = boottime_ns
        if wall_ms is not None:
            self.wall_ms = wall_ms

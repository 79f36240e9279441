"""Clock evidence: a record's true time as an interval, and how much that interval is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

#: Drift of an uncompensated crystal between two proofs, in parts per million. The oscillator of
#: a Raspberry Pi is specified at 30 ppm over temperature; an outdoor box and ageing take the rest.
DRIFT_PPM = 100
#: A wall clock further than this from the estimate is written into the chain (evidence.md, "Time").
WALL_TOLERANCE_MS = 120_000


class ClockClass(StrEnum):
    """A anchored in the same boot, B bracketed between two proofs, C the wall clock's word only."""

    A = "A"
    B = "B"
    C = "C"


_A = ClockClass.A


@dataclass(frozen=True)
class Anchor:
    """A time proof: when the kiosk's boot clock showed `boottime_ns` it was not yet `server_ms`.

    The kiosk reads its boot clock, asks, and the server answers `server_ms` (Unix milliseconds);
    `rtt_ns` later the answer was there. So at `boottime_ns` the true time was between
    `server_ms - rtt` and `server_ms`.
    """

    id: str
    server_ms: int
    boot_id: str
    boottime_ns: int
    rtt_ns: int


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """A closed interval of Unix milliseconds, the best single guess in it, and its class."""

    earliest_ms: int
    latest_ms: int
    at_ms: int
    cls: ClockClass

    def __post_init__(self) -> None:
        if not self.earliest_ms <= self.at_ms <= self.latest_ms:
            raise ValueError("the best guess lies within the interval")

    @property
    def width_ms(self) -> int:
        """How much is left open, in milliseconds."""
        return self.latest_ms - self.earliest_ms


def from_anchor(anchor: Anchor, boottime_ns: int) -> Estimate:
    """The class A interval of a moment in the anchor's boot: its round trip widened by drift."""
    shift_ms = (boottime_ns - anchor.boottime_ns) // 1_000_000
    drift_ms = abs(shift_ms) * DRIFT_PPM // 1_000_000 + 1
    latest = anchor.server_ms + shift_ms + drift_ms
    earliest = anchor.server_ms + shift_ms - anchor.rtt_ns // 1_000_000 - 1 - drift_ms
    return Estimate(earliest, latest, (earliest + latest) // 2, _A)


def width_from(anchor: Anchor, boottime_ns: int) -> int:
    """`from_anchor(anchor, boottime_ns).width_ms`, without making the interval."""
    shift_ms = abs((boottime_ns - anchor.boottime_ns) // 1_000_000)
    return anchor.rtt_ns // 1_000_000 + 3 + 2 * (shift_ms * DRIFT_PPM // 1_000_000)


def estimate(
    *,
    wall_ms: int,
    boot_id: str,
    boottime_ns: int,
    anchors: Iterable[Anchor],
    before_ms: int | None = None,
    after_ms: int | None = None,
) -> Estimate:
    """When a record truly happened.

    `anchors` are proofs of the same device, in any order; those of another boot do not count.
    `before_ms` is the server's time at the last proof that precedes the record in the chain,
    `after_ms` at the first one that follows it (at the latest: when the record arrived). Without
    either the wall clock stands alone, class C; where it contradicts the bracket it is class C
    too, moved to the nearer end, since some clock then is wrong.
    """
    same_boot = [anchor for anchor in anchors if anchor.boot_id == boot_id]
    if same_boot:
        nearest = min(same_boot, key=lambda anchor: abs(anchor.boottime_ns - boottime_ns))
        return from_anchor(nearest, boottime_ns)
    if before_ms is None or after_ms is None or before_ms > after_ms:
        low = wall_ms if before_ms is None else min(before_ms, wall_ms)
        high = wall_ms if after_ms is None else max(after_ms, wall_ms)
        return Estimate(low, high, wall_ms, ClockClass.C)
    if before_ms <= wall_ms <= after_ms:
        return Estimate(before_ms, after_ms, wall_ms, ClockClass.B)
    at = before_ms if wall_ms < before_ms else after_ms
    return Estimate(before_ms, after_ms, at, ClockClass.C)


def wall_is_off(wall_ms: int, truth: Estimate) -> bool:
    """Whether the wall clock lies more than two minutes outside the interval."""
    return not (
        truth.earliest_ms - WALL_TOLERANCE_MS <= wall_ms <= truth.latest_ms + WALL_TOLERANCE_MS
    )

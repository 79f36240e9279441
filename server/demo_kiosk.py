"""A kiosk of the demo township: it signs and chains what it records, as a real one does."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

from attendance.chain import next_head
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, SiteKind, Status

#: How far off a wall clock without a battery is, and how far a boot clock leapt, in milliseconds.
DEAD_MS, LEAP_MS = -2 * 86_400_000, 14 * 3_600_000


@dataclass
class Kiosk:
    """A made-up kiosk: its keys, its chain, and its boot."""

    device: str
    keys: DeviceKeys
    kind: SiteKind
    rng: random.Random
    head: bytes
    booted_ms: int
    boot_id: str
    seq: int = 0
    waiting: list[bytes] = field(default_factory=list)
    first_waiting: int = 1
    before: bytes = b""
    anchor: tuple[str, int] | None = None
    offline_until_ms: int = 0
    wall_off_ms: int = 0
    last: str | None = None

    def reboot(self, ms: int) -> None:
        """A new boot at `ms`; boot clocks start again."""
        self.boot_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.booted_ms = ms

    def record(
        self,
        ms: int,
        kind: Kind,
        official: str,
        status: Status,
        *,
        wall_off_ms: int | None = None,
        boot_off_ms: int = 0,
        **more: object,
    ) -> None:
        """Appends one record, made at `ms`, its clocks as far off as is said (the wall clock as far
        as the kiosk's where nothing is)."""
        wall_off_ms = self.wall_off_ms if wall_off_ms is None else wall_off_ms
        fields: dict[str, object] = {
            "method": Method.FACE,
            "score": round(self.rng.uniform(0.55, 0.85), 3),
            "margin": round(self.rng.uniform(0.2, 0.5), 3),
            "liveness": "passive",
            "gallery": 1,
            **more,
        }
        if fields["method"] is not Method.FACE:
            fields.update(score=None, margin=None, liveness=None, gallery=None)
        self.seq += 1
        self.last = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        payload = encode_record(
            Record(
                device=self.device,
                epoch=1,
                seq=self.seq,
                record_id=self.last,
                kind=kind,
                official=official,
                status=status,
                wall_ms=ms + wall_off_ms,
                boot_id=self.boot_id,
                boottime_ns=(ms + boot_off_ms - self.booted_ms) * 1_000_000,
                anchor=None if self.anchor is None else self.anchor[0],
                **fields,  # type: ignore[arg-type]
            )
        )
        if not self.waiting:
            self.first_waiting, self.before = self.seq, self.head
        self.waiting.append(payload)
        self.head = next_head(self.head, payload)

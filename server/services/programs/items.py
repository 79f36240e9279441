"""Records and findings as other programs get them: by `/api/v1/programs` and by webhooks."""

from __future__ import annotations

import msgspec

from attendance.days import to_ms
from server.models import RecordRow
from server.services.rulings.findings import Found

#: PostgreSQL may give an earlier number to what is committed later: what is that young, waits.
SETTLED_MS = 15_000


class RecordItem(msgspec.Struct):
    """A record as it arrived: never edited. `earliest_ms..latest_ms` is when it surely was."""

    record_id: str
    official: str | None
    site: str | None
    kind: str
    status: str | None
    method: str | None
    verified: bool
    earliest_ms: int
    latest_ms: int
    cls: str
    flags: list[str]
    device: str
    epoch: int
    seq: int
    received_ms: int


class FindingItem(msgspec.Struct):
    """A finding and where it stands."""

    number: int
    kind: str
    day: str
    official: str | None
    site: str
    state: str
    text: str
    opened_ms: int


def record_item(row: RecordRow, site: str | None) -> RecordItem:
    """A record and the name of its site."""
    return RecordItem(
        row.record_id, row.official, site, row.kind, row.status, row.method, row.verified,
        row.earliest_ms, row.latest_ms, row.cls, list(row.flags or ()), row.device_id, row.epoch,
        row.seq, row.received_ms,
    )  # fmt: skip


def finding_item(found: Found) -> FindingItem:
    """A finding without its steps."""
    return FindingItem(
        found.id, found.kind, found.day.isoformat(), found.official, found.site, found.state,
        found.text, to_ms(found.at),
    )  # fmt: skip

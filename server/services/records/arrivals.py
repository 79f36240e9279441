"""What is made of a batch's records before they are written: their times, flags and columns.

Nothing of it needs the lock of the one writer, and most of a record's work is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from attendance.clock import wall_is_off
from attendance.days import to_ms
from attendance.records import Record
from server.models import Device
from server.rules import flags
from server.services.records.recordrows import Columns
from server.services.records.rules import Rules
from server.services.records.timeline import Timeline
from server.services.records.uploads import Upload

_TAKEN = "the record id was used before"
_NOTHING: tuple[str, ...] = ()


class Arrivals(NamedTuple):
    """A batch from its record `start` on: rows for the good ones, by index why others are none."""

    start: int
    good: Sequence[tuple[int, Record]]
    bad: dict[int, str]
    rows: Columns | None


def foresee(
    session: Session, device: str, upload: Upload, now: datetime, secret: bytes | None = None
) -> Arrivals | None:
    """The whole batch's, where it looks as if it followed what is stored; else None."""
    kiosk = session.get(Device, device)
    batch = upload.batch
    if (
        kiosk is None
        or kiosk.revoked_ms is not None
        or kiosk.fork_ms is not None
        or (batch.epoch, batch.first) != (kiosk.epoch, kiosk.seq + 1)
    ):
        return None
    return arrivals(session, kiosk, upload, 0, now, secret)


def fits(found: Arrivals | None, device: Device, start: int) -> bool:
    """Whether what was foreseen is still of this kiosk at its site, and of those records."""
    return (
        found is not None
        and found.start == start
        and (found.rows is None or found.rows.site_id == device.site_id)
    )


def arrivals(
    session: Session,
    device: Device,
    upload: Upload,
    start: int,
    now: datetime,
    secret: bytes | None = None,
) -> Arrivals:
    """From its record `start` on. With the server's `secret` anchors are known that it forgot."""
    good: list[tuple[int, Record]] = []
    bad: dict[int, str] = {}
    ids: set[str] = set()
    for index, record in enumerate(upload.records[start:], start):
        if isinstance(record, str):
            bad[index] = record
        elif record.record_id in ids:
            bad[index] = _TAKEN
        else:
            ids.add(record.record_id)
            good.append((index, record))
    rows = _rows(session, device, upload, good, now, secret) if good else None
    return Arrivals(start, good, bad, rows)


def taken(found: Arrivals, ids: set[str]) -> Arrivals:
    """The same without those whose ids the kiosk's earlier records have."""
    held = {index: _TAKEN for index, record in found.good if record.record_id in ids}
    good = [(index, record) for index, record in found.good if index not in held]
    rows = found.rows if found.rows is not None and found.rows.without(ids) else None
    return Arrivals(found.start, good, {**found.bad, **held}, rows)


def _rows(
    session: Session, device: Device, upload: Upload, good: Sequence[tuple[int, Record]],
    now: datetime, secret: bytes | None,
) -> Columns:  # fmt: skip
    records = [record for _, record in good]
    timeline = Timeline(session, device, upload.batch.epoch, records, to_ms(now), secret)
    times, contradicted = timeline.times(records)
    rules = Rules(session, device, records, times)
    marks = [_NOTHING] * len(records)
    for index, (record, when) in enumerate(zip(records, times, strict=True)):
        off = wall_is_off(record.wall_ms, when)
        if rules.is_plain(record) and not off and not contradicted:
            continue
        words = rules.flags(record, when)
        if index in contradicted:
            words.append(flags.CLOCK_CONTRADICTION)
        if off:
            words.append(flags.WALL_OFF)
            times[index] = timeline.doubted(record, when)
        marks[index] = tuple(words)
    if len(good) == len(upload.payloads):
        payloads, heads = upload.payloads, upload.heads
    else:
        payloads = [upload.payloads[i] for i, _ in good]
        heads = [upload.heads[i] for i, _ in good]
    return Columns(device, records, times, marks, payloads, heads)

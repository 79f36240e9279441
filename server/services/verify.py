"""Checks what was stored against itself: every chain re-run, every column compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import LargeBinary, cast, select
from sqlalchemy.orm import Session

from attendance.chain import genesis, next_head
from attendance.errors import RecordInvalid
from attendance.records import decode_record
from server.models import Device, EpochRow, RecordRow, RejectedRecord
from server.services.intake import columns

#: Tables whose change by other hands is noticed.
PROTECTED = ("record", "rejected_record", "epoch")
_CHUNK = 5_000


@dataclass(frozen=True)
class Bad:
    """A row that is not what it was; `str()` is the line that `verify` prints."""

    table: str
    rowid: int | str
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.rowid} {self.reason}"


@dataclass(frozen=True)
class _Link:
    table: str
    rowid: int
    seq: int
    payload: bytes
    head: bytes


def verify(session: Session) -> Iterator[Bad]:
    """Every bad row of every township, chain by chain."""
    for device in session.scalars(
        select(Device).where(Device.kind == "kiosk").order_by(Device.id)
    ).unique():
        yield from _verify_device(session, device)


def _verify_device(session: Session, device: Device) -> Iterator[Bad]:
    epochs = session.scalars(
        select(EpochRow).where(EpochRow.device_id == device.id).order_by(EpochRow.epoch)
    ).all()
    end: tuple[int, int, bytes] | None = None
    for number, epoch in enumerate(epochs, 1):
        if epoch.epoch != number:
            yield Bad("epoch", epoch.id, f"epoch {number} of {device.id} is missing before it")
        if end is not None and epoch.follows and epoch.cites != end[2]:
            yield Bad("epoch", epoch.id, "the cited head is not where the epoch before it ended")
        head = genesis(device.id, epoch.epoch, epoch.cites)
        seq = 0
        for link in _links(session, device.id, epoch.epoch):
            if link.seq != seq + 1:
                yield Bad(
                    link.table,
                    link.rowid,
                    f"record {seq + 1} of {device.id} epoch {epoch.epoch} is missing before it",
                )
            elif next_head(head, link.payload) != link.head:
                yield Bad(
                    link.table, link.rowid, "its head does not follow: payload or head changed"
                )
            head, seq = link.head, link.seq
        yield from _verify_columns(session, device, epoch.epoch)
        end = (epoch.epoch, seq, head)
    if end is None:
        yield Bad("epoch", device.id, "this kiosk has no first epoch")
    elif end != (device.epoch, device.seq, device.head):
        yield Bad(
            "record",
            device.id,
            f"the chain ends at {end[0]}/{end[1]}, the cursor is {device.epoch}/{device.seq}",
        )


def _raw(column: Any) -> Any:
    # An edit by hand may have left text where bytes were.
    return cast(column, LargeBinary)


def _links(session: Session, device: str, epoch: int) -> Iterator[_Link]:
    """Records and rejected ones of an epoch in the order of their chain."""
    rejected = [
        _Link("rejected_record", *row)
        for row in session.execute(
            select(
                RejectedRecord.id,
                RejectedRecord.seq,
                _raw(RejectedRecord.payload),
                _raw(RejectedRecord.head),
            )
            .where(RejectedRecord.device_id == device, RejectedRecord.epoch == epoch)
            .order_by(RejectedRecord.seq)
        )
    ]
    waiting = iter(rejected)
    pile = next(waiting, None)
    rows = session.execute(
        select(RecordRow.id, RecordRow.seq, _raw(RecordRow.payload), _raw(RecordRow.head))
        .where(RecordRow.device_id == device, RecordRow.epoch == epoch)
        .order_by(RecordRow.seq)
        .execution_options(yield_per=_CHUNK)
    )
    for row in rows:
        while pile is not None and pile.seq < row.seq:
            yield pile
            pile = next(waiting, None)
        yield _Link("record", *row)
    while pile is not None:
        yield pile
        pile = next(waiting, None)


def _verify_columns(session: Session, device: Device, epoch: int) -> Iterator[Bad]:
    names = list(columns_of_payload())
    rows = session.execute(
        select(
            RecordRow.id,
            _raw(RecordRow.payload),
            RecordRow.township_id,
            RecordRow.earliest_ms,
            RecordRow.at_ms,
            RecordRow.latest_ms,
            *(getattr(RecordRow, name) for name in names),
        )
        .where(RecordRow.device_id == device.id, RecordRow.epoch == epoch)
        .order_by(RecordRow.seq)
        .execution_options(yield_per=_CHUNK)
    )
    for rowid, payload, township, earliest, at, latest, *values in rows:
        try:
            said = columns(decode_record(payload))
        except RecordInvalid as error:
            yield Bad("record", rowid, f"the payload is no record: {error}")
            continue
        wrong = next((n for n, value in zip(names, values, strict=True) if said[n] != value), None)
        if wrong is not None:
            yield Bad("record", rowid, f"column {wrong} differs from the payload")
        elif township != device.township_id:
            yield Bad("record", rowid, "column township_id is not that of its kiosk")
        elif not earliest <= at <= latest:
            yield Bad("record", rowid, "its best guess lies outside its interval")


def columns_of_payload() -> tuple[str, ...]:
    """Names of the columns that repeat the payload."""
    return (
        "device_id", "epoch", "seq", "record_id", "official", "kind", "status", "reason",
        "until_ms", "method", "verified", "score", "margin", "liveness", "supersedes", "wall_ms",
    )  # fmt: skip

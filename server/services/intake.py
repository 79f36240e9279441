"""Intake: signed batches of records into the database, each exactly once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from attendance import wire
from attendance.chain import genesis, next_head
from attendance.clock import wall_is_off
from attendance.days import to_ms
from attendance.errors import RecordInvalid, SignatureInvalid, WireInvalid
from attendance.records import Record, decode_record
from server.errors import ApiProblem
from server.models import Device, EpochRow, Quarantined, RecordRow, RejectedRecord
from server.rules import flags
from server.services.anchors import Timeline
from server.services.cursors import is_settled, open_fork
from server.services.rules import Rules

#: Quarantined records kept of one device: a stolen key must not fill the disk.
MAX_QUARANTINED = 100_000
_INSERT = insert(RecordRow.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Upload:
    """A batch whose own claims hold, before the database was asked anything.

    `heads[i]` is the head after `payloads[i]`; `records[i]` the record, or why it is none.
    """

    batch: wire.Batch
    payloads: list[bytes]
    heads: list[bytes]
    records: list[Record | str]


def receive_batch(session: Session, device: Device, body: bytes, now: datetime) -> wire.BatchReply:
    """Decodes and stores a gzipped batch. Raises ApiProblem; see `store`."""
    return store(session, device, read_batch(device.id, device.sign_key, body), now)


def read_batch(device: str, sign_key: bytes, body: bytes) -> Upload:
    """A batch of that device, verified and decoded; needs no database.

    Raises ApiProblem: too_large, malformed, signature.
    """
    if len(body) > wire.MAX_COMPRESSED:
        raise ApiProblem(413, "too_large", f"a batch has at most {wire.MAX_COMPRESSED} bytes")
    try:
        batch, payloads = wire.decode_batch(body, sign_key)
    except SignatureInvalid as error:
        raise ApiProblem(401, "signature", str(error)) from None
    except WireInvalid as error:
        raise ApiProblem(400, "malformed", str(error)) from None
    if batch.device != device:
        raise ApiProblem(400, "malformed", "the batch is of another device")
    head = bytes.fromhex(batch.before)
    heads: list[bytes] = []
    records: list[Record | str] = []
    for seq, payload in enumerate(payloads, batch.first):
        head = next_head(head, payload)
        heads.append(head)
        records.append(_read(payload, device, batch.epoch, seq))
    return Upload(batch, payloads, heads, records)


def _read(payload: bytes, device: str, epoch: int, seq: int) -> Record | str:
    try:
        record = decode_record(payload)
    except RecordInvalid as error:
        return str(error)
    if (record.device, record.epoch, record.seq) != (device, epoch, seq):
        return "the record names another device or place in the chain"
    return record


def store(session: Session, device: Device, upload: Upload, now: datetime) -> wire.BatchReply:
    """Appends what is new and answers for every record; idempotent; the caller commits.

    A record that is none, or whose id is taken, goes on the visible pile and the chain goes on.
    Raises ApiProblem: `gap` (nothing stored, `wanted` is the next seq), `fork` and `revoked` (all
    of it kept in quarantine: commit), `malformed` (an epoch that does not begin as it must).
    """
    batch = upload.batch
    if device.revoked_ms is not None:
        _quarantine(session, device, upload, 0, "revoked", now)
        raise ApiProblem(
            403, "revoked", "this device is revoked; its records await a review", keep=True
        )
    if device.fork_ms is None and batch.epoch > device.epoch:
        _open_epoch(session, device, batch, now)
    known = _known(session, device, batch)
    results: list[wire.Result] = []
    for index, payload in enumerate(upload.payloads):
        held = known.get(batch.first + index)
        if held is None:
            break
        if held[0] != payload or held[1] != upload.heads[index]:
            return _apart(session, device, upload, results, now)
        results.append(held[2])
    fresh = len(results)
    if fresh < len(upload.payloads):
        forked = device.fork_ms is not None or batch.epoch < device.epoch
        if forked or batch.first + fresh <= device.seq:
            return _apart(session, device, upload, results, now)
        if batch.first + fresh > device.seq + 1:
            raise _gap(device)
        before = upload.heads[fresh - 1] if fresh else bytes.fromhex(batch.before)
        if before != device.head:
            return _apart(session, device, upload, results, now)
        results += _append(session, device, upload, fresh, now)
        device.seq = batch.last
        device.head = upload.heads[-1]
    return wire.BatchReply(
        results=results, epoch=device.epoch, seq=device.seq, head=device.head.hex()
    )


def _apart(
    session: Session,
    device: Device,
    upload: Upload,
    results: list[wire.Result],
    now: datetime,
) -> wire.BatchReply:
    """Keeps another history from where it begins. Raises ApiProblem `fork` unless it is settled.

    Of a settled one every record is answered `rejected`, so that the kiosk's outbox empties.
    """
    start = len(results)
    if device.fork_ms is not None or not is_settled(device, upload.batch.epoch):
        raise _fork(session, device, upload, start, now)
    _quarantine(session, device, upload, start, "fork", now)
    why = "of a history that was set aside; it is kept for a review"
    for index in range(start, len(upload.payloads)):
        record = upload.records[index]
        name = record.record_id if isinstance(record, Record) else None
        seq = upload.batch.first + index
        results.append(wire.Result(seq=seq, record_id=name, result="rejected", why=why))
    return wire.BatchReply(
        results=results, epoch=device.epoch, seq=device.seq, head=device.head.hex()
    )


def _gap(device: Device) -> ApiProblem:
    wanted = device.seq + 1
    return ApiProblem(
        409, "gap", f"record {wanted} of epoch {device.epoch} comes next", wanted=wanted
    )


def _open_epoch(session: Session, device: Device, batch: wire.Batch, now: datetime) -> None:
    if batch.epoch != device.epoch + 1:
        raise _gap(device)
    if batch.first != 1:
        raise ApiProblem(409, "gap", f"epoch {batch.epoch} begins with record 1", wanted=1)
    if batch.cites is None:
        raise ApiProblem(400, "malformed", "a later epoch cites the head that it continues from")
    cites = bytes.fromhex(batch.cites)
    start = genesis(device.id, batch.epoch, cites)
    if bytes.fromhex(batch.before) != start:
        raise ApiProblem(400, "malformed", "the epoch does not begin at its genesis")
    session.add(
        EpochRow(
            township_id=device.township_id,
            device_id=device.id,
            epoch=batch.epoch,
            cites=cites,
            follows=cites == device.head,
            opened_ms=to_ms(now),
        )
    )
    device.epoch, device.seq, device.head = batch.epoch, 0, start


def _known(
    session: Session, device: Device, batch: wire.Batch
) -> dict[int, tuple[bytes, bytes, wire.Result]]:
    """What is stored of the batch's places: payload, head, and the answer it gets again."""
    if batch.epoch == device.epoch and batch.first > device.seq:
        return {}
    found: dict[int, tuple[bytes, bytes, wire.Result]] = {}
    for row in session.execute(
        select(RecordRow.seq, RecordRow.payload, RecordRow.head, RecordRow.record_id).where(
            RecordRow.device_id == device.id,
            RecordRow.epoch == batch.epoch,
            RecordRow.seq.between(batch.first, batch.last),
        )
    ):
        again = wire.Result(seq=row.seq, record_id=row.record_id, result="duplicate")
        found[row.seq] = (row.payload, row.head, again)
    for pile in session.scalars(
        select(RejectedRecord).where(
            RejectedRecord.device_id == device.id,
            RejectedRecord.epoch == batch.epoch,
            RejectedRecord.seq.between(batch.first, batch.last),
        )
    ):
        again = wire.Result(seq=pile.seq, record_id=pile.record_id, result="rejected", why=pile.why)
        found[pile.seq] = (pile.payload, pile.head, again)
    return found


def _append(
    session: Session, device: Device, upload: Upload, start: int, now: datetime
) -> list[wire.Result]:
    now_ms = to_ms(now)
    first = upload.batch.first
    good: list[int] = []
    bad: dict[int, str] = {}
    ids: set[str] = set()
    for index in range(start, len(upload.records)):
        record = upload.records[index]
        if isinstance(record, str):
            bad[index] = record
        elif record.record_id in ids:
            bad[index] = "the record id was used before"
        else:
            ids.add(record.record_id)
            good.append(index)
    rows = _rows(session, device, upload, good, now_ms)
    try:
        with session.begin_nested():
            if rows:
                _insert(session, rows)
    except IntegrityError:
        taken = set(
            session.scalars(select(RecordRow.record_id).where(RecordRow.record_id.in_(ids)))
        )
        for index in good:
            record = upload.records[index]
            if isinstance(record, Record) and record.record_id in taken:
                bad[index] = "the record id was used before"
        rows = [row for row in rows if row["record_id"] not in taken]
        if rows:
            _insert(session, rows)
    results = []
    for index in range(start, len(upload.records)):
        record = upload.records[index]
        record_id = record.record_id if isinstance(record, Record) else None
        why = bad.get(index)
        if why is not None:
            session.add(
                RejectedRecord(
                    township_id=device.township_id,
                    device_id=device.id,
                    epoch=upload.batch.epoch,
                    seq=first + index,
                    record_id=record_id,
                    payload=upload.payloads[index],
                    head=upload.heads[index],
                    why=why,
                    received_ms=now_ms,
                )
            )
        result = "stored" if why is None else "rejected"
        results.append(wire.Result(seq=first + index, record_id=record_id, result=result, why=why))
    session.flush()
    return results


def _rows(
    session: Session, device: Device, upload: Upload, good: list[int], now_ms: int
) -> list[dict[str, Any]]:
    records = [r for r in (upload.records[i] for i in good) if isinstance(r, Record)]
    if not records:
        return []
    timeline = Timeline(session, device, upload.batch.epoch, records, now_ms)
    times = [timeline.when(record) for record in records]
    rules = Rules(session, device, records, [when for when, _ in times])
    rows = []
    for index, record, (when, contradicted) in zip(good, records, times, strict=True):
        marks = rules.flags(record, when)
        if contradicted:
            marks.append(flags.CLOCK_CONTRADICTION)
        if wall_is_off(record.wall_ms, when):
            marks.append(flags.WALL_OFF)
        rows.append(
            {
                **columns(record),
                "township_id": device.township_id,
                "site_id": device.site_id,
                "payload": upload.payloads[index],
                "head": upload.heads[index],
                "earliest_ms": when.earliest_ms,
                "latest_ms": when.latest_ms,
                "at_ms": when.at_ms,
                "cls": when.cls.value,
                "flags": marks or None,
                "received_ms": now_ms,
            }
        )
    return rows


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    """Appends records; `rows` all have the same keys in the same order."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.execute(_INSERT, rows)
        return
    # Straight to the driver: what SQLAlchemy does to 500 x 27 parameters doubles the time.
    names = list(rows[0])
    marks = ",".join("?" * len(names))
    values = [
        tuple(json.dumps(v) if isinstance(v, list) else v for v in row.values()) for row in rows
    ]
    connection.exec_driver_sql(
        f"INSERT INTO record ({','.join(names)}) VALUES ({marks})",  # noqa: S608 (our own names)
        values,
    )


def columns(record: Record) -> dict[str, Any]:
    """The columns of `RecordRow` that repeat the payload; `verify` compares them with it."""
    return {
        "device_id": record.device,
        "epoch": record.epoch,
        "seq": record.seq,
        "record_id": record.record_id,
        "official": record.official,
        "kind": record.kind.value,
        "status": None if record.status is None else record.status.value,
        "reason": _text(record.reason),
        "until_ms": record.until_ms,
        "method": None if record.method is None else record.method.value,
        "verified": record.verified,
        "score": record.score,
        "margin": record.margin,
        "liveness": _text(record.liveness),
        "supersedes": record.supersedes,
        "wall_ms": record.wall_ms,
    }


def _text(text: str | None) -> str | None:
    # PostgreSQL cannot hold NUL in a text; the payload keeps the exact bytes.
    return None if text is None else text.replace("\x00", "\ufffd")


def _fork(
    session: Session, device: Device, upload: Upload, start: int, now: datetime
) -> ApiProblem:
    seq = upload.batch.first + start
    if device.fork_ms is None:
        open_fork(session, device, upload.batch.epoch, seq, now)
    _quarantine(session, device, upload, start, "fork", now)
    return ApiProblem(
        409,
        "fork",
        f"record {seq} is known with other bytes; both are kept for a review",
        keep=True,
    )


def _quarantine(
    session: Session, device: Device, upload: Upload, start: int, why: str, now: datetime
) -> None:
    epoch, first = upload.batch.epoch, upload.batch.first
    mine = Quarantined.device_id == device.id
    room = session.scalars(
        select(Quarantined.id).where(mine).order_by(Quarantined.id).offset(MAX_QUARANTINED).limit(1)
    ).first()
    if room is not None:
        raise ApiProblem(429, "slow_down", "this device's quarantine is full", retry_after_s=900)
    held = set(
        session.scalars(
            select(Quarantined.head).where(
                mine,
                Quarantined.epoch == epoch,
                Quarantined.seq.between(first, upload.batch.last),
            )
        )
    )
    rows = [
        {
            "township_id": device.township_id,
            "device_id": device.id,
            "epoch": epoch,
            "seq": first + index,
            "payload": upload.payloads[index],
            "head": upload.heads[index],
            "why": why,
            "received_ms": to_ms(now),
        }
        for index in range(start, len(upload.payloads))
        if upload.heads[index] not in held
    ]
    if rows:
        session.execute(insert(Quarantined), rows)

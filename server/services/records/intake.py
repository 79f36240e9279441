"""Intake: signed batches of records into the database, each exactly once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from attendance import wire
from attendance.chain import genesis
from attendance.days import to_ms
from attendance.records import Record
from server.commits import is_together, savepoint
from server.db import append
from server.errors import ApiProblem
from server.models import Contact, Device, EpochRow, Quarantined, RecordRow, RejectedRecord
from server.services.evidence import audit
from server.services.records import apart
from server.services.records.arrivals import Arrivals, arrivals, fits, taken
from server.services.records.cursors import is_settled, note_fork
from server.services.records.uploads import Upload, read_batch
from server.services.rulings import alarms

#: A kiosk opens an epoch when its card lost records: none opens so many ahead of what is here.
MOST_EPOCHS = 1_000
#: Quarantined records kept of one device: a stolen key must not fill the disk.
MAX_QUARANTINED = 100_000
#: Epochs that a kiosk may be ahead of a server that was put back: one for each time that its card
#: was, since the backup.
MAX_SKIPPED = 200


def receive_batch(
    session: Session, device: Device, body: bytes, now: datetime, secret: bytes | None = None
) -> wire.BatchReply:
    """Decodes and stores a gzipped batch. Raises ApiProblem; see `store`."""
    upload = read_batch(device.id, device.sign_key, body)
    return store(session, device, upload, now, secret=secret)


def store(
    session: Session,
    device: Device,
    upload: Upload,
    now: datetime,
    foreseen: Arrivals | None = None,
    secret: bytes | None = None,
) -> wire.BatchReply:
    """Appends what is new and answers for every record; idempotent; the caller commits.

    `foreseen` is what `server.services.records.arrivals.foresee` made of it beforehand, `secret`
    the server's, by which it knows its anchors again. A record
    that is none, or whose id is taken, goes on the visible pile and the chain goes on. Raises
    ApiProblem: `gap` (nothing stored, `wanted` is the next seq), `fork` and `revoked` (all of it
    kept in quarantine: commit), `malformed` (an epoch that does not begin as it must).
    """
    batch = upload.batch
    if device.revoked_ms is not None:
        _quarantine(session, device, upload, 0, "revoked", now)
        raise ApiProblem(
            403, "revoked", "this device is revoked; its records await a review", keep=True
        )
    if device.fork_ms is None and batch.epoch > device.epoch:
        _open_epoch(session, device, batch, now)
    known = {**_gone(device, upload), **_known(session, device, batch)}
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
        results += _append(session, device, upload, fresh, now, foreseen, secret)
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
    if batch.epoch > device.epoch + MAX_SKIPPED:
        raise _gap(device)
    if batch.first != 1:
        raise ApiProblem(409, "gap", f"epoch {batch.epoch} begins with record 1", wanted=1)
    if batch.cites is None:
        raise ApiProblem(400, "malformed", "a later epoch cites the head that it continues from")
    cites = bytes.fromhex(batch.cites)
    start = genesis(device.id, batch.epoch, cites)
    if bytes.fromhex(batch.before) != start:
        raise ApiProblem(400, "malformed", "the epoch does not begin at its genesis")
    _note_lost(session, device, now)
    first = (device.epoch, device.seq + 1)
    # A kiosk sends all that it has, in order: it never had an epoch that it leaves out. It was in
    # one as its card was put back, and the next was opened by a server that this one forgot.
    while device.epoch + 1 < batch.epoch:
        _begin(session, device, device.epoch + 1, device.head, now)
    if not _begin(session, device, batch.epoch, cites, now):
        _note_unknown(session, device, first, now)


def _begin(session: Session, device: Device, epoch: int, cites: bytes, now: datetime) -> bool:
    """Opens an epoch; whether it follows what is held."""
    follows = cites == device.head
    session.add(
        EpochRow(
            township_id=device.township_id,
            device_id=device.id,
            epoch=epoch,
            cites=cites,
            follows=follows,
            opened_ms=to_ms(now),
        )
    )
    device.epoch, device.seq, device.head = epoch, 0, genesis(device.id, epoch, cites)
    return follows


def _note_unknown(
    session: Session, device: Device, first: tuple[int, int], now: datetime
) -> None:
    """Says that records from `first` on until this epoch are lost at both ends: card and server
    were put back.

    In the audit trail, by a finding, and by keeping days open until somebody has reviewed it.
    """
    session.flush()
    apart.hold_lost(session, device, device.epoch, now)
    what = "{}/{} - {}/1".format(*first, device.epoch)
    audit.note_for(session, device.township_id, f"device:{device.id}", "head_unknown", what, now)
    alarms.lost_at_both_ends(session, device, first, device.epoch, now)


def _note_lost(session: Session, device: Device, now: datetime) -> None:
    """Says in the audit trail, and by a finding, which records a card no longer had: from the first
    to the last.

    What it still had it said with its last cursor of the old epoch. After a fork that was settled
    nothing was lost.
    """
    if is_settled(device, device.epoch):
        return
    mine = select(Contact).where(Contact.device_id == device.id, Contact.epoch <= device.epoch)
    last = session.scalar(mine.order_by(Contact.id.desc()).limit(1))
    if last is not None and (last.epoch, last.seq) < (device.epoch, device.seq):
        first, end = (last.epoch, last.seq + 1), (device.epoch, device.seq)
        lost = "{}/{} - {}/{}".format(*first, *end)
        audit.note_for(session, device.township_id, f"device:{device.id}", "card_lost", lost, now)
        alarms.lost(session, device, first, end, now)


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


def _gone(device: Device, upload: Upload) -> dict[int, tuple[bytes, bytes, wire.Result]]:
    """Places of the batch whose records were held once and are pruned: answered, not kept again.

    Their bytes are gone; that they are the same the head after the last of them says.
    """
    epoch, last, head = device.pruned_epoch, device.pruned_seq, device.pruned_head
    if epoch is None or last is None or head is None or upload.batch.epoch > epoch:
        return {}
    found: dict[int, tuple[bytes, bytes, wire.Result]] = {}
    for index, record in enumerate(upload.records):
        seq = upload.batch.first + index
        if (upload.batch.epoch, seq) > (epoch, last):
            break
        stated = head if (upload.batch.epoch, seq) == (epoch, last) else upload.heads[index]
        again = (
            wire.Result(seq=seq, record_id=None, result="rejected", why=record)
            if isinstance(record, str)
            else wire.Result(seq=seq, record_id=record.record_id, result="duplicate")
        )
        found[seq] = (upload.payloads[index], stated, again)
    return found


def _append(
    session: Session,
    device: Device,
    upload: Upload,
    start: int,
    now: datetime,
    foreseen: Arrivals | None,
    secret: bytes | None,
) -> list[wire.Result]:
    if foreseen is not None and fits(foreseen, device, start):
        found = foreseen
    else:
        found = arrivals(session, device, upload, start, now, secret)
    if found.rows is not None:
        found.rows.received_ms = to_ms(now)
        try:
            with savepoint(session):
                found.rows.insert(session)
        except IntegrityError:
            if is_together(session):
                raise
            mine, ids = RecordRow.device_id == device.id, [r.record_id for _, r in found.good]
            asked = select(RecordRow.record_id).where(mine, RecordRow.record_id.in_(ids))
            found = taken(found, set(session.scalars(asked)))
            if found.rows is not None:
                found.rows.insert(session)
    first = upload.batch.first
    results = [
        wire.Result(seq=first + i, record_id=r.record_id, result="stored") for i, r in found.good
    ]
    if found.good:
        apart.came_again(session, device, upload.batch.epoch, first + start, upload.batch.last)
    if found.bad:
        piled = [(first + i, upload.payloads[i]) for i in found.bad]
        apart.hold(session, device, upload.batch.epoch, piled, now)
        results += [_pile(session, device, upload, i, why, now) for i, why in found.bad.items()]
        results.sort(key=lambda result: result.seq)
    return results


def _pile(
    session: Session, device: Device, upload: Upload, index: int, why: str, now: datetime
) -> wire.Result:
    record = upload.records[index]
    record_id = record.record_id if isinstance(record, Record) else None
    seq = upload.batch.first + index
    session.add(
        RejectedRecord(
            township_id=device.township_id,
            device_id=device.id,
            epoch=upload.batch.epoch,
            seq=seq,
            record_id=record_id,
            payload=upload.payloads[index],
            head=upload.heads[index],
            why=why,
            received_ms=to_ms(now),
        )
    )
    return wire.Result(seq=seq, record_id=record_id, result="rejected", why=why)


def _fork(
    session: Session, device: Device, upload: Upload, start: int, now: datetime
) -> ApiProblem:
    seq = upload.batch.first + start
    note_fork(session, device, upload.batch.epoch, seq, now)
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
    if epoch > device.epoch + MOST_EPOCHS:
        raise ApiProblem(400, "malformed", f"epoch {epoch} is no kiosk's that is at {device.epoch}")
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
    fresh = [i for i in range(start, len(upload.payloads)) if upload.heads[i] not in held]
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
        for index in fresh
    ]
    if rows:
        append(session, Quarantined, rows)
        put_by = [(first + index, upload.payloads[index]) for index in fresh]
        apart.hold(session, device, epoch, put_by, now)

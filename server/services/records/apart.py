"""Records that were set aside: what they hold, from when on days wait for them, and the review.

Nobody is absent on a day of which a record that nobody looked at may speak. So
`Device.apart_from_ms` says from when on the kiosk is not complete; `server.services.sheets.inputs`
reads it with the kiosk.

So it is with records that nobody has: where a kiosk's epoch continues from a head that the server
never had, both were put back. There is nothing to look at; somebody says what became of the days.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import CompoundSelect

from attendance.clock import WALL_TOLERANCE_MS
from attendance.days import MAX_MS, from_ms, to_ms
from attendance.errors import RecordInvalid
from attendance.i18n import say
from attendance.records import PERSON_KINDS, Record, decode_record
from attendance.statuses import Kind
from server.db import append
from server.errors import InputInvalid, NotFound
from server.models import (
    ApartReview,
    Contact,
    Device,
    EpochRow,
    Quarantined,
    RecordRow,
    RejectedRecord,
    Township,
    User,
)
from server.services.access.permissions import Act, not_own, require
from server.services.records.timeline import Timeline
from server.services.township.townships import clean

#: Kinds of record that say nothing of anybody's whereabouts.
_OF_THINGS = frozenset(kind.value for kind in Kind if kind not in PERSON_KINDS)
_is_official = re.compile(r"[A-Za-z0-9-]{1,32}").fullmatch
_Bytes = Sequence[tuple[int, bytes]]


@dataclass(frozen=True)
class Claim:
    """What a record says of itself, as far as its bytes can be read; nothing of it is checked."""

    official: str | None = None
    kind: str | None = None
    status: str | None = None
    method: str | None = None
    wall_ms: int | None = None


@dataclass(frozen=True)
class Reviewed:
    """Who looked at a record set aside, when, and what they say of it."""

    by: str
    at: datetime
    note: str


@dataclass(frozen=True)
class Apart:
    """One record set aside. `key` names it in a form.

    `why` is `fork`, `revoked`, what was wrong with the bytes of one that is `unreadable`, or `lost`
    for those that neither kiosk nor server has, before the first of an epoch.
    `counted` where the same record came again and is in its place in the chain.
    """

    key: str
    epoch: int
    seq: int
    unreadable: bool
    why: str
    received_ms: int
    claim: Claim
    counted: bool
    review: Reviewed | None

    @property
    def lost(self) -> bool:
        """Whether there is nothing to look at: it stands for records that nobody has."""
        return self.why == "lost"

    @property
    def waits(self) -> bool:
        """Whether somebody has to look at it."""
        return self.review is None and not self.counted


def claim_of(payload: bytes) -> Claim:
    """What bytes claim that may be no record at all."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Claim()
    if not isinstance(found, dict):
        return Claim()
    official, wall_ms = found.get("official"), found.get("wall_ms")
    words = (found.get(name) for name in ("kind", "status", "method"))
    kind, status, method = (clean(w, 20) if isinstance(w, str) else None for w in words)
    return Claim(
        official if isinstance(official, str) and _is_official(official) else None,
        kind, status, method,
        wall_ms if type(wall_ms) is int and 0 <= wall_ms <= MAX_MS else None,
    )  # fmt: skip


def hold(session: Session, device: Device, epoch: int, rows: _Bytes, now: datetime) -> None:
    """Notes that these records of the kiosk, by number, were just set aside."""
    numbers = [seq for seq, _ in rows]
    counted = set(
        session.scalars(
            select(RecordRow.payload).where(
                RecordRow.device_id == device.id,
                RecordRow.epoch == epoch,
                RecordRow.seq.between(min(numbers), max(numbers)),
            )
        )
    )
    fresh = [(seq, payload) for seq, payload in rows if payload not in counted]
    since = _earliest(session, device, epoch, fresh, to_ms(now))
    if since is not None:
        device.apart_from_ms = min(since, device.apart_from_ms or since)


def hold_lost(session: Session, device: Device, epoch: int, now: datetime) -> None:
    """Notes that records are lost at both ends, before an epoch that was just opened."""
    since = _lost_since(session, device, epoch, to_ms(now))
    device.apart_from_ms = min(since, device.apart_from_ms or since)


def came_again(session: Session, device: Device, epoch: int, first: int, last: int) -> None:
    """Looks again at what waits where records were stored that may have been set aside before."""
    if device.apart_from_ms is None:
        return
    known = select(Quarantined.id).where(
        Quarantined.device_id == device.id,
        Quarantined.epoch == epoch,
        Quarantined.seq.between(first, last),
    )
    session.flush()
    if session.scalars(known.limit(1)).first() is not None:
        look_again(session, device)


def look_again(session: Session, device: Device) -> None:
    """Works out anew, from what waits for a review, from when on the kiosk is not complete."""
    session.flush()
    rows = _rows(device.id, open_only=True).subquery()
    batches = session.execute(
        select(rows.c.received_ms, rows.c.epoch, rows.c.kept == "e")
        .distinct()
        .order_by(rows.c.received_ms)
    ).all()
    found: list[int] = []
    for received_ms, epoch, lost in batches:
        if lost:
            found.append(_lost_since(session, device, epoch, received_ms))
            continue
        of_batch = and_(
            rows.c.received_ms == received_ms, rows.c.epoch == epoch, rows.c.kept != "e"
        )
        payloads = session.execute(
            select(rows.c.seq, rows.c.payload).where(of_batch).order_by(rows.c.seq)
        )
        listed = [(seq, payload) for seq, payload in payloads]
        since = _earliest(session, device, epoch, listed, received_ms)
        if since is not None:
            found.append(since)
    device.apart_from_ms = min(found, default=None)


def _earliest(
    session: Session, device: Device, epoch: int, rows: _Bytes, received_ms: int
) -> int | None:
    """The earliest moment that any of them may be of; None where none is about a person.

    Its own clock is believed where a contact of the same boot vouches for it. Else it came after
    the kiosk last said that it had fewer records, or when its wall clock says, whichever is first.
    """
    about = [(seq, p, c) for seq, p in sorted(rows) if (c := claim_of(p)).kind not in _OF_THINGS]
    if not about:
        return None
    last = session.scalar(
        select(func.max(Contact.server_ms)).where(
            Contact.device_id == device.id,
            Contact.server_ms <= received_ms,
            or_(Contact.epoch < epoch, and_(Contact.epoch == epoch, Contact.seq < about[0][0])),
        )
    )
    lower = max(device.paired_ms, last or device.paired_ms)
    read = {seq: record for seq, p, _ in about if (record := _read(p, device, epoch, seq))}
    timeline = None
    if read:
        timeline = Timeline(session, device, epoch, list(read.values()), received_ms)
    found: list[int] = []
    for seq, _, claim in about:
        anchored = None if timeline is None or seq not in read else timeline.anchored(read[seq])
        wall_ms = claim.wall_ms
        if anchored is not None and anchored.earliest_ms <= received_ms:
            found.append(max(anchored.earliest_ms, device.paired_ms))
        elif wall_ms is not None and device.paired_ms <= wall_ms <= received_ms + WALL_TOLERANCE_MS:
            found.append(min(lower, wall_ms))
        else:
            found.append(lower)
    return min(found)


def _lost_since(session: Session, device: Device, epoch: int, opened_ms: int) -> int:
    """When the kiosk last said that it had no more than the server holds before that epoch."""
    held = (device.pruned_epoch or 1, device.pruned_seq or 0)
    for table in (RecordRow, RejectedRecord):
        last = session.execute(
            select(table.epoch, table.seq)
            .where(table.device_id == device.id, table.epoch < epoch)
            .order_by(table.epoch.desc(), table.seq.desc())
            .limit(1)
        ).first()
        held = held if last is None else max(held, (last.epoch, last.seq))
    heard = session.scalar(
        select(func.max(Contact.server_ms)).where(
            Contact.device_id == device.id,
            Contact.server_ms <= opened_ms,
            or_(
                Contact.epoch < held[0],
                and_(Contact.epoch == held[0], Contact.seq <= held[1]),
            ),
        )
    )
    return max(device.paired_ms, heard or device.paired_ms)


def _read(payload: bytes, device: Device, epoch: int, seq: int) -> Record | None:
    try:
        record = decode_record(payload)
    except RecordInvalid:
        return None
    return record if (record.device, record.epoch, record.seq) == (device.id, epoch, seq) else None


def kiosk_of(
    session: Session, township: Township | None, device_id: str, lock: bool = False
) -> Device:
    """The township's kiosk; of a command on the server (None) any. Raises NotFound."""
    query = select(Device).where(Device.id == device_id, Device.kind == "kiosk")
    if township is not None:
        query = query.where(Device.township_id == township.id)
    found = session.scalars(query.with_for_update(of=Device) if lock else query).unique().first()
    if found is None:
        raise NotFound(say(f"没有终端 {device_id}", f"there is no kiosk {device_id}"))
    return found


def listing(
    session: Session,
    device: Device,
    waiting: bool = False,
    first: int = 0,
    limit: int | None = None,
) -> list[Apart]:
    """What was set aside of a kiosk, what came last first, each batch in its order.

    Only what waits for a review, where asked.
    """
    rows = _rows(device.id, open_only=waiting).subquery()
    found = session.execute(
        select(
            rows, ApartReview.by, ApartReview.at_ms, ApartReview.note.label("said"),
            _again(device.id, rows.c).label("again"),
        )
        .outerjoin(ApartReview, _review_of(device.id, rows.c))
        .order_by(rows.c.received_ms.desc(), rows.c.epoch, rows.c.seq, rows.c.kept, rows.c.id)
        .offset(first)
        .limit(limit)
    )  # fmt: skip
    return [
        Apart(
            f"{row.kept}{row.id}", row.epoch, row.seq, row.kept == "r", row.why, row.received_ms,
            claim_of(row.payload), row.kept == "q" and bool(row.again),
            None if row.by is None else Reviewed(row.by, from_ms(row.at_ms), row.said),
        )
        for row in found
    ]  # fmt: skip


def counts(session: Session, device: Device, waiting: bool = False) -> dict[int, int]:
    """How many there are of each batch, by when it was received."""
    rows = _rows(device.id, open_only=waiting).subquery()
    found = session.execute(select(rows.c.received_ms, func.count()).group_by(rows.c.received_ms))
    return {received_ms: number for received_ms, number in found}  # noqa: C416 (rows are not tuples)


def review(
    session: Session,
    township: Township,
    device_id: str,
    note: str,
    by: User,
    now: datetime,
    keys: Iterable[str] = (),
    batch: int | None = None,
) -> int:
    """Notes that somebody looked at these records, or at all of a batch (when it was received).

    How many. What was reviewed before is left out. Raises NotAllowed (role; nobody reviews their
    own), NotFound, InputInvalid.
    """
    require(by, Act.REVIEW, township)
    device = kiosk_of(session, township, device_id, lock=True)
    note = clean(note, 500)
    if not note:
        raise InputInvalid("text", say("请写明情况", "say what there is to say"), "note")
    rows = _rows(device.id, open_only=True).subquery()
    wanted: list[ColumnElement[bool]] = [
        and_(rows.c.kept == kind, rows.c.id.in_(ids))
        for kind in "qre"
        if (ids := [int(k[1:]) for k in keys if re.fullmatch(rf"{kind}[0-9]{{1,18}}", k)])
    ]
    if batch is not None:
        wanted = [rows.c.received_ms == batch]
    if not wanted:
        raise InputInvalid("apart", say("请勾选记录", "choose records that wait"), "one")
    found = session.execute(
        select(rows.c.epoch, rows.c.seq, rows.c.head, rows.c.payload).where(or_(*wanted))
    ).all()
    if not found:
        raise InputInvalid("apart", say("请勾选记录", "choose records that wait"), "one")
    not_own(by, *{claim_of(row.payload).official for row in found})
    made = {
        (row.epoch, row.seq, row.head): {
            "township_id": township.id, "device_id": device.id, "epoch": row.epoch,
            "seq": row.seq, "head": row.head, "note": note, "by": by.name,
            "by_official": by.official, "at_ms": to_ms(now),
        }
        for row in found
    }  # fmt: skip
    append(session, ApartReview, list(made.values()))
    look_again(session, device)
    return len(made)


def _rows(device_id: str, open_only: bool) -> CompoundSelect[*tuple[Any, ...]]:
    """All tables as one: `kept` is q, r or e. `open_only`: those that wait for a review."""
    parts: list[Any] = []
    for kept, table in (("q", Quarantined), ("r", RejectedRecord)):
        part = select(
            literal(kept, String).label("kept"), table.id, table.epoch, table.seq, table.head,
            table.payload, cast(table.why, String).label("why"), table.received_ms,
        ).where(table.device_id == device_id)  # fmt: skip
        if open_only:
            part = part.where(~exists().where(_review_of(device_id, table)))
            if kept == "q":
                part = part.where(~_again(device_id, table))
        parts.append(part)
    # As a record before the epoch's first, whose head is the one that nobody knows.
    lost = select(
        literal("e", String).label("kept"), EpochRow.id, EpochRow.epoch, literal(0).label("seq"),
        EpochRow.cites.label("head"), literal(b"").label("payload"),
        literal("lost", String).label("why"), EpochRow.opened_ms.label("received_ms"),
    ).where(EpochRow.device_id == device_id, EpochRow.follows.is_(False))  # fmt: skip
    if open_only:
        reviewed = and_(
            ApartReview.device_id == device_id,
            ApartReview.epoch == EpochRow.epoch,
            ApartReview.seq == 0,
            ApartReview.head == EpochRow.cites,
        )
        lost = lost.where(~exists().where(reviewed))
    return union_all(*parts, lost)


def _review_of(device_id: str, row: Any) -> ColumnElement[bool]:
    return and_(
        ApartReview.device_id == device_id,
        ApartReview.epoch == row.epoch,
        ApartReview.seq == row.seq,
        ApartReview.head == row.head,
    )


def _again(device_id: str, row: Any) -> ColumnElement[bool]:
    """Whether the chain holds the same record in its place, counted or on the pile."""
    return or_(
        *(
            exists().where(
                table.device_id == device_id,
                table.epoch == row.epoch,
                table.seq == row.seq,
                table.head == row.head,
            )
            for table in (RecordRow, RejectedRecord)
        )
    )

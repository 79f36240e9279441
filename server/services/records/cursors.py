"""Where a kiosk's chain stands, asked and answered."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import to_ms
from attendance.galleries import is_believable
from attendance.pairing import MAX_DESKS
from attendance.signing import to_text
from server.models import AuditEntry, Device, RecordRow, RejectedRecord
from server.services.evidence import audit
from server.services.records import anchors
from server.services.records.once import once
from server.services.rulings import alarms

#: A record may be made while the kiosk's question is on its way: that long, at the most.
IN_FLIGHT_MS = anchors.UNREPORTED_RTT_NS // 1_000_000
# Built once: it is asked at every cursor.
_DESK = (
    select(Device.sign_key)
    .where(
        Device.township_id == bindparam("township"),
        Device.kind == "desk",
        Device.revoked_ms.is_(None),
    )
    .order_by(Device.paired_ms.desc(), Device.id)
    .limit(1)
)


def cursor(
    session: Session, device: Device, asked: wire.CursorRequest, now: datetime, *, secret: bytes
) -> wire.CursorReply:
    """The server's cursor, a time anchor and the state (docs/wire.md, "A sync exchange").

    Also notes the contact, the kiosk's health, and up to when its records are complete.
    """
    now_ms = to_ms(now)
    state = state_of(session, device, asked)
    if state == "fork" and device.fork_ms is None:
        note_fork(session, device, asked.epoch, asked.seq, now)
    asked_ms = (
        anchors.note_contact(session, device, asked, now, secret)
        if device.revoked_ms is None
        else None
    )
    if asked_ms is not None:
        device.last_contact_ms = now_ms
        device.pending = asked.pending
        if is_believable(asked.gallery, device.gallery_version):
            device.gallery_on_device = asked.gallery
        if asked.health is not None:
            device.health = msgspec.to_builtins(asked.health)
        mine = (device.epoch, device.seq, device.head.hex())
        if (device.complete_until_ms or 0) > now_ms:
            _forget_ahead(session, device, now_ms)
        if state == "ok" and asked.pending == 0 and mine == (asked.epoch, asked.seq, asked.head):
            device.complete_until_ms = _complete_until(device, asked_ms, now_ms)
    place = device.township_id
    desk = once(session, ("desk", place), lambda: desk_key(session, place))
    return wire.CursorReply(
        state=state,
        epoch=device.epoch,
        seq=device.seq,
        head=device.head.hex(),
        anchor=anchors.offer(secret, device.id, asked.boot_id, asked.boottime_ns, now),
        gallery=device.gallery_version,
        desk_key=None if desk is None else to_text(desk),
    )


def _complete_until(device: Device, asked_ms: int, now_ms: int) -> int | None:
    """Up to when a kiosk's records are complete that said so, and asked at `asked_ms` or later.

    The question may have been long on its way: what was recorded since is still at the kiosk. What
    lies ahead of the server's clock was written when that clock was ahead, and does not count.
    """
    until = min(asked_ms, now_ms - IN_FLIGHT_MS)
    held = device.complete_until_ms
    if until < device.paired_ms - IN_FLIGHT_MS:  # some clock is wrong; there are no records then
        return held
    return until if held is None or held > now_ms else max(held, until)


def _forget_ahead(session: Session, device: Device, now_ms: int) -> None:
    """Takes back the marks of this kiosk and of the township's others that lie ahead of the clock.

    Nobody believes them now, but of a kiosk that stays silent everybody would once that moment has
    come. A revoked one keeps its own: no contact would give it another, should the clock be behind.
    Another one that is being heard just now looks after itself.
    """
    others = session.scalars(
        select(Device)
        .where(
            Device.township_id == device.township_id,
            Device.kind == "kiosk",
            Device.id != device.id,
            Device.revoked_ms.is_(None),
            Device.complete_until_ms > now_ms,
        )
        .with_for_update(of=Device, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    for other in (device, *others.unique()):
        other.complete_until_ms = None


def state_of(session: Session, device: Device, asked: wire.CursorRequest) -> str:
    """`ok`, `ahead` (of the kiosk), `fork` or `revoked`."""
    if device.revoked_ms is not None:
        return "revoked"
    if device.fork_ms is not None:
        return "fork"
    theirs, ours = (asked.epoch, asked.seq), (device.epoch, device.seq)
    if is_settled(device, asked.epoch) and (*theirs, asked.head) != (*ours, device.head.hex()):
        return "ahead"
    if theirs > ours:
        return "ok"
    if theirs == ours:
        return "ok" if asked.head == device.head.hex() else "fork"
    if asked.seq:
        known = head_at(session, device.id, asked.epoch, asked.seq)
        if known is not None and known.hex() != asked.head:
            return "fork"
    return "ahead"


def is_settled(device: Device, epoch: int) -> bool:
    """Whether a fork up to that epoch was settled (`server.services.paired.devices`)."""
    return device.settled_epoch is not None and epoch <= device.settled_epoch


def head_at(session: Session, device: str, epoch: int, seq: int) -> bytes | None:
    """The head after that record, None where the server does not hold it."""
    kiosk = session.get(Device, device)
    if kiosk is not None and (kiosk.pruned_epoch, kiosk.pruned_seq) == (epoch, seq):
        return kiosk.pruned_head
    for table in (RecordRow, RejectedRecord):
        head = session.scalar(
            select(table.head).where(
                table.device_id == device, table.epoch == epoch, table.seq == seq
            )
        )
        if head is not None:
            return head
    return None


def note_fork(session: Session, device: Device, epoch: int, seq: int, now: datetime) -> None:
    """Marks a device that showed two histories; what it sends from now on is kept uncounted.

    That opens a finding. Noted again, in the finding too, where an earlier record is found to
    differ: the last note is where they part.
    """
    who = f"device:{device.id}"
    if device.fork_ms is not None:
        query = (
            select(AuditEntry.target)
            .where(AuditEntry.who == who, AuditEntry.what == "fork")
            .order_by(AuditEntry.id.desc())
            .limit(1)
        )
        noted = session.scalar(query)
        if noted is None or (epoch, seq) >= tuple(map(int, noted.split("/"))):
            return
        alarms.parted_earlier(session, device, (epoch, seq), now)
    else:
        device.fork_ms = to_ms(now)
        alarms.forked(session, device, (epoch, seq), now)
    audit.note_for(session, device.township_id, who, "fork", f"{epoch}/{seq}", now)


def desk_keys(session: Session) -> list[bytes]:
    """The Ed25519 keys of every township's desks, newest first."""
    return list(
        session.scalars(
            select(Device.sign_key)
            .where(Device.kind == "desk", Device.revoked_ms.is_(None))
            .order_by(Device.paired_ms.desc(), Device.id)
            .limit(MAX_DESKS)
        )
    )


def desk_key(session: Session, township_id: int) -> bytes | None:
    """The Ed25519 key of the township's desk, the one paired last; None until there is one."""
    key: bytes | None = session.connection().execute(_DESK, {"township": township_id}).scalar()
    return key

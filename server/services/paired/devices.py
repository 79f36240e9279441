"""Paired devices as an administrator lists, revokes and settles them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance.chain import HEAD_BYTES, genesis, uncrockford
from attendance.days import from_ms, to_ms
from attendance.i18n import say
from attendance.signing import fingerprint
from server.errors import InputInvalid, NotFound
from server.models import Device, EpochRow, Quarantined, RecordRow, RejectedRecord
from server.services.evidence import audit
from server.services.records import intake


@dataclass(frozen=True)
class DeviceState:
    """One line of `quxiang-server device list`. `state` is ok, fork or revoked."""

    id: str
    kind: str
    site: str
    state: str
    fingerprint: str
    last_contact: datetime | None
    pending: int
    quarantined: int


def states(session: Session) -> list[DeviceState]:
    """All devices of all townships of this server, in the order of their pairing."""
    apart = {
        row[0]: row[1]
        for row in session.execute(
            select(Quarantined.device_id, func.count()).group_by(Quarantined.device_id)
        )
    }
    found = session.scalars(select(Device).order_by(Device.paired_ms, Device.id)).unique()
    return [
        DeviceState(
            id=d.id,
            kind=d.kind,
            site="" if d.site is None else d.site.name,
            state="revoked" if d.revoked_ms is not None else "fork" if d.fork_ms else "ok",
            fingerprint=fingerprint(d.sign_key),
            last_contact=None if d.last_contact_ms is None else from_ms(d.last_contact_ms),
            pending=d.pending,
            quarantined=apart.get(d.id, 0),
        )
        for d in found
    ]


def revoke(session: Session, device_id: str, now: datetime) -> Device:
    """From now on nothing of it counts; what it sends is kept in quarantine.

    Raises NotFound, InputInvalid where it is revoked already.
    """
    device = _one(session, device_id)
    if device.revoked_ms is not None:
        raise InputInvalid(
            "revoked", say(f"设备 {device_id} 已被撤销", f"{device_id} is revoked already")
        )
    device.revoked_ms = to_ms(now)
    audit.note_for(session, device.township_id, "command", "revoke", device.id, now)
    return device


def settle(session: Session, device_id: str, now: datetime) -> Device:
    """Lets a forked or revoked device go on.

    A forked kiosk begins a new epoch after the server's head; what it holds of its other history
    is answered `rejected` and stays in quarantine for a review, so that its outbox empties. The
    fork itself stays in the audit trail. A revoked device is let in again, and what it recorded
    meanwhile is taken where it continues its chain. Raises NotFound, InputInvalid (nothing to do).
    """
    device = _one(session, device_id)
    if device.revoked_ms is None and device.fork_ms is None:
        raise InputInvalid(
            "settled",
            say(
                f"设备 {device_id} 没有待处理的问题", f"there is nothing to settle with {device_id}"
            ),
        )
    what = " ".join(
        word for word, ms in (("fork", device.fork_ms), ("revoked", device.revoked_ms)) if ms
    )
    if device.fork_ms is not None:
        _close_epochs(session, device, now)
    device.fork_ms = device.revoked_ms = None
    audit.note_for(session, device.township_id, "command", "settle", f"{device.id} {what}", now)
    return device


def _close_epochs(session: Session, device: Device, now: datetime) -> None:
    """No epoch of either history goes on: the next one is new to both."""
    other = session.scalar(
        select(func.max(Quarantined.epoch)).where(
            Quarantined.device_id == device.id, Quarantined.why == "fork"
        )
    )
    # A kiosk goes on after the highest of its epochs: those that only it opened stay empty here.
    last = min(other or 0, device.epoch + intake.MOST_EPOCHS)
    while device.epoch < last:
        cites = device.head
        device.epoch, device.seq = device.epoch + 1, 0
        device.head = genesis(device.id, device.epoch, cites)
        session.add(
            EpochRow(
                township_id=device.township_id, device_id=device.id, epoch=device.epoch,
                cites=cites, follows=True, opened_ms=to_ms(now),
            )
        )  # fmt: skip
    device.settled_epoch = device.epoch


def _one(session: Session, device_id: str) -> Device:
    device = session.get(Device, device_id, with_for_update={"of": Device})
    if device is None:
        raise NotFound(
            say(
                f"没有设备 {device_id}：quxiang-server device list 列出全部设备",
                f"there is no device {device_id}: quxiang-server device list shows them all",
            )
        )
    return device


@dataclass(frozen=True)
class Place:
    """Where a head code leads: the record after which the chain had it, 0 before the first.

    `apart` where that is in a history that was set aside.
    """

    epoch: int
    seq: int
    received: datetime | None
    apart: bool = False


def place_of(session: Session, device_id: str, code: str) -> Place | None:
    """The record whose head has the code that the village wrote on paper, None for none.

    Raises NotFound, and InputInvalid for what is no head code.
    """
    device = session.get(Device, device_id)
    if device is None or device.kind != "kiosk":
        raise NotFound(say(f"没有终端 {device_id}", f"there is no kiosk {device_id}"))
    try:
        start = uncrockford(code)
    except ValueError:
        raise InputInvalid(
            "head_code", say("链头码是八个字母或数字", "a head code has eight characters"), "code"
        ) from None
    for table, apart in ((RecordRow, False), (RejectedRecord, False), (Quarantined, True)):
        row = session.execute(
            select(table.epoch, table.seq, table.received_ms)
            .where(
                table.device_id == device_id,
                table.head >= start,
                table.head < start + b"\xff" * (HEAD_BYTES - len(start) + 1),
            )
            .order_by(table.epoch, table.seq)
            .limit(1)
        ).first()
        if row is not None:
            return Place(row.epoch, row.seq, from_ms(row.received_ms), apart)
    for epoch in session.scalars(select(EpochRow).where(EpochRow.device_id == device_id)):
        if genesis(device_id, epoch.epoch, epoch.cites)[: len(start)] == start:
            return Place(epoch.epoch, 0, from_ms(epoch.opened_ms))
    return None

"""The server's signatures on its row of a device: who it is, and how far its records reach.

Whoever could write either past the server would let another key speak for a kiosk, vouch for
records that no kiosk sent, or have people called absent before their records have come.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import LargeBinary, inspect, literal, select, tuple_, update
from sqlalchemy.orm import LoaderCallableStatus, Session

from attendance.i18n import say
from attendance.signing import sign
from server.models import Device, EpochRow, RecordRow, RejectedRecord
from server.services.evidence.seals import Seed, holds
from server.services.records.chains import Where, raw

HEAD_DOMAIN, DEVICE_DOMAIN = "quxiang/head/1", "quxiang/device/1"
CURSOR = ("epoch", "seq", "head")
#: What else of a device decides who is believed and what is concluded, in the order in which it is
#: signed. The rest is told by each contact (`pending`, `health`) or by what it refers to.
STANDING = (
    "township_id", "kind", "site_id", "sign_key", "box_key", "paired_ms", "revoked_ms", "fork_ms",
    "settled_epoch", "pruned_epoch", "pruned_seq", "pruned_head", "complete_until_ms",
    "apart_from_ms",
)  # fmt: skip
_encode = msgspec.msgpack.Encoder().encode

_NOT_RECEIVED = ("不是本服务器收到的", "it was not received by this server")
_NOT_THIS_RECORD = ("不是本服务器收到时的内容", "it is not what this server received")
_NOT_PAIRED = ("不是由本服务器配对的", "it was not paired by this server")
_MOVED = ("游标不在本服务器留下的位置", "its cursor is not where this server left it")
_CHANGED = (
    "密钥、地点或时限不是本服务器写入的",
    "its keys, site or marks are not what this server wrote",
)


def head_claim(device: str, epoch: int, seq: int, head: bytes) -> bytes:
    """What the seal of a kiosk's chain is over, after the domain."""
    return f"{device}\n{epoch}\n{seq}\n{head.hex()}".encode()


def device_claim(device: str, standing: tuple[Any, ...]) -> bytes:
    """What a device's own seal is over, after the domain; `standing` are the values of STANDING."""
    return _encode((device, *standing))


#: The seal that a batch finds was mostly made by the batch before it.
_seal = lru_cache(8192)(sign)


def seal_devices(session: Session, seed: Seed) -> None:
    """Before a flush: seals the cursors of kiosks, and devices, that are new or were changed.

    `seed` gives the server's Ed25519 seed; None while it has none, and nothing is sealed then.
    What somebody else changed before keeps the seal it had, so that `verify` goes on to say so:
    what the kiosk sends next would vouch for it.
    """
    for device in (*session.new, *session.dirty):
        if not isinstance(device, Device):
            continue
        if device.kind == "kiosk":
            _seal_cursor(device, seed)
        now, before = _both(device, STANDING)
        key = None if now == before else seed()
        if key is None or (before is not None and not _is_sealed(key, device, before)):
            continue
        device.own_seal = _seal(key, DEVICE_DOMAIN, device_claim(device.id, now))


def _seal_cursor(device: Device, seed: Seed) -> None:
    now, before = _both(device, CURSOR)
    key = None if now == before else seed()
    if key is None or (before is not None and not _is_head(key, device, before)):
        return
    place = device.epoch or 1, device.seq or 0
    device.sealed_epoch, device.sealed_seq = place
    device.seal = _seal(key, HEAD_DOMAIN, head_claim(device.id, *place, device.head))


def _both(
    device: Device, names: tuple[str, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Columns' values, and what they were when they were read: None of a new device, and nothing
    of either where none was set."""
    state = inspect(device)
    # Of what was set only: asking for the history of each costs as much as signing.
    was = state.committed_state
    if state.persistent and was.keys().isdisjoint(names):
        return (), ()
    now = tuple([getattr(device, name) for name in names])
    if not state.persistent:
        return now, None
    before = [was.get(name, value) for name, value in zip(names, now, strict=True)]
    # What this session made and never set lies there as NULL.
    unset = LoaderCallableStatus.NO_VALUE
    return now, tuple([None if value is unset else value for value in before])


def _is_head(seed: bytes, device: Device, cursor: tuple[Any, ...]) -> bool:
    epoch, seq, head = cursor
    if not isinstance(head, bytes) or device.seal is None:
        return False
    # Ed25519 signs the same thing in the same way, and signing is faster than checking.
    return device.seal == _seal(seed, HEAD_DOMAIN, head_claim(device.id, epoch, seq, head))


def _is_sealed(seed: bytes, device: Device, standing: tuple[Any, ...]) -> bool:
    return device.own_seal == _seal(seed, DEVICE_DOMAIN, device_claim(device.id, standing))


def seal_all_cursors(session: Session, seed: bytes) -> None:
    """Seals each kiosk's cursor that has no seal: once, as a database gets its first seals."""
    kiosks = select(Device.id, Device.epoch, Device.seq, Device.head).where(
        Device.kind == "kiosk", Device.seal.is_(None)
    )
    for device, epoch, seq, head in session.execute(kiosks).all():
        seal = sign(seed, HEAD_DOMAIN, head_claim(device, epoch, seq, head))
        _write(session, device, sealed_epoch=epoch, sealed_seq=seq, seal=seal)


def seal_all_devices(session: Session, seed: bytes) -> None:
    """Seals each device that has no seal: once, as a database gets them."""
    for device, seal, *standing in _devices(session):
        if seal is None:
            claim = device_claim(device, tuple(standing))
            _write(session, device, own_seal=sign(seed, DEVICE_DOMAIN, claim))


def _write(session: Session, device: str, **values: Any) -> None:
    session.execute(
        update(Device)
        .where(Device.id == device)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _devices(session: Session) -> list[Any]:
    """Of each device its id, its own seal and the values of STANDING, as they lie there."""
    columns = [getattr(Device, name) for name in STANDING]
    standing = [raw(c) if isinstance(c.type, LargeBinary) else c for c in columns]
    asked = select(Device.id, raw(Device.own_seal), *standing).order_by(Device.id)
    return list(session.execute(asked).all())


def changed(session: Session, server_key: bytes) -> Iterator[Where]:
    """Devices whose keys, site or marks this server did not leave as they are."""
    for device, seal, *standing in _devices(session):
        if not holds(server_key, DEVICE_DOMAIN, device_claim(device, tuple(standing)), seal):
            yield "device", device, say(*_CHANGED)


def unreceived(session: Session, server_key: bytes) -> Iterator[Where]:
    """Kiosks whose cursor this server did not leave where it is, and what it never received."""
    asked = select(
        Device.id, Device.epoch, Device.seq, raw(Device.head), Device.sealed_epoch,
        Device.sealed_seq, raw(Device.seal),
    ).where(Device.kind == "kiosk").order_by(Device.id)  # fmt: skip
    for device, epoch, seq, head, sealed_epoch, sealed_seq, seal in session.execute(asked).all():
        if seal is None:
            yield "device", device, say(*_NOT_PAIRED)
            continue
        if not (
            (sealed_epoch, sealed_seq) == (epoch, seq)
            and isinstance(head, bytes)
            and holds(server_key, HEAD_DOMAIN, head_claim(device, epoch, seq, head), seal)
        ):
            yield "device", device, say(*_MOVED)
            if type(sealed_epoch) is not int or type(sealed_seq) is not int:
                continue
            yield from _last(session, server_key, device, sealed_epoch, sealed_seq, seal)
        yield from _above(session, device, sealed_epoch, sealed_seq)


def _last(
    session: Session, server_key: bytes, device: str, epoch: int, seq: int, seal: Any
) -> Iterator[Where]:
    """The record at the sealed place, where it is not the one that was sealed."""
    for table in (RecordRow, RejectedRecord):
        for rowid, head in session.execute(
            select(table.id, raw(table.head)).where(
                table.device_id == device, table.epoch == epoch, table.seq == seq
            )
        ):
            claim = head_claim(device, epoch, seq, head if isinstance(head, bytes) else b"")
            if not holds(server_key, HEAD_DOMAIN, claim, seal):
                yield table.__tablename__, rowid, say(*_NOT_THIS_RECORD)


def _above(session: Session, device: str, epoch: int, seq: int) -> Iterator[Where]:
    """What lies in the kiosk's chain above the place that was sealed."""
    for table in (RecordRow, RejectedRecord):
        above = tuple_(table.epoch, table.seq) > tuple_(literal(epoch), literal(seq))
        asked = select(table.id).where(table.device_id == device, above).order_by(table.id)
        for rowid in session.scalars(asked):
            yield table.__tablename__, rowid, say(*_NOT_RECEIVED)
    opened = select(EpochRow.id).where(EpochRow.device_id == device, EpochRow.epoch > epoch)
    for rowid in session.scalars(opened.order_by(EpochRow.id)):
        yield "epoch", rowid, say(*_NOT_RECEIVED)

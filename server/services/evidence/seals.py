"""What the server signs of what it writes, at once: what comes past it has no seal.

A checkpoint vouches for whatever it finds; a seal says that this server wrote it. Rows that people
decide are sealed one by one. What kiosks send would be too many: there the place up to which the
server took each kiosk's chain is sealed, once a batch, and the chain covers what lies before it.
Contacts, looks and what was set aside are many and in no chain: each has a seal until a checkpoint,
which takes in none without one, closes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import get_history

from attendance.errors import SignatureInvalid
from attendance.i18n import say
from attendance.signing import check, sign
from server.models import (
    CheckpointLeaves,
    Device,
    EpochRow,
    RecordRow,
    RejectedRecord,
    RowSeal,
)
from server.services.evidence.protected import COLUMNS, PAGE, Row, hasher, pages, these
from server.services.records.chains import Where, raw

log = logging.getLogger(__name__)

ROW_DOMAIN, HEAD_DOMAIN = "quxiang/row/1", "quxiang/head/1"
#: What kiosks send, much of it, in chains: not sealed row by row.
UNSEALED = ("record", "rejected_record", "epoch")
#: Tables of which a row has a seal until a checkpoint closes it.
PASSING = ("quarantined", "contact", "audit_entry")
#: Tables of which each row has a seal, those of PASSING among them.
SEALED = tuple(table for table in COLUMNS if table not in UNSEALED)

_NOT_WRITTEN = ("不是本服务器写入的", "it was not written by this server")
_NOT_THIS = ("不是本服务器写入时的内容", "it is not what this server wrote")
_GONE = ("已被删除：只剩它的行签名", "it was deleted: only its seal is there")
_NOT_RECEIVED = ("不是本服务器收到的", "it was not received by this server")
_NOT_THIS_RECORD = ("不是本服务器收到时的内容", "it is not what this server received")
_NOT_PAIRED = ("不是由本服务器配对的", "it was not paired by this server")
_MOVED = ("游标不在本服务器留下的位置", "its cursor is not where this server left it")


def row_claim(table: str, rowid: int, digest: bytes) -> bytes:
    """What a row's seal is over, after the domain; `digest` is that of `protected.hasher`."""
    return f"{table}\n{rowid}\n{digest.hex()}".encode()


def head_claim(device: str, epoch: int, seq: int, head: bytes) -> bytes:
    """What the seal of a kiosk's chain is over, after the domain."""
    return f"{device}\n{epoch}\n{seq}\n{head.hex()}".encode()


#: The seal that a batch finds was mostly made by the batch before it.
_head_seal = lru_cache(4096)(sign)


Seed = Callable[[], bytes | None]


def seal_heads(session: Session, seed: Seed) -> None:
    """Before a flush: seals the cursors of kiosks that are new or were moved.

    `seed` gives the server's Ed25519 seed; None while it has none, and nothing is sealed then.
    A cursor that somebody else moved before keeps the seal it had, so that `verify` goes on to say
    so: what the kiosk sends next would vouch for it.
    """
    for device in (*session.new, *session.dirty):
        if not isinstance(device, Device) or device.kind != "kiosk":
            continue
        if inspect(device).persistent:
            now, before = zip(*map(_both, (device,) * 3, ("epoch", "seq", "head")), strict=True)
            if now == before:
                continue
        else:
            before = None
        key = seed()
        if key is None or (before is not None and not _is_head(key, device, before)):
            continue
        place = device.epoch or 1, device.seq or 0
        device.sealed_epoch, device.sealed_seq = place
        device.seal = _head_seal(key, HEAD_DOMAIN, head_claim(device.id, *place, device.head))


def _both(device: Device, name: str) -> tuple[Any, Any]:
    """A column's value, and what it was when it was read."""
    history = get_history(device, name)
    was = history.deleted or history.unchanged
    return getattr(device, name), was[0] if was else None


def _is_head(seed: bytes, device: Device, cursor: tuple[Any, ...]) -> bool:
    epoch, seq, head = cursor
    if not isinstance(head, bytes) or device.seal is None:
        return False
    # Ed25519 signs the same thing in the same way, and signing is faster than checking.
    return device.seal == _head_seal(seed, HEAD_DOMAIN, head_claim(device.id, epoch, seq, head))


def seal_rows(session: Session, seed: Seed) -> None:
    """After a flush: seals what it inserted into the tables SEALED; `seed` is as above."""
    fresh: dict[str, list[int]] = {}
    for each in session.new:
        table = each.__tablename__
        if table in SEALED:
            fresh.setdefault(table, []).append(each.id)
    for table, ids in fresh.items():
        seal_these(session, seed, table, ids)


def seal_these(session: Session, seed: Seed, table: str, ids: list[int]) -> None:
    """Seals rows of a table by their ids: those of one insert past the ORM must be given here."""
    key = seed() if ids else None
    if key is None:
        return
    for start in range(0, len(ids), PAGE):
        seal_given(session, key, table, these(session, table, sorted(ids[start : start + PAGE])))


def seal_given(session: Session, seed: bytes, table: str, rows: Iterable[Row]) -> None:
    """Seals rows that were inserted, as `protected.pages` gives them."""
    hash_of = hasher(table)
    made = [
        {
            "table_name": table,
            "id": row[0],
            "seal": sign(seed, ROW_DOMAIN, row_claim(table, row[0], hash_of(row))),
        }
        for row in rows
    ]
    if made:
        session.connection().execute(insert(RowSeal), made)


def genuine(session: Session, seed: bytes, table: str, page: list[Row]) -> list[Row]:
    """Those rows of a page of a table PASSING that have their seal; the others are logged."""
    first, last, hash_of = page[0][0], page[-1][0], hasher(table)
    held = _seals(session, table, RowSeal.id.between(first, last))
    # Signing is faster than checking.
    good = [
        row
        for row in page
        if held.get(row[0]) == sign(seed, ROW_DOMAIN, row_claim(table, row[0], hash_of(row)))
    ]
    if len(good) < len(page):
        bad = sorted({row[0] for row in page} - {row[0] for row in good})
        log.error("no checkpoint takes in what this server did not write: %s %s", table, bad[:20])
    return good


def passed(session: Session, table: str, ids: Sequence[int]) -> None:
    """Takes away the seals of rows of a table PASSING that a checkpoint has closed."""
    for start in range(0, len(ids), PAGE):
        some = RowSeal.id.in_(ids[start : start + PAGE])
        session.execute(
            delete(RowSeal)
            .where(RowSeal.table_name == table, some)
            .execution_options(synchronize_session=False)
        )


def closed_until(session: Session, table: str) -> int | None:
    """The highest id of the table that a checkpoint closed; None where there is none."""
    return session.scalar(
        select(func.max(CheckpointLeaves.last_id)).where(CheckpointLeaves.table_name == table)
    )


def seal_passing(session: Session, seed: bytes) -> None:
    """Seals the rows of tables PASSING that no checkpoint has closed: once, as they get seals."""
    for table in PASSING:
        for page in pages(session, table, closed_until(session, table)):
            seal_given(session, seed, table, page)


def seal_all(session: Session, seed: bytes) -> None:
    """Seals what else has no seal, rows and cursors: once, as a database gets its first seals."""
    for table in SEALED:
        if table in PASSING:
            continue
        known = set(session.scalars(select(RowSeal.id).where(RowSeal.table_name == table)))
        for page in pages(session, table):
            seal_given(session, seed, table, [row for row in page if row[0] not in known])
    kiosks = select(Device.id, Device.epoch, Device.seq, Device.head).where(
        Device.kind == "kiosk", Device.seal.is_(None)
    )
    for device, epoch, seq, head in session.execute(kiosks).all():
        seal = sign(seed, HEAD_DOMAIN, head_claim(device, epoch, seq, head))
        session.execute(
            update(Device)
            .where(Device.id == device)
            .values(sealed_epoch=epoch, sealed_seq=seq, seal=seal)
            .execution_options(synchronize_session=False)
        )


def _holds(server_key: bytes, domain: str, claim: bytes, seal: Any) -> bool:
    try:
        check(server_key, domain, claim, seal)
    except SignatureInvalid:
        return False
    return True


class Seals:
    """Checks a table's rows, in their order, against their seals. `server_key` is the public key.

    Rows in `named` are known to be bad already: of them nothing more is said. Those up to `closed`,
    of a table PASSING, are a checkpoint's to vouch for.
    """

    def __init__(
        self, session: Session, server_key: bytes, table: str, closed: int | None = None
    ) -> None:
        self.named: set[int | str] = set()
        self._session = session
        self._key = server_key
        self._table = table
        self._hash_of = hasher(table)
        self._closed = closed
        self._after: int | None = None

    def take(self, page: list[Row]) -> Iterator[Where]:
        """What is wrong with these rows, and with seals between them."""
        held = self._held(page[-1][0])
        for row in page:
            seal = held.pop(row[0], None)
            if row[0] in self.named or (self._closed is not None and row[0] <= self._closed):
                continue
            if seal is None:
                yield self._table, row[0], say(*_NOT_WRITTEN)
            else:
                claim = row_claim(self._table, row[0], self._hash_of(row))
                if not _holds(self._key, ROW_DOMAIN, claim, seal):
                    yield self._table, row[0], say(*_NOT_THIS)
        yield from self._gone(held)

    def finish(self) -> Iterator[Where]:
        """Seals above the last row."""
        yield from self._gone(self._held(None))

    def _held(self, until: int | None) -> dict[int, Any]:
        bounds: list[ColumnElement[bool]] = []
        if self._after is not None:
            bounds.append(RowSeal.id > self._after)
        if until is not None:
            bounds.append(RowSeal.id <= until)
            self._after = until
        return _seals(self._session, self._table, *bounds)

    def _gone(self, held: dict[int, Any]) -> Iterator[Where]:
        for rowid in held:
            if rowid not in self.named:
                yield self._table, rowid, say(*_GONE)


def _seals(session: Session, table: str, *bounds: ColumnElement[bool]) -> dict[int, Any]:
    asked = select(RowSeal.id, raw(RowSeal.seal)).where(RowSeal.table_name == table, *bounds)
    return {row[0]: row[1] for row in session.execute(asked.order_by(RowSeal.id))}


def strangers(session: Session) -> Iterator[Where]:
    """Seals of tables that have none."""
    asked = select(RowSeal.table_name, RowSeal.id).where(RowSeal.table_name.not_in(SEALED))
    for table, rowid in session.execute(asked):
        yield (
            "row_seal",
            f"{table}/{rowid}",
            say("该表的行没有行签名", "rows of that table have no seal"),
        )


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
            and _holds(server_key, HEAD_DOMAIN, head_claim(device, epoch, seq, head), seal)
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
            if not _holds(server_key, HEAD_DOMAIN, claim, seal):
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

"""What the server signs of what it writes, at once: what comes past it has no seal.

A checkpoint vouches for whatever it finds; a seal says that this server wrote it. Rows that people
decide are sealed one by one. What kiosks send would be too many: there the place up to which the
server took each kiosk's chain is sealed, once a batch, and the chain covers what lies before it
(`server.services.evidence.deviceseals`). Contacts, looks and what was set aside are many and in no
chain: each has a seal until a checkpoint, which takes in none without one, closes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from attendance.errors import SignatureInvalid
from attendance.i18n import say
from attendance.signing import check, sign
from server.models import CheckpointLeaves, RowSeal
from server.services.evidence.protected import COLUMNS, PAGE, Row, hasher, pages, these
from server.services.records.chains import Where, raw

log = logging.getLogger(__name__)

DOMAIN = "quxiang/row/1"
#: What kiosks send, much of it, in chains: not sealed row by row.
UNSEALED = ("record", "rejected_record", "epoch")
#: Tables of which a row has a seal until a checkpoint closes it.
PASSING = ("quarantined", "contact", "audit_entry")
#: Tables of which each row has a seal, those of PASSING among them.
SEALED = tuple(table for table in COLUMNS if table not in UNSEALED)

_NOT_WRITTEN = ("不是本服务器写入的", "it was not written by this server")
_NOT_THIS = ("不是本服务器写入时的内容", "it is not what this server wrote")
_GONE = ("已被删除：只剩它的行签名", "it was deleted: only its seal is there")

def row_claim(table: str, rowid: int, digest: bytes) -> bytes:
    """What a row's seal is over, after the domain; `digest` is that of `protected.hasher`."""
    return f"{table}\n{rowid}\n{digest.hex()}".encode()


Seed = Callable[[], bytes | None]


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
        (table, row[0], sign(seed, DOMAIN, row_claim(table, row[0], hash_of(row)))) for row in rows
    ]
    if made:
        # Past SQLAlchemy's statements, which cost a contact twice what signing does.
        connection = session.connection()
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(
            f"INSERT INTO row_seal (table_name, id, seal) VALUES ({mark}, {mark}, {mark})",  # noqa: S608
            made,
        )


def genuine(session: Session, seed: bytes, table: str, page: list[Row]) -> list[Row]:
    """Those rows of a page of a table PASSING that have their seal; the others are logged."""
    first, last, hash_of = page[0][0], page[-1][0], hasher(table)
    held = _seals(session, table, RowSeal.id.between(first, last))
    # Signing is faster than checking.
    good = [
        row
        for row in page
        if held.get(row[0]) == sign(seed, DOMAIN, row_claim(table, row[0], hash_of(row)))
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
    """Seals what else has no seal: once, as a database gets its first seals."""
    for table in SEALED:
        if table in PASSING:
            continue
        known = set(session.scalars(select(RowSeal.id).where(RowSeal.table_name == table)))
        for page in pages(session, table):
            seal_given(session, seed, table, [row for row in page if row[0] not in known])


def holds(server_key: bytes, domain: str, claim: bytes, seal: Any) -> bool:
    """Whether that is the server's signature; what was put there by hand may be of any type."""
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
                if not holds(self._key, DOMAIN, claim, seal):
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

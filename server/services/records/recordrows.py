"""Records as rows: what of a payload stands in columns, and how a whole batch is inserted."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, bindparam, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS
from attendance.records import Record
from attendance.statuses import Kind, Method, Status
from server.models import Device, RecordRow

#: Asia/Shanghai is that far ahead of UTC (`server.models.evidence.DAY_NUMBER`).
_SHIFT_MS = 28_800_000
#: Members of enumerations as the plain strings that drivers take fastest.
_PLAIN: dict[str | None, str | None] = {
    None: None,
    **{member: str(member.value) for kind in (Kind, Status, Method) for member in kind},
}
_CLASS = {cls: str(cls.value) for cls in ClockClass}
#: Columns that may be the same throughout a batch and hold none but our own words.
_WORDS = ("kind", "status", "method", "verified", "cls")
#: Columns that are mostly empty.
_SELDOM = ("reason", "until_ms", "supersedes", "flags", "official", "score", "margin", "liveness")

#: PostgreSQL's types of the columns, as they are given: what is JSON as its text.
_TYPES = {
    column.name: {"BIGINT": "int8", "BLOB": "bytea", "BOOLEAN": "bool", "FLOAT": "float8"}.get(
        str(column.type), "text"
    )
    for column in RecordRow.__table__.columns
}
#: Rows in one statement of SQLite: between two of them another thread may take the interpreter, for
#: a millisecond that everybody waits who wants to write.
_TOGETHER = 100


class Columns(dict[str, Any]):
    """A batch's rows: by column its values, or one word of ours where all are the same."""

    def __init__(
        self,
        device: Device,
        records: Sequence[Record],
        times: Sequence[Estimate],
        marks: Sequence[tuple[str, ...]],
        payloads: list[bytes],
        heads: list[bytes],
    ) -> None:
        super().__init__(
            seq=[r.seq for r in records],
            record_id=[r.record_id for r in records],
            payload=payloads,
            head=heads,
            official=[r.official for r in records],
            kind=[_PLAIN[r.kind] for r in records],
            status=[_PLAIN[r.status] for r in records],
            reason=[r.reason and _text(r.reason) for r in records],
            until_ms=[r.until_ms for r in records],
            method=[_PLAIN[r.method] for r in records],
            verified=[r.verified for r in records],
            score=[r.score for r in records],
            margin=[r.margin for r in records],
            liveness=[r.liveness and _text(r.liveness) for r in records],
            supersedes=[r.supersedes for r in records],
            wall_ms=[r.wall_ms for r in records],
            earliest_ms=[t.earliest_ms for t in times],
            latest_ms=[t.latest_ms for t in times],
            at_ms=[t.at_ms for t in times],
            cls=[_CLASS[t.cls] for t in times],
            flags=[_words(mark) if mark else None for mark in marks],
        )
        self.site_id = device.site_id
        #: To be set when they are stored.
        self.received_ms = 0
        self.same: dict[str, Any] = {
            "township_id": device.township_id,
            "device_id": device.id,
            "epoch": records[0].epoch,
            "site_id": device.site_id,
        }
        count = len(records)
        for name in _SELDOM:
            if self[name].count(None) == count:
                del self[name]
        for name in _WORDS:
            first = self[name][0]
            if self[name].count(first) == count:
                self.same[name] = first
                del self[name]

    def insert(self, session: Session) -> None:
        """Appends them, in few statements. Raises what SQLAlchemy raises of an INSERT.

        Straight to the driver: what SQLAlchemy does to 500 x 27 parameters doubles the time, and
        what stands in the statement need not be bound 500 times.
        """
        connection = session.connection()
        self.same["received_ms"] = self.received_ms
        if connection.dialect.name == "sqlite":
            same, names = tuple(self.same.values()), (*self.same, *self)
            listed = list(zip(*self.values(), strict=True))
            for start in range(0, len(listed), _TOGETHER):
                some = listed[start : start + _TOGETHER]
                statement = _insert(names, len(same), len(some))
                connection.exec_driver_sql(statement, (*same, *chain.from_iterable(some)))
            return
        into = ",".join((*self.same, *self))
        rows = zip(*map(repeat, self.same.values()), *self.values(), strict=False)
        driver: Any = connection.connection.driver_connection
        statement = f"COPY record ({into}) FROM STDIN (FORMAT BINARY)"
        try:
            # A quarter of what arrays for one INSERT cost here, and less in the database too.
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                copy.set_types([_TYPES[name] for name in (*self.same, *self)])
                for row in rows:
                    copy.write_row(row)
        except connection.dialect.loaded_dbapi.Error as error:
            base = connection.dialect.loaded_dbapi.Error
            raise DBAPIError.instance(
                statement, None, error, base, hide_parameters=True, dialect=connection.dialect
            ) from error

    def without(self, taken: set[str]) -> bool:
        """Leaves out the records with these ids; whether any is left."""
        kept = [i for i, name in enumerate(self["record_id"]) if name not in taken]
        for name, values in self.items():
            self[name] = [values[i] for i in kept]
        return bool(kept)


@lru_cache(64)
def _insert(names: tuple[str, ...], same: int, rows: int) -> str:
    """An INSERT of so many rows; the first `same` columns are alike in all and given once."""
    given = [*(f"?{n + 1}" for n in range(same)), *"?" * (len(names) - same)]
    values = ",".join([f"({','.join(given)})"] * rows)
    return f"INSERT INTO record ({','.join(names)}) VALUES {values}"  # noqa: S608 - our own words


@lru_cache(256)
def _words(marks: tuple[str, ...]) -> str:
    return json.dumps(marks)


def with_ids(township_id: int, record_ids: Collection[str]) -> ColumnElement[bool]:
    """The township's records with these ids, by the index that has the kiosk before the id."""
    kiosks = select(Device.id).where(Device.township_id == township_id, Device.kind == "kiosk")
    return RecordRow.device_id.in_(kiosks) & RecordRow.record_id.in_(record_ids)


def _day_number(ms: int) -> int:
    """Days since 1970 in Asia/Shanghai as SQL divides: towards zero."""
    shifted = ms + _SHIFT_MS
    return shifted // DAY_MS if shifted >= 0 else -(-shifted // DAY_MS)


def day_number() -> ColumnElement[int]:
    """The day of a record, days since 1970 in Asia/Shanghai, as its index has it."""
    # Literals: an index over an expression is found by its exact words.
    return (RecordRow.at_ms + literal_column("28800000")) // literal_column("86400000", Integer)


def between(first_ms: int, last_ms: int) -> ColumnElement[bool]:
    """Records of `first_ms..last_ms`, by the index that has the day instead of the time."""
    days = day_number().between(_day_number(first_ms), _day_number(last_ms))
    return days & RecordRow.at_ms.between(first_ms, last_ms)


def within() -> ColumnElement[bool]:
    """As `between`, for a statement that is put together once; its values are `moments`."""
    first_ms, last_ms = (bindparam(name, type_=BigInteger) for name in ("first_ms", "last_ms"))
    return within_days() & RecordRow.at_ms.between(first_ms, last_ms)


def within_days() -> ColumnElement[bool]:
    """Whole days only: those that `moments` begin and end in."""
    return day_number().between(bindparam("first_day", type_=Integer), bindparam("last_day"))


def moments(first_ms: int, last_ms: int) -> dict[str, int]:
    """The values of `within` and `within_days`: records of `first_ms..last_ms`."""
    days = {"first_day": _day_number(first_ms), "last_day": _day_number(last_ms)}
    return {**days, "first_ms": first_ms, "last_ms": last_ms}


def columns(record: Record) -> dict[str, Any]:
    """The columns of `RecordRow` that repeat the payload; `verify` compares them with it."""
    return {
        "device_id": record.device,
        "epoch": record.epoch,
        "seq": record.seq,
        "record_id": record.record_id,
        "official": record.official,
        "kind": record.kind.value,
        "status": _PLAIN[record.status],
        "reason": _text(record.reason),
        "until_ms": record.until_ms,
        "method": _PLAIN[record.method],
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

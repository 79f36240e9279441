"""The append-only tables: what of a row is hashed, how it is read, and whether it is guarded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import JSON, Boolean, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from server.models import Base
from server.services.evidence.merkle import LEAF
from server.services.evidence.retention import PRUNED
from server.sqlite import LIBRARY

#: The number of the lists below. A later release that adds a column hashes new rows by a new list
#: under a new number, and old rows by the old one.
SCHEME = 1
#: Columns that a leaf vouches for, the id first, in the order in which they are hashed.
COLUMNS: dict[str, tuple[str, ...]] = {
    "record": (
        "id", "township_id", "device_id", "epoch", "seq", "record_id", "payload", "head",
        "site_id", "official", "kind", "status", "reason", "until_ms", "method", "verified",
        "score", "margin", "liveness", "supersedes", "wall_ms", "earliest_ms", "latest_ms",
        "at_ms", "cls", "flags", "received_ms",
    ),
    "rejected_record": (
        "id", "township_id", "device_id", "epoch", "seq", "record_id", "payload", "head", "why",
        "received_ms",
    ),
    "quarantined": (
        "id", "township_id", "device_id", "epoch", "seq", "payload", "head", "why", "received_ms",
    ),
    "apart_review": (
        "id", "township_id", "device_id", "epoch", "seq", "head", "note", "by", "by_official",
        "at_ms",
    ),
    "contact": (
        "id", "township_id", "device_id", "server_ms", "boot_id", "boottime_ns", "epoch", "seq",
        "pending", "proof_server_ms", "proof_boot_id", "proof_boottime_ns", "proof_rtt_ns",
    ),
    "epoch": ("id", "township_id", "device_id", "epoch", "cites", "follows", "opened_ms"),
    "leave": (
        "id", "township_id", "official", "status", "start_ms", "end_ms", "reason", "asked_by",
        "asked_ms",
    ),
    "leave_decision": ("id", "township_id", "leave_id", "approved", "by", "at_ms"),
    "audit_entry": ("id", "township_id", "at_ms", "who", "what", "target", "remote"),
    "withdrawal": (
        "id", "township_id", "official", "at_ms", "device_id", "received_ms", "note",
    ),
    "shift": (
        "id", "township_id", "name", "start_min", "end_min", "late_min", "early_min", "visits",
        "by", "at_ms",
    ),
    "import_batch": (
        "id", "township_id", "kind", "name", "sha256", "rows", "body", "undoes", "by", "at_ms",
    ),
    "past_expectation": (
        "id", "township_id", "official_id", "site_id", "weekdays", "shift_id", "first_day",
        "last_day", "by", "at_ms",
    ),
    "roster_day": (
        "id", "township_id", "official_id", "day", "what", "site_id", "shift_id", "reason",
        "batch_id", "by", "at_ms",
    ),
    "calendar_day": ("id", "township_id", "day", "working", "name", "by", "at_ms"),
    "township_rule": ("id", "township_id", "kind", "first_day", "value", "note", "by", "at_ms"),
    "term_proposal": (
        "id", "township_id", "kind", "first_day", "value", "note", "by", "by_official", "at_ms",
    ),
    "term_decision": (
        "id", "township_id", "proposal_id", "approved", "rule_id", "by", "by_official", "at_ms",
    ),
    "attachment": ("id", "township_id", "name", "mime", "sha256", "content", "by", "at_ms"),
    "correction": (
        "id", "township_id", "official", "day", "kind", "record_id", "site_id", "start_ms",
        "end_ms", "really", "undoes", "reason", "attachment_id", "by", "by_official", "at_ms",
    ),
    "correction_decision": (
        "id", "township_id", "correction_id", "approved", "note", "by", "by_official", "at_ms",
    ),
    "leave_step": (
        "id", "township_id", "leave_id", "step", "reference", "by", "by_official", "at_ms",
    ),
    "spot_draw": (
        "id", "township_id", "day", "seed", "population", "drawn", "by", "at_ms",
    ),
    "spot_check": (
        "id", "township_id", "draw_id", "official", "site_id", "seen", "seen_ms", "text",
        "attachment_id", "by", "by_official", "at_ms",
    ),
    "finding": (
        "id", "township_id", "kind", "day", "official", "site_id", "record_id", "spot_check_id",
        "correction_id", "text", "by", "by_official", "at_ms",
    ),
    "finding_event": (
        "id", "township_id", "finding_id", "what", "text", "attachment_id", "by", "by_official",
        "at_ms",
    ),
    "month_signature": (
        "id", "township_id", "month", "statement", "sha256", "people", "days", "fen", "by",
        "by_official", "at_ms",
    ),
    "public_choice": (
        "id", "township_id", "fields", "beyond", "assessment_id", "signer", "signed_day", "by",
        "at_ms",
    ),
    "duty": ("id", "township_id", "day", "post", "official", "by", "at_ms"),
    "visit": (
        "id", "township_id", "number", "visitor", "phone", "matter", "due_day", "by", "at_ms",
    ),
    "visit_step": (
        "id", "township_id", "visit_id", "state", "official", "answer", "note", "by", "at_ms",
    ),
}  # fmt: skip
#: Every table that refuses UPDATE and DELETE. The checkpoints vouch for those of COLUMNS.
PROTECTED = (
    *COLUMNS, "checkpoint", "checkpoint_leaves", "prune_point", "prune_limit", "row_seal",
)  # fmt: skip
#: Rows read at once: more of them no longer lie in a processor's cache.
PAGE = 500
#: Of tables whose rows hold files, fewer.
PAGES = {"attachment": 20, "month_signature": 20, "import_batch": 20}
#: pg_trigger.tgtype: for each row before UPDATE or DELETE, and before TRUNCATE.
_BEFORE_CHANGE, _BEFORE_TRUNCATE = 1 | 2 | 8 | 16, 2 | 32
#: Seals that may go (revision 0092): of rows that a checkpoint has closed.
_CLOSED = (
    "OLD.table_name IN ('quarantined', 'contact', 'audit_entry') AND EXISTS (SELECT 1 FROM "
    "checkpoint_leaves WHERE table_name = OLD.table_name AND last_id >= OLD.id)"
)
#: What the function of revision 0092 does, and must still do.
_REFUSE = (
    "BEGIN IF TG_OP = 'DELETE' THEN IF TG_TABLE_NAME = 'checkpoint_leaves' THEN "  # noqa: S608
    "IF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = OLD.table_name "
    "AND last_id >= OLD.last_id) THEN RETURN OLD; END IF; "
    f"ELSIF TG_TABLE_NAME = 'row_seal' THEN IF {_CLOSED} THEN RETURN OLD; END IF; "
    "ELSIF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = TG_TABLE_NAME "
    "AND last_id >= OLD.id) THEN RETURN OLD; END IF; END IF; "
    "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
    "USING ERRCODE = 'restrict_violation'; END"
)
_encode = msgspec.msgpack.Encoder().encode

Row = tuple[Any, ...]


def pages(
    session: Session, table: str, after: int | None = None, until: int | None = None
) -> Iterator[list[Row]]:
    """The table's rows by id, those above `after` and up to `until`, as the driver gives them, some
    thousand at a time.

    Values are in the order of COLUMNS; a row that was edited by hand may hold any type, and its id
    may be below 0.
    """
    connection, most = session.connection(), PAGES.get(table, PAGE)
    sqlite = connection.dialect.name == "sqlite"
    names = ",".join(_column(table, name, sqlite) for name in COLUMNS[table])
    mark = "?" if sqlite else "%s"
    while True:
        bounds = [("id > ", after), ("id <= ", until)]
        asked = " AND ".join(words + mark for words, bound in bounds if bound is not None)
        where = f"WHERE {asked}" if asked else ""
        sql = f'SELECT {names} FROM "{table}" {where} ORDER BY id LIMIT {most}'  # noqa: S608
        # Straight from the driver: what SQLAlchemy makes of a row takes longer than checking it.
        given = tuple(bound for _, bound in bounds if bound is not None)
        page = _page(connection, sql, given, sqlite)
        if page:
            yield page
        if len(page) < most:
            return
        after = page[-1][0]


def these(session: Session, table: str, ids: Sequence[int]) -> list[Row]:
    """Rows of the table by their ids, as `pages` gives them."""
    connection, most = session.connection(), PAGES.get(table, PAGE)
    sqlite = connection.dialect.name == "sqlite"
    names = ",".join(_column(table, name, sqlite) for name in COLUMNS[table])
    found: list[Row] = []
    for start in range(0, len(ids), most):
        some = tuple(ids[start : start + most])
        marks = ",".join("?" if sqlite else "%s" for _ in some)
        sql = f'SELECT {names} FROM "{table}" WHERE id IN ({marks})'  # noqa: S608
        found += _page(connection, sql, some, sqlite)
    return found


def _page(connection: Connection, sql: str, given: tuple[int, ...], sqlite: bool) -> list[Row]:
    if not sqlite:
        return list(connection.exec_driver_sql(sql, given).cursor.fetchall())
    driver: Any = connection.connection.driver_connection
    tolerant, driver.text_factory = driver.text_factory, str
    try:
        # Decoded by the driver itself: half the time of reading a page.
        return list(connection.exec_driver_sql(sql, given).cursor.fetchall())
    except (DBAPIError, LIBRARY.module.Error):  # something that is no text, put there by hand
        driver.text_factory = tolerant
        return list(connection.exec_driver_sql(sql, given).cursor.fetchall())
    finally:
        driver.text_factory = tolerant


def _column(table: str, name: str, sqlite: bool) -> str:
    """How a column is read, so that a row has one hash on whichever database it lies."""
    kind = Base.metadata.tables[table].columns[name].type
    if isinstance(kind, JSON):
        return f'CAST("{name}" AS TEXT)'
    if isinstance(kind, Boolean) and not sqlite:
        return f'CAST("{name}" AS INTEGER)'
    return f'"{name}"'


@cache
def hasher(table: str, scheme: int = SCHEME) -> Callable[[Row], bytes]:
    """What makes a leaf's hash of a row: SHA-256 over 0, table, scheme and the row in msgpack."""
    if scheme != SCHEME:
        raise ValueError(f"rows of scheme {scheme} cannot be read by this release")
    begin = LEAF + f"{table}/{scheme}\n".encode()
    encode, sha = _encode, hashlib.sha256
    return lambda row: sha(begin + encode(row)).digest()


def _unless(table: str, verb: str) -> str:
    """What revisions 0021 and 0092 let pass on SQLite."""
    if table == "row_seal" and verb == "DELETE":
        return f"WHEN NOT ({_CLOSED}) "
    name, row = f"'{table}'", "OLD.id"
    if table == "checkpoint_leaves":
        name, row = "OLD.table_name", "OLD.last_id"
    elif table not in PRUNED:
        return ""
    if verb != "DELETE":
        return ""
    known = f"SELECT 1 FROM prune_limit WHERE table_name = {name} AND last_id >= {row}"  # noqa: S608
    return f"WHEN NOT EXISTS ({known}) "


def unguarded(session: Session) -> list[str]:
    """Protected tables whose triggers are not all there and switched on."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        sql = "SELECT tbl_name || ' ' || name, sql FROM sqlite_master WHERE type = 'trigger'"
        held = {row[0]: row[1] for row in connection.exec_driver_sql(sql)}
        wanted = {
            table: [
                (f"{table} {table}_no_{verb.lower()}",
                 f"BEFORE {verb} ON {table} {_unless(table, verb)}BEGIN SELECT "
                 f"RAISE(ABORT, '{table} is append-only'); END")
                for verb in ("UPDATE", "DELETE")
            ]
            for table in PROTECTED
        }  # fmt: skip
        return [
            table
            for table, both in wanted.items()
            if not all(str(held.get(name, "")).endswith(body) for name, body in both)
        ]
    found = {
        (row[0], row[1])
        for row in connection.exec_driver_sql(
            "SELECT c.relname, t.tgtype, p.prosrc FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE t.tgenabled <> 'D' AND t.tgqual IS NULL AND t.tgattr = ''::int2vector "
            "AND c.relnamespace = current_schema()::regnamespace"
        )
        if row[2].split() == _REFUSE.split()
    }
    return [t for t in PROTECTED if not {(t, _BEFORE_CHANGE), (t, _BEFORE_TRUNCATE)} <= found]

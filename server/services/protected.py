"""The append-only tables: what of a row is hashed, how it is read, and whether it is guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from sqlalchemy import JSON, Boolean
from sqlalchemy.orm import Session

from server.models import Base
from server.services.merkle import leaf_hash

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
PROTECTED = (*COLUMNS, "checkpoint", "checkpoint_leaves")
#: Rows read at once, some 10 MB.
PAGE = 5_000
#: Of tables whose rows hold files, fewer.
PAGES = {"attachment": 20, "month_signature": 20, "import_batch": 20}
#: pg_trigger.tgtype: for each row before UPDATE or DELETE, and before TRUNCATE.
_BEFORE_CHANGE, _BEFORE_TRUNCATE = 1 | 2 | 8 | 16, 2 | 32
#: What the function of revision 0002 does, and must still do.
_REFUSE = (
    "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
    "USING ERRCODE = 'restrict_violation'; END"
)
_encode = msgspec.msgpack.Encoder().encode

Row = tuple[Any, ...]


def rows(session: Session, table: str, after: int | None = None) -> Iterator[Row]:
    """The table's rows by id, those above `after` or all, as the driver gives them.

    Values are in the order of COLUMNS; a row that was edited by hand may hold any type, and its id
    may be below 0.
    """
    connection, most = session.connection(), PAGES.get(table, PAGE)
    sqlite = connection.dialect.name == "sqlite"
    names = ",".join(_column(table, name, sqlite) for name in COLUMNS[table])
    mark = "?" if sqlite else "%s"
    while True:
        above = "" if after is None else f"WHERE id > {mark}"
        sql = f'SELECT {names} FROM "{table}" {above} ORDER BY id LIMIT {most}'  # noqa: S608
        # Straight from the driver: what SQLAlchemy makes of a row takes longer than checking it.
        given = () if after is None else (after,)
        page = connection.exec_driver_sql(sql, given).cursor.fetchall()
        yield from page
        if len(page) < most:
            return
        after = page[-1][0]


def _column(table: str, name: str, sqlite: bool) -> str:
    """How a column is read, so that a row has one hash on whichever database it lies."""
    kind = Base.metadata.tables[table].columns[name].type
    if isinstance(kind, JSON):
        return f'CAST("{name}" AS TEXT)'
    if isinstance(kind, Boolean) and not sqlite:
        return f'CAST("{name}" AS INTEGER)'
    return f'"{name}"'


def hasher(table: str, scheme: int = SCHEME) -> Callable[[Row], bytes]:
    """What makes a leaf's hash of a row: SHA-256 over 0, table, scheme and the row in msgpack."""
    if scheme != SCHEME:
        raise ValueError(f"rows of scheme {scheme} cannot be read by this release")
    domain = f"{table}/{scheme}\n".encode()
    return lambda row: leaf_hash(domain + _encode(row))


def unguarded(session: Session) -> list[str]:
    """Protected tables whose triggers are not all there and switched on."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        sql = "SELECT tbl_name || ' ' || name, sql FROM sqlite_master WHERE type = 'trigger'"
        held = {row[0]: row[1] for row in connection.exec_driver_sql(sql)}
        wanted = {
            table: [
                (f"{table} {table}_no_{verb.lower()}", f"BEFORE {verb} ON {table} BEGIN SELECT "
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

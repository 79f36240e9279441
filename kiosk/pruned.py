"""The prune point: from where a chain still verifies when its old rows are gone."""

from __future__ import annotations

import sqlite3

import msgspec

from attendance.errors import ChainBroken, RecordInvalid
from attendance.records import decode_record

META = "prune_point"


class Point(msgspec.Struct, frozen=True):
    """Everything up to `epoch`/`seq` may go; `head` (hex) is the head after it.

    `at_epoch`/`at_seq` is the record of the chain that says so, `anchor` the number of the last
    time proof that precedes the point.
    """

    epoch: int
    seq: int
    head: str
    at_epoch: int
    at_seq: int
    anchor: int


def words(epoch: int, seq: int, head: str) -> str:
    """The detail of the record that announces a prune point."""
    return f"pruned up to {epoch}/{seq}, head {head}"


def parse(text: str | None) -> Point | None:
    """The point as the store keeps it, None where there is none."""
    try:
        return msgspec.json.decode(text, type=Point) if text else None
    except msgspec.DecodeError:
        return None


def check(db: sqlite3.Connection) -> None:
    """Whether what is gone was announced by a record that the chain still holds.

    The chain itself must have been verified. Raises ChainBroken.
    """
    gone = db.execute("SELECT epoch, seq, head FROM pruned ORDER BY epoch").fetchall()
    kept = db.execute("SELECT value FROM meta WHERE key = ?", (META,)).fetchone()
    point = parse(None if kept is None else str(kept[0]))
    if point is None:
        if gone:
            raise ChainBroken(gone[0][1], f"records of epoch {gone[0][0]} are gone unannounced")
        return
    if any((epoch, seq) > (point.epoch, point.seq) for epoch, seq, _ in gone):
        raise ChainBroken(point.seq, f"records after {point.epoch}/{point.seq} are gone")
    said = db.execute(
        "SELECT payload FROM records WHERE epoch = ? AND seq = ?", (point.at_epoch, point.at_seq)
    ).fetchone()
    try:
        detail = None if said is None else decode_record(said[0]).detail
    except RecordInvalid:
        detail = None
    if detail != words(point.epoch, point.seq, point.head):
        raise ChainBroken(point.at_seq, "the record of the prune point is missing")
    head = db.execute(
        "SELECT head FROM records WHERE epoch = :e AND seq = :s "
        "UNION SELECT head FROM pruned WHERE epoch = :e AND seq = :s",
        {"e": point.epoch, "s": point.seq},
    ).fetchone()
    if head is None or bytes(head[0]).hex() != point.head:
        raise ChainBroken(point.seq, "the chain does not go on from its prune point")

"""The kiosk's own records laid out in true time, by the proofs that it holds."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator

from attendance.clock import Anchor, ClockClass, Estimate, estimate
from attendance.records import Record, decode_record
from attendance.whereabouts import Fact, fact_of

#: Records looked at, newest first, before giving up: three weeks of a site of 36 people.
REACH = 5_000
#: Time proofs looked at, newest first: two weeks of one every ten minutes.
PROOFS = 2_000
_SLACK_MS = 3_600_000


class Proofs:
    """The time proofs of all boots, for questions by boot and by place in the chain."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.known = _known(db)
        rows = db.execute(
            "SELECT id, server_ms, boot_id, boottime_ns, rtt_ns, epoch, seq FROM "
            "(SELECT * FROM anchors ORDER BY number DESC LIMIT ?) ORDER BY number",
            (PROOFS,),
        ).fetchall()
        self._places = [(row[5], row[6]) for row in rows]
        self._placed = [Anchor(*row[:5]) for row in rows]
        self._by_boot: dict[str, list[Anchor]] = {}
        for anchor in self._placed:
            self._by_boot.setdefault(anchor.boot_id, []).append(anchor)
        for anchors in self._by_boot.values():
            anchors.sort(key=lambda anchor: anchor.boottime_ns)

    def when(self, record: Record) -> Estimate:
        """The record's true time, as an interval."""
        same = self._by_boot.get(record.boot_id, [])
        near = bisect_left(same, record.boottime_ns, key=lambda anchor: anchor.boottime_ns)
        # A proof got while record s was the last vouches for all up to s, and precedes s + 1.
        place = bisect_left(self._places, (record.epoch, record.seq))
        before = self._placed[place - 1] if place else None
        after = self._placed[place] if place < len(self._placed) else None
        return estimate(
            wall_ms=record.wall_ms,
            boot_id=record.boot_id,
            boottime_ns=record.boottime_ns,
            anchors=same[max(0, near - 1) : near + 1],
            before_ms=None if before is None else before.server_ms,
            after_ms=None if after is None else after.server_ms + after.rtt_ns // 1_000_000 + 1,
        )


def _known(db: sqlite3.Connection) -> tuple[int | None, int | None]:
    """Numbers of the oldest and the newest proof: other ones, other proofs."""
    oldest, newest = db.execute(
        "SELECT (SELECT min(number) FROM anchors), (SELECT max(number) FROM anchors)"
    ).fetchone()
    return oldest, newest


def proofs(db: sqlite3.Connection, held: Proofs | None) -> Proofs:
    """Those `held` where they are still all: the board asks after every check-in."""
    return held if held is not None and held.known == _known(db) else Proofs(db)


def newest(db: sqlite3.Connection, reach: int = REACH) -> Iterator[Record]:
    """The kiosk's records, newest first."""
    rows = db.execute(
        "SELECT payload FROM records ORDER BY epoch DESC, seq DESC LIMIT ?",
        (reach,),
    )
    for (payload,) in rows:
        yield decode_record(payload)


def facts(db: sqlite3.Connection, since_ms: int, until_ms: int, proofs: Proofs) -> list[Fact]:
    """See `Store.facts`."""
    found: list[Fact] = []
    later: Record | None = None
    elapsed_ns = 0
    for record in newest(db):
        # Without any proof the boot clock still tells that at least so much time went by since.
        if later is not None and later.boot_id == record.boot_id:
            elapsed_ns += max(0, later.boottime_ns - record.boottime_ns)
        later = record
        if elapsed_ns // 1_000_000 > until_ms - since_ms + _SLACK_MS:
            break
        when = proofs.when(record)
        if when.cls is not ClockClass.C and when.latest_ms < since_ms - _SLACK_MS:
            break  # whatever precedes it in the chain is older still
        fact = fact_of(record, when)
        if fact is not None and since_ms <= when.at_ms <= until_ms:
            found.append(fact)
    return found[::-1]

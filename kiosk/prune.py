"""Taking old records out of the store: only what the server holds, only what proofs say is old.

A prune point is written into the chain first, then the rows go in small steps, each a transaction
of its own, so that a check-in never waits long and a power cut leaves a chain that still verifies:
it then starts from the head after the last row that went (`Store.verify`).
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from attendance.clock import ClockClass, estimate, wall_is_off
from attendance.statuses import Kind
from kiosk import timeline
from kiosk.clock import Reading
from kiosk.drafts import Draft
from kiosk.pruned import META, Point, parse, words
from kiosk.store import Store

#: evidence.md, "Upload": the kiosk keeps acknowledged records at least a year.
LEAST_DAYS = 366
DEFAULT_DAYS = 400
#: Records that stay however old they are: what the board may still look at.
NEWEST_KEPT = timeline.REACH
#: A prune point is one record more: it must be worth it, or a week must have gone by.
WORTH = 1_000
#: Rows of one step; 200 take about 2 ms here.
STEP = 200
#: Free pages kept for what comes next, and how many of the others go in one step.
SLACK_PAGES = 512
VACUUM_PAGES = 256
_DAY_MS = 86_400_000


class Pruned(NamedTuple):
    """What a call did: rows that went, and whether more wait for the next call."""

    rows: int
    more: bool


def prune(
    store: Store,
    now: Reading,
    keep_days: int,
    *,
    most_steps: int = 50,
    newest_kept: int = NEWEST_KEPT,
    worth: int = WORTH,
) -> Pruned:
    """Takes out what is acknowledged and older than `keep_days` (at least LEAST_DAYS).

    Nothing goes while the clock is doubtful. Raises StoreUnusable.
    """
    cutoff_ms = _cutoff_ms(store, now, max(keep_days, LEAST_DAYS))
    point = parse(store.meta(META))
    if point is None or _finished(store, point):
        fresh = None
        if cutoff_ms is not None:
            fresh = _announce(store, now, cutoff_ms, point, newest_kept, worth)
        if fresh is None:
            return Pruned(0, _shrink(store, most_steps))
        point = fresh
    rows = 0
    for _ in range(most_steps):
        gone = _step(store, point)
        rows += gone
        if gone < STEP:
            return Pruned(rows, _shrink(store, most_steps))
    return Pruned(rows, True)


def _cutoff_ms(store: Store, now: Reading, keep_days: int) -> int | None:
    """The true time before which records may go; None where that is not surely known.

    The server's proofs and the wall clock must agree: one clock gone wild takes nothing away.
    """
    near = store.newest_anchor(now.boot_id)
    truth = estimate(
        wall_ms=now.wall_ms,
        boot_id=now.boot_id,
        boottime_ns=now.boottime_ns,
        anchors=[] if near is None else [near],
    )
    if truth.cls is not ClockClass.A or wall_is_off(now.wall_ms, truth):
        return None
    return truth.earliest_ms - keep_days * _DAY_MS


def _announce(
    store: Store, now: Reading, cutoff_ms: int, last: Point | None, newest_kept: int, worth: int
) -> Point | None:
    """Writes the next prune point into the chain; None where there is nothing worth it."""
    with store.transaction() as db:
        # Proofs from the first one on that is young enough say nothing, whatever they claim: a
        # server whose clock once fell back to 2020 makes no record old.
        proof = db.execute(
            "SELECT number, epoch, seq FROM anchors WHERE number < "
            "(SELECT coalesce(min(number), 0) FROM anchors WHERE server_ms > ?) "
            "ORDER BY number DESC LIMIT 1",
            (cutoff_ms,),
        ).fetchone()
        if proof is None:
            return None
        number, epoch, seq = proof
        for bound in (_before_outbox(db), _before_newest(db, newest_kept)):
            if bound is not None:
                epoch, seq = min((epoch, seq), bound)
        count = db.execute(
            "SELECT count(*) FROM records WHERE (epoch, seq) <= (?, ?)", (epoch, seq)
        ).fetchone()[0]
        old = last is not None and count > 0 and _told_before(db, last, cutoff_ms)
        first = last is None and count > 0
        if not (count >= worth or old or first):
            # Proofs of quiet months go without a word: they are not part of the chain.
            db.execute("DELETE FROM anchors WHERE number < ?", (number - timeline.PROOFS,))
            return None
        row = db.execute(
            "SELECT epoch, seq, head FROM records WHERE (epoch, seq) <= (?, ?) "
            "ORDER BY epoch DESC, seq DESC LIMIT 1",
            (epoch, seq),
        ).fetchone()
        place, head = (row[0], row[1]), bytes(row[2]).hex()
        said = Draft(kind=Kind.FAULT, detail=words(*place, head))
        record = store.append(db, said, now).record
        point = Point(*place, head, record.epoch, record.seq, number)
        text = msgspec.json.encode(point).decode()
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (META, text))
        return point


def _before_outbox(db: sqlite3.Connection) -> tuple[int, int] | None:
    row = db.execute("SELECT epoch, seq FROM outbox ORDER BY epoch, seq LIMIT 1").fetchone()
    return None if row is None else (row[0], row[1] - 1)


def _before_newest(db: sqlite3.Connection, kept: int) -> tuple[int, int]:
    row = db.execute(
        "SELECT epoch, seq FROM records ORDER BY epoch DESC, seq DESC LIMIT 1 OFFSET ?",
        (kept,),
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def _told_before(db: sqlite3.Connection, last: Point, cutoff_ms: int) -> bool:
    """Whether a week of records has become old since that point."""
    row = db.execute(
        "SELECT server_ms FROM anchors WHERE number >= ? ORDER BY number LIMIT 1", (last.anchor,)
    ).fetchone()
    return row is not None and cutoff_ms - row[0] > 7 * _DAY_MS


def _finished(store: Store, point: Point) -> bool:
    with store.reading() as db:
        left = db.execute(
            "SELECT 1 FROM records WHERE (epoch, seq) <= (?, ?) LIMIT 1", (point.epoch, point.seq)
        ).fetchone()
    return left is None


def _step(store: Store, point: Point) -> int:
    """Takes up to STEP rows out, oldest first; how many went."""
    with store.transaction() as db:
        rows = db.execute(
            "SELECT epoch, seq, head FROM records WHERE (epoch, seq) <= (?, ?) "
            "ORDER BY epoch, seq LIMIT ?",
            (point.epoch, point.seq, STEP),
        ).fetchall()
        if not rows:
            return 0
        db.executemany("INSERT OR REPLACE INTO pruned VALUES (?, ?, ?)", rows)
        for table in ("records", "rejected"):
            db.execute(
                f"DELETE FROM {table} WHERE (epoch, seq) <= (?, ?)",  # noqa: S608 - two names
                rows[-1][:2],
            )
        db.execute("DELETE FROM anchors WHERE number < ?", (point.anchor,))
        return len(rows)


def _shrink(store: Store, most_steps: int) -> bool:
    """Gives pages beyond the slack back to the file system; whether there are more.

    Step by step, each atomic: a whole VACUUM would need as much room again, on a card that may be
    full. Files of the first release, which keep their free pages for new records, are left so.
    """
    for _ in range(most_steps):
        with store.reading() as db:
            free = db.execute("PRAGMA freelist_count").fetchone()[0]
            if db.execute("PRAGMA auto_vacuum").fetchone()[0] != 2 or free <= SLACK_PAGES:
                return False
        pages = min(VACUUM_PAGES, free - SLACK_PAGES)
        with store.transaction() as db:
            db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    return True

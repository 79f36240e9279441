"""Every single bit of a small kiosk's chain flipped in turn, and rows moved about: all noticed.

`--times` is the number of records; each bit of each payload and head is flipped once.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from attendance.errors import ChainBroken
from kiosk.clock import SystemClock
from kiosk.store import Store
from tests.faults.rig import Broken, checkin, main, need

DEVICE = "kkkkkkkk"
#: What a dishonest hand does to the rows, and the first record that must be named.
HANDS = {
    "a row is deleted": ("DELETE FROM records WHERE seq = 2", 2),
    "a row is inserted": (
        "INSERT INTO records SELECT epoch, (SELECT max(seq) FROM records) + 1, payload, head "
        "FROM records WHERE seq = 1",
        None,
    ),
    "two rows are swapped": (
        "UPDATE records SET payload = (SELECT payload FROM records AS o WHERE o.seq = "
        "5 - records.seq) WHERE seq IN (2, 3)",
        2,
    ),
    "the end is cut off": ("DELETE FROM records WHERE seq >= 3", 3),
}


def first_bad(store: Store) -> int | None:
    """The record that verify names, None where it finds nothing."""
    try:
        store.verify()
    except ChainBroken as error:
        return error.seq
    return None


def run(times: int) -> str:
    """A chain of `times` records; the line to print. Raises Broken."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "k.db"
        with Store.open(path, DEVICE) as store:
            for number in range(times):
                store.record(checkin(number), SystemClock().read())
            flips = _flip_all(store)
            for hand, (statement, seq) in HANDS.items():
                _try_hand(store, hand, statement, times + 1 if seq is None else seq)
            need(first_bad(store) is None, "the chain was not put back")
    return f"{flips} bits of {times} records flipped, {len(HANDS)} hands: each first bad one named"


def _flip_all(store: Store) -> int:
    flips = 0
    with store.transaction() as db:
        rows = db.execute("SELECT seq, payload, head FROM records ORDER BY seq").fetchall()
        db.execute("SAVEPOINT flips")
        for seq, *cells in rows:
            for name, cell in zip(("payload", "head"), cells, strict=True):
                update = f"UPDATE records SET {name} = ? WHERE seq = ?"  # noqa: S608 - two names
                for bit in range(len(cell) * 8):
                    bad = bytearray(cell)
                    bad[bit // 8] ^= 1 << bit % 8
                    db.execute(update, (bytes(bad), seq))
                    named = first_bad(store)
                    if named != seq:
                        raise Broken(f"bit {bit} of the {name} of {seq}: {named} was named")
                    flips += 1
                db.execute(update, (cell, seq))
        db.execute("ROLLBACK TO flips")
    return flips


def _try_hand(store: Store, hand: str, statement: str, seq: int) -> None:
    with store.transaction() as db:
        db.execute("SAVEPOINT hand")
        try:
            db.execute(statement)
        except sqlite3.Error as error:
            raise Broken(f"{hand}: {error}") from error
        named = first_bad(store)
        db.execute("ROLLBACK TO hand")
    need(named == seq, f"{hand}: {named} was named, not {seq}")


if __name__ == "__main__":
    main(__doc__, run, 4, "records")

"""Every single bit of a small kiosk's chain flipped in turn, and rows moved about: all noticed.

`--times` is the number of records, three at least; each bit of each payload and head is flipped
once. What the card alone cannot know a real server knows: yesterday's file, records cut off that it
holds, a history written anew from some record on whose heads follow, taken for acknowledged.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import func, select

from attendance.errors import ChainBroken
from kiosk.clock import SystemClock
from kiosk.errors import ServerRefused
from kiosk.site import Site
from kiosk.store import Store
from server.models import AuditEntry, RecordRow
from server.services.evidence.verify import verify
from tests.faults.rig import Broken, checkin, main, need
from tests.faults.township import Township, exchange

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


#: What is done to a kiosk after it has sent its 3rd record and its 7th: the statements, whether the
#: whole folder goes back to the 3rd, how many it records then, how many of those are taken for
#: acknowledged, and what the server's audit trail says in the end: from which record on.
YESTERDAYS: dict[str, tuple[tuple[str, ...], bool, int, bool, tuple[str, str]]] = {
    "yesterdays file": ((), True, 0, False, ("card_lost", "1/4 - 1/7")),
    "yesterdays file and other records": ((), True, 2, False, ("fork", "1/4")),
    "yesterdays file and more records than were lost": ((), True, 9, False, ("fork", "1/4")),
    "the end cut off": (
        ("DELETE FROM records WHERE seq > 5", "DELETE FROM outbox"), False, 0, False,
        ("card_lost", "1/6 - 1/7"),
    ),
    "as many written anew": (("DELETE FROM records WHERE seq > 2",), False, 5, True,
                             ("fork", "1/3")),
    "fewer written anew": (("DELETE FROM records WHERE seq > 2",), False, 3, True, ("fork", "1/3")),
    "more written anew": (("DELETE FROM records WHERE seq > 2",), False, 6, True, ("fork", "1/3")),
}  # fmt: skip
CLOCK = SystemClock()


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
                store.record(checkin(number), CLOCK.read())
            flips = _flip_all(store)
            for hand, (statement, seq) in HANDS.items():
                _try_hand(store, hand, statement, times + 1 if seq is None else seq)
            need(first_bad(store) is None, "the chain was not put back")
        for name, yesterday in YESTERDAYS.items():
            _try_yesterday(Path(folder) / name.replace(" ", "-"), name, *yesterday)
    return (
        f"{flips} bits of {times} records flipped, {len(HANDS)} hands: each first bad one named; "
        f"{len(YESTERDAYS)} histories that only the server can doubt: each named there"
    )


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


def _try_yesterday(
    folder: Path,
    name: str,
    hand: tuple[str, ...],
    back: bool,
    more: int,
    hushed: bool,
    says: tuple[str, str],
) -> None:
    """A kiosk with a server of its own, and what the server says of it. Raises Broken."""
    town = Township(folder / "server")
    kiosk, image = folder / "kiosk", folder / "image"
    try:
        town.kiosk(kiosk, "石桥村")
        for count in (3, 4):
            with Site(kiosk) as site:
                for number in range(count):
                    site.store.record(checkin(number), CLOCK.read())
                exchange(site, CLOCK)
                device = site.config.device
            if count == 3:
                shutil.copytree(kiosk, image)
        if back:
            shutil.rmtree(kiosk)
            shutil.copytree(image, kiosk)
        with Site(kiosk) as site:
            with site.store.transaction() as db:
                for statement in hand:
                    db.execute(statement)
            for number in range(more):
                site.store.record(checkin(9 + number), CLOCK.read())
            if hushed:
                with site.store.transaction() as db:
                    db.execute("DELETE FROM outbox")
            need(first_bad(site.store) is None, f"{name}: the card itself shows it")
            for _ in range(2):  # the first may only find out that there is a fork
                with contextlib.suppress(ServerRefused):
                    exchange(site, CLOCK)
        with town.database.session() as session:
            query = select(AuditEntry.what, AuditEntry.target).where(
                AuditEntry.who == f"device:{device}", AuditEntry.what != "pair"
            )
            said = [tuple(row) for row in session.execute(query)]
            held = session.scalar(
                select(func.count()).where(RecordRow.device_id == device, RecordRow.epoch == 1)
            )
            need(said[-1:] == [says], f"{name}: the audit trail says {said}, not {says}")
            need(held == 7, f"{name}: {held} of 7 records are left on the server")
            bad = list(verify(session, town.keys.sign_public))
            need(not bad, f"{name}: verify finds {bad}")
    finally:
        town.close()


if __name__ == "__main__":
    main(__doc__, run, 4, "records")

"""Old records go by proof and announced; the chain verifies from there; nothing unsent goes."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.clock import Anchor
from attendance.errors import ChainBroken
from attendance.records import decode_record
from attendance.statuses import Kind, Method, Status
from attendance.wire import Result
from kiosk.fakes import FakeClock
from kiosk.prune import LEAST_DAYS, Pruned, prune
from kiosk.schema import PRUNED
from kiosk.store import Draft, Store

DEVICE = "k" * 8
CHECKIN = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.ON_DUTY, method=Method.PIN)
DAY_S = 86_400.0


class Village:
    """A store that lives through days: three check-ins and a proof each, all acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.store = Store.open(path, DEVICE)
        self.proofs = 0

    def day(self, *, heard: bool = True, server_ms: int | None = None) -> None:
        for _ in range(3):
            self.clock.advance(DAY_S / 3)
            self.store.record(CHECKIN, self.clock.read())
        if heard:
            self.prove(server_ms)
            self.acknowledge()

    def prove(self, server_ms: int | None = None) -> None:
        now = self.clock.read()
        self.proofs += 1
        told = now.wall_ms if server_ms is None else server_ms
        proof = Anchor(f"a{self.proofs}", told, now.boot_id, now.boottime_ns, 1_000_000)
        assert self.store.add_anchor(proof)

    def acknowledge(self) -> None:
        first = self.store.first_pending()
        while first is not None:
            batch = self.store.batch(first[0], first[1] - 1)
            assert batch is not None
            with self.store.reading() as db:
                rows = db.execute(
                    "SELECT seq, payload FROM records WHERE epoch = ?", (batch.epoch,)
                ).fetchall()
            self.store.acknowledge(
                batch.epoch,
                [Result(seq=s, record_id=decode_record(p).record_id, result="stored")
                 for s, p in rows],
            )  # fmt: skip
            first = self.store.first_pending()

    def count(self, table: str = "records") -> int:
        with self.store.reading() as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def prune(self, keep_days: int = LEAST_DAYS, *, most_steps: int = 50, kept: int = 5) -> Pruned:
        return prune(
            self.store,
            self.clock.read(),
            keep_days,
            most_steps=most_steps,
            newest_kept=kept,
            worth=10,
        )


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Village]:
    """In memory where the machine has such a folder: years of records, each synced to the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        village = Village(Path(folder) / "kiosk.db")
        yield village
        village.store.close()


def test_what_is_older_than_the_setting_goes_and_the_chain_still_verifies(
    village: Village,
) -> None:
    for _ in range(20):
        village.day()
    assert village.prune() == (0, False), "nothing is old yet"
    village.clock.advance(380 * DAY_S)
    village.day()
    assert village.prune(400) == (0, False)
    assert village.prune(385) == (3 * 15, False), "proofs older than 385 days vouch for 15 days"
    assert village.store.verify() == village.count() == 21 * 3 - 45 + 1
    head = village.store.head()
    assert head.seq == 21 * 3 + 1, "numbers go on"
    last = village.store.batch(1, head.seq - 1)
    assert last is not None
    assert b"pruned up to 1/45" in last.payloads[0]
    assert village.store.pending() == 1, "the server is told by the chain itself"
    village.store.close()
    village.store = Store.open(village.path, DEVICE)
    village.day()
    assert village.store.head().seq == 22 * 3 + 1
    assert village.store.verify() == village.count()


def test_a_year_at_least_whatever_is_set(village: Village) -> None:
    for _ in range(20):
        village.day()
    village.clock.advance(300 * DAY_S)
    village.day()
    assert village.prune(keep_days=1) == (0, False)


def test_nothing_unsent_goes_and_the_newest_stay(village: Village) -> None:
    for _ in range(10):
        village.day()
    for _ in range(10):
        village.day(heard=False)
    village.clock.advance(500 * DAY_S)
    village.prove()
    assert village.prune().rows == 30, "what waits for its ack stays"
    assert village.store.pending() == 31
    village.acknowledge()
    village.clock.advance(500 * DAY_S)
    village.day()
    assert village.prune(kept=20).rows == 34 - 20
    assert village.prune(kept=1000).rows == 0
    assert village.store.verify() == village.count()


def test_no_clock_gone_wild_takes_anything_away(village: Village) -> None:
    for _ in range(20):
        village.day()
    village.clock.wall_ms += round(900 * DAY_S * 1000)
    assert village.prune() == (0, False), "the wall clock alone"
    village.clock.wall_ms -= round(900 * DAY_S * 1000)
    village.clock.advance(DAY_S)
    village.prove(village.clock.wall_ms + round(900 * DAY_S * 1000))
    assert village.prune() == (0, False), "the server alone"
    village.clock.reboot()
    assert village.prune() == (0, False), "no proof in this boot"


def test_a_server_once_in_the_past_makes_no_record_old(village: Village) -> None:
    for number in range(20):
        old = village.clock.wall_ms - round(2000 * DAY_S * 1000)
        village.day(server_ms=old if number == 10 else None)
    village.clock.advance(100 * DAY_S)
    village.day()
    assert village.prune() == (0, False)


def test_cut_anywhere_it_goes_on(village: Village) -> None:
    """Each step is a transaction of its own: reopened after every one, the chain is sound."""
    for _ in range(300):
        village.day()
    village.clock.advance(700 * DAY_S)
    village.day()
    rows = 0
    while (done := village.prune(most_steps=1)).more:
        rows += done.rows
        village.store.close()
        village.store = Store.open(village.path, DEVICE)
        assert village.store.verify() == village.count()
    assert rows + done.rows == 898
    assert village.count() == 903 + 1 - 898
    assert village.count("anchors") <= 3


def test_quiet_proofs_go_too(village: Village) -> None:
    for _ in range(3000):
        village.clock.advance(DAY_S)
        village.prove()
    assert village.prune() == (0, False), "there is no record to announce"
    assert village.count("anchors") <= 2000 + LEAST_DAYS + 2


def test_pages_go_back_to_the_card(village: Village) -> None:
    for _ in range(60):
        village.day()
    with village.store.transaction() as db:
        db.execute(
            "CREATE TABLE ballast AS WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) SELECT randomblob(1000) FROM n"
        )
        db.execute("DROP TABLE ballast")
    with village.store.reading() as db:
        before = db.execute("PRAGMA page_count").fetchone()[0]
    assert village.prune(most_steps=1) == (0, True)
    while village.prune().more:
        pass
    with village.store.reading() as db:
        assert before > 1000 > db.execute("PRAGMA page_count").fetchone()[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM meta WHERE key = 'prune_point'", "unannounced"),
        ("UPDATE pruned SET head = zeroblob(32)", "head does not follow"),
        ("UPDATE pruned SET seq = seq - 1", "missing"),
        ("DELETE FROM records WHERE seq <= 60", "missing"),
        ("UPDATE meta SET value = replace(value, '\"seq\":45', '\"seq\":46') "
         "WHERE key = 'prune_point'", "missing"),
        ("DELETE FROM pruned", "missing"),
    ],
)  # fmt: skip
def test_rows_taken_out_by_hand_are_told(village: Village, change: str, why: str) -> None:
    for _ in range(20):
        village.day()
    village.clock.advance(380 * DAY_S)
    village.day()
    village.prune(385)
    village.acknowledge()
    village.store.close()
    with sqlite3.connect(village.path) as db:
        db.execute(change)
    with pytest.raises(ChainBroken, match=why):
        village.store.verify()


def test_a_store_of_the_first_release_is_taken_over(village: Village) -> None:
    for _ in range(5):
        village.day()
    village.store.close()
    with sqlite3.connect(village.path) as db:
        assert "pruned" in PRUNED
        db.execute("DROP TABLE pruned")
        db.execute("DELETE FROM meta WHERE key = 'oldest_reader'")
        db.execute("PRAGMA user_version=1")
    assert village.store.verify() == 15
    village.clock.advance(400 * DAY_S)
    village.day()
    assert village.prune().rows > 0
    assert village.store.verify() == village.count()

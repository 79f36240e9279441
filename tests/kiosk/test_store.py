"""The store under property tests, kills, a full disk, damage and several processes at once."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from attendance.clock import Anchor
from attendance.errors import ChainBroken, RecordInvalid
from attendance.records import decode_record
from attendance.statuses import Kind, Method, Status
from attendance.wire import Result
from kiosk.errors import StoreNewer, StoreUnusable
from kiosk.fakes import FakeClock
from kiosk.schema import SCHEMA_VERSION, WriteLock, check_mode, connect, unusable
from kiosk.store import Draft, Recorded, Store

DEVICE = "k" * 8
CHECKIN = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.ON_DUTY, method=Method.PIN)
CLOCK = FakeClock()


def record(store: Store) -> Recorded:
    return store.record(CHECKIN, CLOCK.read())


def answer(recorded: Recorded, word: str = "stored") -> Result:
    return Result(seq=recorded.record.seq, record_id=recorded.record.record_id, result=word)


DOINGS = (
    "record", "ack", "reject", "skip", "mixed", "reopen", "fault", "anchor", "epoch", "reboot",
)  # fmt: skip
RECORD = [("record", 0, False)]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(DOINGS),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
@example([*RECORD, ("record", 0, True), *RECORD])
@example([*RECORD, ("anchor", 0, False), *RECORD])
@example([*RECORD, ("anchor", 0, True), *RECORD])
@example([("anchor", 0, False), *RECORD, ("reboot", 0, False), *RECORD])
@example([*RECORD, ("epoch", 0, False), *RECORD])
@example([*RECORD, ("epoch", 0, True), *RECORD, ("reopen", 0, False), *RECORD])
@example(RECORD + RECORD + [("fault", 0, False), ("record", 0, True)] + RECORD)
@example(RECORD + RECORD + [("record", 0, True), ("fault", 0, False)] + RECORD)
def test_whatever_happens_the_chain_holds_and_pending_is_exact(
    actions: list[tuple[str, int, bool]],
) -> None:
    """By the running kiosk, and by a command beside it."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kiosk.db"
        stores = [Store.open(path, DEVICE) for _ in range(2)]
        waiting: dict[tuple[int, int], str] = {}
        made = rejected = 0
        for number, (action, which, beside) in enumerate(actions):
            store = stores[beside]
            place = sorted(waiting)[which] if which < len(waiting) else None
            if action == "record":
                proof = store.newest_anchor(clock.boot_id)
                new = store.record(CHECKIN, clock.read()).record
                assert new.anchor == (proof.id if proof else None)
                waiting[new.epoch, new.seq] = new.record_id
                made += 1
            elif action == "reboot":
                clock.reboot()
            elif action == "fault":
                store.close()  # as after a fault: the next call opens it again
            elif action == "reopen":
                store.close()
                stores[beside] = store = Store.open(path, DEVICE)
            elif action == "anchor":
                clock.advance(700)
                now = clock.read()
                store.add_anchor(Anchor(f"a{number}", 10**12, now.boot_id, now.boottime_ns, 10**6))
            elif action == "epoch":
                head = store.open_epoch(bytes(32), 1, 99, clock.read())
                made += 1
                batch = store.batch(head.epoch, 0)
                assert batch is not None
                first = decode_record(batch.payloads[0])
                assert (first.kind, head.seq, batch.cites) == (Kind.FAULT, 1, bytes(32))
                waiting[head.epoch, 1] = first.record_id
            elif place is not None:
                epoch, seq = place
                own = waiting[place]
                if action == "mixed":  # the right number with another record's id
                    other = Result(seq=seq, record_id=str(clock.boot_id), result="stored")
                    assert sum(store.acknowledge(epoch, [other])) == 0
                elif action == "skip":
                    odd = Result(seq=seq, record_id=own, result="later, perhaps")
                    assert sum(store.acknowledge(epoch, [odd])) == 0
                else:
                    word = "rejected" if action == "reject" else "stored"
                    ack = Result(seq=seq, record_id=own, result=word)
                    store.acknowledge(epoch, [ack])
                    store.acknowledge(epoch, [ack])
                    rejected += word == "rejected"
                    del waiting[place]
            assert store.pending() == len(waiting)
            assert store.first_pending() == (min(waiting) if waiting else None)
        store = stores[0]
        assert store.verify() == made
        assert len(store.rejected()) == rejected
        for store in stores:
            store.close()


def test_batches_walk_the_chain(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        made = [record(store) for _ in range(7)]
        place, got = (1, 0), []
        while (batch := store.batch(*place, limit=3)) is not None:
            assert batch.before == store.head_at(batch.epoch, batch.first - 1)
            assert batch.cites is None
            got += batch.payloads
            place = (batch.epoch, batch.first + len(batch.payloads) - 1)
        assert got == [one.payload for one in made]
        assert store.head() == (1, 7, made[-1].head)
        long = Draft(kind=Kind.FAULT, detail="灯" * 500)
        for _ in range(600):
            store.record(long, CLOCK.read())
        batch = store.batch(1, 7)
        assert batch is not None
        assert sum(map(len, batch.payloads)) <= 900_000


def test_what_no_record_can_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        for bad in (
            Draft(kind=Kind.CHECKIN, official="A-1"),
            Draft(kind=Kind.FAULT),
            Draft(kind=Kind.FAULT, detail="x" * 501),
        ):
            with pytest.raises(RecordInvalid):
                store.record(bad, CLOCK.read())
        assert (store.pending(), store.verify()) == (0, 0)
        assert record(store).record.seq == 1


def test_many_threads_and_processes_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from kiosk.store import *; from kiosk.clock import SystemClock\n"
        "from attendance.statuses import *\n"
        "for _ in range(40):\n"
        "    with Store.open(Path(sys.argv[1]), 'kkkkkkkk') as s:\n"
        "        s.record(Draft(kind=Kind.FAULT, detail='x'), SystemClock().read())\n"
    )
    with Store.open(path, DEVICE) as store:
        root = str(Path(__file__).parents[2])
        beside = [
            subprocess.Popen([sys.executable, "-c", script, str(path), root]) for _ in range(2)
        ]
        before = store.generation()
        threads = [
            threading.Thread(target=lambda: [record(store) for _ in range(40)]) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait(60) for process in beside] == [0, 0]
        assert store.verify() == 200
        assert store.generation() != before
        still = store.generation()
        assert store.generation() == still


def test_a_write_waits_for_the_other_process(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        other = WriteLock(tmp_path / "k.db-lock")
        done = threading.Event()

        def write() -> None:
            record(store)
            done.set()

        thread = threading.Thread(target=write)
        with other.hold():
            thread.start()
            assert not done.wait(0.1)
        assert done.wait(10)
        thread.join()
        other.close()


RECORDER = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from kiosk.store import *
from kiosk.clock import SystemClock
from attendance.statuses import *
clock = SystemClock()
with Store.open(Path(sys.argv[1]), "kkkkkkkk") as store:
    while True:
        draft = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.LEFT, method=Method.PIN)
        got = store.record(draft, clock.read()).record
        print(got.record_id, flush=True)
"""


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    rng = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(path), str(Path(__file__).parents[2])],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 60)):
                acknowledged.append(process.stdout.readline().strip())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()  # told between our last look and the kill
            acknowledged += [line for line in rest.split("\n")[:-1] if line]
    with Store.open(path, DEVICE) as store:
        count = store.verify()
        kept: list[str] = []
        place = (1, 0)
        while (batch := store.batch(*place)) is not None:
            kept += [decode_record(p).record_id for p in batch.payloads]
            place = (1, len(kept))
    assert len(set(kept)) == len(kept) == count
    assert set(acknowledged) <= set(kept)
    assert 0 <= count - len(acknowledged) <= 20


FULL = """
import json, resource, sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from kiosk.store import *
from kiosk.errors import StoreUnusable
from kiosk.clock import SystemClock
from attendance.statuses import *
clock = SystemClock()
draft = Draft(kind=Kind.FAULT, detail="x" * 400)
told, faults = [], []
with Store.open(Path(sys.argv[1]), "kkkkkkkk") as store:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for _ in range(2000):
        try:
            told.append(store.record(draft, clock.read()).record.record_id)
        except StoreUnusable as error:
            faults.append(error.what)
            if len(faults) == 5:
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for _ in range(3):
        told.append(store.record(draft, clock.read()).record.record_id)
    print(json.dumps([told, faults]))
"""


def test_a_full_disk_confirms_nothing_and_clears(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(Path(__file__).parents[2])],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    told, faults = json.loads(done.stdout)
    assert len(faults) == 5
    assert set(faults) <= {"full", "io"}
    with Store.open(path, DEVICE) as store:
        kept = {decode_record(p).record_id for p in store.batch(1, 0).payloads}  # type: ignore[union-attr]
        total = store.verify()
    assert set(told) >= kept
    assert len(told) > 3
    assert total == len(told), "nothing is kept that was called a failure"


def test_a_card_that_refuses_the_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.db"
    # Without shared memory SQLite stays with the rollback journal, and says so in its answer only.
    db = sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True, isolation_level=None)
    with pytest.raises(StoreUnusable, match="network or memory drive") as caught:
        check_mode(db, path)
    db.close()
    assert caught.value.what == "mode"
    assert "网络盘" in caught.value.words("zh")
    db = connect(path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    db.close()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreUnusable) as caught:
        connect(Path(":memory:"))
    assert caught.value.what == "mode"


def test_sqlite_says_full(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        record(store)
        store._connected().execute("PRAGMA max_page_count=20")
        told, fault = 1, None
        while fault is None and told < 1000:
            try:
                # One attempt: `record` would let the reserve of room go and try once more.
                store._record(CHECKIN, CLOCK.read())
                told += 1
            except StoreUnusable as error:
                fault = error
        assert fault is not None
        assert fault.what == "full"
        assert "磁盘已满" in fault.words("zh")
        record(store)  # a new connection: the limit is gone, as if space had been freed
        assert store.verify() == told + 1


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (sqlite3.SQLITE_IOERR_SHMSIZE, "full"),
        (sqlite3.SQLITE_IOERR_WRITE, "io"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "readonly"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "corrupt"),
    ],
)
def test_what_sqlite_says_in_our_words(tmp_path: Path, code: int, what: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    assert unusable(tmp_path / "k.db", error).what == what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        record(store)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreUnusable):
            record(Store.open(tmp_path / "k.db", DEVICE))
    finally:
        tmp_path.chmod(0o700)


def test_files_that_are_no_store(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    with pytest.raises(StoreUnusable):
        Store.open(path, DEVICE, create=False)
    assert not path.exists()
    path.write_bytes(b"not a database at all" * 400)
    with pytest.raises(StoreUnusable) as caught:
        Store.open(path, DEVICE)
    assert caught.value.what == "corrupt"
    path.unlink()
    Store.open(path, DEVICE).close()
    with pytest.raises(StoreUnusable, match="another device"):
        Store.open(path, "other" * 2)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    Store.open(path, DEVICE).close()  # the release after this one left it readable for us
    with sqlite3.connect(path) as db:
        newer = (SCHEMA_VERSION + 1,)
        db.execute("UPDATE meta SET value = ? WHERE key = 'oldest_reader'", newer)
    with pytest.raises(StoreNewer):
        Store.open(path, DEVICE)
    with pytest.raises(StoreUnusable):
        Store.open(tmp_path / "no" / "folder" / "k.db", DEVICE)


@pytest.mark.parametrize(
    ("change", "first_bad"),
    [
        ("UPDATE records SET payload = replace(payload, 'A-1', 'A-2') WHERE seq = 3", 3),
        ("UPDATE records SET head = x'00' WHERE seq = 2", 2),
        ("DELETE FROM records WHERE seq = 4", 4),
        ("DELETE FROM records WHERE seq = 5", 5),
        ("UPDATE epochs SET cites = x'01'", 1),
    ],
)
def test_a_changed_chain_names_its_first_bad_record(
    tmp_path: Path, change: str, first_bad: int
) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        for _ in range(5):
            record(store)
        with store.transaction() as db:
            db.execute(change.replace("replace(payload", "replace(CAST(payload AS TEXT)"))
        with pytest.raises(ChainBroken) as caught:
            store.verify()
        assert caught.value.seq == first_bad


def test_time_proofs_are_thinned(tmp_path: Path) -> None:
    clock = FakeClock()
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        kept = []
        for number in range(100):
            now = clock.read()
            rtt = 40_000_000 if number != 3 else 1_000_000
            kept.append(
                store.add_anchor(Anchor(f"a{number}", 0, now.boot_id, now.boottime_ns, rtt))
            )
            clock.advance(15)
        assert [n for n, k in enumerate(kept) if k] == [0, 3, 43, 83]
        assert store.newest_anchor("another boot") is None
        newest = store.newest_anchor(clock.boot_id)
        assert newest is not None
        assert newest.id == "a83"
        clock.reboot()
        now = clock.read()
        assert store.add_anchor(Anchor("b", 0, now.boot_id, now.boottime_ns, 10**9))


def test_a_week_without_proof_is_not_read_through_for_today(tmp_path: Path) -> None:
    clock = FakeClock()
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        for _ in range(7 * 4):
            clock.advance(6 * 3600)
            store.record(CHECKIN, clock.read())
        now = clock.wall_ms
        today = store.facts(now - 86_400_000, now)
        assert [fact.seq for fact in today] == [24, 25, 26, 27, 28]
        assert {str(fact.when.cls) for fact in today} == {"C"}
        clock.wall_ms = 0  # stepped back: what was written under the right clock stays in view
        store.record(CHECKIN, clock.read())
        assert [fact.seq for fact in store.facts(now - 86_400_000, now)][-1] == 28
        assert len(store.facts(-(2**62), 2**62)) == 29


def test_what_was_recorded_moves_to_its_time_as_proofs_come_in(tmp_path: Path) -> None:
    clock = FakeClock(wall_ms=0)
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        store.record(CHECKIN, clock.read())
        assert [fact.when.at_ms for fact in store.facts(-1, 2**62)] == [0]
        for true_ms in (1_780_000_000_000, 1_780_000_600_000):
            clock.advance(600)
            with Store.open(tmp_path / "k.db", DEVICE) as another:  # `quxiang-kiosk sync` beside it
                now = clock.read()
                another.add_anchor(Anchor("a", true_ms, now.boot_id, now.boottime_ns, 2_000_000))
            found = store.facts(-1, 2**62)
            assert abs(found[0].when.at_ms - 1_779_999_400_000) < 100
            assert str(found[0].when.cls) == "A"


def test_what_is_asked_every_minute_takes_no_longer_after_a_year(tmp_path: Path) -> None:
    clock = FakeClock()
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        answers = [answer(store.record(CHECKIN, clock.read())) for _ in range(400)]
        store.acknowledge(1, answers)
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        with store.reading() as db:
            db.set_progress_handler(step, 1)
        now = clock.read()
        assert store.oldest_waiting_s(now, now.wall_ms) == 0
        assert (store.pending(), store.rejected_count(), store.rejected()) == (0, 0, [])
        assert store.newest_anchor(now.boot_id) is None
        assert store.head().seq == 400
        assert steps < 400, "no question of them goes through the records"


def test_small_values_are_kept(tmp_path: Path) -> None:
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        store.set_meta(camera="ok", lamps="rgb")
        before = store.generation()
        store.set_meta(camera="ok")
        assert store.generation() == before, "an equal value costs no write"
        store.set_meta(camera=None)
    with Store.open(tmp_path / "k.db", DEVICE) as store:
        assert (store.meta("camera"), store.meta("lamps")) == (None, "rgb")

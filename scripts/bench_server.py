"""Intake and verify, measured on this machine; written as JSON for `make bench`.

Intake: signed batches of 500 records through `server.services.records.intake.receive_batch`, in
process, one thread, each batch its own durable commit (the mode of `server.sqlite`): signature,
chain, decoding, rules and clock evidence included, HTTP not. Beside it, in the same run and turn
by turn, a bare `executemany` of the very same rows under the same settings. Then as the server
takes them in: two processes of eight threads, who decode side by side and commit together
(`server.commits`). Verify: every row.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.days import to_ms
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from server.api.answers import reserve
from server.config import ServerConfig, make_keys
from server.db import Database
from server.migrate import migrate
from server.models import Device, EpochRow, Official, RecordRow
from server.serve import settle
from server.services.evidence import checkpoints
from server.services.evidence.halves import verify_in_two
from server.services.evidence.verify import verify
from server.services.records import cursors, intake, uploads
from server.services.records.arrivals import Arrivals, foresee
from server.services.township.townships import create_township, only_township, site_of
from server.sqlite import LIBRARY, check_mode

NOW = datetime(2026, 3, 18, 1, 0, tzinfo=UTC)
PEOPLE = 36
WORKERS, THREADS = 2, 8


class Kiosk:
    """A paired kiosk whose signed batches were made before the clock starts."""

    def __init__(self, database: Database, keys: DeviceKeys, secret: bytes, name: str) -> None:
        self.id = name
        with database.transaction() as session:
            township = only_township(session)
            site = site_of(session, township, f"村{name}", "village")
            device = Device(
                id=name, township_id=township.id, kind="kiosk", site_id=site.id,
                sign_key=keys.sign_public, box_key=keys.box_public,
                paired_ms=to_ms(NOW - timedelta(days=9)), head=genesis(name, 1),
            )  # fmt: skip
            session.add(device)
            session.flush()
            session.add(
                EpochRow(
                    township_id=township.id, device_id=name, epoch=1, cites=b"", follows=True,
                    opened_ms=to_ms(NOW),
                )
            )  # fmt: skip
            self.boot = str(uuid.uuid4())
            asked = wire.CursorRequest(
                epoch=1, seq=0, head=genesis(name, 1).hex(), boot_id=self.boot, boottime_ns=10**9,
                wall_ms=to_ms(NOW), pending=1,
            )  # fmt: skip
            cursors.cursor(session, device, asked, NOW, secret=secret)
        self.keys = keys

    def batches(self, count: int, size: int) -> list[bytes]:
        """`count` batches of `size` check-ins."""
        head, made, seq = genesis(self.id, 1), [], 0
        for _ in range(count):
            payloads = []
            for _ in range(size):
                seq += 1
                payloads.append(
                    encode_record(
                        Record(
                            device=self.id, epoch=1, seq=seq, record_id=str(uuid.uuid4()),
                            kind=Kind.CHECKIN, official=f"A-{seq % PEOPLE + 1}",
                            status=Status.IN_VILLAGE, method=Method.FACE,
                            wall_ms=to_ms(NOW) + seq, boot_id=self.boot,
                            boottime_ns=10**9 + seq * 10**6, score=0.612, margin=0.213,
                            liveness="live", model="sface-2021dec", gallery=3,
                        )
                    )
                )  # fmt: skip
            made.append(wire.encode_batch(self.keys, self.id, 1, seq - size + 1, head, payloads))
            head = run_chain(head, payloads)
        return made


def prepared(folder: Path, url: str | None = None) -> tuple[ServerConfig, Database, bytes]:
    """An empty server with a roster."""
    config = ServerConfig(folder / "server", url)
    keys = make_keys(config)
    migrate(config)
    database = Database(config)
    with database.transaction() as session:
        township = create_township(session, "青山乡", NOW)
        session.add_all(
            Official(
                township_id=township.id, official=f"A-{n + 1}", name="张三",
                created_ms=0, updated_ms=0,
            )
            for n in range(PEOPLE)
        )  # fmt: skip
    return config, database, keys.sign_seed


def measure_intake(folder: Path, batches: int, size: int) -> dict[str, Any]:
    """Records a second of the service and of a bare executemany, in turns."""
    config, database, seed = prepared(folder)
    kiosk = Kiosk(database, DeviceKeys.generate(), b"s" * 32, "kkkkkkkk")
    bodies = kiosk.batches(batches, size)
    bare = _Bare(config, folder / "bare.db")
    ours, theirs, cpu, bare_cpu = [], [], 0.0, 0.0
    later = NOW + timedelta(hours=2)
    for body in bodies:
        start, busy = time.perf_counter(), time.process_time()
        with database.transaction() as session:
            device = session.get_one(Device, kiosk.id, with_for_update={"of": Device})
            reply = intake.receive_batch(session, device, body, later)
        ours.append(time.perf_counter() - start)
        cpu += time.process_time() - busy
        if len(reply.results) != size or {r.result for r in reply.results} != {"stored"}:
            raise SystemExit("a batch was not stored: nothing to measure")
        rows = bare.newest(size)
        start, busy = time.perf_counter(), time.process_time()
        bare.insert(rows)
        theirs.append(time.perf_counter() - start)
        bare_cpu += time.process_time() - busy
    with database.transaction() as session:
        start = time.perf_counter()
        checkpoints.make_all(session, seed, later)
        signing = time.perf_counter() - start
    public = make_keys(config).sign_public
    walls, busies = [], []
    for _ in range(3):
        with database.session() as session:
            start, busy = time.perf_counter(), time.process_time()
            bad = list(verify(session, public))
            walls.append(time.perf_counter() - start)
            busies.append(time.process_time() - busy)
        if bad:
            raise SystemExit(f"verify found {bad[0]}")
    database.close()
    both = []
    for _ in range(3):
        start = time.perf_counter()
        if list(verify_in_two(config, public)):
            raise SystemExit("verify in two processes found something")
        both.append(time.perf_counter() - start)
    total = batches * size
    return {
        "records": total,
        "batch": size,
        "records_per_s": round(total / sum(ours)),
        "records_per_s_median_batch": round(size / statistics.median(ours)),
        "records_per_cpu_s": round(total / cpu),
        "bare_executemany_per_s": round(total / sum(theirs)),
        "bare_executemany_per_cpu_s": round(total / bare_cpu),
        "ratio_to_bare": round(sum(ours) / sum(theirs), 2),
        "checkpoint_rows_per_s": round(total / signing),
        "verify_rows_per_s": round(total / min(walls)),
        "verify_rows_per_cpu_s": round(total / min(busies)),
        "verify_s": [round(w, 2) for w in walls],
        "verify_in_two_rows_per_s": round(total / min(both)),
    }


def measure_workers(folder: Path, batches: int, size: int) -> dict[str, Any]:
    """Records a second of two processes that share the database, each batch of a kiosk of its
    own."""
    config, database, _ = prepared(folder)
    made = []
    for number in range(batches):
        kiosk = Kiosk(database, DeviceKeys.generate(), b"s" * 32, f"w{number:07}")
        made.append((kiosk.id, kiosk.batches(1, size)[0]))
    database.close()
    fork = multiprocessing.get_context("fork")
    ready, begin, told = fork.Barrier(WORKERS + 1), fork.Barrier(WORKERS + 1), fork.SimpleQueue()
    workers = [
        fork.Process(target=_work, args=(config, made[number::WORKERS], ready, begin, told))
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    begin.wait()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - start
    database = Database(config)
    with database.session() as session:
        held = session.scalar(select(func.count()).select_from(RecordRow))
    database.close()
    if held != batches * size or any(worker.exitcode for worker in workers):
        raise SystemExit(f"{held} of {batches * size} records were stored: nothing to measure")
    busy = [told.get() for _ in workers]
    return {
        "workers": WORKERS,
        "records": held,
        "records_per_s": round(held / took),
        "cpu_us_a_record": round(1e6 * sum(busy) / held, 1),
        # What two cores of their own would take, were nothing waited for.
        "records_per_s_by_cpu": round(held / max(busy)),
    }


def _work(
    config: ServerConfig, made: list[tuple[str, bytes]], ready: Any, begin: Any, told: Any
) -> None:
    """One worker's share, by eight threads."""
    database, later = Database(config), NOW + timedelta(hours=2)
    with database.session() as session:
        keys = {d.id: d.sign_key for d in session.scalars(select(Device))}

    def take(name: str, body: bytes) -> None:
        upload = uploads.read_batch(name, keys[name], body)

        foreseen: list[Arrivals | None] = [None]

        def before(session: Session) -> None:
            foreseen[0] = foresee(session, name, upload, later)

        def work(session: Session) -> wire.BatchReply:
            return intake.store(session, session.get_one(Device, name), upload, later, foreseen[0])

        database.commits.do(name, work, before=before, reserve=reserve)

    settle()
    ready.wait()
    begin.wait()
    busy = time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda one: take(*one), made))
    told.put(time.process_time() - busy)
    database.close()


class _Bare:
    """The same table and settings without anything of ours around it."""

    def __init__(self, config: ServerConfig, path: Path) -> None:
        connect = LIBRARY.module.connect
        self._from = connect(config.database_file)
        self._to = connect(path, isolation_level=None)
        self._to.execute(f"PRAGMA synchronous = {LIBRARY.synchronous}")
        self._to.execute("PRAGMA cache_size = -16000")
        self._to.execute("PRAGMA wal_autocheckpoint = 4000")
        check_mode(self._to)
        for (sql,) in self._from.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'record' AND sql IS NOT NULL "
            "AND type IN ('table', 'index')"
        ):
            self._to.execute(sql)
        self._columns = [row[1] for row in self._from.execute("PRAGMA table_info(record)")]

    def newest(self, count: int) -> list[tuple[Any, ...]]:
        names = ",".join(self._columns)
        sql = f"SELECT {names} FROM record ORDER BY id DESC LIMIT {count}"  # noqa: S608 - our names
        return list(self._from.execute(sql))

    def insert(self, rows: list[tuple[Any, ...]]) -> None:
        names, marks = ",".join(self._columns), ",".join("?" * len(self._columns))
        self._to.execute("BEGIN IMMEDIATE")
        self._to.executemany(f"INSERT INTO record ({names}) VALUES ({marks})", rows)  # noqa: S608
        self._to.execute("COMMIT")


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batches", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quxiang-bench-") as folder:
        report: dict[str, Any] = {
            "machine": {"cpu": platform.machine(), "python": platform.python_version(),
                        "sqlite": str(LIBRARY)},
            "intake": measure_intake(Path(folder), args.batches, wire.MAX_BATCH),
            "workers": measure_workers(Path(folder) / "two", args.batches, wire.MAX_BATCH),
        }  # fmt: skip
    args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("intake", "workers")}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

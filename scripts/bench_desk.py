"""The supervisors' pages, measured in a township of a county's size, as JSON for `make bench`.

1,000 officials in 100 groups at 100 sites, who check in and out on every working day of a year:
about 500,000 records, chained and inserted in bulk. Pages are asked for in process, through
routing, login, audit note and template; HTTP and the network are not in the figures. `first` is a
look at days that this process has not judged before, `again` one at days that it has. On SQLite,
and on PostgreSQL where Debian's is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from attendance.chain import genesis, next_head
from attendance.days import SHANGHAI, day_start_ms, to_ms
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from server.app import create_app
from server.config import ServerConfig, make_keys
from server.migrate import migrate
from server.models import (
    Base,
    Contact,
    Device,
    EpochRow,
    Expectation,
    GroupSite,
    LeaveDecision,
    LeaveRow,
    Official,
    RecordRow,
    Site,
    WorkGroup,
)
from server.rules.calendar import Calendar, days_between
from server.services.access import accounts
from server.services.sheets import days as kept_days
from server.services.township.townships import create_township, site_of
from server.web import drawings

LAST = date(2026, 11, 27)
NOW = datetime(2026, 11, 28, 9, 0, tzinfo=SHANGHAI)
PASSWORD = "correct horse battery"  # noqa: S105 (of a township that is gone in a minute)  # nosec B105
#: Different days or months that `again` looks at.
AGAIN = 10
#: What the goals are about is looked at `--times` times, what takes seconds a twentieth of that,
#: the rest a fifth: a database is measured in three minutes.
GOALS = ("day", "month")
SLOW = ("month_xlsx", "month_csv", "charts", "allowance", "day_whole")
SURNAMES, GIVEN = "王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗", ("建国", "秀英", "志强", "伟", "芳")


class Town:
    """The township as it is filled. `people` are (code, row id, kiosk)."""

    def __init__(self, session: Session, people: int, sites: int, days: int) -> None:
        self.session, self.rng = session, random.Random(1)  # noqa: S311  # nosec B311 # guards nothing
        self.first = LAST - timedelta(days - 1)
        self.born = to_ms(NOW) - 400 * 86_400_000
        self.township = create_township(session, "青山乡", NOW - timedelta(400))
        self.kiosks = [self._kiosk(n) for n in range(sites)]
        groups = []
        for n, (site, _) in enumerate(self.kiosks):
            group = WorkGroup(township_id=self.township.id, name=f"第{n + 1}驻村工作组", at_least=1)
            groups.append(group)
            session.add(group)
            session.flush()
            session.add(GroupSite(township_id=self.township.id, work_group_id=group.id,
                                  site_id=site.id))  # fmt: skip
        self.people: list[tuple[str, int]] = []
        for n in range(people):
            name = SURNAMES[n % 20] + GIVEN[n // 20 % 5]
            self.people.append((f"A{n + 1:04d}", self._official(n, name, groups[n % sites])))
        accounts.add_user(session, self.township, "inspector", "inspector", PASSWORD, NOW,
                          must_change=False)  # fmt: skip

    def _kiosk(self, n: int) -> tuple[Site, Device]:
        name, keys = f"kiosk{n:03d}", DeviceKeys.generate()
        site = site_of(self.session, self.township, f"第{n}村" if n else "机关",
                       "village" if n else "office")  # fmt: skip
        device = Device(
            id=name, township_id=self.township.id, kind="kiosk", site_id=site.id,
            sign_key=keys.sign_public, box_key=keys.box_public, paired_ms=self.born,
            head=genesis(name, 1), last_contact_ms=to_ms(NOW), complete_until_ms=to_ms(NOW),
        )  # fmt: skip
        self.session.add(device)
        self.session.flush()
        self.session.add(EpochRow(township_id=self.township.id, device_id=name, epoch=1, cites=b"",
                                  follows=True, opened_ms=self.born))  # fmt: skip
        return site, device

    def _official(self, n: int, name: str, group: WorkGroup) -> int:
        one = Official(
            township_id=self.township.id, official=f"A{n + 1:04d}", name=name, title="驻村干部",
            phone=f"138{n:08d}", work_group_id=group.id, created_ms=self.born, updated_ms=self.born,
        )  # fmt: skip
        self.session.add(one)
        self.session.flush()
        site, _ = self.kiosks[n % len(self.kiosks)]
        self.session.add(Expectation(township_id=self.township.id, official_id=one.id,
                                     site_id=site.id, weekdays=0b0011111))  # fmt: skip
        return one.id

    def fill(self) -> int:
        """The year's records, a day after the other; returns how many."""
        calendar, written, boot = Calendar(), 0, str(uuid.UUID(int=7))
        if self.session.get_bind().dialect.name == "postgresql":
            # What is made here refers to what was made here: four million look-ups are left out.
            self.session.connection().exec_driver_sql("SET session_replication_role = replica")
        away: list[LeaveRow] = []
        for day in days_between(self.first, LAST):
            bulk(self.session, Contact, self._contacts(day))
            if not calendar.is_working(day):
                continue
            rows: list[dict[str, Any]] = []
            for n, (code, _) in enumerate(self.people):
                luck = self.rng.random()
                if luck < 0.02:  # absent, or on leave
                    if luck < 0.01:
                        away.append(self._leave(code, day))
                    continue
                rows.append(self._record(n, code, day, 480 + self.rng.randrange(50), False, boot))
                rows.append(self._record(n, code, day, 1040 + self.rng.randrange(50), True, boot))
            bulk(self.session, RecordRow, rows)
            written += len(rows)
        self.session.add_all(away)
        self.session.flush()
        bulk(self.session, LeaveDecision, [
            {"township_id": self.township.id, "leave_id": row.id, "approved": True, "by": "leader",
             "at_ms": row.start_ms}
            for row in away
        ])  # fmt: skip
        self.session.flush()
        if self.session.get_bind().dialect.name == "postgresql":
            self.session.connection().exec_driver_sql("SET session_replication_role = DEFAULT")
        return written

    def _contacts(self, day: date) -> list[dict[str, Any]]:
        start = day_start_ms(day)
        return [
            {"township_id": self.township.id, "device_id": device.id, "server_ms": start + hour,
             "boot_id": "b", "boottime_ns": 1, "epoch": 1, "seq": device.seq, "pending": 0}
            for _, device in self.kiosks for hour in range(0, 86_400_000, 3_600_000)
        ]  # fmt: skip

    def _leave(self, code: str, day: date) -> LeaveRow:
        start = day_start_ms(day)
        return LeaveRow(township_id=self.township.id, official=code, status="on_leave",
                        start_ms=start, end_ms=start + 86_400_000, asked_by="clerk",
                        asked_ms=start)  # fmt: skip

    def _record(
        self, n: int, code: str, day: date, minute: int, out: bool, boot: str
    ) -> dict[str, Any]:
        site, device = self.kiosks[n % len(self.kiosks)]
        device.seq += 1
        at = day_start_ms(day) + minute * 60_000 + self.rng.randrange(60_000)
        here = Status.IN_VILLAGE if site.kind == "village" else Status.ON_DUTY
        doubtful = self.rng.random() < 0.002
        record = Record(
            device=device.id, epoch=1, seq=device.seq,
            record_id=str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            kind=Kind.CHECKOUT if out else Kind.CHECKIN, official=code,
            status=Status.LEFT if out else here, method=Method.FACE, wall_ms=at, boot_id=boot,
            boottime_ns=at * 1000, score=0.612, margin=0.213, liveness="live",
            model="sface-2021dec", gallery=3,
        )  # fmt: skip
        payload = encode_record(record)
        device.head = next_head(device.head, payload)
        spread = 86_400_000 if doubtful else 400
        return {
            "township_id": self.township.id, "device_id": device.id, "epoch": 1, "seq": device.seq,
            "record_id": record.record_id, "payload": payload, "head": device.head,
            "site_id": site.id, "official": code, "kind": str(record.kind),
            "status": str(record.status), "method": "face", "verified": True, "score": 0.612,
            "margin": 0.213, "liveness": "live", "wall_ms": at, "earliest_ms": at - spread,
            "latest_ms": at + spread, "at_ms": at, "cls": "C" if doubtful else "A",
            "flags": '["doubtful"]' if doubtful else None, "received_ms": at + 1000,
        }  # fmt: skip


def bulk(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Appends rows, all with the same columns, as fast as the database takes them: a COPY, or one
    statement prepared once. What an ORM adds to 1.4 million rows takes minutes."""
    if not rows:
        return
    connection, names = session.connection(), ",".join(rows[0])
    name = table.__tablename__
    if connection.dialect.name == "sqlite":
        marks = ",".join("?" * len(rows[0]))
        connection.exec_driver_sql(
            f"INSERT INTO {name} ({names}) VALUES ({marks})",  # noqa: S608 (our own words)  # nosec B608
            [tuple(row.values()) for row in rows],
        )
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


class Queries:
    """How many statements the database was asked."""

    def __init__(self, app: Flask) -> None:
        self.count = 0
        engine = app.extensions["quxiang"].database.engine
        event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, *_: object) -> None:
        self.count += 1


def made(folder: Path, url: str | None, people: int, sites: int, days: int) -> tuple[Flask, int]:
    """The filled server's application, and how many records it holds."""
    config = ServerConfig(folder, url)
    make_keys(config)
    migrate(config)
    app = create_app(config, clock=lambda: NOW)
    database = app.extensions["quxiang"].database
    with database.transaction() as session:
        records = Town(session, people, sites, days).fill()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if url is not None:  # as its own autovacuum would within minutes
            connection.exec_driver_sql("VACUUM ANALYZE")
    return app, records


def signed_in(app: Flask) -> FlaskClient:
    """An inspector's browser."""
    client = app.test_client()
    token = client.get("/login").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    answer = client.post(
        "/login", data={"name": "inspector", "password": PASSWORD, "csrf_token": token}
    )
    if answer.status_code != 303:
        raise SystemExit("the inspector could not sign in")
    return client


def timed(client: FlaskClient, queries: Queries, paths: list[str]) -> dict[str, Any]:
    """Milliseconds of each path's answer, on the wall and of this thread's CPU (what the machine's
    other work does not lengthen, nor a database of its own), and queries at most."""
    took, busy, asked = [], [], 0
    for path in paths:
        before, start, cpu = queries.count, time.perf_counter(), time.thread_time()
        answer = client.get(path)
        if answer.status_code == 303 and "/exports/" in str(answer.location):
            answer = waited(client, answer.location)
        took.append((time.perf_counter() - start) * 1000)
        busy.append((time.thread_time() - cpu) * 1000)
        asked = max(asked, queries.count - before)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status}")
    return {
        "n": len(took),
        "median_ms": share(took, 50),
        "p95_ms": share(took, 95),
        "cpu_median_ms": share(busy, 50),
        "cpu_p95_ms": share(busy, 95),
        "queries": asked,
    }


def waited(client: FlaskClient, where: str) -> TestResponse:
    """A paper that is written beside the worker, once it is there."""
    while True:
        answer = client.get(f"{where}/file")
        if answer.status_code != 404:
            return answer
        time.sleep(0.02)


def share(values: list[float], percent: int) -> float:
    """The value that `percent` of all do not exceed, rounded to 0.1."""
    return round(sorted(values)[max(-(-len(values) * percent // 100), 1) - 1], 1)


def forget(app: Flask) -> None:
    """What a process has judged and drawn is gone, as after its start."""
    kept_days._kept.pop(app.extensions["quxiang"].database.engine.pool, None)
    drawings.register(app)


def measure(app: Flask, times: int) -> dict[str, Any]:
    """Every page's figures. Days and months are drawn at random, by seed."""
    rng = random.Random(2)  # noqa: S311 (which days are looked at)  # nosec B311
    client, queries = signed_in(app), Queries(app)
    days = [(LAST - timedelta(rng.randrange(360))).isoformat() for _ in range(times)]
    months = sorted({day[:7] for day in days if day[:7] > "2025-12"})
    pages: dict[str, Callable[[int], str]] = {
        "day": lambda n: f"/day?date={days[n]}",
        "day_of_a_site": lambda n: f"/day?date={days[n]}&site=第{n % 90 + 1}村",
        "day_by_pinyin": lambda n: f"/day?date={days[n]}&q=zhangjg",
        "week": lambda n: f"/week?date={days[n]}",
        "month": lambda n: f"/month?month={months[n % len(months)]}&page={n % 10 + 1}",
        "month_of_a_group": lambda n: f"/month?month={months[n % len(months)]}&group=第9驻村工作组",
        "allowance": lambda n: f"/allowance?month={months[n % len(months)]}",
        "charts": lambda n: f"/charts?month={months[n % len(months)]}",
        "month_xlsx": lambda n: f"/month.xlsx?month={months[n % len(months)]}",
        "month_csv": lambda n: f"/month.csv?month={months[n % len(months)]}",
        "day_whole": lambda n: f"/day?date={days[n]}&all=1",
        "history": lambda n: f"/officials/A{n % 999 + 1:04d}?first={days[n][:8]}01&last={days[n]}",
        "leave": lambda n: f"/leave?page={n % 10 + 1}",
        "search": lambda n: f"/officials?q={('zhang', '1380000', '李', 'wzq')[n % 4]}",
    }  # fmt: skip
    found: dict[str, Any] = {}
    slow = max(times // 20, 5)
    client.get("/day")  # the roster and the templates are read once in a process's life
    gc.collect()
    gc.freeze()  # as a worker of `quxiang-server run` does when it starts
    for name, path in pages.items():
        number = times if name in GOALS else slow if name in SLOW else max(times // 5, slow)
        cold = []
        for n in range(min(number, 40)):
            forget(app)
            cold.append(timed(client, queries, [path(n)]))
        first = {
            "n": len(cold),
            "median_ms": share([c["median_ms"] for c in cold], 50),
            "p95_ms": share([c["median_ms"] for c in cold], 95),
            "cpu_median_ms": share([c["cpu_median_ms"] for c in cold], 50),
            "cpu_p95_ms": share([c["cpu_median_ms"] for c in cold], 95),
            "queries": max(c["queries"] for c in cold),
        }
        for n in range(min(number, AGAIN)):
            client.get(path(n))
        again = timed(client, queries, [path(n % AGAIN) for n in range(number)])
        found[name] = {"first": first, "again": again}
        print(name)
        for kind, said in found[name].items():
            print(f"  {kind:6}", *(f"{k} {v}" for k, v in said.items()), flush=True)
    return found


@contextlib.contextmanager
def databases(wanted: list[str]) -> Iterator[dict[str, str | None]]:
    """URLs by name; PostgreSQL only where it is installed."""
    found: dict[str, str | None] = {}
    with contextlib.ExitStack() as stack:
        for name in wanted:
            if name == "sqlite":
                found[name] = None
                continue
            sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
            try:
                import pytest

                from tests.postgres import Cluster
            except ImportError as error:
                print(f"PostgreSQL: {error}", file=sys.stderr)
                continue
            try:
                cluster = Cluster(fsync="on", synchronous_commit="on", shared_buffers="256MB")
            except pytest.skip.Exception as error:
                print(f"PostgreSQL: {error}", file=sys.stderr)
                continue
            stack.callback(cluster.close)
            found[name] = cluster.new()
        yield found


def main() -> int:
    """Fill, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--times", type=int, default=200)
    args = parser.parse_args()
    report: dict[str, Any] = {
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(),
                    "python": platform.python_version()},
        "people": args.people, "sites": args.sites, "days": args.days,
    }  # fmt: skip
    with databases(args.database or ["sqlite", "postgres"]) as urls:
        for name, url in urls.items():
            with tempfile.TemporaryDirectory(prefix="quxiang-bench-") as folder:
                start = time.perf_counter()
                app, records = made(Path(folder), url, args.people, args.sites, args.days)
                print(f"== {name}: {records} records in {time.perf_counter() - start:.0f} s")
                report[name] = {"records": records, "load": os.getloadavg()[0],
                                **measure(app, args.times)}  # fmt: skip
                app.extensions["quxiang"].database.close()
    args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

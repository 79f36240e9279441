"""The public board of a township of a county's size, over HTTP, as JSON for `make bench`.

1,000 officials at 100 sites behind `quxiang-server run` with two workers, on SQLite and, where
Debian's is installed, on PostgreSQL. Three things: the page, unchanged and after a check-in; the
seconds from sending a check-in to an open board's event; and `--boards` boards held open for
`--minutes` while somebody checks in every two seconds, with the workers' memory at begin and end.
Boards do as `board.js`: a stream with its news, the rows where that does not tell of all that is
new, and where the server has none left a question every five seconds. Each has an address of its
own in 127.0.0.0/8. They and the kiosks run on the same cores as the server. With `--nginx` all of
them come through nginx with TLS, as deploy/nginx/quxiang.conf says (and its `worker_connections`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench_desk import databases, share  # type: ignore[import-not-found]
from bench_served import (  # type: ignore[import-not-found]
    Way,
    cpu_ms,
    descriptors,
    memory_mb,
    served,
)

from attendance import wire
from attendance.chain import genesis, next_head
from attendance.days import to_ms
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from server.config import ServerConfig, make_keys
from server.context import utcnow
from server.db import Database
from server.migrate import migrate
from server.models import Device, EpochRow, Expectation, Official, Site, WorkGroup
from server.services.township.townships import create_township

#: Seconds between two check-ins under load, and between two questions of a board without a stream.
PACE_S, POLL_S = 2.0, 5.0
#: Seconds after which a check-in counts as never seen.
PATIENCE_S = 20.0


class Kiosk:
    """A paired kiosk that sends one check-in at a time."""

    def __init__(self, name: str, people: list[str]) -> None:
        self.id, self.keys, self.people = name, DeviceKeys.generate(), people
        self.boot, self.seq, self.head = str(uuid.uuid4()), 0, genesis(name, 1)

    def _post(self, way: Way, target: str, body: bytes) -> None:
        connection = way.connection()
        headers = wire.sign_request(self.keys, self.id, "POST", target, body)
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 200 or b'"rejected"' in said:
            raise SystemExit(f"{target}: {answer.status} {said[:200]!r}")

    def check_in(self, way: Way) -> float:
        """Somebody comes or leaves; the moment at which that was sent."""
        boottime, now = time.clock_gettime_ns(time.CLOCK_BOOTTIME), to_ms(utcnow())
        if not self.seq:
            asked = wire.CursorRequest(
                epoch=1, seq=0, head=self.head.hex(), boot_id=self.boot, boottime_ns=boottime,
                wall_ms=now, pending=1,
            )  # fmt: skip
            self._post(way, wire.CURSOR, wire.encode(asked))
        self.seq += 1
        out = bool(self.seq // len(self.people) % 2)
        payload = encode_record(Record(
            device=self.id, epoch=1, seq=self.seq, record_id=str(uuid.uuid4()),
            kind=Kind.CHECKOUT if out else Kind.CHECKIN,
            official=self.people[self.seq % len(self.people)],
            status=Status.LEFT if out else Status.IN_VILLAGE, method=Method.FACE, wall_ms=now,
            boot_id=self.boot, boottime_ns=boottime, score=0.612, margin=0.213, liveness="live",
            model="sface-2021dec", gallery=3,
        ))  # fmt: skip
        body = wire.encode_batch(self.keys, self.id, 1, self.seq, self.head, [payload])
        self.head = next_head(self.head, payload)
        sent = time.perf_counter()
        self._post(way, wire.RECORDS, body)
        return sent


def fill(config: ServerConfig, people: int, sites: int) -> list[Kiosk]:
    """The township and its kiosks, who were heard of just now."""
    make_keys(config)
    migrate(config)
    database, kiosks, now = Database(config), [], utcnow()
    with database.transaction() as session:
        township = create_township(session, "青山乡", now)
        for n in range(sites):
            site = Site(township_id=township.id, name=f"第{n + 1}村", kind="village")
            group = WorkGroup(township_id=township.id, name=f"第{n + 1}驻村工作组")
            session.add_all([site, group])
            session.flush()
            own = [f"A{m + 1:04d}" for m in range(n, people, sites)]
            kiosk = Kiosk(f"kiosk{n:03d}", own)
            for code in own:
                official = Official(
                    township_id=township.id, official=code, name=f"王建国{code[1:]}",
                    title="驻村干部", phone=f"1380000{code[1:]}", work_group_id=group.id,
                    duties="林业、畜牧", created_ms=0, updated_ms=0,
                )  # fmt: skip
                session.add(official)
                session.flush()
                session.add(Expectation(township_id=township.id, official_id=official.id,
                                        site_id=site.id, weekdays=127))  # fmt: skip
            session.add(Device(
                id=kiosk.id, township_id=township.id, kind="kiosk", site_id=site.id,
                sign_key=kiosk.keys.sign_public, box_key=kiosk.keys.box_public,
                paired_ms=to_ms(now), head=kiosk.head, last_contact_ms=to_ms(now),
            ))  # fmt: skip
            session.flush()
            session.add(EpochRow(township_id=township.id, device_id=kiosk.id, epoch=1, cites=b"",
                                 follows=True, opened_ms=to_ms(now)))  # fmt: skip
            kiosks.append(kiosk)
    database.close()
    return kiosks


def summed(values: list[float], digits: int = 3) -> dict[str, Any]:
    """n, median, 95th percentile and the worst; None where nothing was measured."""
    if not values:
        return {"n": 0, "median": None, "p95": None, "worst": None}
    ordered = sorted(values)
    at = [ordered[max(-(-len(ordered) * p // 100), 1) - 1] for p in (50, 95, 100)]
    median, p95, worst = (round(v, digits) for v in at)
    return {"n": len(ordered), "median": median, "p95": p95, "worst": worst}


def within(values: list[float], most: float = 1.0) -> float | None:
    """The share of those that are `most` at the most; None where there are none."""
    return round(sum(v <= most for v in values) / len(values), 4) if values else None


def pages(way: Way, master: int, kiosks: list[Kiosk], times: int) -> dict[str, Any]:
    """Milliseconds of the whole page on one kept connection; of the workers' CPU the mean, in which
    a check-in's intake is."""
    found: dict[str, Any] = {}
    connection = way.connection()
    for name in ("unchanged", "after_a_check_in"):
        took: list[float] = []
        busy = 0.0
        for n in range(times + 3):
            if n == 3:  # templates and roster are read once in a process's life
                busy = cpu_ms(master)
            if name == "after_a_check_in":
                kiosks[n % len(kiosks)].check_in(way)
            start = time.perf_counter()
            connection.request("GET", "/")
            answer = connection.getresponse()
            found["bytes"] = len(answer.read())
            if answer.status != 200:
                raise SystemExit(f"the board: {answer.status}")
            took.append((time.perf_counter() - start) * 1000)
        found[name] = {
            "n": times, "median_ms": share(took[3:], 50), "p95_ms": share(took[3:], 95),
            "cpu_ms": round((cpu_ms(master) - busy) / times, 1),
        }  # fmt: skip
    connection.close()
    return found


class Boards:
    """Open boards, each with the moments at which it was told of something new, and showed it."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.told: list[list[float]] = []
        self.shown: list[list[float]] = []
        self.streams: set[int] = set()
        self.cut = self.questions = self.failed = self.fetched = 0

    async def _ask(
        self, number: int, path: str, extra: str = ""
    ) -> tuple[Any, Any, int, dict[str, str]]:
        own = f"127.0.{number // 200 + 1}.{number % 200 + 1}"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.way.port, local_addr=(own, 0), limit=1 << 20, ssl=self.way.tls
        )
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
        return reader, writer, int(head[0].split()[1]), headers

    async def _fetch(self, number: int, path: str, tag: str = "") -> tuple[int, dict[str, str]]:
        extra = "Connection: close\r\nAccept-Encoding: gzip\r\n"
        extra += f"If-None-Match: {tag}\r\n" if tag else ""
        reader, writer, status, headers = await self._ask(number, path, extra)
        await reader.read()
        writer.close()
        return status, headers

    async def one(self, number: int) -> None:
        """A board until it is closed. `board.js` tries for a stream again after a minute."""
        self.told.append([])
        self.shown.append([])
        tag, version = "", ""
        while True:
            try:
                reader, writer, status, _ = await self._ask(number, "/board/events?show=rows")
                try:
                    if status == 200:
                        self.streams.add(number)
                        version = await self._follow(number, reader, version)
                        self.cut += 1
                finally:
                    writer.close()
            except (OSError, EOFError):
                self.failed += 1
            if number in self.streams:
                self.streams.discard(number)
                await asyncio.sleep(3)  # `retry` of the stream
                continue
            for _ in range(round(60 / POLL_S)):
                await asyncio.sleep(POLL_S)
                try:
                    status, headers = await self._fetch(number, "/board.json", tag)
                    self.questions += 1
                    if status == 200:
                        self.told[number].append(time.perf_counter())
                        tag = headers.get("etag", "")
                        await self._show(number)
                    elif status != 304:
                        self.failed += 1
                except (OSError, EOFError):
                    self.failed += 1

    async def _follow(self, number: int, reader: Any, version: str) -> str:
        while line := await reader.readline():
            if line.startswith(b"event: news"):
                news = json.loads((await reader.readline())[6:])
                if news["from"] == version:
                    version = news["version"]
                    self.told[number].append(time.perf_counter())
                    self.shown[number].append(time.perf_counter())
            elif line.startswith(b"event: board"):
                said = (await reader.readline()).decode()[6:].strip()
                if said != version:
                    self.told[number].append(time.perf_counter())
                    version = await self._show(number) or said
        return version

    async def _show(self, number: int) -> str:
        status, headers = await self._fetch(number, "/board/rows")
        self.fetched += 1
        if status != 200:
            self.failed += 1
            return ""
        self.shown[number].append(time.perf_counter())
        return headers.get("quxiang-version", "")

    def seen(
        self, sent: list[float], numbers: set[int], moments: list[list[float]]
    ) -> tuple[list[float], int]:
        """Seconds until each of these boards was told of each check-in, and how often never."""
        delays, never = [], 0
        for number in numbers:
            for moment in sent:
                later = next((t for t in moments[number] if t >= moment), None)
                if later is None or later - moment > PATIENCE_S:
                    never += 1
                else:
                    delays.append(later - moment)
        return delays, never


async def followed(way: Way, kiosks: list[Kiosk], times: int) -> dict[str, Any]:
    """One open board and one check-in after the other."""
    boards, delays, rng = Boards(way), [], random.Random(3)  # noqa: S311  # nosec B311 # guards nothing
    task = asyncio.create_task(boards.one(0))
    await asyncio.sleep(2)
    for n in range(times):
        await asyncio.sleep(rng.random())  # anywhere between two looks of the server
        before = len(boards.told[0])
        sent = await asyncio.to_thread(kiosks[n % len(kiosks)].check_in, way)
        until = time.perf_counter() + PATIENCE_S
        while len(boards.told[0]) == before and time.perf_counter() < until:
            await asyncio.sleep(0.005)
        if len(boards.told[0]) > before:
            delays.append(boards.told[0][before] - sent)
    task.cancel()
    return {"asked": times, "within_1_s": sum(d <= 1 for d in delays), **summed(delays)}


async def held(
    way: Way, master: int, kiosks: list[Kiosk], number: int, minutes: float
) -> dict[str, Any]:
    """Many open boards while intake goes on."""
    boards = Boards(way)
    tasks = []
    for n in range(number):
        tasks.append(asyncio.create_task(boards.one(n)))
        await asyncio.sleep(0.01)  # each begins when somebody opens it, not at a stroke
    await asyncio.sleep(8)
    begin, streams, looks = memory_mb(master), set(boards.streams), []
    busy, began = cpu_ms(master), time.perf_counter()
    print(f"  {len(streams)} of {number} boards have a stream", flush=True)
    sent: list[float] = []
    until, n = time.perf_counter() + minutes * 60, 0
    while time.perf_counter() < until:
        start = time.perf_counter()
        sent.append(await asyncio.to_thread(kiosks[n % len(kiosks)].check_in, way))
        n += 1
        if n % max(1, round(minutes * 60 / PACE_S / 12)) == 0:
            looks.append(memory_mb(master))
        await asyncio.sleep(max(0.0, PACE_S - (time.perf_counter() - start)))
    await asyncio.sleep(POLL_S + 2)
    end = memory_mb(master)
    cores = (cpu_ms(master) - busy) / 1000 / (time.perf_counter() - began)
    kept = streams & boards.streams
    others = set(range(number)) - streams - boards.streams
    for task in tasks:
        task.cancel()
    live, never = boards.seen(sent, kept, boards.told)
    shown, never_shown = boards.seen(sent, kept, boards.shown)
    polled, never_polled = boards.seen(sent, others, boards.shown)
    return {
        "boards": number, "minutes": minutes, "check_ins": len(sent), "streams": len(streams),
        "streams_kept": len(kept), "streams_cut": boards.cut, "questions": boards.questions,
        "failed": boards.failed, "rows_fetched": boards.fetched,
        "stream_s": {**summed(live), "within_1_s": within(live), "never": never},
        "stream_shown_s": {**summed(shown), "within_1_s": within(shown), "never": never_shown},
        "poll_shown_s": {**summed(polled), "never": never_polled},
        "workers_cores": round(cores, 2), "descriptors": descriptors(master),
        "workers_mb_begin": begin, "workers_mb_between": looks, "workers_mb_end": end,
    }  # fmt: skip


def measure(folder: Path, url: str | None, args: argparse.Namespace) -> dict[str, Any]:
    """All of it on one database."""
    kiosks = fill(ServerConfig(folder, url), args.people, args.sites)
    load = os.getloadavg()[0]
    with served(folder, url, args.nginx) as (way, master):
        found: dict[str, Any] = {"page": pages(way, master, kiosks, args.times)}
        print(f"  page {found['page']}", flush=True)
        found["followed"] = asyncio.run(followed(way, kiosks, args.follow))
        print(f"  followed {found['followed']}", flush=True)
        found["held"] = asyncio.run(held(way, master, kiosks, args.boards, args.minutes))
        print(f"  held {found['held']}", flush=True)
    return {"load": [round(load, 1), round(os.getloadavg()[0], 1)], **found}


def main() -> int:
    """Fill, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--times", type=int, default=100, help="looks at the page")
    parser.add_argument("--follow", type=int, default=30, help="check-ins that one board follows")
    parser.add_argument("--boards", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=1.5, help="60 for the hour")
    parser.add_argument("--nginx", action="store_true", help="through nginx with TLS")
    args = parser.parse_args()
    report: dict[str, Any] = {
        "people": args.people, "sites": args.sites, "cores": os.cpu_count(), "nginx": args.nginx,
    }  # fmt: skip
    with databases(args.database or ["sqlite", "postgres"]) as urls:
        for name, url in urls.items():
            print(f"== {name}", flush=True)
            with tempfile.TemporaryDirectory(prefix="quxiang-bench-") as folder:
                report[name] = measure(Path(folder), url, args)
    args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One check-in made durable, beside a bare SQLite commit of one row of the same size.

The same file system, the same settings (WAL, synchronous=FULL, secure_delete), interleaved in one
run, so that a busy card slows both. Goal: the median at most 1.5 times the bare commit's.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from attendance.statuses import Kind, Method, Status
from kiosk.clock import SystemClock
from kiosk.drafts import Draft
from kiosk.schema import connect
from kiosk.store import Store

GOAL = 1.5


def checkin(number: int) -> Draft:
    """A check-in of one of 36 people."""
    return Draft(
        kind=Kind.CHECKIN,
        official=f"A-{number % 36 + 1}",
        status=Status.IN_VILLAGE,
        method=Method.FACE,
        score=0.6123,
        margin=0.2345,
        liveness="live",
        model="sface",
        gallery=3,
    )


def bare(path: Path) -> sqlite3.Connection:
    """A table of one blob a row, opened as the store's file is."""
    db = connect(path)
    db.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    return db


def measure(folder: Path, times: int) -> dict[str, Any]:
    """The report: medians and 95th percentiles in milliseconds, `ratio` of the medians."""
    clock = SystemClock()
    ours: list[float] = []
    base: list[float] = []
    with Store.open(folder / "kiosk.db", "kkkkkkkk") as store:
        db = bare(folder / "bare.db")
        size = len(store.record(checkin(0), clock.read()).payload)
        for number in range(times):
            draft = checkin(number)
            began = time.perf_counter()
            store.record(draft, clock.read())
            middle = time.perf_counter()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO row VALUES (?, ?)", (number, bytes(size)))
            db.execute("COMMIT")
            base.append(time.perf_counter() - middle)
            ours.append(middle - began)
        db.close()
    ratio = statistics.median(ours) / statistics.median(base)
    return {
        "checkins": times,
        "record_bytes": size,
        "checkin_ms": _said(ours),
        "bare_commit_ms": _said(base),
        "ratio": round(ratio, 3),
        "goal": GOAL,
        "met": ratio <= GOAL,
    }


def _said(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20)
    return {
        "median": round(statistics.median(seconds) * 1000, 3),
        "p95": round(cuts[18] * 1000, 3),
    }


def main() -> None:
    """Measures where this repository lies, prints a line and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--times", type=int, default=2000, metavar="N", help="check-ins")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as folder:
        report = measure(Path(folder), args.times)
    print(
        f"one check-in durable: {report['checkin_ms']['median']} ms, a bare commit "
        f"{report['bare_commit_ms']['median']} ms, ratio {report['ratio']} (goal {GOAL}, "
        f"n {report['checkins']})"
    )
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

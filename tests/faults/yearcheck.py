"""What is measured of the simulated year along the way, and the verdict at its end."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from kiosk.site import Site
from kiosk.timeline import REACH
from tests.faults.flat import growth, last_half
from tests.faults.rig import Broken, check_server, need

if TYPE_CHECKING:
    from tests.faults.year import Year

DAYS = 460
KEEP_DAYS = 366
DAY_S = 86_400.0
MOST_KB = 8_192
"""What may have been added to memory over the last half, at the upper end of its interval."""
MOST_OBJECTS = 25_000
"""The same for Python's objects: a leak keeps at least one a visit, and 100,000 make 50,000."""


@dataclass(frozen=True)
class Sample:
    """One evening: visits so far, kB of memory, bytes of files, rows of the store, the age of its
    oldest. `heap_kb` is what the C library has given out and was not handed back, `objects` the
    blocks that Python's own allocator has: a leak shows there even while freed memory hides it."""

    day: int
    visits: int
    rss_kb: int
    heap_kb: int
    objects: int
    files: int
    log: int
    rows: int
    oldest_days: float


class Samples:
    """The samples so far, kept in a file: what is measured is not to grow by the measuring, and a
    run that is ended from outside leaves them behind."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_text(",".join(each.name for each in fields(Sample)) + "\n", encoding="ascii")

    def add(self, sample: Sample) -> None:
        """One more."""
        with self._file.open("a", encoding="ascii") as file:
            file.write(",".join(f"{value:g}" if isinstance(value, float) else str(value)
                                for value in astuple(sample)) + "\n")  # fmt: skip

    def read(self) -> list[Sample]:
        """All of them."""
        rows = [line.split(",") for line in self._file.read_text("ascii").splitlines()[1:]]
        return [Sample(*(int(value) for value in row[:-1]), oldest_days=float(row[-1]))
                for row in rows]  # fmt: skip


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def memory() -> tuple[int, int, int]:
    """Of this process: resident kB, kB in use of the C library's, blocks of Python's."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    mallinfo = ctypes.CDLL(None).mallinfo2  # glibc 2.33: all that we install on has it
    mallinfo.restype = _Mallinfo
    heap = mallinfo()
    return resident // 1024, (heap.uordblks + heap.hblkhd) // 1024, sys.getallocatedblocks()


def steady(samples: list[Sample]) -> str:
    """Whether memory stays flat over the last half; in words. Raises Broken.

    Flat is shown, not merely unrefuted: the upper end of the 95 % interval must be within bounds.
    """
    half = last_half(samples)
    visits = [float(each.visits) for each in half]

    def of(what: str, get: Callable[[Sample], int], most: float, unit: str, scale: float) -> str:
        found = growth(visits, [float(get(each)) for each in half])
        if found is None:  # a short run: two points, and what they can tell
            grown = get(half[-1]) - get(half[0])
            need(unit != "B" or grown < MOST_KB, f"{what} grew by {grown} in a short run")
            return f"{what} {grown:+d} in a run too short for a slope"
        each = (
            f"{what} {found.each * scale:+.2f} {unit} a visit "
            f"({found.low * scale:+.2f} to {found.high * scale:+.2f})"
        )
        need(found.most < most,
             f"not shown to be flat over the last {found.over:.0f} visits: {each}")  # fmt: skip
        return each

    return "over the last half, with 95 % intervals: " + ", ".join(
        (
            of("resident memory", lambda each: each.rss_kb, MOST_KB, "B", 1024),
            of("memory in use", lambda each: each.heap_kb, MOST_KB, "B", 1024),
            of("Python's", lambda each: each.objects, MOST_OBJECTS, "objects", 1),
        )
    )


def judge(year: Year) -> str:
    """What was recorded, and what the samples say. Raises Broken."""
    if year.fault is not None:
        raise Broken(f"after {year.time.mono() / DAY_S:.0f} days: {year.fault}")
    # Not `stop`: a signal sets that one, too.
    need(year.passed, f"it ended after {year.time.mono() / DAY_S:.0f} days")
    need(year.time.failed == 0, f"the server failed {year.time.failed} times")
    samples, days = year.samples.read(), year.days
    with Site(year.folder) as site:
        head, device = site.store.head(), site.config.device
        site.store.verify()
        need(site.store.pending() == 0, "records wait although the line is up")
    made = year.visits - year.strangers + year.pins + year.choices
    need(head.seq >= made * 0.98, f"{head.seq} records of {made} visits")
    check_server(year.town, device, set(), head.seq)
    end, log = samples[-1], max(each.log for each in samples)
    need(log < 8 << 20, f"the database's log grew to {log} bytes")
    pruned = head.seq - int(end.rows)
    if days > KEEP_DAYS + 30 and head.seq * KEEP_DAYS / days > 2 * REACH:
        late = [each for each in samples if each.day > KEEP_DAYS + 20]
        spread = max(each.rows for each in late) / min(each.rows for each in late)
        need(spread < 1.1, f"the store's rows vary by {spread:.2f} although the old ones go")
        need(KEEP_DAYS - 1 < end.oldest_days < KEEP_DAYS + 21,
             f"the oldest is {end.oldest_days:.0f} days old")  # fmt: skip
        grown = end.files - late[0].files
        need(grown < 1 << 20, f"files grew by {grown} bytes after {late[0].day} days")
    shown = "; ".join(
        f"day {each.day + 1}: {each.rss_kb >> 10} MB, {each.files / 1e6:.1f} MB, {each.rows}"
        for each in samples[:: max(1, len(samples) // 9)]
    )
    said = (
        f"{days} days, {year.visits} visits ({year.strangers} of strangers, {year.pins} PINs, "
        f"{year.choices} choices, camera pulled {year.lost} times, line cut {year.cuts} times): "
        f"{head.seq} records, all on the server once, {pruned} pruned after {KEEP_DAYS} days; "
        f"memory, files and rows: {shown}; log at most {log / 1e6:.1f} MB"
    )
    try:
        return f"{said}; {steady(samples)}"
    except Broken as broken:
        raise Broken(f"{broken}; {said}") from None

"""What the fault tools share: a served township, a recorder that can be killed, a verdict."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import select
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attendance.chain import genesis, run_chain
from attendance.records import decode_record
from attendance.statuses import Kind, Method, Status
from kiosk.drafts import Draft
from tests.ports import free_port
from tests.walks.town import Town

Tell = Callable[[int, int, str], None]
#: Where a record stands and which it is: (epoch, seq, record_id).
Told = tuple[int, int, str]


class Broken(AssertionError):
    """A promise was not kept."""


class Cannot(Exception):
    """This machine, or this user, cannot try it; the reason."""


#: Of what happens by chance, unless another is asked for.
SEED = 4
#: Exit status that says so (automake's word for a skipped test).
SKIPPED = 77


def need(kept: bool, what: str) -> None:
    """Raises Broken unless the promise was kept."""
    if not kept:
        raise Broken(what)


def checkin(number: int) -> Draft:
    """A check-in of one of 36 people."""
    return Draft(
        kind=Kind.CHECKIN,
        official=f"A-{number % 36 + 1}",
        status=Status.IN_VILLAGE,
        method=Method.FACE,
        score=0.61,
        margin=0.2,
        liveness="live",
        model="sface",
        gallery=3,
    )


class Recorder:
    """A forked process; what `work` tells has been confirmed to somebody before its lamp."""

    def __init__(self, work: Callable[[Tell], None]) -> None:
        sys.stdout.flush()
        self.told: list[Told] = []
        self._rest = b""
        self._end, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                os.close(self._end)
                work(lambda *told: void(os.write(write, b"%d %d %s\n" % _bytes(told))))
                status = 0
            finally:
                os._exit(status)
        os.close(write)

    def watch(self, seconds: float, first: bool = False) -> None:
        """Listens that long; with `first` only from the first thing told on (10 s at most)."""
        if first and not self.told:
            self._listen(time.monotonic() + 10, once=True)
        self._listen(time.monotonic() + seconds)

    def wait_for(self, seen: Callable[[Told], bool], seconds: float = 10) -> bool:
        """Listens until that was told; whether it was in time."""
        until = time.monotonic() + seconds
        while not any(map(seen, self.told)) and (left := until - time.monotonic()) > 0:
            if select.select([self._end], [], [], left)[0] and not self._read():
                break
        return any(map(seen, self.told))

    def _listen(self, until: float, once: bool = False) -> None:
        while (left := until - time.monotonic()) > 0 and not (once and self.told):
            if not select.select([self._end], [], [], left)[0]:
                return
            if not self._read():
                return

    def _read(self) -> bool:
        data = os.read(self._end, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            epoch, seq, record_id = line.decode().split()
            self.told.append((int(epoch), int(seq), record_id))
        return bool(data)

    def hear(self) -> list[Told]:
        """Whatever was told until now."""
        while select.select([self._end], [], [], 0)[0] and self._read():
            pass
        return self.told

    def signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> int:
        """kill -9; the exit status (-9, or that of a process that had ended)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        while self._read():
            pass
        os.close(self._end)
        return status


def void(_: object) -> None:
    """Nothing."""


def _bytes(told: Told) -> tuple[int, int, bytes]:
    return told[0], told[1], told[2].encode()


@contextlib.contextmanager
def served(
    database: str | None = None, workers: int = 1, *, begun: bool = True
) -> Iterator[Town]:
    """`quxiang-server run` on loopback in a folder of its own, its records in SQLite or there; not
    `begun`: only initialised."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    with tempfile.TemporaryDirectory(prefix="quxiang-faults-") as folder:
        town = Town(Path(folder), free_port(), {**kept, "QUXIANG_LANG": "en"})
        town.database, town.workers = database, workers
        town.init()
        try:
            if begun:
                town.serve()
            yield town
        finally:
            if town.server is not None:
                town.server.terminate()  # kills its workers too
                town.server.wait()


def workers_of(pid: int) -> list[int]:
    """The processes that a server's master has made."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        return [int(child) for child in children.read_text().split()]
    return []


def server_rows(town: Town, device: str) -> list[tuple[int, int, str, bytes, bytes]]:
    """(epoch, seq, record_id, payload, head) that the server holds of a kiosk, in order."""
    with contextlib.closing(sqlite3.connect(f"{town.data('server')}/server.db")) as db:
        return db.execute(
            "SELECT epoch, seq, record_id, payload, head FROM record WHERE device_id = ? "
            "ORDER BY epoch, seq",
            (device,),
        ).fetchall()


def check_server(town: Town, device: str, told: set[Told], count: int) -> None:
    """The server holds `count` records, those told among them, once each, in one sound chain."""
    rows = server_rows(town, device)
    ids = [row[2] for row in rows]
    need(len(set(ids)) == len(ids), f"{len(ids) - len(set(ids))} records twice on the server")
    lost = told - {(row[0], row[1], row[2]) for row in rows}
    need(not lost, f"{len(lost)} acknowledged records are not on the server: {sorted(lost)[:3]}")
    need(len(rows) == count, f"the server holds {len(rows)} records, the kiosk {count}")
    need([row[1] for row in rows] == list(range(1, count + 1)), "a hole in the server's numbers")
    head = run_chain(genesis(device, 1), [row[3] for row in rows])
    need(not rows or head == rows[-1][4], "the server's chain does not follow")
    need([decode_record(row[3]).record_id for row in rows] == ids, "columns differ from payloads")
    town.run("quxiang-server", "verify", "--data", town.data("server"))


def main(
    what: str | None,
    run: Callable[..., str],
    times: int,
    unit: str = "times",
    modes: Sequence[str] = (),
) -> None:  # pragma: no cover - the short test runs it in a process of its own
    """`python -m tests.faults.NAME --times N [--mode M] [--seed S]`: one line and exit 0, or what
    broke and exit 1, or why it cannot be tried here and exit 77."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--times", type=int, default=times, metavar="N", help=f"how many {unit}")
    if modes:
        parser.add_argument("--mode", choices=modes, default=modes[0])
    if "seed" in inspect.signature(run).parameters:
        parser.add_argument("--seed", type=int, default=SEED, help="of what happens by chance")
    chosen = vars(parser.parse_args())
    began = time.monotonic()
    try:
        said = run(**chosen)
    except Broken as broken:
        print(f"BROKEN: {broken}", file=sys.stderr)
        sys.exit(1)
    except Cannot as why:
        print(f"not tried: {why}", file=sys.stderr)
        sys.exit(SKIPPED)
    print(f"{said} ({time.monotonic() - began:.0f} s)")

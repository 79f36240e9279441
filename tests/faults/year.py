"""A year in a village, at speed: `--checkins N` through the whole kiosk, in one process.

`quxiang-kiosk run` as it is, with its store, board, lamps on mock pins, page with a reader, pruning
and sync to a real server. Only the edge is played: the camera's frames, the networks that find and
embed faces (templates come from a book instead), and time, which the camera moves and server and
desk share. People come in rounds; some touch, some are strangers; the camera and the line fail now
and then; the desk renews the gallery. Memory and files are sampled along the way and must be flat
at the end, while what is older than the retention goes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from hardware.errors import CameraStopped
from hardware.fakes import mock_pins
from hardware.frames import Camera, Frame, Image
from kiosk.edge import Edge
from kiosk.run import main_run
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser
from tests.faults.rig import Broken, free_port, need
from tests.faults.yearcheck import DAY_S, DAYS, KEEP_DAYS, Sample, Samples, judge, memory
from tests.faults.yearworld import PEOPLE, Book, Desk, Page, Time, township
from tests.walks.town import Town

LAMPS = 8
"""Lamps on pins: three each, as many as fit; the others are drawn on the page."""
BETWEEN_S = 8.0
STRANGER, PIN, CHOICE = 97, 401, 83
"""Every so manieth visit is a stranger's, is made by PIN, changes the status afterwards."""
UNPLUGGED, DOWN, RENEWED = 20, 15, 60
"""Days between pulls of the camera, between cuts of the line for three days, between galleries."""


class Village(Camera):
    """The camera before which the year passes."""

    live = True

    def __init__(self, year: Year) -> None:
        super().__init__("year")
        self._year = year

    def frames(self) -> Iterator[Frame]:
        """From where the camera was lost on."""
        began = self._year.time.mono()
        for index, image in enumerate(self._year.script):
            if image is None:
                raise CameraStopped("摄像头拔出", "the camera was pulled out")
            now = self._year.time.mono()
            yield Frame(index, now - began, image, now)

    def _release(self) -> None:
        pass


class Year:
    """The script of all days, and what was seen of them."""

    def __init__(
        self, town: Town, checkins: int, days: int, stop: threading.Event, leak: int, samples: Path
    ) -> None:
        self.time = Time()
        self.book = Book()
        self.checkins, self.days = checkins, days
        self.stop = stop
        self.town = town
        self.folder = town.folder / "kiosk"
        self.port = free_port()
        self.samples = Samples(samples)
        self.visits = self.strangers = self.pins = self.choices = self.lost = self.cuts = 0
        self.script: Iterator[Image | None] = self._script()
        self.fault: Exception | None = None
        self.passed = False
        self.desk: Desk | None = None
        self.header = mock_pins()
        self.leak, self._leaked = leak, [b""]
        self._rng = random.Random(11)

    def _script(self) -> Iterator[Image | None]:
        try:
            yield from self._days()
        except Exception as error:
            self.fault = error
            raise

    def _days(self) -> Iterator[Image | None]:
        page = Page(self.port)
        assert self.desk is not None
        yield from self._waiting_for(self._has_gallery, 60)
        done = 0
        for day in range(self.days):
            if day % RENEWED == RENEWED - 55 and day > RENEWED:
                self.desk.renew()
            if day % DOWN == DOWN - 1:
                self.time.line_down, self.cuts = True, self.cuts + 1
            elif day % DOWN == 2:
                self.time.line_down = False
            if day % UNPLUGGED == UNPLUGGED - 1:
                self.lost += 1
                yield None
            due = self.checkins * (day + 1) // self.days - done
            done += due
            left, hour = due, 7.0
            while left:
                size = min(PEOPLE, left)
                left -= size
                for number in self._rng.sample(range(1, PEOPLE + 1), size):
                    yield from self._visit(number, page)
                self._pass_to(day * DAY_S + hour * 3600)
                hour += 2.0
            self._pass_to((day + 1) * DAY_S)
            yield self.book.picture(0)
            self.time.settle()
            for pin in self.header.pins.values():
                pin.clear_states()  # mock pins remember every change, which no real pin does
            if day % max(1, self.days // 230) == 0:
                self.samples.add(self._sample(day))
        self.time.line_down = False
        self.time.move(3600)
        # Or housekeeping prunes, and records that it did, after the outbox was found empty.
        self.time.settle()
        yield from self._waiting_for(self._drained, 120)
        self.passed = True
        self.stop.set()
        yield self.book.picture(0)

    def _pass_to(self, second: float) -> None:
        """Hours pass at once."""
        self.time.settle()
        self.time.move(max(1.0, second - self.time.mono()))

    def _visit(self, number: int, page: Page) -> Iterator[Image]:
        self.visits += 1
        if self.leak:
            self._leaked.append(bytes(self.leak))
        if self.visits % STRANGER == 0:
            self.strangers += 1
            for _ in range(9):
                self.time.move(0.15)
                yield self.book.picture(200)
            yield from self._leaves()
        if self.visits % PIN == 0:
            self.pins += 1
            need(page.touch("pin", official="A-1", pin="135790"), "a PIN was refused")
            self.time.move(61.0)
        for _ in range(4):
            self.time.move(0.15)
            yield self.book.picture(number)
        known = page.greeted.get(f"A-{number}")
        if self.visits % CHOICE == 0 and known is not None:
            # A greeting may still be on its way; an old one is refused, as it should be.
            self.choices += page.touch("choose", record_id=known, status="business_trip",
                                       reason="开会")  # fmt: skip
        yield from self._leaves()

    def _leaves(self) -> Iterator[Image]:
        self.time.move(0.7)
        yield self.book.picture(0)
        self.time.move(BETWEEN_S)

    def _waiting_for(self, held: Callable[[], bool], seconds: float) -> Iterator[Image]:
        until = time.monotonic() + seconds
        while not held():
            need(time.monotonic() < until, "the kiosk did not get there")
            self.time.move(0.5)
            yield self.book.picture(0)
            time.sleep(0.005)

    def _has_gallery(self) -> bool:
        return re.search("gallery_version [1-9]", self._metrics()) is not None

    def _metrics(self) -> str:
        with contextlib.suppress(requests.RequestException):
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
            return text.replace(".0\n", "\n")
        return ""

    def _drained(self) -> bool:
        return self._ask("SELECT count(*) FROM outbox") == 0

    def _ask(self, query: str) -> float:
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/kiosk.db?mode=ro", uri=True,
                                                timeout=30)) as db:  # fmt: skip
            return db.execute(query).fetchone()[0] or 0

    def _sample(self, day: int) -> Sample:
        resident_kb, heap_kb, objects = memory()
        sizes = {path.name: path.stat().st_size for path in self.folder.rglob("*")
                 if path.is_file()}  # fmt: skip
        log = sizes.pop("kiosk.db-wal", 0)
        oldest = self._ask("SELECT min(server_ms) FROM anchors")
        return Sample(day, self.visits, resident_kb, heap_kb, objects, sum(sizes.values()), log,
                      int(self._ask("SELECT count(*) FROM records")),
                      (self.time.wall_ms - oldest) / 1000 / DAY_S)  # fmt: skip


def run(checkins: int, days: int = DAYS, leak: int = 0, samples: Path | None = None) -> str:
    """The year; the line to print. Raises Broken."""
    from gpiozero import Device

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    with tempfile.TemporaryDirectory(prefix="quxiang-year-") as folder:
        town = Town(Path(folder), free_port(), {**kept, "QUXIANG_LANG": "en"})
        town.init()
        stop = threading.Event()
        year = Year(town, checkins, days, stop, leak, samples or town.folder / "samples.csv")
        with township(year.time, town):
            town.pair_desk()
            town.pair_kiosk("kiosk", "石桥村")
            year.desk = Desk(town, year.time, year.book)
            year.desk.renew()
            pins = iter(range(2, 28))
            lamps = "".join(
                f"[lamps.A-{n}]\nred = {next(pins)}\ngreen = {next(pins)}\nblue = {next(pins)}\n"
                for n in range(1, LAMPS + 1)
            )
            # Nobody can speak as fast as this.
            (year.folder / "kiosk.toml").write_text("[voice]\non = false\n")
            (year.folder / "wiring.toml").write_text(f'driver = "rgb"\n{lamps}')
            Device.pin_factory = year.header
            edge = Edge(
                clock=year.time,
                mono=year.time.mono,
                pause=year.time.pause,
                recogniser=lambda *_: Recogniser(
                    year.book, Gallery(year.book.model_id, year.book.dimension), "off"
                ),
            )
            args = argparse.Namespace(
                data=year.folder, camera="0", lamps=None, until_end=False, events=None,
                screen=year.port, liveness="doubtful", realtime=False, loop=False, notice=None,
                engine="book", card_needs_pin=False, keep_days=KEEP_DAYS, stick=None,
            )  # fmt: skip
            with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet):
                main_run(args, opener=lambda *_, **__: Village(year), stop=stop, edge=edge)
            return judge(year)


def main() -> None:
    """`python -m tests.faults.year --checkins N`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkins", type=int, default=100_000, metavar="N")
    parser.add_argument("--days", type=int, default=DAYS, metavar="N")
    parser.add_argument("--leak", type=int, default=0, metavar="BYTES",
                        help="lose so many a visit, to see that it is found")  # fmt: skip
    parser.add_argument("--samples", type=Path, metavar="FILE",
                        help="keep each evening's memory and files, as CSV")  # fmt: skip
    args = parser.parse_args()
    began = time.monotonic()
    try:
        said = run(args.checkins, args.days, args.leak, args.samples)
    except Broken as broken:
        print(f"BROKEN: {broken}", file=sys.stderr)
        sys.exit(1)
    print(f"{said} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()

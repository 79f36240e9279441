"""What is played around the kiosk of the simulated year: time, faces, desk, page, server."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import itertools
import json
import mmap
import os
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import requests

from attendance.wire import GalleryContents, Person, RosterRow
from enroll.client import Client
from enroll.config import load_config as desk_config
from enroll.config import load_keys as desk_keys
from hardware.frames import Image
from kiosk.clock import Reading
from kiosk.config import load_config, load_keys
from kiosk.edge import Waitable
from kiosk.fakes import package
from kiosk.pins import hash_pin
from recognition.types import Face, Template
from tests.faults.rig import need
from tests.walks.town import Town

PEOPLE = 36
PIN_KEY = b"k" * 32


class Time:
    """The one time of this world. Moved by the camera alone; the server sees it through `page`."""

    def __init__(self) -> None:
        self.page = mmap.mmap(-1, 24)
        self._cells = memoryview(self.page).cast("q")
        self._start_ms = time.time_ns() // 1_000_000
        self._boot_id = str(uuid.uuid4())
        self._resting: dict[str, float] = {}
        self._guard = threading.Lock()
        self.passed_ms = 0
        self.move(0.0)

    @property
    def wall_ms(self) -> int:
        return self._cells[0]

    @property
    def line_down(self) -> bool:
        return bool(self._cells[1])

    @line_down.setter
    def line_down(self, down: bool) -> None:
        self._cells[1] = int(down)

    @property
    def failed(self) -> int:
        """How often the server answered 500 or more, of itself."""
        return self._cells[2]

    @failed.setter
    def failed(self, times: int) -> None:
        self._cells[2] = times

    def move(self, seconds: float) -> None:
        self.passed_ms += round(seconds * 1000)
        self._cells[0] = self._start_ms + self.passed_ms

    def read(self) -> Reading:
        return Reading(self.wall_ms, self._boot_id, (60_000 + self.passed_ms) * 1_000_000)

    def mono(self) -> float:
        return self.passed_ms / 1000

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.wall_ms / 1000, UTC)

    def pause(self, waitable: Waitable, seconds: float) -> None:
        """How the threads of the kiosk wait for it."""
        name, until = threading.current_thread().name, self.mono() + seconds
        with self._guard:
            self._resting[name] = until
        while self.mono() < until and not waitable.wait(0.004):
            pass
        with self._guard:
            del self._resting[name]

    def settle(self, timeout_s: float = 60.0) -> None:
        """Until sync and housekeeping have done what is due, so that hours may pass."""
        until = time.monotonic() + timeout_s
        while True:
            with self._guard:
                waits = dict(self._resting)
            if all(waits.get(name, 0.0) > self.mono() for name in ("sync", "housekeeping")):
                return
            need(time.monotonic() < until, f"a thread of the kiosk hangs; at rest are {waits}")
            time.sleep(0.001)


class Book:
    """An engine whose faces are written on the frames: who stands there, in the first pixel."""

    name = "book"
    model_id = "book-000000000000"
    dimension = 64
    threshold = 0.5
    margin = 0.03
    same_face = 0.3

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self._of = rng.standard_normal((256, self.dimension)).astype(np.float32)
        self._of /= np.linalg.norm(self._of, axis=1, keepdims=True)
        self._noise = rng.standard_normal((512, self.dimension)).astype(np.float32) * 0.06
        self._looks = itertools.count()
        self._pictures = rng.integers(60, 190, (8, 120, 160, 3), dtype=np.uint8)
        eyes = np.array([[66, 52], [94, 52], [80, 67], [69, 80], [91, 80]], np.float32)
        self._face = Face((50.0, 22.0, 60.0, 78.0), eyes, 0.9)

    def picture(self, number: int) -> Image:
        """A frame with that person, 0: nobody. None is like the one before."""
        image = self._pictures[next(self._looks) % 8].copy()
        image[0, 0] = (number, 7, next(self._looks) % 256)
        return image

    def look(self, number: int) -> Template:
        """What the network would make of that face this time."""
        vector = self._of[number] + self._noise[next(self._looks) % 512]
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    def detect(self, frame: Image, *, thorough: bool = False) -> list[Face]:
        return [self._face] if frame[0, 0, 0] else []

    def follow(self, frame: Image, face: Face) -> Face | None:
        return self._face if frame[0, 0, 0] else None

    def embed(self, frame: Image, face: Face, *, thorough: bool = False) -> Template:
        return self.look(int(frame[0, 0, 0]))


class Desk:
    """The enrolment desk, which renews the kiosk's gallery."""

    def __init__(self, town: Town, time: Time, book: Book) -> None:
        self._time = time
        self._keys = desk_keys(town.folder / "enroll")
        self._client = Client(desk_config(town.folder / "enroll"), self._keys)
        kiosk = town.folder / "kiosk"
        self._device, self._box = load_config(kiosk).device, load_keys(kiosk).box_public
        self._version = 0
        self._book = book
        self._client.put_roster(
            [
                RosterRow(official=f"A-{n}", name=f"张{n}", title="干事", phone=f"1380000{n:04}",
                          work_group="第一组", sites=["石桥村"])
                for n in range(1, PEOPLE + 1)
            ]
        )  # fmt: skip

    def renew(self) -> None:
        """Another gallery, with other looks of the same people."""
        self._version += 1
        people = [
            Person(
                official=f"A-{n}",
                name=f"张{n}",
                title="干事",
                templates=np.stack([self._book.look(n) for _ in range(3)]).astype("<f4").tobytes(),
                pin=hash_pin(PIN_KEY, "135790") if n <= 2 else None,
            )
            for n in range(1, PEOPLE + 1)
        ]
        contents = GalleryContents(
            device=self._device,
            version=self._version,
            model=self._book.model_id,
            dimension=self._book.dimension,
            pin_key=PIN_KEY,
            people=people,
        )
        made_ms = self._time.wall_ms
        self._client.put_gallery(
            self._device, package(self._keys, self._box, contents, made_ms=made_ms)
        )


class Page:
    """The browser beside the kiosk: reads what is told, and touches."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.greeted: dict[str, str] = {}
        self.greetings = 0
        self._session = requests.Session()
        self._token = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(f"{self.url}/events", timeout=60) as stream,
            ):
                for line in stream:
                    if line.startswith(b"data: {") and b'"greeting"' in line:
                        greeting = json.loads(line[6:])
                        self.greeted[greeting["official"]] = greeting["id"]
                        self.greetings += 1
            time.sleep(0.1)

    def touch(self, what: str, **body: object) -> bool:
        """A POST of the page's; whether it says yes."""
        if not self._token:
            text = self._session.get(self.url, timeout=10).text
            self._token = text.split('name="screen-token" content="')[1].split('"')[0]
        answer = self._session.post(f"{self.url}/{what}", json=body, timeout=30,
                                    headers={"X-Screen-Token": self._token})  # fmt: skip
        return bool(answer.json()["ok"])


@contextlib.contextmanager
def township(time: Time, town: Town) -> Iterator[None]:
    """The real server in a process of its own, its clock that of this world."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _serve(time, town)
            status = 0
        finally:
            os._exit(status)
    try:
        until = _real() + 120
        while True:
            try:
                requests.get(f"{town.url}/healthz", timeout=2)
                break
            except (requests.ConnectionError, requests.Timeout):
                need(_real() < until, "the server did not start")
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _real() -> float:
    return time.monotonic()


def _serve(time: Time, town: Town) -> None:
    import logging

    from werkzeug.serving import make_server

    from server.app import create_app
    from server.config import ServerConfig

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with whoever asked
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = create_app(ServerConfig(town.folder / "server"), clock=time.utc)
    inner = app.wsgi_app

    def line(environ, start_response):  # type: ignore[no-untyped-def]
        if time.line_down:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]

        def begun(status: str, *more):  # type: ignore[no-untyped-def]
            time.failed += status >= "5"
            return start_response(status, *more)

        return inner(environ, begun)

    app.wsgi_app = line  # type: ignore[method-assign]
    make_server("127.0.0.1", town.port, app, threaded=True).serve_forever()

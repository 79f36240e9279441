"""A village's kiosk for tests of its loop: paired over real HTTP, its people enrolled from real
clips; run as the command runs it, or with every part in reach.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from attendance.statuses import SiteKind
from attendance.wire import GalleryContents, Person
from hardware.frames import Frame
from hardware.lamps import Latched, ScreenBoard
from kiosk.checkin import CheckinService
from kiosk.clock import Clock, FrameClock, SystemClock
from kiosk.config import load_config, load_keys
from kiosk.display import Display
from kiosk.errors import StoreUnusable
from kiosk.events import EventLog
from kiosk.facelock import FaceLock
from kiosk.fakes import FakeTownship, package
from kiosk.lampkeeper import LampKeeper
from kiosk.loop import Kiosk
from kiosk.pairing import pair
from kiosk.people import People
from kiosk.pins import Pins, hash_pin
from kiosk.run import main_run
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Draft, Recorded, Store
from kiosk.sync import SyncClient
from kiosk.vault import Vault
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.liveness import Liveness
from recognition.recogniser import Recogniser

PIN_KEY = b"k" * 32
HEAD_TURN = "intel_head-pose-male.gif"
WOMAN = "liveportrait_d18.mp4"
STRANGER = "liveportrait_d19.mp4"


@pytest.fixture(scope="session")
def videos(shared_data: Path) -> Path:
    return shared_data / "videos"


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine()


@pytest.fixture(scope="session")
def templates(engine: Engine, videos: Path) -> dict[str, bytes]:
    """Three templates a clip from its first second."""
    found = {}
    for clip in (HEAD_TURN, WOMAN):
        capture = cv2.VideoCapture(str(videos / clip))
        wanted = np.linspace(0, capture.get(cv2.CAP_PROP_FPS) - 1, 3).astype(int)
        rows = []
        for index in range(int(wanted[-1]) + 1):
            _, image = capture.read()
            if index in wanted:
                rows.append(engine.embed(image, engine.detect(image)[0]))
        capture.release()
        found[clip] = np.stack(rows).astype("<f4").tobytes()
    return found


class Village:
    """A paired kiosk's folder, its township, and how its desk enrols."""

    def __init__(self, folder: Path, engine: Engine, templates: dict[str, bytes]) -> None:
        self.folder = folder
        self.engine = engine
        self.township = FakeTownship()
        self.township.now_ms = SystemClock().read().wall_ms
        self.config = pair(folder, self.township.url, str(self.township.code))
        self.keys = load_keys(folder)
        self.people = [
            Person(
                official="XC-1",
                name="李强",
                title="干事",
                templates=templates[HEAD_TURN],
                pin=hash_pin(PIN_KEY, "111111"),
            ),
            Person(official="XC-2", name="王芳", title="副镇长", templates=templates[WOMAN]),
            Person(official="XC-3", name="赵六", title="", pin=hash_pin(PIN_KEY, "333333")),
        ]

    def enrol(self, version: int = 1, model: str | None = None, days: int = 90) -> None:
        contents = GalleryContents(
            device=self.config.device,
            version=version,
            model=model or self.engine.model_id,
            dimension=self.engine.dimension,
            pin_key=PIN_KEY,
            people=self.people,
        )
        self.township.galleries[self.config.device] = package(
            self.township.desk,
            self.keys.box_public,
            contents,
            made_ms=self.township.now_ms,
            days=days,
        )

    def run(self, source: Path | str, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        """`quxiang-kiosk run` in this process; its status and its events."""
        more = {key: options.pop(key) for key in ("opener", "stop") if key in options}
        events = self.folder / "events.jsonl"
        args = argparse.Namespace(
            data=self.folder,
            camera=str(source),
            lamps=None,
            until_end=True,
            events=str(events),
            screen=None,
            liveness="doubtful",
            realtime=False,
            loop=False,
            notice=None,
            engine="sface",
            card_needs_pin=False,
        )
        status = main_run(argparse.Namespace(**{**vars(args), **options}), **more)
        return status, [json.loads(line) for line in events.read_text("utf-8").splitlines()]


@pytest.fixture
def village(
    tmp_path: Path, engine: Engine, templates: dict[str, bytes], shared_models: Path
) -> Iterator[Village]:
    made = Village(tmp_path, engine, templates)
    (made.folder / "models").symlink_to(shared_models)
    yield made
    made.township.down()


@pytest.fixture
def empty_scene(tmp_path: Path) -> Path:
    """A folder of pictures with nobody."""
    folder = tmp_path / "nobody"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((120, 160, 3), 90, np.uint8))
    return folder


def without(events: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] not in kinds]


class Switchable(Store):
    """A store whose disk can be full, and that notes what became durable."""

    full = False
    story: list[str]

    def record(self, draft: Draft, reading: Any) -> Recorded:
        self._fail_where_full()
        recorded = super().record(draft, reading)
        self.story.append("durable")
        return recorded

    def set_meta(self, **values: str | None) -> None:
        self._fail_where_full()
        super().set_meta(**values)

    def _fail_where_full(self) -> None:
        if self.full:
            raise StoreUnusable("full", "磁盘已满", "the disk is full")


class NotedBoard(ScreenBoard):
    story: list[str]

    def show(self, lamp: str, colour: Any, blinking: bool = False) -> Latched:
        self.story.append(f"lamp {lamp} {colour}")
        return super().show(lamp, colour, blinking)


class NotedFeed(ScreenFeed):
    story: list[str]

    def tell(self, event: Any) -> None:
        self.story.append(f"{event['type']} {event['official']}")
        super().tell(event)


@dataclass
class Bench:
    """A kiosk whose every part is in reach."""

    kiosk: Kiosk
    recogniser: Recogniser
    store: Switchable
    feed: NotedFeed
    client: SyncClient
    events: list[dict[str, Any]]
    story: list[str]
    now: list[float]
    log: EventLog

    def play(self, images: list[Any], start: float = 0.0, fps: float = 10.0) -> None:
        for index, image in enumerate(images):
            self.now[0] += 1 / fps
            t = start + index / fps
            self.kiosk.process(Frame(round(t * fps), t, image, self.now[0]))

    def sync(self) -> None:
        self.kiosk.report(self.client.exchange())
        self.kiosk.idle()

    def kinds(self) -> list[str]:
        return [e["event"] for e in self.events if e["event"] != "sync"]


@pytest.fixture
def bench_of(village: Village) -> Iterator[Callable[..., Bench]]:
    closing: list[Any] = []

    def make(
        *, clock: Clock | None = None, live: bool = False, liveness: Liveness | str = "doubtful"
    ) -> Bench:
        story: list[str] = []
        now = [1000.0]
        base = clock or SystemClock()
        used = base if live else FrameClock(base)
        store = Switchable.open(village.folder / "kiosk.db", village.config.device)
        store.story = story
        vault = Vault(village.folder / "vault")
        feed, board = NotedFeed(now_s=lambda: now[0]), NotedBoard()
        feed.story = board.story = story
        events = EventLog(None)
        said: list[dict[str, Any]] = []
        events.listen(lambda event: said.append(dict(event)))
        people = People()
        keeper = LampKeeper(board, events, now_s=lambda: now[0])
        client = SyncClient(
            load_config(village.folder), village.keys, store, vault, base
        )  # fmt: skip
        gallery = Gallery(village.engine.model_id, village.engine.dimension)
        recogniser = Recogniser(village.engine, gallery, liveness, data_dir=village.folder)
        kiosk = Kiosk(
            store=store,
            vault=vault,
            service=CheckinService(store, people, Pins(store, people, base), used,
                                   SiteKind.VILLAGE),
            recogniser=recogniser,
            display=Display(store, keeper, feed, used, mono=lambda: now[0]),
            lock=FaceLock(store, used, by_frames=not live),
            events=events,
            feed=feed,
            clock=used,
            live=live,
            mono=lambda: now[0],
        )  # fmt: skip
        closing.extend([client, store])
        return Bench(kiosk, recogniser, store, feed, client, said, story, now, events)

    yield make
    for each in closing:
        each.close()


@pytest.fixture(scope="session")
def walking(videos: Path) -> list[Any]:
    """Two seconds of the woman, 12 frames a second."""
    capture = cv2.VideoCapture(str(videos / WOMAN))
    images = []
    for index in range(60):
        _, image = capture.read()
        if index % 2 == 0:
            images.append(image)
    capture.release()
    return images

"""A kiosk that cannot open its folder at start: its page says so, nothing is called recorded, and
it goes on by itself once the fault has passed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import gpiozero
import numpy as np
import pytest
import requests

from attendance.wire import GalleryContents, Person
from hardware.fakes import mock_pins
from kiosk.cli import build_parser
from kiosk.clock import SystemClock
from kiosk.config import load_keys
from kiosk.edge import Edge, Waitable
from kiosk.errors import ConfigInvalid, KioskError, StoreNewer
from kiosk.fakes import FakeTownship, package
from kiosk.notify import Notifier
from kiosk.pairing import pair
from kiosk.releases import App
from kiosk.run import main_run
from kiosk.schema import unusable
from kiosk.screen.pairing import PairingScreen
from kiosk.site import Site
from kiosk.started import on_trial
from kiosk.unopened import RETRY_S, opened
from kiosk.unpaired import Pairing
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser
from tests.faults.yearworld import Book
from tests.kiosk.pages import SETTLED, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READONLY, IO, FULL = (
    unusable(Path("/k/kiosk.db"), what) for what in ("readonly", "io", "full")
)
FAULTS: list[KioskError] = [
    READONLY, IO, FULL, unusable(Path("/k/kiosk.db"), "corrupt"),
    StoreNewer("请升级。", "update this program"), ConfigInvalid("请恢复。", "restore it"),
]  # fmt: skip


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    made = FakeTownship()
    yield made
    made.close()


class Start:
    """`opened` over attempts that fail in turn. `seen` is called at each turn of its loop, in place
    of the time that passes there: with the page's address and how often was tried."""

    def __init__(
        self, folder: Path, port: int, faults: list[KioskError], seen: Callable[[str, int], None]
    ) -> None:
        self.faults = list(faults)
        self.tries = 0
        self.now = 100.0
        self.stop = threading.Event()
        self.said: list[str] = []
        self._folder, self._port, self._seen = folder, port, seen

    def attempt(self) -> str:
        self.tries += 1
        if self.faults:
            raise self.faults.pop(0)
        return "open"

    def pause(self, waitable: Waitable, seconds: float) -> None:
        self._seen(f"http://127.0.0.1:{self._port}/", self.tries)
        self.now += seconds

    def run(self, **more: Any) -> str | None:
        edge = Edge(mono=lambda: self.now, pause=self.pause, free_mb=lambda _: 7)
        return opened(
            self.attempt, self._folder, self._port, self.stop, self.said.append, edge=edge, **more
        )


def token_of(page: str) -> dict[str, str]:
    found = re.search('screen-token" content="([^"]+)', requests.get(page, timeout=5).text)
    assert found is not None
    return {"X-Screen-Token": found[1]}


def state_of(page: str) -> dict[str, Any]:
    """What the page is told first."""
    with requests.get(f"{page}events", timeout=5, stream=True) as stream:
        for line in stream.iter_lines():
            if line.startswith(b"data: {"):
                return dict(json.loads(line[6:]))
    raise AssertionError("it is told nothing")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: getattr(fault, "what", "other"))
def test_the_page_says_what_is_wrong_and_nothing_is_recorded(
    tmp_path: Path, free_port: int, fault: KioskError
) -> None:
    looks = []

    def seen(page: str, tries: int) -> None:
        if tries > 1 or looks:
            return
        state = state_of(page)
        looks.append(state)
        (trouble,) = state["troubles"]
        assert (trouble["part"], trouble["what_zh"]) == ("store", "暂时无法记录")
        assert (trouble["advice_zh"], trouble["advice_en"]) == (
            fault.words("zh"), fault.words("en"),
        )  # fmt: skip
        assert state["instruction"]["tone"] == "bad"
        assert not state.get("rows")
        touches = {
            "pin": {"official": "A-1", "pin": "123456"},
            "card": {"number": "0012345678"},
            "choose": {"record_id": "r", "status": "on_leave"},
        }
        for path, body in touches.items():
            answer = requests.post(
                page + path, json=body, headers=token_of(page), timeout=5
            ).json()
            assert (answer["ok"], answer["zh"], answer["greeting"]) == (
                False, fault.words("zh"), None,
            )  # fmt: skip
        told = requests.get(f"{page}metrics", timeout=5).text
        assert 'quxiang_kiosk_trouble{part="store"} 1.0' in told
        assert "quxiang_kiosk_camera_ok 0.0" in told
        assert "quxiang_kiosk_lamps_ok 0.0" in told
        assert "quxiang_kiosk_outbox_records" not in told, "what is not known is not said"

    start = Start(tmp_path, free_port, [fault], seen)
    assert start.run() == "open"
    assert looks
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{free_port}/", timeout=5)


def test_it_is_tried_every_few_seconds_and_told_when_it_changes(
    tmp_path: Path, free_port: int
) -> None:
    turns: list[tuple[float, str]] = []

    def seen(page: str, tries: int) -> None:
        turns.append((start.now, state_of(page)["troubles"][0]["advice_en"]))

    start = Start(tmp_path, free_port, [READONLY, READONLY, IO], seen)
    assert start.run() == "open"
    assert start.tries == 4
    assert 100 + 3 * RETRY_S <= start.now <= 100 + 3 * RETRY_S + 1
    words = [fault for _, fault in turns]
    assert list(dict.fromkeys(words)) == [READONLY.words("en"), IO.words("en")]
    assert len([line for line in start.said if line in (READONLY.words(), IO.words())]) == 2


def test_what_opens_at_once_shows_nothing_and_a_stop_ends_the_waiting(
    tmp_path: Path, free_port: int
) -> None:
    start = Start(tmp_path, free_port, [], lambda page, tries: None)
    assert (start.run(), start.said) == ("open", [])
    start = Start(tmp_path, free_port, [READONLY] * 9, lambda page, tries: start.stop.set())
    assert start.run() is None
    assert start.tries == 1


@pytest.mark.parametrize("trial", [False, True])
def test_systemd_hears_that_it_lives_unless_the_release_is_on_trial(
    tmp_path: Path, free_port: int, trial: bool
) -> None:
    """One that cannot record where the one before could is taken back; a bad card is no reason to
    end a release that had proved itself, every minute."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}

        def seen(page: str, tries: int) -> None:
            while True:
                try:
                    heard.append(end.recv(100))
                except BlockingIOError:
                    return

        start = Start(tmp_path, free_port, [READONLY] * 3, seen)
        notifier = Notifier(environ, lambda: start.now)
        assert start.run(notifier=notifier, trial=trial) == "open"
    assert (b"READY=1" in heard) is not trial
    assert heard.count(b"READY=1") <= 1
    assert heard.count(b"WATCHDOG=1") >= 8, "at a third of its time"


def test_which_release_is_on_trial(tmp_path: Path) -> None:
    app = App(tmp_path)
    assert not on_trial(None, None)
    assert not on_trial(app, 5), "installed before there were trials"
    (tmp_path / "state.json").write_text('{"good": 4, "trial": 5, "tries": 1}', "utf-8")
    assert on_trial(app, 5)
    assert not on_trial(app, 4)
    (tmp_path / "state.json").write_text('{"good": 5}', "utf-8")
    assert not on_trial(app, 5)


def test_lamps_are_dark_that_a_killed_process_left_lit(tmp_path: Path, free_port: int) -> None:
    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = pins = mock_pins()
    try:
        (tmp_path / "wiring.toml").write_text(
            'driver = "rgb"\n[lamps.XC-1]\nred = 5\ngreen = 6\nblue = 13\n', "utf-8"
        )
        green = pins.pin(6)
        green.function = "output"
        green.state = True
        start = Start(tmp_path, free_port, [READONLY], lambda page, tries: None)
        assert start.run() == "open"
        assert not green.state
    finally:
        gpiozero.Device.pin_factory = before


class Running:
    """`quxiang-kiosk run` of that folder in a thread, as its unit starts it; no face is sought."""

    def __init__(self, folder: Path, pictures: Path, port: int) -> None:
        pictures.mkdir(exist_ok=True)
        cv2.imwrite(str(pictures / "a.png"), np.full((120, 160, 3), 90, np.uint8))
        self.page = f"http://127.0.0.1:{port}/"
        self.stop = threading.Event()
        self.status: list[int] = []
        book = Book()
        edge = Edge(
            recogniser=lambda *_: Recogniser(book, Gallery(book.model_id, book.dimension), "off")
        )
        words = ["run", "--data", str(folder), "--camera", str(pictures), "--loop"]
        args = build_parser().parse_args([*words, "--screen", str(port)])
        self._thread = threading.Thread(
            target=lambda: self.status.append(main_run(args, stop=self.stop, edge=edge))
        )
        self._thread.start()

    def troubles(self) -> list[str]:
        return [each["advice_en"] for each in state_of(self.page)["troubles"]]

    def checkin(self) -> bool:
        body = {"official": "P-1", "pin": "135790"}
        answer = requests.post(
            f"{self.page}pin", json=body, headers=token_of(self.page), timeout=30
        ).json()
        return bool(answer["ok"])

    def close(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.status == [0]


def remount(card: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(card)], check=True)


def fill(card: Path) -> None:
    with (card / "log").open("wb") as log, contextlib.suppress(OSError):
        while True:
            os.write(log.fileno(), bytes(4096))


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (lambda card: remount(card, "ro"), lambda card: remount(card, "rw"), "read-only"),
        (fill, lambda card: (card / "log").unlink(), "disk is full"),
    ],
    ids=["readonly", "full"],
)
@pytest.mark.parametrize("paired", [True, False])
def test_a_kiosk_started_on_a_bad_card_goes_on_when_the_card_is_well(
    card: Path,
    tmp_path: Path,
    township: FakeTownship,
    free_port: int,
    begin: Callable[[Path], Any],
    end: Callable[[Path], Any],
    words: str,
    paired: bool,
) -> None:
    folder = card / "kiosk"
    folder.mkdir()
    if paired:
        pair(folder, township.url, str(township.code))
        Site(folder).close()
    begin(card)
    kiosk = Running(folder, tmp_path / "pictures", free_port)
    try:
        wait_for(lambda: any(words in each for each in kiosk.troubles()))
        assert not kiosk.checkin()
        end(card)
        if paired:
            wait_for(lambda: kiosk.checkin(), 60)
            wait_for(lambda: not any(words in each for each in kiosk.troubles()))
        else:
            url = f"{kiosk.page}pairing.json"
            wait_for(lambda: requests.get(url, timeout=5).json()["step"] == "ask")
    finally:
        if not kiosk.status:
            end(card) if (card / "log").exists() or not os.access(card, os.W_OK) else None
        kiosk.close()
    if paired:
        with Site(folder) as site:
            assert site.store.head().seq == 1, "what was answered no was not recorded"


def test_a_store_that_opens_but_takes_no_write_at_start_holds_nothing_up(
    tmp_path: Path, township: FakeTownship, free_port: int
) -> None:
    """The board can be read, and the loop tells of the rest as it does at any other time."""
    folder = tmp_path / "kiosk"
    config = pair(folder, township.url, str(township.code))
    contents = GalleryContents(
        device=config.device, version=1, model="m", dimension=4, pin_key=b"k" * 32,
        people=[Person(official="A-1", name="李强", title="")],
    )  # fmt: skip
    township.galleries[config.device] = package(
        township.desk, load_keys(folder).box_public, contents
    )
    with Site(folder) as site:
        site.client(SystemClock()).exchange()
    with contextlib.closing(sqlite3.connect(folder / "kiosk.db")) as db, db:
        db.execute("DELETE FROM meta WHERE key = 'gallery_taken'")
        db.execute(
            "CREATE TRIGGER torn BEFORE INSERT ON meta WHEN NEW.key = 'gallery_taken' "
            "BEGIN SELECT RAISE(ABORT, 'torn'); END"
        )
    kiosk = Running(folder, tmp_path / "pictures", free_port)
    try:
        wait_for(lambda: [row["name"] for row in state_of(kiosk.page).get("rows", [])] == ["李强"])
    finally:
        kiosk.close()


@pytest.mark.browser
@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080)])
def test_the_page_fits_in_both_languages(
    browser: Browser,
    tmp_path: Path,
    free_port: int,
    misfits: Callable[[Page], list[str]],
    pale: Callable[[Page], list[str]],
    size: tuple[int, int],
    lang: str,
) -> None:
    looked = []

    def seen(url: str, tries: int) -> None:
        if looked:
            return
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.add_cookies([{"name": "lang", "value": lang, "url": url}])
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector('#troubles [data-part="store"]')
        page.wait_for_selector("#wake[data-tone=bad]")
        looked.append((misfits(page), pale(page)))
        page.screenshot(path=str(tmp_path / f"{lang}-{size[0]}.png"))
        page.click("#open-state")
        page.wait_for_selector("#trouble-list[open]")
        page.evaluate(SETTLED)
        for key in ("outbox", "clock", "camera", "lamps", "gallery", "heard"):
            value = page.text_content(f'#t-state [data-key="{key}"] dd')
            assert value in ("未知", "not known"), f"{key}: nothing is made up"
        assert "7" in (page.text_content('#t-state [data-key="disk"]') or "")
        assert not page.is_visible("#empty")
        assert READONLY.words(lang).rstrip(".。") in page.text_content("#t-rows")
        looked.append((misfits(page), pale(page)))
        page.screenshot(path=str(tmp_path / f"{lang}-{size[0]}-state.png"))
        context.close()

    assert Start(tmp_path, free_port, [READONLY], seen).run() == "open"
    assert looked == [([], []), ([], [])]


@pytest.mark.browser
def test_a_page_that_is_open_follows_from_the_fault_to_the_kiosk(
    browser: Browser, tmp_path: Path, township: FakeTownship, free_port: int
) -> None:
    """Nobody touches the browser: it finds the kiosk by itself. A file's owner was another."""
    folder = tmp_path / "kiosk"
    pair(folder, township.url, str(township.code))
    Site(folder).close()
    (folder / "kiosk.db").rename(tmp_path / "kept.db")
    (folder / "kiosk.db").mkdir()
    kiosk = Running(folder, tmp_path / "pictures", free_port)
    context = browser.new_context(viewport={"width": 800, "height": 480})
    try:
        wait_for(lambda: kiosk.troubles())
        page = context.new_page()
        page.goto(kiosk.page)
        page.wait_for_selector('#troubles [data-part="store"]:has-text("打不开数据库")')
        (folder / "kiosk.db").rmdir()
        (tmp_path / "kept.db").rename(folder / "kiosk.db")
        page.wait_for_selector('#troubles [data-part="store"]', state="detached", timeout=60_000)
        page.wait_for_selector("#head:has-text('-')", timeout=60_000)
    finally:
        context.close()
        kiosk.close()


@pytest.mark.browser
def test_a_page_that_is_open_follows_to_the_pairing_page(
    browser: Browser, tmp_path: Path, free_port: int
) -> None:
    """A kiosk that was started on a bad card, and is not paired yet."""
    context = browser.new_context(viewport={"width": 800, "height": 480})
    page = context.new_page()

    def seen(url: str, tries: int) -> None:
        if page.url != url:
            page.goto(url)
            page.wait_for_selector('#troubles [data-part="store"]')

    try:
        assert Start(tmp_path, free_port, [READONLY], seen).run() == "open"
        with PairingScreen(Pairing(tmp_path, sticks=()), free_port):
            page.wait_for_selector("#keys button", timeout=30_000)
    finally:
        context.close()

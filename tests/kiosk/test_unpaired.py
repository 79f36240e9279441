"""A kiosk out of its box: paired by finger, by keyboard, by a stick, and going on by itself."""

from __future__ import annotations

import argparse
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import requests

from attendance.pairing_file import FILE_NAME
from attendance.signing import fingerprint
from attendance.tokens import mark
from attendance.wire import GalleryContents, Person
from kiosk.cli import build_parser
from kiosk.clock import Clock, SystemClock
from kiosk.config import load_config, load_keys
from kiosk.errors import StoreUnusable
from kiosk.fakes import FakeTownship, package
from kiosk.notify import Notifier
from kiosk.pairing import pair
from kiosk.run import main_run
from kiosk.screen.pairing import PairingScreen
from kiosk.site import Site
from kiosk.started import rehearse
from kiosk.sticks import STICKS
from kiosk.unpaired import RETRY_S, Pairing, full_address, pair_on_screen
from tests.kiosk.pages import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WRONG = "0000-0000-0000-0000-0000"


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    made = FakeTownship()
    yield made
    made.close()


def put_in(stick: Path, server: str, code: str) -> None:
    stick.mkdir(parents=True, exist_ok=True)
    (stick / FILE_NAME).write_text(json.dumps({"v": 1, "server": server, "code": code}), "utf-8")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("192.168.1.10", "https://192.168.1.10:8443"),
        (" 192.168.1.10:9000/ ", "https://192.168.1.10:9000"),
        ("https://zhen.example", "https://zhen.example:8443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]", "https://[::1]:8443"),
    ],
)
def test_an_address_may_be_typed_short(typed: str, meant: str) -> None:
    assert full_address(typed) == meant


def test_every_refusal_is_one_clear_sentence(tmp_path: Path, township: FakeTownship) -> None:
    pairing = Pairing(tmp_path, sticks=())
    for address, code, zh, en in [
        (township.url, "12", "20 个字母和数字", "has 20 letters"),
        (township.url, WRONG, "不是生成配对码的服务器", "another server"),
        ("http://192.0.2.1", WRONG, "http 只能用于本机", "https address"),
        ("http://127.0.0.1:1", WRONG, "连不上服务器", "was not reached"),
        ("http://[", WRONG, "不对", "no server address"),
    ]:
        state = pairing.try_code(address, code)
        assert (state["step"], zh in state["zh"], en in state["en"]) == ("ask", True, True), state
        assert state["zh"].count("。") == 1
    assert pairing.try_code(township.url, str(township.code))["step"] == "paired"
    assert pairing.state["fingerprint"] == fingerprint(load_keys(tmp_path).box_public)


def test_a_stick_pairs_alone_and_a_bad_one_is_tried_once(
    tmp_path: Path, township: FakeTownship
) -> None:
    now = [100.0]
    stick, data = tmp_path / "media" / "STICK", tmp_path / "kiosk"
    pairing = Pairing(data, sticks=(str(tmp_path / "media" / "*"),), mono=lambda: now[0])
    pairing.look_at_sticks()
    assert pairing.state["step"] == "ask"
    put_in(stick, township.url, WRONG[:-1] + "1")
    for _ in range(3):
        pairing.look_at_sticks()
        now[0] += RETRY_S
    assert "STICK" in pairing.state["zh"]
    assert [method for method, _ in township.requests] == ["GET"]  # asked once, never told a secret
    (stick / FILE_NAME).write_bytes(b"{")
    pairing.look_at_sticks()
    assert "无法读懂" in pairing.state["zh"]
    township.down()
    put_in(stick, township.url, str(township.code))
    pairing.look_at_sticks()
    assert "连不上" in pairing.state["zh"]
    township.up()
    pairing.look_at_sticks()  # not yet again
    assert pairing.state["step"] == "ask"
    now[0] += RETRY_S
    pairing.look_at_sticks()
    assert pairing.state["step"] == "paired"
    assert load_config(data).site == "石桥村"


def test_a_huge_or_vanished_file_is_nothing(tmp_path: Path) -> None:
    stick = tmp_path / "s"
    stick.mkdir()
    (stick / FILE_NAME).write_bytes(b'{"v":1,' + b" " * 1_000_000 + b"}")
    pairing = Pairing(tmp_path / "kiosk", sticks=(str(stick),))
    pairing.look_at_sticks()
    assert "无法读懂" in pairing.state["zh"]


def test_stopping_before_anybody_paired_leaves_no_kiosk(tmp_path: Path, free_port: int) -> None:
    stop, told = threading.Event(), []
    thread = threading.Thread(
        target=pair_on_screen,
        args=(tmp_path / "k", free_port, stop, told.append),
        kwargs={"sticks": ()},
    )
    thread.start()
    page = f"http://127.0.0.1:{free_port}/"
    wait_for(lambda: requests.get(page, timeout=2).status_code == 200)
    assert (
        requests.post(f"{page}pair", json={"server": "x", "code": "y"}, timeout=2).status_code
        == 403
    )
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert f":{free_port}/" in told[0]
    assert not (tmp_path / "k" / "kiosk.json").exists()


def test_an_unpaired_kiosk_is_ready_only_once_it_could_record(
    tmp_path: Path, free_port: int
) -> None:
    """READY=1 makes a release on trial the good one: not before a record was kept."""
    folder, heard, tries = tmp_path / "k", [], []
    mended = threading.Event()

    def bad_card(place: Path, clock: Clock) -> None:
        tries.append(place)
        if not mended.is_set():
            raise StoreUnusable("open", "无法写入。", "cannot be written")
        rehearse(place, clock)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(0.2)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with pytest.raises(StoreUnusable):
            rehearse(tmp_path / "notify", SystemClock())  # nothing can be made below a socket
        assert not notifier.is_ready
        stop = threading.Event()
        thread = threading.Thread(
            target=pair_on_screen,
            args=(folder, free_port, stop, lambda line: None),
            kwargs={"sticks": (), "notifier": notifier, "proved": bad_card},
        )
        thread.start()
        try:
            wait_for(lambda: len(tries) >= 2)
            with pytest.raises(TimeoutError):
                end.recv(100)  # tried twice, and silent
            mended.set()
            end.settimeout(30)
            heard.append(end.recv(100))
        finally:
            stop.set()
            thread.join(10)
    assert heard == [b"READY=1"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".rehearsal")]


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_kiosk_that_lost_who_it_is_says_so_and_is_paired_on_the_screen(
    tmp_path: Path, township: FakeTownship, free_port: int, comes_back: bool
) -> None:
    """Or goes on by itself where the card gives the files back."""
    folder, stop, status, said = tmp_path / "k", threading.Event(), [], []
    before = pair(folder, township.url, str(township.code))
    names = ("kiosk.json", "kiosk.json.copy")
    whole = (folder / names[0]).read_bytes()
    for name in names:
        (folder / name).write_bytes(b"")
    thread = threading.Thread(
        target=lambda: status.append(
            pair_on_screen(folder, free_port, stop, said.append, sticks=())
        )
    )
    thread.start()
    page = f"http://127.0.0.1:{free_port}/"
    try:
        wait_for(lambda: requests.get(page, timeout=2).status_code == 200)
        state = requests.get(f"{page}pairing.json", timeout=2).json()
        assert (state["step"], "不会删除" in state["zh"], "not deleted" in state["en"]) == (
            "ask", True, True,
        )  # fmt: skip
        if comes_back:
            (folder / names[0]).write_bytes(whole)
        else:
            text = requests.get(page, timeout=2).text
            token = re.search('screen-token" content="([^"]+)', text)
            assert token is not None
            answer = requests.post(
                f"{page}pair", headers={"X-Screen-Token": token[1]}, timeout=10,
                json={"server": township.url, "code": str(township.code)},
            ).json()  # fmt: skip
            assert answer["step"] == "paired", answer
            assert answer["fingerprint"] == fingerprint(load_keys(folder).box_public)
            assert answer["fingerprint"] == state["fingerprint"], "compared before and after"
            assert any("earlier-1" in line for line in said)
            requests.post(
                f"{page}go-on", headers={"X-Screen-Token": token[1]}, json={}, timeout=10
            )
        thread.join(20)
        assert status == [True]
        assert (load_config(folder) == before) is comes_back
        assert (folder / "earlier-1").exists() is not comes_back
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.browser
def test_from_the_box_to_the_first_board_without_a_shell(
    browser: Browser, tmp_path: Path, township: FakeTownship, free_port: int
) -> None:
    """`run` on a folder that was never paired: the page, the code, the fingerprint, the kiosk."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a.png"), np.full((240, 320, 3), 90, np.uint8))
    args = argparse.Namespace(
        data=tmp_path / "kiosk",
        camera=str(pictures),
        lamps=None,
        until_end=False,
        events=str(tmp_path / "events.jsonl"),
        screen=free_port,
        liveness="doubtful",
        realtime=False,
        loop=True,
        notice=None,
        engine="sface",
        stick=tmp_path / "no-stick",
    )
    stop, status = threading.Event(), []
    kiosk = threading.Thread(target=lambda: status.append(main_run(args, stop=stop)))
    kiosk.start()
    page_url = f"http://127.0.0.1:{free_port}/"
    context = browser.new_context(viewport={"width": 800, "height": 480}, has_touch=True)
    page = context.new_page()
    try:
        wait_for(lambda: requests.get(page_url, timeout=2).status_code == 200)
        page.goto(page_url)
        type_by_touch(page, township.url, WRONG)
        page.tap("#pair")
        page.wait_for_selector("#told.bad:has-text('不是生成配对码的服务器')")
        page.fill("#code", "")
        page.tap("#code")
        for letter in str(township.code).replace("-", ""):
            page.tap(f'#keys button:text-is("{letter}")')
        assert page.input_value("#code") == str(township.code)
        page.tap("#pair")
        page.wait_for_selector("#paired:visible")
        mark = fingerprint(load_keys(args.data).box_public)
        assert page.inner_text("#fingerprint") == mark
        assert "石桥村" in page.inner_text("#whose")
        page.tap("#go-on")
        page.wait_for_selector("#site:has-text('石桥村')", timeout=60_000)
        page.click("#open-notice")
        assert mark in page.inner_text("#n-device")  # to be compared later, too
    finally:
        context.close()
        stop.set()
        kiosk.join(20)
    assert status == [0]


def test_the_settings_file_rules_sticks_and_cards(
    tmp_path: Path, township: FakeTownship, free_port: int
) -> None:
    """Neither is named on the command line: both stand in kiosk.toml before the first start."""
    pictures, data, stick = (tmp_path / name for name in ("pictures", "kiosk", "stick"))
    pictures.mkdir()
    data.mkdir()
    cv2.imwrite(str(pictures / "a.png"), np.full((240, 320, 3), 90, np.uint8))
    (data / "kiosk.toml").write_text(
        f'[card]\nneeds_pin = true\n[stick]\nfolders = ["{stick}"]\n', "utf-8"
    )
    put_in(stick, township.url, str(township.code))
    words = ["run", "--data", str(data), "--camera", str(pictures), "--loop"]
    args = build_parser().parse_args([*words, "--screen", str(free_port)])
    stop, status = threading.Event(), []
    kiosk = threading.Thread(target=lambda: status.append(main_run(args, stop=stop)))
    kiosk.start()
    page = f"http://127.0.0.1:{free_port}/"

    def post(path: str, **body: str) -> Any:
        token = re.search('screen-token" content="([^"]+)', requests.get(page, timeout=2).text)
        assert token is not None
        head = {"X-Screen-Token": token[1]}
        return requests.post(page + path, json=body, headers=head, timeout=5).json()

    try:
        wait_for(lambda: requests.get(f"{page}pairing.json", timeout=2).json()["step"] == "paired")
        person = Person(
            official="A-1", name="李强", title="", card=mark(b"k" * 32, "card", "12345678")
        )
        contents = GalleryContents(
            device=load_config(data).device, version=1, model="m", dimension=4,
            pin_key=b"k" * 32, people=[person],
        )  # fmt: skip
        township.galleries[contents.device] = package(
            township.desk, load_keys(data).box_public, contents
        )
        post("go-on")
        wait_for(lambda: requests.get(f"{page}pairing.json", timeout=2).status_code == 404)
        wait_for(lambda: (post("card", number="0012345678")["ask"] or {}).get("official") == "A-1")
    finally:
        stop.set()
        kiosk.join(20)
    assert status == [0]
    with Site(data) as site:
        assert site.store.head().seq == 0, "the card alone recorded nothing"


def type_by_touch(page: Page, server: str, code: str) -> None:
    page.tap("#server")
    for letter in server.removeprefix("http://"):
        page.tap(f'#keys button:text-is("{letter.upper()}")')
    page.fill("#server", f"http://{page.input_value('#server')}")  # no https on the test's loopback
    page.tap("#other")
    for letter in code.replace("-", ""):
        page.tap(f'#keys button:text-is("{letter}")')


@pytest.mark.browser
@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080)])
def test_the_page_fits_and_goes_by_keyboard(
    browser: Browser,
    tmp_path: Path,
    township: FakeTownship,
    misfits: Callable[[Page], list[str]],
    pale: Callable[[Page], list[str]],
    size: tuple[int, int],
    lang: str,
) -> None:
    pairing = Pairing(tmp_path, sticks=())
    with PairingScreen(pairing, 0) as screen:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.add_cookies([{"name": "lang", "value": lang, "url": screen.url}])
        page = context.new_page()
        page.goto(screen.url)
        page.wait_for_selector("#keys button")
        assert (misfits(page), pale(page)) == ([], [])
        page.keyboard.type(township.url)
        page.keyboard.press("Tab")
        page.keyboard.type("abcd-efgh-jkmn-pqrs-tvwx")
        page.keyboard.press("Enter")
        page.wait_for_selector("#told.bad")
        assert (misfits(page), pale(page)) == ([], [])
        page.fill("#code", str(township.code))
        page.keyboard.press("Enter")
        page.wait_for_selector("#paired:visible")
        assert (misfits(page), pale(page)) == ([], [])
        page.screenshot(path=str(tmp_path / "paired.png"))
        page.keyboard.press("Enter")
        page.wait_for_selector("#starting:visible")
        assert pairing.done.is_set()
        context.close()


def test_an_installed_kiosk_looks_where_its_sticks_are_mounted(root: Path) -> None:
    script = (root / "deploy" / "bin" / "quxiang-usb").read_text("utf-8")
    place = re.search(r'^place="(.+)/\$2"$', script, re.MULTILINE)
    assert place is not None
    assert f"{place[1]}/*" in STICKS

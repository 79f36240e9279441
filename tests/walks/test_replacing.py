"""docs/deploy.md, "Pairing" and section 7: a kiosk paired on its own screen or by a stick, its card
moved to another Pi, and a Pi whose card can no longer be read; on both databases."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import requests

from tests import ports
from tests.walks.town import BIN, Town

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SITE = "杏树村"


@pytest.fixture
def township(
    tmp_path: Path,
    free_port: int,
    environ: dict[str, str],
    new_database: Callable[[], str | None],
) -> Iterator[Town]:
    """A township on either database with its desk, and one official who has a PIN."""
    town = Town(tmp_path, free_port, environ, database=new_database())
    town.init()
    try:
        town.serve()
        town.pair_desk()
        yield town
    finally:
        if town.server is not None:
            town.server.kill()
            town.server.wait()


class Box:
    """A Pi out of its box: `run --screen` on a folder that was never paired, as its unit does."""

    def __init__(self, town: Town, role: str, stick: Path) -> None:
        self.folder, self.port = Path(town.data(role)), ports.free_port()
        pictures = town.folder / f"{role}-pictures"
        pictures.mkdir()
        rng = np.random.default_rng(1)
        cv2.imwrite(str(pictures / "a.png"), rng.integers(0, 255, (240, 320, 3), np.uint8))
        with (town.folder / f"{role}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "quxiang-kiosk"), "run", "--data", str(self.folder), "--camera",
                 str(pictures), "--loop", "--screen", str(self.port), "--stick", str(stick)],
                env=town.environ, stdout=log, stderr=log,
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}/"

    def wait(self, held: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self.process.poll() is None
            with contextlib.suppress(requests.RequestException):
                if held():
                    return
            time.sleep(0.1)
        raise AssertionError("the kiosk did not get there")

    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = requests.get(f"{self.url}pairing.json", timeout=2).json()
        return told

    def agree(self) -> None:
        """The button under the fingerprint; until the kiosk itself serves."""
        page = requests.get(self.url, timeout=5).text
        token = re.search('screen-token" content="([^"]+)', page)
        assert token is not None
        requests.post(f"{self.url}go-on", json={}, headers={"X-Screen-Token": token[1]}, timeout=5)
        self.wait(lambda: requests.get(f"{self.url}pairing.json", timeout=2).status_code == 404)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0


@pytest.fixture
def unpack(township: Town) -> Iterator[Callable[[str, Path], Box]]:
    boxes: list[Box] = []

    def made(role: str, stick: Path) -> Box:
        boxes.append(Box(township, role, stick))
        return boxes[-1]

    yield made
    for box in boxes:
        if box.process.poll() is None:
            box.process.kill()
            box.process.wait()


def check_in(town: Town, role: str) -> None:
    """By PIN, and up to the server."""
    town.run("quxiang-kiosk", "checkin", "--official", "V1", "--pin-stdin", "--data",
             town.data(role), stdin="314159\n")  # fmt: skip
    town.run("quxiang-kiosk", "sync", "--data", town.data(role))
    assert town.status(role)["pending"] == 0


def devices(town: Town) -> dict[str, str]:
    """What `device list` says of each kiosk, by id."""
    said = town.run("quxiang-server", "device", "list", "--data", town.data("server")).stdout
    return {line.split()[0]: line for line in said.splitlines() if SITE in line}


@pytest.mark.browser
def test_a_card_is_moved_and_a_dead_one_replaced(
    township: Town, unpack: Callable[[str, Path], Box], browser: Browser, tmp_path: Path
) -> None:
    town, stick = township, tmp_path / "stick"
    # The first Pi, on its screen: address and code by finger.
    first = unpack("first", stick)
    first.wait(lambda: first.state()["step"] == "ask")
    code = town.code("--kind", "kiosk", "--site", SITE, "--site-kind", "village")
    context = browser.new_context(viewport={"width": 800, "height": 480}, has_touch=True)
    page = context.new_page()
    page.goto(first.url)
    page.fill("#server", town.url)  # http, as no Pi would: the test's loopback has no certificate
    page.tap("#code")
    for letter in code.replace("-", ""):
        page.tap(f'#keys button:text-is("{letter}")')
    page.tap("#pair")
    page.wait_for_selector("#paired:visible")
    assert SITE in page.inner_text("#whose")
    mark = page.inner_text("#fingerprint")
    page.tap("#go-on")
    page.wait_for_selector(f"#site:has-text('{SITE}')", timeout=60_000)
    context.close()
    first.stop()
    people = tmp_path / "people"
    people.mkdir()
    (people / "officials.csv").write_text(
        "official,name,title,phone,work_group,sites,consented_on,pin\n"
        f"V1,王村,科员,1,一组,{SITE},,314159\n",
        encoding="utf-8",
    )
    town.enrol(people)
    town.run("quxiang-enroll", "sync", "--data", town.data("enroll"))
    assert mark in town.run("quxiang-enroll", "list", "--data", town.data("enroll")).stdout
    town.run("quxiang-kiosk", "sync", "--data", town.data("first"))
    check_in(town, "first")
    (device,) = devices(town)

    # The old card can be read: its folder moves, the kiosk is the same.
    shutil.copytree(town.data("first"), town.data("moved"))
    town.run("quxiang-kiosk", "verify", "--data", town.data("moved"))
    check_in(town, "moved")
    assert list(devices(town)) == [device]

    # It cannot: the old one is revoked, another is paired by a stick, and the desk seals for it.
    town.run("quxiang-server", "device", "revoke", device, "--data", town.data("server"))
    stick.mkdir()
    town.run("quxiang-server", "code", "--kind", "kiosk", "--site", SITE, "--address", town.url,
             "--file", str(stick / "quxiang-pair.json"), "--data", town.data("server"))  # fmt: skip
    second = unpack("second", stick)
    second.wait(lambda: second.state()["step"] == "paired")
    second.agree()
    second.stop()
    town.run("quxiang-enroll", "sync", "--data", town.data("enroll"))
    town.run("quxiang-kiosk", "sync", "--data", town.data("second"))
    check_in(town, "second")
    found = devices(town)
    assert len(found) == 2
    assert "revoked" in found[device]
    assert town.board()["王村"]["status"] == "in_village"
    town.run("quxiang-server", "verify", "--data", town.data("server"))

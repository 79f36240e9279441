"""A damaged database: begun anew where nothing that waited is missing, else paired anew."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from attendance.statuses import Kind, Method, Status
from kiosk.aside import MOVING
from kiosk.cli import build_parser
from kiosk.clock import SystemClock
from kiosk.config import DATABASE
from kiosk.edge import Edge
from kiosk.errors import PairingRefused, StoreUnusable
from kiosk.fakes import FakeTownship
from kiosk.mending import MADE, MAKING, finish, mend
from kiosk.pairing import pair
from kiosk.run import main_run
from kiosk.site import Site
from kiosk.store import Draft
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser
from tests.faults.yearworld import Book
from tests.kiosk.doctored import PAGE, spoil
from tests.kiosk.pages import wait_for

CLOCK = SystemClock()
SENT, WAITING = 120, 7


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    made = FakeTownship()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, township: FakeTownship) -> Path:
    """A paired kiosk that has uploaded 120 records; seven wait."""
    made = tmp_path / "kiosk"
    pair(made, township.url, str(township.code))
    with Site(made) as site:
        record(site, SENT)
        assert site.client(CLOCK).exchange().stored == SENT
        record(site, WAITING)
    return made


def record(site: Site, count: int) -> None:
    for _ in range(count):
        draft = Draft(
            kind=Kind.CHECKIN, official="A-1", status=Status.ON_DUTY, method=Method.PIN
        )
        site.store.record(draft, CLOCK.read())


def test_what_waited_goes_up_and_a_new_epoch_follows_the_servers_head(
    folder: Path, township: FakeTownship
) -> None:
    spoil(folder, 20)
    damaged = (folder / DATABASE).read_bytes()
    with pytest.raises(PairingRefused, match=r"another server|spent"):
        pair(folder, township.url, "0000-0000-0000-0000-0000")
    mend(folder, CLOCK)
    assert (folder / "earlier-1" / DATABASE).read_bytes()[PAGE:] == damaged[PAGE:]
    assert not (folder / MAKING).exists()
    assert not (folder / MADE).exists()
    with Site(folder) as site:
        device = site.config.device
        assert (site.store.head().epoch, site.store.verify()) == (2, 2)
        record(site, 1)
        site.client(CLOCK).exchange()
        assert site.store.pending() == 0
        details = [r.detail for r in township.stored(device) if r.kind is Kind.FAULT]
    held = township.stored(device)
    assert [(r.epoch, r.seq) for r in held] == [
        *((1, seq) for seq in range(1, SENT + WAITING + 1)), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    assert "7 records that waited in it were uploaded first" in (details[-1] or "")
    assert township.cites[device, 2] != b""
    with Site(folder) as site:
        assert site.store.number("mended_ms") is not None
        with pytest.raises(PairingRefused, match="already"):
            pair(folder, township.url, str(township.code))


@pytest.mark.parametrize("seq", [SENT + 2, SENT + WAITING])
def test_where_something_that_waited_is_lost_it_is_paired_anew_instead(
    folder: Path, township: FakeTownship, seq: int
) -> None:
    """An epoch that went on would pass over it: whoever checked in would be called absent."""
    spoil(folder, seq)
    damaged = (folder / DATABASE).read_bytes()
    with pytest.raises(StoreUnusable, match=r"fresh code \(quxiang-kiosk pair\)"):
        mend(folder, CLOCK)
    assert (folder / DATABASE).read_bytes()[PAGE:] == damaged[PAGE:]
    assert not any((folder / name).exists() for name in (MADE, MAKING, "earlier-1"))
    said: list[str] = []
    pair(folder, township.url, str(township.code), tell=said.append)
    assert (folder / "earlier-1" / DATABASE).exists()
    assert "7" in said[0]
    assert "keep that folder" in said[0] or "保留该目录" in said[0], "it cannot be opened to upload"
    with Site(folder) as site:
        assert site.store.head().seq == 0
        assert site.client(CLOCK).exchange().pending == 0


def test_without_a_line_it_waits_and_says_so(folder: Path, township: FakeTownship) -> None:
    spoil(folder, 20)
    township.down()
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="once the server answers") as caught:
            mend(folder, CLOCK)
        assert caught.value.what == "corrupt"
        assert "联上服务器后" in caught.value.words("zh")
        assert not (folder / "earlier-1").exists()
    township.up()
    mend(folder, CLOCK)
    with Site(folder) as site:
        assert site.store.head().epoch == 2


@pytest.mark.parametrize("cut", range(4))
def test_a_power_cut_while_the_new_one_is_put_in_place_loses_neither(
    tmp_path: Path, cut: int
) -> None:
    """Every state on the way: made, set aside in part, set aside, in place."""
    old, log, made = tmp_path / DATABASE, tmp_path / f"{DATABASE}-wal", tmp_path / MADE
    made.mkdir()
    (made / DATABASE).write_text("new")
    old.write_text("old")
    log.write_text("log")
    kept = tmp_path / "earlier-1"
    if cut == 1:
        (tmp_path / MOVING).mkdir()
        old.rename(tmp_path / MOVING / DATABASE)
    if cut >= 2:
        kept.mkdir()
        old.rename(kept / DATABASE)
        log.rename(kept / log.name)
    if cut == 3:
        (made / DATABASE).rename(old)
    for _ in range(2):
        finish(tmp_path)
        assert (old.read_text(), made.exists(), log.exists()) == ("new", False, False)
        assert {path.name: path.read_text() for path in kept.iterdir()} == {
            DATABASE: "old", log.name: "log",
        }  # fmt: skip
    assert not (tmp_path / "earlier-2").exists()


def test_a_kiosk_that_is_started_on_it_goes_on_by_itself(
    folder: Path, tmp_path: Path, township: FakeTownship, free_port: int
) -> None:
    spoil(folder, 20)
    township.down()
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.full((120, 160, 3), 90, np.uint8))
    book, stop, status = Book(), threading.Event(), []
    edge = Edge(
        recogniser=lambda *_: Recogniser(book, Gallery(book.model_id, book.dimension), "off")
    )
    words = ["run", "--data", str(folder), "--camera", str(tmp_path / "pictures"), "--loop"]
    args = build_parser().parse_args([*words, "--screen", str(free_port)])
    kiosk = threading.Thread(target=lambda: status.append(main_run(args, stop=stop, edge=edge)))
    kiosk.start()

    def parts() -> list[str]:
        told = requests.get(f"http://127.0.0.1:{free_port}/metrics", timeout=5).text
        return [part for part in ("store", "disk") if f'part="{part}"' in told]

    try:
        wait_for(lambda: parts() == ["store"])
        township.up()
        wait_for(lambda: parts() == ["disk"], 60)
        wait_for(lambda: township.stored(next(iter(township.devices)))[-1].epoch == 2)
    finally:
        stop.set()
        kiosk.join(30)
    assert status == [0]
    shutil.rmtree(folder)

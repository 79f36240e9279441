"""Public pages are drawn once for each version: never an old one, never somebody else's."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy.orm import Session

from attendance.statuses import Status
from server.app import create_app
from server.models import Device, Official, Site, Township, User, WorkGroup
from server.services.public import portraits, publication
from server.services.township import leave
from server.services.township.townships import only_township
from server.web import drawings, pieces
from server.web.drawings import Drawings, Together
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world, shanghai

PAGES = ("/", "/board/rows", "/tv", "/tv/rows", "/board.json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("drawn"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def looks(app: Flask) -> list[str]:
    """Every public page in both languages."""
    said = []
    for language in ("zh", "en"):
        browser = app.test_client()
        browser.set_cookie("quxiang_lang", language)
        said += [browser.get(path).text for path in PAGES]
    return said


def write(world: World, change: Callable[[Session, Township], object]) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        change(session, only_township(session))


def person(session: Session, code: str) -> Official:
    return session.query(Official).filter_by(official=code).one()


def leader(session: Session) -> User:
    return session.query(User).filter_by(name="leader").one()


def choose(world: World, *fields: str) -> None:
    write(world, lambda s, t: publication.choose(s, t, fields, False, leader(s), world.hand()))


def picture(world: World) -> str:
    held = io.BytesIO()
    Image.new("RGB", (300, 400), "gray").save(held, "JPEG")
    return portraits.save(world.config, portraits.reencode(held.getvalue()))


def give_leave(world: World, code: str, begin: str, end: str) -> None:
    def enter(session: Session, township: Township) -> None:
        users = {user.name: user for user in session.query(User)}
        row = leave.ask(
            session, township, code, Status.ON_LEAVE, shanghai(20, begin), shanghai(20, end), "x",
            users["clerk"], world.hand(),
        )  # fmt: skip
        leave.decide(session, row.id, True, users["leader"], world.hand())

    write(world, enter)


def test_whatever_changes_the_kept_page_is_the_fresh_one(world: World) -> None:
    """Each change is seen through what is kept and through an application that kept nothing."""
    fresh = create_app(world.config, clock=world.hand)
    usual = ("portrait", "title", "phone", "duties", "work_group", "until")
    token = picture(world)

    def step(minutes: float) -> Callable[[], object]:
        def go() -> None:
            world.hand.moment += timedelta(minutes=minutes)

        return go

    def check_in() -> None:
        world.kiosks[0].record(world.codes[8], status=Status.ON_DUTY)
        world.kiosks[0].sync()

    def put(field: str, value: object) -> Callable[[], None]:
        return lambda: write(world, lambda s, _: setattr(person(s, "A002"), field, value))

    def rename(kind: type, name: str) -> Callable[[], None]:
        return lambda: write(
            world, lambda s, _: setattr(s.query(kind).order_by("id").first(), "name", name)
        )

    def revoke(session: Session, _: Township) -> None:
        session.query(Device).filter_by(id=world.kiosks[1].device).one().revoked_ms = 1

    def older(session: Session, _: Township) -> None:
        held = session.query(Device).filter_by(id=world.kiosks[1].device).one()
        assert held.last_contact_ms is not None
        held.last_contact_ms -= 600_000

    changes: list[tuple[str, Callable[[], object]]] = [
        ("a check-in", check_in),
        ("a minute", step(1)),
        ("what is public", lambda: choose(world, "phone", "village", "since")),
        ("what is public, in the same moment", lambda: choose(world, "title", "village")),
        ("the usual again", lambda: choose(world, *usual)),
        ("a telephone number", put("phone", "13911112222")),
        ("a name", put("name", "欧阳<b>")),
        ("duties", put("duties", "林业")),
        ("a portrait", put("portrait", token)),
        ("no portrait", put("portrait", None)),
        ("a public page", put("page", "0123456789AB")),
        ("a group's name", rename(WorkGroup, "党建办")),
        ("a site's name", rename(Site, "乡政府")),
        ("the township's name", rename(Township, "新乡")),
        ("somebody gone", put("active", False)),
        ("somebody back", put("active", True)),
        ("leave that begins later", lambda: give_leave(world, world.codes[-1], "10:40", "10:50")),
        ("leave that begins by time alone", step(12)),
        ("leave that ends by time alone", step(10)),
        ("a kiosk cut off by time alone", step(20)),
        ("of a silent site's kiosks the last heard one gone", lambda: write(world, older)),
        ("a kiosk heard again", lambda: world.kiosks[0].sync()),
        ("a kiosk revoked", lambda: write(world, revoke)),
        ("a stated return that passed", step(7 * 60)),
        ("another day", step(12 * 60)),
    ]
    before = looks(world.app)
    for name, change in changes:
        change()
        fresh.extensions[drawings.KEY] = Drawings()
        fresh.extensions[pieces.KEY] = pieces.Pieces()
        assert looks(world.app) == looks(fresh), name
        # A leave's beginning that lies ahead and what no page says change nothing.
        if name not in ("leave that begins later", "a site's name", "a kiosk revoked"):
            assert looks(world.app) != before, name
        before = looks(world.app)
    fresh.extensions["quxiang"].database.close()


def test_nobody_sees_another_ones_page(world: World) -> None:
    stranger = world.client()
    plain = stranger.get("/").text
    own = world.client("clerk")
    page = own.get("/")
    assert "csrf_token" in page.text
    assert "Content-Encoding" not in own.get("/", headers={"Accept-Encoding": "gzip"}).headers
    assert "ETag" not in page.headers
    assert "no-store" in page.headers["Cache-Control"]
    assert stranger.get("/").text == plain
    assert "csrf_token" not in plain
    other = world.client("leader")
    assert "clerk" not in other.get("/").text
    asked = stranger.get("/?lang=x").text
    assert "next=/?lang%3Dx" in asked
    assert "lang%3Dx" not in stranger.get("/").text


@pytest.mark.parametrize("path", PAGES)
def test_an_unchanged_page_is_not_sent_again(world: World, path: str) -> None:
    browser = world.client()
    first = browser.get(path)
    again = {"If-None-Match": first.headers["ETag"]}
    same = browser.get(path, headers=again)
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["Quxiang-Version"] == first.headers["Quxiang-Version"]
    assert "Cookie" in same.headers["Vary"]
    packed = browser.get(path, headers={**again, "Accept-Encoding": "gzip"})
    assert packed.status_code == 304
    browser.set_cookie("quxiang_lang", "en")
    english = browser.get(path, headers=again)
    assert english.status_code == (304 if path == "/board.json" else 200)
    browser.delete_cookie("quxiang_lang")
    person = world.codes[10 + PAGES.index(path)]
    world.kiosks[0].record(person, status=Status.BUSINESS_TRIP)
    world.kiosks[0].sync()
    assert browser.get(path, headers=again).status_code == 200


def test_packed_and_plain_are_the_same_page(world: World) -> None:
    browser = world.client()
    for path in PAGES[:4]:
        packed = browser.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == browser.get(path).data
        assert browser.head(path).data == b""


def test_hundreds_who_look_wait_for_one_drawing() -> None:
    held, made = Drawings(most=2), []

    def make(what: str) -> Callable[[], tuple[bytes, str]]:
        def draw() -> tuple[bytes, str]:
            made.append(what)
            return what.encode(), "text/html"

        return draw

    asked = ["a1", "a1", "b1", "a2", "b1", "c1", "b1", "a2"]
    said = [held.get(one[0], one[1], "v", make(one)).body.decode() for one in asked]
    assert said == asked
    assert made == ["a1", "b1", "a2", "c1", "a2"], "the one least lately asked for was forgotten"


def test_who_waits_shares_an_answer_that_was_begun_later() -> None:
    together, entered, go = Together(), threading.Event(), threading.Event()
    state, reads = ["old"], []

    def read() -> str:
        seen = state[0]
        reads.append(seen)
        entered.set()
        go.wait(10)
        return seen

    said: list[str] = []
    first = threading.Thread(target=lambda: said.append(together.do(1, read)))
    first.start()
    entered.wait(10)
    state[0] = "new"  # committed while the first one reads
    others = [threading.Thread(target=lambda: said.append(together.do(1, read))) for _ in range(9)]
    for thread in others:
        thread.start()
    while together.waiting(1) < 9:
        pass
    go.set()
    for thread in (first, *others):
        thread.join(10)
    assert said.count("old") == 1, "only who asked before"
    assert said.count("new") == 9
    assert reads == ["old", "new"], "nine shared one reading"


def test_a_board_is_packed_once_though_its_rows_stand_in_the_page(world: World) -> None:
    held = world.app.extensions[drawings.KEY]
    world.hand.moment += timedelta(minutes=1)
    sent = world.client().get("/", headers={"Accept-Encoding": "gzip"})
    assert sent.headers["Content-Encoding"] == "gzip"
    kept = {key[0]: drawing for key, (_, drawing) in held._held.items() if key[-1] == "zh"}
    assert (kept["page"].is_packed, kept["rows"].is_packed) == (True, False)
    rows = kept["rows"].body
    assert rows in gzip.decompress(sent.data)
    asked = world.client().get("/board/rows", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(asked.data) == rows == kept["rows"].body
    assert kept["rows"].is_packed, "and then kept like this alone"

"""The public board without a browser: what it says, what it never says, and how it stays live."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from PIL import Image

from attendance.statuses import LOOKS, Status
from server.models import Official, Township
from server.services.public import portraits
from server.web.board import STREAMS, watcher
from server.web.watcher import Watcher
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world

KEYS = ["name", "title", "phone", "status", "colour", "shape", "until"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("board"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


@pytest.fixture
def streams(world: World) -> Iterator[Watcher]:
    found = watcher(world.app)
    yield found
    found.close()


def test_the_json_has_exactly_the_promised_keys(world: World) -> None:
    board = world.client().get("/board.json").json
    assert list(board) == ["as_of", "rows"]
    assert board["as_of"] == "2026-11-20T10:30:00+08:00"
    assert len(board["rows"]) == 36
    assert all(list(row) == KEYS for row in board["rows"])


def test_every_status_shows_with_its_colour_word_and_shape(world: World) -> None:
    rows = world.client().get("/board.json").json["rows"]
    seen = {row["status"] for row in rows}
    assert seen == {str(s) for s in Status} - {"stale"}
    for row in rows:
        look = LOOKS[Status(row["status"])]
        assert (row["colour"], row["shape"]) == (look.colour, look.shape)
    for lang in ("zh", "en"):
        page = world.client(lang=lang).get("/").text
        for status in seen:
            assert LOOKS[Status(status)].word(lang) in page  # type: ignore[arg-type]
        assert page.count("<svg") == 36 + 6


def test_an_expected_return_is_said(world: World) -> None:
    rows = world.client().get("/board.json").json["rows"]
    assert rows[1]["until"] == "2026-11-20T17:30:00+08:00"
    page = world.client().get("/").text
    assert "预计 17:30 返回" in page
    assert "至 11月22日" in page  # leave that ends at midnight ends with the day before
    assert "back about 17:30" in world.client(lang="en").get("/").text


def test_nothing_private_is_public(world: World) -> None:
    browser = world.client()
    for path in ("/", "/board.json", "/board/rows"):
        text = browser.get(path).text
        assert not re.search(r"A0\d\d", text), "an official's id"
        for private in ("年休假", "开会", "meeting", "杏树村 Xingshu", "08:12", "kiosk"):
            assert private not in text
        assert "外乡人" not in text


def test_telephones_can_be_called(world: World) -> None:
    assert 'href="tel:13800000000"' in world.client().get("/").text


def test_the_first_page_is_small(world: World) -> None:
    browser = world.client()
    page = browser.get("/")
    assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(assets) == 3
    assert len(page.data) + sum(len(browser.get(a).data) for a in assets) < 100_000


def test_an_unchanged_board_is_not_sent_again(world: World) -> None:
    browser = world.client()
    first = browser.get("/board.json")
    world.hand.moment += timedelta(seconds=7)
    same = browser.get("/board.json", headers={"If-None-Match": first.headers["ETag"]})
    world.hand.moment -= timedelta(seconds=7)
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["Quxiang-Version"] == first.headers["Quxiang-Version"]
    other = browser.get("/board.json", headers={"If-None-Match": 'W/"other"'})
    assert other.status_code == 200


def test_looking_sets_no_cookie_and_asks_no_login(world: World) -> None:
    answer = world.client().get("/")
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_each_township_has_its_own_board(world: World) -> None:
    with world.app.extensions["quxiang"].database.session() as session:
        slug = session.query(Township).filter_by(name="邻乡").one().slug
    page = world.client().get(f"/t/{slug}/").text
    assert "外乡人" in page
    assert "王建国" not in page
    assert f'data-json="/t/{slug}/board.json"' in page
    assert [r["name"] for r in world.client().get(f"/t/{slug}/board.json").json["rows"]] == [
        "外乡人"
    ]
    assert world.client().get("/t/nowhere/").status_code == 404


def test_a_portrait_is_found_by_its_token_only(world: World) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (300, 400), "gray").save(picture, "JPEG")
    token = portraits.save(world.config, portraits.reencode(picture.getvalue()))
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.query(Official).filter_by(official="A001").one().portrait = token
    browser = world.client()
    page = browser.get("/").text
    assert f'src="/portraits/{token}.jpg"' in page
    # Whoever has none has the first character of their name there, which is read once.
    blanks = re.findall(r'<span class="blank" aria-hidden="true">(.)</span>', page)
    assert len(blanks) == page.count('<li class="person">') > 0
    found = browser.get(f"/portraits/{token}.jpg")
    assert found.mimetype == "image/jpeg"
    assert "max-age" in found.headers["Cache-Control"]
    for other in ("A001", "..%2fserver", "0" * 32, "server.db"):
        assert browser.get(f"/portraits/{other}.jpg").status_code == 404


def test_a_stream_tells_of_a_change_and_beats(world: World, streams: Watcher) -> None:
    answer = world.client().get("/board/events", buffered=False)
    assert answer.mimetype == "text/event-stream"
    lines = iter(answer.response)
    assert b"retry" in next(lines)
    first = next(lines)
    assert first.startswith(b"event: board\ndata: ")
    assert next(lines).startswith(b"event: beat\ndata: 10:30")
    world.kiosks[0].record(world.codes[5], status=Status.ON_DUTY)
    world.kiosks[0].sync()
    second = next(lines)
    assert second.startswith(b"event: board\ndata: ")
    assert second != first
    answer.close()
    assert not streams.streams


def test_beyond_the_limit_a_stream_is_refused_politely(world: World, streams: Watcher) -> None:
    held = [world.client().get("/board/events", buffered=False) for _ in range(STREAMS)]
    full = world.client().get("/board/events")
    assert full.status_code == 503
    assert int(full.headers["Retry-After"]) > 0
    held.pop().close()
    assert world.client().get("/board/events", buffered=False).status_code == 200
    for one in held:
        one.close()


class Board:
    """A version that is read, or cannot be; counts who asks."""

    def __init__(self) -> None:
        self.version = "1"
        self.reads = 0
        self.broken = threading.Event()

    def read(self, keys: object) -> dict[int, str]:
        self.reads += 1
        if self.broken.is_set():
            raise OSError("the database is away")
        return dict.fromkeys(keys, self.version)  # type: ignore[attr-defined]


def test_many_streams_are_served_by_one_reader() -> None:
    board = Board()
    watching = Watcher(board.read, limit=50, every=0.05)
    streams = [watching.open(7) for _ in range(50)]
    assert watching.open(7) is None
    assert {stream.next(None, 5) for stream in streams if stream} == {"1"}
    before = board.reads
    board.version = "2"
    assert {stream.next("1", 5) for stream in streams if stream} == {"2"}
    assert board.reads - before <= 3
    assert streams[0] is not None
    assert streams[0].next("2", 0.01) is None
    watching.close()
    assert all(stream is not None and stream.ended for stream in streams)


def test_a_database_that_is_away_ends_no_stream() -> None:
    board = Board()
    board.broken.set()
    watching = Watcher(board.read, limit=1, every=0.02)
    stream = watching.open(1)
    assert stream is not None
    assert stream.next(None, 0.1) is None
    assert not stream.ended
    assert not stream.fresh
    board.broken.clear()
    assert stream.next(None, 5) == "1"
    assert stream.fresh
    stream.close()
    stream.close()


def test_streams_end_with_their_process() -> None:
    going = True
    watching = Watcher(Board().read, limit=1, every=0.02, alive=lambda: going)
    stream = watching.open(1)
    assert stream is not None
    assert stream.next(None, 5) == "1"
    going = False
    assert stream.next("1", 5) is None
    assert stream.ended

"""What open boards are told of: the people who changed, and nothing where that is not all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from attendance.statuses import Status
from server.models import Official, Township, WorkGroup
from server.services.township.townships import only_township
from server.web.board import _version
from server.web.news import MOST, Reporter
from server.web.shown import drawn
from server.web.streams import News, View
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("news"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def put(world: World, codes: list[str], **fields: object) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        for official in session.query(Official).filter(Official.official.in_(codes)):
            for name, value in fields.items():
                setattr(official, name, value)


def township(world: World) -> int:
    with world.app.extensions["quxiang"].database.session() as session:
        return only_township(session).id


class Told:
    """A reporter whose versions are numbers."""

    def __init__(self, world: World) -> None:
        self.version = ""
        self.reporter = Reporter(world.app, drawn, lambda *_: self.version)

    def news(self, version: str, number: int, views: set[View]) -> dict[View, News]:
        self.version = version
        told, found = self.reporter.news({number: version}, views)
        assert told == {number: version}
        return found


def pieces(html: str) -> list[str]:
    """The people of a drawn page, in order."""
    return re.findall(r'<li class="(?:person|tv-person).*?</li>', html, re.S)


@pytest.mark.parametrize(("kind", "path"), [("rows", "/board/rows"), ("screen", "/tv/rows")])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_with_its_news_is_the_new_page(
    world: World, kind: str, path: str, language: str
) -> None:
    number = township(world)
    view: View = (number, kind, language)
    told_of = Told(world)
    browser = world.client(lang=language)
    assert told_of.news("1", number, {view}) == {}, "nothing is known of before"
    assert told_of.news("1", number, {view}) == {}, "nothing is new"
    before = pieces(browser.get(path).text)
    person = world.codes[12 + 2 * (kind == "screen") + (language == "en")]
    world.kiosks[0].record(person, status=Status.ON_DUTY)
    world.kiosks[0].sync()
    put(world, ["A002"], phone=f"139{len(kind)}{language}<b>")
    news = told_of.news("2", number, {view})[view]
    assert b"\n" not in news.text
    assert b"\r" not in news.text
    told = json.loads(news.text)
    assert (news.since, told["from"], told["version"]) == ("1", "1", "2")
    assert len(told["people"]) == 2
    for n, html in told["people"].items():
        before[int(n)] = html.strip()
    page = browser.get(path).text
    assert before == pieces(page)
    assert told["head"].strip() in page
    assert "<b>" not in news.text.decode().split('"people"')[1].replace("&lt;b&gt;", "")


def test_where_it_is_not_all_the_page_is_asked_for(world: World) -> None:
    number = township(world)
    view: View = (number, "rows", "zh")
    told_of = Told(world)
    told_of.news("1", number, {view})
    put(world, world.codes[: MOST + 1], phone="1")
    assert told_of.news("2", number, {view}) == {}, "too many"
    put(world, world.codes[:MOST], phone="2")
    assert view in told_of.news("3", number, {view})
    put(world, ["A003"], active=False)
    assert told_of.news("4", number, {view}) == {}, "somebody went"
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.query(WorkGroup).order_by(WorkGroup.id).first().name = "党建办"
    assert told_of.news("5", number, {view}) == {}, "a group has another name"
    assert told_of.news("6", number, set()) == {}
    assert told_of.news("7", number, {view}) == {}, "forgotten when nobody had it open"
    assert told_of.reporter.news({}, {view}) == ({}, {})


def test_a_fault_costs_the_news_alone(world: World) -> None:
    number = township(world)
    view: View = (number, "rows", "zh")
    told_of = Told(world)
    told_of.news("1", number, {view})
    nowhere: View = (99, "rows", "zh")
    assert told_of.reporter.news({99: "2"}, {nowhere, view}) == ({99: "2"}, {})
    put(world, ["A005"], phone="5")
    assert view in told_of.news("2", number, {view})


def test_what_came_while_it_was_drawn_is_not_left_out(world: World) -> None:
    """The watcher read a version, then somebody checked in, then the board was drawn."""
    number = township(world)
    view: View = (number, "rows", "zh")
    reporter = Reporter(world.app, drawn, _version)

    def now() -> str:
        held = world.app.extensions["quxiang"]
        with held.database.session() as session:
            return _version(session.get_one(Township, number), session, held.now())

    first = now()
    put(world, ["A006"], phone="66")
    second = now()
    assert reporter.news({number: first}, {view}) == ({number: second}, {}), "what was drawn"
    put(world, ["A007"], phone="77")
    told, found = reporter.news({number: now()}, {view})
    assert told == {number: now()} != {number: second}
    assert found[view].since == second
    assert reporter.news(told, {view}) == (told, {})

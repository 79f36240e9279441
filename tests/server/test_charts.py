"""Charts on the page: drawn without script or inline style, the same figures as the sheets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from flask import template_rendered
from jinja2 import Template

from attendance.statuses import Kind, Status
from tests.conftest import NewDatabase

from .test_web_pages import statements
from .web_seed import World, fill, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("charts"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def test_three_pictures_without_script_style_or_names(world: World) -> None:
    for lang in ("zh", "en"):
        text = world.client("inspector", lang).get("/charts?month=2026-11").text
        main = text.split("<main", 1)[1]
        pictures = re.findall(r"<svg class=\"chart\".*?</svg>", main, re.S)
        assert len(pictures) == 3
        for picture in pictures:
            ElementTree.fromstring(picture)  # noqa: S314 (our own page)
            assert "style=" not in picture, "the policy allows no inline style"
        assert "<script" not in main
        with world.app.extensions["quxiang"].database.session() as session:
            from server.models import Official

            names = [o.name for o in session.query(Official) if len(o.name) > 2]
        assert not [name for name in names if name in main], "no chart is about a person"


def test_the_figures_are_those_of_the_day_sheet(world: World) -> None:
    browser = world.client("clerk")
    main = browser.get("/charts?month=2026-11").text
    titles = re.findall(r"<title>([^<]*)</title>", main)
    assert any(t.startswith("杏树村 Xingshu village · 11/16 · ") for t in titles)
    bars = [re.search(r"乡镇机关 (\d+) · 村 (\d+)$", t) for t in titles]
    drawn = sum(int(m[1]) + int(m[2]) for m in bars if m)
    told = re.search(r"共 (\d+) 人次", main)
    assert told
    assert drawn == int(told[1]) > 0
    assert browser.get("/charts?month=x").status_code == 400
    assert browser.get("/charts?month=2031-01").status_code == 200, "a month to come is empty"


def test_the_pictures_are_drawn_once_until_something_changes(world: World) -> None:
    drawn: list[str] = []

    def note(_app: object, template: Template, **_more: object) -> None:
        drawn.append(str(template.name))

    def look(who: str, lang: str = "zh") -> tuple[str, int]:
        drawn.clear()
        main = world.client(who, lang).get("/charts?month=2026-11").text.split("<main", 1)[1]
        return main.split("</h1>", 1)[1].split("</main>", 1)[0], drawn.count("_charts.html")

    with template_rendered.connected_to(note, world.app):
        first, _ = look("clerk")
        assert look("clerk") == (first, 0)
        assert look("leader") == (first, 0), "nobody's name or token is in them"
        assert look("stranger")[0] != first, "another township's are its own"
        assert look("clerk") == (first, 0), "and do not take the place of these"
        in_english, _ = look("clerk", "en")
        assert "Times of arrival" in in_english
        kiosk = world.kiosks[0]
        kiosk.record(world.codes[-1], Kind.CHECKIN, Status.ON_DUTY)
        kiosk.sync()
        after, times = look("clerk")
        assert (after != first, times) == (True, 1), "a record that arrives is in the pictures"
        assert look("clerk", "en") != (in_english, 0)
        assert look("clerk") == (after, 0)


def test_its_queries_do_not_grow(world: World, new_database: NewDatabase, tmp_path: Path) -> None:
    large = make_world(tmp_path, people=200, url=new_database())
    path = "/charts?month=2026-11"
    assert statements(large, path) <= statements(world, path)

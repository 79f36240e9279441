"""Charts on the page: drawn without script or inline style, the same figures as the sheets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

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


def test_its_queries_do_not_grow(world: World, new_database: NewDatabase, tmp_path: Path) -> None:
    large = make_world(tmp_path, people=200, url=new_database())
    path = "/charts?month=2026-11"
    assert statements(large, path) <= statements(world, path)

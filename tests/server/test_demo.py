"""The demo township: its drawings, its reception, and a first day that accuses nobody."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL import Image
from sqlalchemy import select

from server import demo_portraits
from server.app import create_app
from server.config import ServerConfig
from server.demo import make_demo
from server.models import Official
from server.services.public import duty, visits
from server.services.sheets import daysheet
from server.services.township.townships import only_township

#: A Monday, 10:00 in Shanghai.
NOW = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
TODAY = date(2026, 11, 2)
DAYS = 12


def test_a_demo_has_drawn_portraits_a_reception_and_a_fair_first_day(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "server")
    list(make_demo(config, 12, 6, DAYS, NOW))
    database = create_app(config).extensions["quxiang"].database
    with database.session() as session:
        place = only_township(session)
        tokens = session.scalars(select(Official.portrait).order_by(Official.id)).all()
        assert [n for n, token in enumerate(tokens) if token is None] == [5, 11]
        for token in filter(None, tokens):
            with Image.open(config.portraits / f"{token}.jpg") as picture:
                assert picture.size == (480, 640)
        posts = duty.on_duty(session, place, TODAY)
        assert len({p.official.official for p in posts if p.official}) == 3
        assert [v.state for v in visits.received(session, place)] == ["done", "working", "open"]
        before = TODAY - timedelta(DAYS)
        for day in (before, before + timedelta(1)):
            rows = daysheet.day_sheet(session, place, day, NOW).rows
            assert {row.verdict for row in rows} <= {"not_expected", "came", "late", "early"}, day
    database.close()


def test_a_drawing_is_the_same_for_the_same_number_and_no_photograph() -> None:
    one, again, other = (demo_portraits.drawing(n) for n in (3, 3, 4))
    assert one == again != other
    with Image.open(io.BytesIO(one)) as picture:
        assert picture.size == demo_portraits.SIZE
        # A drawing is a few flat colours: eight of them cover nearly all of it.
        few = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).getcolors()
    assert few is not None
    covered = sum(sorted((n for n, _ in few), reverse=True)[:8])
    assert covered > 0.9 * picture.width * picture.height

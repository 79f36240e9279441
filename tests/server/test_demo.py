"""The demo township: its drawings, its reception, and a first day that accuses nobody."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL import Image
from sqlalchemy import select

from attendance.days import day_of
from server import demo_portraits
from server.app import create_app
from server.config import ServerConfig
from server.demo import make_demo
from server.models import Official
from server.rules import flags
from server.rules.verdict import VERDICTS
from server.services.public import duty, visits
from server.services.sheets import daysheet
from server.services.sheets.days import Look
from server.services.township.townships import only_township
from server.web.sheets import FLAGS

#: A Monday, 10:00 in Shanghai.
NOW = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
TODAY = date(2026, 11, 2)
DAYS = 12
#: Days of a whole demo, as the command makes it unless told otherwise.
MONTH = 30


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


def test_a_month_has_every_verdict_and_every_discrepancy(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "server")
    said = list(make_demo(config, 36, 28, MONTH, NOW))
    assert sum("全部一致" in line or "consistent" in line for line in said) == 1
    database = create_app(config).extensions["quxiang"].database
    days = [TODAY - timedelta(n) for n in reversed(range(MONTH))]
    with database.session() as session:
        place = only_township(session)
        look = Look(session, place, days, NOW)
        judged = look.days()
        quiet = look.silence(judged)
        held = [(day, one) for day in judged for one in day.people.values()]
        kinds = {
            found.kind for day, one in held
            for found in (*one.judged.found, *quiet.get((one.person.official, day.day), ()))
        }  # fmt: skip
        kinds |= {flags.UNKNOWN_OFFICIAL for day in judged if day.unknown}
        for day in days:
            rows = daysheet.day_sheet(session, place, day, NOW).rows
            kinds |= {flag for row in rows for entry in row.entries for flag in entry.flags}
        # The demo's kiosks have one history each.
        assert kinds == set(FLAGS) - {flags.SET_ASIDE}
        assert {one.judged.verdict for _, one in held} == set(VERDICTS)
        (night,) = [
            one for _, one in held if any(e.hours and e.hours.overnight for e in one.expected)
        ]  # fmt: skip
        (visit,) = night.judged.visits
        assert night.judged.verdict == "came"
        assert visit.closed_by == "checkout"
        assert day_of(visit.ends.at_ms) > day_of(visit.begins.at_ms)  # type: ignore[union-attr]
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

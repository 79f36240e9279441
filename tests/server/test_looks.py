"""Days that are kept, and judged for a page alone: slow to find, never other than judged anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from attendance.days import day_of, day_start_ms, to_ms
from attendance.statuses import Kind, Status
from server.models import Correction, CorrectionDecision, Device, Official, Shift, Township
from server.rules.calendar import days_between
from server.rules.terms import UsualShifts
from server.services.sheets.days import Day, Look, days_of
from server.services.sheets.months import grid
from server.services.township import rosters
from server.services.township.townships import only_township
from tests.conftest import NewDatabase

from .web_seed import World, fill, make_world, shanghai

DAYS = days_between(day_of(to_ms(shanghai(18, "12:00"))), day_of(to_ms(shanghai(21, "12:00"))))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("looks"), url=new_database())
    with made.app.extensions["quxiang"].database.transaction() as session:
        township = only_township(session)
        clerk = _user(session, "clerk")
        for kind, start in (("office", 480), ("village", 495)):
            rosters.add_shift(session, township, kind, start, 1050, clerk, made.hand(), late_min=5)
        held = {s.name: s.id for s in session.query(Shift)}
        usual = UsualShifts(office=held["office"], village=held["village"])
        rosters.set_rule(session, township, usual, DAYS[0], "", _user(session, "leader"),
                         made.hand())  # fmt: skip
    fill(made)
    with made.app.extensions["quxiang"].database.transaction() as session:
        _mistaken(session, made)
    yield made
    made.app.extensions["quxiang"].database.close()


def _user(session: Session, name: str):  # type: ignore[no-untyped-def]
    from server.models import User

    return session.query(User).filter_by(name=name).one()


def _mistaken(session: Session, world: World) -> None:
    """A record of the apricot village is truly that of somebody at the office."""
    from server.models import RecordRow

    township = only_township(session)
    row = session.query(RecordRow).filter_by(official=world.codes[7]).first()
    assert row is not None
    made = Correction(
        township_id=township.id, official=row.official, day=day_of(row.at_ms).isoformat(),
        kind="mistaken", record_id=row.record_id, really=world.codes[2], reason="x", by="clerk",
        at_ms=to_ms(world.hand()),
    )  # fmt: skip
    session.add(made)
    session.flush()
    session.add(CorrectionDecision(township_id=township.id, correction_id=made.id, approved=True,
                                   by="leader", at_ms=to_ms(world.hand())))  # fmt: skip


def _opened(world: World, write: bool = False) -> Session:
    opened: Session = world.app.extensions["quxiang"].database.session(write=write)
    return opened


def _said(days: list[Day]) -> list[object]:
    return [(d.day, d.unknown, {c: (p.expected, p.judged, p.records)
                                for c, p in d.people.items()}) for d in days]  # fmt: skip


def test_a_kept_day_is_at_every_moment_what_it_would_be_if_judged_anew(world: World) -> None:
    """Kept days are asked for as time passes and kiosks call; a writing session keeps nothing."""
    moments = [day_start_ms(DAYS[2]) + n * 60_000 for n in range(0, 2 * 1440, 240)]
    start = day_start_ms(DAYS[2])
    for limit in (485, 500, 1050, 1440):
        moments += [start + limit * 60_000 + off for off in (-1, 0, 59_998, 59_999, 60_000)]
    seen = set()
    for n, ms in enumerate(sorted(moments)):
        now = shanghai(20, "00:00") + timedelta(milliseconds=ms - start)
        with world.app.extensions["quxiang"].database.transaction() as session:
            for device in session.query(Device).order_by(Device.id).limit(2):
                device.complete_until_ms = ms - (n % 3 == 0)
        with _opened(world) as kept, _opened(world, write=True) as fresh:
            asked = _said(days_of(kept, only_township(kept), DAYS[2:3], now)[1])
            assert asked == _said(days_of(fresh, only_township(fresh), DAYS[2:3], now)[1]), now
        seen.add(str(asked))
    assert len(seen) >= 4, "the day changed as it passed"


def test_a_page_is_judged_as_everybody_is(world: World) -> None:
    with _opened(world, write=True) as session:
        township = only_township(session)
        look = Look(session, township, DAYS, world.hand())
        whole = look.days()
        for first in range(0, 36, 5):
            some = look.roster.people[first : first + 5]
            codes = {p.official for p in some}
            part = look.days(some)
            for one, all_ in zip(part, whole, strict=True):
                wanted = {c: p.judged for c, p in all_.people.items() if c in codes}
                assert {c: p.judged for c, p in one.people.items()} == wanted
        assert any(p.judged.corrected for d in whole for p in d.people.values())


def test_pages_looked_at_one_after_the_other_make_up_the_whole(world: World) -> None:
    with _opened(world) as session:
        township: Township = only_township(session)
        now = world.hand() + timedelta(seconds=1)
        pages = [grid(session, township, DAYS, now, first=n, most=10) for n in range(0, 40, 10)]
        whole = grid(session, township, DAYS, now)
        assert [r.person.official for p in pages for r in p.rows] == world.codes
        assert [r.totals for p in pages for r in p.rows] == [r.totals for r in whole.rows]
        assert {p.fitting for p in pages} == {whole.fitting} == {36}
        assert days_of(session, township, DAYS, now)[1][2].unknown, "the whole day was judged"


def test_a_record_that_arrives_is_on_the_page_that_was_looked_at(world: World) -> None:
    code = world.codes[0]

    def verdicts() -> list[str]:
        with _opened(world) as session:
            made = grid(session, only_township(session), DAYS, world.hand(),
                        lambda p: p.official == code, most=10)  # fmt: skip
            return [d.judged.verdict for d in made.rows[0].days if d is not None]

    before = verdicts()
    world.kiosks[0].record(code, Kind.CHECKIN, Status.ON_DUTY)
    world.kiosks[0].sync()
    assert verdicts() != before


def test_who_is_gone_stands_where_they_were(world: World) -> None:
    with _opened(world, write=True) as session:
        township = only_township(session)
        there, never = world.codes[3], world.codes[35]
        for code in (there, never):
            session.query(Official).filter_by(official=code).one().active = False
        township.roster_version += 1
        session.flush()
        made = grid(session, township, DAYS, world.hand(), most=100)
        codes = [r.person.official for r in made.rows]
        assert there in codes
        assert never not in codes
        session.rollback()

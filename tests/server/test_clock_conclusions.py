"""What is concluded from clocks, through the server's services and a real database.

A made-up kiosk lives a day and a half: it loses power and its clock, records, is online or not.
The test knows the truth. Whatever moment a supervisor looks at: nobody is absent who came, nobody
late who was in time, no conclusion rests on class C, none comes before the site's records.
"""

from __future__ import annotations

import re
from datetime import UTC, date, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from attendance import wire
from attendance.clock import ClockClass
from attendance.days import day_end_ms, day_start_ms, from_ms
from server.rules.terms import UsualShifts
from server.services.sheets import daysheet
from server.services.sheets.daysheet import DayRow
from server.services.township import rosters
from server.services.township.townships import only_township
from tests.server.conftest import Kiosk, Machine, Office, ms, roster
from tests.server.web_seed import sign_in

DAY = date(2026, 3, 18)
NEXT = DAY + timedelta(1)
#: 08:30, and its own minute: later is late.
LIMIT_MS = day_start_ms(DAY) + (8 * 60 + 30) * 60_000 + 59_999
DAWN = from_ms(day_start_ms(DAY) + 5 * 3_600_000).astimezone(UTC)


@pytest.fixture
def hours(office: Office, desk: Machine) -> Office:
    """Villages begin at 08:30."""
    clerk, leader = office.user("shen", "clerk"), office.user("wu", "leader")
    with office.context.database.transaction() as session:
        township = only_township(session)
        shift = rosters.add_shift(
            session, township, "白班", 8 * 60 + 30, 17 * 60, clerk, office.clock()
        )
        rosters.set_rule(
            session, township, UsualShifts(village=shift.id), date(2026, 1, 1), "", leader,
            office.clock(),
        )  # fmt: skip
    return office


def steps() -> st.SearchStrategy[list[tuple[str, float]]]:
    """Minutes pass, power fails (any clock comes back), somebody comes, the line works."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.integers(1, 600)),
            st.tuples(st.just("boot"), st.sampled_from([0, 0, -20 * 365, 3 * 365, -0.58, -2])),
            st.tuples(st.just("come"), st.just(0)),
            st.tuples(st.just("sync"), st.just(0)),
            st.tuples(st.just("call"), st.just(0)),
        ),
        min_size=4,
        max_size=14,
    )


class Life:
    """One kiosk, one official, and when they truly came."""

    def __init__(self, office: Office, desk: Machine, number: int) -> None:
        self.office, self.who = office, f"p-{number}"
        office.clock.now = DAWN - timedelta(days=1)
        self.kiosk: Kiosk = office.kiosk(f"村{number}", "village")
        rows = roster((self.who, "某人", [f"村{number}"]))
        assert desk.send("PUT", wire.DESK_ROSTER, rows).status_code == 200
        self.kiosk.sync()
        office.clock.now = DAWN
        self.came: list[int] = []

    def step(self, what: str, number: float) -> None:
        if what == "wait":
            self.office.clock.step(minutes=number)
        elif what == "boot":
            self.kiosk.reboot()
            self.kiosk.wall_off = timedelta(days=number)
        elif what == "come":
            self.kiosk.record(self.who)
            self.came.append(ms(self.office.clock.now))
            self.office.clock.step(seconds=10)
        elif what == "sync":
            self.kiosk.sync()
        else:  # a contact whose upload was cut off
            self.kiosk.cursor(pending=max(1, len(self.kiosk.payloads)))

    def row(self, day: date) -> DayRow:
        with self.office.context.database.session() as session:
            sheet = daysheet.day_sheet(session, only_township(session), day, self.office.clock.now)
        return next(row for row in sheet.rows if row.official == self.who)

    def check(self) -> None:
        now_ms = ms(self.office.clock.now)
        until = self.office.device(self.kiosk.device).complete_until_ms or 0
        for day in (DAY, NEXT):
            row = self.row(day)
            start, end = day_start_ms(day), day_end_ms(day)
            here = [at for at in self.came if start <= at < end]
            story = (row.verdict, [from_ms(at).isoformat() for at in here])
            if row.verdict == "absent":
                assert not here, story
                assert until >= end, ("before the site's records", story)
                assert now_ms >= end, story
            if row.verdict == "late":
                limit = LIMIT_MS + (start - day_start_ms(DAY))
                assert here, story
                assert min(here) > limit, story
                assert until >= limit, ("before the site's records", story)
                assert all(e.cls is not ClockClass.C for e in row.entries), story
            if row.entries and all(e.cls is ClockClass.C for e in row.entries):
                assert row.verdict not in ("late", "early", "absent"), story
                assert row.doubtful, story


NUMBERS = count()


@settings(
    max_examples=12, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(story=steps())
@example(
    story=[
        ("boot", -7300),
        ("wait", 150),
        ("come", 0),
        ("boot", 0),
        ("sync", 0),
        ("wait", 120),
        ("come", 0),
    ]
)  # in time by a clock that nobody believes
@example(
    story=[("wait", 180), ("boot", -0.58), ("wait", 5), ("come", 0), ("wait", 180), ("boot", 0),
           ("wait", 600), ("wait", 600), ("sync", 0)]
)  # in time, by a clock that resumed where it had stopped: its wall says the evening before
@example(
    story=[("wait", 180), ("boot", -0.58), ("wait", 5), ("come", 0), ("wait", 60), ("boot", 0),
           ("wait", 50), ("sync", 0), ("come", 0), ("wait", 1), ("sync", 0)]
)  # the same, and seen again late by a clock that is right
@example(story=[("wait", 600), ("wait", 600)])  # the day is over, and nothing was heard
@example(story=[("wait", 240), ("come", 0), ("wait", 600), ("wait", 600)])
def test_nothing_is_concluded_that_the_clocks_do_not_bear_out(
    hours: Office, desk: Machine, story: list[tuple[str, float]]
) -> None:
    life = Life(hours, desk, next(NUMBERS))
    for what, minutes in story:
        life.step(what, minutes)
    life.check()
    life.step("sync", 0)
    life.check()
    hours.clock.now = max(hours.clock.now, from_ms(day_end_ms(NEXT)) + timedelta(hours=1))
    life.check()
    life.step("sync", 0)
    life.check()


@pytest.mark.parametrize("how", ["late", "again"])
def test_a_question_late_or_sent_again_makes_nobody_absent(
    hours: Office, desk: Machine, how: str
) -> None:
    life = Life(hours, desk, next(NUMBERS))
    life.step("sync", 0)
    hours.clock.now = from_ms(day_end_ms(DAY)).astimezone(UTC) - timedelta(minutes=3)
    body = wire.encode(life.kiosk.cursor_request(0))
    if how == "again":
        assert life.kiosk.send("POST", wire.CURSOR, body).status_code == 200
    hours.clock.step(minutes=2)
    life.step("come", 0)  # in the last minute of the day, and the line is down
    hours.clock.step(minutes=3)
    assert life.kiosk.send("POST", wire.CURSOR, body).status_code == 200
    assert life.row(DAY).verdict == "not_known"
    life.check()
    life.step("sync", 0)
    life.check()


def page(office: Office, lang: str, who: str) -> str:
    browser = office.client()
    browser.set_cookie("quxiang_lang", lang)
    sign_in(browser, "shen")
    html = browser.get(f"/day?date={DAY.isoformat()}").text
    row = next(r for r in re.findall(r"<tr.*?</tr>", html, re.S) if f"/officials/{who}" in r)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row))


def test_the_three_classes_in_words_on_the_supervisors_page(hours: Office, desk: Machine) -> None:
    said: dict[str, tuple[str, str]] = {}
    for number, name in enumerate(("A", "B", "C")):
        life = Life(hours, desk, 900 + number)
        life.step("sync", 0)
        hours.clock.step(minutes=3 * 60 + 12)  # 08:12
        life.step("call", 0)
        if name != "A":
            life.step("boot", 0 if name == "B" else -20 * 365)
        hours.clock.step(minutes=1)
        life.step("come", 0)
        hours.clock.step(minutes=1)
        if name != "A":
            life.kiosk.reboot()  # so that no proof is of the boot that recorded
            life.kiosk.wall_off = timedelta()
        life.step("sync", 0)
        assert [e.cls for e in life.row(DAY).entries] == [name]
        life.check()
        said[name] = (page(hours, "zh", life.who), page(hours, "en", life.who))
    assert "08:13" in said["A"][0]
    assert "08:12 至 08:14 之间" in said["B"][0]
    assert "between 08:12 and 08:14" in said["B"][1]
    assert "时钟存疑，请核实" in said["C"][0]
    assert "clock doubtful: please confirm" in said["C"][1]
    for name in ("A", "B", "C"):
        assert "迟到" not in said[name][0]

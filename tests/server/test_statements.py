"""Months: their grid, their statements, and how they are signed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from attendance.days import day_start_ms
from server.errors import InputInvalid, NotAllowed
from server.models import Official, User
from server.rules.calendar import days_between, month_days
from server.rules.terms import Allowance, MonthDays, UsualShifts
from server.services.rulings import corrections, statements
from server.services.rulings.corrections import Draft
from server.services.sheets.days import days_of
from server.services.sheets.months import grid
from server.services.township import rosters
from server.services.township.townships import only_township, touch_roster

from .conftest import Kiosk, Office
from .desk_people import TODAY, come, next_day, row_of


def test_a_month_is_signed_as_it_was_seen_and_later_corrections_come_next_month(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    record = come(office, village)
    leader, clerk = people["leader"], people["clerk"]
    with office.context.database.transaction() as session:
        township = only_township(session)
        rosters.set_rule(session, township, MonthDays(20), date(2026, 3, 1), "", leader,
                         office.clock())  # fmt: skip
    now = office.clock.now = datetime(2026, 4, 2, 2, tzinfo=UTC)
    village.sync()
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        shown = statements.statement_of(session, township, "2026-03", now)
        seen = statements.hashlib.sha256(statements.encode(shown)).hexdigest()
        mine = next(p for p in shown.people if p.official == "zhang-3")
        assert (mine.paid_days, mine.fen, mine.village_days, mine.minimum) == (1, 3500, 1, 20)
        assert [(d.day, d.why) for d in mine.days if d.fen] == [("2026-03-18", "paid")]
        assert sum(mine.verdicts.values()) >= len(mine.days)
        for wrong, error in ((clerk, NotAllowed), (people["inspector"], NotAllowed)):
            with pytest.raises(error):
                statements.sign(session, township, "2026-03", wrong, now, seen)
        with pytest.raises(InputInvalid, match=r"变化|changed"):
            statements.sign(session, township, "2026-03", leader, now, "0" * 64)
        with pytest.raises(InputInvalid, match=r"结束|over"):
            statements.sign(session, township, "2026-04", leader, now, seen)
        statements.sign(session, township, "2026-03", leader, now, seen)
        with pytest.raises(InputInvalid, match=r"签字|signed"):
            statements.sign(session, township, "2026-03", leader, now, seen)
        draft = Draft("zhang-3", TODAY, "void", "误刷", record_id=record)
        made = corrections.propose(session, township, draft, clerk, now)
        corrections.decide(session, made.id, True, "", leader, now)
        frozen = statements.signed_statement(session, township, "2026-03")
        assert frozen == shown, "what was signed stays"
        april = statements.statement_of(session, township, "2026-04", now)
        assert [(c.official, c.day, c.was_fen, c.is_fen) for c in april.changes] == [
            ("zhang-3", "2026-03-18", 3500, 0)
        ]
        assert april.fen == april.fen_days - 3500
        later = office.clock.now = datetime(2026, 5, 3, 2, tzinfo=UTC)
        april = statements.statement_of(session, township, "2026-04", later)
        seen = statements.hashlib.sha256(statements.encode(april)).hexdigest()
        statements.sign(session, township, "2026-04", leader, later, seen)
        assert statements.statement_of(session, township, "2026-05", later).changes == []


def test_months_are_signed_in_their_order(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    come(office, village)
    leader = people["leader"]
    now = office.clock.now = datetime(2026, 5, 3, 2, tzinfo=UTC)
    village.sync()
    with office.context.database.session(write=True) as session:
        township = only_township(session)

        def sign(month: str) -> None:
            shown = statements.statement_of(session, township, month, now)
            seen = statements.hashlib.sha256(statements.encode(shown)).hexdigest()
            statements.sign(session, township, month, leader, now, seen)

        with pytest.raises(InputInvalid) as refused:
            sign("2026-04")
        assert refused.value.key == "month_earlier", "nobody would be paid for March"
        sign("2026-03")
        sign("2026-04")


def test_a_week_is_held_to_no_month_s_minimum(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    come(office, village)
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        rosters.set_rule(session, township, MonthDays(20), date(2026, 3, 1), "",
                         people["leader"], office.clock())  # fmt: skip
        for days, wanted in ((days_between(TODAY - timedelta(2), TODAY + timedelta(4)), 0),
                             (month_days("2026-03"), 20)):  # fmt: skip
            made = grid(session, township, days, office.clock())
            assert row_of(made, "zhang-3").totals.minimum == wanted


def test_the_grid_adds_up_and_names_groups_with_too_few_people(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    office.clock.step(hours=1)  # the kiosk stood there from nine o'clock
    come(office, village)
    now, clerk = office.clock(), people["clerk"]
    with office.context.database.transaction() as session:
        township = only_township(session)
        group = days_of(session, township, [TODAY], now)[0].groups[0]
        rosters.set_group(session, township, group.id, "zhang-3", None, 2, ["杏树村"], clerk)
        hours = rosters.add_shift(
            session, township, "早班", 8 * 60, 16 * 60, clerk, now, late_min=90
        )
        usual = UsualShifts(village=hours.id)
        rosters.set_rule(session, township, usual, TODAY, "", people["leader"], now)
        rosters.set_rule(session, township, Allowance(late_counts=False), TODAY, "",
                         people["leader"], now)  # fmt: skip
    next_day(office, village)
    with office.context.database.session() as session:
        township = only_township(session)
        days = [TODAY - timedelta(1), TODAY, TODAY + timedelta(1)]
        made = grid(session, township, days, office.clock())
        assert made.short == {TODAY: {group.name: 1}}
        for row in made.rows:
            assert sum(row.totals.verdicts.values()) == sum(d is not None for d in row.days)
        verdicts = [d.judged.verdict for d in row_of(made, "zhang-3").days if d]
        assert verdicts == ["not_expected", "came", "not_yet"], "entered after the hours had begun"
    with office.context.database.transaction() as session:
        township = only_township(session)
        for person in session.query(Official).filter_by(official="zhang-3"):
            person.created_ms = day_start_ms(TODAY)
        touch_roster(session, township.id)
    with office.context.database.session() as session:
        township = only_township(session)
        made = grid(session, township, days, office.clock())
        verdicts = [d.judged.verdict for d in row_of(made, "zhang-3").days if d]
        assert verdicts == ["not_expected", "late", "not_yet"]
        statement = statements.statement_of(session, township, "2026-03", office.clock())
        line = next(p for p in statement.people if p.official == "zhang-3").days[0]
        assert (line.why, line.fen) == ("too_late", 0)

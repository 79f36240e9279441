"""What changes after a month was signed stands in the next statement, whatever the month's age."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from attendance.days import day_start_ms, from_ms, to_ms
from attendance.statuses import Status
from server.models import MonthSignature, User
from server.rules.calendar import month_days
from server.rules.terms import Allowance, UsualShifts
from server.services.evidence import checkpoints
from server.services.evidence.prune import prune
from server.services.rulings import changes, corrections, lookback, statements
from server.services.rulings.corrections import Draft
from server.services.sheets.days import days_of
from server.services.township import leave, rosters
from server.services.township.townships import only_township
from server.web.picks import month_after

from .conftest import Kiosk, Machine, Office
from .desk_people import NINE, TODAY, at, come

MARCH, APRIL = "2026-03", "2026-04"
Told = list[tuple[str, str, int, int]]


class Desk:
    """A leader who signs, and what the statements say."""

    def __init__(self, office: Office, village: Kiosk, people: dict[str, User]) -> None:
        self.office, self.village, self.people = office, village, people

    @contextmanager
    def open(self) -> Iterator[tuple[Session, Any]]:
        with self.office.context.database.transaction() as session:
            yield session, only_township(session)

    def come(self, month: str, sync: bool = True) -> None:
        """The second day after a month; the kiosk reports, where it can."""
        self.office.clock.now = at(month_days(month_after(month, 1))[1], 10)
        if sync:
            self.village.sync()

    def sign(self, month: str, version: int = changes.LOOKED) -> None:
        """Signs it as it stands; of an older version, without what it changed."""
        with self.open() as (session, township):
            now, leader = self.office.clock(), self.people["leader"]
            made = statements.statement_of(session, township, month, now)
            seen = hashlib.sha256(statements.encode(made)).hexdigest()
            if version == changes.LOOKED:
                statements.sign(session, township, month, leader, now, seen)
                return
            made = structs.replace(made, v=version, changes=[])
            body = statements.encode(made)
            session.add(MonthSignature(
                township_id=township.id, month=month, statement=body, people=len(made.people),
                sha256=hashlib.sha256(body).hexdigest(), days=made.days, fen=made.fen, by="leader",
                at_ms=to_ms(now),
            ))  # fmt: skip

    def says(self, month: str) -> Told:
        """The changes in the statement of a month."""
        with self.office.context.database.session() as session:
            township, now = only_township(session), self.office.clock()
            made = statements.statement_of(session, township, month, now)
            assert made.fen == made.fen_days + sum(c.is_fen - c.was_fen for c in made.changes)
            return [(c.official, c.day, c.was_fen, c.is_fen) for c in made.changes]

    def correct(self, draft: Draft) -> None:
        with self.open() as (session, township):
            now, people = self.office.clock(), self.people
            made = corrections.propose(session, township, draft, people["clerk"], now)
            corrections.decide(session, made.id, True, "", people["leader"], now)

    def approve(self, code: str, first: datetime, days: int) -> None:
        with self.open() as (session, township):
            now, until = self.office.clock(), first + timedelta(days)
            clerk, leader = self.people["clerk"], self.people["leader"]
            made = leave.ask(session, township, code, Status.ON_LEAVE, first, until, "", clerk, now)
            leave.decide(session, made.id, True, leader, now)


@pytest.fixture
def desk_of(office: Office, village: Kiosk, people: dict[str, User]) -> Desk:
    return Desk(office, village, people)


def test_a_correction_of_any_age_stands_in_the_next_statement_and_in_no_other(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    record, month = come(office, village), MARCH
    for _ in range(15):
        desk_of.come(month)
        assert desk_of.says(month) == []
        desk_of.sign(month)
        month = month_after(month, 1)
    assert month == "2027-06"
    village.sync()
    desk_of.correct(Draft("zhang-3", TODAY, "void", "误刷", record_id=record))
    gone: Told = [("zhang-3", "2026-03-18", 3500, 0)]
    assert desk_of.says(month) == gone
    desk_of.come(month)
    assert desk_of.says(month) == gone, "however long nobody signs"
    desk_of.sign(month)
    month = month_after(month, 1)
    assert desk_of.says(month) == []
    with office.context.database.session() as session:
        voided = session.scalars(select(corrections.Correction.id)).one()
    desk_of.correct(Draft("zhang-3", TODAY, "undo", "没有误刷", undoes=voided))
    assert desk_of.says(month) == [("zhang-3", "2026-03-18", 0, 3500)]


def test_what_older_statements_left_out_is_made_up_for(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    record = come(office, village)
    desk_of.come(MARCH)
    desk_of.sign(MARCH, version=1)
    office.clock.step(days=5)
    desk_of.correct(Draft("zhang-3", TODAY, "void", "误刷", record_id=record))
    for month in (APRIL, "2026-05"):
        desk_of.come(month)
        desk_of.sign(month, version=1)
    gone: Told = [("zhang-3", "2026-03-18", 3500, 0)]
    assert desk_of.says("2026-06") == gone
    desk_of.come("2026-06")
    desk_of.sign("2026-06")
    assert desk_of.says("2026-07") == []


def test_records_that_come_after_the_signature_are_paid_with_the_next_month(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    village.cursor()
    for code in ("zhang-3", "wang-5"):  # one of them is expected nowhere
        village.record(code)
    desk_of.come(MARCH, sync=False)
    desk_of.sign(MARCH)
    assert desk_of.says(APRIL) == []
    village.sync()
    late: Told = [(code, "2026-03-18", 0, 3500) for code in ("wang-5", "zhang-3")]
    assert desk_of.says(APRIL) == late
    desk_of.come(APRIL)
    desk_of.sign(APRIL)
    assert desk_of.says("2026-05") == []


def test_a_night_that_was_signed_on_its_morning_is_paid_with_the_next_month(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    last = date(2026, 3, 31)
    with desk_of.open() as (session, township):
        clerk, now = desk_of.people["clerk"], office.clock()
        night = rosters.add_shift(session, township, "夜班", 20 * 60, 8 * 60, clerk, now)
        rosters.set_day(session, township, "zhang-3", last, "at", clerk, now, "杏树村", night.id)
    office.clock.now = at(date(2026, 4, 1), 0.5)
    village.cursor()
    village.record("zhang-3")
    office.clock.now = at(date(2026, 4, 1), 9)
    desk_of.sign(MARCH)
    assert desk_of.says(APRIL) == []
    office.clock.now = at(date(2026, 4, 1), 10)
    village.sync()
    assert desk_of.says(APRIL) == [("zhang-3", "2026-03-31", 0, 3500)]


def test_leave_that_is_decided_after_the_signature_counts(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    come(office, village)
    first = from_ms(day_start_ms(TODAY))
    desk_of.come(MARCH)
    desk_of.sign(MARCH)
    desk_of.approve("zhang-3", first, 1)
    assert desk_of.says(APRIL) == [("zhang-3", "2026-03-18", 3500, 0)]
    with desk_of.open() as (session, township):
        (one,) = leave.listing(session, township)
        leave.step(session, one.id, "withdrawn", "", desk_of.people["second"], office.clock())
    assert desk_of.says(APRIL) == []


def test_leave_that_adjoins_what_is_decided_later_changes_with_it(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    come(office, village)  # on Wednesday, 18 March
    with desk_of.open() as (session, township):
        clerk, now = desk_of.people["clerk"], office.clock()
        monday = from_ms(day_start_ms(date(2026, 3, 9)))
        before = leave.ask(session, township, "zhang-3", Status.ON_LEAVE, monday,
                           monday + timedelta(5), "", clerk, now).id  # fmt: skip
    desk_of.approve("zhang-3", from_ms(day_start_ms(date(2026, 3, 16))), 3)
    desk_of.come(MARCH)
    with desk_of.open() as (session, township):
        made = statements.statement_of(session, township, MARCH, office.clock())
        assert made.fen == 3500, "eight days together wait for the county"
    desk_of.sign(MARCH)
    office.clock.step(days=9)
    with desk_of.open() as (session, township):
        leave.step(session, before, "withdrawn", "", desk_of.people["clerk"], office.clock())
    assert desk_of.says(APRIL) == [("zhang-3", "2026-03-18", 3500, 0)]


def test_a_rule_that_begins_in_a_signed_month_changes_its_days(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    come(office, village)
    desk_of.come(MARCH)
    desk_of.sign(MARCH)
    with desk_of.open() as (session, township):
        dearer, leader = Allowance(fen=4000), desk_of.people["leader"]
        rosters.set_rule(session, township, dearer, TODAY, "", leader, office.clock())
    assert desk_of.says(APRIL) == [("zhang-3", "2026-03-18", 3500, 4000)]


def test_perhaps_late_is_late_once_the_other_site_has_reported(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    other = office.kiosk("柳林村", "village")
    with desk_of.open() as (session, township):
        clerk, leader, now = desk_of.people["clerk"], desk_of.people["leader"], office.clock()
        hours = rosters.add_shift(session, township, "早班", 8 * 60, 16 * 60, clerk, now)
        first = date(2026, 3, 1)
        for rule in (UsualShifts(village=hours.id), Allowance(late_counts=False)):
            rosters.set_rule(session, township, rule, first, "", leader, now)
        rosters.set_pattern(session, township, "wang-5", "杏树村", 127, None, TODAY, clerk, now)
        rosters.set_pattern(session, township, "wang-5", "柳林村", 127, None, TODAY, clerk, now)
    other.cursor()
    office.clock.now = at(TODAY + timedelta(1), 9)
    village.cursor()
    village.record("wang-5")
    village.sync()
    other.record("li-4")
    desk_of.come(MARCH)
    with desk_of.open() as (session, township):
        made = statements.statement_of(session, township, MARCH, office.clock())
        assert (made.fen, made.days) == (3500, 1), "the other site has not reported"
    desk_of.sign(MARCH)
    other.sync()
    assert ("wang-5", "2026-03-19", 3500, 0) in desk_of.says(APRIL)


def test_a_clock_that_was_ahead_at_a_signature_hides_nothing(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    record = come(office, village)
    true = office.clock.now
    desk_of.come("2026-12", sync=False)
    desk_of.sign(MARCH)
    office.clock.now = true + timedelta(30)
    desk_of.correct(Draft("zhang-3", TODAY, "void", "误刷", record_id=record))
    assert desk_of.says(APRIL) == [("zhang-3", "2026-03-18", 3500, 0)]


def test_what_is_corrected_of_days_whose_records_went_is_named_once(
    office: Office, desk: Machine, village: Kiosk, desk_of: Desk
) -> None:
    come(office, village)
    desk_of.come(MARCH)
    desk_of.sign(MARCH)
    keys = office.context.keys
    with desk_of.open() as (session, _):
        checkpoints.make_all(session, keys.sign_seed, office.clock())
    office.clock.now = at(date(2027, 8, 1), 10)
    village.reboot()
    village.record()
    village.sync()
    with desk_of.open() as (session, _):
        checkpoints.make_all(session, keys.sign_seed, office.clock())
    assert prune(office.context.database, keys, office.clock(), 400).rows
    desk_of.correct(Draft("li-4", TODAY, "presence", "停电", site="杏树村", start_ms=NINE))
    assert desk_of.says("2027-07") == [], "nobody can work that day out any more"
    with desk_of.open() as (session, township):
        made = statements.statement_of(session, township, "2027-07", office.clock())
        assert [(g.official, g.name, g.day) for g in made.gone] == [("li-4", "李四", "2026-03-18")]
        number = made.gone[0].correction
    client = office.client()
    page = "/allowance?month=2027-07"
    token = client.get("/login").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    client.post("/login", data={"name": "clerk", "password": "correct horse battery",
                                "csrf_token": token})  # fmt: skip
    assert "这些更正批准时，当天的记录已按期清除" in client.get(page).text
    assert f"№ {number} · 李四" in client.get(page).text
    office.clock.step(minutes=1)
    desk_of.sign("2027-07")
    with desk_of.open() as (session, township):
        again = statements.statement_of(session, township, "2027-08", office.clock())
        assert again.gone == []
        assert statements.signed_statement(session, township, "2027-07").gone == made.gone


def test_days_looked_at_alone_are_worth_what_the_statement_says(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    come(office, village)
    for day in range(20, 28):
        office.clock.now = at(date(2026, 3, day), 9)
        for code in ("zhang-3", "li-4", "wang-5")[day % 3 :]:
            village.record(code)
        village.sync()
    desk_of.approve("li-4", at(date(2026, 3, 21), 0), 2)
    now = office.clock()
    with office.context.database.session() as session:
        township = only_township(session)
        roster, judged = days_of(session, township, month_days(MARCH), now)
        rate = Allowance()
        whole = {
            (code, day.day): line.fen
            for day in judged
            for code, one in day.people.items()
            if (line := lookback.line_of(roster, day.day, one, rate)) is not None and line.fen
        }
        everybody = {day: set(roster.by_code) for day in month_days(MARCH)}
        assert lookback.worth(session, township, roster, everybody, now) == whole
        assert len(whole) > 10
        one = {TODAY: {"zhang-3"}, date(2026, 3, 24): {"li-4", "nobody"}}
        assert lookback.worth(session, township, roster, one, now) == {
            (code, day): whole[code, day]
            for day, codes in one.items() for code in codes if (code, day) in whole
        }  # fmt: skip


def test_months_of_which_nothing_was_decided_are_not_looked_at(
    office: Office, village: Kiosk, desk_of: Desk
) -> None:
    record, seen = come(office, village), []
    database = office.context.database

    def note(connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append(statement)
        if office.config.is_sqlite and "received_ms >=" in statement:
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values)
            assert "PRIMARY KEY (rowid>?)" in str(plan.fetchall())

    def asked(month: str) -> int:
        with database.session() as session:
            place, now = only_township(session), office.clock()
            statements.statement_of(session, place, month, now)
            seen.clear()
            event.listen(database.engine, "before_cursor_execute", note)
            try:
                statements.statement_of(session, place, month, now)
            finally:
                event.remove(database.engine, "before_cursor_execute", note)
            return len(seen)

    counts, month = [], MARCH
    for _ in range(4):
        desk_of.come(month)
        desk_of.sign(month)
        month = month_after(month, 1)
        office.clock.step(days=5)
        counts.append(asked(month))
    assert len(set(counts)) == 1
    assert sum("received_ms >=" in statement for statement in seen) == 1
    desk_of.correct(Draft("zhang-3", TODAY, "void", "误刷", record_id=record))
    assert asked(month) > counts[0]

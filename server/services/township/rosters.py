"""Shifts, patterns, dated exceptions, work groups, the holiday table and the township's rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import (
    CalendarDay,
    Expectation,
    GroupSite,
    Official,
    PastExpectation,
    RosterDay,
    Shift,
    Site,
    Township,
    TownshipRule,
    User,
    WorkGroup,
)
from server.rules import terms
from server.rules.terms import TermValue
from server.services.access.permissions import Act, not_own, require
from server.services.township.townships import clean, touch_roster

#: The longest shift, minutes: a day and a night.
MAX_SHIFT = 36 * 60
ALL_DAYS = 0b1111111


def add_shift(
    session: Session,
    township: Township,
    name: str,
    start_min: int,
    end_min: int,
    by: User,
    now: datetime,
    late_min: int = 0,
    early_min: int = 0,
    visits: int = 1,
) -> Shift:
    """A new shift; `end_min` not above `start_min` ends on the next day.

    Raises NotAllowed, InputInvalid.
    """
    require(by, Act.EDIT_ROSTER, township)
    if end_min <= start_min:
        end_min += 1440
    good = (
        0 <= start_min < 1440
        and end_min - start_min <= MAX_SHIFT
        and 0 <= late_min <= 240
        and 0 <= early_min <= 240
        and late_min + early_min < end_min - start_min
        and 1 <= visits <= 10
    )
    name = clean(name, 60)
    if not good or not name:
        raise InputInvalid("shift", say("班次的时间不合理", "these hours make no shift"), "start")
    row = Shift(
        township_id=township.id, name=name, start_min=start_min, end_min=end_min,
        late_min=late_min, early_min=early_min, visits=visits, by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def set_pattern(
    session: Session,
    township: Township,
    official: str,
    site: str,
    weekdays: int,
    shift_id: int | None,
    first: date,
    by: User,
    now: datetime,
) -> Expectation | None:
    """From `first` on the official is expected at the site so; weekdays 0 ends the pattern.

    What held before goes on saying who was expected until then. Raises NotAllowed, NotFound and
    InputInvalid, the last for a day that is over: sheets of past days rest on what was the roster.
    """
    require(by, Act.EDIT_ROSTER, township)
    not_own(by, official)
    if first < day_of(to_ms(now)):
        raise InputInvalid(
            "past", say("排班只能从今天或以后起改变", "a pattern changes from today on"), "first"
        )
    if not 0 <= weekdays <= ALL_DAYS:
        raise InputInvalid("weekdays", say("请选择星期", "choose days of the week"), "weekdays")
    person, place = official_of(session, township, official), site_named(session, township, site)
    if shift_id is not None:
        shift_of(session, township, shift_id)
    held = session.scalar(
        select(Expectation).where(
            Expectation.official_id == person.id, Expectation.site_id == place.id
        )
    )
    if held is not None:
        end_pattern(session, held, first, by.name, now)
    if not weekdays:
        return None
    row = Expectation(
        township_id=township.id, official_id=person.id, site_id=place.id, weekdays=weekdays,
        shift_id=shift_id, first_day=first.isoformat(),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def end_pattern(session: Session, held: Expectation, first: date, by: str, now: datetime) -> None:
    """Ends a pattern: `first` is the first day on which it no longer holds."""
    last = first - timedelta(1)
    if held.first_day is None or held.first_day <= last.isoformat():
        session.add(
            PastExpectation(
                township_id=held.township_id, official_id=held.official_id, site_id=held.site_id,
                weekdays=held.weekdays, shift_id=held.shift_id, first_day=held.first_day,
                last_day=last.isoformat(), by=by, at_ms=to_ms(now),
            )
        )  # fmt: skip
    session.delete(held)
    session.flush()


def expect_at(
    session: Session,
    person: Official,
    wanted: set[int],
    held: dict[int, Expectation],
    by: str,
    now: datetime,
) -> None:
    """Lets somebody be expected at the sites `wanted` (ids) and no other, on working days.

    `held` are their patterns by site. Patterns begin and end today, so that past days keep the
    roster that they had.
    """
    today = day_of(to_ms(now))
    for site_id in set(held) - wanted:
        end_pattern(session, held.pop(site_id), today, by, now)
    fresh = day_of(person.created_ms) >= today
    for site_id in sorted(wanted - set(held)):
        held[site_id] = Expectation(
            township_id=person.township_id,
            official_id=person.id,
            site_id=site_id,
            first_day=None if fresh else today.isoformat(),
        )
        session.add(held[site_id])


def set_day(
    session: Session,
    township: Township,
    official: str,
    day: date,
    what: str,
    by: User,
    now: datetime,
    site: str = "",
    shift_id: int | None = None,
    reason: str = "",
    batch_id: int | None = None,
) -> RosterDay:
    """One official's exception for one day: `at` a site, `off`, or `pattern` to take one back.

    Raises NotAllowed, NotFound, and InputInvalid, also for a day that is over: an absence is not
    undone by one person who changes whom one expected.
    """
    require(by, Act.EDIT_ROSTER, township)
    not_own(by, official)
    _not_over(day, now)
    if what not in ("at", "off", "pattern"):
        raise InputInvalid("what", say("请选择安排", "choose what is to hold"), "what")
    person = official_of(session, township, official)
    place = site_named(session, township, site) if what == "at" else None
    if shift_id is not None:
        shift_of(session, township, shift_id)
    row = RosterDay(
        township_id=township.id, official_id=person.id, day=day.isoformat(), what=what,
        site_id=None if place is None else place.id, shift_id=shift_id, reason=clean(reason, 200),
        batch_id=batch_id, by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _not_over(day: date, now: datetime) -> None:
    if day < day_of(to_ms(now)):
        raise InputInvalid(
            "over",
            say(
                "过去的日子保留当时的安排：请补办请假出差，或提出更正",
                "past days keep what was the roster: enter leave or a trip, or propose a "
                "correction",
            ),
            "day",
        )


def set_calendar(
    session: Session,
    township: Township,
    day: date,
    working: bool | None,
    name: str,
    by: User,
    now: datetime,
) -> CalendarDay:
    """Enters a holiday or a make-up working day; None takes an entry back.

    Raises NotAllowed, and InputInvalid for a day that is over.
    """
    require(by, Act.EDIT_ROSTER, township)
    _not_over(day, now)
    row = CalendarDay(
        township_id=township.id, day=day.isoformat(), working=working, name=clean(name, 60),
        by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def set_rule(
    session: Session,
    township: Township,
    value: TermValue,
    first: date,
    note: str,
    by: User,
    now: datetime,
) -> TownshipRule:
    """Appends a rule in force from `first` on. Raises NotAllowed, NotFound, InputInvalid."""
    require(by, Act.EDIT_TERMS, township)
    check_rule(session, township, value)
    row = TownshipRule(
        township_id=township.id, kind=terms.word_of(type(value)), first_day=first.isoformat(),
        value=terms.write(value), note=clean(note, 200), by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def check_rule(session: Session, township: Township, value: TermValue) -> None:
    """Raises NotFound or InputInvalid for numbers out of range and shifts that are not there."""
    if isinstance(value, terms.UsualShifts):
        for number in (value.office, value.village):
            if number is not None:
                shift_of(session, township, number)
    if isinstance(value, terms.Allowance):
        good = 0 <= value.fen <= 1_000_000 and 0 <= value.min_minutes <= 1440
    elif isinstance(value, terms.MonthDays):
        good = 0 <= value.days <= 31
    elif isinstance(value, terms.LeaveTerms):
        good = 0 <= value.township_days <= 366
    else:
        good = True
    if not good:
        raise InputInvalid("rule", say("数值超出范围", "a number is out of range"), "value")


def set_group(
    session: Session,
    township: Township,
    group_id: int,
    leader: str | None,
    deputy: str | None,
    at_least: int,
    sites: Iterable[str],
    by: User,
) -> WorkGroup:
    """Who leads a work group, which sites it answers for, and how many must be there every day.

    Raises NotAllowed, NotFound, InputInvalid.
    """
    require(by, Act.EDIT_ROSTER, township)
    group = group_of(session, township, group_id)
    if not 0 <= at_least <= 1000:
        raise InputInvalid("at_least", say("人数超出范围", "that many are too many"), "at_least")
    for code in (leader, deputy):
        if code is not None:
            official_of(session, township, code)
    places = [site_named(session, township, name) for name in sites]
    group.leader, group.deputy, group.at_least = leader, deputy, at_least
    session.execute(
        delete(GroupSite)
        .where(GroupSite.work_group_id == group.id)
        .execution_options(synchronize_session=False)
    )
    session.add_all(
        GroupSite(township_id=township.id, work_group_id=group.id, site_id=place.id)
        for place in {place.id: place for place in places}.values()
    )
    touch_roster(session, township.id)
    session.flush()
    return group


def shifts(session: Session, township: Township) -> list[Shift]:
    """Every shift, oldest first."""
    return list(
        session.scalars(select(Shift).where(Shift.township_id == township.id).order_by(Shift.id))
    )


def exceptions(session: Session, township: Township, first: date, last: date) -> list[RosterDay]:
    """The dated exceptions that count from `first` to `last`, by day; taken back ones left out."""
    latest: dict[tuple[str, int], RosterDay] = {}
    for row in session.scalars(
        select(RosterDay)
        .where(
            RosterDay.township_id == township.id,
            RosterDay.day.between(first.isoformat(), last.isoformat()),
        )
        .order_by(RosterDay.id)
    ):
        latest[row.day, row.official_id] = row
    return [row for _, row in sorted(latest.items()) if row.what != "pattern"]


def calendar_entries(session: Session, township: Township) -> list[CalendarDay]:
    """The latest entry of every day that the clerk entered, by day; those taken back left out."""
    latest: dict[str, CalendarDay] = {}
    for row in session.scalars(
        select(CalendarDay).where(CalendarDay.township_id == township.id).order_by(CalendarDay.id)
    ):
        latest[row.day] = row
    return [row for _, row in sorted(latest.items()) if row.working is not None]


def rule_entries(session: Session, township: Township) -> list[TownshipRule]:
    """Every rule ever entered, newest first."""
    return list(
        session.scalars(
            select(TownshipRule)
            .where(TownshipRule.township_id == township.id)
            .order_by(TownshipRule.id.desc())
        )
    )


def official_of(session: Session, township: Township, code: str) -> Official:
    """The official with that code. Raises NotFound."""
    found = session.scalar(
        select(Official).where(Official.township_id == township.id, Official.official == code)
    )
    if found is None:
        raise NotFound(say(f"名册中没有编号 {code}", f"the roster has no official {code}"))
    return found


def group_of(session: Session, township: Township, group_id: int) -> WorkGroup:
    """The work group with that id. Raises NotFound."""
    found = session.scalar(
        select(WorkGroup).where(WorkGroup.id == group_id, WorkGroup.township_id == township.id)
    )
    if found is None:
        raise NotFound(say("没有这个工作组", "there is no such work group"))
    return found


def site_named(session: Session, township: Township, name: str) -> Site:
    """The site of that name. Raises NotFound."""
    found = session.scalar(select(Site).where(Site.township_id == township.id, Site.name == name))
    if found is None:
        raise NotFound(say(f"没有站点 {name}", f"there is no site {name}"))
    return found


def shift_of(session: Session, township: Township, shift_id: int) -> Shift:
    """The shift with that id. Raises NotFound."""
    found = session.scalar(
        select(Shift).where(Shift.township_id == township.id, Shift.id == shift_id)
    )
    if found is None:
        raise NotFound(say("没有这个班次", "there is no such shift"))
    return found

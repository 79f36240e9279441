"""Who is expected where, and which day a moment belongs to."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attendance.days import DAY_MS
from server.rules.calendar import MONDAY_TO_FRIDAY, Calendar, month_days
from server.rules.roster import (
    Dated,
    Expected,
    Hours,
    Pattern,
    day_reaches,
    expected_on,
    uncovered,
)
from server.rules.terms import Allowance, LeaveTerms, MonthDays, Term, in_force, read, write
from server.rules.visits import visits_of

from .made_up import DAY, HOUR, MIDNIGHT, MORNING, NIGHT, OFFICE, VILLAGE, after, fact, histories

WORKING = Pattern(VILLAGE, MONDAY_TO_FRIDAY, MORNING)


@pytest.mark.parametrize("day", ["01-04", "02-14", "02-28", "05-09", "09-20", "10-10"])
def test_make_up_working_days_of_2026_are_worked(day: str) -> None:
    found = date.fromisoformat(f"2026-{day}")
    assert found.weekday() >= 5
    assert Calendar().is_working(found)
    assert expected_on([WORKING], {}, Calendar(), {}, found)


def test_the_clerks_table_stands_over_the_notices() -> None:
    fair, sunday = date(2026, 11, 18), date(2026, 11, 22)
    calendar = Calendar({fair: False, sunday: True})
    assert not expected_on([WORKING], {}, calendar, {}, fair)
    assert expected_on([WORKING], {}, calendar, {}, sunday)
    assert calendar.known(date(2026, 1, 1))
    assert not Calendar().known(date(2100, 1, 1))
    new_year = {date(2100, 1, day): False for day in range(1, 12)}
    assert Calendar(new_year).known(date(2100, 5, 5))
    new_year.popitem()
    assert not Calendar(new_year).known(date(2100, 5, 5)), "a few local days are no notice"
    saturdays = Pattern(VILLAGE, 1 << 5)
    assert not expected_on([saturdays], {}, Calendar({date(2026, 11, 21): False}), {},
                           date(2026, 11, 21))  # fmt: skip


def test_a_dated_exception_stands_instead_of_the_pattern() -> None:
    off, there = Dated("off"), Dated("at", OFFICE)
    assert expected_on([WORKING], {DAY: off}, Calendar(), {}, DAY) == ()
    (found,) = expected_on([WORKING], {DAY: there}, Calendar(), {"office": NIGHT}, DAY)
    assert (found.place, found.hours) == (OFFICE, NIGHT)
    back = expected_on([WORKING], {DAY: Dated("pattern")}, Calendar(), {}, DAY)
    assert back == expected_on([WORKING], {}, Calendar(), {}, DAY)
    assert expected_on([WORKING], {after(3): there}, Calendar(), {}, after(3)), "a Saturday, too"


def test_a_pattern_that_ended_still_says_who_was_expected() -> None:
    old = Pattern(VILLAGE, MONDAY_TO_FRIDAY, last=DAY)
    new = Pattern(OFFICE, MONDAY_TO_FRIDAY, first=after(1))
    places = [
        [e.place for e in expected_on([old, new], {}, Calendar(), {}, after(n))] for n in (-1, 0, 1)
    ]
    assert places == [[VILLAGE], [VILLAGE], [OFFICE]]


hours = st.one_of(
    st.none(),
    st.builds(
        lambda start, length: Hours(1, "x", start, start + length),
        st.integers(0, 1439),
        st.integers(1, 1440),
    ),
)
shifts = st.lists(st.builds(Expected, st.just(VILLAGE), hours), max_size=2)


@given(st.lists(shifts, min_size=5, max_size=5), st.integers(0, 3 * DAY_MS - 1))
def test_every_moment_belongs_to_exactly_one_day(weeks, offset) -> None:  # type: ignore[no-untyped-def]
    moment = MIDNIGHT + offset
    reach = [day_reaches(weeks[n - 1], weeks[n], weeks[n + 1], after(n)) for n in (1, 2, 3)]
    assert all(start < end for start, end in reach)
    assert [reach[0][1], reach[1][1]] == [reach[1][0], reach[2][0]], "no hole and no overlap"
    if reach[0][0] <= moment < reach[2][1]:
        assert sum(start <= moment < end for start, end in reach) == 1


def test_a_night_belongs_to_the_day_that_it_began() -> None:
    night, day = [Expected(VILLAGE, NIGHT)], [Expected(VILLAGE, MORNING)]
    start, end = day_reaches([], night, day, DAY)
    assert start == MIDNIGHT
    # The night ends at 6:00, the next day begins at 8:30.
    assert end == MIDNIGHT + DAY_MS + 7 * HOUR + 15 * 60_000
    assert day_reaches([], night, [], DAY)[1] == MIDNIGHT + DAY_MS + 10 * HOUR


@given(histories())
def test_visits_hold_every_verified_record_of_presence_once(facts) -> None:  # type: ignore[no-untyped-def]
    visits = visits_of(facts)
    held = [r for v in visits for r in v.records]
    assert len(held) == len(set(held))
    wanted = {f.record_id for f in facts if f.verified and f.kind != "declare"}
    assert set(held) == wanted
    assert all(v.begins is not None or v.closed_by == "checkout" for v in visits)


def test_visits_by_moving_and_touching_twice() -> None:
    found = visits_of([
        fact(9 * HOUR, 1), fact(9 * HOUR + 5_000, 2), fact(11 * HOUR, 3, OFFICE),
        fact(12 * HOUR, 4, OFFICE, out=True), fact(13 * HOUR, 5),
    ])  # fmt: skip
    assert [(v.site, v.closed_by, v.minutes) for v in found] == [
        (VILLAGE.name, "moved", 120), (OFFICE.name, "checkout", 60), (VILLAGE.name, "", None)
    ]  # fmt: skip


def test_a_rule_is_in_force_from_its_day_and_the_last_entered_counts() -> None:
    terms = [
        Term(1, date(2026, 1, 1), Allowance(fen=3500)),
        Term(2, date(2026, 11, 1), Allowance(fen=4000)),
        Term(3, date(2026, 11, 1), Allowance(fen=4500)),
        Term(4, date(2026, 1, 1), MonthDays(days=20)),
    ]
    assert in_force(terms, Allowance, date(2025, 12, 31)).fen == 3500, "the usual"
    assert in_force(terms, Allowance, date(2026, 10, 31)).fen == 3500
    assert in_force(terms, Allowance, date(2026, 11, 1)).fen == 4500
    assert in_force(terms, MonthDays, DAY).days == 20
    assert in_force(terms, LeaveTerms, DAY).township_days == 3
    assert read("allowance", write(Allowance(fen=1))) == Allowance(fen=1)
    for kind, value in (("allowance", "{"), ("nothing", "{}"), ("leave", '{"x": 1}')):
        with pytest.raises(ValueError):  # noqa: PT011 (of the codec)
            read(kind, value)


def test_groups_with_too_few_people() -> None:
    sites = {"一组": frozenset({1}), "二组": frozenset({2}), "三组": frozenset()}
    found = uncovered({"一组": 1, "二组": 2, "三组": 0}, sites, {"一组": [1, 3], "二组": [2, 1]})
    assert found == {"二组": 1}


def test_the_dates_of_a_month() -> None:
    assert month_days("2026-12")[-1] == date(2026, 12, 31)
    assert len(month_days("2026-02")) == 28
    assert month_days("2026-11")[0] + timedelta(29) == month_days("2026-11")[-1]
    with pytest.raises(ValueError):  # noqa: PT011
        month_days("2026-13")

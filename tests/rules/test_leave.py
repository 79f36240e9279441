"""How long leave is together with what adjoins it."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from attendance.days import DAY_MS, MAX_MS, MIN_MS, day_of, day_start_ms
from server.rules import leave
from server.rules.calendar import Calendar

FIRST = date(2026, 9, 14)
CALENDAR = Calendar()
#: Leave by its first and last day, counted from FIRST; a National Day and weekends lie among them.
spans = st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda s: (s[0], s[0] + s[1]))


def ms(span: tuple[int, int]) -> tuple[int, int]:
    start = day_start_ms(FIRST)
    return start + span[0] * DAY_MS, start + (span[1] + 1) * DAY_MS


@given(spans, st.lists(spans, max_size=8), st.randoms())
def test_a_piece_is_all_that_no_working_day_parts(own, before, rng) -> None:  # type: ignore[no-untyped-def]
    rng.shuffle(before)
    found = leave.piece(CALENDAR, ms(own), [ms(one) for one in before])
    # The same, day by day: what is not worked joins what it lies between.
    on, mine = {n for one in (own, *before) for n in range(one[0], one[1] + 1)}, set()
    free = {n for n in range(60) if not CALENDAR.is_working(FIRST + timedelta(n))}
    grown = set(range(own[0], own[1] + 1))
    while grown:
        mine |= grown
        grown = {n + by for n in mine for by in (-1, 1)} & (on | free) - mine
    assert found == ms((min(mine & on), max(mine & on)))
    assert leave.piece(CALENDAR, ms(own), []) == ms(own)


@given(spans, st.integers(0, 30))
def test_a_reach_has_so_many_working_days_on_each_side(own, days) -> None:  # type: ignore[no-untyped-def]
    start, end = ms(own)
    first, last = leave.reach(CALENDAR, start, end, days)
    assert leave.working_days(CALENDAR, first, start) >= days or days == 0
    assert leave.working_days(CALENDAR, end, last) >= days or days == 0
    assert (start - first) // DAY_MS <= 2 * days + 20


def test_a_reach_ends_with_the_calendar() -> None:
    first, last = leave.reach(CALENDAR, MIN_MS, MAX_MS, 366)
    assert (day_of(first), day_of(last - 1)) == (day_of(MIN_MS), day_of(MAX_MS))


def test_the_countys_answer_stands_whoever_would_have_the_last_word_now() -> None:
    for who in (leave.TOWNSHIP, leave.COUNTY):
        assert leave.state(who, True, ["county_refused"]) == "refused"
        assert leave.state(who, True, ["county_refused", "county_approved"]) == "approved"
        assert leave.state(who, None, []) == "pending"
        assert leave.state(who, False, ["county_approved"]) == "refused"
        assert leave.state(who, True, ["county_approved", "withdrawn"]) == "withdrawn"
    assert leave.state(leave.TOWNSHIP, True, []) == "approved"
    assert leave.state(leave.COUNTY, True, []) == "county"

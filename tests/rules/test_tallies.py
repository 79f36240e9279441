"""What must hold of the charts' figures for any history."""

from __future__ import annotations

import random
from datetime import date, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attendance.clock import ClockClass, Estimate
from attendance.days import day_start_ms
from server.rules import tallies
from server.rules.tallies import Seen
from server.rules.verdict import HERE, VERDICTS
from server.rules.visits import Visit

SITES = {"机关": "office", "杏树村": "village", "石头村": "village"}
FIRST = date(2026, 11, 2)


@st.composite
def visits(draw: st.DrawFn, day: date) -> Visit:
    at = day_start_ms(day) + draw(st.integers(0, 1439)) * 60_000
    cls = draw(st.sampled_from(list(ClockClass)))
    site = draw(st.sampled_from(list(SITES)))
    return Visit(site, Estimate(at, at, at, cls), None, ("r",), "", cls)


@st.composite
def histories(draw: st.DrawFn) -> list[Seen]:
    made = []
    for _ in range(draw(st.integers(0, 8))):
        day = FIRST + timedelta(draw(st.integers(0, 20)))
        sites = tuple(draw(st.lists(st.sampled_from(list(SITES)), max_size=2, unique=True)))
        listed = tuple(draw(st.lists(visits(day), max_size=2)))
        made.append(Seen(day, sites, draw(st.sampled_from(VERDICTS)), listed))
    return made


#: A busy machine draws slowly; that says nothing of what is drawn.
SLOW = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@SLOW
@given(histories(), st.randoms(use_true_random=False))
def test_totals_add_up_and_order_does_not_matter(seen: list[Seen], rng: random.Random) -> None:
    weekly = tallies.by_site_and_week(seen)
    held = [tally for weeks in weekly.values() for tally in weeks.values()]
    assert sum(t.expected for t in held) == sum(len(one.sites) for one in seen)
    assert sum(t.came for t in held) == sum(len(o.sites) for o in seen if o.verdict in HERE)
    assert all(t.came + t.away + t.open <= t.expected for t in held)
    assert all(t.percent is None or 0 <= t.percent <= 100 for t in held)
    came = tallies.arrivals(seen, SITES)
    assert sum(sum(b.values()) for b in came.bins.values()) + came.doubtful == sum(
        bool(one.visits) for one in seen
    )
    assert all(0 <= n < 1440 // tallies.BIN for b in came.bins.values() for n in b)
    days = [FIRST + timedelta(n) for n in range(21)]
    covered = tallies.coverage(seen, SITES, days)
    mixed = list(seen)
    rng.shuffle(mixed)
    assert tallies.by_site_and_week(mixed) == weekly
    assert tallies.arrivals(mixed, SITES) == came
    assert tallies.coverage(mixed, SITES, days) == covered


@SLOW
@given(histories())
def test_a_village_is_covered_by_verified_records_of_a_clock_that_is_believed(
    seen: list[Seen],
) -> None:
    days = [FIRST + timedelta(n) for n in range(21)]
    for site, held in tallies.coverage(seen, SITES, days).items():
        for day, state in held.items():
            sure = any(
                v.site == site and v.begins is not None and v.begins.cls is not ClockClass.C
                for one in seen if one.day == day for v in one.visits
            )  # fmt: skip
            assert (state == "covered") is sure
            if state == "none":
                assert not any(one.day == day and site in one.sites for one in seen)


def test_the_first_arrival_counts_and_the_surest_state_of_a_village() -> None:
    def at(minute: int, site: str, cls: ClockClass = ClockClass.A) -> Visit:
        ms = day_start_ms(FIRST) + minute * 60_000
        return Visit(site, Estimate(ms, ms, ms, cls), None, ("r",), "", cls)

    early, late = at(8 * 60 + 20, "机关"), at(10 * 60, "杏树村")
    for listed in ((early, late), (late, early)):
        made = tallies.arrivals([Seen(FIRST, (), "came", listed)], SITES)
        assert (made.bins, made.doubtful) == ({"office": {(8 * 60 + 20) // tallies.BIN: 1}}, 0)
    doubted = at(8 * 60, "石头村", ClockClass.C)
    made = tallies.arrivals([Seen(FIRST, (), "came", (late, doubted))], SITES)
    assert (made.bins, made.doubtful) == ({}, 1), "the first is doubtful"

    absent, waiting = Seen(FIRST, ("杏树村",), "absent"), Seen(FIRST, ("杏树村",), "not_known")
    seen: dict[str, list[Seen]] = {"none": [], "empty": [absent], "open": [absent, waiting],
            "covered": [waiting, Seen(FIRST, (), "came", (late,)), absent]}  # fmt: skip
    for state, people in seen.items():
        for order in (people, people[::-1]):
            assert tallies.coverage(order, ["杏树村"], [FIRST]) == {"杏树村": {FIRST: state}}

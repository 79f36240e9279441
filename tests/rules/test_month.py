"""Months, allowances, leave, draws, findings, and where somebody was."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from attendance.clock import ClockClass
from attendance.days import DAY_MS
from attendance.statuses import Kind, Status
from attendance.whereabouts import Absence, whereabouts
from server.rules import allowance, draw, findings, leave
from server.rules.calendar import Calendar
from server.rules.month import DayMark, totals
from server.rules.terms import Allowance, LeaveTerms
from server.rules.verdict import HERE, VERDICTS
from server.rules.visits import visits_of
from server.rules.where import SURENESS, where_at

from .made_up import CODE, DAY, HOUR, MIDNIGHT, OFFICE, PLACES, VILLAGE, fact, histories

KINDS = {place.name: place.kind for place in PLACES}
marks = st.lists(
    st.builds(
        DayMark,
        st.sampled_from(VERDICTS),
        st.booleans(),
        st.frozensets(st.sampled_from(("office", "village"))),
        st.booleans(),
    ),
    max_size=31,
)


@given(marks, st.integers(0, 31))
def test_totals_add_up(days, minimum) -> None:  # type: ignore[no-untyped-def]
    found = totals(days, minimum)
    assert sum(found.verdicts.values()) == len(days)
    assert found.village_days <= found.here_days <= len(days)
    assert found.here_days == sum(found.verdicts.get(v, 0) for v in HERE)
    assert found.short_by == max(minimum - found.village_days, 0)
    assert found.expected_days == sum(day.expected for day in days)


@given(st.lists(histories(), max_size=5), st.sampled_from(VERDICTS), st.integers(0, 600))
def test_a_statement_is_the_sum_of_its_lines(days, verdict, minutes) -> None:  # type: ignore[no-untyped-def]
    terms = Allowance(min_minutes=minutes)
    lines = [allowance.day_line(DAY, verdict, visits_of(f), KINDS, terms) for f in days]
    assert all(line.fen in (0, terms.fen) for line in lines)
    assert all((line.fen > 0) == (line.why == allowance.PAID) for line in lines)
    assert allowance.total_fen(lines) == terms.fen * sum(line.why == "paid" for line in lines)
    if verdict not in HERE:
        assert allowance.total_fen(lines) == 0


@given(histories())
def test_nothing_is_paid_on_a_doubtful_clock_alone(facts) -> None:  # type: ignore[no-untyped-def]
    doubtful = [structs.replace(f, when=structs.replace(f.when, cls=ClockClass.C)) for f in facts]
    assert allowance.day_line(DAY, "came", visits_of(doubtful), KINDS, Allowance()).fen == 0


@given(histories())
def test_where_they_were_seen_next_is_no_proof_of_where_they_had_been(facts) -> None:  # type: ignore[no-untyped-def]
    """However sure the other records are: of the paid site's own one must be."""
    villages = {name for name, kind in KINDS.items() if kind == "village"}
    doubted = [
        structs.replace(f, when=structs.replace(f.when, cls=ClockClass.C))
        if f.site in villages else f
        for f in facts
    ]  # fmt: skip
    assert allowance.day_line(DAY, "came", visits_of(doubted), KINDS, Allowance()).fen == 0


def test_a_check_out_elsewhere_ends_no_stay_here() -> None:
    doubtful = fact(9 * HOUR, cls=ClockClass.C)
    out = fact(11 * HOUR, 2, site=OFFICE, out=True)
    there, office = visits_of([doubtful, out])
    assert (there.site, there.closed_by, there.doubtful) == (VILLAGE.name, "moved", True)
    assert (office.site, office.begins, office.doubtful) == (OFFICE.name, None, False)
    assert not visits_of([doubtful, fact(10 * HOUR, 3)])[0].doubtful, "seen there again, surely"


def test_why_a_day_earns_or_not() -> None:
    def why(verdict: str, *facts, **terms):  # type: ignore[no-untyped-def]
        line = allowance.day_line(DAY, verdict, visits_of(facts), KINDS, Allowance(**terms))
        return line.why, line.fen

    stay = (fact(9 * HOUR), fact(11 * HOUR, 2, out=True))
    assert why("came", *stay) == ("paid", 3500)
    assert why("late", *stay, fen=4000) == ("paid", 4000)
    assert why("late", *stay, late_counts=False) == ("too_late", 0)
    assert why("came", *stay, min_minutes=180) == ("too_short", 0)
    assert why("came", *stay, min_minutes=120) == ("paid", 3500)
    assert why("came", fact(9 * HOUR, site=OFFICE)) == ("other_site", 0)
    assert why("leave", *stay) == ("on_leave", 0)
    assert why("absent") == ("not_here", 0)
    assert why("not_known") == ("open", 0)


amounts = st.dictionaries(
    st.tuples(st.sampled_from(("a", "b")), st.dates(date(2026, 10, 1), date(2026, 10, 9))),
    st.sampled_from((0, 3500, 4000)),
)


@given(amounts, amounts)
def test_adjustments_make_up_exactly_the_difference(stated, present) -> None:  # type: ignore[no-untyped-def]
    changes = allowance.adjustments(stated, present)
    assert sum(c.fen for c in changes) == sum(present.values()) - sum(stated.values())
    settled = {**stated, **{(c.official, c.day): c.is_fen for c in changes}}
    assert allowance.adjustments(settled, present) == [], "said once, not every month"


def test_long_leave_is_the_countys() -> None:
    three, four = (MIDNIGHT, MIDNIGHT + 3 * DAY_MS), (MIDNIGHT, MIDNIGHT + 6 * DAY_MS)
    assert leave.working_days(Calendar(), *three) == 3  # Wednesday to Friday
    assert leave.working_days(Calendar(), *four) == 4  # the weekend does not count
    terms = LeaveTerms()
    assert leave.approver(terms, "on_leave", 3) == leave.TOWNSHIP
    assert leave.approver(terms, "on_leave", 4) == leave.COUNTY
    assert leave.approver(terms, "business_trip", 30) == leave.TOWNSHIP


def test_the_states_of_leave() -> None:
    assert leave.state(leave.TOWNSHIP, None, []) == "pending"
    assert leave.state(leave.TOWNSHIP, True, []) == "approved"
    assert leave.state(leave.TOWNSHIP, False, []) == "refused"
    assert leave.state(leave.COUNTY, True, []) == "county"
    assert leave.state(leave.COUNTY, True, ["county_approved"]) == "approved"
    assert leave.state(leave.COUNTY, True, ["county_approved", "county_refused"]) == "refused"
    assert leave.state(leave.COUNTY, None, ["county_approved"]) == "pending"
    assert leave.state(leave.COUNTY, True, ["county_approved", "withdrawn"]) == "withdrawn"


populations = st.dictionaries(
    st.sampled_from("甲乙丙丁戊"),
    st.lists(st.text("abc123", min_size=1, max_size=3), max_size=6, unique=True),
)


@given(populations, st.text("0123456789abcdef", min_size=1, max_size=8),
       st.integers(0, 6), st.integers(0, 6), st.randoms())  # fmt: skip
def test_a_draw_can_be_made_again(population, seed, sites, people, rng) -> None:  # type: ignore[no-untyped-def]
    ballot = draw.Ballot(sites, people, population)
    drawn = draw.draw(seed, ballot)
    shuffled = {site: rng.sample(codes, len(codes)) for site, codes in population.items()}
    again = draw.draw(seed, replace(ballot, population=dict(sorted(shuffled.items()))))
    assert drawn == again, "the order of the population does not matter"
    assert len(drawn.sites) == min(sites, sum(bool(c) for c in population.values()))
    for site, codes in drawn.people.items():
        assert set(codes) <= set(population[site])
        assert len(codes) == min(people, len(population[site]))
    assert draw.drawn_from(draw.to_json(drawn)) == drawn
    assert draw.ballot_from(draw.to_json(ballot)) == ballot


def test_every_candidate_is_drawn_as_often_as_any_other() -> None:
    names = [f"p{n}" for n in range(10)]
    counts = dict.fromkeys(names, 0)
    for seed in range(2_000):
        for name in draw.lowest(str(seed), "person", names, 3):
            counts[name] += 1
    # 600 expected each, standard deviation 20.5: five of those to either side.
    assert all(497 < n < 703 for n in counts.values()), counts


@given(st.lists(st.sampled_from(("note", "answered", "closed", "reopened"))))
def test_a_finding_is_always_in_a_state_from_which_it_can_go_on(events) -> None:  # type: ignore[no-untyped-def]
    now = findings.state(events)
    assert now in findings.STATES
    assert findings.NEXT[now]
    assert findings.state(["closed", "reopened"]) == "open"
    assert not findings.may_follow("closed", "answered")


@given(histories(), st.integers(0, DAY_MS - 1), st.booleans())
def test_where_somebody_was_rests_on_what_was_known_then(facts, offset, complete) -> None:  # type: ignore[no-untyped-def]
    at = MIDNIGHT + offset
    found = where_at(CODE, facts, [], at, complete)
    assert found.sure in SURENESS
    assert found.where == whereabouts(CODE, [f for f in facts if f.when.at_ms <= at], [], at)
    if not complete:
        assert found.sure in ("open", "doubtful")
    if found.sure == "sure":
        assert found.where.cls is not ClockClass.C
        assert found.where.basis != "nothing"


def test_how_sure_where_somebody_was_is() -> None:
    def sure(*facts, at: int, complete: bool = True):  # type: ignore[no-untyped-def]
        answer = where_at(CODE, facts, [], MIDNIGHT + at, complete)
        return answer.where.status, answer.sure

    nine = fact(9 * HOUR)
    assert sure(nine, at=10 * HOUR) == (Status.IN_VILLAGE, "sure")
    assert sure(nine, at=8 * HOUR) == (Status.UNKNOWN, "nothing")
    assert sure(nine, at=10 * HOUR, complete=False) == (Status.IN_VILLAGE, "open")
    wide = fact(9 * HOUR, cls=ClockClass.B, before=HOUR, after=2 * HOUR)
    assert sure(wide, at=10 * HOUR) == (Status.IN_VILLAGE, "between")
    assert sure(wide, at=8 * HOUR + HOUR // 2) == (Status.UNKNOWN, "between")
    assert sure(fact(9 * HOUR, cls=ClockClass.C), at=10 * HOUR) == (Status.IN_VILLAGE, "doubtful")
    leave_ = [Absence(CODE, Status.ON_LEAVE, MIDNIGHT, MIDNIGHT + DAY_MS)]
    answer = where_at(CODE, [], leave_, MIDNIGHT + HOUR, True)
    assert (answer.where.status, answer.sure) == (Status.ON_LEAVE, "sure")
    assert where_at(CODE, [fact(9 * HOUR, site=VILLAGE)], leave_, MIDNIGHT + 10 * HOUR,
                    True).where.clash  # fmt: skip
    declared = fact(9 * HOUR, kind=Kind.DECLARE, status=Status.ON_LEAVE, cls=ClockClass.C,
                    before=HOUR, after=HOUR)  # fmt: skip
    assert sure(declared, at=10 * HOUR) == (Status.ON_LEAVE, "doubtful")
    refused = [replace(leave_[0], approved=None)]
    answer = where_at(CODE, [declared], refused, MIDNIGHT + 9 * HOUR + HOUR // 2, True)
    assert (answer.where.status, answer.sure) == (Status.UNKNOWN, "nothing")

"""What must hold of one official's day, whatever was recorded and in whatever order it came."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from attendance.clock import ClockClass
from attendance.days import DAY_MS
from attendance.statuses import Kind, Status
from attendance.whereabouts import Absence, Fact
from server.rules import flags
from server.rules.corrections import Ruled
from server.rules.roster import Expected
from server.rules.verdict import (
    HERE,
    VERDICTS,
    Case,
    Judgement,
    Kiosk,
    Kiosks,
    believed,
    judge,
    reaching,
    silent,
)

from .made_up import (
    CODE,
    DAY,
    HOUR,
    MIDNIGHT,
    MINUTE,
    MORNING,
    NIGHT,
    OFFICE,
    OTHER,
    VILLAGE,
    absences,
    expectations,
    fact,
    histories,
    kiosks,
    moments,
)

LONG_AFTER = MIDNIGHT + 3 * DAY_MS


def judged(
    *facts: Fact,
    expected: tuple[Expected, ...] = (Expected(VILLAGE, MORNING),),
    now_ms: int = LONG_AFTER,
    until_ms: int = LONG_AFTER,
    away: list[Absence] | None = None,
    end_ms: int = MIDNIGHT + DAY_MS,
    **ruled: bool,
) -> Judgement:
    case = Case(DAY, MIDNIGHT, end_ms, Ruled(list(facts), **ruled), away or [], expected,
                reaching(facts, MIDNIGHT, end_ms))  # fmt: skip
    return judge(case, kiosks(until_ms), now_ms)


def kinds(found: Judgement) -> set[str]:
    return {one.kind for one in found.found}


@given(histories(), expectations, absences, moments, moments, st.randoms())
def test_order_of_arrival_does_not_matter(facts, expected, away, now_ms, until_ms, rng) -> None:  # type: ignore[no-untyped-def]
    first = judged(*facts, expected=expected, away=away, now_ms=now_ms, until_ms=until_ms)
    shuffled = list(facts)
    rng.shuffle(shuffled)
    again = judged(*shuffled, expected=expected, away=away, now_ms=now_ms, until_ms=until_ms)
    assert (first.verdict, first.visits, first.late_ms, first.early_ms) == (
        again.verdict, again.visits, again.late_ms, again.early_ms
    )  # fmt: skip
    assert kinds(first) == kinds(again)


@given(histories(), expectations, absences, moments, moments)
def test_every_day_has_one_verdict_and_class_c_never_blames(  # type: ignore[no-untyped-def]
    facts, expected, away, now_ms, until_ms
) -> None:
    found = judged(*facts, expected=expected, away=away, now_ms=now_ms, until_ms=until_ms)
    assert found.verdict in VERDICTS
    alone = [structs.replace(f, when=structs.replace(f.when, cls=ClockClass.C)) for f in facts]
    doubted = judged(*alone, expected=expected, away=away, now_ms=now_ms, until_ms=until_ms)
    assert doubted.verdict not in ("late", "early")
    assert doubted.late_ms == doubted.early_ms == 0
    if any(f.verified and f.status in (Status.ON_DUTY, Status.IN_VILLAGE) for f in facts):
        assert found.verdict not in ("absent", "not_known", "not_yet", "not_expected")


@given(histories(), expectations, absences, moments)
def test_blame_only_after_the_records_have_arrived(facts, expected, away, now_ms) -> None:  # type: ignore[no-untyped-def]
    """Whoever is late, early or absent while records are outstanding would be so for ever."""
    early = judged(*facts, expected=expected, away=away, now_ms=now_ms, until_ms=MIDNIGHT)
    assert early.verdict not in ("late", "early", "absent") or not expected


@given(histories(), expectations, st.integers(0, DAY_MS))
def test_a_verdict_of_blame_stays_when_the_watermark_rises(facts, expected, until) -> None:  # type: ignore[no-untyped-def]
    """Given that no record comes from before a watermark, late and absent never turn out wrong."""
    known = [f for f in facts if f.when.latest_ms < MIDNIGHT + until]
    before = judged(*known, expected=expected, until_ms=MIDNIGHT + until)
    sites = {e.place.name for e in expected}
    rest = [f for f in facts if f.when.earliest_ms >= MIDNIGHT + until and f.site in sites]
    if before.verdict in ("late", "absent") and before.verdict == "late":
        assert judged(*known, *rest, expected=expected).late_ms == before.late_ms


def test_the_grace_is_a_minute_and_not_a_second() -> None:
    end = fact(17 * HOUR + 30 * MINUTE, 9, out=True)
    on_time = judged(fact(8 * HOUR + 40 * MINUTE + 59_000), end)
    assert (on_time.verdict, on_time.late_ms) == ("came", 0)
    late = judged(fact(8 * HOUR + 41 * MINUTE), end)
    assert (late.verdict, late.late_ms) == ("late", 11 * MINUTE)
    excused = judged(fact(8 * HOUR + 41 * MINUTE), end, excused=True)
    assert (excused.verdict, excused.excused, excused.late_ms) == ("came", True, 11 * MINUTE)


def test_an_interval_over_the_limit_is_perhaps_late() -> None:
    found = judged(fact(9 * HOUR, cls=ClockClass.B, before=HOUR))
    assert found.verdict == "came"
    assert flags.MAYBE_LATE in kinds(found)
    early = judged(fact(8 * HOUR), fact(17 * HOUR, 2, out=True, cls=ClockClass.B, after=HOUR))
    assert early.verdict == "came"
    assert flags.MAYBE_EARLY in kinds(early)


def test_early_is_known_when_the_shift_is_over_and_the_site_has_reported() -> None:
    records = (fact(8 * HOUR), fact(15 * HOUR, 2, out=True))
    assert judged(*records, now_ms=MIDNIGHT + 16 * HOUR).verdict == "came"
    assert judged(*records, until_ms=MIDNIGHT + 16 * HOUR).verdict == "came"
    found = judged(*records)
    assert (found.verdict, found.early_ms) == ("early", 150 * MINUTE)
    assert judged(*records, fact(16 * HOUR, 3)).verdict == "came", "came back and stayed"


def test_a_site_that_has_not_reported_keeps_late_and_absent_back() -> None:
    two = (Expected(VILLAGE, MORNING), Expected(OTHER, MORNING))
    found = judged(fact(10 * HOUR), expected=two, until_ms=MIDNIGHT + 8 * HOUR)
    assert found.verdict == "came"
    assert flags.MAYBE_LATE in kinds(found)
    assert judged(expected=two, until_ms=MIDNIGHT + 8 * HOUR).verdict == "not_known"
    assert judged(expected=two).verdict == "absent"
    assert judged(expected=two, now_ms=MIDNIGHT + 12 * HOUR).verdict == "not_yet"


def test_a_night_shift_is_one_day() -> None:
    night, end = (Expected(VILLAGE, NIGHT),), MIDNIGHT + 34 * HOUR
    records = (fact(22 * HOUR), fact(30 * HOUR, 2, out=True))
    found = judged(*records, expected=night, end_ms=end)
    assert found.verdict == "came"
    assert [v.minutes for v in found.visits] == [480]
    early = judged(fact(22 * HOUR), fact(27 * HOUR, 2, out=True), expected=night, end_ms=end)
    assert (early.verdict, early.early_ms) == ("early", 3 * HOUR)
    waiting = judged(expected=night, end_ms=end, now_ms=MIDNIGHT + 25 * HOUR)
    assert waiting.verdict == "not_yet", "the night is not over at one o'clock"


def test_whoever_only_left_after_midnight_has_not_come_that_day() -> None:
    left = fact(20 * MINUTE, out=True)
    found = judged(left)
    assert (found.verdict, found.visits) == ("absent", ())
    assert kinds(found) == {flags.NO_CHECKIN}
    assert judged(left, now_ms=MIDNIGHT + 12 * HOUR).verdict == "not_yet"
    assert judged(left, fact(8 * HOUR, 2)).verdict == "came"
    evening = judged(fact(17 * HOUR + 30 * MINUTE, out=True))
    assert evening.verdict == "came", "somebody was there until then"


def test_a_bracket_over_midnight_blames_nobody_on_either_day() -> None:
    """A kiosk whose clock resumed where it had stopped: its own day is not sure."""
    bracket = fact(18 * HOUR, cls=ClockClass.B, before=HOUR, after=20 * HOUR)
    own = judged(bracket)
    assert (own.verdict, kinds(own)) == ("came", {flags.DOUBTFUL, flags.NO_CHECKOUT})
    (next_days,) = reaching([bracket], MIDNIGHT + DAY_MS, MIDNIGHT + 2 * DAY_MS)
    assert next_days is bracket
    case = Case(DAY, MIDNIGHT, MIDNIGHT + DAY_MS, Ruled([]), [], (Expected(VILLAGE),), [bracket])
    assert judge(case, kiosks(), LONG_AFTER).verdict == "not_known"


def test_fewer_visits_than_the_shift_asks_for() -> None:
    twice = (Expected(VILLAGE, replace(MORNING, visits=2)),)
    once = (fact(8 * HOUR), fact(17 * HOUR + 30 * MINUTE, 2, out=True))
    assert flags.FEW_VISITS in kinds(judged(*once, expected=twice))
    again = (fact(8 * HOUR), fact(11 * HOUR, 2, out=True), fact(14 * HOUR, 3),
             fact(18 * HOUR, 4, out=True))  # fmt: skip
    assert flags.FEW_VISITS not in kinds(judged(*again, expected=twice))


def test_what_waits_for_a_review_says_why_the_day_is_open() -> None:
    whole, noon = kiosks(), MIDNIGHT + 12 * HOUR
    held = Kiosks({
        number: [replace(k, complete_until_ms=min(k.complete_until_ms or 0, noon), apart_ms=noon)
                 for k in listed]
        for number, listed in whole.at.items()
    })  # fmt: skip
    expected = (Expected(VILLAGE, MORNING), Expected(OTHER))
    nobody = Case(DAY, MIDNIGHT, MIDNIGHT + DAY_MS, Ruled([]), [], expected)
    found = judge(nobody, held, LONG_AFTER)
    assert (found.verdict, kinds(found)) == ("not_known", {flags.SET_ASIDE})
    assert {d.site for d in found.found} == {VILLAGE.name, OTHER.name}
    day = DAY - timedelta(1)
    before = structs.replace(nobody, day=day, start_ms=MIDNIGHT - DAY_MS, end_ms=MIDNIGHT)
    assert judge(before, held, LONG_AFTER).verdict == "absent"
    silent_since = Kiosks({1: [Kiosk("k", 0, None, noon, noon)]})
    assert kinds(judge(nobody, silent_since, LONG_AFTER)) == {flags.NO_KIOSK}
    late = structs.replace(nobody, ruled=Ruled([fact(10 * HOUR)]))
    assert flags.SET_ASIDE not in kinds(judge(late, held, LONG_AFTER)), "late by what is known"
    early = Kiosks({n: [replace(k, complete_until_ms=MIDNIGHT, apart_ms=MIDNIGHT) for k in listed]
                    for n, listed in whole.at.items()})  # fmt: skip
    found = judge(late, early, LONG_AFTER)
    assert (found.verdict, kinds(found)) == ("came", {flags.MAYBE_LATE, flags.SET_ASIDE})


@given(st.one_of(st.none(), st.integers(0, MIDNIGHT + 9 * DAY_MS)), moments)
def test_a_mark_that_lies_ahead_says_nothing(until_ms: int | None, now_ms: int) -> None:
    said = believed(until_ms, now_ms)
    assert said is None or said <= now_ms
    assert said == until_ms or (until_ms is not None and until_ms > now_ms)


def test_leave_stands_and_the_clash_is_said() -> None:
    leave = [Absence(CODE, Status.ON_LEAVE, MIDNIGHT, MIDNIGHT + DAY_MS)]
    found = judged(fact(9 * HOUR), away=leave)
    assert found.verdict == "leave"
    assert kinds(found) == {flags.LEAVE_CLASH}
    asked = [replace(leave[0], approved=False)]
    assert judged(fact(9 * HOUR), away=asked).verdict in HERE
    assert judged(away=asked).pending


def test_a_refusal_takes_back_what_was_declared_of_that_kind() -> None:
    declared = fact(9 * HOUR, kind=Kind.DECLARE, status=Status.ON_LEAVE)
    asked = Absence(CODE, Status.ON_LEAVE, MIDNIGHT, MIDNIGHT + DAY_MS, approved=False)
    refused = replace(asked, approved=None)
    assert judged(declared).verdict == judged(declared, away=[asked]).verdict == "leave"
    assert judged(declared, away=[refused]).verdict == "absent"
    assert judged(away=[refused]).verdict == "absent"
    assert judged(away=[refused], expected=()).verdict == "not_expected"
    assert judged(declared, away=[replace(refused, status=Status.BUSINESS_TRIP)]).verdict == "leave"
    anew = judged(declared, away=[refused, asked])
    assert (anew.verdict, anew.pending) == ("leave", True), "asked for again"
    assert judged(declared, away=[refused, replace(asked, approved=True)]).verdict == "leave"
    came = judged(declared, fact(17 * HOUR, 2, out=True), away=[refused])
    assert came.verdict == "came", "a check-out says that somebody was there"
    typed = structs.replace(declared, verified=False)
    assert judged(typed).verdict == "unverified_only"
    assert judged(typed, away=[refused]).verdict == "absent"


def test_a_doubtful_record_of_another_day_keeps_absent_back_until_somebody_decides() -> None:
    stray = fact(-20 * HOUR, cls=ClockClass.C, after=30 * HOUR)
    case = Case(DAY, MIDNIGHT, MIDNIGHT + DAY_MS, Ruled([]), [], (Expected(VILLAGE),), [stray])
    assert judge(case, kiosks(), LONG_AFTER).verdict == "not_known"
    decided = structs.replace(case, ruled=Ruled([], absent=True))
    assert judge(decided, kiosks(), LONG_AFTER).verdict == "absent"


def test_a_silent_kiosk_and_none_at_all() -> None:
    expected = (Expected(VILLAGE),)
    assert silent(expected, kiosks(), MIDNIGHT, MIDNIGHT + DAY_MS, {"kiosk2"})
    assert not silent(expected, kiosks(), MIDNIGHT, MIDNIGHT + DAY_MS, {"kiosk1"})
    case = Case(DAY, MIDNIGHT, MIDNIGHT + DAY_MS, Ruled([]), [], expected)
    found = judge(case, kiosks(LONG_AFTER, OTHER), LONG_AFTER)
    assert (found.verdict, kinds(found)) == ("not_known", {flags.NO_KIOSK})


@pytest.mark.parametrize("place", [OTHER, OFFICE])
def test_elsewhere_is_said(place: object) -> None:
    found = judged(fact(8 * HOUR, site=place))  # type: ignore[arg-type]
    assert flags.ELSEWHERE in kinds(found)

"""One rule for lamp, board and sheet: precedence, day limits, clock classes, order of arrival."""

import random
from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from attendance.clock import Anchor, ClockClass, Estimate, estimate, from_anchor, wall_is_off
from attendance.days import DAY_MS, day_of, day_start_ms, from_ms, local, minute_of_day, to_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import Absence, Fact, overlay, standing, whereabouts

DAY = day_start_ms(date(2026, 11, 23))
NOON = DAY + 12 * 3_600_000


def fact(
    at: int, status: Status = Status.IN_VILLAGE, *, cls: ClockClass = ClockClass.A, seq: int = 1,
    verified: bool = True, supersedes: str | None = None, kind: Kind = Kind.CHECKIN,
    device: str = "k0000001", official: str = "zhang",
) -> Fact:  # fmt: skip
    return Fact(
        official, kind, status, Estimate(at, at, at, cls), f"{device}-{seq}", device, 1, seq,
        verified=verified, supersedes=supersedes,
    )  # fmt: skip


LEAVE = Absence("zhang", Status.ON_LEAVE, DAY, DAY + DAY_MS)


def test_nothing_known_is_unknown() -> None:
    assert whereabouts("zhang", [], [], NOON).status is Status.UNKNOWN


def test_the_latest_fact_of_today_counts() -> None:
    facts = [fact(DAY + 1000), fact(NOON - 1, Status.LEFT, kind=Kind.CHECKOUT, seq=2)]
    assert whereabouts("zhang", facts, [], NOON).status is Status.LEFT


def test_yesterday_does_not_count() -> None:
    assert whereabouts("zhang", [fact(DAY - 1)], [], NOON).status is Status.UNKNOWN


def test_a_checkin_outranks_approved_leave_and_is_flagged() -> None:
    answer = whereabouts("zhang", [fact(NOON - 5)], [LEAVE], NOON)
    assert (answer.status, answer.clash) == (Status.IN_VILLAGE, True)


def test_leave_shows_when_nothing_was_recorded_and_only_once_approved() -> None:
    assert whereabouts("zhang", [], [LEAVE], NOON).status is Status.ON_LEAVE
    asked = Absence("zhang", Status.ON_LEAVE, DAY, DAY + DAY_MS, approved=False)
    assert whereabouts("zhang", [], [asked], NOON).status is Status.UNKNOWN


def test_a_declared_trip_is_pending_until_approved() -> None:
    trip = [fact(NOON - 5, Status.BUSINESS_TRIP, kind=Kind.DECLARE)]
    assert whereabouts("zhang", trip, [], NOON).pending
    approved = Absence("zhang", Status.BUSINESS_TRIP, DAY, DAY + DAY_MS)
    assert not whereabouts("zhang", trip, [approved], NOON).pending


VOID = Absence("zhang", Status.BUSINESS_TRIP, NOON + 1, NOON + 2, approved=None)


def test_what_was_declared_and_refused_is_as_if_it_had_not_been() -> None:
    trip = fact(NOON - 5, Status.BUSINESS_TRIP, kind=Kind.DECLARE, seq=2)
    gone = whereabouts("zhang", [trip], [VOID], NOON)
    assert (gone.status, gone.pending, gone.void) == (
        Status.UNKNOWN, False, (Status.BUSINESS_TRIP,),
    )  # fmt: skip
    came = whereabouts("zhang", [fact(NOON - 900), trip], [VOID], NOON)
    assert (came.status, came.since_ms) == (Status.IN_VILLAGE, NOON - 900)
    assert whereabouts("zhang", [trip], [VOID, LEAVE], NOON).status is Status.ON_LEAVE
    for other in (
        replace(VOID, official="li"),
        replace(VOID, status=Status.ON_LEAVE),
        replace(VOID, start_ms=DAY + DAY_MS, end_ms=DAY + 2 * DAY_MS),
        replace(VOID, start_ms=DAY - DAY_MS, end_ms=DAY),
        replace(VOID, approved=False),
    ):
        assert whereabouts("zhang", [trip], [other], NOON).pending, other
    night = DAY - 6 * 3_600_000  # a shift that began on the evening before: that day's refusal
    early = fact(DAY + 5, Status.BUSINESS_TRIP, kind=Kind.DECLARE)
    assert whereabouts("zhang", [early], [VOID], DAY + 10, night).pending
    before = replace(VOID, start_ms=night, end_ms=DAY)
    assert not whereabouts("zhang", [early], [before], DAY + 10, night).pending


def test_a_doubtful_clock_never_outranks_a_sure_one() -> None:
    facts = [fact(NOON - 900), fact(NOON - 5, Status.LEFT, cls=ClockClass.C, seq=2)]
    assert whereabouts("zhang", facts, [], NOON).status is Status.IN_VILLAGE
    assert whereabouts("zhang", facts[1:], [], NOON).status is Status.LEFT


def test_unverified_facts_leave_the_lamp_alone() -> None:
    assert whereabouts("zhang", [fact(NOON - 5, verified=False)], [], NOON).basis == "nothing"


def test_an_amend_takes_the_place_of_what_it_supersedes() -> None:
    facts = [
        fact(NOON - 9000),
        fact(NOON - 4000, Status.BUSINESS_TRIP, kind=Kind.AMEND, seq=2, supersedes="k0000001-1"),
    ]
    assert [f.seq for f in standing(facts)] == [2]
    assert whereabouts("zhang", facts, [], NOON).status is Status.BUSINESS_TRIP


def test_nobody_amends_another_kiosks_or_persons_record() -> None:
    for stranger in (
        fact(NOON, seq=2, supersedes="k0000001-1", device="k0000002", kind=Kind.AMEND),
        fact(NOON, seq=2, supersedes="k0000001-1", official="li", kind=Kind.AMEND),
    ):
        assert len(standing([fact(NOON - 9000), stranger])) == 2


facts_strategy = st.lists(
    st.builds(
        lambda at, status, cls, seq, verified: fact(
            at, status, cls=cls, seq=seq, verified=verified
        ),
        st.integers(DAY - DAY_MS, DAY + DAY_MS),
        st.sampled_from([Status.ON_DUTY, Status.LEFT, Status.BUSINESS_TRIP]),
        st.sampled_from(ClockClass),
        st.integers(1, 1000),
        st.booleans(),
    ),
    unique_by=lambda f: f.seq,
    max_size=8,
)


@given(facts_strategy, st.integers(DAY, DAY + DAY_MS - 1), st.randoms())
def test_order_of_arrival_does_not_matter(facts: list[Fact], now: int, rng: random.Random) -> None:
    shuffled = facts[:]
    rng.shuffle(shuffled)
    assert whereabouts("zhang", facts, [LEAVE], now) == whereabouts("zhang", shuffled, [LEAVE], now)


@given(facts_strategy, st.integers(DAY, DAY + DAY_MS - 1))
def test_nothing_of_a_refused_kind_decides(facts: list[Fact], now: int) -> None:
    kept = [f for f in facts if f.status is not Status.BUSINESS_TRIP]
    without = whereabouts("zhang", kept, [LEAVE], now)
    assert whereabouts("zhang", facts, [LEAVE, VOID], now) == structs.replace(
        without, void=(Status.BUSINESS_TRIP,)
    )


@given(facts_strategy, facts_strategy, st.integers(DAY, DAY + DAY_MS - 1))
def test_a_kiosk_overlays_as_the_server_would_decide(
    here: list[Fact], there: list[Fact], now: int
) -> None:
    here = [f for f in here if f.verified]
    elsewhere = [fact(f.when.at_ms, f.status, cls=f.when.cls, seq=f.seq, device="k0000002")
                 for f in there if f.verified]  # fmt: skip
    together = whereabouts("zhang", [*here, *elsewhere], [LEAVE], now)
    laid = overlay(
        whereabouts("zhang", elsewhere, [LEAVE], now), whereabouts("zhang", here, [], now)
    )
    if {f.when.at_ms for f in here} & {f.when.at_ms for f in elsewhere}:
        return  # a tie to the millisecond may fall either way
    assert laid.status is together.status


ANCHOR = Anchor("a1", NOON, "boot-1", 50_000_000_000, 80_000_000)


@given(st.integers(0, 10**15), st.integers(0, 5 * 10**9), st.integers(-100, 100), st.floats(0, 1))
def test_the_true_time_lies_in_the_interval(
    boottime: int, rtt: int, ppm: int, where: float
) -> None:
    """A crystal off by up to 100 ppm, a server that answered anywhere within the round trip."""
    anchor = Anchor("a", NOON, "b", 5 * 10**14, rtt)
    true_at_asking_ns = NOON * 1_000_000 - int(rtt * where)
    truth_ns = true_at_asking_ns + (boottime - anchor.boottime_ns) * (10**6 + ppm) // 10**6
    got = from_anchor(anchor, boottime)
    assert got.earliest_ms <= truth_ns // 1_000_000 <= got.latest_ms


def test_classes() -> None:
    same_boot = estimate(wall_ms=0, boot_id="boot-1", boottime_ns=60_000_000_000, anchors=[ANCHOR])
    assert same_boot.cls is ClockClass.A
    assert abs(same_boot.at_ms - (NOON + 10_000)) < 100
    assert wall_is_off(0, same_boot)
    assert not wall_is_off(NOON + 12_000, same_boot)
    inside = estimate(wall_ms=NOON, boot_id="boot-2", boottime_ns=1, anchors=[ANCHOR],
                      before_ms=NOON - 100, after_ms=NOON + 100)  # fmt: skip
    assert inside.cls is ClockClass.B
    assert (inside.earliest_ms, inside.at_ms, inside.latest_ms) == (NOON - 100, NOON, NOON + 100)
    outside = estimate(wall_ms=0, boot_id="boot-2", boottime_ns=1, anchors=[ANCHOR],
                       before_ms=NOON - 100, after_ms=NOON + 100)  # fmt: skip
    assert (outside.cls, outside.at_ms) == (ClockClass.C, NOON - 100)
    alone = estimate(wall_ms=5, boot_id="boot-2", boottime_ns=1, anchors=[])
    assert (alone.cls, alone.at_ms) == (ClockClass.C, 5)


@given(st.integers(0, 4_000_000_000_000))
def test_days_are_those_of_shanghai(ms: int) -> None:
    day = day_of(ms)
    assert day_start_ms(day) <= ms < day_start_ms(day) + DAY_MS
    assert to_ms(from_ms(ms)) == ms
    assert local(ms).utcoffset() == local(0).utcoffset()
    assert minute_of_day(ms) == local(ms).hour * 60 + local(ms).minute


def test_a_day_starts_at_sixteen_hours_utc() -> None:
    assert from_ms(DAY).isoformat() == "2026-11-22T16:00:00+00:00"

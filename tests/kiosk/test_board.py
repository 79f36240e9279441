"""The board at a village kiosk over whole days."""

from __future__ import annotations

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import Fact
from attendance.wire import Snapshot, WhereaboutsRow
from kiosk.board import BoardRow, board_rows
from kiosk.people import People

MORNING = day_start_ms(day_of(1_780_000_000_000)) + 9 * 3_600_000
HOUR = 3_600_000


def snapshot(as_of_ms: int, **fields: object) -> Snapshot:
    row = WhereaboutsRow(**{"official": "A", "name": "李", "title": "镇长", **fields})
    return Snapshot(version="1", as_of_ms=as_of_ms, rows=[row])


def fact(status: Status, at_ms: int, cls: ClockClass = ClockClass.A, verified: bool = True) -> Fact:
    when = Estimate(at_ms, at_ms, at_ms, cls)
    return Fact("A", Kind.CHECKIN, status, when, str(at_ms), "d", 1, at_ms, verified=verified)


def row(
    snap: Snapshot | None, facts: list[Fact], now: int = MORNING, heard: int | None = MORNING
) -> BoardRow:
    (only,) = board_rows(
        People(None, snap or snapshot(0, status=Status.UNKNOWN)), snap, facts, now, heard
    )
    return only


def shown(one: BoardRow) -> tuple[str, str, bool]:
    return str(one.status), one.colour, one.blinking


def test_the_newer_fact_wins() -> None:
    elsewhere = snapshot(MORNING, status=Status.ON_DUTY, basis="record", since_ms=MORNING, cls="A")
    assert shown(row(elsewhere, [])) == ("on_duty", "green", False)
    newer = fact(Status.IN_VILLAGE, MORNING + HOUR)
    assert shown(row(elsewhere, [newer], MORNING + HOUR, MORNING + HOUR)) == (
        "in_village", "yellow", False,
    )  # fmt: skip
    older = fact(Status.IN_VILLAGE, MORNING - HOUR)
    assert shown(row(elsewhere, [older])) == ("on_duty", "green", False)
    doubtful = fact(Status.IN_VILLAGE, MORNING + 1, ClockClass.C)
    assert shown(row(elsewhere, [doubtful])) == ("on_duty", "green", False)
    unproven = fact(Status.IN_VILLAGE, MORNING + 1, verified=False)
    assert shown(row(elsewhere, [unproven])) == ("on_duty", "green", False)


def test_silence_makes_it_blink_but_not_its_own_news() -> None:
    elsewhere = snapshot(MORNING, status=Status.ON_DUTY, basis="record", since_ms=MORNING, cls="A")
    late = MORNING + 16 * 60_000
    assert shown(row(elsewhere, [], late)) == ("stale", "green", True)
    assert row(elsewhere, [], late).word_key == "stale"
    own = fact(Status.LEFT, late)
    assert shown(row(elsewhere, [own], late)) == ("left", "off", False)
    assert shown(row(None, [], MORNING, None)) == ("stale", "off", False)
    stepped_back = MORNING - 20 * 60_000
    assert row(elsewhere, [], stepped_back).status is Status.STALE


def test_yesterday_counts_only_as_absence() -> None:
    tomorrow = MORNING + DAY_MS
    worked = snapshot(MORNING, status=Status.ON_DUTY, basis="record", since_ms=MORNING, cls="A")
    assert shown(row(worked, [], tomorrow, tomorrow)) == ("unknown", "off", False)
    end = tomorrow + HOUR
    leave = snapshot(
        MORNING, status=Status.ON_LEAVE, basis="absence", since_ms=MORNING, until_ms=end
    )
    assert shown(row(leave, [], tomorrow, tomorrow)) == ("on_leave", "red", False)
    assert shown(row(leave, [], end, end)) == ("unknown", "off", False)


def test_declared_trips_wait_for_approval() -> None:
    trip = fact(Status.BUSINESS_TRIP, MORNING)
    declared = row(snapshot(MORNING, status=Status.UNKNOWN), [trip])
    assert (declared.status, declared.pending) == (Status.BUSINESS_TRIP, True)
    approved = snapshot(
        MORNING,
        status=Status.BUSINESS_TRIP,
        basis="absence",
        since_ms=MORNING,
        until_ms=MORNING + HOUR,
    )
    assert row(approved, [trip]).pending is False
    came = row(approved, [fact(Status.IN_VILLAGE, MORNING)])
    assert (came.status, came.pending) == (Status.IN_VILLAGE, False)
    for waits in (True, False):  # the server holds the record by now
        held = snapshot(MORNING, status=Status.BUSINESS_TRIP, basis="record", since_ms=MORNING,
                        cls="A", pending=waits)  # fmt: skip
        assert row(held, [trip]).pending is waits


def test_a_refusal_takes_back_what_was_declared_here() -> None:
    came, trip = fact(Status.IN_VILLAGE, MORNING - HOUR), fact(Status.BUSINESS_TRIP, MORNING)
    refused = snapshot(MORNING, status=Status.UNKNOWN, void=[Status.BUSINESS_TRIP])
    gone = row(refused, [trip])
    assert (gone.status, gone.colour, gone.pending) == (Status.UNKNOWN, "off", False)
    assert row(refused, [came, trip]).status is Status.IN_VILLAGE
    other = snapshot(MORNING, status=Status.UNKNOWN, void=[Status.ON_LEAVE])
    assert row(other, [trip]).pending
    tomorrow = MORNING + DAY_MS
    anew = row(refused, [fact(Status.BUSINESS_TRIP, tomorrow)], tomorrow, tomorrow)
    assert (anew.status, anew.pending) == (Status.BUSINESS_TRIP, True), "of that day alone"

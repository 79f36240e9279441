"""Leave and trips: how long they are, who may approve that, and what state they are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from attendance.days import DAY_MS, MAX_MS, MIN_MS, day_of, day_start_ms
from server.rules.calendar import Calendar, days_between
from server.rules.terms import LeaveTerms

#: Who has the last word.
TOWNSHIP, COUNTY = "township", "county"
#: `pending` nobody has decided · `county` the township agrees, the county has not answered ·
#: `approved` · `refused` · `withdrawn` not taken, or entered in error.
STATES = ("pending", "county", "approved", "refused", "withdrawn")


def working_days(calendar: Calendar, start_ms: int, end_ms: int) -> int:
    """Working days that leave touches; its length as the leave rules count it."""
    last = day_of(max(end_ms - 1, start_ms))
    return sum(calendar.is_working(day) for day in days_between(day_of(start_ms), last))


def piece(
    calendar: Calendar, own: tuple[int, int], before: Iterable[tuple[int, int]]
) -> tuple[int, int]:
    """From when until when leave (`own`: start and end in Unix milliseconds) lasts together with
    leave entered before it that adjoins it, or adjoins what does: no working day lies between."""
    start, end = own
    spans = sorted(before)
    for _ in range(len(spans) + 1):
        held = start, end
        for other, until in reversed(spans):  # each in one pass, but where one lies within another
            if other < start and _adjoin(calendar, until, start):
                start, end = other, max(end, until)
        for other, until in spans:
            if until > end and _adjoin(calendar, end, other):
                start, end = min(start, other), until
        if (start, end) == held:
            break
    return start, end


def _adjoin(calendar: Calendar, end_ms: int, start_ms: int) -> bool:
    day, until = day_of(end_ms - 1) + timedelta(1), day_of(start_ms)
    while day < until:
        if calendar.is_working(day):
            return False
        day += timedelta(1)
    return True


def reach(calendar: Calendar, start_ms: int, end_ms: int, days: int) -> tuple[int, int]:
    """The span around leave that has `days` working days more on each side of it."""
    first, last = day_of(start_ms), day_of(end_ms)
    return (
        day_start_ms(_walk(calendar, first, day_of(MIN_MS), days)),
        day_start_ms(_walk(calendar, last, day_of(MAX_MS), days)) + DAY_MS,
    )


def _walk(calendar: Calendar, day: date, edge: date, days: int) -> date:
    step = timedelta(1 if edge > day else -1)
    while days > 0 and day != edge:
        day += step
        days -= calendar.is_working(day)
    return day


def approver(terms: LeaveTerms, status: str, days: int) -> str:
    """TOWNSHIP or COUNTY: up to `township_days` of leave the township, longer the county.

    `days` are those of its `piece`: leave is not cut up to stay below. A business trip is the
    township's own whatever its length.
    """
    if status == "business_trip" or days <= terms.township_days:
        return TOWNSHIP
    return COUNTY


def state(who: str, decided: bool | None, steps: Sequence[str]) -> str:
    """The state of leave that `who` has the last word on.

    `decided` is the leader's latest decision, None for none; `steps` are the `LeaveStep.step` in
    order. Nothing is approved by the county that the township has not approved, and its answer
    stands though the leave would be the township's now.
    """
    if "withdrawn" in steps:
        return "withdrawn"
    if decided is None:
        return "pending"
    if not decided:
        return "refused"
    answers = [step for step in steps if step.startswith("county_")]
    if not answers:
        return "approved" if who == TOWNSHIP else "county"
    return "approved" if answers[-1] == "county_approved" else "refused"


def touches(start_ms: int, end_ms: int, day: date) -> bool:
    """Whether leave from `start_ms` until before `end_ms` touches a day."""
    begins = day_start_ms(day)
    return start_ms < begins + DAY_MS and end_ms > begins

"""Leave and trips: how long they are, who may approve that, and what state they are in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from attendance.days import DAY_MS, day_of, day_start_ms
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


def approver(terms: LeaveTerms, status: str, days: int) -> str:
    """TOWNSHIP or COUNTY: up to `township_days` of leave the township, longer the county.

    A business trip is the township's own whatever its length.
    """
    if status == "business_trip" or days <= terms.township_days:
        return TOWNSHIP
    return COUNTY


def state(who: str, decided: bool | None, steps: Sequence[str]) -> str:
    """The state of leave that `who` has the last word on.

    `decided` is the leader's latest decision, None for none; `steps` are the `LeaveStep.step` in
    order. Nothing is approved by the county that the township has not approved.
    """
    if "withdrawn" in steps:
        return "withdrawn"
    if decided is None:
        return "pending"
    if not decided:
        return "refused"
    if who == TOWNSHIP:
        return "approved"
    answers = [step for step in steps if step.startswith("county_")]
    if not answers:
        return "county"
    return "approved" if answers[-1] == "county_approved" else "refused"


def touches(start_ms: int, end_ms: int, day: date) -> bool:
    """Whether leave from `start_ms` until before `end_ms` touches a day."""
    begins = day_start_ms(day)
    return start_ms < begins + DAY_MS and end_ms > begins

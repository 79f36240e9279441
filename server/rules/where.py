"""Where was X at time T, and how sure are we: one answer, derived from facts each time.

Lamp, kiosk screen and public board ask `attendance.whereabouts`; this asks the same function and
says how much the answer is worth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attendance.clock import ClockClass
from attendance.days import day_of
from attendance.statuses import Status
from attendance.whereabouts import Absence, Fact, Whereabouts, standing, taken_back, whereabouts

#: `sure` · `between` the record's interval reaches over the moment · `doubtful` it rests on class
#: C, or on a class C record that may be of then · `open` records of a site may still come ·
#: `nothing` nothing says anything, and nothing is outstanding.
SURENESS = ("sure", "between", "doubtful", "open", "nothing")


@dataclass(frozen=True)
class Answer:
    """Whereabouts at a moment, how sure (one of SURENESS), and the record that says so, if any."""

    where: Whereabouts
    sure: str
    record_id: str | None = None


def where_at(
    official: str,
    facts: Iterable[Fact],
    absences: Iterable[Absence],
    at_ms: int,
    complete: bool,
    since_ms: int | None = None,
) -> Answer:
    """Where `official` was at `at_ms`, of facts of that day and doubtful ones that reach into it.

    `complete` is whether all records up to then have arrived from every site where a record of
    theirs could still be. `since_ms` is when that day began, midnight where None. A fact from after
    that moment changes nothing.
    """
    listed, own = list(facts), [a for a in absences if a.official == official]
    void = taken_back(own, day_of(at_ms if since_ms is None else since_ms))
    mine = [
        f
        for f in standing(listed)
        if f.official == official and f.verified and f.status not in void
    ]
    past = [f for f in listed if f.when.at_ms <= at_ms]
    found = whereabouts(official, past, own, at_ms, since_ms)
    rests = next(
        (
            f
            for f in reversed(mine)
            if found.basis == "record"
            and f.when.at_ms == found.since_ms
            and f.status is found.status
        ),
        None,
    )
    record_id = None if rests is None else rests.record_id
    straddling = [f for f in mine if f is not rests and f.when.earliest_ms <= at_ms
                  and f.when.latest_ms > (found.since_ms or at_ms)
                  and f.status is not found.status]  # fmt: skip
    if found.cls is ClockClass.C or any(f.when.cls is ClockClass.C for f in straddling):
        return Answer(found, "doubtful", record_id)
    if not complete:
        return Answer(found, "open", record_id)
    reaches = rests is not None and rests.when.latest_ms > at_ms
    if reaches or any(f.when.latest_ms > at_ms for f in straddling):
        return Answer(found, "between", record_id)
    if found.status is Status.UNKNOWN:
        return Answer(found, "nothing")
    return Answer(found, "sure", record_id)

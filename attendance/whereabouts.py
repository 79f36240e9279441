"""Where an official is: derived from facts, here and nowhere else.

Lamp, kiosk screen, public board and day sheet all ask `whereabouts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import msgspec

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.records import PERSON_KINDS, Record
from attendance.statuses import Kind, Status

#: A fact may lie this far in the future of the asker's clock and still be believed.
FUTURE_TOLERANCE_MS = 120_000
#: The board says so when it has not heard from the server for this long (product.md, `stale`).
STALE_AFTER_MS = 15 * 60_000


class Fact(msgspec.Struct, frozen=True, gc=False):
    """What one record says of one official, with when that truly was.

    Sheets make and keep tens of thousands; the collector has nothing to look for in them.
    """

    official: str
    kind: Kind
    status: Status
    when: Estimate
    record_id: str
    device: str
    epoch: int
    seq: int
    verified: bool = True
    until_ms: int | None = None
    reason: str | None = None
    method: str | None = None
    site: str | None = None
    supersedes: str | None = None


@dataclass(frozen=True)
class Absence:
    """Leave or a trip, from `start_ms` until before `end_ms`. Only approved ones move a lamp.

    `approved` is False for one that waits for somebody to decide, None for one that was refused, or
    withdrawn after it was decided: nobody is away for it (`void`).
    """

    official: str
    status: Status
    start_ms: int
    end_ms: int
    approved: bool | None = True
    reason: str | None = None

    @property
    def void(self) -> bool:
        """Whether somebody decided about it and it does not hold."""
        return self.approved is None


class Whereabouts(msgspec.Struct, frozen=True, gc=False):
    """The answer: a status, since when, until when, and on what it rests.

    `basis` is `record`, `absence` or `nothing`. `pending` marks a trip or leave that was declared
    and not approved. `clash` marks presence recorded during approved leave. `cls` is the clock
    class of the record it rests on. `void` are the statuses that were taken back for that day
    (`taken_back`).
    """

    official: str
    status: Status
    since_ms: int | None = None
    until_ms: int | None = None
    basis: str = "nothing"
    cls: ClockClass | None = None
    reason: str | None = None
    site: str | None = None
    pending: bool = False
    clash: bool = False
    void: tuple[Status, ...] = ()


def fact_of(record: Record, when: Estimate, site: str | None = None) -> Fact | None:
    """The fact in a record, or None for a record that says nothing of a person."""
    if record.kind not in PERSON_KINDS or record.official is None or record.status is None:
        return None
    return Fact(
        official=record.official,
        kind=record.kind,
        status=record.status,
        when=when,
        record_id=record.record_id,
        device=record.device,
        epoch=record.epoch,
        seq=record.seq,
        verified=record.verified,
        until_ms=record.until_ms,
        reason=record.reason,
        method=None if record.method is None else str(record.method),
        site=site,
        supersedes=record.supersedes,
    )


def standing(facts: Iterable[Fact]) -> list[Fact]:
    """The facts that no amend of the same device and official has superseded, in order of time.

    Ties are broken by device, epoch and seq, so that the order of arrival does not matter.
    """
    listed = list(facts)
    if len(listed) < 2:
        return listed
    if len(listed) == 2:
        came, went = listed
        if came.supersedes is went.supersedes is None and came.when.at_ms < went.when.at_ms:
            return listed  # as on most days
    gone = {(f.device, f.official, f.supersedes) for f in listed if f.supersedes is not None}
    kept = [f for f in listed if (f.device, f.official, f.record_id) not in gone]
    return sorted(kept, key=lambda f: (f.when.at_ms, f.device, f.epoch, f.seq))


def taken_back(absences: Iterable[Absence], day: date) -> set[Status]:
    """The statuses that nobody is in because it was declared at a kiosk on that day: somebody
    decided about leave or a trip of that kind that touches it, and it is void."""
    start = day_start_ms(day)
    end = start + DAY_MS
    return {a.status for a in absences if a.void and a.start_ms < end and a.end_ms > start}


def whereabouts(
    official: str,
    facts: Iterable[Fact],
    absences: Iterable[Absence],
    now_ms: int,
    since_ms: int | None = None,
) -> Whereabouts:
    """Where `official` is at `now_ms` (product.md, "Precedence on the board").

    The latest trusted fact since the day began, which is midnight in Asia/Shanghai or `since_ms`
    where a shift crosses it; else an approved leave or trip; else unknown. Unverified facts never
    count, nor what was declared and is taken back for that day; class C counts only where there is
    no A or B.
    """
    start = day_start_ms(day_of(now_ms)) if since_ms is None else since_ms
    own = [a for a in absences if a.official == official]
    void = taken_back(own, day_of(start)) if own else set()
    trusted = [
        fact
        for fact in standing(f for f in facts if f.official == official)
        if fact.verified
        and fact.status not in void
        and start <= fact.when.at_ms <= now_ms + FUTURE_TOLERANCE_MS
    ]
    sure = [fact for fact in trusted if fact.when.cls is not ClockClass.C]
    absence = next(
        (
            a
            for a in sorted(own, key=lambda a: (-a.start_ms, a.end_ms))
            if a.approved and a.start_ms <= now_ms < a.end_ms
        ),
        None,
    )
    if sure or trusted:
        fact = (sure or trusted)[-1]
        away = fact.status in (Status.BUSINESS_TRIP, Status.ON_LEAVE)
        present = fact.status in (Status.ON_DUTY, Status.IN_VILLAGE)
        return Whereabouts(
            official,
            fact.status,
            since_ms=fact.when.at_ms,
            until_ms=fact.until_ms,
            basis="record",
            cls=fact.when.cls,
            reason=fact.reason,
            site=fact.site,
            pending=away and not (absence is not None and absence.status is fact.status),
            clash=present and absence is not None,
            void=tuple(sorted(void)),
        )
    if absence is not None:
        return Whereabouts(
            official,
            absence.status,
            since_ms=absence.start_ms,
            until_ms=absence.end_ms,
            basis="absence",
            reason=absence.reason,
            void=tuple(sorted(void)),
        )
    return Whereabouts(official, Status.UNKNOWN, void=tuple(sorted(void)))


def overlay(server: Whereabouts, own: Whereabouts) -> Whereabouts:
    """A kiosk's own view over the server's: the newer trusted record wins.

    `server` comes from the last snapshot, `own` from the kiosk's own records of today with no
    absences given.
    """
    if own.basis != "record":
        return server
    if server.basis != "record":
        return own
    if own.cls is ClockClass.C and server.cls is not ClockClass.C:
        return server
    if server.cls is ClockClass.C and own.cls is not ClockClass.C:
        return own
    return own if (own.since_ms or 0) >= (server.since_ms or 0) else server

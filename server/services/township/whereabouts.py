"""Where everybody is now: for supervisors, for the public board, and for kiosks."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import DAY_MS, day_of, day_start_ms, to_ms
from attendance.whereabouts import FUTURE_TOLERANCE_MS, Absence, Fact, Whereabouts, whereabouts
from server.models import (
    CorrectionDecision,
    Device,
    LeaveDecision,
    LeaveRow,
    LeaveStep,
    RecordRow,
    Township,
)
from server.rules.roster import day_begins_ms
from server.services.sheets.roster import Roster, roster_of
from server.services.township import leave
from server.services.township.decided import decided
from server.services.township.known import known_at
from server.services.township.newest import latest_facts, newest_facts

#: Later than any moment, Unix milliseconds.
_EVER = 2**62


class OfficialWhereabouts(msgspec.Struct, frozen=True, gc=False):
    """One active official and where they are. `work_group` is "" for none."""

    official: str
    name: str
    title: str
    phone: str
    work_group: str
    portrait: str | None
    where: Whereabouts


def whereabouts_at(
    session: Session, township: Township, now: datetime, site_id: int | None = None
) -> list[OfficialWhereabouts]:
    """Where every active official is, by work group; where a site is given, of those alone whom
    its kiosk knows (`known_at`)."""
    now_ms = to_ms(now)
    roster = roster_of(session, township)
    since = _day_begins(roster, now_ms)
    midnight = day_start_ms(day_of(now_ms))
    start, last = min([midnight, *since.values()]), now_ms + FUTURE_TOLERANCE_MS
    facts: Mapping[str, Sequence[Fact]]
    here: Container[str] | None = None
    if site_id is None:
        facts = latest_facts(session, township, roster.version, start, last)
    else:
        here = known_at(roster, site_id, since, now_ms)
        facts = newest_facts(session, township, start, last, list(here))
    # Of the whole days, since what was refused takes back what was declared at any time of its day.
    span = day_start_ms(day_of(start)), midnight + DAY_MS - 1
    away: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, *span, roster=roster):
        away.setdefault(absence.official, []).append(absence)
    facts = decided(session, township, roster, facts, away, start, last)
    people = [
        (p.official, p.name, p.title, p.phone, p.group, p.portrait)
        for p in roster.people
        if p.active and (here is None or p.official in here)
    ]
    return [
        OfficialWhereabouts(
            code, name, title, phone, group, portrait,
            whereabouts(
                code, facts.get(code, ()), away.get(code, ()), now_ms, since.get(code, midnight),
            ),
        )
        for code, name, title, phone, group, portrait in people
    ]  # fmt: skip


def day_begins(session: Session, township: Township, now_ms: int) -> dict[str, int]:
    """When the present day began for those for whom that was not midnight, by code.

    A night shift's day reaches into the next morning (`server.rules.roster.day_reaches`). Nothing
    is computed where no shift crosses midnight.
    """
    return _day_begins(roster_of(session, township), now_ms)


def _day_begins(roster: Roster, now_ms: int) -> dict[str, int]:
    if not roster.overnight:
        return {}
    today = day_of(now_ms)
    days = [today - timedelta(n) for n in (2, 1, 0)]
    usual = [roster.usual(day) for day in days]
    found = {}
    for person in roster.people:
        older, old, own = (
            roster.expected(person, day, hours) for day, hours in zip(days, usual, strict=True)
        )
        begins = day_begins_ms(old, own, today)
        if now_ms < begins:
            begins = day_begins_ms(older, old, days[1])
        if begins != day_start_ms(today):
            found[person.official] = begins
    return found


def board_version(session: Session, township: Township, now: datetime) -> str:
    """A word that changes whenever the board may have changed; indexed look-ups in one question.

    Cursors of the kiosks rather than record numbers: those of two transactions may become visible
    in another order than they were given (PostgreSQL).
    """
    now_ms = to_ms(now)
    today = day_of(now_ms)
    roster = select(Township.roster_version).where(Township.id == township.id)
    cursors = [
        select(func.sum(column)).where(Device.township_id == township.id, Device.kind == "kiosk")
        for column in (Device.epoch, Device.seq)
    ]
    # Of what comes in the cursors tell; this, which of those that were ahead have their time now.
    newest = select(func.max(RecordRow.at_ms)).where(
        RecordRow.township_id == township.id,
        RecordRow.at_ms > RecordRow.received_ms,
        RecordRow.at_ms.between(day_start_ms(today), now_ms + FUTURE_TOLERANCE_MS),
    )
    # Of yesterday and today alone, since the word holds the date: what was decided, began or ended
    # before is the same for the whole day, however many years of it there are.
    since = day_start_ms(today) - DAY_MS
    counts = [
        select(func.count()).where(of.township_id == township.id, at.between(since, until))
        for of, at, until in (
            (LeaveDecision, LeaveDecision.at_ms, _EVER),
            (LeaveStep, LeaveStep.at_ms, _EVER),
            (CorrectionDecision, CorrectionDecision.at_ms, _EVER),
            (LeaveRow, LeaveRow.start_ms, now_ms),
            (LeaveRow, LeaveRow.end_ms, now_ms),
        )
    ]
    begun = sum(day_begins(session, township, now_ms).values()) // 60_000
    asked = select(*(one.scalar_subquery() for one in (roster, *cursors, newest, *counts)))
    version, *others = session.execute(asked).one()
    parts = [version, begun, *(one or 0 for one in others)]
    return f"{today.isoformat()}-" + "-".join(str(part) for part in parts)


def snapshot_for(session: Session, device: Device, now: datetime) -> wire.Snapshot:
    """What a kiosk's board shows: everybody at an office, those expected there in a village."""
    township = session.get_one(Township, device.township_id)
    office = device.site is not None and device.site.kind == "office"
    people = whereabouts_at(session, township, now, None if office else device.site_id)
    return wire.Snapshot(
        version=board_version(session, township, now),
        as_of_ms=to_ms(now),
        rows=[
            wire.WhereaboutsRow(
                official=person.official,
                name=person.name,
                title=person.title,
                status=person.where.status,
                basis=person.where.basis,
                since_ms=person.where.since_ms,
                until_ms=person.where.until_ms,
                cls=None if person.where.cls is None else str(person.where.cls),
                pending=person.where.pending,
                phone=person.phone,
                portrait=person.portrait,
                void=list(person.where.void),
            )
            for person in people
        ],
    )

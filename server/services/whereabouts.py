"""Where everybody is now: for supervisors, for the public board, and for kiosks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.orm import Session, aliased

from attendance import wire
from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_of, day_start_ms, to_ms
from attendance.records import PERSON_KINDS
from attendance.statuses import Kind, Status
from attendance.whereabouts import FUTURE_TOLERANCE_MS, Absence, Fact, Whereabouts, whereabouts
from server.models import (
    Device,
    Expectation,
    LeaveDecision,
    LeaveRow,
    LeaveStep,
    Official,
    RecordRow,
    Site,
    Township,
    WorkGroup,
)
from server.rules.roster import day_begins_ms
from server.services import leave
from server.services.sheets.roster import roster_of

#: Later than any moment, Unix milliseconds.
_EVER = 2**62


@dataclass(frozen=True)
class OfficialWhereabouts:
    """One active official and where they are. `work_group` is "" for none."""

    official: str
    name: str
    title: str
    phone: str
    work_group: str
    portrait: str | None
    where: Whereabouts


#: Made once: an alias names all columns anew.
_TIMED, _ROW, _AMEND = (aliased(RecordRow) for _ in range(3))
PERSON_KIND_WORDS = tuple(sorted(str(kind) for kind in PERSON_KINDS))


def fact_of_row(row: Any, site: str | None = None) -> Fact:
    """The fact in a stored record of a person kind."""
    return Fact(
        official=row.official or "",
        kind=Kind(row.kind),
        status=Status(row.status or "unknown"),
        when=Estimate(row.earliest_ms, row.latest_ms, row.at_ms, ClockClass(row.cls)),
        record_id=row.record_id,
        device=row.device_id,
        epoch=row.epoch,
        seq=row.seq,
        verified=row.verified,
        until_ms=row.until_ms,
        reason=row.reason,
        method=row.method,
        site=site,
        supersedes=row.supersedes,
    )


def _newest(
    township: int, first_ms: int, last_ms: int, replaced: Sequence[int], *, sure: bool
) -> ScalarSelect[int]:
    """The id of an official's newest record that can decide; only of those whose time is `sure`.

    First its time, then which of that millisecond: in one order SQLite would read and sort all of
    the day's.
    """
    timed, row = _TIMED, _ROW

    def can_decide(one: type[RecordRow]) -> list[ColumnElement[bool]]:
        return [
            one.township_id == township,
            one.official == Official.official,
            one.kind.in_(PERSON_KIND_WORDS),
            one.verified.is_(True),
            one.id.not_in(replaced),
            *([one.cls != str(ClockClass.C)] if sure else []),
        ]

    at = (
        select(timed.at_ms)
        .where(timed.at_ms.between(first_ms, last_ms), *can_decide(timed))
        .order_by(timed.at_ms.desc())
        .limit(1)
        .correlate(Official)
        .scalar_subquery()
    )
    return (
        select(row.id)
        .where(row.at_ms == at, *can_decide(row))
        .order_by(row.device_id.desc(), row.epoch.desc(), row.seq.desc())
        .limit(1)
        .correlate(Official)
        .scalar_subquery()
    )


def newest_facts(
    session: Session,
    township: Township,
    first_ms: int,
    last_ms: int,
    site_id: int | None = None,
) -> dict[str, list[Fact]]:
    """By code of active officials, or of those expected at a site, the facts in
    `first_ms..last_ms` that can decide: the newest verified one that no amend replaced, and the
    newest of those whose time is not doubtful.

    What `whereabouts` would choose from all of them, without reading all of them: after a week
    offline a day may have thousands.
    """
    row, amend = _ROW, _AMEND
    replaced = session.scalars(
        select(row.id)
        .join(
            amend,
            (amend.supersedes == row.record_id)
            & (amend.device_id == row.device_id)
            & (amend.official == row.official),
        )
        .where(
            amend.township_id == township.id,
            amend.supersedes.is_not(None),
            amend.at_ms.between(first_ms, last_ms),
        )
    ).all()
    both = [_newest(township.id, first_ms, last_ms, replaced, sure=sure) for sure in (False, True)]
    asked = (
        select(*both)
        .select_from(Official)
        .where(Official.township_id == township.id, Official.active)
    )
    if site_id is not None:
        asked = asked.join(Expectation, Expectation.official_id == Official.id).where(
            Expectation.site_id == site_id
        )
    ids = {rowid for pair in session.execute(asked) for rowid in pair if rowid is not None}
    rows = session.execute(
        select(RecordRow, Site.name)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(RecordRow.id.in_(ids))
    )
    found: dict[str, list[Fact]] = {}
    for held, site in rows:
        found.setdefault(held.official or "", []).append(fact_of_row(held, site))
    return found


def whereabouts_at(
    session: Session, township: Township, now: datetime, site_id: int | None = None
) -> list[OfficialWhereabouts]:
    """Where every active official is, by work group; only those expected at a site where given."""
    now_ms = to_ms(now)
    since = day_begins(session, township, now_ms)
    start = min([day_start_ms(day_of(now_ms)), *since.values()])
    facts = newest_facts(session, township, start, now_ms + FUTURE_TOLERANCE_MS, site_id)
    away: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, now_ms, now_ms):
        away.setdefault(absence.official, []).append(absence)
    query = (
        select(
            Official.official, Official.name, Official.title, Official.phone, WorkGroup.name,
            Official.portrait,
        )
        .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
        .where(Official.township_id == township.id, Official.active)
        .order_by(WorkGroup.id, Official.id)
    )  # fmt: skip
    if site_id is not None:
        query = query.join(Expectation, Expectation.official_id == Official.id).where(
            Expectation.site_id == site_id
        )
    return [
        OfficialWhereabouts(
            code, name, title, phone, group or "", portrait,
            whereabouts(
                code, facts.get(code, ()), away.get(code, ()), now_ms, since.get(code),
            ),
        )
        for code, name, title, phone, group, portrait in session.execute(query)
    ]  # fmt: skip


def day_begins(session: Session, township: Township, now_ms: int) -> dict[str, int]:
    """When the present day began for those for whom that was not midnight, by code.

    A night shift's day reaches into the next morning (`server.rules.roster.day_reaches`). Nothing
    is computed where no shift crosses midnight.
    """
    roster = roster_of(session, township)
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
    """A word that changes whenever the board may have changed; a handful of indexed look-ups.

    Cursors of the kiosks rather than record numbers: those of two transactions may become visible
    in another order than they were given (PostgreSQL).
    """
    now_ms = to_ms(now)
    today = day_of(now_ms)
    roster = session.scalar(select(Township.roster_version).where(Township.id == township.id))
    cursors = session.execute(
        select(func.sum(Device.epoch), func.sum(Device.seq)).where(
            Device.township_id == township.id, Device.kind == "kiosk"
        )
    ).one()
    # Of what comes in the cursors tell; this, which of those that were ahead have their time now.
    newest = session.scalar(
        select(func.max(RecordRow.at_ms)).where(
            RecordRow.township_id == township.id,
            RecordRow.at_ms > RecordRow.received_ms,
            RecordRow.at_ms.between(day_start_ms(today), now_ms + FUTURE_TOLERANCE_MS),
        )
    )
    # Of yesterday and today alone, since the word holds the date: what was decided, began or ended
    # before is the same for the whole day, however many years of it there are.
    since = day_start_ms(today) - DAY_MS
    counts = [
        session.scalar(
            select(func.count()).where(of.township_id == township.id, at.between(since, until))
        )
        for of, at, until in (
            (LeaveDecision, LeaveDecision.at_ms, _EVER),
            (LeaveStep, LeaveStep.at_ms, _EVER),
            (LeaveRow, LeaveRow.start_ms, now_ms),
            (LeaveRow, LeaveRow.end_ms, now_ms),
        )
    ]
    begun = sum(day_begins(session, township, now_ms).values()) // 60_000
    parts = [roster, begun, cursors[0] or 0, cursors[1] or 0, newest or 0, *counts]
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
            )
            for person in people
        ],
    )

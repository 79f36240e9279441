"""Where everybody is now: for supervisors, for the public board, and for kiosks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.clock import ClockClass, Estimate
from attendance.days import day_of, day_start_ms, to_ms
from attendance.records import PERSON_KINDS
from attendance.statuses import Kind, Status
from attendance.whereabouts import FUTURE_TOLERANCE_MS, Absence, Fact, Whereabouts, whereabouts
from server.models import (
    Device,
    Expectation,
    LeaveDecision,
    LeaveRow,
    Official,
    RecordRow,
    Site,
    Township,
    WorkGroup,
)
from server.services import leave


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


PERSON_KIND_WORDS = tuple(sorted(str(kind) for kind in PERSON_KINDS))


def fact_of_row(row: RecordRow, site: str | None = None) -> Fact:
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


def facts_between(
    session: Session, township: Township, first_ms: int, last_ms: int
) -> dict[str, list[Fact]]:
    """Facts whose best guess lies in `first_ms..last_ms`, both included, by official's code."""
    rows = session.execute(
        select(RecordRow, Site.name)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(
            RecordRow.township_id == township.id,
            RecordRow.at_ms.between(first_ms, last_ms),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
    )
    found: dict[str, list[Fact]] = {}
    for row, site in rows:
        found.setdefault(row.official or "", []).append(fact_of_row(row, site))
    return found


def whereabouts_at(
    session: Session, township: Township, now: datetime, site_id: int | None = None
) -> list[OfficialWhereabouts]:
    """Where every active official is, by work group; only those expected at a site where given."""
    now_ms = to_ms(now)
    start = day_start_ms(day_of(now_ms))
    facts = facts_between(session, township, start, now_ms + FUTURE_TOLERANCE_MS)
    away: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, now_ms, now_ms):
        away.setdefault(absence.official, []).append(absence)
    query = (
        select(Official, WorkGroup.name)
        .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
        .where(Official.township_id == township.id, Official.active)
        .order_by(WorkGroup.id, Official.id)
    )
    if site_id is not None:
        query = query.join(Expectation, Expectation.official_id == Official.id).where(
            Expectation.site_id == site_id
        )
    return [
        OfficialWhereabouts(
            o.official,
            o.name,
            o.title,
            o.phone,
            group or "",
            o.portrait,
            whereabouts(o.official, facts.get(o.official, ()), away.get(o.official, ()), now_ms),
        )
        for o, group in session.execute(query)
    ]


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
    newest = session.scalar(
        select(func.max(RecordRow.at_ms)).where(
            RecordRow.township_id == township.id,
            RecordRow.at_ms.between(day_start_ms(today), now_ms + FUTURE_TOLERANCE_MS),
        )
    )
    mine = LeaveRow.township_id == township.id
    counts = [
        session.scalar(select(func.count(LeaveDecision.id)).where(
            LeaveDecision.township_id == township.id
        )),
        session.scalar(select(func.count(LeaveRow.id)).where(mine, LeaveRow.start_ms <= now_ms)),
        session.scalar(select(func.count(LeaveRow.id)).where(mine, LeaveRow.end_ms <= now_ms)),
    ]  # fmt: skip
    parts = [roster, cursors[0] or 0, cursors[1] or 0, newest or 0, *counts]
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

"""What a day sheet is made from, read in a fixed number of queries for any number of people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.clock import ClockClass
from attendance.days import from_ms
from attendance.whereabouts import Absence, Fact, standing
from server.models import (
    Contact,
    Device,
    Expectation,
    Official,
    RecordRow,
    Site,
    Township,
    WorkGroup,
)
from server.services import flags, leave
from server.services.whereabouts import PERSON_KIND_WORDS, fact_of_row

#: An interval up to this wide is said as one time.
SURE_MS = 120_000


@dataclass(frozen=True)
class Entry:
    """One record of a person on the sheet, times in Unix milliseconds.

    `certainty` is `sure` (class A or B, within two minutes), `between` (an interval) or `doubtful`
    (class C). `flags` are words of `server.services.flags`.
    """

    record_id: str
    official: str
    kind: str
    status: str
    method: str
    verified: bool
    earliest_ms: int
    latest_ms: int
    at_ms: int
    cls: ClockClass
    certainty: str
    site: str
    site_kind: str
    device: str
    epoch: int
    seq: int
    received_ms: int
    score: float | None = None
    margin: float | None = None
    liveness: str | None = None
    reason: str | None = None
    until_ms: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Person:
    """An official with what a sheet needs: `expected` are (site id, site name, weekday mask)."""

    row: Official
    work_group: str
    expected: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True)
class Kiosk:
    """A kiosk as far as completeness goes."""

    device: str
    paired_ms: int
    revoked_ms: int | None
    complete_until_ms: int | None
    last_contact_ms: int | None


class Kiosks:
    """The kiosks of a township: which stood where on a day, and whether their records are all here.

    A kiosk that was revoked before a day began says nothing of it; one that was revoked later and
    had not sent everything never will, and the day stays open for a person to decide.
    """

    def __init__(self, session: Session, township: Township) -> None:
        self._at: dict[int, list[Kiosk]] = {}
        for d in session.execute(
            select(
                Device.id,
                Device.paired_ms,
                Device.revoked_ms,
                Device.complete_until_ms,
                Device.last_contact_ms,
                Device.site_id,
            ).where(Device.township_id == township.id, Device.kind == "kiosk")
        ):
            if d.site_id is not None:
                self._at.setdefault(d.site_id, []).append(Kiosk(*d[:5]))

    def on(self, site_id: int, start_ms: int, end_ms: int) -> list[Kiosk]:
        """Those that stood at a site at some moment of `start_ms..end_ms`."""
        return [
            k
            for k in self._at.get(site_id, ())
            if k.paired_ms < end_ms and (k.revoked_ms is None or k.revoked_ms > start_ms)
        ]

    def complete(self, site_id: int, start_ms: int, end_ms: int) -> bool:
        """Whether every record of that site before `end_ms` has arrived."""
        stood = self.on(site_id, start_ms, end_ms)
        return bool(stood) and all((k.complete_until_ms or 0) >= end_ms for k in stood)

    def state(self, site: Site, start_ms: int, end_ms: int) -> SiteState:
        """The site as its strip shows it for a day."""
        stood = self.on(site.id, start_ms, end_ms)
        contacts = [k.last_contact_ms for k in stood if k.last_contact_ms is not None]
        marks = [k.complete_until_ms for k in stood]
        known = [mark for mark in marks if mark is not None]
        whole = bool(marks) and len(known) == len(marks)
        return SiteState(
            name=site.name,
            kind=site.kind,
            last_contact=from_ms(max(contacts)) if contacts else None,
            complete_until=from_ms(min(known)) if whole else None,
            complete=self.complete(site.id, start_ms, end_ms),
            kiosks=tuple(k.device for k in stood),
        )


@dataclass(frozen=True)
class SiteState:
    """A site as far as one day is concerned.

    `complete_until` is the moment up to which every kiosk's records have arrived, None where that
    cannot be said; `complete` whether that covers the whole day.
    """

    name: str
    kind: str
    last_contact: datetime | None
    complete_until: datetime | None
    complete: bool
    kiosks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """Everything recorded within some days: facts and entries by official, and what was heard.

    `elsewhere` are verified class C facts whose interval may reach into other days. `heard` holds
    `(device, moment)` of contacts and records.
    """

    facts: dict[str, list[Fact]]
    entries: dict[str, Entry]
    doubtful: dict[str, list[Fact]]
    absences: dict[str, list[Absence]]
    heard: list[tuple[str, int]]


def people_of(session: Session, township: Township, code: str | None = None) -> list[Person]:
    """The officials of the township, active or not, by work group."""
    where = [Official.township_id == township.id]
    if code is not None:
        where.append(Official.official == code)
    expected: dict[int, list[tuple[int, str, int]]] = {}
    for official_id, site_id, name, mask in session.execute(
        select(Expectation.official_id, Site.id, Site.name, Expectation.weekdays)
        .join(Site, Site.id == Expectation.site_id)
        .join(Official, Official.id == Expectation.official_id)
        .where(*where)
        .order_by(Site.id)
    ):
        expected.setdefault(official_id, []).append((site_id, name, mask))
    rows = session.execute(
        select(Official, WorkGroup.name)
        .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
        .where(*where)
        .order_by(WorkGroup.id, Official.id)
    )
    return [Person(o, group or "", tuple(expected.get(o.id, ()))) for o, group in rows]


def span_of(
    session: Session,
    township: Township,
    start_ms: int,
    end_ms: int,
    code: str | None = None,
) -> Span:
    """What is known of `start_ms` until before `end_ms`, of everybody or of one official."""
    mine = [RecordRow.township_id == township.id, RecordRow.kind.in_(PERSON_KIND_WORDS)]
    if code is not None:
        mine.append(RecordRow.official == code)
    inside = RecordRow.at_ms.between(start_ms, end_ms - 1)
    reaching = (
        (RecordRow.cls == "C")
        & (RecordRow.latest_ms >= start_ms)
        & (RecordRow.earliest_ms < end_ms)
    )
    facts: dict[str, list[Fact]] = {}
    doubtful: dict[str, list[Fact]] = {}
    entries: dict[str, Entry] = {}
    heard: list[tuple[str, int]] = []
    for condition, found in ((inside, facts), (reaching, doubtful)):
        for row, site, kind in session.execute(
            select(RecordRow, Site.name, Site.kind)
            .outerjoin(Site, Site.id == RecordRow.site_id)
            .where(*mine, condition)
            .order_by(RecordRow.at_ms, RecordRow.id)
        ):
            found.setdefault(row.official or "", []).append(fact_of_row(row, site))
            entries[row.record_id] = entry_of(row, site or "", kind or "")
            if condition is inside and code is None:
                heard.append((row.device_id, row.at_ms))
    if code is not None:  # a kiosk was alive if it recorded anybody
        everybody = select(RecordRow.device_id, RecordRow.at_ms).where(
            RecordRow.township_id == township.id, inside
        )
        heard += [(device, ms) for device, ms in session.execute(everybody)]
    heard += [
        (device, ms)
        for device, ms in session.execute(
            select(Contact.device_id, Contact.server_ms).where(
                Contact.township_id == township.id,
                Contact.server_ms.between(start_ms, end_ms - 1),
            )
        )
    ]
    absences: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, start_ms, end_ms - 1, code):
        absences.setdefault(absence.official, []).append(absence)
    for listed in facts.values():
        kept = {fact.record_id for fact in standing(listed)}
        for fact in listed:
            if fact.record_id not in kept:
                old = entries[fact.record_id]
                entries[fact.record_id] = replace(old, flags=(*old.flags, flags.SUPERSEDED))
    return Span(facts, entries, doubtful, absences, heard)


def entry_of(row: RecordRow, site: str, site_kind: str) -> Entry:
    """A stored record as the sheet shows it."""
    cls = ClockClass(row.cls)
    narrow = row.latest_ms - row.earliest_ms <= SURE_MS
    certainty = "doubtful" if cls is ClockClass.C else "sure" if narrow else "between"
    return Entry(
        record_id=row.record_id,
        official=row.official or "",
        kind=row.kind,
        status=row.status or "",
        method=row.method or "",
        verified=row.verified,
        earliest_ms=row.earliest_ms,
        latest_ms=row.latest_ms,
        at_ms=row.at_ms,
        cls=cls,
        certainty=certainty,
        site=site,
        site_kind=site_kind,
        device=row.device_id,
        epoch=row.epoch,
        seq=row.seq,
        received_ms=row.received_ms,
        score=row.score,
        margin=row.margin,
        liveness=row.liveness,
        reason=row.reason,
        until_ms=row.until_ms,
        flags=tuple(row.flags or ()),
    )

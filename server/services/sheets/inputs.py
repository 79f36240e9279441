"""What bears on some days besides the roster, read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import Absence, Fact
from server.db import plain
from server.models import (
    Contact,
    Correction,
    CorrectionDecision,
    Device,
    RecordRow,
    Site,
    Township,
)
from server.rules import corrections
from server.rules.calendar import days_between
from server.rules.corrections import Ruling
from server.rules.verdict import Kiosk, Kiosks
from server.services.evidence import retention
from server.services.records.recordrows import between, day_number, with_ids
from server.services.sheets.roster import Roster
from server.services.township import leave
from server.services.township.newest import PERSON_KIND_WORDS

_KINDS = {str(kind): kind for kind in Kind}
_STATUSES = {str(status): status for status in Status}
_CLASSES = {str(cls): cls for cls in ClockClass}
#: Columns of a fact, in the order of `_fact`.
_FACT = (
    RecordRow.official,
    RecordRow.kind,
    RecordRow.status,
    RecordRow.earliest_ms,
    RecordRow.latest_ms,
    RecordRow.at_ms,
    RecordRow.cls,
    RecordRow.record_id,
    RecordRow.device_id,
    RecordRow.epoch,
    RecordRow.seq,
    RecordRow.verified,
    RecordRow.until_ms,
    RecordRow.reason,
    RecordRow.method,
    RecordRow.supersedes,
    RecordRow.flags,
    RecordRow.site_id,
)


@dataclass(frozen=True, slots=True)
class Flagged:
    """The flags that a record got as it arrived, besides its fact."""

    record_id: str
    site: str
    flags: tuple[str, ...]


@dataclass
class Facts:
    """Facts by calendar day and official, and the flags of those that have any, by record id."""

    by_day: dict[date, dict[str, list[Fact]]] = field(default_factory=dict)
    flagged: dict[str, Flagged] = field(default_factory=dict)

    def on(self, official: str, start_ms: int, end_ms: int) -> list[Fact]:
        """An official's facts from `start_ms` until before `end_ms`, a day and a half at most."""
        first, last = day_of(start_ms), day_of(end_ms - 1)
        found = self.by_day.get(first, {}).get(official, [])
        if last != first:
            found = found + self.by_day.get(last, {}).get(official, [])
        return [f for f in found if start_ms <= f.when.at_ms < end_ms]


@dataclass(frozen=True)
class Inputs:
    """All that bears on some days besides roster and facts.

    `signatures` changes for a day when a record of it arrives; `doubtful` are class C facts that
    may reach into other days; `rulings` are by day.
    """

    kiosks: Kiosks
    absences: dict[str, list[Absence]]
    doubtful: dict[str, list[Fact]]
    rulings: dict[date, list[Ruling]]
    signatures: dict[date, tuple[int, int]]


def inputs_of(
    session: Session,
    township: Township,
    roster: Roster,
    first: date,
    last: date,
    code: str | None = None,
    signed: bool = True,
) -> Inputs:
    """What bears on the days from `first` to `last`, of everybody or of one official (the code).

    Without `signed` no signatures are made, for whoever keeps nothing.
    """
    start, end = day_start_ms(first), day_start_ms(last) + DAY_MS
    absences: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, start, end + DAY_MS, code, roster):
        absences.setdefault(absence.official, []).append(absence)
    return Inputs(
        kiosks_of(session, township),
        absences,
        _doubtful(session, township, roster, start, end + DAY_MS, code),
        rulings_of(session, township, first, last, code),
        _signatures(session, township, roster, start, end) if signed else {},
    )


def kiosks_of(session: Session, township: Township) -> Kiosks:
    """The township's kiosks by site."""
    at: dict[int, list[Kiosk]] = {}
    for d in plain(
        session,
        select(
            Device.id,
            Device.paired_ms,
            Device.revoked_ms,
            Device.complete_until_ms,
            Device.last_contact_ms,
            Device.site_id,
        )
        .where(Device.township_id == township.id, Device.kind == "kiosk")
        .order_by(Device.id),
    ):
        if d.site_id is not None:
            at.setdefault(d.site_id, []).append(Kiosk(*d[:5]))
    return Kiosks(at, retention.removed_until(session))


def rulings_of(
    session: Session, township: Township, first: date, last: date, code: str | None = None
) -> dict[date, list[Ruling]]:
    """Approved corrections in effect, by day."""
    query = (
        select(*Correction.__table__.columns, Site.name, Site.kind.label("of_kind"))
        .join(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .outerjoin(Site, Site.id == Correction.site_id)
        .where(
            Correction.township_id == township.id,
            Correction.day.between(first.isoformat(), last.isoformat()),
            CorrectionDecision.approved,
        )
        .order_by(Correction.id)
    )
    if code is not None:
        query = query.where((Correction.official == code) | (Correction.really == code))
    proposed: list[Ruling] = []
    undone: list[tuple[int, int]] = []
    for row in plain(session, query):
        if row.undoes is not None:
            undone.append((row.id, row.undoes))
            continue
        proposed.append(
            Ruling(
                row.id, row.official, date.fromisoformat(row.day), row.kind, row.record_id,
                row.name or "", row.of_kind or "", row.start_ms, row.end_ms, row.really,
            )
        )  # fmt: skip
    found: dict[date, list[Ruling]] = {}
    for ruling in corrections.in_effect(proposed, undone):
        found.setdefault(ruling.day, []).append(ruling)
    return found


def _signatures(
    session: Session, township: Township, roster: Roster, start: int, end: int
) -> dict[date, tuple[int, int]]:
    """How many records a calendar day has and the highest id: neither stays when one arrives.

    A day more on each side where there are night shifts. Days are counted as the index counts them,
    so that PostgreSQL knows how many there are and sorts no month of records.
    """
    day, since = day_number(), date(1970, 1, 1)
    reach = DAY_MS if roster.overnight else 0
    first, last = (day_of(ms) - since for ms in (start - reach, end + reach - 1))
    rows = plain(
        session,
        select(day, func.count(), func.max(RecordRow.id))
        .where(RecordRow.township_id == township.id, day.between(first.days, last.days))
        .group_by(day),
    )
    return {since + timedelta(int(row[0])): (row[1], row[2]) for row in rows}


def _sites(roster: Roster) -> dict[int | None, str]:
    """Names by id: looked up here, neither joined to tens of thousands of rows nor asked for."""
    return {number: place.name for number, place in roster.places.items()}


def _fact(row: Any, sites: Mapping[int | None, str]) -> Fact:
    """A row of `_FACT` as a fact; the column of flags is left to the caller."""
    (
        official, kind, status, earliest_ms, latest_ms, at_ms, cls, record_id, device, epoch, seq,
        verified, until_ms, reason, method, supersedes, _, site_id,
    ) = row  # fmt: skip
    return Fact(
        official or "",
        _KINDS[kind],
        _STATUSES[status or "unknown"],
        Estimate(earliest_ms, latest_ms, at_ms, _CLASSES[cls]),
        record_id,
        device,
        epoch,
        seq,
        verified,
        until_ms,
        reason,
        method,
        sites.get(site_id),
        supersedes,
    )


def _doubtful(
    session: Session, township: Township, roster: Roster, start: int, end: int, code: str | None
) -> dict[str, list[Fact]]:
    query = (
        select(*_FACT)
        .where(
            RecordRow.township_id == township.id,
            RecordRow.cls == "C",
            RecordRow.kind.in_(PERSON_KIND_WORDS),
            RecordRow.latest_ms >= start,
            RecordRow.earliest_ms < end,
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    if code is not None:
        query = query.where(RecordRow.official == code)
    sites = _sites(roster)
    found: dict[str, list[Fact]] = {}
    for row in plain(session, query):
        found.setdefault(row[0] or "", []).append(_fact(row, sites))
    return found


def facts_of(
    session: Session,
    township: Township,
    roster: Roster,
    start_ms: int,
    end_ms: int,
    codes: Collection[str] | None = None,
    also: Iterable[str] = (),
) -> Facts:
    """The facts from `start_ms` until before `end_ms`, of everybody or of some officials.

    `also` are ids of records of others that are needed beside their own.
    """
    query = (
        select(*_FACT)
        .where(
            RecordRow.township_id == township.id,
            between(start_ms, end_ms - 1),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    if codes is not None:
        others = list(also)
        mine = RecordRow.official.in_(codes)
        query = query.where(mine | with_ids(township.id, others) if others else mine)
    made, sites = Facts(), _sites(roster)
    day_ms, day = 0, date.min
    held: dict[str, list[Fact]] = {}
    for row in plain(session, query).all():
        fact = _fact(row, sites)
        at_ms = row[5]
        if not day_ms <= at_ms < day_ms + DAY_MS:
            day = day_of(at_ms)
            day_ms, held = day_start_ms(day), made.by_day.setdefault(day, {})
        own = held.get(fact.official)
        if own is None:
            held[fact.official] = [fact]
        else:
            own.append(fact)
        if row[16]:
            made.flagged[fact.record_id] = Flagged(fact.record_id, fact.site or "", tuple(row[16]))
    return made


def heard_between(
    session: Session, township: Township, first: date, last: date, devices: Sequence[str]
) -> dict[date, set[str]]:
    """Which of these devices recorded or called on each day from `first` to `last`.

    Nearly all of them called; records are asked for only of those that did not, every day.
    """
    start, end = day_start_ms(first), day_start_ms(last) + DAY_MS
    found: dict[date, set[str]] = {day: set() for day in days_between(first, last)}
    for of, at, within in (
        (Contact, Contact.server_ms, Contact.server_ms.between(start, end - 1)),
        (RecordRow, RecordRow.at_ms, between(start, end - 1)),
    ):
        silent = [d for d in devices if any(d not in heard for heard in found.values())]
        if not silent:
            break
        asked = (
            select(of.device_id, ((at - start) // DAY_MS).label("day"))
            .where(of.township_id == township.id, of.device_id.in_(silent), within)
            .distinct()
        )
        for device, number in plain(session, asked):
            found[first + timedelta(int(number))].add(device)
    return found

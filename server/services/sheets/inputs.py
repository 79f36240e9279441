"""What bears on some days besides the roster, read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, String, bindparam, func, select, text
from sqlalchemy.orm import Session

from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.whereabouts import Absence, Fact
from server.db import plain
from server.models import (
    Contact,
    Correction,
    CorrectionDecision,
    Device,
    EpochRow,
    RecordRow,
    Site,
    Township,
)
from server.models.evidence import REACHES
from server.rules import corrections
from server.rules.calendar import days_between
from server.rules.corrections import Ruling
from server.rules.verdict import Kiosk, Kiosks, believed
from server.services.evidence import retention
from server.services.records.recordrows import (
    between,
    day_number,
    moments,
    within_days,
)
from server.services.sheets.facts import FACT, fact_of, site_names
from server.services.sheets.roster import Roster
from server.services.township import leave
from server.services.township.newest import PERSON_KIND_WORDS


@dataclass(frozen=True)
class Inputs:
    """All that bears on some days besides roster and facts.

    `signatures` changes for a day when a record of it arrives; `doubtful` are facts that may be of
    other days than that of their best guess; `rulings` are by day.
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
    now_ms: int,
    code: str | None = None,
    signed: bool = True,
) -> Inputs:
    """What bears on the days from `first` to `last`, of everybody or of one official (the code), at
    the moment `now_ms`.

    Without `signed` no signatures are made, for whoever keeps nothing.
    """
    start, end = day_start_ms(first), day_start_ms(last) + DAY_MS
    absences: dict[str, list[Absence]] = {}
    for absence in leave.absences(session, township, start, end + DAY_MS, code, roster):
        absences.setdefault(absence.official, []).append(absence)
    return Inputs(
        kiosks_of(session, township, now_ms),
        absences,
        _doubtful(session, township, roster, start, end + DAY_MS, code),
        rulings_of(session, township, first, last, code),
        _signatures(session, township, roster, start, end) if signed else {},
    )


def kiosks_of(session: Session, township: Township, now_ms: int) -> Kiosks:
    """The township's kiosks by site, as complete as they are known to be at `now_ms`.

    One is complete only until the day of the first record of it that was set aside and that nobody
    has reviewed (`server.services.records.apart`).
    """
    at: dict[int, list[Kiosk]] = {}
    for row in plain(session, _kiosks_asked(), {"township": township.id}).all():
        site_id, device, paired_ms, revoked_ms, until_ms, contact_ms, apart_ms, opened_ms = row
        until_ms = believed(until_ms, now_ms)
        if apart_ms is not None:
            apart_ms = day_start_ms(day_of(apart_ms))
            until_ms = None if until_ms is None else min(until_ms, apart_ms)
        if site_id is not None:
            again_ms = opened_ms if opened_ms is not None and opened_ms > paired_ms else None
            kiosk = Kiosk(
                device, paired_ms, revoked_ms, until_ms, contact_ms, apart_ms, again_ms
            )
            at.setdefault(site_id, []).append(kiosk)
    return Kiosks(at, retention.removed_until(session))


# Put together once, as what a sheet asks at every look: that takes as long as some of the answers.
@cache
def _kiosks_asked() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Device.site_id,
            Device.id,
            Device.paired_ms,
            Device.revoked_ms,
            Device.complete_until_ms,
            Device.last_contact_ms,
            Device.apart_from_ms,
            EpochRow.opened_ms,
        )
        .outerjoin(EpochRow, (EpochRow.device_id == Device.id) & (EpochRow.epoch == 1))
        .where(Device.township_id == bindparam("township"), Device.kind == "kiosk")
        .order_by(Device.id)
    )


def rulings_of(
    session: Session, township: Township, first: date, last: date, code: str | None = None
) -> dict[date, list[Ruling]]:
    """Approved corrections in effect, by day."""
    asked = {"township": township.id, "first": first.isoformat(), "last": last.isoformat()}
    rows = plain(session, _rulings_asked(code is not None), {**asked, "code": code}).all()
    proposed: list[Ruling] = []
    undone: list[tuple[int, int]] = []
    for row in rows:
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


@cache
def _rulings_asked(of_one: bool) -> Select[*tuple[Any, ...]]:
    query = (
        select(*Correction.__table__.columns, Site.name, Site.kind.label("of_kind"))
        .join(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .outerjoin(Site, Site.id == Correction.site_id)
        .where(
            Correction.township_id == bindparam("township"),
            Correction.day.between(bindparam("first"), bindparam("last")),
            CorrectionDecision.approved,
        )
        .order_by(Correction.id)
    )
    if not of_one:
        return query
    code = bindparam("code", type_=String)
    return query.where((Correction.official == code) | (Correction.really == code))


def _signatures(
    session: Session, township: Township, roster: Roster, start: int, end: int
) -> dict[date, tuple[int, int]]:
    """How many records a calendar day has and the highest id: neither stays when one arrives.

    A day more on each side where there are night shifts. Days are counted as the index counts them,
    so that PostgreSQL knows how many there are and sorts no month of records.
    """
    reach, since = DAY_MS if roster.overnight else 0, date(1970, 1, 1)
    asked = {"township": township.id, **moments(start - reach, end + reach - 1)}
    rows = plain(session, _signatures_asked(), asked).all()
    return {since + timedelta(int(row[0])): (row[1], row[2]) for row in rows}


@cache
def _signatures_asked() -> Select[*tuple[Any, ...]]:
    day = day_number()
    return (
        select(day, func.count(), func.max(RecordRow.id))
        .where(RecordRow.township_id == bindparam("township"), within_days())
        .group_by(day)
    )


def _doubtful(
    session: Session, township: Township, roster: Roster, start: int, end: int, code: str | None
) -> dict[str, list[Fact]]:
    asked = {"township": township.id, "start": start, "end": end, "code": code}
    sites = site_names(roster)
    found: dict[str, list[Fact]] = {}
    for row in plain(session, _doubtful_asked(code is not None), asked).all():
        found.setdefault(row[0] or "", []).append(fact_of(row, sites))
    return found


@cache
def _doubtful_asked(of_one: bool) -> Select[*tuple[Any, ...]]:
    query = (
        select(*FACT)
        .where(
            RecordRow.township_id == bindparam("township"),
            text(REACHES),  # the index's own words
            RecordRow.kind.in_(PERSON_KIND_WORDS),
            RecordRow.latest_ms >= bindparam("start"),
            RecordRow.earliest_ms < bindparam("end"),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    return query.where(RecordRow.official == bindparam("code")) if of_one else query


def heard_between(
    session: Session, township: Township, first: date, last: date, devices: Sequence[str]
) -> dict[date, set[str]]:
    """Which of these devices recorded or called on each day from `first` to `last`.

    Nearly all of them called; records are asked for only of those that did not, every day.
    """
    start, end = day_start_ms(first), day_start_ms(last) + DAY_MS
    found: dict[date, set[str]] = {day: set() for day in days_between(first, last)}
    for of, at, span in (
        (Contact, Contact.server_ms, Contact.server_ms.between(start, end - 1)),
        (RecordRow, RecordRow.at_ms, between(start, end - 1)),
    ):
        silent = [d for d in devices if any(d not in heard for heard in found.values())]
        if not silent:
            break
        asked = (
            select(of.device_id, ((at - start) // DAY_MS).label("day"))
            .where(of.township_id == township.id, of.device_id.in_(silent), span)
            .distinct()
        )
        for device, number in plain(session, asked):
            found[first + timedelta(int(number))].add(device)
    return found

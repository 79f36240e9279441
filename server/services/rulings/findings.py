"""Findings: opened by an inspector, answered by a clerk, closed by who opened or another one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from attendance.days import from_ms, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import (
    Attachment,
    Correction,
    Finding,
    FindingEvent,
    Official,
    Site,
    Township,
    User,
)
from server.rules.findings import KINDS, may_follow, state
from server.services.access.permissions import Act, may, not_own, require
from server.services.township.rosters import official_of, site_named
from server.services.township.townships import clean

#: Findings whose events are asked for one by one; for more, all of the township's are.
MOST_NAMED = 1000


@dataclass(frozen=True)
class Step:
    """One event of a finding."""

    what: str
    text: str
    attachment_id: int | None
    by: str
    at: datetime


@dataclass(frozen=True)
class Found:
    """A finding with its events, oldest first. `state` is one of `server.rules.findings.STATES`."""

    id: int
    kind: str
    day: date
    official: str | None
    name: str
    site: str
    record_id: str | None
    spot_check_id: int | None
    correction_id: int | None
    text: str
    by: str
    at: datetime
    state: str
    steps: tuple[Step, ...]


def open_finding(
    session: Session,
    township: Township,
    kind: str,
    day: date,
    text: str,
    by: User,
    now: datetime,
    official: str | None = None,
    site: str = "",
    record_id: str | None = None,
    spot_check_id: int | None = None,
) -> Finding:
    """Opens a finding. Raises NotAllowed, NotFound, InputInvalid."""
    require(by, Act.INSPECT, township)
    not_own(by, official)
    text = clean(text, 1000)
    if kind not in KINDS or not text:
        raise InputInvalid("finding", say("请写明发现了什么", "say what was found"), "text")
    if official is not None:
        official_of(session, township, official)
    place = site_named(session, township, site) if site else None
    row = Finding(
        township_id=township.id, kind=kind, day=day.isoformat(), official=official,
        site_id=None if place is None else place.id, record_id=record_id,
        spot_check_id=spot_check_id, text=text, by=by.name, by_official=by.official,
        at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def note_mistake(session: Session, correction: Correction, by: User, now: datetime) -> Finding:
    """The finding that follows an approved mistaken identity, until both are enrolled again."""
    row = Finding(
        township_id=correction.township_id, kind="mistaken", day=correction.day,
        official=correction.official, record_id=correction.record_id, correction_id=correction.id,
        text=correction.reason, by=by.name, by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def add_event(
    session: Session,
    township: Township,
    finding_id: int,
    what: str,
    text: str,
    by: User,
    now: datetime,
    attachment: Attachment | None = None,
) -> FindingEvent:
    """Appends an event: an answer, a closing (inspectors and leaders), a reopening, a note.

    Whoever a finding is about may answer it or note on it where their role does: that explains and
    decides nothing. Raises NotAllowed (role; nobody closes or reopens what is about themselves),
    NotFound, InputInvalid.
    """
    require(by, Act.ANSWER, township)
    found = one(session, township, finding_id)
    if what in ("closed", "reopened"):
        if not (may(by, Act.INSPECT) or may(by, Act.DECIDE)):
            raise NotAllowed(say("由督导组或领导办结", "an inspector or a leader closes a finding"))
        not_own(by, found.official)
    text = clean(text, 1000)
    if not may_follow(found.state, what):
        raise InputInvalid("event", say("当前状态下不能这样做", "that cannot follow"), "what")
    if not text:
        raise InputInvalid("text", say("请写明情况", "say what there is to say"), "text")
    row = FindingEvent(
        township_id=township.id, finding_id=finding_id, what=what, text=text,
        attachment_id=None if attachment is None else attachment.id, by=by.name,
        by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def one(session: Session, township: Township, finding_id: int) -> Found:
    """One finding. Raises NotFound."""
    found = listing(session, township, finding_id=finding_id)
    if not found:
        raise NotFound(say("没有这条督导发现", "there is no such finding"))
    return found[0]


def number(session: Session, township: Township, wanted: str = "", above: int = 0) -> int:
    """How many findings there are, of one state where asked (`server.rules.findings.STATES`), and
    newer than the one with the id `above`."""
    query = select(func.count()).select_from(Finding).where(Finding.township_id == township.id)
    if above:
        query = query.where(Finding.id > above)
    return session.scalar(_of_state(query, township, wanted)) or 0


def _of_state(query: Any, township: Township, wanted: str) -> Any:  # Selects, as in corrections
    """The query with those alone whose events leave them in a state, all where it is "".

    The same as `server.rules.findings.state`: whatever was before is open from the last reopening
    on; since then, closed once it was closed, else answered once it was answered.
    """
    if not wanted:
        return query

    def last(what: str) -> Any:
        return func.coalesce(func.max(case((FindingEvent.what == what, FindingEvent.id))), 0)

    held = (
        select(
            FindingEvent.finding_id,
            case(
                (last("closed") > last("reopened"), "closed"),
                (last("answered") > last("reopened"), "answered"),
                else_="open",
            ).label("state"),
        )
        .where(FindingEvent.township_id == township.id)
        .group_by(FindingEvent.finding_id)
        .subquery()
    )
    joined = query.outerjoin(held, held.c.finding_id == Finding.id)
    return joined.where(func.coalesce(held.c.state, "open") == wanted)


def listing(
    session: Session,
    township: Township,
    wanted: str = "",
    official: str | None = None,
    finding_id: int | None = None,
    limit: int | None = None,
    ids: Collection[int] | None = None,
    first: int = 0,
) -> list[Found]:
    """Findings, newest first, of one state, official or set where asked, in two queries: all of
    them, or `limit` from number `first` (from 0) on."""
    query = (
        select(Finding, Official.name, Site.name)
        .outerjoin(
            Official,
            (Official.official == Finding.official) & (Official.township_id == Finding.township_id),
        )
        .outerjoin(Site, Site.id == Finding.site_id)
        .where(Finding.township_id == township.id)
        .order_by(Finding.id.desc())
    )
    if limit is not None:
        query = query.limit(limit).offset(first)
    if official is not None:
        query = query.where(Finding.official == official)
    if finding_id is not None:
        query = query.where(Finding.id == finding_id)
    if ids is not None:
        query = query.where(Finding.id.in_(ids))
    rows = session.execute(_of_state(query, township, wanted)).all()
    steps: dict[int, list[Step]] = {}
    if rows:
        events = select(FindingEvent).where(FindingEvent.township_id == township.id)
        if len(rows) <= MOST_NAMED:
            events = events.where(FindingEvent.finding_id.in_([row[0].id for row in rows]))
        for event in session.scalars(events.order_by(FindingEvent.id)):
            steps.setdefault(event.finding_id, []).append(
                Step(event.what, event.text, event.attachment_id, event.by, from_ms(event.at_ms))
            )
    return [
        Found(
            f.id, f.kind, date.fromisoformat(f.day), f.official, name or "", site or "",
            f.record_id, f.spot_check_id, f.correction_id, f.text, f.by, from_ms(f.at_ms),
            state([s.what for s in steps.get(f.id, ())]), tuple(steps.get(f.id, ())),
        )
        for f, name, site in rows
    ]  # fmt: skip

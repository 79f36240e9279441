"""Corrections: proposed with a reason, decided by another person, shown beside the original."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session, aliased

from attendance.days import day_of, from_ms, to_ms
from attendance.i18n import say
from server.db import plain
from server.errors import InputInvalid, NotFound
from server.models import (
    Attachment,
    Correction,
    CorrectionDecision,
    Official,
    Site,
    Township,
    User,
)
from server.rules.corrections import KINDS, OF_RECORDS
from server.services.access.permissions import Act, another_person, not_own, require
from server.services.rulings import findings
from server.services.sheets.days import in_day, person_days
from server.services.township.rosters import official_of, site_named
from server.services.township.townships import clean


@dataclass(frozen=True)
class Draft:
    """What somebody proposes; see `server.models.Correction`."""

    official: str
    day: date
    kind: str
    reason: str
    record_id: str | None = None
    site: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    really: str | None = None
    undoes: int | None = None


@dataclass(frozen=True)
class Ruled:
    """A correction with its decision. `state` is `proposed`, `approved`, `refused` or `undone`."""

    id: int
    official: str
    name: str
    day: date
    kind: str
    record_id: str | None
    site: str
    start_ms: int | None
    end_ms: int | None
    really: str | None
    undoes: int | None
    reason: str
    attachment_id: int | None
    attachment: str
    by: str
    by_official: str | None
    at: datetime
    state: str
    decided_by: str | None
    decided: datetime | None
    note: str


def propose(
    session: Session,
    township: Township,
    draft: Draft,
    by: User,
    now: datetime,
    attachment: Attachment | None = None,
) -> Correction:
    """Appends a proposal, which changes nothing until another person approves it.

    Raises NotAllowed (role; nobody corrects their own), NotFound (official, site, record) or
    InputInvalid (kind, times, reason).
    """
    require(by, Act.PROPOSE, township)
    not_own(by, draft.official, draft.really)
    reason = clean(draft.reason, 500)
    if not reason:
        raise InputInvalid("reason", say("请写明理由", "give the reason"), "reason")
    if draft.kind not in KINDS:
        raise InputInvalid("kind", say("请选择更正的种类", "choose a kind of correction"), "kind")
    if draft.day > day_of(to_ms(now)):
        raise InputInvalid("day", say("不能更正将来的日子", "that day is to come"), "day")
    official_of(session, township, draft.official)
    site, really = None, draft.really if draft.kind == "mistaken" else None
    if draft.kind == "undo":
        # Whom an undo concerns is whom that concerned which it takes back.
        root = _root(session, _undoable(session, township, draft))
        really = root.really
        not_own(by, root.official, really)
    else:
        site, draft = _checked(session, township, draft, now)
    row = Correction(
        township_id=township.id, official=draft.official, day=draft.day.isoformat(),
        kind=draft.kind, record_id=draft.record_id if draft.kind in OF_RECORDS else None,
        site_id=None if site is None else site.id, start_ms=draft.start_ms, end_ms=draft.end_ms,
        really=really, undoes=draft.undoes,
        reason=reason, attachment_id=None if attachment is None else attachment.id, by=by.name,
        by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def decide(
    session: Session,
    correction_id: int,
    approve: bool,
    note: str,
    by: User,
    now: datetime,
) -> CorrectionDecision:
    """Appends the decision, once. Raises NotFound, NotAllowed, InputInvalid (decided already).

    An approved `mistaken` opens a finding: the person's templates let somebody else in.
    """
    require(by, Act.DECIDE, by.township_id)
    row = session.scalar(
        select(Correction).where(
            Correction.id == correction_id, Correction.township_id == by.township_id
        )
    )
    if row is None:
        raise NotFound(say("没有这条更正", "there is no such correction"))
    root = _root(session, row)
    not_own(by, root.official, root.really)
    another_person(by, row.by, row.by_official)
    if _decision(session, row.id) is not None:
        raise InputInvalid("decided", say("已有决定", "that is decided already"))
    if approve and row.undoes is not None and _undone(session, by.township_id, row.undoes):
        raise InputInvalid("undone", say("已经撤销", "that is undone already"))
    made = CorrectionDecision(
        township_id=row.township_id, correction_id=row.id, approved=approve,
        note=clean(note, 500), by=by.name, by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(made)
    session.flush()
    if approve and row.kind == "mistaken":
        findings.note_mistake(session, row, by, now)
    return made


def listing(
    session: Session,
    township: Township,
    state: str = "",
    official: str | None = None,
    day: date | None = None,
    limit: int | None = None,
    first: int = 0,
) -> list[Ruled]:
    """Corrections, newest first, with their decisions; filtered where asked: all of them, or
    `limit` from number `first` (from 0) on."""
    query = _query(township).order_by(Correction.id.desc())
    if limit is not None:
        query = query.limit(limit).offset(first)
    if official is not None:
        query = query.where((Correction.official == official) | (Correction.really == official))
    if day is not None:
        query = query.where(Correction.day == day.isoformat())
    return _views(session, township, _of_state(session, township, query, state))


def number(session: Session, township: Township, state: str = "") -> int:
    """How many corrections there are, of one state where asked."""
    query = (
        select(func.count())
        .select_from(Correction)
        .outerjoin(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .where(Correction.township_id == township.id)
    )
    return session.scalar(_of_state(session, township, query, state)) or 0


def _of_state(session: Session, township: Township, query: Any, state: str) -> Any:
    """The query with those alone that are in a state, all where it is ""."""
    if not state:
        return query
    if state == "proposed":
        return query.where(CorrectionDecision.id.is_(None))
    query = query.where(CorrectionDecision.approved == (state != "refused"))
    if state == "refused":
        return query
    # Whether an undo holds hangs on those of itself: followed outside of SQL, of few corrections.
    asked = session.scalars(select(Correction.undoes).where(
        Correction.township_id == township.id, Correction.undoes.is_not(None)
    ))  # fmt: skip
    undone = undone_of(session, township.id, (one for one in asked if one is not None))
    within = Correction.id.in_(sorted(undone))
    return query.where(within if state == "undone" else ~within)


def by_ids(session: Session, township: Township, ids: Iterable[int]) -> dict[int, Ruled]:
    """Corrections by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    query = _query(township).where(Correction.id.in_(wanted))
    return {one.id: one for one in _views(session, township, query)}


def of_days(
    session: Session, township: Township, first: date, last: date, codes: Iterable[str]
) -> dict[tuple[str, date], list[Ruled]]:
    """All corrections, decided or not, of some officials' days, oldest first."""
    within = Correction.day.between(first.isoformat(), last.isoformat())
    asked = {"township": township.id, "first": first.isoformat(), "last": last.isoformat()}
    if plain(session, _any_asked(), asked).first() is None:
        return {}  # as on most days; the other question names a page of people
    query = (
        _query(township)
        .where(
            within,
            Correction.official.in_(list(codes)),
        )
        .order_by(Correction.id)
    )
    found: dict[tuple[str, date], list[Ruled]] = {}
    for one in _views(session, township, query):
        found.setdefault((one.official, one.day), []).append(one)
    return found


@cache
def _any_asked() -> Select[int]:
    return (
        select(Correction.id)
        .where(
            Correction.township_id == bindparam("township"),
            Correction.day.between(bindparam("first"), bindparam("last")),
        )
        .limit(1)
    )


def _checked(
    session: Session, township: Township, draft: Draft, now: datetime
) -> tuple[Site | None, Draft]:
    """What must hold of the proposal's own fields; the site that it names, and the proposal with
    its times where the official's day has them: two o'clock of a night shift is tomorrow's."""
    _, _, (day,) = person_days(session, township, draft.official, [draft.day], now)
    one = day.people[draft.official]
    start, end = (
        None if typed is None else in_day(typed, draft.day, one.expected, one.end_ms)
        for typed in (draft.start_ms, draft.end_ms)
    )
    draft = replace(draft, start_ms=start, end_ms=end)
    if draft.kind in OF_RECORDS and draft.record_id not in one.records:
        raise NotFound(say("当天没有这条记录", "that day has no such record"))
    if draft.kind == "mistaken" and draft.really is not None:
        official_of(session, township, draft.really)
        if draft.really == draft.official:
            raise InputInvalid("really", say("是同一人", "that is the same person"), "really")
    if draft.kind in ("presence", "time"):
        inside = start is not None and one.start_ms <= start < one.end_ms
        if not inside or (start or 0) > to_ms(now):
            raise InputInvalid("start", say("时间须在当天", "the time is not of that day"), "start")
        if end is not None and not (start or 0) < end <= one.end_ms:
            raise InputInvalid("end", say("结束须晚于开始", "it must end after it starts"), "end")
    named = draft.kind == "presence" or (draft.kind == "direction" and draft.site)
    return site_named(session, township, draft.site) if named else None, draft


def _root(session: Session, row: Correction) -> Correction:
    """What an undo, of an undo perhaps, is about in the end; any other correction itself."""
    while row.undoes is not None:
        row = session.scalars(select(Correction).where(Correction.id == row.undoes)).one()
    return row


def _undoable(session: Session, township: Township, draft: Draft) -> Correction:
    """The approved correction that the draft takes back. Raises NotFound or InputInvalid."""
    held = session.scalar(
        select(Correction).where(
            Correction.id == (draft.undoes or 0), Correction.township_id == township.id
        )
    )
    decision = None if held is None else _decision(session, held.id)
    if held is None or decision is None or not decision.approved:
        raise NotFound(say("没有可撤销的更正", "there is no approved correction to undo"))
    if (held.official, held.day) != (draft.official, draft.day.isoformat()):
        raise NotFound(say("没有可撤销的更正", "there is no approved correction to undo"))
    if _undone(session, township.id, held.id):
        raise InputInvalid("undone", say("已经撤销", "that is undone already"))
    return held


def _decision(session: Session, correction_id: int) -> CorrectionDecision | None:
    return session.scalar(
        select(CorrectionDecision).where(CorrectionDecision.correction_id == correction_id)
    )


def _undone(session: Session, township_id: int, correction_id: int) -> bool:
    return correction_id in undone_of(session, township_id, [correction_id])


def undone_of(session: Session, township_id: int, ids: Iterable[int]) -> set[int]:
    """Those that an approved `undo` takes back which is not itself undone."""
    wanted = set(ids)
    # An undo may itself be undone, and so on: followed from `ids` alone, in one question.
    held = (
        select(Correction.id, Correction.undoes)
        .where(Correction.township_id == township_id, Correction.undoes.in_(wanted))
        .cte(recursive=True)
    )
    further = aliased(Correction)
    held = held.union(
        select(further.id, further.undoes).where(
            further.township_id == township_id, further.undoes == held.c.id
        )
    )
    rows = session.execute(
        select(held.c.id, held.c.undoes)
        .join(CorrectionDecision, CorrectionDecision.correction_id == held.c.id)
        .where(CorrectionDecision.approved)
        .order_by(held.c.id.desc())
    )
    gone: set[int] = set()
    for undo, target in rows:
        if undo not in gone and target is not None:
            gone.add(target)
    return gone & wanted


def _query(township: Township) -> Any:  # a Select, whose type differs between releases
    return (
        select(Correction, CorrectionDecision, Official.name, Site.name, Attachment.name)
        .join(
            Official,
            (Official.official == Correction.official)
            & (Official.township_id == Correction.township_id),
        )
        .outerjoin(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .outerjoin(Site, Site.id == Correction.site_id)
        .outerjoin(Attachment, Attachment.id == Correction.attachment_id)
        .where(Correction.township_id == township.id)
    )


def _views(
    session: Session,
    township: Township,
    query: Any,
) -> list[Ruled]:
    rows = session.execute(query).all()
    undone = undone_of(session, township.id, [row[0].id for row in rows]) if rows else set()
    return [_view(r[0], r[1], r[2], r[3], r[4], r[0].id in undone) for r in rows]


def _view(
    row: Correction,
    decision: CorrectionDecision | None,
    name: str,
    site: str | None,
    attachment: str | None,
    undone: bool,
) -> Ruled:
    if decision is None:
        state = "proposed"
    elif not decision.approved:
        state = "refused"
    else:
        state = "undone" if undone else "approved"
    return Ruled(
        row.id, row.official, name, date.fromisoformat(row.day), row.kind, row.record_id,
        site or "", row.start_ms, row.end_ms, row.really, row.undoes, row.reason,
        row.attachment_id, attachment or "", row.by, row.by_official, from_ms(row.at_ms), state,
        None if decision is None else decision.by,
        None if decision is None else from_ms(decision.at_ms),
        "" if decision is None else decision.note,
    )  # fmt: skip

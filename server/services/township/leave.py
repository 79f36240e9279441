"""Leave and trips: entered by somebody, decided by a leader who is neither that person nor the
one concerned (`server.services.township.deciders`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session

from attendance.days import day_of, from_ms, to_ms
from attendance.i18n import say
from attendance.statuses import Status
from attendance.whereabouts import Absence
from server.db import plain
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import LeaveDecision, LeaveRow, LeaveStep, Official, Township, User
from server.rules import leave as rules
from server.rules.terms import LeaveTerms, in_force
from server.services.access.permissions import Act, may, not_own
from server.services.sheets.roster import Roster, roster_of
from server.services.township.deciders import WHY, Deciders, deciders, require_other
from server.services.township.townships import clean

#: Longest leave that can be entered at once: maternity leave with its extensions stays below.
MAX_DAYS = 366
#: Working days around leave within which the leave page counts what adjoins it.
FAR_DAYS = 60
_LEAVE, _DECISION, _STEP = (of.__table__.columns for of in (LeaveRow, LeaveDecision, LeaveStep))


@dataclass(frozen=True)
class Leave:
    """One leave or trip with its latest decision.

    `state` is one of `server.rules.leave.STATES`; `days` are the working days that it touches,
    `counted` those together with leave entered before it that adjoins it (of a trip its own);
    `approver` who has the last word on that many; `reference` the county's paper.
    """

    id: int
    official: str
    name: str
    status: Status
    start: datetime
    end: datetime
    reason: str
    asked_by: str
    asked: datetime
    state: str
    decided_by: str | None
    decided: datetime | None
    days: int = 0
    approver: str = "township"
    reference: str = ""
    counted: int = 0


def ask(
    session: Session,
    township: Township,
    official: str,
    status: Status,
    start: datetime,
    end: datetime,
    reason: str,
    by: User,
    now: datetime,
) -> LeaveRow:
    """Enters leave or a trip of `official` (the code) from `start` until before `end`.

    Raises NotAllowed (role), NotFound (official) or InputInvalid (status, times).
    """
    if not may(by, Act.ENTER_LEAVE) or by.township_id != township.id:
        raise NotAllowed(say("该账号无权登记请假", "this account may not enter leave"))
    found = session.scalar(
        select(Official.id).where(
            Official.township_id == township.id, Official.official == official
        )
    )
    if found is None:
        raise NotFound(say(f"名册中没有编号 {official}", f"the roster has no official {official}"))
    if status not in (Status.ON_LEAVE, Status.BUSINESS_TRIP):
        raise InputInvalid(
            "leave_status", say("只能是请假或出差", "leave or a trip only"), "status"
        )
    length = end - start
    if length.total_seconds() <= 0 or length.days > MAX_DAYS:
        raise InputInvalid(
            "leave_times",
            say(
                f"结束须晚于开始，且不超过 {MAX_DAYS} 天",
                f"it must end after it starts, and last at most {MAX_DAYS} days",
            ),
            "end",
        )
    row = LeaveRow(
        township_id=township.id,
        official=official,
        status=str(status),
        start_ms=to_ms(start),
        end_ms=to_ms(end),
        reason=clean(reason, 200),
        asked_by=by.name,
        asked_ms=to_ms(now),
    )
    session.add(row)
    session.flush()
    return row


def decide(
    session: Session, leave_id: int, approve: bool, by: User, now: datetime
) -> LeaveDecision:
    """Appends a decision; the latest counts. A leader's alone, and nobody decides their own, nor
    what they entered or imported.

    Raises NotFound or NotAllowed (`own_leave`, `entered_leave`: `deciders.WHY`).
    """
    if not may(by, Act.DECIDE_LEAVE):
        raise NotAllowed(say("只有领导可以审批", "only a leader decides"))
    row = _row_of(session, leave_id, by)
    require_other(session, by, row.official, row.asked_by)
    decision = LeaveDecision(
        township_id=by.township_id,
        leave_id=row.id,
        approved=approve,
        by=by.name,
        at_ms=to_ms(now),
    )
    session.add(decision)
    session.flush()
    return decision


def step(
    session: Session, leave_id: int, what: str, reference: str, by: User, now: datetime
) -> LeaveStep:
    """Appends the county's answer, with the number of its paper, or that leave is not taken.

    The county's answer is entered by who may enter leave, never by the person concerned, nor by who
    decided for the township (`why_not_county`). A withdrawal is, but of approved leave that has
    begun, which takes who may decide it (`why_not_withdrawn`). Raises NotFound, NotAllowed (`own`,
    `decided_leave`, `begun_leave`), InputInvalid (no number; nothing to answer).
    """
    if not may(by, Act.ENTER_LEAVE):
        raise NotAllowed(say("该账号无权登记", "this account may not enter that"))
    row = _row_of(session, leave_id, by)
    not_own(by, row.official)
    reference = clean(reference, 120)
    (held,) = _views(session, session.get_one(Township, by.township_id), [(row, "")])
    possible = {
        "county_approved": held.state == "county" and bool(reference),
        "county_refused": held.state == "county" and bool(reference),
        "withdrawn": held.state != "withdrawn",
    }
    if not possible.get(what, False):
        raise InputInvalid(
            "leave_step",
            say("请填写县级批文编号", "give the number of the county's paper"),
            "reference",
        )
    eyes = deciders(session, row.township_id)
    withdrawn = what == "withdrawn"
    why = why_not_withdrawn(held, by, eyes, now) if withdrawn else why_not_county(held, by, eyes)
    if why:
        raise NotAllowed(say(*WHY[why]), why)
    made = LeaveStep(
        township_id=row.township_id, leave_id=row.id, step=what, reference=reference, by=by.name,
        by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def why_not_withdrawn(item: Leave, by: User, eyes: Deciders, now: datetime) -> str:
    """A key of `WHY` where `by`, who may enter leave and is not the person concerned, may not
    withdraw it; else "".

    What a leader approved is the sheet's once it has begun: nobody undoes it who could not have
    decided it.
    """
    if item.state not in ("approved", "county") or item.start > now:
        return ""
    other = not eyes.why_not(by.name, by.official, item.official, item.asked_by)
    return "" if may(by, Act.DECIDE_LEAVE) and other else "begun_leave"


def why_not_county(item: Leave, by: User, eyes: Deciders) -> str:
    """A key of `WHY` where `by` may not enter the county's answer: the county's word is not that of
    who gave the township's."""
    return "decided_leave" if eyes.same_person(by.name, by.official, item.decided_by) else ""


def _row_of(session: Session, leave_id: int, by: User) -> LeaveRow:
    row = session.scalar(
        select(LeaveRow).where(LeaveRow.id == leave_id, LeaveRow.township_id == by.township_id)
    )
    if row is None:
        raise NotFound(say("没有这条申请", "there is no such request"))
    return row


def _undecided(township: Township) -> ColumnElement[bool]:
    """Those that a leader has yet to decide about."""
    decided = select(LeaveDecision.id).where(
        LeaveDecision.township_id == township.id, LeaveDecision.leave_id == LeaveRow.id
    )
    withdrawn = select(LeaveStep.id).where(
        LeaveStep.township_id == township.id, LeaveStep.leave_id == LeaveRow.id,
        LeaveStep.step == "withdrawn",
    )  # fmt: skip
    return ~decided.exists() & ~withdrawn.exists()


def number(session: Session, township: Township, undecided: bool = False) -> int:
    """How many leaves and trips the township ever entered, or how many a leader has to decide."""
    asked = select(func.count()).where(LeaveRow.township_id == township.id)
    if undecided:
        asked = asked.where(_undecided(township))
    return session.scalar(asked) or 0


def listing(
    session: Session,
    township: Township,
    official: str | None = None,
    limit: int = 500,
    first: int = 0,
    undecided: bool = False,
) -> list[Leave]:
    """Leave and trips, newest first, of everybody or of one official (the code); `limit` of them
    from number `first` on; only those that a leader has to decide where `undecided`."""
    query = (
        select(LeaveRow, Official.name)
        .join(
            Official,
            (Official.official == LeaveRow.official)
            & (Official.township_id == LeaveRow.township_id),
        )
        .where(LeaveRow.township_id == township.id)
        .order_by(LeaveRow.id.desc())
        .limit(limit)
        .offset(first)
    )
    if official is not None:
        query = query.where(LeaveRow.official == official)
    if undecided:
        query = query.where(_undecided(township))
    rows = [(row, name) for row, name in session.execute(query)]
    return _views(session, township, rows, whole=True)


def absences(
    session: Session,
    township: Township,
    first_ms: int,
    last_ms: int,
    official: str | None = None,
    roster: Roster | None = None,
) -> list[Absence]:
    """Leave and trips that touch `first_ms..last_ms`, undecided and void ones included.

    `Absence.approved` tells them apart. `roster` is the township's, where the caller has asked for
    it.
    """
    asked = {"township": township.id, "first": first_ms, "last": last_ms, "code": official}
    rows = plain(session, _touching_asked(official is not None), asked).all()
    if not rows:
        return []
    stands = _stands(session, township, rows, roster or roster_of(session, township))
    return [
        Absence(
            row.official,
            Status(row.status),
            row.start_ms,
            row.end_ms,
            approved=None if one.state in ("refused", "withdrawn") else one.state == "approved",
            reason=row.reason or None,
        )
        for row, one in zip(rows, stands, strict=True)
    ]


# Put together once: every sheet asks it at every look.
@cache
def _touching_asked(of_one: bool) -> Select[*tuple[Any, ...]]:
    query = select(*_LEAVE).where(
        LeaveRow.township_id == bindparam("township"),
        LeaveRow.start_ms <= bindparam("last"),
        LeaveRow.end_ms > bindparam("first"),
    )
    return query.where(LeaveRow.official == bindparam("code")) if of_one else query


@cache
def _answers_asked() -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """The latest decision of each leave, and all its steps in their order."""
    township = bindparam("township", type_=BigInteger)
    ids = bindparam("ids", expanding=True, type_=BigInteger)
    newest = (
        select(func.max(LeaveDecision.id))
        .where(LeaveDecision.township_id == township, LeaveDecision.leave_id.in_(ids))
        .group_by(LeaveDecision.leave_id)
    )
    steps = select(*_STEP).where(LeaveStep.township_id == township, LeaveStep.leave_id.in_(ids))
    return (
        select(*_DECISION).where(LeaveDecision.id.in_(newest)),
        steps.order_by(LeaveStep.id),
    )


def _answers(
    session: Session, township: Township, ids: Sequence[int]
) -> tuple[dict[int, Any], dict[int, list[Any]]]:
    """By leave, the latest decision and the steps."""
    asked = {"township": township.id, "ids": ids}
    latest, steps = (plain(session, each, asked).all() for each in _answers_asked())
    taken: dict[int, list[Any]] = {}
    for one in steps:
        taken.setdefault(one.leave_id, []).append(one)
    return {row.leave_id: row for row in latest}, taken


@cache
def _near_asked() -> Select[*tuple[Any, ...]]:
    """Leave of some officials that touches a span."""
    return select(LeaveRow.id, LeaveRow.official, LeaveRow.start_ms, LeaveRow.end_ms).where(
        LeaveRow.township_id == bindparam("township"),
        LeaveRow.official.in_(bindparam("codes", expanding=True)),
        LeaveRow.status == str(Status.ON_LEAVE),
        LeaveRow.start_ms < bindparam("last"),
        LeaveRow.end_ms > bindparam("first"),
    )


def _near(
    session: Session, township: Township, rows: Sequence[Any], roster: Roster, days: int
) -> list[Any]:
    """Leave of the officials of these rows as near as so many working days, in one question."""
    if not rows:
        return []
    start, end = min(row.start_ms for row in rows), max(row.end_ms for row in rows)
    first, last = rules.reach(roster.calendar, start, end, days)
    asked = {"township": township.id, "codes": sorted({row.official for row in rows}),
             "first": first, "last": last}  # fmt: skip
    return list(plain(session, _near_asked(), asked).all())


@dataclass(frozen=True)
class _Stand:
    """Where leave stands (as `Leave` has it), the latest decision and the steps."""

    decision: Any | None
    steps: Sequence[Any]
    state: str
    approver: str
    days: int
    counted: int


def _stands(
    session: Session, township: Township, rows: Sequence[Any], roster: Roster, whole: bool = False
) -> list[_Stand]:
    """Where each of these rows (or of their columns alone) stands, in three questions.

    `whole` is to count the days of all leave as far as FAR_DAYS away; else no more are counted than
    it takes to tell who approves.
    """
    calendar = roster.calendar
    days = [rules.working_days(calendar, row.start_ms, row.end_ms) for row in rows]
    terms = [in_force(roster.terms, LeaveTerms, day_of(row.start_ms)) for row in rows]
    joined = [
        row
        for row, own, term in zip(rows, days, terms, strict=True)
        if row.status == Status.ON_LEAVE and (whole or own <= term.township_days)
    ]
    # What adjoins over more working days than these makes it the county's without what is beyond.
    enough = max(term.township_days for term in terms) + 1
    near = _near(session, township, joined, roster, max(enough, FAR_DAYS) if whole else enough)
    ids = {row.id for row in rows} | {one.id for one in near}
    decisions, steps = _answers(session, township, sorted(ids))

    def state(number: int, who: str) -> str:
        decided = decisions.get(number)
        return rules.state(
            who, None if decided is None else decided.approved,
            [one.step for one in steps.get(number, ())],
        )  # fmt: skip

    spans: dict[str, list[tuple[int, int, int]]] = {}
    for one in near:
        if state(one.id, rules.TOWNSHIP) not in ("refused", "withdrawn"):
            spans.setdefault(one.official, []).append((one.id, one.start_ms, one.end_ms))
    concerned = {row.id for row in joined}
    found = []
    for row, own, term in zip(rows, days, terms, strict=True):
        counted = own
        before = [s[1:] for s in spans.get(row.official, ()) if s[0] < row.id]
        if before and row.id in concerned:
            span = rules.piece(calendar, (row.start_ms, row.end_ms), before)
            counted = rules.working_days(calendar, *span)
        who = rules.approver(term, row.status, counted)
        found.append(
            _Stand(decisions.get(row.id), steps.get(row.id, ()), state(row.id, who), who, own,
                   counted)
        )  # fmt: skip
    return found


def _views(
    session: Session, township: Township, rows: Sequence[tuple[Any, str]], whole: bool = False
) -> list[Leave]:
    if not rows:
        return []
    roster = roster_of(session, township)
    stands = _stands(session, township, [row for row, _ in rows], roster, whole)
    return [_view(row, name, one) for (row, name), one in zip(rows, stands, strict=True)]


def _view(row: Any, name: str, stand: _Stand) -> Leave:
    decision = stand.decision
    return Leave(
        row.id,
        row.official,
        name,
        Status(row.status),
        from_ms(row.start_ms),
        from_ms(row.end_ms),
        row.reason,
        row.asked_by,
        from_ms(row.asked_ms),
        stand.state,
        None if decision is None else decision.by,
        None if decision is None else from_ms(decision.at_ms),
        stand.days,
        stand.approver,
        next((one.reference for one in reversed(stand.steps) if one.reference), ""),
        stand.counted,
    )

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
_LEAVE, _DECISION, _STEP = (of.__table__.columns for of in (LeaveRow, LeaveDecision, LeaveStep))


@dataclass(frozen=True)
class Leave:
    """One leave or trip with its latest decision.

    `state` is one of `server.rules.leave.STATES`; `days` are the working days that it touches;
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

    The county's answer is entered by who may enter leave, never by the person concerned; so is a
    withdrawal, but of approved leave that has begun, which takes who may decide it
    (`why_not_withdrawn`). Raises NotFound, NotAllowed (`own`, `begun_leave`), InputInvalid (no
    number; nothing to answer).
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
    if what == "withdrawn" and (why := why_not_withdrawn(held, by, eyes, now)):
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
    return _views(session, township, [(row, name) for row, name in session.execute(query)])


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
    decisions, steps = _answers(session, township, [row.id for row in rows])
    roster = roster or roster_of(session, township)
    found = []
    for row in rows:
        state = _stand(row, decisions.get(row.id), steps.get(row.id, ()), roster)[0]
        found.append(
            Absence(
                row.official,
                Status(row.status),
                row.start_ms,
                row.end_ms,
                approved=None if state in ("refused", "withdrawn") else state == "approved",
                reason=row.reason or None,
            )
        )
    return found


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


def _views(
    session: Session,
    township: Township,
    rows: Sequence[tuple[Any, str]],
    roster: Roster | None = None,
) -> list[Leave]:
    if not rows:
        return []
    latest, steps = _answers(session, township, [row.id for row, _ in rows])
    roster = roster or roster_of(session, township)
    return [
        _view(row, name, latest.get(row.id), steps.get(row.id, ()), roster) for row, name in rows
    ]


def _view(row: Any, name: str, decision: Any | None, steps: Sequence[Any], roster: Roster) -> Leave:
    """Of the rows, or of their columns alone."""
    state, who, days = _stand(row, decision, steps, roster)
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
        state,
        None if decision is None else decision.by,
        None if decision is None else from_ms(decision.at_ms),
        days,
        who,
        next((one.reference for one in reversed(steps) if one.reference), ""),
    )


def _stand(
    row: Any, decision: Any | None, steps: Sequence[Any], roster: Roster
) -> tuple[str, str, int]:
    """State, who has the last word, and working days."""
    days = rules.working_days(roster.calendar, row.start_ms, row.end_ms)
    terms = in_force(roster.terms, LeaveTerms, day_of(row.start_ms))
    who = rules.approver(terms, row.status, days)
    decided = None if decision is None else decision.approved
    return rules.state(who, decided, [one.step for one in steps]), who, days

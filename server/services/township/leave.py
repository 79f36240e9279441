"""Leave and trips: entered by somebody, decided by a leader who is neither that person nor the
one concerned (`server.services.township.deciders`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session

from attendance.days import from_ms, to_ms
from attendance.i18n import say
from attendance.statuses import Status
from attendance.whereabouts import Absence
from server.db import append, plain
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import LeaveDecision, LeaveRow, LeaveStep, Official, Township, User
from server.services.access.permissions import Act, may, not_own, require
from server.services.sheets.roster import Roster, roster_of
from server.services.township.deciders import WHY, Deciders, deciders, require_other
from server.services.township.leavestands import Stand, stands
from server.services.township.townships import clean

#: Longest leave that can be entered at once: maternity leave with its extensions stays below.
MAX_DAYS = 366
_LEAVE = LeaveRow.__table__.columns


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


def withdraw(
    session: Session, township: Township, numbers: Sequence[int], reference: str, by: User,
    now: datetime,
) -> dict[int, str]:  # fmt: skip
    """Appends that leave of these numbers is not taken; as many questions for one as for all.

    By number, "" or why it stays as it is: `withdrawn` before, `own`, or a key of `WHY`
    (`why_not_withdrawn`). Raises NotAllowed.
    """
    require(by, Act.ENTER_LEAVE, township)
    asked = select(*_LEAVE).where(LeaveRow.township_id == township.id, LeaveRow.id.in_(numbers))
    rows = [(row, "") for row in plain(session, asked)]
    eyes, said = deciders(session, township), {}
    for item in _views(session, township, rows):
        if by.official is not None and by.official == item.official:
            said[item.id] = "own"
        elif item.state == "withdrawn":
            said[item.id] = "withdrawn"
        else:
            said[item.id] = why_not_withdrawn(item, by, eyes, now)
    made = {
        "township_id": township.id, "step": "withdrawn", "reference": clean(reference, 120),
        "by": by.name, "by_official": by.official, "at_ms": to_ms(now),
    }  # fmt: skip
    taken_back = [{**made, "leave_id": number} for number in numbers if said.get(number) == ""]
    append(session, LeaveStep, taken_back)
    return said


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

    `Absence.approved` tells them apart. What was withdrawn before a leader decided is none of them.
    `roster` is the township's, where the caller has asked for it.
    """
    asked = {"township": township.id, "first": first_ms, "last": last_ms, "code": official}
    rows = plain(session, _touching_asked(official is not None), asked).all()
    if not rows:
        return []
    found = stands(session, township, rows, roster or roster_of(session, township))
    return [
        Absence(
            row.official,
            Status(row.status),
            row.start_ms,
            row.end_ms,
            approved=None if one.state in ("refused", "withdrawn") else one.state == "approved",
            reason=row.reason or None,
        )
        for row, one in zip(rows, found, strict=True)
        if not one.unsaid
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


def _views(
    session: Session, township: Township, rows: Sequence[tuple[Any, str]], whole: bool = False
) -> list[Leave]:
    if not rows:
        return []
    found = stands(session, township, [row for row, _ in rows], roster_of(session, township), whole)
    return [_view(row, name, one) for (row, name), one in zip(rows, found, strict=True)]


def _view(row: Any, name: str, stand: Stand) -> Leave:
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

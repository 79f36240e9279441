"""Where leave stands: its latest decision and steps, and how long it is with what adjoins it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Select, bindparam, func, select
from sqlalchemy.orm import Session

from attendance.days import day_of
from attendance.statuses import Status
from server.db import plain
from server.models import LeaveDecision, LeaveRow, LeaveStep, Township
from server.rules import leave as rules
from server.rules.terms import LeaveTerms, in_force
from server.services.sheets.roster import Roster

#: Working days around leave within which the leave page counts what adjoins it.
FAR_DAYS = 60
_DECISION, _STEP = (of.__table__.columns for of in (LeaveDecision, LeaveStep))


# Put together once: every sheet asks them at every look.
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
class Stand:
    """Where leave stands (as `Leave` has it), the latest decision and the steps."""

    decision: Any | None
    steps: Sequence[Any]
    state: str
    approver: str
    days: int
    counted: int

    @property
    def unsaid(self) -> bool:
        """Whether it was withdrawn before anybody decided about it: it is as if nobody had asked.

        Whoever may enter leave may withdraw it then, so it takes back nothing that was declared.
        """
        gone = next((one.at_ms for one in self.steps if one.step == "withdrawn"), None)
        decided = self.decision
        if gone is None or decided is None:
            return gone is not None
        return bool(decided.approved) and bool(decided.at_ms > gone)


def stands(
    session: Session, township: Township, rows: Sequence[Any], roster: Roster, whole: bool = False
) -> list[Stand]:
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
            Stand(decisions.get(row.id), steps.get(row.id, ()), state(row.id, who), who, own,
                   counted)
        )  # fmt: skip
    return found

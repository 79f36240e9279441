"""Visits that the township receives: a number to ask by, a deadline, and what became of it."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Official, Role, Township, User, Visit, VisitStep

STATES = ("working", "passed_on", "done")
#: Days until an answer is due unless the receptionist promises another day: within 15 working days
#: an office says whether it takes a matter up (《信访工作条例》 Art. 23), so three weeks.
USUAL_DAYS = 21
MAX_DAYS = 180
#: Letters of a number's secret part, of 32: one in 10^9 is hit by a guess.
_SECRET = 6
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
MAX_TEXT = 1000


@dataclass(frozen=True)
class Step:
    """What was done about a visit; `answer` is for the visitor, `note` stays inside."""

    state: str
    official: str | None
    official_name: str
    answer: str
    note: str
    by: str
    at_ms: int


@dataclass(frozen=True)
class Received:
    """A visit with its steps, oldest first."""

    visit: Visit
    steps: list[Step]

    @property
    def state(self) -> str:
        """`open` before anything was done, else the newest step's."""
        return self.steps[-1].state if self.steps else "open"

    def overdue(self, today: date) -> bool:
        """Whether the promised day is past and it is not done."""
        return self.state != "done" and date.fromisoformat(self.visit.due_day) < today


@dataclass(frozen=True)
class PublicVisit:
    """All that is told to whoever knows the number: nothing of the visitor or the matter."""

    number: str
    received_day: date
    due_day: date
    state: str
    answer: str
    overdue: bool


def _may(township: Township, user: User) -> None:
    if user.township_id != township.id or user.role not in (Role.CLERK, Role.LEADER, Role.ADMIN):
        raise NotAllowed("only a clerk, leader or administrator logs visits")


def _text(text: str, limit: int) -> str:
    return " ".join(text.split())[:limit]


def log_visit(
    session: Session,
    township: Township,
    visitor: str,
    phone: str,
    matter: str,
    due: date | None,
    user: User,
    now: datetime,
) -> Visit:
    """Appends a visit under a new number; the caller commits.

    Raises NotAllowed, InputInvalid (`visitor`, `matter`, `due`).
    """
    _may(township, user)
    today = day_of(to_ms(now))
    due = due or today + timedelta(USUAL_DAYS)
    if not _text(visitor, 60):
        raise InputInvalid("visitor", "who came?")
    if not _text(matter, MAX_TEXT):
        raise InputInvalid("matter", "what about?")
    if not today <= due <= today + timedelta(MAX_DAYS):
        raise InputInvalid("due", "the deadline lies before today or too far off")
    secret = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET))
    visit = Visit(
        township_id=township.id,
        number=f"{today:%Y%m%d}-{secret}",
        visitor=_text(visitor, 60),
        phone=_text(phone, 40),
        matter=_text(matter, MAX_TEXT),
        due_day=due.isoformat(),
        by=user.name,
        at_ms=to_ms(now),
    )
    session.add(visit)
    session.flush()
    return visit


def step(
    session: Session,
    township: Township,
    visit_id: int,
    state: str,
    official: str | None,
    answer: str,
    note: str,
    user: User,
    now: datetime,
) -> VisitStep:
    """Appends what was done; the caller commits.

    Raises NotAllowed, NotFound, InputInvalid (`state`, `answer`: what is done needs an outcome that
    the visitor may read).
    """
    _may(township, user)
    if state not in STATES:
        raise InputInvalid("state", "there is no such state")
    visit = session.scalar(
        select(Visit).where(Visit.id == visit_id, Visit.township_id == township.id)
    )
    if visit is None:
        raise NotFound("no such visit")
    if official is not None and not session.scalar(
        select(Official.id).where(
            Official.township_id == township.id, Official.official == official, Official.active
        )
    ):
        raise NotFound("no such official")
    if state == "done" and not _text(answer, MAX_TEXT):
        raise InputInvalid("answer", "what came of it?")
    made = VisitStep(
        township_id=township.id,
        visit_id=visit.id,
        state=state,
        official=official,
        answer=_text(answer, MAX_TEXT),
        note=_text(note, MAX_TEXT),
        by=user.name,
        at_ms=to_ms(now),
    )
    session.add(made)
    session.flush()
    return made


def received(session: Session, township: Township, limit: int = 200) -> list[Received]:
    """The newest visits, newest first, each with its steps; two queries."""
    visits = list(
        session.scalars(
            select(Visit)
            .where(Visit.township_id == township.id)
            .order_by(Visit.id.desc())
            .limit(limit)
        )
    )
    steps = _steps(session, township.id, [visit.id for visit in visits])
    return [Received(visit, steps.get(visit.id, [])) for visit in visits]


def _steps(session: Session, township_id: int, ids: list[int]) -> dict[int, list[Step]]:
    found: dict[int, list[Step]] = {}
    for row, name in session.execute(
        select(VisitStep, Official.name)
        .outerjoin(
            Official,
            (Official.township_id == VisitStep.township_id)
            & (Official.official == VisitStep.official),
        )
        .where(VisitStep.township_id == township_id, VisitStep.visit_id.in_(ids))
        .order_by(VisitStep.id)
    ):
        one = Step(row.state, row.official, name or "", row.answer, row.note, row.by, row.at_ms)
        found.setdefault(row.visit_id, []).append(one)
    return found


def ask(session: Session, township: Township, number: str, now: datetime) -> PublicVisit | None:
    """What a visitor may read under a number, None where there is no such visit here."""
    wanted = "".join(number.split()).upper()[:20]
    visit = session.scalar(
        select(Visit).where(Visit.number == wanted, Visit.township_id == township.id)
    )
    if visit is None or not hmac.compare_digest(visit.number.encode(), wanted.encode()):
        return None
    held = Received(visit, _steps(session, township.id, [visit.id]).get(visit.id, []))
    answers = [one.answer for one in held.steps if one.answer]
    return PublicVisit(
        visit.number,
        day_of(visit.at_ms),
        date.fromisoformat(visit.due_day),
        held.state,
        answers[-1] if answers else "",
        held.overdue(day_of(to_ms(now))),
    )

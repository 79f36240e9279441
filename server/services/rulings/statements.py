"""The allowance statement of a month: computed from verified days, explained, signed, frozen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from attendance.days import day_of, day_start_ms, from_ms, to_ms
from attendance.decoding import json_of
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import MonthSignature, RecordRow, Township, User
from server.rules import allowance
from server.rules.calendar import month_days
from server.rules.terms import Allowance, MonthDays, in_force
from server.services.access.permissions import Act, require
from server.services.records.recordrows import day_number, moments, within
from server.services.rulings import changes, lookback
from server.services.rulings.changes import LOOKED, Change, Gone
from server.services.sheets.days import days_of
from server.services.sheets.months import totals_of
from server.services.sheets.roster import Roster
from server.services.township.newest import PERSON_KIND_WORDS


class DayLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One official's day: `why` is a word of `server.rules.allowance`, times Unix milliseconds."""

    day: str
    verdict: str
    why: str
    fen: int = 0
    site: str = ""
    begins_ms: int | None = None
    ends_ms: int | None = None
    cls: str = ""
    records: tuple[str, ...] = ()
    corrected: tuple[int, ...] = ()


class PersonLines(msgspec.Struct, frozen=True):
    """One official's month, a line for each day on which they were expected or came."""

    official: str
    name: str
    title: str
    group: str
    days: list[DayLine]
    paid_days: int
    fen: int
    verdicts: dict[str, int]
    village_days: int
    minimum: int


class Statement(msgspec.Struct, frozen=True):
    """The month as it is signed. `fen` is what is to be paid: the month's days and the changes."""

    township: str
    month: str
    people: list[PersonLines]
    changes: list[Change]
    days: int
    fen_days: int
    fen_changes: int
    fen: int
    open_days: int
    rates: dict[str, int]
    v: int = LOOKED
    gone: list[Gone] = []


@dataclass(frozen=True)
class Signed:
    """A signed month without its statement."""

    month: str
    sha256: str
    people: int
    days: int
    fen: int
    by: str
    by_official: str | None
    at: datetime


def statement_of(session: Session, township: Township, month: str, now: datetime) -> Statement:
    """The month as it stands now. Raises ValueError for what is no month."""
    days = [day for day in month_days(month) if day <= day_of(to_ms(now))]
    roster, lines = _lines(session, township, days, now)
    minimum = in_force(roster.terms, MonthDays, month_days(month)[-1]).days
    people = [_person(roster, own, minimum) for own in lines]
    changed, gone = changes.changes(session, township, roster, month, now)
    fen_days = sum(p.fen for p in people)
    fen_changes = sum(c.is_fen - c.was_fen for c in changed)
    return Statement(
        township=township.name,
        month=month,
        people=people,
        changes=changed,
        days=sum(p.paid_days for p in people),
        fen_days=fen_days,
        fen_changes=fen_changes,
        fen=fen_days + fen_changes,
        open_days=sum(p.verdicts.get(v, 0) for p in people for v in ("not_known", "not_yet")),
        rates=_rates(roster, month_days(month)),
        gone=gone,
    )


def sign(
    session: Session, township: Township, month: str, by: User, now: datetime, sha256: str
) -> MonthSignature:
    """Freezes the month as the leader saw it: `sha256` is of the statement that was shown.

    Raises NotAllowed, InputInvalid: the month is not over, is signed, an earlier one that has
    records waits, or the statement has changed since it was shown.
    """
    require(by, Act.SIGN, township)
    try:
        last = month_days(month)[-1]
    except ValueError:
        raise InputInvalid("month", say("没有这个月份", "there is no such month")) from None
    if day_of(to_ms(now)) <= last:
        raise InputInvalid("month_open", say("本月尚未结束", "the month is not over"))
    if signature_of(session, township, month) is not None:
        raise InputInvalid("month_signed", say("本月已签字", "the month is signed"))
    newer = session.scalar(
        select(MonthSignature.id).where(
            MonthSignature.township_id == township.id, MonthSignature.month > month
        )
    )
    if newer is not None:
        raise InputInvalid("month_order", say("之后的月份已签字", "a later month is signed"))
    waiting = _waiting(session, township, month)
    if waiting is not None:
        raise InputInvalid(
            "month_earlier",
            say(f"请先签 {waiting}：该月有记录", f"sign {waiting} first: it has records"),
        )
    made = statement_of(session, township, month, now)
    body = encode(made)
    if hashlib.sha256(body).hexdigest() != sha256:
        raise InputInvalid(
            "month_changed", say("报表已有变化，请重新查看", "it has changed: look at it again")
        )
    row = MonthSignature(
        township_id=township.id, month=month, statement=body, sha256=sha256,
        people=len(made.people), days=made.days, fen=made.fen, by=by.name,
        by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _waiting(session: Session, township: Township, month: str) -> str | None:
    """The first month before that which has records and is not signed.

    Only of those after the last signed one: what waits before that can be signed no more.
    """
    after = max((s.month for s in signatures(session, township)), default="")
    first = month_days(after)[-1] + timedelta(1) if after else date.min
    found = session.execute(
        select(RecordRow.at_ms)
        .where(
            RecordRow.township_id == township.id,
            within(),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
            RecordRow.cls != "C",
        )
        .order_by(day_number())
        .limit(1),
        moments(day_start_ms(first), day_start_ms(month_days(month)[0]) - 1),
    ).scalar()
    return None if found is None else day_of(found).isoformat()[:7]


def encode(statement: Statement) -> bytes:
    """The exact bytes that are signed."""
    return msgspec.json.encode(statement, order="sorted")


def signature_of(session: Session, township: Township, month: str) -> Signed | None:
    """Who signed the month, None where nobody has."""
    return next((s for s in signatures(session, township) if s.month == month), None)


def signatures(session: Session, township: Township) -> list[Signed]:
    """Signed months, newest first."""
    return [
        Signed(r.month, r.sha256, r.people, r.days, r.fen, r.by, r.by_official, from_ms(r.at_ms))
        for r in session.scalars(
            select(MonthSignature)
            .where(MonthSignature.township_id == township.id)
            .order_by(MonthSignature.month.desc())
        )
    ]


def signed_statement(session: Session, township: Township, month: str) -> Statement:
    """The statement as it was signed. Raises NotFound, also where its bytes were changed."""
    row = session.scalar(
        select(MonthSignature)
        .options(undefer(MonthSignature.statement))
        .where(MonthSignature.township_id == township.id, MonthSignature.month == month)
    )
    if row is None or hashlib.sha256(row.statement).hexdigest() != row.sha256:
        raise NotFound(say("该月没有签字的报表", "there is no signed statement of that month"))
    return json_of(Statement).decode(row.statement)


@dataclass(frozen=True)
class _Own:
    official: str
    lines: list[tuple[allowance.Line, str]]
    days: list  # type: ignore[type-arg]


def _lines(
    session: Session, township: Township, days: list[date], now: datetime
) -> tuple[Roster, list[_Own]]:
    roster, judged = days_of(session, township, days, now)
    rates = {day: in_force(roster.terms, Allowance, day) for day in days}
    found = []
    for person in roster.people:
        lines, held = [], []
        for day in judged:
            one = day.people.get(person.official)
            if one is None:
                continue
            held.append(one)
            line = lookback.line_of(roster, day.day, one, rates[day.day])
            if line is not None:
                lines.append((line, one.judged.verdict))
        if lines:
            found.append(_Own(person.official, lines, held))
    return roster, found


def _person(roster: Roster, own: _Own, minimum: int) -> PersonLines:
    person = roster.by_code[own.official]
    counted = totals_of(roster, own.days, minimum)
    return PersonLines(
        official=person.official,
        name=person.name,
        title=person.title,
        group=person.group,
        days=[
            DayLine(
                line.day.isoformat(), verdict, line.why, line.fen, line.site, line.begins_ms,
                line.ends_ms, line.cls, line.records, line.corrected,
            )
            for line, verdict in own.lines
        ],
        paid_days=sum(line.fen > 0 for line, _ in own.lines),
        fen=sum(line.fen for line, _ in own.lines),
        verdicts=counted.verdicts,
        village_days=counted.village_days,
        minimum=counted.minimum,
    )  # fmt: skip


def _rates(roster: Roster, days: list[date]) -> dict[str, int]:
    """The rate in fen and the first day of the month on which it held."""
    found: dict[str, int] = {}
    last = None
    for day in days:
        rate = in_force(roster.terms, Allowance, day).fen
        if rate != last:
            found[day.isoformat()] = last = rate
    return found


def month_before(month: str) -> str:
    """The month before one such as `2026-11`."""
    return (month_days(month)[0] - timedelta(1)).isoformat()[:7]

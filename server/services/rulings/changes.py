"""What changed since months were signed: days of theirs that are worth something else now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from sys import intern
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of
from attendance.decoding import json_of
from server.db import plain
from server.models import Correction, CorrectionDecision, MonthSignature, Township
from server.rules import allowance
from server.rules.calendar import month_days
from server.services.evidence import retention
from server.services.rulings import lookback
from server.services.sheets.roster import Roster

#: Statements since that version looked at all that was decided about signed months, of any age.
LOOKED = 2


class Change(msgspec.Struct, frozen=True):
    """A day of a month signed before that is worth something else now."""

    official: str
    name: str
    day: str
    was_fen: int
    is_fen: int


class Gone(msgspec.Struct, frozen=True):
    """A correction that came too late: of its day records are no longer kept, so that the day stays
    worth what was signed. `correction` is its id."""

    official: str
    name: str
    day: str
    correction: int


class _PaidLine(msgspec.Struct, gc=False):
    day: str
    fen: int = 0


class _PaidLines(msgspec.Struct):
    official: str
    days: list[_PaidLine]


class _Paid(msgspec.Struct):
    """What is asked of a statement that was signed: a tenth of what it says."""

    people: list[_PaidLines]
    changes: list[Change]
    v: int = 1


@dataclass(frozen=True)
class _Stated:
    """What a signed statement said that days were worth: by fen and official the days of its month,
    a bit for each, and of earlier months the days that it changed."""

    paid: dict[int, dict[str, int]]
    changes: dict[tuple[str, date], int]
    v: int

    def of_day(self, code: str, day: date) -> int:
        """What it said that a day of its own month earned, in fen."""
        for fen, days in self.paid.items():
            if days.get(code, 0) >> day.day & 1:
                return fen
        return 0


#: By SHA-256: a signed statement never changes, and is 5 MB of a thousand officials (150 kB here).
_kept: dict[str, _Stated] = {}
#: Statements kept by a process, those of five years.
KEPT = 60


def _stated(session: Session, row: Any) -> _Stated:
    held = _kept.get(row.sha256)
    if held is not None:
        return held
    asked = select(MonthSignature.statement).where(MonthSignature.id == row.id)
    body = session.execute(asked).scalar_one()
    statement = json_of(_Paid).decode(body)
    paid: dict[int, dict[str, int]] = {}
    for person in statement.people:
        for line in person.days:
            if line.fen:
                days, code = paid.setdefault(line.fen, {}), intern(person.official)
                days[code] = days.get(code, 0) | 1 << int(line.day[8:])
    made = _Stated(
        paid,
        {(c.official, date.fromisoformat(c.day)): c.is_fen for c in statement.changes},
        statement.v,
    )
    if hashlib.sha256(body).hexdigest() == row.sha256:
        for old in list(_kept)[: max(len(_kept) + 1 - KEPT, 0)]:
            _kept.pop(old, None)
        _kept[row.sha256] = made
    return made


def _signed_before(session: Session, township: Township, month: str) -> list[Any]:
    """Signed months before that one, the first first: id, month, SHA-256, and when."""
    return list(
        plain(session, select(
            MonthSignature.id, MonthSignature.month, MonthSignature.sha256, MonthSignature.at_ms
        ).where(MonthSignature.township_id == township.id, MonthSignature.month < month)
        .order_by(MonthSignature.month))
    )  # fmt: skip


def changes(
    session: Session, township: Township, roster: Roster, month: str, now: datetime
) -> tuple[list[Change], list[Gone]]:
    """What months signed before `month` would say otherwise now, without what later ones have made
    up for: of all of them, whatever their age, as long as a day's records are kept.

    Of a day whose records were removed nothing else can be said than what was signed; what was
    corrected of it since the last signature is named instead.
    """
    rows = _signed_before(session, township, month)
    if not rows:
        return [], []
    kept = day_of(retention.removed_until(session) or 0)  # nothing of that day or before is whole
    found = _changes(session, township, roster, rows, kept, now)
    return found, _gone(session, township, roster, rows, kept)


def _changes(
    session: Session,
    township: Township,
    roster: Roster,
    rows: Sequence[Any],
    kept: date,
    now: datetime,
) -> list[Change]:
    signed = {r.month: r.at_ms for r in rows if month_days(r.month)[-1] > kept}
    if not signed:
        return []
    whole = _stated(session, rows[-1]).v >= LOOKED
    found = lookback.touched(session, township, roster, signed, now, whole)
    days = {day: codes for day, codes in found.items() if day > kept}
    if not days:
        return []
    stated: dict[tuple[str, date], int] = {}
    first = min(days).isoformat()[:7]
    for row in rows:
        if row.month < first:
            continue
        said = _stated(session, row)
        for day, codes in days.items():
            if day.isoformat()[:7] == row.month:
                stated |= {(code, day): fen for code in codes if (fen := said.of_day(code, day))}
        for (code, day), fen in said.changes.items():
            if code in days.get(day, ()):
                stated[code, day] = fen
    present = lookback.worth(session, township, roster, days, now)
    return [
        Change(c.official, _name(roster, c.official), c.day.isoformat(), c.was_fen, c.is_fen)
        for c in allowance.adjustments(stated, present)
    ]


def _gone(
    session: Session, township: Township, roster: Roster, rows: Sequence[Any], kept: date
) -> list[Gone]:
    """Corrections approved since the last signature of days of signed months that nobody can judge
    any more; each stands in the next statement alone."""
    if kept < month_days(rows[0].month)[0]:
        return []
    found = plain(
        session,
        select(Correction.id, Correction.official, Correction.day)
        .join(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .where(
            CorrectionDecision.township_id == township.id,
            CorrectionDecision.at_ms >= rows[-1].at_ms,
            CorrectionDecision.approved,
            Correction.township_id == township.id,
            Correction.day.between(rows[0].month, kept.isoformat()),
        )
        .order_by(Correction.day, Correction.id),
    ).all()
    months = {row.month for row in rows}
    return [
        Gone(one.official, _name(roster, one.official), one.day, one.id)
        for one in found
        if one.day[:7] in months
    ]


def _name(roster: Roster, code: str) -> str:
    return roster.by_code[code].name if code in roster.by_code else ""

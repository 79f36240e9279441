"""Which days of signed months may be worth something else now, and what they are worth.

The roster of days that are over stays what it was, so that a signed day changes only by what was
decided about it, by records that came later and by a rule that begins in the past: those are asked
for, and the days and people that they name are judged again, no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ScalarSelect, Select, bindparam, func, literal_column, select
from sqlalchemy.orm import Session

from attendance.days import DAY_MS, day_end_ms, day_of, day_start_ms, to_ms
from server.db import plain
from server.models import (
    Checkpoint,
    CheckpointLeaves,
    Correction,
    CorrectionDecision,
    LeaveDecision,
    LeaveRow,
    LeaveStep,
    RecordRow,
    Township,
    TownshipRule,
)
from server.rules import allowance
from server.rules.calendar import days_between, month_days
from server.rules.terms import Allowance, LeaveTerms, UsualShifts, in_force, word_of
from server.services.records.recordrows import moments, within
from server.services.sheets.days import MANY, PersonDay, judged_day
from server.services.sheets.facts import facts_of
from server.services.sheets.inputs import inputs_of
from server.services.sheets.roster import Roster
from server.services.township.newest import PERSON_KIND_WORDS

#: What was decided, or came, so long before a signature is looked at too: a transaction is seen
#: after its time, and a clock that was ahead may have been set back. To look in vain costs little.
MARGIN_MS = 2 * DAY_MS
#: Leave that lies no further apart may be counted together (`server.rules.leave.piece`): longer
#: than any holiday with what adjoins it.
ADJOIN_MS = 16 * DAY_MS
#: Rules by which a day earns or does not.
_RULES = tuple(word_of(kind) for kind in (Allowance, UsualShifts, LeaveTerms))
#: Codes of officials by day.
Touched = dict[date, set[str]]


def touched(
    session: Session,
    township: Township,
    roster: Roster,
    signed: Mapping[str, int],
    now: datetime,
    whole: bool,
) -> Touched:
    """Whose days of signed months, one at least, may be worth something else than was signed.

    `signed` are the months and when each was signed, Unix milliseconds. Looked at is what came
    since the last signature, which had looked at what was before; of decisions, where that was not
    `whole`, what came since each month's own.
    """
    found: Touched = {}
    since = _since(signed, to_ms(now))
    last = max(signed)
    if whole:
        since = dict.fromkeys(signed, since[last])
    first_ms, end_ms = day_start_ms(month_days(min(signed))[0]), day_end_ms(month_days(last)[-1])
    asked = {"township": township.id, "since": min(since.values()), "end": end_ms,
             "first_day": min(signed), "last_day": f"{last}-31"}  # fmt: skip
    for official, really, day, at_ms in plain(session, _corrected_asked(), asked):
        if at_ms >= since.get(day[:7], to_ms(now) + 1):
            _note(found, date.fromisoformat(day), official, really)
    _note_leave(session, found, township, since, asked)
    _note_late(session, found, township, roster, signed, (first_ms, end_ms, since[last]))
    rules = {"township": township.id, "since": since[last], "last_day": f"{last}-31"}
    begins = plain(session, _rules_asked(), rules).scalar()
    if begins is not None:
        everybody = [p.official for p in roster.people]
        for month in signed:
            for day in month_days(month):
                if day.isoformat() >= begins:
                    _note(found, day, *everybody)
    return found


def _since(signed: Mapping[str, int], now_ms: int) -> dict[str, int]:
    """From when on what was decided is looked at, by month. A signature that lies ahead of a later
    one, or of now, was given by a clock that was."""
    found, least = {}, now_ms
    for month in sorted(signed, reverse=True):
        least = min(least, signed[month])
        found[month] = least - MARGIN_MS
    return found


def _note(found: Touched, day: date, *codes: str | None) -> None:
    found.setdefault(day, set()).update(code for code in codes if code is not None)


@cache
def _corrected_asked() -> Select[*tuple[Any, ...]]:
    return (
        select(Correction.official, Correction.really, Correction.day, CorrectionDecision.at_ms)
        .join(CorrectionDecision, CorrectionDecision.correction_id == Correction.id)
        .where(
            CorrectionDecision.township_id == bindparam("township"),
            CorrectionDecision.at_ms >= bindparam("since"),
            CorrectionDecision.approved,
            Correction.township_id == bindparam("township"),
            Correction.day.between(bindparam("first_day"), bindparam("last_day")),
        )
    )


@cache
def _rules_asked() -> Select[*tuple[Any, ...]]:
    return (
        select(TownshipRule.first_day)
        .where(
            TownshipRule.township_id == bindparam("township"),
            TownshipRule.at_ms >= bindparam("since"),
            TownshipRule.first_day <= bindparam("last_day"),
            TownshipRule.kind.in_(_RULES),
        )
        .order_by(TownshipRule.first_day)
        .limit(1)
    )


@cache
def _leave_asked() -> Sequence[Select[*tuple[Any, ...]]]:
    """Leave that was decided about since, and all leave of some officials."""
    told = [
        select(LeaveRow.official, LeaveRow.start_ms, LeaveRow.end_ms, of.at_ms)
        .join(of, of.leave_id == LeaveRow.id)
        .where(
            of.township_id == bindparam("township"),
            of.at_ms >= bindparam("since"),
            LeaveRow.township_id == bindparam("township"),
            LeaveRow.start_ms < bindparam("end"),
        )
        for of in (LeaveDecision, LeaveStep)
    ]
    all_of = select(LeaveRow.official, LeaveRow.start_ms, LeaveRow.end_ms).where(
        LeaveRow.township_id == bindparam("township"),
        LeaveRow.official.in_(bindparam("codes", expanding=True)),
    )
    return *told, all_of.order_by(LeaveRow.official, LeaveRow.start_ms)


def _note_leave(
    session: Session,
    found: Touched,
    township: Township,
    since: Mapping[str, int],
    asked: Mapping[str, Any],
) -> None:
    """Days of leave that was decided about, and of what it may be counted together with."""
    spans = {month: (day_start_ms((days := month_days(month))[0]), day_end_ms(days[-1]))
             for month in since}  # fmt: skip

    def months(start_ms: int, end_ms: int, at_ms: int) -> list[str]:
        return [
            month
            for month, (first, last) in spans.items()
            if at_ms >= since[month] and start_ms < last and end_ms > first
        ]

    *told, all_of = _leave_asked()
    news: dict[str, list[tuple[int, int, int]]] = {}
    for query in told:
        for official, start_ms, end_ms, at_ms in plain(session, query, asked):
            if months(start_ms - ADJOIN_MS, end_ms + ADJOIN_MS, at_ms):
                news.setdefault(official, []).append((start_ms, end_ms, at_ms))
    if not news:
        return
    codes = {"township": township.id, "codes": sorted(news)}
    for official, start_ms, end_ms in _pieces(plain(session, all_of, codes)):
        for begins, ends, at_ms in news[official]:
            if begins < start_ms or ends > end_ms:
                continue  # of another piece
            for month in months(start_ms, end_ms, at_ms):
                first, last = spans[month]
                one, other = max(start_ms, first), min(end_ms, last) - 1
                for day in days_between(day_of(one), day_of(other)):
                    _note(found, day, official)


def _pieces(rows: Iterable[Any]) -> list[tuple[str, int, int]]:
    """Leave, by official and start, joined with what lies near it."""
    made: list[tuple[str, int, int]] = []
    for official, start_ms, end_ms in rows:
        if made and made[-1][0] == official and start_ms <= made[-1][2] + ADJOIN_MS:
            made[-1] = (official, made[-1][1], max(made[-1][2], end_ms))
        else:
            made.append((official, start_ms, end_ms))
    return made


@cache
def _late_asked(of_day: bool) -> Select[*tuple[Any, ...]]:
    """Records of these days that came since, behind those that a checkpoint had closed before; or
    all of one day's."""
    # A sum is looked for in no index.
    place: Any = RecordRow.township_id if of_day else literal_column("record.township_id + 0")
    query = select(RecordRow.official, RecordRow.at_ms, RecordRow.site_id).where(
        place == bindparam("township"),
        RecordRow.received_ms >= bindparam("since", type_=BigInteger),
        RecordRow.kind.in_(PERSON_KIND_WORDS),
    )
    if of_day:
        return query.where(within())
    # By number: an index by when they came would cost each late record a sixth of its intake.
    return query.where(
        RecordRow.id > func.coalesce(_closed_asked(), 0),
        RecordRow.at_ms.between(bindparam("first_ms"), bindparam("last_ms")),
    )


def _closed_asked() -> ScalarSelect[int]:
    """The newest record that a checkpoint closed before that time: all up to it had come."""
    return (
        select(CheckpointLeaves.last_id)
        .join(Checkpoint, Checkpoint.id == CheckpointLeaves.checkpoint_id)
        .where(
            CheckpointLeaves.table_name == RecordRow.__tablename__,
            Checkpoint.at_ms < bindparam("since", type_=BigInteger),
        )
        .order_by(CheckpointLeaves.last_id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _note_late(
    session: Session,
    found: Touched,
    township: Township,
    roster: Roster,
    signed: Mapping[str, int],
    bounds: tuple[int, int, int],
) -> None:
    """Days whose records came after the last signature; `bounds` are from when and until before
    when signed days reach, and since when it was. Of a night shift's day some are of the next."""
    first_ms, end_ms, since_ms = bounds
    asked = {"township": township.id, "since": since_ms}
    reach = DAY_MS if roster.overnight else 0
    span = {"first_ms": first_ms, "last_ms": end_ms + reach - 1}
    rows = list(plain(session, _late_asked(of_day=False), {**asked, **span}))
    if roster.overnight and signed[max(signed)] < end_ms + DAY_MS:
        # Signed on the first morning: what came that day was on the day that it is of.
        night = moments(end_ms, end_ms + DAY_MS - 1)
        rows += plain(session, _late_asked(of_day=True), {**asked, **night})
    there: dict[date, set[int]] = {}
    for official, at_ms, site_id in rows:
        own = day_of(at_ms)
        for day in (own, own - timedelta(1)) if roster.overnight else (own,):
            if day.isoformat()[:7] in signed:
                _note(found, day, official)
                there.setdefault(day, set()).add(site_id)
    for day, sites in there.items():
        if not in_force(roster.terms, Allowance, day).late_counts:
            # Whoever was perhaps late at another site is late now that the records are here.
            usual = roster.usual(day)
            _note(found, day, *(
                p.official for p in roster.people
                if any(e.place.id in sites for e in roster.expected(p, day, usual))
            ))  # fmt: skip


def line_of(roster: Roster, day: date, one: PersonDay, rate: Allowance) -> allowance.Line | None:
    """What a judged day earns; None for one on which nobody was expected, nor came."""
    if one.judged.verdict == "not_expected" and not one.judged.corrected:
        return None
    return allowance.day_line(
        day, one.judged.verdict, one.judged.visits, roster.site_kinds, rate, one.judged.corrected
    )


def worth(
    session: Session, township: Township, roster: Roster, days: Touched, now: datetime
) -> dict[tuple[str, date], int]:
    """What these people's days earn as they stand now, in fen; those that earn nothing left out.

    A month's are read in a fixed number of queries, of these people alone.
    """
    found: dict[tuple[str, date], int] = {}
    for month in sorted({day.isoformat()[:7] for day in days}):
        mine = sorted(day for day in days if day.isoformat()[:7] == month)
        inputs = inputs_of(
            session, township, roster, mine[0], mine[-1], to_ms(now), signed=False
        )
        codes = {code for day in mine for code in days[day]}
        also = [
            r.record_id
            for listed in inputs.rulings.values()
            for r in listed
            if r.really in codes and r.record_id is not None
        ]
        facts = facts_of(
            session, township, roster, day_start_ms(mine[0]),
            day_end_ms(mine[-1]) + (DAY_MS if roster.overnight else 0),
            codes if len(codes) <= MANY else None, also,
        )  # fmt: skip
        for day in mine:
            rate = in_force(roster.terms, Allowance, day)
            people = [roster.by_code[code] for code in days[day] if code in roster.by_code]
            made = judged_day(roster, inputs, facts, day, to_ms(now), people)
            for code, one in made.people.items():
                line = line_of(roster, day, one, rate)
                if line is not None and line.fen:
                    found[code, day] = line.fen
    return found

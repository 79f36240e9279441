"""Imports: sent and kept for a day, applied in one transaction, undone by what is appended."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, aliased, undefer

from attendance.days import DAY_MS, day_start_ms, from_ms, to_ms
from attendance.decoding import json_of
from attendance.i18n import say
from attendance.statuses import Status
from server.errors import InputInvalid, NotFound
from server.models import (
    Expectation,
    ImportBatch,
    ImportDraft,
    Official,
    RosterDay,
    Township,
    User,
    WorkGroup,
)
from server.services.access.permissions import Act as Permission
from server.services.access.permissions import require
from server.services.imports.plans import Act, Plan, plan
from server.services.township import leave, rosters, settings
from server.services.township.settings import Particulars
from server.services.township.townships import clean

#: What a role must be allowed to import each kind of table.
NEEDS = {
    "officials": Permission.EDIT_ROSTER,
    "rosters": Permission.EDIT_ROSTER,
    "leave": Permission.ENTER_LEAVE,
}


class Pattern(msgspec.Struct, frozen=True):
    """A weekly pattern as it stood: a mask of weekdays, and the shift's id."""

    weekdays: int
    shift: int | None = None


class Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one row wrote, and what stood there before, so that it can be undone.

    `before` of a new official is None. `days` are, for each exception, its day and what held until
    then: `what`, site and shift. The row that was written names the batch.
    """

    number: int
    official: str
    name: str
    fate: str
    before: Particulars | None = None
    after: Particulars | None = None
    sites_before: tuple[int, ...] | None = None
    sites_after: tuple[int, ...] | None = None
    days: tuple[tuple[str, str, int | None, int | None], ...] = ()
    site: int | None = None
    pattern_before: Pattern | None = None
    pattern_after: Pattern | None = None
    leave_id: int | None = None


@dataclass(frozen=True)
class Batch:
    """An import; `undone` is the id of what undid it."""

    id: int
    kind: str
    name: str
    sha256: str
    rows: int
    by: str
    at: datetime
    undoes: int | None
    undone: int | None


def keep_draft(
    session: Session, township: Township, kind: str, name: str, body: bytes, by: User,
    now: datetime,
) -> ImportDraft:  # fmt: skip
    """Keeps a table until it is applied; those older than a day go. Raises NotAllowed and
    InputInvalid (`plan`)."""
    if kind not in NEEDS:
        raise InputInvalid("kind", say("请选择表格", "choose a table"), "kind")
    require(by, NEEDS[kind], township)
    plan(session, township, kind, body, by, now)
    old = ImportDraft.at_ms < to_ms(now) - DAY_MS
    mine = (ImportDraft.user_id == by.id) & (ImportDraft.kind == kind)
    session.execute(delete(ImportDraft).where(old | mine))
    row = ImportDraft(
        township_id=township.id, token=secrets.token_urlsafe(32), user_id=by.id, kind=kind,
        name=clean(name, 120) or f"{kind}.xlsx", content=body, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def draft_of(session: Session, township: Township, token: str, by: User) -> ImportDraft:
    """One's own draft. Raises NotFound."""
    row = session.scalar(
        select(ImportDraft)
        .options(undefer(ImportDraft.content))
        .where(
            ImportDraft.township_id == township.id, ImportDraft.token == token,
            ImportDraft.user_id == by.id,
        )
    )  # fmt: skip
    if row is None:
        raise NotFound(say("没有这份表格", "there is no such table"))
    return row


def apply_draft(
    session: Session, township: Township, token: str, digest: str, by: User, now: datetime
) -> ImportBatch:
    """Writes every row that is new or changes something; refused rows are left out.

    `digest` is of the plan that was shown. Raises NotAllowed, NotFound and InputInvalid:
    `plan_changed`, `plan_empty`.
    """
    draft = draft_of(session, township, token, by)
    require(by, NEEDS[draft.kind], township)
    made = plan(session, township, draft.kind, draft.content, by, now)
    if made.digest != digest:
        raise InputInvalid("plan_changed", say("情况已有变化", "something has changed"), "seen")
    acts = sum(row.act is not None for row in made.fates)
    if not acts:
        raise InputInvalid("plan_empty", say("没有可写入的行", "there is nothing to do"), "seen")
    write = {"officials": _officials, "rosters": _rosters, "leave": _leave}[draft.kind]
    dated: list[RosterDay] = []
    written = write(session, township, made, by, now, dated)
    batch = ImportBatch(
        township_id=township.id, kind=draft.kind, name=draft.name,
        sha256=hashlib.sha256(draft.content).hexdigest(), rows=acts,
        body=msgspec.json.encode(written).decode(), by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(batch)
    session.flush()
    for row in dated:
        row.batch_id = batch.id
    session.add_all(dated)
    session.delete(draft)
    session.flush()
    return batch


def _officials(
    session: Session, township: Township, made: Plan, by: User, now: datetime,
    _dated: list[RosterDay],
) -> list[Written]:  # fmt: skip
    groups = {
        g.name: g
        for g in session.scalars(select(WorkGroup).where(WorkGroup.township_id == township.id))
    }
    names = {g.id: g.name for g in groups.values()}
    held = {
        o.official: o
        for o in session.scalars(select(Official).where(Official.township_id == township.id))
    }
    patterns = patterns_of(session, township)
    written = []
    for row in made.fates:
        act = row.act
        if act is None or act.particulars is None:
            continue
        person, before = held.get(act.official), None
        if person is None:
            person = settings.add_official(
                session, township, act.official, act.particulars, by, now, groups
            )
        else:
            before = settings.particulars_of(person, names.get(person.work_group_id or 0, ""))
            settings.put_particulars(session, township, person, act.particulars, now, groups)
        own = patterns.setdefault(person.id, {})
        there = tuple(sorted(own))
        if act.sites is not None:
            rosters.expect_at(session, person, set(act.sites), own, by.name, now)
        written.append(
            Written(
                row.number, row.official, row.name, row.fate, before, act.particulars,
                None if act.sites is None else there, act.sites,
            )
        )  # fmt: skip
    session.flush()
    return written


def patterns_of(session: Session, township: Township) -> dict[int, dict[int, Expectation]]:
    """The patterns in force, by official and site (row ids)."""
    found: dict[int, dict[int, Expectation]] = {}
    for e in session.scalars(select(Expectation).where(Expectation.township_id == township.id)):
        found.setdefault(e.official_id, {})[e.site_id] = e
    return found


def _rosters(
    session: Session, township: Township, made: Plan, by: User, now: datetime,
    dated: list[RosterDay],
) -> list[Written]:  # fmt: skip
    ids = ids_of(session, township)
    patterns = patterns_of(session, township)
    acts = [row.act for row in made.fates if row.act is not None and row.act.what != "weekly"]
    before = latest_of(session, township, acts)
    written = []
    for row in made.fates:
        act = row.act
        if act is None:
            continue
        person = ids[act.official]
        if act.what == "weekly":
            held = patterns.get(person, {}).get(act.site or 0)
            was = None if held is None else Pattern(held.weekdays, held.shift_id)
            now_is = Pattern(act.weekdays, act.shift)
            first = date.fromisoformat(act.first)
            set_pattern(session, township, person, act.site or 0, held, now_is, first, by, now)
            written.append(
                Written(row.number, row.official, row.name, row.fate, site=act.site,
                        pattern_before=was, pattern_after=now_is)
            )  # fmt: skip
            continue
        days = []
        for day in _days(act):
            old = before.get((person, day))
            days.append(
                (day, "pattern", None, None) if old is None
                else (day, old.what, old.site_id, old.shift_id)
            )  # fmt: skip
            dated.append(
                RosterDay(
                    township_id=township.id, official_id=person, day=day, what=act.what,
                    site_id=act.site, shift_id=act.shift, reason=act.reason, by=by.name,
                    at_ms=to_ms(now),
                )
            )  # fmt: skip
        written.append(Written(row.number, row.official, row.name, row.fate, days=tuple(days)))
    return written


def ids_of(session: Session, township: Township) -> dict[str, int]:
    """Row ids of officials by code."""
    rows = session.execute(
        select(Official.official, Official.id).where(Official.township_id == township.id)
    )
    return {code: number for code, number in rows}  # noqa: C416 (rows are not tuples)


def _days(act: Act) -> list[str]:
    first, last = date.fromisoformat(act.first), date.fromisoformat(act.last)
    return [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]


def latest_of(
    session: Session, township: Township, acts: list[Act]
) -> dict[tuple[int, str], RosterDay]:
    """The exceptions that count now on the days that these acts touch."""
    if not acts:
        return {}
    first, last = min(act.first for act in acts), max(act.last for act in acts)
    rows = session.scalars(
        select(RosterDay)
        .where(RosterDay.township_id == township.id, RosterDay.day.between(first, last))
        .order_by(RosterDay.id)
    )
    return {(row.official_id, row.day): row for row in rows}


def set_pattern(
    session: Session, township: Township, person: int, site: int, held: Expectation | None,
    pattern: Pattern | None, first: date, by: User, now: datetime,
) -> None:  # fmt: skip
    """Lets `pattern` hold at the site from `first` on instead of `held`."""
    if held is not None:
        rosters.end_pattern(session, held, first, by.name, now)
    if pattern is not None:
        session.add(
            Expectation(
                township_id=township.id, official_id=person, site_id=site,
                weekdays=pattern.weekdays, shift_id=pattern.shift, first_day=first.isoformat(),
            )
        )  # fmt: skip
        session.flush()


def _leave(
    session: Session, township: Township, made: Plan, by: User, now: datetime,
    _dated: list[RosterDay],
) -> list[Written]:  # fmt: skip
    written = []
    for row in made.fates:
        act = row.act
        if act is None:
            continue
        start = day_start_ms(date.fromisoformat(act.first))
        end = day_start_ms(date.fromisoformat(act.last) + timedelta(1))
        asked = leave.ask(
            session, township, act.official, Status(act.what), from_ms(start), from_ms(end),
            act.reason, by, now,
        )  # fmt: skip
        written.append(Written(row.number, row.official, row.name, row.fate, leave_id=asked.id))
    return written


def batch_of(session: Session, township: Township, batch_id: int) -> Batch:
    """One import. Raises NotFound."""
    found = _batches(session, township, ImportBatch.id == batch_id)
    if not found:
        raise NotFound(say("没有这次导入", "there is no such import"))
    return found[0]


def batches(session: Session, township: Township, limit: int = 100) -> list[Batch]:
    """Imports and what undid them, newest first."""
    return _batches(session, township, ImportBatch.id > 0)[:limit]


def _batches(session: Session, township: Township, which: ColumnElement[bool]) -> list[Batch]:
    other = aliased(ImportBatch)
    rows = session.execute(
        select(
            ImportBatch.id, ImportBatch.kind, ImportBatch.name, ImportBatch.sha256,
            ImportBatch.rows, ImportBatch.by, ImportBatch.at_ms, ImportBatch.undoes, other.id,
        )
        .outerjoin(other, other.undoes == ImportBatch.id)
        .where(ImportBatch.township_id == township.id, which)
        .order_by(ImportBatch.id.desc())
        .limit(1000)
    )  # fmt: skip
    return [Batch(*row[:6], from_ms(row[6]), row[7], row[8]) for row in rows]


def written_of(session: Session, township: Township, batch_id: int) -> list[Written]:
    """What each row of an import wrote."""
    return json_of(list[Written]).decode(body_of(session, township, batch_id))


def body_of(session: Session, township: Township, batch_id: int) -> str:
    """The JSON of what an import, or an undoing, wrote."""
    return str(
        session.scalar(
            select(ImportBatch.body).where(
                ImportBatch.id == batch_id, ImportBatch.township_id == township.id
            )
        )
    )

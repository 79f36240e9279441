"""Imports taken back: what they wrote is reversed by what is appended, once."""

from __future__ import annotations

from datetime import date, datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from attendance.decoding import json_of
from attendance.i18n import say
from server.errors import InputInvalid
from server.models import ImportBatch, Official, RosterDay, Township, User, WorkGroup
from server.services.access.permissions import require
from server.services.imports.batches import (
    NEEDS,
    Pattern,
    Written,
    batch_of,
    body_of,
    ids_of,
    latest_of,
    patterns_of,
    set_pattern,
    written_of,
)
from server.services.imports.plans import Act
from server.services.township import leave, rosters, settings

BACK, KEPT, BEGUN = "back", "kept", "begun"


class Undone(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row when its import was undone: BACK, KEPT since it was changed since, or
    BEGUN: approved leave that only another may withdraw (`leave.why_not_withdrawn`)."""

    number: int
    official: str
    name: str
    fate: str


def undo(
    session: Session, township: Township, batch_id: int, by: User, now: datetime
) -> ImportBatch:
    """Appends what takes an import back, once. What was changed since is left as it is.

    Officials who came with it leave the roster, particulars and patterns are what they were,
    exceptions are taken back, and leave is not taken; of leave that is approved and has begun only
    what `by` may withdraw. Raises NotAllowed, NotFound, InputInvalid.
    """
    held = batch_of(session, township, batch_id)
    require(by, NEEDS[held.kind], township)
    if held.undoes is not None or held.undone is not None:
        raise InputInvalid("undone", say("已经撤销", "that is undone already"), "undo")
    rows = written_of(session, township, batch_id)
    back = {"officials": _undo_officials, "rosters": _undo_rosters, "leave": _undo_leave}
    fates = back[held.kind](session, township, batch_id, rows, by, now)
    undone = [
        Undone(row.number, row.official, row.name, fate)
        for row, fate in zip(rows, fates, strict=True)
    ]
    made = ImportBatch(
        township_id=township.id, kind=held.kind, name=held.name, sha256=held.sha256,
        rows=fates.count(BACK), body=msgspec.json.encode(undone).decode(), undoes=batch_id,
        by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def _undo_officials(
    session: Session, township: Township, _batch: int, rows: list[Written], by: User, now: datetime
) -> list[str]:
    groups = {
        g.name: g
        for g in session.scalars(select(WorkGroup).where(WorkGroup.township_id == township.id))
    }
    names = {g.id: g.name for g in groups.values()}
    people = {
        o.official: o
        for o in session.scalars(select(Official).where(Official.township_id == township.id))
    }
    patterns = patterns_of(session, township)
    fates = []
    for row in rows:
        person = people[row.official]
        present = settings.particulars_of(person, names.get(person.work_group_id or 0, ""))
        own = patterns.setdefault(person.id, {})
        moved = row.sites_after is not None and tuple(sorted(own)) != row.sites_after
        if present != row.after or moved or by.official == row.official or not person.active:
            fates.append(KEPT)
            continue
        if row.sites_before is not None:
            rosters.expect_at(session, person, set(row.sites_before), own, by.name, now)
        if row.before is None:
            person.active, person.updated_ms = False, to_ms(now)
        else:
            settings.put_particulars(session, township, person, row.before, now, groups)
        fates.append(BACK)
    session.flush()
    return fates


def _undo_rosters(
    session: Session, township: Township, batch: int, rows: list[Written], by: User, now: datetime
) -> list[str]:
    ids, patterns = ids_of(session, township), patterns_of(session, township)
    acts = [Act(r.official, first=r.days[0][0], last=r.days[-1][0]) for r in rows if r.days]
    latest = latest_of(session, township, acts)
    today = day_of(to_ms(now)).isoformat()  # sheets of days that are over keep what was the roster
    fates = []
    for row in rows:
        person = ids[row.official]
        if by.official == row.official:
            fates.append(KEPT)
        elif row.pattern_after is not None:
            held = patterns.get(person, {}).get(row.site or 0)
            same = held is not None and (Pattern(held.weekdays, held.shift_id) == row.pattern_after)
            if same and held is not None:
                first = max(day_of(to_ms(now)), date.fromisoformat(held.first_day or "2000-01-01"))
                set_pattern(session, township, person, row.site or 0, held, row.pattern_before,
                             first, by, now)  # fmt: skip
            fates.append(BACK if same else KEPT)
        else:
            mine = [d for d in row.days if d[0] >= today and latest[person, d[0]].batch_id == batch]
            session.add_all(
                RosterDay(
                    township_id=township.id, official_id=person, day=day, what=what, site_id=site,
                    shift_id=shift, reason=f"撤销导入 № {batch}", by=by.name, at_ms=to_ms(now),
                )
                for day, what, site, shift in mine
            )  # fmt: skip
            fates.append(BACK if len(mine) == len(row.days) else KEPT)
    session.flush()
    return fates


def _undo_leave(
    session: Session, township: Township, batch: int, rows: list[Written], by: User, now: datetime
) -> list[str]:
    numbers = [row.leave_id or 0 for row in rows]
    said = leave.withdraw(session, township, numbers, f"撤销导入 № {batch}", by, now)
    # KEPT: withdrawn by hand since, or one's own.
    fates = {"": BACK, "begun_leave": BEGUN}
    return [fates.get(said.get(number, "gone"), KEPT) for number in numbers]


def undone_of(session: Session, township: Township, batch_id: int) -> list[Undone]:
    """What became of each row that was undone."""
    return json_of(list[Undone]).decode(body_of(session, township, batch_id))

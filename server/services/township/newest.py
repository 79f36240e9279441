"""Everybody's newest records, and of those that were read before only what came in since."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, or_, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.pool import Pool

from attendance.clock import ClockClass, Estimate
from attendance.records import PERSON_KINDS
from attendance.statuses import Kind, Status
from attendance.whereabouts import Fact
from server.db import SNAPSHOT, plain
from server.models import Device, Official, RecordRow, Site, Township

#: Made once: an alias names all columns anew.
_TIMED, _ROW, _AMEND = (aliased(RecordRow) for _ in range(3))
PERSON_KIND_WORDS = tuple(sorted(str(kind) for kind in PERSON_KINDS))


def fact_of_row(row: Any, site: str | None = None) -> Fact:
    """The fact in a stored record of a person kind."""
    return Fact(
        official=row.official or "",
        kind=Kind(row.kind),
        status=Status(row.status or "unknown"),
        when=Estimate(row.earliest_ms, row.latest_ms, row.at_ms, ClockClass(row.cls)),
        record_id=row.record_id,
        device=row.device_id,
        epoch=row.epoch,
        seq=row.seq,
        verified=row.verified,
        until_ms=row.until_ms,
        reason=row.reason,
        method=row.method,
        site=site,
        supersedes=row.supersedes,
    )


def _newest(
    township: int, first_ms: int, last_ms: int, replaced: Sequence[int], *, sure: bool
) -> ScalarSelect[int]:
    """The id of an official's newest record that can decide; only of those whose time is `sure`.

    First its time, then which of that millisecond: in one order SQLite would read and sort all of
    the day's.
    """
    timed, row = _TIMED, _ROW

    def can_decide(one: type[RecordRow]) -> list[ColumnElement[bool]]:
        return [
            one.township_id == township,
            one.official == Official.official,
            one.kind.in_(PERSON_KIND_WORDS),
            one.verified.is_(True),
            one.id.not_in(replaced),
            *([one.cls != str(ClockClass.C)] if sure else []),
        ]

    at = (
        select(timed.at_ms)
        .where(timed.at_ms.between(first_ms, last_ms), *can_decide(timed))
        .order_by(timed.at_ms.desc())
        .limit(1)
        .correlate(Official)
        .scalar_subquery()
    )
    return (
        select(row.id)
        .where(row.at_ms == at, *can_decide(row))
        .order_by(row.device_id.desc(), row.epoch.desc(), row.seq.desc())
        .limit(1)
        .correlate(Official)
        .scalar_subquery()
    )


def newest_facts(
    session: Session,
    township: Township,
    first_ms: int,
    last_ms: int,
    codes: Collection[str] | None = None,
) -> dict[str, list[Fact]]:
    """By code of active officials, or of those of `codes`, the facts in `first_ms..last_ms` that
    can decide: the newest verified one that no amend replaced, and the newest of those whose time
    is not doubtful.

    What `whereabouts` would choose from all of them, without reading all of them: after a week
    offline a day may have thousands.
    """
    row, amend = _ROW, _AMEND
    replaced = session.scalars(
        select(row.id)
        .join(
            amend,
            (amend.supersedes == row.record_id)
            & (amend.device_id == row.device_id)
            & (amend.official == row.official),
        )
        .where(
            amend.township_id == township.id,
            amend.supersedes.is_not(None),
            amend.at_ms.between(first_ms, last_ms),
        )
    ).all()
    both = [_newest(township.id, first_ms, last_ms, replaced, sure=sure) for sure in (False, True)]
    asked = (
        select(*both)
        .select_from(Official)
        .where(Official.township_id == township.id, Official.active)
    )
    if codes is not None:
        asked = asked.where(Official.official.in_(codes))
    ids = {rowid for pair in session.execute(asked) for rowid in pair if rowid is not None}
    rows = session.execute(
        select(RecordRow, Site.name)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(RecordRow.id.in_(ids))
    )
    found: dict[str, list[Fact]] = {}
    for held, site in rows:
        found.setdefault(held.official or "", []).append(fact_of_row(held, site))
    return found


#: Kiosks that sent something, their records, and people whom these concern, up to which asking for
#: them alone is less than asking for everybody.
_FEW_KIOSKS, _FEW_RECORDS, _FEW_PEOPLE = 20, 1_000, 200
_Cursors = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class _Kept:
    """What was read of a township: of which roster, of which time, up to which records."""

    roster: int
    first_ms: int
    last_ms: int
    cursors: _Cursors
    facts: Mapping[str, list[Fact]]


# Built once, and past the ORM: it brings a row for every kiosk.
_STAND = select(Device.id, Device.epoch, Device.seq).where(
    Device.township_id == bindparam("township")
)
_kept: WeakKeyDictionary[Pool, dict[int, _Kept]] = WeakKeyDictionary()


def latest_facts(
    session: Session, township: Township, roster: int, first_ms: int, last_ms: int
) -> Mapping[str, list[Fact]]:
    """As `newest_facts` of everybody; the mapping is kept and must not be changed.

    `roster` is the version of the township's roster. A kiosk's cursor rises in the transaction that
    stores its records, so cursors tell whose records came since the last look. Only where all of it
    is of one moment (`Database.snapshot`) is anything kept: what is newer than the version of its
    page would be left out of the next news.
    """
    if not session.info.get(SNAPSHOT):
        return newest_facts(session, township, first_ms, last_ms)
    kept = _kept.setdefault(session.connection().engine.pool, {})
    held = kept.get(township.id)
    stand = plain(session, _STAND, {"township": township.id})
    cursors: _Cursors = {device: (epoch, seq) for device, epoch, seq in stand}
    if held is not None and any(at < held.cursors.get(d, at) for d, at in cursors.items()):
        return newest_facts(session, township, first_ms, last_ms)  # of a moment before
    codes = None
    if held is not None and (held.roster, held.first_ms) == (roster, first_ms):
        codes = _concerned(session, township, held, cursors, last_ms)
    if held is None or codes is None:
        facts: Mapping[str, list[Fact]] = newest_facts(session, township, first_ms, last_ms)
    elif codes:
        fresh = newest_facts(session, township, first_ms, last_ms, codes=codes)
        facts = {c: f for c, f in held.facts.items() if c not in codes} | fresh
    else:
        facts = held.facts
    kept[township.id] = _Kept(roster, first_ms, last_ms, cursors, facts)
    return facts


def _concerned(
    session: Session, township: Township, held: _Kept, cursors: _Cursors, last_ms: int
) -> set[str] | None:
    """Whose newest record may be another one now; None where everybody is to be asked for."""
    moved = {device: at for device, at in cursors.items() if held.cursors.get(device) != at}
    if last_ms < held.last_ms or len(moved) > _FEW_KIOSKS or held.cursors.keys() - cursors.keys():
        return None
    came = 0
    for device, (epoch, seq) in moved.items():
        before = held.cursors.get(device, (epoch, 0))
        came += seq - before[1] if epoch == before[0] else seq
    if came > _FEW_RECORDS:
        return None
    row = RecordRow
    since = [
        and_(row.device_id == device, _after(held.cursors.get(device, (0, 0)))) for device in moved
    ]
    # Those of a kiosk that was ahead of its time, which it is no more.
    since.append(and_(
        row.township_id == township.id, row.at_ms > row.received_ms,
        row.at_ms.between(held.last_ms + 1, last_ms),
    ))  # fmt: skip
    found: set[str] = set()
    for condition in since:
        rows = session.scalars(select(row.official).where(condition).limit(_FEW_PEOPLE + 1))
        found.update(code for code in rows if code is not None)
        if len(found) > _FEW_PEOPLE:
            return None
    return found


def _after(cursor: tuple[int, int]) -> ColumnElement[bool]:
    epoch, seq = cursor
    row = RecordRow
    return or_(and_(row.epoch == epoch, row.seq > seq), row.epoch > epoch)

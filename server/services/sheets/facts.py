"""What people's records say of some days: facts to judge by, and what entries are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import Fact
from server.db import plain
from server.models import RecordRow, Township
from server.services.records.recordrows import moments, with_ids, within
from server.services.sheets.roster import Roster
from server.services.township.newest import PERSON_KIND_WORDS

_KINDS = {str(kind): kind for kind in Kind}
_STATUSES = {str(status): status for status in Status}
_CLASSES = {str(cls): cls for cls in ClockClass}
#: Columns of a fact, in the order of `fact_of`.
FACT = (
    RecordRow.official,
    RecordRow.kind,
    RecordRow.status,
    RecordRow.earliest_ms,
    RecordRow.latest_ms,
    RecordRow.at_ms,
    RecordRow.cls,
    RecordRow.record_id,
    RecordRow.device_id,
    RecordRow.epoch,
    RecordRow.seq,
    RecordRow.verified,
    RecordRow.until_ms,
    RecordRow.reason,
    RecordRow.method,
    RecordRow.supersedes,
    RecordRow.flags,
    RecordRow.site_id,
)
#: What an entry says besides (`server.services.sheets.entries`).
EVIDENCE = (
    RecordRow.id,
    RecordRow.received_ms,
    RecordRow.score,
    RecordRow.margin,
    RecordRow.liveness,
)


@dataclass(frozen=True, slots=True)
class Flagged:
    """The flags that a record got as it arrived, besides its fact."""

    record_id: str
    site: str
    flags: tuple[str, ...]


@dataclass
class Facts:
    """Facts by calendar day and official, and the flags of those that have any, by record id.

    `rows` are what was read, with all that an entry says, where that was asked for.
    """

    by_day: dict[date, dict[str, list[Fact]]] = field(default_factory=dict)
    flagged: dict[str, Flagged] = field(default_factory=dict)
    rows: Sequence[Any] = ()

    def on(self, official: str, start_ms: int, end_ms: int) -> list[Fact]:
        """An official's facts from `start_ms` until before `end_ms`, a day and a half at most."""
        first, last = day_of(start_ms), day_of(end_ms - 1)
        found = self.by_day.get(first, {}).get(official, [])
        if last != first:
            found = found + self.by_day.get(last, {}).get(official, [])
        return [f for f in found if start_ms <= f.when.at_ms < end_ms]


@cache
def select_facts(evidence: bool = False) -> Select[*tuple[Any, ...]]:
    """Rows of `FACT`, with `evidence` of `EVIDENCE` too, by time and id; put together once.

    Its values are `township` and those of `recordrows.moments`.
    """
    return (
        select(*FACT, *(EVIDENCE if evidence else ()))
        .where(
            RecordRow.township_id == bindparam("township"),
            within(),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )


def rows_of(rows: Iterable[Any], start_ms: int, end_ms: int, codes: Collection[str]) -> list[Any]:
    """Those of `Facts.rows` from `start_ms` until before `end_ms` that are these officials'."""
    return [row for row in rows if row[0] in codes and start_ms <= row[5] < end_ms]


def facts_of(
    session: Session,
    township: Township,
    roster: Roster,
    start_ms: int,
    end_ms: int,
    codes: Collection[str] | None = None,
    also: Iterable[str] = (),
    evidence: bool = False,
) -> Facts:
    """The facts from `start_ms` until before `end_ms`, of everybody or of some officials.

    `also` are ids of records of others that are needed beside their own. With `evidence` the rows
    are kept, and hold what entries are made of.
    """
    query, asked = select_facts(evidence), moments(start_ms, end_ms - 1)
    if codes is not None:
        others = list(also)
        mine = RecordRow.official.in_(codes)
        query = query.where(mine | with_ids(township.id, others) if others else mine)
    made, sites = Facts(), site_names(roster)
    day_ms, day = 0, date.min
    held: dict[str, list[Fact]] = {}
    rows = plain(session, query, {**asked, "township": township.id}).all()
    if evidence:
        made.rows = rows
    for row in rows:
        fact = fact_of(row, sites)
        at_ms = row[5]
        if not day_ms <= at_ms < day_ms + DAY_MS:
            day = day_of(at_ms)
            day_ms, held = day_start_ms(day), made.by_day.setdefault(day, {})
        own = held.get(fact.official)
        if own is None:
            held[fact.official] = [fact]
        else:
            own.append(fact)
        if row[16]:
            made.flagged[fact.record_id] = Flagged(fact.record_id, fact.site or "", tuple(row[16]))
    return made


def site_names(roster: Roster) -> dict[int | None, str]:
    """Names by id: looked up here, neither joined to tens of thousands of rows nor asked for."""
    return {number: place.name for number, place in roster.places.items()}


def fact_of(row: Any, sites: Mapping[int | None, str]) -> Fact:
    """A row that begins with `FACT` as a fact; the column of flags is left to the caller."""
    (
        official, kind, status, earliest_ms, latest_ms, at_ms, cls, record_id, device, epoch, seq,
        verified, until_ms, reason, method, supersedes, _, site_id,
    ) = row[:18]  # fmt: skip
    return Fact(
        official or "",
        _KINDS[kind],
        _STATUSES[status or "unknown"],
        Estimate(earliest_ms, latest_ms, at_ms, _CLASSES[cls]),
        record_id,
        device,
        epoch,
        seq,
        verified,
        until_ms,
        reason,
        method,
        sites.get(site_id),
        supersedes,
    )

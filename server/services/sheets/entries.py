"""Records as the sheets show them: the evidence, as it came, whatever people decided about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.clock import ClockClass
from attendance.whereabouts import standing
from server.db import plain
from server.models import RecordRow, Site, Township
from server.rules import flags
from server.services.records.recordrows import between, with_ids
from server.services.township.newest import PERSON_KIND_WORDS, fact_of_row

#: An interval up to this wide is said as one time.
SURE_MS = 120_000


#: What an entry says, without the signed bytes: rows are not loaded as objects.
_COLUMNS = (
    RecordRow.id, RecordRow.record_id, RecordRow.official, RecordRow.kind, RecordRow.status,
    RecordRow.method, RecordRow.verified, RecordRow.earliest_ms, RecordRow.latest_ms,
    RecordRow.at_ms, RecordRow.cls, RecordRow.device_id, RecordRow.epoch, RecordRow.seq,
    RecordRow.received_ms, RecordRow.score, RecordRow.margin, RecordRow.liveness, RecordRow.reason,
    RecordRow.until_ms, RecordRow.flags, RecordRow.supersedes, Site.name.label("site"),
    Site.kind.label("site_kind"),
)  # fmt: skip


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record of a person on the sheet, times in Unix milliseconds.

    `certainty` is `sure` (class A or B, within two minutes), `between` (an interval) or `doubtful`
    (class C). `flags` are words of `server.rules.flags`.
    """

    record_id: str
    official: str
    kind: str
    status: str
    method: str
    verified: bool
    earliest_ms: int
    latest_ms: int
    at_ms: int
    cls: ClockClass
    certainty: str
    site: str
    site_kind: str
    device: str
    epoch: int
    seq: int
    received_ms: int
    score: float | None = None
    margin: float | None = None
    liveness: str | None = None
    reason: str | None = None
    until_ms: int | None = None
    flags: tuple[str, ...] = ()


def entry_of(row: Any, site: str, site_kind: str) -> Entry:
    """A stored record, or its columns, as the sheet shows it."""
    cls = ClockClass(row.cls)
    narrow = row.latest_ms - row.earliest_ms <= SURE_MS
    certainty = "doubtful" if cls is ClockClass.C else "sure" if narrow else "between"
    return Entry(
        record_id=row.record_id,
        official=row.official or "",
        kind=row.kind,
        status=row.status or "",
        method=row.method or "",
        verified=row.verified,
        earliest_ms=row.earliest_ms,
        latest_ms=row.latest_ms,
        at_ms=row.at_ms,
        cls=cls,
        certainty=certainty,
        site=site,
        site_kind=site_kind,
        device=row.device_id,
        epoch=row.epoch,
        seq=row.seq,
        received_ms=row.received_ms,
        score=row.score,
        margin=row.margin,
        liveness=row.liveness,
        reason=row.reason,
        until_ms=row.until_ms,
        flags=tuple(row.flags or ()),
    )


def entries_between(
    session: Session,
    township: Township,
    start_ms: int,
    end_ms: int,
    codes: Collection[str] | None = None,
) -> dict[str, Entry]:
    """Entries by record id from `start_ms` until before `end_ms`, of those officials or of all.

    One that a later amend replaced carries the flag `superseded`.
    """
    query = (
        select(*_COLUMNS)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(
            RecordRow.township_id == township.id,
            between(start_ms, end_ms - 1),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    if codes is not None:
        query = query.where(RecordRow.official.in_(codes))
    return _entries(plain(session, query))


def entries_by_id(
    session: Session, township: Township, record_ids: Iterable[str]
) -> dict[str, Entry]:
    """Entries by record id; ids that are not of this township are left out."""
    wanted = list(record_ids)
    if not wanted:
        return {}
    query = (
        select(*_COLUMNS)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(
            RecordRow.township_id == township.id,
            with_ids(township.id, wanted),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    return _entries(plain(session, query))


def _entries(rows: Iterable[Any]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    first: dict[str, int] = {}
    facts = []
    amends = False
    for row in rows:
        if first.setdefault(row.record_id, row.id) < row.id:
            continue  # another kiosk used the id again: it hides nothing of who had it first
        first[row.record_id] = row.id
        entries[row.record_id] = entry_of(row, row.site or "", row.site_kind or "")
        facts.append(row)
        amends = amends or row.supersedes is not None
    if amends:
        made = [fact_of_row(row, row.site) for row in facts]
        kept = {fact.record_id for fact in standing(made)}
        for record_id in entries.keys() - kept:
            old = entries[record_id]
            entries[record_id] = replace(old, flags=(*old.flags, flags.SUPERSEDED))
    return entries

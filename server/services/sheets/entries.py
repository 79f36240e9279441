"""Records as the sheets show them: the evidence, as it came, whatever people decided about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.clock import ClockClass
from attendance.whereabouts import standing
from server.db import plain
from server.models import RecordRow, Township
from server.rules import flags
from server.rules.roster import Place
from server.services.records.recordrows import moments, with_ids
from server.services.sheets.facts import EVIDENCE, FACT, fact_of, select_facts
from server.services.township.newest import PERSON_KIND_WORDS

#: An interval up to this wide is said as one time.
SURE_MS = 120_000
_NOWHERE = Place(0, "", "")


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


def entry_of(row: Any, place: Place) -> Entry:
    """A row of `FACT` and `EVIDENCE` as the sheet shows it."""
    (
        official, kind, status, earliest_ms, latest_ms, at_ms, cls, record_id, device, epoch, seq,
        verified, until_ms, reason, method, _, flagged, _, _, received_ms, score, margin, liveness,
    ) = row  # fmt: skip
    doubtful, narrow = cls == "C", latest_ms - earliest_ms <= SURE_MS
    return Entry(
        record_id=record_id,
        official=official or "",
        kind=kind,
        status=status or "",
        method=method or "",
        verified=verified,
        earliest_ms=earliest_ms,
        latest_ms=latest_ms,
        at_ms=at_ms,
        cls=ClockClass(cls),
        certainty="doubtful" if doubtful else "sure" if narrow else "between",
        site=place.name,
        site_kind=place.kind,
        device=device,
        epoch=epoch,
        seq=seq,
        received_ms=received_ms,
        score=score,
        margin=margin,
        liveness=liveness,
        reason=reason,
        until_ms=until_ms,
        flags=tuple(flagged or ()),
    )


def entries_between(
    session: Session,
    township: Township,
    places: Mapping[int, Place],
    start_ms: int,
    end_ms: int,
    codes: Collection[str] | None = None,
) -> dict[str, Entry]:
    """Entries by record id from `start_ms` until before `end_ms`, of those officials or of all.

    One that a later amend replaced carries the flag `superseded`. `places` are the township's.
    """
    query = select_facts(evidence=True)
    asked = {"township": township.id, **moments(start_ms, end_ms - 1)}
    if codes is not None:
        query = query.where(RecordRow.official.in_(codes))
    return entries_of(plain(session, query, asked).all(), places)


def entries_by_id(
    session: Session, township: Township, places: Mapping[int, Place], record_ids: Iterable[str]
) -> dict[str, Entry]:
    """Entries by record id; ids that are not of this township are left out."""
    wanted = list(record_ids)
    if not wanted:
        return {}
    query = (
        select(*FACT, *EVIDENCE)
        .where(
            RecordRow.township_id == township.id,
            with_ids(township.id, wanted),
            RecordRow.kind.in_(PERSON_KIND_WORDS),
        )
        .order_by(RecordRow.at_ms, RecordRow.id)
    )
    return entries_of(plain(session, query).all(), places)


def entries_of(rows: Iterable[Any], places: Mapping[int, Place]) -> dict[str, Entry]:
    """Of rows of `FACT` and `EVIDENCE`, by time and id."""
    entries: dict[str, Entry] = {}
    first: dict[str, int] = {}
    kept = []
    amends = False
    for row in rows:
        record_id, number = row[7], row[18]
        if first.setdefault(record_id, number) < number:
            continue  # another kiosk used the id again: it hides nothing of who had it first
        first[record_id] = number
        entries[record_id] = entry_of(row, places.get(row[17], _NOWHERE))
        kept.append(row)
        amends = amends or row[15] is not None
    if amends:
        names: dict[int | None, str] = {n: place.name for n, place in places.items()}
        stand = {fact.record_id for fact in standing([fact_of(row, names) for row in kept])}
        for record_id in entries.keys() - stand:
            old = entries[record_id]
            entries[record_id] = replace(old, flags=(*old.flags, flags.SUPERSEDED))
    return entries

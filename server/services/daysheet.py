"""The supervisors' day sheet and one official's history. See `day_sheet`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from attendance.clock import ClockClass


@dataclass(frozen=True)
class Entry:
    """One record of a person on the sheet, times in Unix milliseconds.

    `certainty` is `sure` (class A or B, within two minutes), `between` (an interval) or `doubtful`
    (class C). `flags` are words of `server.services.flags`.
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


@dataclass(frozen=True)
class Discrepancy:
    """Something to look into: a word of `server.services.flags`, and which site or record."""

    kind: str
    site: str | None = None
    record_id: str | None = None


@dataclass(frozen=True)
class DayRow:
    """One official on one day.

    `verdict` is came, leave, trip, not_yet, not_known, absent, not_expected or unverified_only.
    `doubtful` marks a verdict that rests on class C alone; `pending` leave or a trip that nobody
    has approved.
    """

    official: str
    name: str
    title: str
    work_group: str
    expected_sites: tuple[str, ...]
    verdict: str
    entries: tuple[Entry, ...] = ()
    discrepancies: tuple[Discrepancy, ...] = ()
    doubtful: bool = False
    pending: bool = False


@dataclass(frozen=True)
class SiteState:
    """A site as far as that day is concerned.

    `complete_until` is the moment up to which every kiosk's records have arrived, None for never;
    `complete` whether that covers the whole day.
    """

    name: str
    kind: str
    last_contact: datetime | None
    complete_until: datetime | None
    complete: bool
    kiosks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DaySheet:
    """One day of a township. `unknown` are records whose official no roster knows."""

    day: date
    working_day: bool
    calendar_known: bool
    rows: list[DayRow]
    sites: list[SiteState]
    unknown: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """One official over a span of days, newest day first."""

    official: str
    name: str
    title: str
    phone: str
    work_group: str
    portrait: str | None
    active: bool
    days: list[HistoryDay] = field(default_factory=list)


@dataclass(frozen=True)
class HistoryDay:
    """A day of a history: the row that the day sheet shows of them."""

    day: date
    working_day: bool
    row: DayRow

"""The supervisors' day sheet and one official's history: who should have come, and who came."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy.orm import Session

from attendance.clock import ClockClass
from attendance.days import day_end_ms, day_of, day_start_ms, to_ms
from attendance.i18n import say
from attendance.statuses import Status
from attendance.whereabouts import Absence, Fact, standing
from server.errors import NotFound
from server.models import Township
from server.services import flags
from server.services.sheetdata import (
    Entry,
    Kiosks,
    Person,
    SiteState,
    Span,
    people_of,
    span_of,
)
from server.services.townships import sites
from server.services.workdays import calendar_known, days_between, is_expected_on, is_working_day

__all__ = [
    "MAX_DAYS",
    "VERDICTS",
    "DayRow",
    "DaySheet",
    "Discrepancy",
    "Entry",
    "History",
    "HistoryDay",
    "SiteState",
    "day_sheet",
    "official_history",
]

PRESENT = (Status.ON_DUTY, Status.IN_VILLAGE)
AWAY = {Status.ON_LEAVE: "leave", Status.BUSINESS_TRIP: "trip"}
#: Verdicts, in the order in which a supervisor wants them.
VERDICTS = (
    "absent",
    "unverified_only",
    "not_known",
    "not_yet",
    "came",
    "trip",
    "leave",
    "not_expected",
)
#: Days of a history at the most.
MAX_DAYS = 400


@dataclass(frozen=True)
class Discrepancy:
    """Something to look into: a word of `server.services.flags`, and which site or record."""

    kind: str
    site: str | None = None
    record_id: str | None = None


@dataclass(frozen=True)
class DayRow:
    """One official on one day.

    `verdict` is one of `VERDICTS`. `doubtful` marks one that rests on class C alone; `pending`
    leave or a trip that nobody has approved.
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
class DaySheet:
    """One day of a township. `unknown` are records whose official no roster knows."""

    day: date
    working_day: bool
    calendar_known: bool
    rows: list[DayRow]
    sites: list[SiteState]
    unknown: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class HistoryDay:
    """A day of a history: the row that the day sheet shows of them."""

    day: date
    working_day: bool
    row: DayRow


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
    days: list[HistoryDay]


def day_sheet(session: Session, township: Township, day: date, now: datetime) -> DaySheet:
    """The sheet of one Asia/Shanghai day, in a fixed number of queries.

    Nobody is absent before the day is over and every kiosk of every site where they were expected
    has said that its records are complete past its end; till then they are `not_yet` or
    `not_known`. Class C alone decides nothing: it makes `came` doubtful, and keeps `absent` back.
    """
    start, end = day_start_ms(day), day_end_ms(day)
    span = span_of(session, township, start, end)
    kiosks = Kiosks(session, township)
    people = people_of(session, township)
    rows = [_row(person, day, span, kiosks, to_ms(now)) for person in people]
    codes = {person.row.official for person in people}
    return DaySheet(
        day=day,
        working_day=is_working_day(day),
        calendar_known=calendar_known(day),
        rows=[row for row in rows if row is not None],
        sites=[kiosks.state(site, start, end) for site in sites(session, township)],
        unknown=[
            span.entries[fact.record_id]
            for code, facts in sorted(span.facts.items())
            if code not in codes
            for fact in facts
        ],
    )


def official_history(
    session: Session, township: Township, official: str, first: date, last: date, now: datetime
) -> History:
    """One official (the code) from `first` to `last`, both included, at most `MAX_DAYS` days back.

    Raises NotFound for a code that this township's roster does not hold.
    """
    people = people_of(session, township, official)
    if not people:
        raise NotFound(say(f"名册中没有编号 {official}", f"the roster has no official {official}"))
    person = people[0]
    days = days_between(first, last)[-MAX_DAYS:]
    found: list[HistoryDay] = []
    if days:
        span = span_of(session, township, day_start_ms(days[0]), day_end_ms(days[-1]), official)
        kiosks = Kiosks(session, township)
        for day in reversed(days):
            row = _row(person, day, span, kiosks, to_ms(now), always=True)
            if row is not None:
                found.append(HistoryDay(day, is_working_day(day), row))
    return History(
        official=person.row.official,
        name=person.row.name,
        title=person.row.title,
        phone=person.row.phone,
        work_group=person.work_group,
        portrait=person.row.portrait,
        active=person.row.active,
        days=found,
    )


def _row(
    person: Person, day: date, span: Span, kiosks: Kiosks, now_ms: int, always: bool = False
) -> DayRow | None:
    start, end = day_start_ms(day), day_end_ms(day)
    code = person.row.official
    listed = [f for f in span.facts.get(code, ()) if start <= f.when.at_ms < end]
    if not person.row.active and not listed and not always:
        return None
    # Nobody was expected before the roster knew them.
    known = person.row.active and person.row.created_ms < end
    expected = [(s, n) for s, n, mask in person.expected if known and is_expected_on(mask, day)]
    absences = [a for a in span.absences.get(code, ()) if a.start_ms < end and a.end_ms > start]
    reaching = [
        f
        for f in span.doubtful.get(code, ())
        if f.verified
        and f.status in PRESENT
        and not start <= f.when.at_ms < end
        and f.when.earliest_ms < end
        and f.when.latest_ms >= start
    ]
    finding = _Finding(listed, absences, expected, reaching)
    verdict = finding.verdict()
    if verdict is None:
        verdict = _open_verdict(expected, kiosks, day, now_ms, bool(reaching), finding)
        if verdict == "absent":
            _look_for_silence(finding, expected, kiosks, span, start, end)
    entries = [span.entries[f.record_id] for f in listed]
    for entry in entries:
        for word in entry.flags:
            if word != flags.SUPERSEDED:
                finding.add(word, entry.site, entry.record_id)
    return DayRow(
        official=code,
        name=person.row.name,
        title=person.row.title,
        work_group=person.work_group,
        expected_sites=tuple(name for _, name in expected),
        verdict=verdict,
        entries=tuple(entries),
        discrepancies=tuple(finding.found),
        doubtful=finding.doubtful,
        pending=finding.pending,
    )


class _Finding:
    """What an official's own records and absences say of a day."""

    def __init__(
        self,
        facts: list[Fact],
        absences: list[Absence],
        expected: list[tuple[int, str]],
        reaching: list[Fact],
    ) -> None:
        stand = standing(facts)
        self._sure = [f for f in stand if f.verified]
        self._present = [f for f in self._sure if f.status in PRESENT]
        self._unverified = [f for f in stand if not f.verified]
        self._absences = absences
        self._expected = expected
        self._reaching = reaching
        self.found: list[Discrepancy] = []
        self.doubtful = False
        self.pending = False

    def add(self, kind: str, site: str | None = None, record_id: str | None = None) -> None:
        """Notes something to look into, once."""
        item = Discrepancy(kind, site, record_id)
        if item not in self.found:
            self.found.append(item)

    def verdict(self) -> str | None:
        """A verdict where something was recorded or approved, None where nothing was."""
        approved = [a for a in self._absences if a.approved]
        if approved:
            # On the sheet leave stands until a leader decides (product.md, "Precedence").
            for fact in self._present:
                self.add(flags.LEAVE_CLASH, fact.site, fact.record_id)
            return AWAY[approved[-1].status]
        if self._present:
            self._look_at_presence()
            return "came"
        declared = [f for f in self._sure if f.status in AWAY]
        if declared or self._absences:
            self.pending = True
            self.add(flags.PENDING)
            if declared:
                self.doubtful = all(f.when.cls is ClockClass.C for f in declared)
                return AWAY[declared[-1].status]
            return AWAY[self._absences[-1].status]
        if self._sure:  # a check-out alone: somebody was there
            self.doubtful = all(f.when.cls is ClockClass.C for f in self._sure)
            if self.doubtful:
                self.add(flags.DOUBTFUL)
            return "came"
        if self._unverified:
            return "unverified_only"
        return None

    def _look_at_presence(self) -> None:
        self.doubtful = all(f.when.cls is ClockClass.C for f in self._present)
        if self.doubtful:
            self.add(flags.DOUBTFUL)
        names = {name for _, name in self._expected}
        if names and not any(f.site in names for f in self._present):
            self.add(flags.ELSEWHERE, self._present[0].site, self._present[0].record_id)

    def reach(self) -> None:
        """Notes doubtful records of other days that may belong to this one."""
        for fact in self._reaching:
            self.add(flags.DOUBTFUL_RECORD, fact.site, fact.record_id)


def _open_verdict(
    expected: list[tuple[int, str]],
    kiosks: Kiosks,
    day: date,
    now_ms: int,
    reached: bool,
    finding: _Finding,
) -> str:
    if not expected:
        return "not_expected"
    if day >= day_of(now_ms):
        return "not_yet"
    start, end = day_start_ms(day), day_end_ms(day)
    for site_id, name in expected:
        if not kiosks.on(site_id, start, end):
            finding.add(flags.NO_KIOSK, name)
    if reached:
        finding.reach()
        return "not_known"
    if all(kiosks.complete(site_id, start, end) for site_id, _ in expected):
        return "absent"
    return "not_known"


def _look_for_silence(
    finding: _Finding,
    expected: list[tuple[int, str]],
    kiosks: Kiosks,
    span: Span,
    start: int,
    end: int,
) -> None:
    heard = {device for device, ms in span.heard if start <= ms < end}
    for site_id, name in expected:
        if not any(k.device in heard for k in kiosks.on(site_id, start, end)):
            finding.add(flags.KIOSK_SILENT, name)

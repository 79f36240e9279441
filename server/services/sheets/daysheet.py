"""The supervisors' day sheet and one official's history: who should have come, and who came."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy.orm import Session

from attendance.days import DAY_MS, day_start_ms, from_ms
from attendance.i18n import say
from server.errors import NotFound
from server.models import Township
from server.rules.calendar import days_between
from server.rules.roster import Place
from server.rules.verdict import VERDICTS, Discrepancy, Kiosks
from server.rules.visits import Visit
from server.services.sheets.days import Day, Look, PersonDay, person_days, silence
from server.services.sheets.entries import Entry, entries_between, entries_by_id, entries_of
from server.services.sheets.facts import rows_of

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
    "day_row",
    "day_sheet",
    "official_history",
]

#: Days of a history at the most.
MAX_DAYS = 400


@dataclass(frozen=True)
class DayRow:
    """One official on one day.

    `verdict` is one of `VERDICTS`. `doubtful` marks one that rests on class C alone; `pending`
    leave or a trip that nobody has approved; `late_ms` and `early_ms` say how much at the least.
    `corrected` are ids of corrections in effect; `entries` are the records as they came.
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
    late_ms: int = 0
    early_ms: int = 0
    excused: bool = False
    hours: str = ""
    visits: tuple[Visit, ...] = ()
    corrected: tuple[int, ...] = ()


@dataclass(frozen=True)
class SiteState:
    """A site as far as one day is concerned.

    `complete_until` is the moment up to which every kiosk's records have arrived, None where that
    cannot be said; `complete` whether that covers the whole day.
    """

    name: str
    kind: str
    last_contact: datetime | None
    complete_until: datetime | None
    complete: bool
    kiosks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DaySheet:
    """One day of a township. `unknown` are records whose official no roster knows.

    `all_rows` is how many there are, `counts` of everybody that `fits`, by verdict, and `doubtful`
    of those; `rows` may be a page of them.
    """

    day: date
    working_day: bool
    calendar_known: bool
    rows: list[DayRow]
    sites: list[SiteState]
    unknown: list[Entry] = field(default_factory=list)
    groups: tuple[str, ...] = ()
    all_rows: int = 0
    fitting: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    doubtful: int = 0


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
    duties: str = ""
    households: int | None = None


def day_sheet(
    session: Session,
    township: Township,
    day: date,
    now: datetime,
    fits: Callable[[PersonDay], bool] | None = None,
    verdict: str = "",
    first: int = 0,
    most: int | None = None,
) -> DaySheet:
    """The sheet of one day, in a fixed number of queries: everybody, or a page of those that fit.

    `counts` are of all who fit; rows are of those among them with that verdict, `most` of them
    from number `first` on. The verdict's rules are `server.rules.verdict.judge`.
    """
    look = Look(session, township, [day], now, evidence=True)
    roster, kiosks, (made,) = look.roster, look.kiosks, look.days()
    fitting = [p for p in made.people.values() if fits is None or fits(p)]
    shown = [p for p in fitting if not verdict or p.judged.verdict == verdict]
    page = shown[first : None if most is None else first + most]
    whole = len(page) == len(made.people)
    rows = _rows(session, township, look, made, page, whole)
    counts: dict[str, int] = {}
    for one in fitting:
        counts[one.judged.verdict] = counts.get(one.judged.verdict, 0) + 1
    return DaySheet(
        day=day,
        working_day=roster.calendar.is_working(day),
        calendar_known=roster.calendar.known(day),
        rows=rows,
        sites=[site_state(kiosks, place, day) for place in roster.places.values()],
        unknown=list(entries_by_id(session, township, roster.places, made.unknown).values()),
        groups=tuple(dict.fromkeys(p.person.group for p in made.people.values() if p.person.group)),
        all_rows=len(made.people),
        fitting=len(shown),
        counts=counts,
        doubtful=sum(p.judged.doubtful for p in fitting),
    )


def _rows(
    session: Session,
    township: Township,
    look: Look,
    day: Day,
    page: Collection[PersonDay],
    whole: bool,
) -> list[DayRow]:
    """The rows of a page of a day, with their records; `whole` where it is everybody."""
    if not page:
        return []
    places, codes = look.roster.places, {p.person.official for p in page}
    start, end = min(p.start_ms for p in page), max(p.end_ms for p in page)
    if look.rows is not None:
        entries = entries_of(rows_of(look.rows, start, end, codes), places)
    else:
        entries = entries_between(
            session, township, places, start, end, None if whole else sorted(codes)
        )
    quiet = silence(session, township, look.kiosks, [day])
    return [day_row(p, entries, quiet.get((p.person.official, day.day), ())) for p in page]


def day_row(
    one: PersonDay, entries: Mapping[str, Entry], more: Iterable[Discrepancy] = ()
) -> DayRow:
    """A judged day as a row; `more` are discrepancies that only this page asks for."""
    person, judged = one.person, one.judged
    hours = next((e.hours.name for e in one.expected if e.hours is not None), "")
    return DayRow(
        official=person.official,
        name=person.name,
        title=person.title,
        work_group=person.group,
        expected_sites=tuple(e.place.name for e in one.expected),
        verdict=judged.verdict,
        entries=tuple(entries[r] for r in one.records if r in entries),
        discrepancies=(*judged.found, *more),
        doubtful=judged.doubtful,
        pending=judged.pending,
        late_ms=judged.late_ms,
        early_ms=judged.early_ms,
        excused=judged.excused,
        hours=hours,
        visits=judged.visits,
        corrected=judged.corrected,
    )


def site_state(kiosks: Kiosks, place: Place, day: date) -> SiteState:
    """The site as its strip shows it for a day."""
    start = day_start_ms(day)
    end = start + DAY_MS
    stood = kiosks.on(place.id, start, end)
    contacts = [k.last_contact_ms for k in stood if k.last_contact_ms is not None]
    marks = [k.complete_until_ms for k in stood]
    known = [mark for mark in marks if mark is not None]
    whole = bool(marks) and len(known) == len(marks)
    return SiteState(
        name=place.name,
        kind=place.kind,
        last_contact=from_ms(max(contacts)) if contacts else None,
        complete_until=from_ms(min(known)) if whole else None,
        complete=kiosks.complete(place.id, start, end),
        kiosks=tuple(k.device for k in stood),
    )


def official_history(
    session: Session, township: Township, official: str, first: date, last: date, now: datetime
) -> History:
    """One official (the code) from `first` to `last`, both included, at most `MAX_DAYS` days back.

    Raises NotFound for a code that this township's roster does not hold.
    """
    days = days_between(first, last)[-MAX_DAYS:]
    try:
        roster, inputs, made = person_days(session, township, official, days, now)
    except KeyError:
        raise NotFound(
            say(f"名册中没有编号 {official}", f"the roster has no official {official}")
        ) from None
    person = roster.by_code[official]
    entries: dict[str, Entry] = {}
    if made:
        start = min(d.people[official].start_ms for d in made)
        end = max(d.people[official].end_ms for d in made)
        entries = entries_between(session, township, roster.places, start, end, [official])
    quiet = silence(session, township, inputs.kiosks, made)
    return History(
        official=person.official,
        name=person.name,
        title=person.title,
        phone=person.phone,
        work_group=person.group,
        portrait=person.portrait,
        active=person.active,
        duties=person.duties,
        households=person.households,
        days=[
            HistoryDay(
                day.day,
                roster.calendar.is_working(day.day),
                day_row(
                    day.people[official],
                    entries,
                    quiet.get((official, day.day), ()),
                ),
            )
            for day in reversed(made)
        ],
    )

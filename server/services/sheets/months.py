"""Weeks and months: every official's days in a row, and their totals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from attendance.days import DAY_MS, day_start_ms
from server.models import Township
from server.rules.month import DayMark, Totals, totals
from server.rules.roster import uncovered
from server.rules.terms import MonthDays, in_force
from server.services.sheets.days import Day, Look, PersonDay
from server.services.sheets.roster import Person, Roster


@dataclass(frozen=True)
class Row:
    """One official: a day each (None where they were not on the roster), and totals."""

    person: Person
    days: list[PersonDay | None]
    totals: Totals


@dataclass(frozen=True)
class Grid:
    """Some days of a township. `short` are, by day, groups with fewer people than they must have
    at their sites, and how many they have; of the groups of `rows` alone, and of days that are over
    and whose records are here."""

    days: list[date]
    working: list[bool]
    rows: list[Row]
    short: dict[date, dict[str, int]]
    fitting: int
    all_groups: tuple[str, ...]
    sites: tuple[str, ...]
    villages: frozenset[str]


def grid(
    session: Session,
    township: Township,
    days: Sequence[date],
    now: datetime,
    who: Callable[[Person], bool] | None = None,
    where: Callable[[Sequence[PersonDay | None]], bool] | None = None,
    first: int = 0,
    most: int | None = None,
) -> Grid:
    """The days in order, of everybody who fits or of a page of them, in a fixed number of queries.

    `where` asks somebody's days, so that all who fit `who` are judged for it; without it only the
    page and the groups of those on it are. The minimum of days is that in force on the last day of
    a month, none of a week; it is asked only of whoever was expected in a village on some day.
    """
    look = Look(session, township, days, now)
    roster = look.roster
    fitting = [p for p in roster.people if who is None or who(p)]
    if where is None:
        # Who is no longer active stands on the sheet where they were there on one of the days.
        gone = [p for p in fitting if not p.active]
        seen = look.days(gone) if gone else []
        fitting = [p for p in fitting if p.active or any(p.official in d.people for d in seen)]
    else:
        seen = look.days(fitting)
        fitting = [p for p in fitting if any(own := _own(seen, p)) and where(own)]
    page = fitting[first : None if most is None else first + most]
    groups = {person.group for person in page if person.group}
    codes = {person.official for person in page}
    judged = look.days([p for p in roster.people if p.official in codes or p.group in groups])
    minimum = in_force(roster.terms, MonthDays, days[-1]).days if len(days) >= 28 else 0
    rows = [(person, _own(judged, person)) for person in page]
    return Grid(
        list(days),
        [roster.calendar.is_working(day) for day in days],
        [Row(person, own, totals_of(roster, own, minimum)) for person, own in rows],
        {day.day: short for day in judged if (short := short_groups(roster, day, groups))},
        len(fitting),
        tuple(dict.fromkeys(person.group for person in roster.people if person.group)),
        tuple(place.name for place in roster.places.values()),
        frozenset(p.name for p in roster.places.values() if p.kind == "village"),
    )


def _own(days: Sequence[Day], person: Person) -> list[PersonDay | None]:
    return [day.people.get(person.official) for day in days]


def totals_of(roster: Roster, days: Sequence[PersonDay | None], minimum: int) -> Totals:
    """The totals of one official's days; days before they were on the roster count for nothing."""
    villager = any(
        e.place.kind == "village" for day in days if day is not None for e in day.expected
    )
    return totals(
        [mark_of(roster, day) for day in days if day is not None], minimum if villager else 0
    )


def mark_of(roster: Roster, day: PersonDay) -> DayMark:
    """What a judged day contributes to a month."""
    return DayMark(
        day.judged.verdict,
        bool(day.expected),
        frozenset(roster.site_kinds.get(v.site, "") for v in day.judged.visits if not v.doubtful),
        day.judged.doubtful,
    )


def short_groups(roster: Roster, day: Day, among: Collection[str]) -> dict[str, int]:
    """Which of these groups had too few people at their sites on a working day, and how many.

    A group some of whose members' days are still open is not judged, nor one of which nobody was
    on the roster yet.
    """
    if not roster.calendar.is_working(day.day):
        return {}
    wanted = [g for g in roster.groups if g.at_least and g.name in among]
    if not wanted:
        return {}
    ids = {place.name: place.id for place in roster.places.values()}
    sites = {g.name: g.sites for g in wanted}
    present: dict[str, list[int]] = {}
    undecided: set[str] = set()
    known: set[str] = set()
    end_ms = day_start_ms(day.day) + DAY_MS
    for one in day.people.values():
        group = one.person.group
        if group not in sites:
            continue
        if one.judged.verdict in ("not_yet", "not_known"):
            undecided.add(group)
        if one.person.created_ms < end_ms:
            known.add(group)
        here = {ids[v.site] for v in one.judged.visits if v.site in ids} & sites[group]
        if here:
            present.setdefault(group, []).append(min(here))
    return uncovered(
        {g.name: g.at_least for g in wanted if g.name in known - undecided}, sites, present
    )

"""Weeks and months: every official's days in a row, and their totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from attendance.clock import ClockClass
from attendance.days import DAY_MS, day_start_ms
from server.models import Township
from server.rules.month import DayMark, Totals, totals
from server.rules.roster import uncovered
from server.rules.terms import MonthDays, in_force
from server.services.sheets.days import Day, PersonDay, days_of
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
    at their sites, and how many they have; of days that are over and whose records are here."""

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
    fits: Callable[[Person, Sequence[PersonDay | None]], bool] | None = None,
    first: int = 0,
    most: int | None = None,
) -> Grid:
    """The days in order, of everybody who fits or of a page of them, in a fixed number of queries.

    The minimum of days is that in force on the last day; it is asked only of whoever was expected
    in a village on some day.
    """
    roster, judged = days_of(session, township, days, now)
    minimum = in_force(roster.terms, MonthDays, days[-1]).days
    found: list[tuple[Person, list[PersonDay | None]]] = []
    for person in roster.people:
        own = [day.people.get(person.official) for day in judged]
        if any(own) and (fits is None or fits(person, own)):
            found.append((person, own))
    page = found[first : None if most is None else first + most]
    return Grid(
        list(days),
        [roster.calendar.is_working(day) for day in days],
        [Row(person, own, totals_of(roster, own, minimum)) for person, own in page],
        {day.day: short for day in judged if (short := short_groups(roster, day))},
        len(found),
        tuple(dict.fromkeys(person.group for person in roster.people if person.group)),
        tuple(place.name for place in roster.places.values()),
        frozenset(p.name for p in roster.places.values() if p.kind == "village"),
    )


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
        frozenset(
            roster.site_kinds.get(v.site, "")
            for v in day.judged.visits
            if any(e is not None and e.cls is not ClockClass.C for e in (v.begins, v.ends))
        ),
        day.judged.doubtful,
    )


def short_groups(roster: Roster, day: Day) -> dict[str, int]:
    """Work groups with too few people at their sites on a working day, and how many were there.

    A group some of whose members' days are still open is not judged, nor one of which nobody was
    on the roster yet.
    """
    if not roster.calendar.is_working(day.day):
        return {}
    ids = {place.name: place.id for place in roster.places.values()}
    present: dict[str, list[int]] = {}
    undecided: set[str] = set()
    known: set[str] = set()
    end_ms = day_start_ms(day.day) + DAY_MS
    for one in day.people.values():
        group = one.person.group
        if one.judged.verdict in ("not_yet", "not_known"):
            undecided.add(group)
        if one.person.created_ms < end_ms:
            known.add(group)
        here = {ids[v.site] for v in one.judged.visits if v.site in ids}
        own = next((g.sites for g in roster.groups if g.name == group), frozenset())
        if here & own:
            present.setdefault(group, []).append(min(here & own))
    return uncovered(
        {g.name: g.at_least for g in roster.groups if g.at_least and g.name in known - undecided},
        {g.name: g.sites for g in roster.groups},
        present,
    )

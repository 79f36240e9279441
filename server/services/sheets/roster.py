"""People, places, patterns and rules of a township, read once for each version of its roster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from weakref import WeakKeyDictionary

from sqlalchemy import null, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from attendance.days import DAY_MS
from server.models import (
    CalendarDay,
    Expectation,
    GroupSite,
    Official,
    PastExpectation,
    RosterDay,
    Shift,
    Site,
    Township,
    TownshipRule,
    WorkGroup,
)
from server.rules import terms
from server.rules.calendar import Calendar
from server.rules.roster import Dated, Expected, Hours, Pattern, Place, expected_on, midnight_of


@dataclass(frozen=True, eq=False)
class Person:
    """An official with all that says where they are expected. `group` is "" for none.

    `sites` are the names of those where they are expected by a pattern that is not over.
    """

    id: int
    official: str
    name: str
    title: str
    phone: str
    duties: str
    households: int | None
    group: str
    portrait: str | None
    active: bool
    created_ms: int
    patterns: tuple[Pattern, ...]
    dated: Mapping[date, Dated]
    page: str | None = None
    sites: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Stay:
    """Somebody active (the code) is expected at a site, by a pattern or for a day: from `first` to
    `last`, both included, None for no bound."""

    official: str
    first: date | None
    last: date | None

    def soonest(self, first: date, last: date) -> date | None:
        """The earliest of the days `first..last` that it holds for, None for none of them."""
        begins, ends = max(first, self.first or first), min(last, self.last or last)
        return begins if begins <= ends else None


@dataclass(frozen=True)
class Group:
    """A work group and the sites that it answers for. `leader` and `deputy` are codes."""

    id: int
    name: str
    leader: str | None
    deputy: str | None
    at_least: int
    sites: frozenset[int]


@dataclass(frozen=True, eq=False)
class Roster:
    """Everything about a township that changes only with its `roster_version`."""

    version: int
    people: tuple[Person, ...]
    places: Mapping[int, Place]
    groups: tuple[Group, ...]
    calendar: Calendar
    terms: tuple[terms.Term, ...]
    shifts: Mapping[int, Hours]
    by_code: Mapping[str, Person] = field(default_factory=dict)
    site_kinds: Mapping[str, str] = field(default_factory=dict)
    overnight: bool = False
    #: By the id of a site, those that end last first.
    stays: Mapping[int, tuple[Stay, ...]] = field(default_factory=dict)

    def usual(self, day: date) -> dict[str, Hours]:
        """The hours of patterns that name none, by kind of site."""
        rule = terms.in_force(self.terms, terms.UsualShifts, day)
        named = {"office": rule.office, "village": rule.village}
        return {k: self.shifts[n] for k, n in named.items() if n is not None and n in self.shifts}

    def expected(
        self, person: Person, day: date, usual: Mapping[str, Hours] | None = None
    ) -> tuple[Expected, ...]:
        """Where that official is expected on a day; nowhere before the roster knew them.

        Nor where the hours had begun when they were put on it: nobody is absent or late for that.
        """
        midnight = midnight_of(day)
        if person.created_ms >= midnight + DAY_MS:
            return ()
        if usual is None:
            usual = self.usual(day)
        patterns = person.patterns
        if not person.active:  # what held while they were there still does for those days
            patterns = tuple(p for p in patterns if p.last is not None)
        found = expected_on(patterns, person.dated, self.calendar, usual, day)
        if person.created_ms <= midnight:
            return found
        return tuple(
            e for e in found if e.hours is None or e.hours.start_ms(day) >= person.created_ms
        )


#: In `Session.info`: the townships whose roster this transaction has changed.
TOUCHED = "roster_touched"
_kept: WeakKeyDictionary[Pool, dict[int, Roster]] = WeakKeyDictionary()


def roster_of(session: Session, township: Township) -> Roster:
    """The roster as it is now; read again only where its version has risen.

    The version rises with every change to people, places, patterns, shifts, the calendar or a rule
    (`server.services.township.townships.touch_roster`).
    """
    connection = session.connection()
    kept = _kept.setdefault(connection.engine.pool, {})
    version = session.scalar(select(Township.roster_version).where(Township.id == township.id)) or 0
    held = kept.get(township.id)
    if held is None or held.version != version:
        held = _read(session, township, version)
        # What this transaction changed may be rolled back, and its version given to other things.
        if township.id not in session.info.get(TOUCHED, ()):
            kept[township.id] = held
    return held


def _read(session: Session, township: Township, version: int) -> Roster:
    mine = township.id
    places = {
        row.id: Place(row.id, row.name, row.kind)
        for row in session.execute(
            select(Site.id, Site.name, Site.kind)
            .where(Site.township_id == mine)
            .order_by(Site.kind != "office", Site.id)
        )
    }
    shifts = {
        s.id: Hours(s.id, s.name, s.start_min, s.end_min, s.late_min, s.early_min, s.visits)
        for s in session.scalars(select(Shift).where(Shift.township_id == mine))
    }
    patterns = _patterns(session, mine, places, shifts)
    dated: dict[int, dict[date, Dated]] = {}
    for row in session.execute(
        select(RosterDay.official_id, RosterDay.day, RosterDay.what, RosterDay.site_id,
               RosterDay.shift_id)
        .where(RosterDay.township_id == mine)
        .order_by(RosterDay.id)
    ):  # fmt: skip
        dated.setdefault(row.official_id, {})[date.fromisoformat(row.day)] = Dated(
            row.what, places.get(row.site_id or 0), shifts.get(row.shift_id or 0)
        )
    group_sites: dict[int, set[int]] = {}
    for group_id, site_id in session.execute(
        select(GroupSite.work_group_id, GroupSite.site_id).where(GroupSite.township_id == mine)
    ):
        group_sites.setdefault(group_id, set()).add(site_id)
    groups = tuple(
        Group(g.id, g.name, g.leader, g.deputy, g.at_least, frozenset(group_sites.get(g.id, ())))
        for g in session.scalars(
            select(WorkGroup).where(WorkGroup.township_id == mine).order_by(WorkGroup.id)
        )
    )
    people = tuple(
        Person(
            o.id, o.official, o.name, o.title, o.phone, o.duties, o.households, group or "",
            o.portrait, o.active, o.created_ms, tuple(patterns.get(o.id, ())),
            dated.get(o.id, {}), o.page,
            frozenset(p.place.name for p in patterns.get(o.id, ()) if p.last is None),
        )
        for o, group in session.execute(
            select(Official, WorkGroup.name)
            .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
            .where(Official.township_id == mine)
            .order_by(WorkGroup.id, Official.id)
        )
    )  # fmt: skip
    return Roster(
        version=version,
        people=people,
        places=places,
        groups=groups,
        calendar=Calendar(_entered(session, mine)),
        terms=_terms(session, mine),
        shifts=shifts,
        by_code={p.official: p for p in people},
        site_kinds={p.name: p.kind for p in places.values()},
        overnight=any(hours.overnight for hours in shifts.values()),
        stays=_stays(people),
    )


def _stays(people: Iterable[Person]) -> dict[int, tuple[Stay, ...]]:
    found: dict[int, list[Stay]] = {}
    for person in people:
        for p in person.patterns if person.active else ():
            found.setdefault(p.place.id, []).append(Stay(person.official, p.first, p.last))
        for day, dated in person.dated.items() if person.active else ():
            if dated.what == "at" and dated.place is not None:
                found.setdefault(dated.place.id, []).append(Stay(person.official, day, day))
    return {
        site: tuple(sorted(stays, key=lambda stay: stay.last or date.max, reverse=True))
        for site, stays in found.items()
    }


def _patterns(
    session: Session, mine: int, places: Mapping[int, Place], shifts: Mapping[int, Hours]
) -> dict[int, list[Pattern]]:
    found: dict[int, list[Pattern]] = {}
    past, held = PastExpectation, Expectation
    for row in (
        *session.execute(
            select(past.official_id, past.site_id, past.weekdays, past.shift_id, past.first_day,
                   past.last_day)
            .where(past.township_id == mine)
            .order_by(past.site_id, past.id)
        ),
        *session.execute(
            select(held.official_id, held.site_id, held.weekdays, held.shift_id, held.first_day,
                   null())
            .where(held.township_id == mine)
            .order_by(held.site_id)
        ),
    ):  # fmt: skip
        official_id, site_id, weekdays, shift_id, first, last = row
        found.setdefault(official_id, []).append(
            Pattern(
                places[site_id],
                weekdays,
                shifts.get(shift_id),
                None if first is None else date.fromisoformat(first),
                None if last is None else date.fromisoformat(last),
            )
        )
    return found


def _entered(session: Session, mine: int) -> dict[date, bool]:
    latest: dict[date, bool | None] = {}
    for day, working in session.execute(
        select(CalendarDay.day, CalendarDay.working)
        .where(CalendarDay.township_id == mine)
        .order_by(CalendarDay.id)
    ):
        latest[date.fromisoformat(day)] = working
    return {day: working for day, working in latest.items() if working is not None}


def _terms(session: Session, mine: int) -> tuple[terms.Term, ...]:
    return tuple(
        terms.Term(row.id, date.fromisoformat(row.first_day), terms.read(row.kind, row.value))
        for row in session.scalars(
            select(TownshipRule)
            .where(TownshipRule.township_id == mine)
            .order_by(TownshipRule.id)
        )
    )  # fmt: skip

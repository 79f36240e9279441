"""Figures for the charts: by site and week, by time of arrival, by village and day. None is of a
person: what is below the law to publish is below the law to draw (no rankings)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import msgspec

from attendance.clock import ClockClass
from attendance.days import minute_of_day
from server.rules.verdict import HERE
from server.rules.visits import Visit

#: Width of a bin of arrivals, minutes.
BIN = 15
_AWAY, _OPEN = ("leave", "trip"), ("not_yet", "not_known")


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One official's day without their name: sites expected at, verdict, verified visits.

    A month of a county's township has tens of thousands.
    """

    day: date
    sites: tuple[str, ...]
    verdict: str
    visits: tuple[Visit, ...] = ()


@dataclass
class Tally:
    """Person-days expected somewhere, and of those who came, was away, is not yet known."""

    expected: int = 0
    came: int = 0
    away: int = 0
    open: int = 0

    @property
    def due(self) -> int:
        """Those of whom it is known, and who were neither on leave nor on a trip."""
        return self.expected - self.away - self.open

    @property
    def percent(self) -> int | None:
        """How many of those due came, rounded; None where nobody was due."""
        return round(100 * self.came / self.due) if self.due else None


@dataclass
class Arrivals:
    """First arrivals of a day by kind of site, in bins of BIN minutes from midnight.

    `doubtful` rest on class C and are in no bin.
    """

    bins: dict[str, dict[int, int]] = field(default_factory=dict)
    doubtful: int = 0


def monday(day: date) -> date:
    """The first day of the week."""
    return day - timedelta(day.weekday())


def by_site_and_week(seen: Iterable[Seen]) -> dict[str, dict[date, Tally]]:
    """Tallies by site and Monday."""
    found: dict[str, dict[date, Tally]] = {}
    counted = Counter([(site, one.day, one.verdict) for one in seen for site in one.sites])
    for (site, day, verdict), number in counted.items():
        weeks = found.setdefault(site, {})
        week = monday(day)
        tally = weeks.get(week)
        if tally is None:
            tally = weeks[week] = Tally()
        tally.expected += number
        tally.came += number * (verdict in HERE)
        tally.away += number * (verdict in _AWAY)
        tally.open += number * (verdict in _OPEN)
    return found


def arrivals(seen: Iterable[Seen], site_kinds: Mapping[str, str]) -> Arrivals:
    """When people came, once a person and day: the first visit that has a beginning."""
    made = Arrivals()
    for one in seen:
        first, kind = None, ""
        for visit in one.visits:
            begins = visit.begins
            if begins is None or (first is not None and begins.at_ms >= first.at_ms):
                continue
            if visit.site in site_kinds:
                first, kind = begins, site_kinds[visit.site]
        if first is None:
            continue
        if first.cls is ClockClass.C:
            made.doubtful += 1
            continue
        bins = made.bins.setdefault(kind, {})
        place = minute_of_day(first.at_ms) // BIN
        bins[place] = bins.get(place, 0) + 1
    return made


def coverage(
    seen: Iterable[Seen], sites: Iterable[str], working: Iterable[date]
) -> dict[str, dict[date, str]]:
    """For each site and working day `covered` (somebody verified was there), `open` (records of
    somebody expected there may still come), `empty`, or `none` where nobody was expected."""
    expected: set[tuple[str, date]] = set()
    waited: set[tuple[str, date]] = set()
    visited: set[tuple[str, date]] = set()
    for one in seen:
        day = one.day
        for site in one.sites:
            (waited if one.verdict in _OPEN else expected).add((site, day))
        for visit in one.visits:
            if not visit.doubtful:
                visited.add((visit.site, day))
    days = list(working)
    found = {site: dict.fromkeys(days, "none") for site in sites}
    for state, where in (("empty", expected), ("open", waited), ("covered", visited)):
        for site, day in where:
            if day in found.get(site, ()):
                found[site][day] = state
    return found

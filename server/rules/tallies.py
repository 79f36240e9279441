"""Figures for the charts: by site and week, by time of arrival, by village and day. None is of a
person: what is below the law to publish is below the law to draw (no rankings)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from attendance.clock import ClockClass
from attendance.days import local
from server.rules.verdict import HERE
from server.rules.visits import Visit

#: Width of a bin of arrivals, minutes.
BIN = 15
_AWAY, _OPEN = ("leave", "trip"), ("not_yet", "not_known")


@dataclass(frozen=True)
class Seen:
    """One official's day without their name: sites expected at, verdict, verified visits."""

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
    for one in seen:
        for site in one.sites:
            tally = found.setdefault(site, {}).setdefault(monday(one.day), Tally())
            tally.expected += 1
            tally.came += one.verdict in HERE
            tally.away += one.verdict in _AWAY
            tally.open += one.verdict in _OPEN
    return found


def arrivals(seen: Iterable[Seen], site_kinds: Mapping[str, str]) -> Arrivals:
    """When people came, once a person and day: the first visit that has a beginning."""
    made = Arrivals()
    for one in seen:
        begins = [v for v in one.visits if v.begins is not None and v.site in site_kinds]
        if not begins:
            continue
        first = min(begins, key=lambda v: v.begins.at_ms if v.begins is not None else 0)
        if first.begins is None or first.begins.cls is ClockClass.C:
            made.doubtful += 1
            continue
        at = local(first.begins.at_ms)
        bins = made.bins.setdefault(site_kinds[first.site], {})
        place = (at.hour * 60 + at.minute) // BIN
        bins[place] = bins.get(place, 0) + 1
    return made


def coverage(
    seen: Iterable[Seen], sites: Iterable[str], working: Iterable[date]
) -> dict[str, dict[date, str]]:
    """For each site and working day `covered` (somebody verified was there), `open` (records of
    somebody expected there may still come), `empty`, or `none` where nobody was expected."""
    days = list(working)
    found = {site: dict.fromkeys(days, "none") for site in sites}
    order = {"none": 0, "empty": 1, "open": 2, "covered": 3}

    def put(site: str, day: date, state: str) -> None:
        held = found.get(site, {}).get(day)
        if held is not None and order[state] > order[held]:
            found[site][day] = state

    for one in seen:
        for site in one.sites:
            put(site, one.day, "open" if one.verdict in _OPEN else "empty")
        for visit in one.visits:
            ends = (visit.begins, visit.ends)
            if any(e is not None and e.cls is not ClockClass.C for e in ends):
                put(visit.site, one.day, "covered")
    return found

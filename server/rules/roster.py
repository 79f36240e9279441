"""Who is expected where on a day, and from when until when that day reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import msgspec

from attendance.days import day_start_ms
from server.rules.calendar import Calendar

MINUTE_MS = 60_000
#: After a night shift records still belong to that night, unless the next shift is nearer.
AFTER_NIGHT_MS = 4 * 60 * MINUTE_MS
midnight_of = lru_cache(maxsize=1024)(day_start_ms)  # asked several times for everybody


@dataclass(frozen=True)
class Hours:
    """A shift: minutes from midnight of its day, `end_min` above 1440 where it ends on the next."""

    id: int
    name: str
    start_min: int
    end_min: int
    late_min: int = 0
    early_min: int = 0
    visits: int = 1

    @property
    def overnight(self) -> bool:
        """Whether it crosses midnight."""
        return self.end_min > 1440

    def start_ms(self, day: date) -> int:
        """When it begins on that day."""
        return midnight_of(day) + self.start_min * MINUTE_MS

    def end_ms(self, day: date) -> int:
        """When the shift that began on that day ends."""
        return midnight_of(day) + self.end_min * MINUTE_MS

    def late_after_ms(self, day: date) -> int:
        """The last moment that is not late."""
        return self.start_ms(day) + self.late_min * MINUTE_MS

    def early_before_ms(self, day: date) -> int:
        """The first moment at which one may leave."""
        return self.end_ms(day) - self.early_min * MINUTE_MS


@dataclass(frozen=True)
class Place:
    """A site as rules see it: `kind` is `office` or `village`."""

    id: int
    name: str
    kind: str


class Expected(msgspec.Struct, frozen=True, gc=False):
    """An official is expected at a place, with hours or at any time."""

    place: Place
    hours: Hours | None = None


@dataclass(frozen=True)
class Pattern:
    """A weekly pattern, in force from `first` to `last`, both included, None for no bound."""

    place: Place
    weekdays: int
    hours: Hours | None = None
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class Dated:
    """What was entered for one day instead of the pattern: `what` is `at`, `off` or `pattern`."""

    what: str
    place: Place | None = None
    hours: Hours | None = None


def expected_on(
    patterns: Iterable[Pattern],
    dated: Mapping[date, Dated],
    calendar: Calendar,
    usual: Mapping[str, Hours],
    day: date,
) -> tuple[Expected, ...]:
    """Where one official is expected on a day.

    A dated exception counts on a holiday too. Hours are the exception's or pattern's own, else the
    `usual` ones of that kind of site.
    """
    entry = dated.get(day) if dated else None
    if entry is not None and entry.what != "pattern":
        if entry.what == "off" or entry.place is None:
            return ()
        return (Expected(entry.place, entry.hours or usual.get(entry.place.kind)),)
    found: tuple[Expected, ...] = ()
    for p in patterns:  # asked for everybody on every day; nearly everybody has one
        if (
            (p.first is None or p.first <= day)
            and (p.last is None or day <= p.last)
            and calendar.is_expected(p.weekdays, day)
        ):
            found += (Expected(p.place, p.hours or usual.get(p.place.kind)),)
    return found


def night_end_ms(expected: Iterable[Expected], day: date) -> int | None:
    """When the night shift that began on `day` ends, None where none did."""
    ends = [e.hours.end_ms(day) for e in expected if e.hours is not None and e.hours.overnight]
    return max(ends, default=None)


def day_begins_ms(before: Sequence[Expected], own: Sequence[Expected], day: date) -> int:
    """The first moment that belongs to `day` for somebody expected so on it and the day before.

    Midnight, unless a night shift of the day before reaches over it: then halfway between its end
    and the beginning of the day's own hours, at most AFTER_NIGHT_MS after its end. Days so bounded
    share no moment and leave none out.
    """
    midnight = midnight_of(day)
    night = night_end_ms(before, day - timedelta(1))
    if night is None:
        return midnight
    begins = night + AFTER_NIGHT_MS
    starts = [e.hours.start_ms(day) for e in own if e.hours is not None]
    if starts:
        begins = min(begins, (night + min(starts)) // 2 if min(starts) > night else min(starts))
    # A day holds at least its last minute, however absurd the shifts that were typed in.
    return min(max(begins, midnight), midnight + 1439 * MINUTE_MS)


def day_reaches(
    before: Sequence[Expected], own: Sequence[Expected], after: Sequence[Expected], day: date
) -> tuple[int, int]:
    """From when until before when records belong to `day` for one official."""
    next_day = day + timedelta(1)
    return day_begins_ms(before, own, day), day_begins_ms(own, after, next_day)


def uncovered(
    at_least: Mapping[str, int],
    sites: Mapping[str, frozenset[int]],
    present: Mapping[str, Iterable[int]],
) -> dict[str, int]:
    """Work groups with fewer people at their sites than they must have, and how many they have.

    `at_least` and `sites` (ids) by group; `present` are for each of its members the ids of sites,
    expected or visited.
    """
    found = {}
    for group, wanted in at_least.items():
        here = sum(site in sites.get(group, frozenset()) for site in present.get(group, ()))
        if wanted > 0 and here < wanted:
            found[group] = here
    return found

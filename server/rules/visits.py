"""Visits from facts: who was at a site, from when, until when, and how sure each end is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from attendance.clock import ClockClass, Estimate
from attendance.statuses import Kind, Status
from attendance.whereabouts import Fact, standing

PRESENT = (Status.ON_DUTY, Status.IN_VILLAGE)


class Visit(msgspec.Struct, frozen=True, gc=False):
    """One stay at a site.

    `begins` is None where only a check-out was recorded, `ends` where nothing says when it ended.
    `records` are ids; `closed_by` is `checkout`, `moved` (seen elsewhere), `away` (a trip or leave
    chosen at a kiosk) or "". `cls` is the best class of what shows them at that very site: where
    they were seen next says when they were gone, never that they had been there.
    """

    site: str
    begins: Estimate | None
    ends: Estimate | None
    records: tuple[str, ...]
    closed_by: str = ""
    cls: ClockClass = ClockClass.C

    @property
    def minutes(self) -> int | None:
        """Whole minutes that were certainly spent there, None where an end is not known."""
        if self.begins is None or self.ends is None:
            return None
        return max((self.ends.earliest_ms - self.begins.latest_ms) // 60_000, 0)

    @property
    def doubtful(self) -> bool:
        """Whether all that shows them there is of class C."""
        return self.cls is ClockClass.C


def visits_of(facts: Iterable[Fact]) -> list[Visit]:
    """The visits in one official's verified facts of one day, in order of time.

    A second check-in at the same site goes on with the visit: people touch the screen twice.
    """
    return visits_in(fact for fact in standing(facts) if fact.verified)


def visits_in(facts: Iterable[Fact]) -> list[Visit]:
    """The same of verified facts that stand and are in order of time already."""
    found: list[Visit] = []
    site: str | None = None
    begins: Estimate | None = None
    best = ClockClass.C
    records: list[str] = []

    def close(ends: Estimate | None, by: str) -> None:
        nonlocal site, begins, best
        if site is not None:
            found.append(Visit(site, begins, ends, tuple(records), by, best))
        site, begins, best = None, None, ClockClass.C
        records.clear()

    for fact in facts:
        here, when = fact.site or "", fact.when
        seen = fact.status in PRESENT and fact.kind is not Kind.DECLARE
        if seen or fact.status is Status.LEFT:
            if site is not None and site != here:
                close(when, "moved")
            if site is None:
                site, begins = here, when if seen else None
            best = min(best, when.cls)
            records.append(fact.record_id)
            if not seen:
                close(when, "checkout")
        elif site is not None:
            close(when, "away")
    close(None, "")
    return found

"""The days of a month as the charts count them, in the queries that the month sheet asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from server.models import Township
from server.rules import tallies
from server.rules.calendar import days_between, month_days
from server.rules.tallies import Arrivals, Seen, Tally
from server.services.sheets.days import Look
from server.services.sheets.roster import Roster


@dataclass(frozen=True)
class Charts:
    """What three charts show. `weeks` are Mondays; sites in the order of the roster."""

    weeks: list[date]
    weekly: dict[str, dict[date, Tally]]
    arrivals: Arrivals
    late_after: dict[str, int]
    working: list[date]
    covered: dict[str, dict[date, str]]


class ChartMonth:
    """A month whose charts are asked for: what they rest on is looked up, nothing is counted yet.

    `stamp` is another word whenever `charts` may say something else. Raises ValueError for what is
    no month.
    """

    def __init__(self, session: Session, township: Township, month: str, now: datetime) -> None:
        self._own = month_days(month)
        self._today = day_of(to_ms(now))
        first, last = tallies.monday(self._own[0]), tallies.monday(self._own[-1]) + timedelta(6)
        self._days = days_between(first, min(last, self._today))
        self._look = Look(session, township, self._days, now)
        self.stamp = f"{self._days[-1] if self._days else ''} {self._look.stamp}"

    def charts(self) -> Charts:
        """Whole weeks for the first chart, the month's own days for the others. Days that are to
        come are in none."""
        own, roster = self._own, self._look.roster
        seen = [
            Seen(day.day, tuple([e.place.name for e in one.expected]), one.judged.verdict,
                 one.judged.visits)
            for day in (self._look.days() if self._days else ())
            for one in day.people.values()
            if one.expected or one.judged.visits  # who counts in some figure
        ]  # fmt: skip
        inside = [s for s in seen if own[0] <= s.day <= own[-1]]
        working = [d for d in own if d <= self._today and roster.calendar.is_working(d)]
        weekly = tallies.by_site_and_week(seen)
        order = list(roster.site_kinds)
        villages = [name for name, kind in roster.site_kinds.items() if kind == "village"]
        return Charts(
            sorted({tallies.monday(day) for day in self._days}),
            {site: weekly[site] for site in order if site in weekly},
            tallies.arrivals(inside, roster.site_kinds),
            _late_after(roster, own[-1]),
            working,
            tallies.coverage(inside, villages, working),
        )


def _late_after(roster: Roster, day: date) -> dict[str, int]:
    """The last minute that is not late by the usual hours, by kind of site."""
    return {kind: h.start_min + h.late_min for kind, h in roster.usual(day).items()}

"""What a reader chooses on a sheet: days, group, site, person, page; and the links that keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from flask import abort, request, url_for

from attendance.days import day_of, to_ms
from server.context import now
from server.rules.calendar import days_between, month_days
from server.services.sheets.days import PersonDay
from server.services.sheets.roster import Person, Roster
from server.services.township.search import matches

#: Officials on one page of a sheet.
PAGE = 100
T = TypeVar("T")


def today() -> date:
    """The present day in Asia/Shanghai."""
    return day_of(to_ms(now()))


def date_asked(name: str, default: date) -> date:
    """A date of the query; 400 where it is none, or outside of the years that can be shown."""
    text = request.args.get(name, "")
    if not text:
        return default
    try:
        found = date.fromisoformat(text)
    except ValueError:
        abort(400)
    if not date(2000, 1, 1) <= found <= date(2199, 12, 31):
        abort(400)
    return found


def month_asked(default: str) -> str:
    """A month of the query such as `2026-11`; 400 where it is none."""
    text = request.args.get("month", "") or default
    try:
        first = month_days(text)[0]
    except (ValueError, OverflowError):
        abort(400)
    if not 2000 <= first.year <= 2199 or len(text) != 7:
        abort(400)
    return text


def month_after(month: str, step: int) -> str:
    """The month before (-1) or after (1)."""
    days = month_days(month)
    return (days[-1] + timedelta(1) if step > 0 else days[0] - timedelta(1)).isoformat()[:7]


def page_asked() -> int:
    """The number of a page of the query, from 1; 400 where it is none."""
    number = request.args.get("page", "1")
    if not number.isascii() or not number.isdigit() or len(number) > 6:
        abort(400)
    return max(int(number), 1)


def pages_of(rows: int) -> list[int]:
    """The numbers of the pages that so many rows take, one at the least."""
    return list(range(1, max((rows + PAGE - 1) // PAGE, 1) + 1))


def part(rows: Sequence[T], page: int) -> Sequence[T]:
    """The rows of a page."""
    return rows[(page - 1) * PAGE : page * PAGE]


def week_of(day: date) -> list[date]:
    """Monday to Sunday around a day."""
    monday = day - timedelta(day.weekday())
    return days_between(monday, monday + timedelta(6))


@dataclass(frozen=True)
class Chosen:
    """What the reader filters by; "" for everything. `page` counts from 1."""

    group: str
    site: str
    q: str
    verdict: str
    page: int

    @classmethod
    def asked(cls) -> Chosen:
        """Of the query; 400 for a page that is no number."""
        number = page_asked()
        group, site, q, verdict = (
            request.args.get(name, "")[:120] for name in ("group", "site", "q", "verdict")
        )
        return cls(group, site, q, verdict, number)

    @property
    def first(self) -> int:
        """The number of the first row of the page, from 0."""
        return (self.page - 1) * PAGE

    def kept(self) -> dict[str, str]:
        """What links keep of it: all but the page."""
        return {k: v for k, v in vars(self).items() if v and k != "page"}

    def fits_person(self, person: Person) -> bool:
        """Whether the official is of the chosen group and found by what was typed."""
        if self.group and person.group != self.group:
            return False
        return not self.q or matches(self.q, person.name, person.phone, person.official)

    def fits_stated(self, roster: Roster, code: str, name: str, group: str) -> bool:
        """Whether somebody on a statement is: by the name and group that it states, and by the
        telephone that the roster has now."""
        if self.group and group != self.group:
            return False
        now = roster.by_code.get(code)
        return matches(self.q, name, "" if now is None else now.phone, code)

    def fits_day(self, one: PersonDay) -> bool:
        """Whether a judged day is of the chosen group, person and site."""
        if not self.fits_person(one.person):
            return False
        return not self.site or at_site(one, self.site)

    def fits_days(self, days: Sequence[PersonDay | None]) -> bool:
        """Whether somebody was at the chosen site on any day, or expected there."""
        return any(d is not None and at_site(d, self.site) for d in days)

    @property
    def where(self) -> Callable[[Sequence[PersonDay | None]], bool] | None:
        """What is asked of somebody's days, None for nothing."""
        return self.fits_days if self.site else None

    def link(self, view: str, base: Mapping[str, str], **changed: str) -> str:
        """The address of a sheet with these choices, some changed."""
        return url_for(view, **{**base, **self.kept(), **changed})  # type: ignore[arg-type]

    def pages(self, fitting: int) -> list[int]:
        """The numbers of the pages."""
        return pages_of(fitting)


def at_site(one: PersonDay, site: str) -> bool:
    """Whether somebody was expected or seen at a site that day."""
    return any(e.place.name == site for e in one.expected) or any(
        v.site == site for v in one.judged.visits
    )

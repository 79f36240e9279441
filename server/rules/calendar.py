"""Which days are worked: public holidays, make-up working days, and the clerk's own table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

#: Bits 0 to 6 are Monday to Sunday. All of Monday to Friday together mean "working days", so that
#: make-up working days count and public holidays do not.
MONDAY_TO_FRIDAY = 0b0011111
#: Entries of a year from which on its notice counts as entered: eleven days of a year are public
#: holidays at the least (thirteen since 2025; the State Council's regulation on days off).
NOTICE_DAYS = 11
_FIRST = date(2004, 1, 1)


@lru_cache(maxsize=1)
def _official() -> tuple[Any, date]:
    import chinese_calendar  # imports in 40 ms, and most processes never ask

    return chinese_calendar, max(chinese_calendar.constants.holidays)


class Calendar:
    """The State Council's calendar with a township's own entries over it.

    `entered` says for a day whether it is worked, for the time between next year's notice and the
    next release, and for local holidays.
    """

    def __init__(self, entered: Mapping[date, bool] | None = None) -> None:
        self.entered = dict(entered or {})
        self._working: dict[date, bool] = {}
        self._expected: dict[tuple[int, date], bool] = {}

    def known(self, day: date) -> bool:
        """Whether the notice of that year is known, to this release or from the clerk's table.

        A local holiday or two in the table are no notice.
        """
        if _in_notices(day):
            return True
        return sum(entry.year == day.year for entry in self.entered) >= NOTICE_DAYS

    def is_working(self, day: date) -> bool:
        """Whether that day is worked; Monday to Friday where nobody has said."""
        found = self._working.get(day)
        if found is None:
            found = self.entered.get(day)
            if found is None:
                found = _usual(day)
            self._working[day] = found
        return found

    def is_expected(self, mask: int, day: date) -> bool:
        """Whether somebody with this mask of weekdays is expected that day.

        Ordinary days by their bit; a make-up working day with all of Monday to Friday, or its own
        bit; nobody on a public holiday.
        """
        found = self._expected.get((mask, day))  # few masks, asked of everybody
        if found is None:
            found = self._expected[mask, day] = self._expects(mask, day)
        return found

    def _expects(self, mask: int, day: date) -> bool:
        own = bool(mask >> day.weekday() & 1)
        working = self.is_working(day)
        if day.weekday() < 5:
            return own and working
        if working:
            return own or mask & MONDAY_TO_FRIDAY == MONDAY_TO_FRIDAY
        return own and not self._is_holiday(day)

    def _is_holiday(self, day: date) -> bool:
        if day in self.entered:
            return not self.entered[day]
        return _in_notices(day) and bool(_official()[0].get_holiday_detail(day)[1])


def holiday_name(day: date) -> str:
    """The notice's name of a holiday that `day` belongs to or is made up for, "" for none; such as
    `Spring Festival`."""
    held = _official()[0].constants
    return str(held.holidays.get(day) or held.workdays.get(day) or "")


def _in_notices(day: date) -> bool:
    return _FIRST <= day <= date(_official()[1].year, 12, 31)


def _usual(day: date) -> bool:
    if not _in_notices(day):
        return day.weekday() < 5
    return bool(_official()[0].is_workday(day))


def days_between(first: date, last: date) -> list[date]:
    """Every date from `first` to `last`, both included; none where `last` is the earlier."""
    return [first + timedelta(n) for n in range((last - first).days + 1)]


def month_days(month: str) -> list[date]:
    """The dates of a month such as `2026-11`. Raises ValueError."""
    first = date.fromisoformat(f"{month}-01")
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return days_between(first, after - timedelta(1))

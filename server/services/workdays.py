"""Which days are worked: China's public holidays and make-up working days."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from server.models.places import MONDAY_TO_FRIDAY

_FIRST = date(2004, 1, 1)


@lru_cache(maxsize=1)
def _calendar() -> tuple[Any, date]:
    import chinese_calendar  # imports in 40 ms, and most processes never ask

    return chinese_calendar, max(chinese_calendar.constants.holidays)


def calendar_known(day: date) -> bool:
    """Whether the State Council's calendar of that year is known to this release."""
    return _FIRST <= day <= date(_calendar()[1].year, 12, 31)


def is_working_day(day: date) -> bool:
    """Whether that day is worked; Monday to Friday where the year is not known yet."""
    if not calendar_known(day):
        return day.weekday() < 5
    return bool(_calendar()[0].is_workday(day))


def is_expected_on(mask: int, day: date) -> bool:
    """Whether somebody with this mask of weekdays is expected that day.

    Ordinary days by their bit; a make-up working day with all of Monday to Friday, or its own bit;
    nobody on a public holiday.
    """
    own = bool(mask >> day.weekday() & 1)
    working = is_working_day(day)
    if day.weekday() < 5:
        return own and working
    if working:
        return own or mask & MONDAY_TO_FRIDAY == MONDAY_TO_FRIDAY
    return own and not _is_named_holiday(day)


def _is_named_holiday(day: date) -> bool:
    return calendar_known(day) and bool(_calendar()[0].get_holiday_detail(day)[1])


def days_between(first: date, last: date) -> list[date]:
    """Every date from `first` to `last`, both included; none where `last` is the earlier."""
    return [first + timedelta(n) for n in range((last - first).days + 1)]

"""Working days: of 2026 with its make-up days, of years without a notice, of single weekdays."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from server.rules.calendar import Calendar


@pytest.mark.parametrize(
    ("day", "working"),
    [
        *((date(2026, *d), True) for d in ((1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10))),
        (date(2026, 1, 1), False),
        (date(2026, 2, 17), False),
        (date(2026, 10, 1), False),
        (date(2026, 3, 18), True),
        (date(2026, 3, 21), False),
    ],
)
def test_working_days_of_2026(day: date, working: bool) -> None:
    assert Calendar().known(day)
    assert Calendar().is_working(day) is working
    assert Calendar().is_expected(0b0011111, day) is working


def test_years_not_known_yet_are_monday_to_friday() -> None:
    assert not Calendar().known(date(2049, 1, 1))
    assert Calendar().is_working(date(2049, 1, 1))  # a Friday
    assert not Calendar().is_working(date(2049, 1, 2))


def test_masks_of_single_days() -> None:
    saturdays = 1 << 5
    assert Calendar().is_expected(saturdays, date(2026, 3, 21))
    assert not Calendar().is_expected(saturdays, date(2026, 10, 3))  # the national holiday
    assert not Calendar().is_expected(saturdays, date(2026, 9, 20))  # a Sunday that is worked
    assert Calendar().is_expected(1 << 6, date(2026, 9, 20))
    assert datetime(2026, 9, 20, tzinfo=UTC).weekday() == 6

"""What the tests of the supervisors' desk share: days, times, verdicts, a check-in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from attendance.days import day_start_ms, from_ms
from attendance.statuses import Status
from server.models import Township
from server.services.sheets import daysheet
from server.services.sheets.months import Grid, Row
from server.services.township.townships import only_township
from server.services.township.whereabouts import board_version, whereabouts_at

from .conftest import Kiosk, Office

TODAY = date(2026, 3, 18)
NINE = day_start_ms(TODAY) + 9 * 3_600_000


def at(day: date, hour: float = 12) -> datetime:
    return from_ms(day_start_ms(day) + int(hour * 3_600_000))


def verdict(session: Session, township: Township, code: str, day: date, now: datetime) -> str:
    sheet = daysheet.day_sheet(session, township, day, now)
    return next(row.verdict for row in sheet.rows if row.official == code)


def come(office: Office, village: Kiosk, code: str = "zhang-3") -> str:
    """Checks in at 09:00 of 18 March and goes on to the next day, when the site has reported."""
    village.cursor()
    village.record(code)
    village.sync()
    with office.context.database.session() as reading:
        sheet = daysheet.day_sheet(reading, only_township(reading), TODAY, office.clock())
    return next(r for r in sheet.rows if r.official == code).entries[0].record_id


def board(session: Session, township: Township, now: datetime) -> tuple[dict[str, Status], str]:
    shown = whereabouts_at(session, township, now)
    return {r.official: r.where.status for r in shown}, board_version(session, township, now)


def next_day(office: Office, village: Kiosk) -> None:
    office.clock.now = at(TODAY + timedelta(1), 10).astimezone(UTC)
    village.sync()


def row_of(made: Grid, official: str) -> Row:
    return next(r for r in made.rows if r.person.official == official)

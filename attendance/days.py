"""Days and times as a township means them: Asia/Shanghai at the edges, UTC milliseconds inside."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

# China keeps one zone without daylight saving since 1992 (tz database, Asia/Shanghai), so a fixed
# offset is exact and needs no zone file on a bare system.
SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")

DAY_MS = 86_400_000
_AHEAD_MS = 28_800_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Wall times that `datetime` can express, in Unix milliseconds: years 1 to 9999, a day inside.
MIN_MS = -62_135_510_400_000
MAX_MS = 253_402_214_400_000


def to_ms(moment: datetime) -> int:
    """Unix milliseconds of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone: pass an aware datetime")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of Unix milliseconds, clamped to the years that Python can express."""
    return _EPOCH + timedelta(milliseconds=min(max(ms, MIN_MS), MAX_MS))


def local(ms: int) -> datetime:
    """The same moment on a village's wall clock (Asia/Shanghai)."""
    return from_ms(ms).astimezone(SHANGHAI)


def day_of(ms: int) -> date:
    """The Asia/Shanghai date of Unix milliseconds."""
    return local(ms).date()


def minute_of_day(ms: int) -> int:
    """Minutes since midnight in Asia/Shanghai, 0 to 1439: as `local` has it, for many."""
    return (ms + _AHEAD_MS) % DAY_MS // 60_000


def day_start_ms(day: date) -> int:
    """Unix milliseconds of the day's first moment in Asia/Shanghai."""
    return to_ms(datetime.combine(day, time(), SHANGHAI))


def day_end_ms(day: date) -> int:
    """Unix milliseconds of the first moment that is no longer that day in Asia/Shanghai."""
    return day_start_ms(day) + DAY_MS

"""The numbers of a kiosk's galleries: they only rise, whatever copy of a desk or server serves."""

from __future__ import annotations

START_MS = 1_577_836_800_000
"""2020-01-01 in UTC, from which they count seconds."""
HIGHEST = 1 << 40
"""No desk comes to that by counting seconds or galleries: a number above is a fault, or a lie."""


def is_believable(version: int, given: int) -> bool:
    """Whether a desk can have given that number; `given` is the highest one known to be given."""
    return 0 <= version <= max(given, HIGHEST)


def next_version(last: int, held: int, now_ms: int) -> int:
    """The number of a gallery sealed at `now_ms`: above the last one given and the one held.

    Seconds, so that a desk that was put back to an older copy, or set up anew, is above what was
    carried to a kiosk by stick meanwhile, of which nobody tells it.
    """
    return max(last + 1, held + 1, (now_ms - START_MS) // 1000)

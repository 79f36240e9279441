"""Whom a village's kiosk knows: those expected there, soon too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from attendance import wire
from attendance.days import day_of, day_start_ms
from server.services.sheets.roster import Roster

#: Days after today of which dated exceptions count. As many as a gallery is in force, so that none
#: in force lacks somebody who was on the roster when it was sealed: a village that is cut off for a
#: month, and hears nothing new, knows who comes on its last day too.
AHEAD_DAYS = wire.GALLERY_DAYS


def known_at(
    roster: Roster, site_id: int, begun: Mapping[str, int], now_ms: int
) -> dict[str, date]:
    """Everybody active whom the site expects from today on, by code, and the earliest such day: by
    the patterns in force, and by the dated exceptions of today and the AHEAD_DAYS after it.

    `begun`: when the present day began for those for whom that was not midnight. Where it was
    yesterday, the night that one was sent for is not over.
    """
    today = day_of(now_ms)
    yesterday, last = today - timedelta(1), today + timedelta(AHEAD_DAYS)
    midnight = day_start_ms(today)
    found: dict[str, date] = {}
    for stay in roster.stays.get(site_id, ()):
        if stay.last is not None and stay.last < yesterday:
            break  # as all that follow: years of days that are over
        night = begun.get(stay.official, midnight) < midnight
        day = stay.soonest(yesterday if night else today, last)
        if day is not None:
            found[stay.official] = min(day, found.get(stay.official, day))
    return found

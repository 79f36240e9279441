"""Whom the desk is to seal to which village, since the server's roster expects them there."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import day_of, day_start_ms, to_ms
from attendance.statuses import SiteKind
from server.models import Device, Township
from server.services.sheets.roster import Person, roster_of
from server.services.township.whereabouts import day_begins

#: Days after today of which dated exceptions are told. As many as a gallery is in force, so that
#: none in force lacks somebody who was on the roster when it was sealed: a village that is cut off
#: for a month, and hears nothing new, knows who comes on its last day too.
AHEAD_DAYS = wire.GALLERY_DAYS


def rows(
    session: Session, desk: Device, now: datetime, most: int = wire.MAX_EXPECTED
) -> list[wire.ExpectedRow]:
    """Everybody active whom the desk's township expects at a village from today on, by official
    and site: by the patterns in force, and by the dated exceptions of today and the AHEAD_DAYS
    after it.

    A night shift's day is over when its night is. Of more than `most` rows those are told of whom
    the day is the nearest.
    """
    township = session.get_one(Township, desk.township_id)
    now_ms = to_ms(now)
    today = day_of(now_ms)
    begun = day_begins(session, township, now_ms)
    midnight = day_start_ms(today)
    found: dict[tuple[str, str], date] = {}
    for person in roster_of(session, township).people:
        if not person.active:
            continue
        night = begun.get(person.official, midnight) < midnight
        first = today - timedelta(1) if night else today
        for site, day in _soonest(person, first, today + timedelta(AHEAD_DAYS)).items():
            found[person.official, site] = day
    told = sorted(found, key=lambda key: (found[key], key))[:most]
    return [wire.ExpectedRow(official=official, site=site) for official, site in sorted(told)]


def _soonest(person: Person, first: date, last: date) -> dict[str, date]:
    """The villages where somebody is expected from `first` to `last`, and since which day."""
    days = [
        (max(first, p.first or first), p.place)
        for p in person.patterns
        if (p.first is None or p.first <= last) and (p.last is None or first <= p.last)
    ]
    days += [
        (day, dated.place)
        for day, dated in person.dated.items()
        if dated.what == "at" and dated.place is not None and first <= day <= last
    ]
    found: dict[str, date] = {}
    for day, place in days:
        if place.kind == SiteKind.VILLAGE:
            found[place.name] = min(day, found.get(place.name, day))
    return found

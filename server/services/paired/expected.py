"""Whom the desk is to seal to which village, since the server's roster expects them there."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import to_ms
from attendance.statuses import SiteKind
from server.models import Device, Township
from server.services.sheets.roster import roster_of
from server.services.township.known import known_at
from server.services.township.whereabouts import day_begins


def rows(
    session: Session, desk: Device, now: datetime, most: int = wire.MAX_EXPECTED
) -> list[wire.ExpectedRow]:
    """Everybody whom the kiosks of the desk's township's villages are to know (`known_at`), by
    official and site.

    Of more than `most` rows those are told of whom the day is the nearest.
    """
    township = session.get_one(Township, desk.township_id)
    now_ms = to_ms(now)
    roster, begun = roster_of(session, township), day_begins(session, township, now_ms)
    found: dict[tuple[str, str], date] = {}
    for place in roster.places.values():
        if place.kind == SiteKind.VILLAGE:
            for official, day in known_at(roster, place.id, begun, now_ms).items():
                found[official, place.name] = day
    told = sorted(found, key=lambda key: (found[key], key))[:most]
    return [wire.ExpectedRow(official=official, site=site) for official, site in sorted(told)]

"""What goes wrong in the demo township besides what luck brings: each kind once, on its day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from itertools import cycle

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance import wire
from server.models import Township, User
from server.services.township import rosters
from server.services.township.townships import site_of

#: A person whom no roster knows, as a kiosk with an old roster would still take in.
STRANGER = "QS-999"
#: A post on the dyke that has no kiosk yet.
BARE = "河堤值守点"
#: Recorded with the liveness check switched off; changed after ten seconds; a code that is not on
#: the roster; one visit of two; the kiosk's power gone while its official stays away; sent to a
#: post without a kiosk.
KINDS = ("sample", "amend", "stranger", "few", "silent", "bare")


def choose(
    people: Sequence[wire.RosterRow], office: str, days: Sequence[date]
) -> dict[tuple[date, str], str]:
    """What happens to whom on which of `days`: as many of KINDS as there are days."""
    outside = cycle([p.official for p in people if p.sites[0] != office])
    try:
        return {(day, next(outside)): kind for day, kind in zip(days, KINDS, strict=False)}
    except StopIteration:
        return {}


def settle(
    session: Session,
    township: Township,
    people: Sequence[wire.RosterRow],
    odd: dict[tuple[date, str], str],
    start: datetime,
) -> None:
    """The roster's share: a shift of two visits, and a watch at the post without a kiosk."""
    clerk = session.scalars(
        select(User).where(User.township_id == township.id, User.role == "clerk")
    ).one()
    sites = {p.official: p.sites[0] for p in people}
    for (day, official), kind in odd.items():
        if kind == "few":
            twice = rosters.add_shift(
                session, township, "早晚两访", 510, 1050, clerk, start, 20, 20, visits=2
            )
            rosters.set_day(
                session, township, official, day, "at", clerk, start, sites[official], twice.id,
                "入户走访",
            )  # fmt: skip
        elif kind == "bare":
            site_of(session, township, BARE, "village")
            rosters.set_day(
                session, township, official, day, "at", clerk, start, BARE, reason="防汛"
            )


def moments(kind: str, arrives: int, leaves: int, official: str) -> list[tuple[int, str, str]]:
    """What happens that day at the kiosk of the official's village, in order."""
    came, left = (arrives, "face", official), (leaves, "out", official)
    match kind:
        case "sample":
            return [(arrives, "sample", official), left]
        case "amend":
            return [came, (arrives + 120_000, "amend", official), left]
        case "stranger":
            return [came, (arrives + 60_000, "face", STRANGER), left]
        case "few":
            return [came, left]
        case "silent":
            return [(arrives, "silent", official)]
        case _:
            return []

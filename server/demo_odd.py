"""What goes wrong in the demo township besides what luck brings: each kind once, on its day.

Together with a morning that is not over they bring every verdict and everything that the sheets
mark to be looked into.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import day_end_ms, day_start_ms, from_ms
from attendance.statuses import Status
from server.models import Township, User
from server.services.township import leave, rosters
from server.services.township.townships import site_of

#: A person whom no roster knows, as a kiosk with an old roster would still take in.
STRANGER = "QS-999"
#: A post on the dyke that has no kiosk yet.
BARE = "河堤值守点"
#: Recorded with the liveness check switched off; changed after ten seconds; a code that is not on
#: the roster; one visit of two; the kiosk's power gone while its officials stay away; sent to a
#: post without a kiosk; a power cut and a dead clock battery on that day, and over the night before
#: it; a boot clock that leapt; a night on watch; there on approved leave; out without in; at the
#: office instead; a PIN at another village; a trip that nobody approved; late; early.
KINDS = (
    "sample", "amend", "stranger", "few", "silent", "bare", "doubtful", "yesterday", "leap",
    "night", "clash", "noin", "elsewhere", "unverified", "trip", "late", "early",
)  # fmt: skip
#: Every which official is on leave some day (`server.demo`), and the first of them.
LEAVE_EVERY, LEAVE_FIRST = 9, 4


def choose(
    people: Sequence[wire.RosterRow], office: str, days: Sequence[date]
) -> dict[tuple[date, str], str]:
    """What happens to whom on which of `days`: all of KINDS where there are so many people outside
    the office who are not on leave, each on a day of its own where there are so many days."""
    outside = [
        p.official for n, p in enumerate(people)
        if p.sites[0] != office and n % LEAVE_EVERY != LEAVE_FIRST
    ]  # fmt: skip
    if not days:
        return {}
    return {
        (days[-1 - n % len(days)], official): kind
        for n, (official, kind) in enumerate(zip(outside, KINDS, strict=False))
    }


def settle(
    session: Session,
    township: Township,
    people: Sequence[wire.RosterRow],
    odd: dict[tuple[date, str], str],
    start: datetime,
) -> None:
    """The roster's share: a shift of two visits, a watch at the post without a kiosk, one at night
    with the day after free, and leave that somebody comes on."""
    users = {
        u.role: u for u in session.scalars(select(User).where(User.township_id == township.id))
    }
    clerk, leader = users["clerk"], users["leader"]
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
        elif kind == "night":
            night = rosters.add_shift(session, township, "夜班", 1200, 480, clerk, start, 20, 20)
            rosters.set_day(
                session, township, official, day, "at", clerk, start, sites[official], night.id,
                "防汛值守",
            )  # fmt: skip
            after = day + timedelta(1)
            rosters.set_day(session, township, official, after, "off", clerk, start, reason="轮休")
        elif kind == "clash":
            row = leave.ask(
                session, township, official, Status.ON_LEAVE, from_ms(day_start_ms(day)),
                from_ms(day_end_ms(day)), "事假", clerk, start,
            )  # fmt: skip
            leave.decide(session, row.id, True, leader, start)


def kiosk_of(kind: str, own: int, sites: int) -> int:
    """The number of the site where it happens: 0 is the office, the others are villages."""
    if kind == "elsewhere":
        return 0
    return own % (sites - 1) + 1 if kind == "unverified" and sites > 1 else own


def moments(
    kind: str, start_ms: int, arrives: int, leaves: int, official: str
) -> list[tuple[int, str, str]]:
    """What happens on the day from `start_ms` on at the kiosk, in order: when, what, who.

    `arrives` and `leaves` are when that person would come and go; all in Unix milliseconds.
    """
    came, left = (arrives, "face", official), (leaves, "out", official)
    match kind:
        case "sample":
            return [(arrives, "sample", official), left]
        case "amend":
            return [came, (arrives + 120_000, "amend", official), left]
        case "stranger":
            return [came, (arrives + 60_000, "face", STRANGER), left]
        case "few" | "clash" | "elsewhere":
            return [came, left]
        case "silent" | "doubtful" | "yesterday" | "unverified" | "trip":
            return [(arrives, kind, official)]
        case "leap":
            return [(arrives, "leap", official), (leaves, "leapt out", official)]
        case "night":
            return [(start_ms + 1190 * 60_000, "face", official)]
        case "noin":
            return [left]
        case "late":
            return [(arrives + 120 * 60_000, "face", official), left]
        case "early":
            return [came, (leaves - 180 * 60_000, "out", official)]
        case _:
            return []

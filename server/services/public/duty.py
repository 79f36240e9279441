"""Who receives visitors on which day (当日接访): a leader on duty and two receptionists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import to_ms
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Duty, Official, Role, Township, User

#: The posts of a day in the order of the notice.
POSTS = ("leader", "first", "second")
#: Days of the roster that one page shows.
SPAN = 14


@dataclass(frozen=True)
class OnDuty:
    """Who holds a post; `official` is None where nobody was named."""

    post: str
    official: Official | None


def duties(
    session: Session, township: Township, first: date, last: date
) -> dict[date, dict[str, Official]]:
    """Who holds which post on each day from `first` to `last`, both included."""
    rows = session.execute(
        select(Duty.day, Duty.post, Official)
        .outerjoin(
            Official,
            (Official.township_id == Duty.township_id)
            & (Official.official == Duty.official)
            & Official.active,
        )
        .where(
            Duty.township_id == township.id,
            Duty.day.between(first.isoformat(), last.isoformat()),
        )
        .order_by(Duty.id)
    )
    found: dict[date, dict[str, Official]] = {}
    for day, post, official in rows:
        posts = found.setdefault(date.fromisoformat(day), {})
        if official is None:
            posts.pop(post, None)
        else:
            posts[post] = official
    return found


def on_duty(session: Session, township: Township, day: date) -> list[OnDuty]:
    """The three posts of a day."""
    held = duties(session, township, day, day).get(day, {})
    return [OnDuty(post, held.get(post)) for post in POSTS]


def assign(
    session: Session,
    township: Township,
    day: date,
    posts: Mapping[str, str | None],
    user: User,
    now: datetime,
) -> int:
    """Appends what changes of a day's posts and returns how many; the caller commits.

    `posts` maps posts to codes of officials, None for nobody. Raises NotAllowed for whoever is no
    clerk, administrator or leader, InputInvalid (`post`, `twice`), NotFound for an official who is
    not of this township.
    """
    if user.township_id != township.id or user.role not in (Role.CLERK, Role.ADMIN, Role.LEADER):
        raise NotAllowed("only a clerk, leader or administrator writes the duty roster")
    if not posts.keys() <= set(POSTS):
        raise InputInvalid("post", "there is no such post")
    named = [code for code in posts.values() if code]
    if len(named) != len(set(named)):
        raise InputInvalid("twice", "nobody holds two posts on one day")
    known = set(
        session.scalars(
            select(Official.official).where(
                Official.township_id == township.id, Official.official.in_(named), Official.active
            )
        )
    )
    if set(named) - known:
        raise NotFound("no such official")
    before = duties(session, township, day, day).get(day, {})
    changed = 0
    for post, code in posts.items():
        held = before.get(post)
        if (held.official if held else None) == (code or None):
            continue
        session.add(
            Duty(
                township_id=township.id,
                day=day.isoformat(),
                post=post,
                official=code or None,
                by=user.name,
                at_ms=to_ms(now),
            )
        )
        changed += 1
    session.flush()
    return changed


def span(first: date) -> list[date]:
    """The days of one page of the roster."""
    return [first + timedelta(days) for days in range(SPAN)]

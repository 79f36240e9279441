"""The trail of who looked at or changed what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, not_, or_, select
from sqlalchemy.orm import Session

from attendance.days import day_start_ms, to_ms
from server.models import AuditEntry, Township, User


def note(
    session: Session, user: User, what: str, target: str, now: datetime, remote: str = ""
) -> None:
    """Adds an entry: `what` is a word such as `view_day`, `target` what it concerned."""
    note_for(session, user.township_id, user.name, what, target, now, remote)


def note_for(
    session: Session,
    township_id: int,
    who: str,
    what: str,
    target: str,
    now: datetime,
    remote: str = "",
) -> None:
    """The same for who has no account: a device (`device:ID`) or a command (`command`)."""
    session.add(
        AuditEntry(
            township_id=township_id,
            at_ms=to_ms(now),
            who=who[:60],
            what=what[:40],
            target=target[:500],
            remote=remote[:64],
        )
    )


#: How the words of looks begin; everything else changed something, or let somebody in.
LOOKS = ("view_", "csv_", "xlsx_", "pdf_", "template_")
#: Who is signed in, who failed to, and who wanted a page of others.
LOGINS = ("login", "logout", "login_failed", "refused")


@dataclass(frozen=True)
class Wanted:
    """What of the trail is asked for; everything where a field is empty.

    `who` is an account, `what` a word or `looks`, `changes`, `logins`; `text` stands somewhere in
    what it concerned, `remote` is how the address begins; `first` and `last` are days.
    """

    who: str = ""
    what: str = ""
    text: str = ""
    remote: str = ""
    first: date | None = None
    last: date | None = None


def recent(
    session: Session,
    township: Township,
    limit: int = 200,
    wanted: Wanted | None = None,
    before: int | None = None,
) -> list[AuditEntry]:
    """The newest entries of the township that are wanted, newest first.

    `before` is the number of the last entry of the page before.
    """
    query = select(AuditEntry).where(AuditEntry.township_id == township.id)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    for condition in () if wanted is None else _conditions(wanted):
        query = query.where(condition)
    return list(session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)))


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    looks = or_(*(AuditEntry.what.startswith(word, autoescape=True) for word in LOOKS))
    if wanted.who:
        yield AuditEntry.who == wanted.who
    if wanted.what == "looks":
        yield looks
    elif wanted.what == "changes":
        yield not_(looks)
        yield AuditEntry.what.not_in(LOGINS)
    elif wanted.what == "logins":
        yield AuditEntry.what.in_(LOGINS)
    elif wanted.what:
        yield AuditEntry.what == wanted.what
    if wanted.text:
        yield AuditEntry.target.contains(wanted.text, autoescape=True)
    if wanted.remote:
        yield AuditEntry.remote.startswith(wanted.remote, autoescape=True)
    if wanted.first is not None:
        yield AuditEntry.at_ms >= day_start_ms(wanted.first)
    if wanted.last is not None:
        yield AuditEntry.at_ms < day_start_ms(wanted.last + timedelta(1))

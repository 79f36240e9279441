"""The trail of who looked at or changed what."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import to_ms
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


def recent(session: Session, township: Township, limit: int = 200) -> list[AuditEntry]:
    """The newest entries of the township, newest first."""
    return list(
        session.scalars(
            select(AuditEntry)
            .where(AuditEntry.township_id == township.id)
            .order_by(AuditEntry.id.desc())
            .limit(limit)
        )
    )

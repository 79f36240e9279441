"""Work that one process does for all: whoever holds its lease in the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from attendance.days import to_ms
from server.models import Lease

#: A lease that is not renewed ends after so long; it is renewed in its last two thirds.
LEASE_MS = 45_000


def held(session: Session, name: str, holder: str, now: datetime) -> bool | None:
    """True: `holder` has it for a while yet. None: it may be taken or wants renewal. Else False."""
    row = session.scalar(select(Lease).where(Lease.name == name))
    now_ms = to_ms(now)
    # One from a clock that was set back since would never end.
    if row is None or not now_ms < row.until_ms <= now_ms + 2 * LEASE_MS:
        return None
    if row.holder != holder:
        return False
    return True if row.until_ms - now_ms > LEASE_MS * 2 // 3 else None


def take(session: Session, name: str, holder: str, now: datetime) -> bool:
    """Takes or renews it, where nobody else has it. Needs a writing session; the caller commits."""
    now_ms = to_ms(now)
    free = (
        (Lease.holder == holder)
        | (Lease.until_ms <= now_ms)
        | (Lease.until_ms > now_ms + 2 * LEASE_MS)
    )
    changed = session.execute(
        update(Lease)
        .where(Lease.name == name, free)
        .values(holder=holder, until_ms=now_ms + LEASE_MS)
    )
    if changed.rowcount:  # type: ignore[attr-defined]
        return True
    if session.scalar(select(Lease.name).where(Lease.name == name)) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(Lease(name=name, holder=holder, until_ms=now_ms + LEASE_MS))
    except IntegrityError:  # another process was first
        return False
    return True


def give_back(session: Session, name: str, holder: str) -> None:
    """Ends it, where `holder` has it, so that another one need not wait."""
    session.execute(
        update(Lease).where(Lease.name == name, Lease.holder == holder).values(until_ms=0)
    )


def alive(session: Session, name: str, now: datetime) -> bool:
    """Whether some process holds it now."""
    until = session.scalar(select(Lease.until_ms).where(Lease.name == name))
    return until is not None and to_ms(now) < until

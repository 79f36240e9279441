"""Who is signed in where: a random token in the cookie, its hash in the database.

A session that is over has no row: the audit trail says who ended it and when.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from attendance.days import to_ms
from attendance.i18n import say
from server.errors import NotFound
from server.models import LoginSession, User

#: A session ends after a working day whatever happens, milliseconds.
LONGEST_MS = 12 * 3_600_000
#: And when nobody asked for a page for that long: office PCs are shared.
IDLE_MS = 2 * 3_600_000
#: How often the time of the last page is written: reading must not become writing.
SEEN_EVERY_MS = 60_000
#: A clock that was set back that far does not end sessions.
BACK_MS = 5 * 60_000
#: How long the password is good while the code is waited for.
WAITING_MS = 10 * 60_000
#: How far somebody is (`LoginSession.stage`).
WAITING, PASSWORD, CODE = "waiting", "password", "code"
_RANDOM_BYTES = 32
_SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("HarmonyOS", "HarmonyOS"),
            ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS"),
            ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip
# In this order: each also calls itself what comes later.
_BROWSERS = (("MicroMessenger", "WeChat"), ("Edg", "Edge"), ("OPR", "Opera"),
             ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Version", "Safari"))  # fmt: skip


def begin(
    session: Session, user: User, now: datetime, remote: str, agent: str, stage: str = PASSWORD
) -> str:
    """Signs somebody in; the token for the cookie, which exists nowhere else. The caller commits.

    `agent` is the browser's User-Agent. Sessions that ran out, of anybody, are swept away.
    """
    sweep(session, now)
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    session.add(
        LoginSession(
            user_id=user.id, digest=_digest(token), created_ms=to_ms(now), seen_ms=to_ms(now),
            remote=remote[:64], agent=short_agent(agent), stage=stage,
        )
    )  # fmt: skip
    session.flush()
    return token


def find(session: Session, token: str, now: datetime) -> LoginSession | None:
    """The session that `token` is, with its account, where both are still good.

    Found by the hash of 256 random bits: how long the search takes tells nothing of any token.
    """
    if len(token) > 100:
        return None
    row = session.scalar(select(LoginSession).where(LoginSession.digest == _digest(token)))
    if row is None or not row.user.active or not _runs(row, to_ms(now)):
        return None
    return row


def _runs(row: LoginSession, now_ms: int) -> bool:
    longest = WAITING_MS if row.stage == WAITING else LONGEST_MS
    return -BACK_MS <= now_ms - row.created_ms < longest and now_ms - row.seen_ms < IDLE_MS


def seen_again(row: LoginSession, now: datetime, remote: str) -> bool:
    """Whether this look is to be written down (`note_seen`)."""
    return abs(to_ms(now) - row.seen_ms) >= SEEN_EVERY_MS or row.remote != remote[:64]


def note_seen(session: Session, row: LoginSession, now: datetime, remote: str) -> None:
    """Writes down when and from where the session was last used; the caller commits."""
    session.execute(
        update(LoginSession)
        .where(LoginSession.id == row.id)
        .values(seen_ms=to_ms(now), remote=remote[:64])
        .execution_options(synchronize_session=False)
    )


def listing(session: Session, user: User, now: datetime) -> list[LoginSession]:
    """The sessions of an account that still run, the last used first, without those that wait."""
    rows = session.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user.id)
        .order_by(LoginSession.seen_ms.desc(), LoginSession.id.desc())
    )
    return [row for row in rows if row.stage != WAITING and _runs(row, to_ms(now))]


def end(session: Session, user: User, row_id: int) -> LoginSession:
    """Ends one session of the account at once; what it was. Raises NotFound."""
    row = session.scalar(
        select(LoginSession).where(LoginSession.id == row_id, LoginSession.user_id == user.id)
    )
    if row is None:
        raise NotFound(say("没有这个登录会话", "there is no such session"))
    session.delete(row)
    session.flush()
    return row


def drop(session: Session, row_id: int) -> None:
    """Ends a session by its number alone: that of whoever asks. Nothing where it is over."""
    session.execute(
        delete(LoginSession)
        .where(LoginSession.id == row_id)
        .execution_options(synchronize_session=False)
    )


def end_all(session: Session, user: User, but: int | None = None) -> int:
    """Ends every session of the account, but that one (row id); how many."""
    query = delete(LoginSession).where(LoginSession.user_id == user.id)
    if but is not None:
        query = query.where(LoginSession.id != but)
    done = session.execute(query.execution_options(synchronize_session=False))
    return int(getattr(done, "rowcount", 0))


def end_everybodys(session: Session) -> None:
    """Nobody is signed in any more: after a backup was restored."""
    session.execute(delete(LoginSession))


def sweep(session: Session, now: datetime) -> None:
    """Removes what ran out."""
    now_ms = to_ms(now)
    session.execute(
        delete(LoginSession)
        .where(
            or_(
                LoginSession.created_ms <= now_ms - LONGEST_MS,
                LoginSession.seen_ms <= now_ms - IDLE_MS,
            )
        )
        .execution_options(synchronize_session=False)
    )


def short_agent(agent: str) -> str:
    """A User-Agent in two words, such as `Firefox 140 · Windows`; at most 60 characters."""
    system = next((word for mark, word in _SYSTEMS if mark in agent), "")
    for mark, word in _BROWSERS:
        found = re.search(rf"{mark}\w*/(\d{{1,4}})", agent)
        if found:
            return " · ".join(part for part in (f"{word} {found[1]}", system) if part)
    return re.sub(r"[^\x20-\x7e]", "", agent.split("(")[0])[:40].strip()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


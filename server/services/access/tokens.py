"""Tokens of other programs: made by an administrator, shown once, for some scopes and some time."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import from_ms, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import ApiToken, Role, Township, User
from server.services.township.townships import clean

#: What a token may read, word by word.
SCOPES = ("whereabouts", "officials", "records", "days", "findings")
#: Leaked tokens are found by scanners through a beginning that nothing else has.
BEGINNING = "quxiang_"
_RANDOM_BYTES = 32
MAX_DAYS = 366
#: The time of use is written at most that often: reading must not become writing.
USED_EVERY_MS = 3_600_000


@dataclass(frozen=True)
class Made:
    """A fresh token; `text` exists nowhere else."""

    row: ApiToken
    text: str


def make(
    session: Session,
    township: Township,
    name: str,
    scopes: Iterable[str],
    days: int,
    user: User,
    now: datetime,
) -> Made:
    """A token for `days` (1 to MAX_DAYS) days; the caller commits.

    Raises NotAllowed for whoever is no administrator, InputInvalid (`name`, `scopes`, `days`).
    """
    _allowed(user, township)
    wanted = [scope for scope in SCOPES if scope in set(scopes)]
    name = clean(name, 60)
    if not name:
        raise InputInvalid("name", say("请填写用途", "say which program it is for"), "name")
    if not wanted or set(scopes) - set(SCOPES):
        raise InputInvalid("scopes", say("请选择可读内容", "choose what it may read"), "scopes")
    if not 1 <= days <= MAX_DAYS:
        raise InputInvalid(
            "days", say(f"有效期 1 至 {MAX_DAYS} 天", f"it lives 1 to {MAX_DAYS} days"), "days"
        )
    text = BEGINNING + secrets.token_urlsafe(_RANDOM_BYTES)
    row = ApiToken(
        township_id=township.id,
        name=name,
        digest=_digest(text),
        scopes=" ".join(wanted),
        by=user.name,
        created_ms=to_ms(now),
        expires_ms=to_ms(now + timedelta(days)),
    )
    session.add(row)
    session.flush()
    return Made(row, text)


def listing(session: Session, township: Township) -> list[ApiToken]:
    """The township's tokens, newest first."""
    return list(
        session.scalars(
            select(ApiToken)
            .where(ApiToken.township_id == township.id)
            .order_by(ApiToken.id.desc())
            .limit(200)
        )
    )


def revoke(session: Session, township: Township, number: int, user: User, now: datetime) -> str:
    """Ends a token at once; its name. Raises NotAllowed, NotFound."""
    _allowed(user, township)
    row = session.scalar(
        select(ApiToken).where(ApiToken.id == number, ApiToken.township_id == township.id)
    )
    if row is None:
        raise NotFound(say("没有这个令牌", "there is no such token"))
    if row.revoked_ms is None:
        row.revoked_ms = to_ms(now)
    return row.name


def holder(session: Session, text: str, now: datetime) -> ApiToken | None:
    """The token that `text` is, where it is in force; notes its use now and then.

    Found by the hash of 256 random bits: how long the search takes tells nothing of any token.
    """
    if not text.startswith(BEGINNING) or len(text) > 100:
        return None
    row = session.scalar(select(ApiToken).where(ApiToken.digest == _digest(text)))
    now_ms = to_ms(now)
    if row is None or row.revoked_ms is not None or now_ms >= row.expires_ms:
        return None
    if row.used_ms is None or now_ms - row.used_ms >= USED_EVERY_MS:
        row.used_ms = now_ms
    return row


def state(row: ApiToken, now: datetime) -> str:
    """`valid`, `expired` or `revoked`."""
    if row.revoked_ms is not None:
        return "revoked"
    return "valid" if now < from_ms(row.expires_ms) else "expired"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _allowed(user: User, township: Township) -> None:
    if user.township_id != township.id or user.role != Role.ADMIN:
        raise NotAllowed(say("由管理员发放令牌", "an administrator gives out tokens"))

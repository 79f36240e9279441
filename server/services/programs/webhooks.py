"""Webhooks: made by the administrator or a leader, their secret shown once and kept sealed.

Signatures follow "Standard Webhooks": whoever has a library for that has one for these.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from attendance.days import to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import (
    Finding,
    FindingEvent,
    RecordRow,
    Role,
    Township,
    User,
    Webhook,
    WebhookDelivery,
)
from server.services.programs.items import SETTLED_MS
from server.services.programs.outgoing import checked_url
from server.services.township.townships import clean

#: What a webhook may be about. `findings` are sent as they are opened and as something follows.
TOPICS = ("records", "findings")
#: Who makes them: what leaves the township is theirs to answer for.
MAKERS = frozenset({Role.ADMIN, Role.LEADER})
MOST = 20
#: Who made it, where it was not an account.
COMMAND = "command"
BEGINNING = "whsec_"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Made:
    """A webhook and its secret, which is shown nowhere else; `repr` does not show it either."""

    row: Webhook
    text: str

    def __repr__(self) -> str:
        return f"Made({self.row.id})"


def make(
    session: Session,
    township: Township,
    name: str,
    url: str,
    topics: Iterable[str],
    user: User | None,
    now: datetime,
    key: bytes,
) -> Made:
    """A webhook for what comes from now on; the caller commits. `key` is the server's secret.

    Raises NotAllowed, InputInvalid (`name`, `url`, `topics`, `many`).
    """
    _allowed(user, township)
    name, wanted = clean(name, 60), set(topics)
    if not name:
        raise InputInvalid("name", say("请填写用途", "say which program it is for"), "name")
    if not wanted or wanted - set(TOPICS):
        raise InputInvalid("topics", say("请选择推送内容", "choose what is sent"), "topics")
    url = checked_url(url)
    if len(listing(session, township)) >= MOST:
        raise InputInvalid("many", say(f"最多 {MOST} 个", f"{MOST} at the most"))
    secret = secrets.token_bytes(_SECRET_BYTES)
    ends = [_end(session, table, at, township, now) for table, at in (
        (RecordRow, RecordRow.received_ms), (Finding, Finding.at_ms),
        (FindingEvent, FindingEvent.at_ms),
    )]  # fmt: skip
    row = Webhook(
        township_id=township.id, name=name, url=url, secret=seal(key, secret),
        topics=" ".join(topic for topic in TOPICS if topic in wanted), failures=0,
        by=COMMAND if user is None else user.name,
        created_ms=to_ms(now), record_after=ends[0], finding_after=ends[1], step_after=ends[2],
    )  # fmt: skip
    session.add(row)
    session.flush()
    return Made(row, text_of(secret))


def _end(
    session: Session,
    table: type[RecordRow] | type[Finding] | type[FindingEvent],
    at: InstrumentedAttribute[int],
    township: Township,
    now: datetime,
) -> int:
    """The newest row; on PostgreSQL the newest before which none can still appear."""
    query = select(func.max(table.id)).where(table.township_id == township.id)
    if session.get_bind().dialect.name != "sqlite":
        query = query.where(at <= to_ms(now) - SETTLED_MS)
    return session.scalar(query) or 0


def listing(session: Session, township: Township) -> list[Webhook]:
    """The township's webhooks, newest first."""
    mine = Webhook.township_id == township.id
    return list(session.scalars(select(Webhook).where(mine).order_by(Webhook.id.desc())))


def deliveries(session: Session, township: Township, number: int, most: int = 10
               ) -> list[WebhookDelivery]:  # fmt: skip
    """The last tries of one webhook, newest first."""
    return list(
        session.scalars(
            select(WebhookDelivery)
            .where(
                WebhookDelivery.township_id == township.id, WebhookDelivery.webhook_id == number
            )
            .order_by(WebhookDelivery.id.desc())
            .limit(most)
        )
    )


def one(session: Session, township: Township, number: int, user: User | None) -> Webhook:
    """A webhook that the account may change. Raises NotAllowed, NotFound."""
    _allowed(user, township)
    row = session.scalar(
        select(Webhook).where(Webhook.id == number, Webhook.township_id == township.id)
    )
    if row is None:
        raise NotFound(say("没有这个推送", "there is no such webhook"))
    return row


def renew(session: Session, township: Township, number: int, user: User | None, key: bytes) -> Made:
    """Another secret; the one before ends at once. Raises NotAllowed, NotFound."""
    row = one(session, township, number, user)
    secret = secrets.token_bytes(_SECRET_BYTES)
    row.secret = seal(key, secret)
    session.flush()
    return Made(row, text_of(secret))


def resume(session: Session, township: Township, number: int, user: User | None) -> Webhook:
    """Tries again at once, from where it stopped. Raises NotAllowed, NotFound."""
    row = one(session, township, number, user)
    row.disabled_ms = row.failing_ms = row.next_ms = None
    row.failures = 0
    session.flush()
    return row


def stop(
    session: Session, township: Township, number: int, user: User | None, now: datetime
) -> Webhook:
    """Sends nothing more until it is resumed; its place stays. Raises NotAllowed, NotFound."""
    row = one(session, township, number, user)
    row.disabled_ms = to_ms(now)
    session.flush()
    return row


def remove(session: Session, township: Township, number: int, user: User | None) -> str:
    """Ends it and forgets its deliveries; its name. Raises NotAllowed, NotFound."""
    row = one(session, township, number, user)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == row.id))
    session.delete(row)
    session.flush()
    return row.name


def state(row: Webhook) -> str:
    """`works`, `failing` or `stopped`."""
    if row.disabled_ms is not None:
        return "stopped"
    return "failing" if row.failures else "works"


def text_of(secret: bytes) -> str:
    """A secret as its receiver keeps it."""
    return BEGINNING + base64.b64encode(secret).decode()


def seal(key: bytes, secret: bytes) -> bytes:
    """A secret as the database keeps it: useless without the server's `secret.key`."""
    return bytes(_box(key).encrypt(secret))


def opened(key: bytes, sealed: bytes) -> bytes | None:
    """The secret again; None where `secret.key` is another one than it was."""
    try:
        return bytes(_box(key).decrypt(sealed))
    except (CryptoError, ValueError):
        return None


def _box(key: bytes) -> SecretBox:
    return SecretBox(hashlib.blake2b(key=key, digest_size=32, person=b"quxiang-webhook").digest())


def signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """`webhook-signature`: HMAC-SHA256 over `ID.SECONDS.BODY`, base64, after `v1,`."""
    signed = f"{message_id}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _allowed(user: User | None, township: Township) -> None:
    """Nobody (None) is whoever runs the server, by command."""
    if user is None:
        return
    if user.township_id != township.id or user.role not in MAKERS:
        raise NotAllowed(
            say("由管理员或领导设置推送", "an administrator or a leader sets up webhooks")
        )

"""What a webhook is owed: read from the rows themselves, so that there is no queue to diverge.

`owed` reads the next parcel after a webhook's own place, `send` posts it, `note` moves the place
forward or the next try back. The place is moved only where it still is what `owed` saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from attendance.days import to_ms
from attendance.statuses import Kind
from server.models import Finding, FindingEvent, RecordRow, Site, Township, Webhook, WebhookDelivery
from server.services.programs import outgoing, webhooks
from server.services.programs.items import SETTLED_MS, finding_item, record_item
from server.services.programs.outgoing import Network, Outcome
from server.services.rulings import findings

#: Rows of one parcel: of findings with the longest texts some 200 kB.
PARCEL = 50
#: What kiosks say of people; their clocks, faults and erasures are none of a receiver's business.
KINDS = (Kind.CHECKIN, Kind.CHECKOUT, Kind.DECLARE, Kind.AMEND)
#: The pause after the first failure, doubled with each, up to the longest.
FIRST_MS, LONGEST_MS = 10_000, 3_600_000
#: Failing for so long, and so often, it is stopped until somebody looks.
GIVE_UP_MS, GIVE_UP_AFTER = 3 * 86_400_000, 10
#: Tries of each webhook that are kept.
KEPT = 50
_PLACES = {"records": "record_after", "findings": "finding_after", "steps": "step_after"}


class Step(msgspec.Struct):
    """What followed a finding: `what` is answered, closed, reopened or note."""

    finding: int
    what: str
    text: str
    at_ms: int


class Message(msgspec.Struct):
    """The body of a POST. `type` is records, findings, steps or test."""

    type: str
    id: str
    township: str
    sent_ms: int
    items: list[Any]


@dataclass(frozen=True)
class Parcel:
    """What one POST carries. `after` is the webhook's place before it, `last` the place after."""

    webhook: Webhook
    township: str
    topic: str
    after: int
    last: int
    items: list[Any]

    @property
    def id(self) -> str:
        """The same for the same rows, however often they are sent."""
        return f"{self.webhook.id}-{self.topic}-{self.after}-{self.last}"


def due(session: Session, now: datetime) -> list[int]:
    """Webhooks that may be tried now, whether or not they are owed anything."""
    now_ms = to_ms(now)
    query = select(Webhook.id).where(
        Webhook.disabled_ms.is_(None),
        Webhook.next_ms.is_(None)
        | (Webhook.next_ms <= now_ms)
        # A clock that was set back must not make anybody wait for longer than the longest pause.
        | (Webhook.next_ms > now_ms + 2 * LONGEST_MS),
    )
    return list(session.scalars(query.order_by(Webhook.id)))


def owed(session: Session, number: int, now: datetime) -> Parcel | None:
    """The next parcel of a webhook; None where it has everything, or is gone."""
    row = session.get(Webhook, number)
    if row is None:
        return None
    township = session.get_one(Township, row.township_id)
    wanted = row.topics.split()
    # What was tried comes first, so that it is the same parcel again.
    for topic in sorted(_PLACES, key=lambda topic: topic != row.tried_topic):
        if topic in wanted or (topic == "steps" and "findings" in wanted):
            parcel = _next(session, row, township, topic, now)
            if parcel is not None:
                return parcel
    return None


def _next(
    session: Session, row: Webhook, township: Township, topic: str, now: datetime
) -> Parcel | None:
    after: int = getattr(row, _PLACES[topic])
    table: Any = {"records": RecordRow, "findings": Finding, "steps": FindingEvent}[topic]
    at = RecordRow.received_ms if topic == "records" else table.at_ms
    query = (
        select(table.id)
        .where(table.township_id == township.id, table.id > after)
        .order_by(table.id)
        .limit(PARCEL)
    )
    if session.get_bind().dialect.name != "sqlite":
        query = query.where(at <= to_ms(now) - SETTLED_MS)
    if topic == "records":
        query = query.where(RecordRow.kind.in_([str(kind) for kind in KINDS]))
    ids: list[int] = []
    if row.tried_topic == topic and row.tried_last is not None:
        # What was tried before is tried again as it was: a receiver knows it by its id.
        ids = list(session.scalars(query.where(table.id <= row.tried_last)))
    ids = ids or list(session.scalars(query))  # what was tried may be pruned since
    if not ids:
        return None
    return Parcel(row, township.name, topic, after, ids[-1], _items(session, township, topic, ids))


def _items(session: Session, township: Township, topic: str, ids: list[int]) -> list[Any]:
    if topic == "records":
        rows = session.execute(
            select(RecordRow, Site.name)
            .outerjoin(Site, Site.id == RecordRow.site_id)
            .where(RecordRow.id.in_(ids))
            .order_by(RecordRow.id)
        )
        return [record_item(record, site) for record, site in rows]
    if topic == "findings":
        found = findings.listing(session, township, ids=ids)
        return [finding_item(one) for one in reversed(found)]
    events = session.scalars(
        select(FindingEvent).where(FindingEvent.id.in_(ids)).order_by(FindingEvent.id)
    )
    return [Step(e.finding_id, e.what, e.text, e.at_ms) for e in events]


def trial(row: Webhook, township: Township, now: datetime) -> Parcel:
    """What the test button sends: nothing of anybody, and no place moves."""
    at = to_ms(now)
    return Parcel(row, township.name, "test", at, at, [])


def send(parcel: Parcel, key: bytes, networks: Iterable[Network], now: datetime) -> Outcome:
    """Posts it, signed. `key` is the server's secret. No database is held meanwhile."""
    secret = webhooks.opened(key, parcel.webhook.secret)
    if secret is None:
        return Outcome(None, "secret", 0)
    message = Message(parcel.topic, parcel.id, parcel.township, to_ms(now), parcel.items)
    body = msgspec.json.encode(message)
    seconds = to_ms(now) // 1000
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Quxiang",
        "webhook-id": parcel.id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": webhooks.signature(secret, parcel.id, seconds, body),
    }
    return outgoing.post(parcel.webhook.url, body, headers, networks)


def pause_ms(failures: int, chance: float) -> int:
    """The pause after so many failures in a row; `chance` of 0 to 1 spreads it over a half."""
    longest = min(LONGEST_MS, FIRST_MS * 2 ** min(failures - 1, 20))
    return int(longest * (0.5 + chance / 2))


def note(
    session: Session, parcel: Parcel, outcome: Outcome, now: datetime, chance: float
) -> bool:
    """Writes down what came of it; the caller commits. True where the place moved forward."""
    row, now_ms = parcel.webhook, to_ms(now)
    if session.scalar(select(Webhook.id).where(Webhook.id == row.id)) is None:
        return False  # removed meanwhile
    session.add(
        WebhookDelivery(
            webhook_id=row.id, township_id=row.township_id, at_ms=now_ms, topic=parcel.topic,
            items=len(parcel.items), ok=outcome.ok, status=outcome.status,
            trouble=outcome.trouble, took_ms=outcome.took_ms,
        )
    )  # fmt: skip
    session.flush()
    old = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.webhook_id == row.id)
        .order_by(WebhookDelivery.id.desc())
        .offset(KEPT)
        .limit(1)
    )
    edge = session.scalar(old)
    if edge is not None:
        session.execute(
            delete(WebhookDelivery).where(
                WebhookDelivery.webhook_id == row.id, WebhookDelivery.id <= edge
            )
        )
    if parcel.topic == "test":
        return False
    place = getattr(Webhook, _PLACES[parcel.topic])
    here = (Webhook.id == row.id, place == parcel.after)
    if outcome.ok:
        values: dict[str, Any] = {
            _PLACES[parcel.topic]: parcel.last, "failures": 0, "failing_ms": None,
            "next_ms": None, "tried_topic": None, "tried_last": None,
        }  # fmt: skip
    else:
        failures, since = row.failures + 1, row.failing_ms or now_ms
        over = now_ms - since >= GIVE_UP_MS and failures >= GIVE_UP_AFTER
        values = {
            "failures": failures, "failing_ms": since,
            "next_ms": now_ms + pause_ms(failures, chance),
            "tried_topic": parcel.topic, "tried_last": parcel.last,
            "disabled_ms": now_ms if over else None,
        }  # fmt: skip
    changed = session.execute(
        update(Webhook)
        .where(*here)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return outcome.ok and bool(changed.rowcount)  # type: ignore[attr-defined]

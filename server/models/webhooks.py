"""Where the township sends what happens, and who of the server's processes sends it."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id, OfTownship


class Webhook(OfTownship, Base):
    """A receiver. It has its own place in each list, the id of the last row that it took.

    `topics` are words of `server.services.programs.webhooks.TOPICS` with blanks between them.
    `secret` is sealed (`server.services.programs.webhooks.seal`). While it fails: `failures` in a
    row since `failing_ms`, the next try at `next_ms`, of the same rows of `tried_topic`, up to
    `tried_last`.
    """

    __tablename__ = "webhook"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    url: Mapped[str] = mapped_column(String(300))
    topics: Mapped[str] = mapped_column(String(60))
    secret: Mapped[bytes] = mapped_column(LargeBinary(120))
    by: Mapped[str] = mapped_column(String(60))
    created_ms: Mapped[int] = mapped_column(Big)
    record_after: Mapped[int] = mapped_column(Big)
    finding_after: Mapped[int] = mapped_column(Big)
    step_after: Mapped[int] = mapped_column(Big)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    failing_ms: Mapped[int | None] = mapped_column(Big)
    next_ms: Mapped[int | None] = mapped_column(Big)
    tried_topic: Mapped[str | None] = mapped_column(String(12))
    tried_last: Mapped[int | None] = mapped_column(Big)
    disabled_ms: Mapped[int | None] = mapped_column(Big)


class WebhookDelivery(OfTownship, Base):
    """One try of the last few: what it carried and what came of it; neither address nor secret."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("ix_webhook_delivery_webhook_id", "webhook_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id"))
    at_ms: Mapped[int] = mapped_column(Big)
    topic: Mapped[str] = mapped_column(String(12))
    items: Mapped[int] = mapped_column(Integer)
    ok: Mapped[bool] = mapped_column(Boolean)
    #: The receiver's status, None where it gave none; `trouble` is a word of
    #: `services.programs.outgoing`.
    status: Mapped[int | None] = mapped_column(Integer)
    trouble: Mapped[str] = mapped_column(String(12))
    took_ms: Mapped[int] = mapped_column(Integer)


class Lease(Base):
    """Work that one process of all does: `holder` until `until_ms`, unless it renews."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    holder: Mapped[str] = mapped_column(String(40))
    until_ms: Mapped[int] = mapped_column(Big)

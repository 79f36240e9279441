"""What kiosks sent, and who looked at what was set aside of it. All append-only: nothing here is
ever updated or deleted."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id, OfTownship

#: The day in Asia/Shanghai of a record's best guess, days since 1970, as both databases compute it.
DAY_NUMBER = "(at_ms + 28800000) / 86400000"
AHEAD = "at_ms > received_ms"
#: What may be of another day than that of its best guess: class C, and a bracket over midnight.
REACHES = (
    "(cls = 'C' OR cls = 'B' AND "
    "(earliest_ms + 28800000) / 86400000 <> (latest_ms + 28800000) / 86400000)"
)


class EpochRow(OfTownship, Base):
    """An epoch of a kiosk's chain and the head that its genesis cites (empty for the first)."""

    __tablename__ = "epoch"
    __table_args__ = (UniqueConstraint("device_id", "epoch"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    epoch: Mapped[int] = mapped_column(Big)
    cites: Mapped[bytes] = mapped_column(LargeBinary(32))
    #: False where the cited head was not the server's: records between were lost at both ends.
    follows: Mapped[bool] = mapped_column(Boolean)
    opened_ms: Mapped[int] = mapped_column(Big)


class RecordRow(OfTownship, Base):
    """One record: its exact bytes, the head after it, its fields, and when it truly was.

    `earliest_ms <= at_ms <= latest_ms` and `cls` are `attendance.clock.estimate` at the time of
    arrival. `flags` is a list of words (`server.rules.flags`).
    """

    __tablename__ = "record"
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "seq"),
        # Among those of its kiosk: nobody can take an id away from another one's record, and the
        # index of a batch lies together (docs/performance.md).
        UniqueConstraint("device_id", "record_id"),
        # By day, not by time: what a kiosk brings of a day lies together, behind what came before
        # (docs/performance.md). Asked for by `server.services.records.recordrows.between`.
        Index("ix_record_day", "township_id", text(f"({DAY_NUMBER})")),
        # Those that came before their time, for whom a page changes when it comes.
        Index(
            "ix_record_ahead",
            "township_id",
            "at_ms",
            sqlite_where=text(AHEAD),
            postgresql_where=text(AHEAD),
        ),
        Index("ix_record_who", "township_id", "official", "at_ms"),
        Index(
            "ix_record_doubtful",
            "township_id",
            "latest_ms",
            sqlite_where=text(REACHES),
            postgresql_where=text(REACHES),
        ),
        Index(
            "ix_record_amends",
            "township_id",
            "at_ms",
            sqlite_where=text("supersedes IS NOT NULL"),
            postgresql_where=text("supersedes IS NOT NULL"),
        ),
        Index(
            "ix_record_erasure",
            "township_id",
            sqlite_where=text("kind = 'erasure'"),
            postgresql_where=text("kind = 'erasure'"),
        ),
    )

    # Not of OfTownship: its own index would double the two above.
    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    epoch: Mapped[int] = mapped_column(Big)
    seq: Mapped[int] = mapped_column(Big)
    record_id: Mapped[str] = mapped_column(String(36))
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    head: Mapped[bytes] = mapped_column(LargeBinary(32))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    official: Mapped[str | None] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(10))
    status: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(64))
    until_ms: Mapped[int | None] = mapped_column(Big)
    method: Mapped[str | None] = mapped_column(String(10))
    verified: Mapped[bool] = mapped_column(Boolean)
    score: Mapped[float | None] = mapped_column(Float)
    margin: Mapped[float | None] = mapped_column(Float)
    liveness: Mapped[str | None] = mapped_column(String(64))
    supersedes: Mapped[str | None] = mapped_column(String(36))
    wall_ms: Mapped[int] = mapped_column(Big)
    earliest_ms: Mapped[int] = mapped_column(Big)
    latest_ms: Mapped[int] = mapped_column(Big)
    at_ms: Mapped[int] = mapped_column(Big)
    cls: Mapped[str] = mapped_column(String(1))
    flags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    received_ms: Mapped[int] = mapped_column(Big)


class RejectedRecord(OfTownship, Base):
    """The visible pile: bytes in a kiosk's chain that are not a record we can take, and why."""

    __tablename__ = "rejected_record"
    # No number comes again once pruning took the newest: it would lie below the signed limit.
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "seq"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    epoch: Mapped[int] = mapped_column(Big)
    seq: Mapped[int] = mapped_column(Big)
    record_id: Mapped[str | None] = mapped_column(String(36))
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    head: Mapped[bytes] = mapped_column(LargeBinary(32))
    why: Mapped[str] = mapped_column(Text)
    received_ms: Mapped[int] = mapped_column(Big)


class Quarantined(OfTownship, Base):
    """Stored and uncounted: the other side of a fork, and what a revoked device sent.

    `why` is `fork` or `revoked`; `head` is the head after the record in the sender's history.
    """

    __tablename__ = "quarantined"
    # As of `rejected_record`.
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "seq", "head"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    epoch: Mapped[int] = mapped_column(Big)
    seq: Mapped[int] = mapped_column(Big)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    head: Mapped[bytes] = mapped_column(LargeBinary(32))
    why: Mapped[str] = mapped_column(String(10))
    received_ms: Mapped[int] = mapped_column(Big)


class ApartReview(OfTownship, Base):
    """That a person looked at one record set aside: of `quarantined` or of `rejected_record`.

    It names the record by its place and the head after it, since its own row goes with time. `by`
    is the account's name, `by_official` the code of the cadre who owns it, where they are one.
    """

    __tablename__ = "apart_review"
    __table_args__ = (UniqueConstraint("device_id", "epoch", "seq", "head"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    epoch: Mapped[int] = mapped_column(Big)
    seq: Mapped[int] = mapped_column(Big)
    head: Mapped[bytes] = mapped_column(LargeBinary(32))
    note: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)

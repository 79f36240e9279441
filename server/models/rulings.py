"""What people decide about the evidence: corrections, findings, spot checks, signed months.

All append-only. Wherever somebody acts, `by` is the account's name and `by_official` the code of
the cadre who owns it, where they are one.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id, OfTownship
from server.models.rosters import Day


class Attachment(OfTownship, Base):
    """A picture, re-encoded here, or a PDF: at most `server.services.attachments.MAX_BYTES`."""

    __tablename__ = "attachment"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    mime: Mapped[str] = mapped_column(String(40))
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class Correction(OfTownship, Base):
    """A correction that somebody proposes for one official's day.

    `kind` is one of `server.rules.corrections.KINDS`. `record_id` is the record it is about,
    `site_id`, `start_ms` and `end_ms` the presence that it states, `really` the code of who was
    mistaken for `official`, `undoes` the correction that it takes back.
    """

    __tablename__ = "correction"
    __table_args__ = (
        Index("ix_correction_when", "township_id", "day"),
        Index("ix_correction_who", "township_id", "official"),
        Index("ix_correction_undoes", "township_id", "undoes"),
    )

    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official: Mapped[str] = mapped_column(String(32))
    day: Mapped[str] = mapped_column(Day)
    kind: Mapped[str] = mapped_column(String(12))
    record_id: Mapped[str | None] = mapped_column(String(36))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    start_ms: Mapped[int | None] = mapped_column(Big)
    end_ms: Mapped[int | None] = mapped_column(Big)
    really: Mapped[str | None] = mapped_column(String(32))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("correction.id"))
    reason: Mapped[str] = mapped_column(String(500))
    attachment_id: Mapped[int | None] = mapped_column(ForeignKey("attachment.id"))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class CorrectionDecision(OfTownship, Base):
    """What another person decided about a correction, once."""

    __tablename__ = "correction_decision"
    __table_args__ = (
        UniqueConstraint("correction_id"),
        Index("ix_correction_decision_when", "township_id", "at_ms"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    correction_id: Mapped[int] = mapped_column(ForeignKey("correction.id"))
    approved: Mapped[bool] = mapped_column(Boolean)
    note: Mapped[str] = mapped_column(String(500), default="")
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class LeaveStep(OfTownship, Base):
    """What happened to leave besides a leader's decision.

    `step` is `county_approved` or `county_refused` (with the number of the county's paper in
    `reference`) or `withdrawn` (an import that was undone, or leave not taken).
    """

    __tablename__ = "leave_step"
    __table_args__ = (
        Index("ix_leave_step_of", "township_id", "leave_id"),
        Index("ix_leave_step_when", "township_id", "at_ms"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    leave_id: Mapped[int] = mapped_column(ForeignKey("leave.id"), index=True)
    step: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str] = mapped_column(String(120), default="")
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class SpotDraw(OfTownship, Base):
    """A random draw of sites and people: `seed` and `population` give `drawn` again.

    `population` and `drawn` are JSON (`server.rules.draw`); `seed` is hexadecimal.
    """

    __tablename__ = "spot_draw"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    day: Mapped[str] = mapped_column(Day)
    seed: Mapped[str] = mapped_column(String(64))
    population: Mapped[str] = mapped_column(Text)
    drawn: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class SpotCheck(OfTownship, Base):
    """What an inspector saw of one official who was drawn. `seen_ms` is when they looked.

    `seen` is `there`, `not_there`, `elsewhere` or `excused`.
    """

    __tablename__ = "spot_check"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    draw_id: Mapped[int] = mapped_column(ForeignKey("spot_draw.id"), index=True)
    official: Mapped[str] = mapped_column(String(32))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    seen: Mapped[str] = mapped_column(String(12))
    seen_ms: Mapped[int] = mapped_column(Big)
    text: Mapped[str] = mapped_column(String(500), default="")
    attachment_id: Mapped[int | None] = mapped_column(ForeignKey("attachment.id"))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class Finding(OfTownship, Base):
    """Something that an inspector wants answered. `kind` is one of `server.rules.findings.KINDS`.

    One that the server opened by itself is `by` `device:ID` and says so in Chinese and, in a second
    line, in English (`server.services.rulings.alarms`). Its state is that of its last event.
    """

    __tablename__ = "finding"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    day: Mapped[str] = mapped_column(Day)
    official: Mapped[str | None] = mapped_column(String(32))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    record_id: Mapped[str | None] = mapped_column(String(36))
    spot_check_id: Mapped[int | None] = mapped_column(ForeignKey("spot_check.id"))
    correction_id: Mapped[int | None] = mapped_column(ForeignKey("correction.id"))
    text: Mapped[str] = mapped_column(String(1000))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class FindingEvent(OfTownship, Base):
    """A step of a finding: `what` is `answered`, `closed`, `reopened` or `note`."""

    __tablename__ = "finding_event"
    # All that `server.services.rulings.findings` asks to tell the states: no text is read for it.
    __table_args__ = (
        Index("ix_finding_event_state", "township_id", "finding_id", "what", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("finding.id"), index=True)
    what: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(String(1000))
    attachment_id: Mapped[int | None] = mapped_column(ForeignKey("attachment.id"))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class MonthSignature(OfTownship, Base):
    """A month that was signed: the statement as exact bytes, and its SHA-256 in hexadecimal.

    `month` is `2026-11`. `people`, `days` and `fen` (hundredths of a yuan, what the month pays) are
    sums of the statement.
    """

    __tablename__ = "month_signature"
    __table_args__ = (UniqueConstraint("township_id", "month"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    statement: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    sha256: Mapped[str] = mapped_column(String(64))
    people: Mapped[int] = mapped_column(Integer)
    days: Mapped[int] = mapped_column(Integer)
    fen: Mapped[int] = mapped_column(Big)
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)

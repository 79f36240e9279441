"""Shifts, who is expected when, the holiday table and the township's rules by date.

Days are ISO dates of Asia/Shanghai (`2026-11-25`), which sort as text. Nothing that a signed month
rests on is edited: patterns end and begin, everything else is appended and the latest counts.
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

#: An ISO date.
Day = String(10)


class Shift(OfTownship, Base):
    """Append-only: working hours. Minutes count from midnight of the shift's day.

    `end_min` above 1440 ends on the next day: the whole night belongs to the day it began. A visit
    later than `start_min + late_min` is late, an end before `end_min - early_min` early. `visits`
    is how often somebody must come in one day. A shift is never edited: another is made, and
    patterns name that one from a day on.
    """

    __tablename__ = "shift"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    start_min: Mapped[int] = mapped_column(Integer)
    end_min: Mapped[int] = mapped_column(Integer)
    late_min: Mapped[int] = mapped_column(Integer, default=0)
    early_min: Mapped[int] = mapped_column(Integer, default=0)
    visits: Mapped[int] = mapped_column(Integer, default=1)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class GroupSite(OfTownship, Base):
    """A site that a work group answers for."""

    __tablename__ = "group_site"
    __table_args__ = (UniqueConstraint("work_group_id", "site_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    work_group_id: Mapped[int] = mapped_column(ForeignKey("work_group.id"))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)


class PastExpectation(OfTownship, Base):
    """Append-only: a weekly pattern that no longer holds; it did until `last_day`, included."""

    __tablename__ = "past_expectation"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official_id: Mapped[int] = mapped_column(ForeignKey("official.id"), index=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    weekdays: Mapped[int] = mapped_column(Integer)
    shift_id: Mapped[int | None] = mapped_column(ForeignKey("shift.id"))
    first_day: Mapped[str | None] = mapped_column(Day)
    last_day: Mapped[str] = mapped_column(Day, index=True)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class RosterDay(OfTownship, Base):
    """Append-only: one official's dated exception; the latest of a day counts.

    `what` is `at` (expected at `site_id`, instead of the pattern), `off` (nowhere) or `pattern`
    (as the pattern says: takes an exception back).
    """

    __tablename__ = "roster_day"
    __table_args__ = (Index("ix_roster_day_when", "township_id", "day"),)

    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official_id: Mapped[int] = mapped_column(ForeignKey("official.id"))
    day: Mapped[str] = mapped_column(Day)
    what: Mapped[str] = mapped_column(String(10))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    shift_id: Mapped[int | None] = mapped_column(ForeignKey("shift.id"))
    reason: Mapped[str] = mapped_column(String(200), default="")
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("import_batch.id"))
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class CalendarDay(OfTownship, Base):
    """Append-only: a day that the clerk entered beside `chinese-calendar`; the latest counts.

    `working` is None where an entry is taken back.
    """

    __tablename__ = "calendar_day"
    __table_args__ = (Index("ix_calendar_day_when", "township_id", "day"),)

    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    day: Mapped[str] = mapped_column(Day)
    working: Mapped[bool | None] = mapped_column(Boolean)
    name: Mapped[str] = mapped_column(String(60), default="")
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class TownshipRule(OfTownship, Base):
    """Append-only: a rule of the township in force from `first_day` until a later one.

    `kind` and the JSON of `value` are those of `server.rules.terms`; of two that begin on the same
    day the later row counts.
    """

    __tablename__ = "township_rule"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    first_day: Mapped[str] = mapped_column(Day)
    value: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(String(200), default="")
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class TermProposal(OfTownship, Base):
    """Append-only: a rule of the township that a clerk proposes and another person decides."""

    __tablename__ = "term_proposal"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    first_day: Mapped[str] = mapped_column(Day)
    value: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(String(200), default="")
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class TermDecision(OfTownship, Base):
    """Append-only: what was decided about a proposed rule, once; `rule_id` where it became one."""

    __tablename__ = "term_decision"
    __table_args__ = (UniqueConstraint("proposal_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("term_proposal.id"))
    approved: Mapped[bool] = mapped_column(Boolean)
    rule_id: Mapped[int | None] = mapped_column(ForeignKey("township_rule.id"))
    by: Mapped[str] = mapped_column(String(60))
    by_official: Mapped[str | None] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)


class ImportDraft(OfTownship, Base):
    """A table that somebody sent and has not applied: gone when it is, or after a day."""

    __tablename__ = "import_draft"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    token: Mapped[str] = mapped_column(String(43), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(120))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    at_ms: Mapped[int] = mapped_column(Big)


class ImportBatch(OfTownship, Base):
    """Append-only: a table that was imported, or the undoing of one (`undoes`).

    `kind` is `officials`, `rosters` or `leave`; `sha256` is of the file, hexadecimal; `body` is the
    JSON of what was written and, for what is edited in place, of what stood there before.
    """

    __tablename__ = "import_batch"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(120))
    sha256: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int] = mapped_column(Integer)
    body: Mapped[str] = mapped_column(Text)
    undoes: Mapped[int | None] = mapped_column(ForeignKey("import_batch.id"))
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)

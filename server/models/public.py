"""What the township shows to everybody, its duty roster, and the visits it receives."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id, OfTownship
from server.models.rosters import Day


class PublicChoice(OfTownship, Base):
    """Append-only: what the township decided to show; the newest row counts.

    `fields` is the JSON list of fields of `server.services.public.publication.FIELDS`. `beyond`
    says that the pages may leave the township's own network: the first such row names who signed
    the impact assessment, when, and holds the signed paper (`assessment_id`).
    """

    __tablename__ = "public_choice"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    fields: Mapped[str] = mapped_column(Text)
    beyond: Mapped[bool] = mapped_column(Boolean)
    assessment_id: Mapped[int | None] = mapped_column(ForeignKey("attachment.id"))
    signer: Mapped[str] = mapped_column(String(60), default="")
    signed_day: Mapped[str | None] = mapped_column(Day)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class Duty(OfTownship, Base):
    """Append-only: who receives visitors on a day (当日接访); the newest row of a post counts.

    `post` is `leader`, `first` or `second` (the two receptionists); without `official` the post is
    empty again.
    """

    __tablename__ = "duty"
    __table_args__ = (Index("ix_duty_when", "township_id", "day"),)

    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    day: Mapped[str] = mapped_column(Day)
    post: Mapped[str] = mapped_column(String(10))
    official: Mapped[str | None] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class Visit(OfTownship, Base):
    """Append-only: a visitor's matter, by a number that they can ask about.

    `visitor`, `phone` and `matter` are never public; `due_day` is the deadline that was promised.
    """

    __tablename__ = "visit"
    __table_args__ = (UniqueConstraint("number"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    number: Mapped[str] = mapped_column(String(20))
    visitor: Mapped[str] = mapped_column(String(60))
    phone: Mapped[str] = mapped_column(String(40), default="")
    matter: Mapped[str] = mapped_column(String(1000))
    due_day: Mapped[str] = mapped_column(Day)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class VisitStep(OfTownship, Base):
    """Append-only: what became of a visit; the newest step counts.

    `state` is `working`, `done` or `passed_on`; `answer` is what the visitor may read, `note` what
    stays inside; `official` is who looks after it.
    """

    __tablename__ = "visit_step"
    __table_args__ = (Index("ix_visit_step_of", "township_id", "visit_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    visit_id: Mapped[int] = mapped_column(ForeignKey("visit.id"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    official: Mapped[str | None] = mapped_column(String(32))
    answer: Mapped[str] = mapped_column(String(1000), default="")
    note: Mapped[str] = mapped_column(String(1000), default="")
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)

"""Townships, their sites and work groups, the officials and where they are expected."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models.base import Base, Big, Id, OfTownship
from server.rules.calendar import MONDAY_TO_FRIDAY


class Township(Base):
    """A township. `roster_version` rises whenever people, places or portraits change."""

    __tablename__ = "township"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    slug: Mapped[str] = mapped_column(String(60), unique=True)
    roster_version: Mapped[int] = mapped_column(Big, default=0)
    created_ms: Mapped[int] = mapped_column(Big)


class Site(OfTownship, Base):
    """The township office or a village: `kind` is `office` or `village`."""

    __tablename__ = "site"
    __table_args__ = (UniqueConstraint("township_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(10))


class WorkGroup(OfTownship, Base):
    """A work group; the public board is ordered by it.

    `leader` and `deputy` are codes of officials. `at_least` of its members are to be in its sites
    on every working day.
    """

    __tablename__ = "work_group"
    __table_args__ = (UniqueConstraint("township_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    leader: Mapped[str | None] = mapped_column(String(32))
    deputy: Mapped[str | None] = mapped_column(String(32))
    at_least: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class Official(OfTownship, Base):
    """A cadre. `official` is the code in records, never public; `portrait` a file's token.

    `households` is how many they look after, None where nobody has said. `page` names their public
    page on plates that hang for years: it says nothing, and never changes.
    """

    __tablename__ = "official"
    __table_args__ = (UniqueConstraint("township_id", "official"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(60))
    title: Mapped[str] = mapped_column(String(200), default="")
    phone: Mapped[str] = mapped_column(String(40), default="")
    duties: Mapped[str] = mapped_column(String(200), default="", server_default="")
    households: Mapped[int | None] = mapped_column(Integer)
    work_group_id: Mapped[int | None] = mapped_column(ForeignKey("work_group.id"))
    portrait: Mapped[str | None] = mapped_column(String(64), index=True)
    page: Mapped[str | None] = mapped_column(String(16), unique=True, index=True)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_ms: Mapped[int] = mapped_column(Big)
    updated_ms: Mapped[int] = mapped_column(Big)

    work_group: Mapped[WorkGroup | None] = relationship(lazy="raise")


class Expectation(OfTownship, Base):
    """The weekly pattern in force: an official is expected at a site on the weekdays of a mask.

    It holds from `first_day` (an ISO date; None: since ever). One that ends moves to
    `PastExpectation`. Without a shift the township's usual one for that kind of site counts.
    """

    __tablename__ = "expectation"
    __table_args__ = (UniqueConstraint("official_id", "site_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official_id: Mapped[int] = mapped_column(ForeignKey("official.id"))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    weekdays: Mapped[int] = mapped_column(Integer, default=MONDAY_TO_FRIDAY)
    shift_id: Mapped[int | None] = mapped_column(ForeignKey("shift.id"))
    first_day: Mapped[str | None] = mapped_column(String(10))

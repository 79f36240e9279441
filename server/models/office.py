"""Accounts, leave and its decisions, and the trail of who looked at or changed what."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Boolean, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models.base import Base, Big, Id, OfTownship
from server.models.places import Township


class Role(StrEnum):
    """What an account may do (product.md, "The people")."""

    ADMIN = "admin"
    CLERK = "clerk"
    INSPECTOR = "inspector"
    LEADER = "leader"
    #: Of the county: reads every township, changes nothing.
    AUDITOR = "auditor"


#: The roles that a township's own people have.
TOWNSHIP_ROLES = (Role.ADMIN, Role.CLERK, Role.INSPECTOR, Role.LEADER)


class User(OfTownship, Base):
    """An account. `official` is the code of the cadre who owns it, where they are one."""

    __tablename__ = "user_account"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(10))
    official: Mapped[str | None] = mapped_column(String(32))
    must_change: Mapped[bool] = mapped_column(Boolean, default=False)
    #: When the one-time password was made; None for one of the owner's own.
    one_time_ms: Mapped[int | None] = mapped_column(Big)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_ms: Mapped[int] = mapped_column(Big)

    township: Mapped[Township] = relationship(lazy="joined")


class LeaveRow(OfTownship, Base):
    """Append-only: leave or a trip asked for, from `start_ms` until before `end_ms`.

    `status` is `on_leave` or `business_trip`.
    """

    __tablename__ = "leave"
    __table_args__ = (
        Index("ix_leave_when", "township_id", "end_ms", "start_ms"),
        Index("ix_leave_begins", "township_id", "start_ms"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official: Mapped[str] = mapped_column(String(32), index=True)
    status: Mapped[str] = mapped_column(String(20))
    start_ms: Mapped[int] = mapped_column(Big)
    end_ms: Mapped[int] = mapped_column(Big)
    reason: Mapped[str] = mapped_column(String(200), default="")
    asked_by: Mapped[str] = mapped_column(String(60))
    asked_ms: Mapped[int] = mapped_column(Big)


class LeaveDecision(OfTownship, Base):
    """Append-only: what a leader decided; the latest decision of a leave counts."""

    __tablename__ = "leave_decision"
    __table_args__ = (
        Index("ix_leave_decision_of", "township_id", "leave_id"),
        Index("ix_leave_decision_when", "township_id", "at_ms"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    leave_id: Mapped[int] = mapped_column(ForeignKey("leave.id"), index=True)
    approved: Mapped[bool] = mapped_column(Boolean)
    by: Mapped[str] = mapped_column(String(60))
    at_ms: Mapped[int] = mapped_column(Big)


class AuditEntry(OfTownship, Base):
    """Append-only: who did or looked at what, when and from where. `who` is empty for a command."""

    __tablename__ = "audit_entry"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at_ms: Mapped[int] = mapped_column(Big, index=True)
    who: Mapped[str] = mapped_column(String(60), default="")
    what: Mapped[str] = mapped_column(String(40))
    target: Mapped[str] = mapped_column(Text, default="")
    remote: Mapped[str] = mapped_column(String(64), default="")

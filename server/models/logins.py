"""Who is signed in, failed tries, and the second step."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models.base import Base, Big, Id
from server.models.office import User


class LoginSession(Base):
    """Somebody who is signed in; the row is gone once they are not (`services.access.sessions`).

    `digest` is the SHA-256 of the token in the cookie, `agent` a few words about the browser.
    `stage` says how far: `waiting` for the code, by `password` alone, or by a `code` too.
    """

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_ms: Mapped[int] = mapped_column(Big)
    seen_ms: Mapped[int] = mapped_column(Big)
    remote: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(60), default="")
    stage: Mapped[str] = mapped_column(String(10), server_default="password")
    #: The township that a county auditor chose.
    looks_at: Mapped[int | None] = mapped_column(Big)

    user: Mapped[User] = relationship(lazy="joined")


class LoginThrottle(Base):
    """Failed logins by name, known or not, so that a lock tells nobody which names exist."""

    __tablename__ = "login_throttle"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    failed: Mapped[int] = mapped_column(Integer, default=0)
    last_ms: Mapped[int] = mapped_column(Big, default=0)
    locked_until_ms: Mapped[int] = mapped_column(Big, default=0)


class SecondFactor(Base):
    """The second step of an account (`services.access.second`), in force where `sealed` is there.

    `sealed` and `fresh` are secrets under the server's key, the latter one that is being set up;
    `last_step` is the newest 30-second step whose code was taken: none is taken twice.
    """

    __tablename__ = "second_factor"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("user_account.id"), primary_key=True, autoincrement=False
    )
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(Big, default=0)
    since_ms: Mapped[int | None] = mapped_column(Big)
    fresh: Mapped[bytes | None] = mapped_column(LargeBinary)
    fresh_ms: Mapped[int | None] = mapped_column(Big)


class RecoveryCode(Base):
    """One of the codes for whoever lost the telephone, as a keyed hash."""

    __tablename__ = "recovery_code"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    used_ms: Mapped[int | None] = mapped_column(Big)

"""Tokens by which other programs of the township read what its desk reads."""

from __future__ import annotations

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id, OfTownship


class ApiToken(OfTownship, Base):
    """A token: only the SHA-256 of it is kept.

    `scopes` are words of `server.services.access.tokens.SCOPES` with blanks between them.
    """

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[str] = mapped_column(String(200))
    by: Mapped[str] = mapped_column(String(60))
    created_ms: Mapped[int] = mapped_column(Big)
    expires_ms: Mapped[int] = mapped_column(Big)
    used_ms: Mapped[int | None] = mapped_column(Big)
    revoked_ms: Mapped[int | None] = mapped_column(Big)

"""Sealed proposals of template pictures, on their way from a kiosk to the desk."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, OfTownship


class Proposal(OfTownship, Base):
    """One package, as the exact bytes that the kiosk sent; only the desk can open it.

    Passing through, so not append-only: `package` is gone once the desk took it, the whole row when
    the consent is withdrawn, and after 30 days. `decided` is None while nobody decided; what was
    decided, and by whom, stays in the trail.
    """

    __tablename__ = "proposal"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    official: Mapped[str] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)
    received_ms: Mapped[int] = mapped_column(Big)
    package: Mapped[bytes | None] = mapped_column(LargeBinary)
    decided: Mapped[str | None] = mapped_column(String(10))

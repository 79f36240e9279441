"""From where the evidence begins since old rows were removed. Themselves append-only."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id


class PrunePoint(Base):
    """The server's signed word that what checkpoint `checkpoint_id` closed may be gone.

    `body` is the exact JSON of `server.services.evidence.retention.Point`, which the signature is
    over.
    """

    __tablename__ = "prune_point"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoint.id"))
    at_ms: Mapped[int] = mapped_column(Big)
    body: Mapped[str] = mapped_column(Text)
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class PruneLimit(Base):
    """The highest row id that may be gone from a table: what the triggers let pass.

    Only a signed point makes a limit valid; `verify` names one that stands in none.
    """

    __tablename__ = "prune_limit"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    point_id: Mapped[int] = mapped_column(ForeignKey("prune_point.id"))
    table_name: Mapped[str] = mapped_column(String(40), index=True)
    last_id: Mapped[int] = mapped_column(Big)

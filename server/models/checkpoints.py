"""Signed checkpoints over all append-only tables. Themselves append-only, and of no township."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big, Id


class Checkpoint(Base):
    """The tree's size and root (RFC 6962) at a moment, signed by the server.

    `id` counts from 1 without a hole. `frontier` holds the roots of the perfect subtrees, largest
    first, 32 bytes each: from there the next checkpoint goes on without reading old rows.
    """

    __tablename__ = "checkpoint"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(Big)
    size: Mapped[int] = mapped_column(Big)
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    frontier: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class CheckpointLeaves(Base):
    """The leaves that a checkpoint added for one table: 8 bytes of row id, 32 of hash, repeated.

    They name the row that was changed, where a root alone would say that some row was. `scheme` is
    the number of the list of columns that was hashed (`server.services.evidence.protected`). The
    order of `id` is the order in the tree.
    """

    __tablename__ = "checkpoint_leaves"
    # Asked for each table's end, beside blobs.
    __table_args__ = (Index("ix_checkpoint_leaves_last", "table_name", "last_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoint.id"), index=True)
    table_name: Mapped[str] = mapped_column(String(40))
    scheme: Mapped[int] = mapped_column(Integer)
    last_id: Mapped[int] = mapped_column(Big)
    leaves: Mapped[bytes] = mapped_column(LargeBinary)

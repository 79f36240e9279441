"""The server's signatures on rows that it wrote. Themselves append-only, and of no township."""

from __future__ import annotations

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, Big


class RowSeal(Base):
    """A signature over row `id` of the table `table_name` (`server.services.evidence.seals`).

    Somebody who can write the database and has not the server's key cannot make one. Since the
    triggers ask for a column of that name, the row's number is called `id`.
    """

    __tablename__ = "row_seal"

    table_name: Mapped[str] = mapped_column(String(40), primary_key=True)
    id: Mapped[int] = mapped_column(Big, primary_key=True, autoincrement=False)
    seal: Mapped[bytes] = mapped_column(LargeBinary(64))

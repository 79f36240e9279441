"""What all tables share. Portable SQL only: SQLite for one township, PostgreSQL for a county."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: 64-bit keys; SQLite numbers rows by itself only for the type INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
#: Unix milliseconds, counters, boot clocks.
Big = BigInteger


class Base(DeclarativeBase):
    """Base of all tables; names of constraints are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class OfTownship:
    """Mixin: every row belongs to one township, and every query says which."""

    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"), index=True)

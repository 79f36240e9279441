"""Records that came on a later day than their own are found by when they came

A statement asks what came since a month was signed, and reads no month of records for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0096"
down_revision = "0095"
branch_labels = None
depends_on = None

NAME, TABLE = "ix_record_late", "record"
LATE = sa.text("at_ms < (received_ms + 28800000) / 86400000 * 86400000 - 28800000")


def upgrade() -> None:
    op.create_index(
        NAME, TABLE, ["township_id", "received_ms", "at_ms"], sqlite_where=LATE,
        postgresql_where=LATE,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index(NAME, TABLE)

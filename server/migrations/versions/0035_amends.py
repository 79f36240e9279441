"""An index over the few records that replace another one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0021"
branch_labels = None
depends_on = None

AMENDS = sa.text("supersedes IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_record_amends",
        "record",
        ["township_id", "at_ms"],
        sqlite_where=AMENDS,
        postgresql_where=AMENDS,
    )


def downgrade() -> None:
    op.drop_index("ix_record_amends", "record")

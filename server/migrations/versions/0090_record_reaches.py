"""Records that may be of several days, and a day's decided corrections, are found by index

A kiosk without a clock of its own records between two proofs that may lie days apart: whoever may
have come on a day is neither absent on it nor late by a later record.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0090"
down_revision = "0089"
branch_labels = None
depends_on = None

BEFORE = sa.text("cls = 'C'")
REACHES = sa.text(
    "(cls = 'C' OR cls = 'B' AND "
    "(earliest_ms + 28800000) / 86400000 <> (latest_ms + 28800000) / 86400000)"
)


def upgrade() -> None:
    _again(REACHES)
    op.create_index("ix_correction_decision_when", "correction_decision", ["township_id", "at_ms"])


def downgrade() -> None:
    op.drop_index("ix_correction_decision_when", "correction_decision")
    _again(BEFORE)


def _again(which: sa.TextClause) -> None:
    op.drop_index("ix_record_doubtful", "record")
    op.create_index(
        "ix_record_doubtful", "record", ["township_id", "latest_ms"], sqlite_where=which,
        postgresql_where=which,
    )  # fmt: skip

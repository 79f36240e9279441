"""Records by day instead of by time

A kiosk that was offline sends records of all hours: in an index by time each lies on a page of its
own, by day all of them lie at one place. Of a thousand kiosks' records most of what SQLite wrote
was that index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0073"
down_revision = "0072"
branch_labels = None
depends_on = None

DAY = "((at_ms + 28800000) / 86400000)"
AHEAD = sa.text("at_ms > received_ms")


def upgrade() -> None:
    op.create_index("ix_record_day", "record", ["township_id", sa.text(DAY)])
    op.create_index(
        "ix_record_ahead", "record", ["township_id", "at_ms"], sqlite_where=AHEAD,
        postgresql_where=AHEAD,
    )  # fmt: skip
    op.drop_index("ix_record_when", "record")


def downgrade() -> None:
    op.create_index("ix_record_when", "record", ["township_id", "at_ms"])
    op.drop_index("ix_record_ahead", "record")
    op.drop_index("ix_record_day", "record")

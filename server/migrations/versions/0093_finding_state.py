"""What state findings are in is found from an index, however many steps were taken"""

from __future__ import annotations

from alembic import op

revision = "0093"
down_revision = "0092"
branch_labels = None
depends_on = None

NAME, TABLE = "ix_finding_event_state", "finding_event"


def upgrade() -> None:
    op.create_index(NAME, TABLE, ["township_id", "finding_id", "what", "id"])


def downgrade() -> None:
    op.drop_index(NAME, TABLE)

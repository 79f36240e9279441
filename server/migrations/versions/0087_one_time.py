"""One-time passwords run out: when they were made"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0087"
down_revision = "0074"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user_account", sa.Column("one_time_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("user_account", "one_time_ms")

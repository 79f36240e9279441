"""Which township a county auditor looks at"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("login_session", sa.Column("looks_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("login_session", "looks_at")

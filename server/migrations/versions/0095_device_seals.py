"""Who a device is, and what is concluded from it, is signed by the server that wrote it

What is there already `server.migrate.migrate` seals, once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0095"
down_revision = "0094"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("own_seal", sa.LargeBinary(64), nullable=True))


def downgrade() -> None:
    op.drop_column("device", "own_seal")

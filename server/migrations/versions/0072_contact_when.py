"""Contacts by township and time: one day's are read without the year's"""

from __future__ import annotations

from alembic import op

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_contact_when", "contact", ["township_id", "server_ms", "device_id"])
    op.drop_index("ix_contact_township_id", "contact")


def downgrade() -> None:
    op.create_index("ix_contact_township_id", "contact", ["township_id"])
    op.drop_index("ix_contact_when", "contact")

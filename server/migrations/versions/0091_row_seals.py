"""Rows of decisions, and where each kiosk's chain stands, are signed by the server that writes them

What is there already `server.migrate.migrate` seals, once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0091"
down_revision = "0090"
branch_labels = None
depends_on = None

TABLE = "row_seal"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("table_name", sa.String(40), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seal", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "id", name=op.f("pk_row_seal")),
    )
    for column in (
        sa.Column("sealed_epoch", sa.BigInteger(), nullable=True),
        sa.Column("sealed_seq", sa.BigInteger(), nullable=True),
        sa.Column("seal", sa.LargeBinary(64), nullable=True),
    ):
        op.add_column("device", column)
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {TABLE}_no_{verb.lower()} BEFORE {verb} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
            )
        return
    op.execute(
        f'CREATE TRIGGER {TABLE}_no_change BEFORE UPDATE OR DELETE ON "{TABLE}" '
        "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
    )
    op.execute(
        f'CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON "{TABLE}" '
        "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_append_only()"
    )


def downgrade() -> None:
    for name in ("seal", "sealed_seq", "sealed_epoch"):
        op.drop_column("device", name)
    op.drop_table(TABLE)

"""Append-only tables refuse change; signed checkpoints

A later revision that rebuilds one of these tables (batch mode on SQLite) must make its triggers
again: `quxiang-server verify` names a table without them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "record",
    "rejected_record",
    "quarantined",
    "contact",
    "epoch",
    "leave",
    "leave_decision",
    "audit_entry",
    "withdrawal",
    "checkpoint",
    "checkpoint_leaves",
)


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "checkpoint",
        sa.Column("id", big, autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint")),
    )
    op.create_table(
        "checkpoint_leaves",
        sa.Column("id", big, nullable=False),
        sa.Column("checkpoint_id", big, nullable=False),
        sa.Column("table_name", sa.String(length=40), nullable=False),
        sa.Column("scheme", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_checkpoint_leaves_checkpoint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint_leaves")),
    )
    with op.batch_alter_table("checkpoint_leaves", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_checkpoint_leaves_checkpoint_id"), ["checkpoint_id"], unique=False
        )
    op.add_column("device", sa.Column("settled_epoch", sa.BigInteger(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION quxiang_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
        "USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in TABLES:
        op.execute(
            f'CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
        )
        op.execute(
            f'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_append_only()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            for verb in ("update", "delete"):
                op.execute(f"DROP TRIGGER {table}_no_{verb}")
    else:
        op.execute("DROP FUNCTION quxiang_append_only() CASCADE")
    with op.batch_alter_table("checkpoint_leaves", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_checkpoint_leaves_checkpoint_id"))
    op.drop_column("device", "settled_epoch")
    op.drop_table("checkpoint_leaves")
    op.drop_table("checkpoint")

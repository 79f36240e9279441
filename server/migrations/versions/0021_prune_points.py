"""Old rows may go up to a signed prune point; the triggers let nothing else pass"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0045"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `server.services.evidence.retention.PRUNED` at the time of this revision.
PRUNED = ("record", "rejected_record", "quarantined", "contact", "audit_entry")
NEW = ("prune_point", "prune_limit")
_RAISE = (
    "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END"
)


def upgrade() -> None:
    op.create_table(
        "prune_point",
        sa.Column("id", BIG, nullable=False),
        sa.Column("checkpoint_id", BIG, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_prune_point_checkpoint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prune_point")),
    )
    op.create_table(
        "prune_limit",
        sa.Column("id", BIG, nullable=False),
        sa.Column("point_id", BIG, nullable=False),
        sa.Column("table_name", sa.String(40), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["point_id"], ["prune_point.id"], name=op.f("fk_prune_limit_point_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prune_limit")),
    )
    op.create_index(op.f("ix_prune_limit_table_name"), "prune_limit", ["table_name"])
    for column in (
        sa.Column("pruned_epoch", sa.BigInteger(), nullable=True),
        sa.Column("pruned_seq", sa.BigInteger(), nullable=True),
        sa.Column("pruned_head", sa.LargeBinary(32), nullable=True),
    ):
        op.add_column("device", column)
    if op.get_bind().dialect.name == "sqlite":
        for table in NEW:
            for verb in ("UPDATE", "DELETE"):
                op.execute(_guard(table, verb))
        for table in (*PRUNED, "checkpoint_leaves"):
            op.execute(f"DROP TRIGGER {table}_no_delete")
            op.execute(_guard(table, "DELETE", _unless(table)))
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION quxiang_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "  # noqa: S608
        "BEGIN IF TG_OP = 'DELETE' THEN IF TG_TABLE_NAME = 'checkpoint_leaves' THEN "
        "IF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = OLD.table_name "
        "AND last_id >= OLD.last_id) THEN RETURN OLD; END IF; "
        "ELSIF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = TG_TABLE_NAME "
        f"AND last_id >= OLD.id) THEN RETURN OLD; END IF; END IF; {_RAISE} $$"
    )
    for table in NEW:
        op.execute(
            f'CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
        )
        op.execute(
            f'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_append_only()"
        )


def _guard(table: str, verb: str, unless: str = "") -> str:
    when = f"WHEN {unless} " if unless else ""
    return (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {when}"
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _unless(table: str) -> str:
    name, row = f"'{table}'", "OLD.id"
    if table == "checkpoint_leaves":
        name, row = "OLD.table_name", "OLD.last_id"
    return f"NOT EXISTS (SELECT 1 FROM prune_limit WHERE table_name = {name} AND last_id >= {row})"  # noqa: S608


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in (*PRUNED, "checkpoint_leaves"):
            op.execute(f"DROP TRIGGER {table}_no_delete")
            op.execute(_guard(table, "DELETE"))
    else:
        op.execute(
            "CREATE OR REPLACE FUNCTION quxiang_append_only() RETURNS trigger LANGUAGE plpgsql "
            f"AS $$ BEGIN {_RAISE} $$"
        )
    for name in ("pruned_head", "pruned_seq", "pruned_epoch"):
        op.drop_column("device", name)
    op.drop_table("prune_limit")
    op.drop_table("prune_point")

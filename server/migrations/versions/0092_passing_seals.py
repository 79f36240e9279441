"""Seals of contacts, looks and what was set aside go once a checkpoint has closed their rows

What no checkpoint has closed yet `server.migrate.migrate` seals, once.
"""

from __future__ import annotations

from alembic import op

revision = "0092"
down_revision = "0091"
branch_labels = None
depends_on = None

#: `server.services.evidence.seals.PASSING` at the time of this revision.
PASSING = "'quarantined', 'contact', 'audit_entry'"
_CLOSED = (
    f"OLD.table_name IN ({PASSING}) AND EXISTS (SELECT 1 FROM checkpoint_leaves "  # noqa: S608
    "WHERE table_name = OLD.table_name AND last_id >= OLD.id)"
)


def upgrade() -> None:
    op.create_index("ix_checkpoint_leaves_last", "checkpoint_leaves", ["table_name", "last_id"])
    _guard(_CLOSED)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER row_seal_no_delete")
    else:
        op.execute("DROP TRIGGER row_seal_no_change ON row_seal")
    op.execute(f"DELETE FROM row_seal WHERE table_name IN ({PASSING})")  # noqa: S608
    if op.get_bind().dialect.name != "sqlite":
        op.execute(
            'CREATE TRIGGER row_seal_no_change BEFORE UPDATE OR DELETE ON "row_seal" '
            "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
        )
    _guard("")
    op.drop_index("ix_checkpoint_leaves_last", "checkpoint_leaves")


def _guard(closed: str) -> None:
    """Lets seals go where `closed` holds of them."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER IF EXISTS row_seal_no_delete")
        unless = f"WHEN NOT ({closed}) " if closed else ""
        op.execute(
            f"CREATE TRIGGER row_seal_no_delete BEFORE DELETE ON row_seal {unless}"
            "BEGIN SELECT RAISE(ABORT, 'row_seal is append-only'); END"
        )
        return
    seals = (
        f"ELSIF TG_TABLE_NAME = 'row_seal' THEN IF {closed} THEN RETURN OLD; END IF; "
        if closed
        else ""
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION quxiang_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "  # noqa: S608
        "BEGIN IF TG_OP = 'DELETE' THEN IF TG_TABLE_NAME = 'checkpoint_leaves' THEN "
        "IF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = OLD.table_name "
        f"AND last_id >= OLD.last_id) THEN RETURN OLD; END IF; {seals}"
        "ELSIF EXISTS (SELECT 1 FROM prune_limit WHERE table_name = TG_TABLE_NAME "
        "AND last_id >= OLD.id) THEN RETURN OLD; END IF; END IF; "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
        "USING ERRCODE = 'restrict_violation'; END $$"
    )

"""Rules that are proposed and decided, both append-only; tables sent and not yet applied"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0030"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("term_proposal", "term_decision")


def _table(name: str, *parts: sa.Column | sa.Constraint) -> None:  # type: ignore[type-arg]
    op.create_table(
        name,
        sa.Column("id", BIG, nullable=False),
        *parts,
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("township_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["township_id"], ["township.id"], name=op.f(f"fk_{name}_township_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    op.create_index(op.f(f"ix_{name}_township_id"), name, ["township_id"])


def _text(name: str, length: int, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def upgrade() -> None:
    _table(
        "term_proposal",
        _text("kind", 20),
        _text("first_day", 10),
        sa.Column("value", sa.Text(), nullable=False),
        _text("note", 200),
        _text("by", 60),
        _text("by_official", 32, nullable=True),
    )
    _table(
        "term_decision",
        sa.Column("proposal_id", BIG, nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("rule_id", BIG, nullable=True),
        _text("by", 60),
        _text("by_official", 32, nullable=True),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["term_proposal.id"], name=op.f("fk_term_decision_proposal_id")
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["township_rule.id"], name=op.f("fk_term_decision_rule_id")
        ),
        sa.UniqueConstraint("proposal_id", name=op.f("uq_term_decision_proposal_id")),
    )
    _table(
        "import_draft",
        _text("token", 43),
        sa.Column("user_id", BIG, nullable=False),
        _text("kind", 10),
        _text("name", 120),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_import_draft_user_id")
        ),
        sa.UniqueConstraint("token", name=op.f("uq_import_draft_token")),
    )
    for table in TABLES:
        if op.get_bind().dialect.name == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
            continue
        op.execute(
            f'CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
        )
        op.execute(
            f'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_append_only()"
        )


def downgrade() -> None:
    for table in ("import_draft", *reversed(TABLES)):
        op.drop_table(table)

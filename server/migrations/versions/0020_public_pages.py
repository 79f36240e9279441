"""What is public, the duty roster and visits; all of it append-only"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("public_choice", "duty", "visit", "visit_step")


def _table(name: str, *parts: sa.Column | sa.Constraint) -> None:  # type: ignore[type-arg]
    op.create_table(
        name,
        sa.Column("id", BIG, nullable=False),
        *parts,
        sa.Column("by", sa.String(60), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("township_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["township_id"], ["township.id"], name=op.f(f"fk_{name}_township_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    if name != "duty":
        op.create_index(op.f(f"ix_{name}_township_id"), name, ["township_id"])


def _text(name: str, length: int, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def upgrade() -> None:
    _table(
        "public_choice",
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("beyond", sa.Boolean(), nullable=False),
        sa.Column("assessment_id", BIG, nullable=True),
        _text("signer", 60),
        _text("signed_day", 10, nullable=True),
        sa.ForeignKeyConstraint(
            ["assessment_id"], ["attachment.id"], name=op.f("fk_public_choice_assessment_id")
        ),
    )
    _table("duty", _text("day", 10), _text("post", 10), _text("official", 32, nullable=True))
    op.create_index("ix_duty_when", "duty", ["township_id", "day"])
    _table(
        "visit",
        _text("number", 20),
        _text("visitor", 60),
        _text("phone", 40),
        _text("matter", 1000),
        _text("due_day", 10),
        sa.UniqueConstraint("number", name=op.f("uq_visit_number")),
    )
    _table(
        "visit_step",
        sa.Column("visit_id", BIG, nullable=False),
        _text("state", 10),
        _text("official", 32, nullable=True),
        _text("answer", 1000),
        _text("note", 1000),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"], name=op.f("fk_visit_step_visit_id")),
    )
    op.create_index(op.f("ix_visit_step_visit_id"), "visit_step", ["visit_id"])
    op.add_column("official", _text("page", 16, nullable=True))
    op.create_index(op.f("ix_official_page"), "official", ["page"], unique=True)
    op.create_index(op.f("ix_official_portrait"), "official", ["portrait"])
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
    op.drop_index(op.f("ix_official_portrait"), "official")
    op.drop_index(op.f("ix_official_page"), "official")
    op.drop_column("official", "page")
    for table in reversed(TABLES):
        op.drop_table(table)

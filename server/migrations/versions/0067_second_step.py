"""A second step at sign-in for those who approve

A township that exists already gets thirty days, in which its rules can say otherwise; and whoever
has no second step by then sets one up at the next sign-in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
GRACE = timedelta(30)


def upgrade() -> None:
    op.create_table(
        "second_factor",
        sa.Column("user_id", BIG, autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=True),
        sa.Column("fresh", sa.LargeBinary(), nullable=True),
        sa.Column("fresh_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_second_factor_user_id")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factor")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", BIG, nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_recovery_code_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
    )
    op.create_index(op.f("ix_recovery_code_user_id"), "recovery_code", ["user_id"])
    op.add_column(
        "login_session",
        sa.Column("stage", sa.String(10), nullable=False, server_default="password"),
    )
    now = datetime.now(UTC)
    op.get_bind().execute(
        sa.text(
            "INSERT INTO township_rule (township_id, kind, first_day, value, note, by, at_ms) "
            "SELECT id, 'second_step', :day, :value, :note, 'command', :at FROM township"
        ),
        {
            "day": (now + timedelta(hours=8) + GRACE).date().isoformat(),
            "value": '{"required":true}',
            "note": "升级后 30 天",
            "at": int(now.timestamp() * 1000),
        },
    )


def downgrade() -> None:
    op.drop_column("login_session", "stage")
    op.drop_table("recovery_code")
    op.drop_table("second_factor")

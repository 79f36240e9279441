"""Records set aside are reviewed, append-only; a kiosk says from when on days wait for it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0089"
down_revision = "0088"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLE = "apart_review"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", BIG, nullable=False),
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("by", sa.String(60), nullable=False),
        sa.Column("by_official", sa.String(32), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("township_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["township_id"], ["township.id"], name=op.f(f"fk_{TABLE}_township_id")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f(f"fk_{TABLE}_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint(
            "device_id", "epoch", "seq", "head", name=op.f(f"uq_{TABLE}_device_id_epoch_seq_head")
        ),
    )
    op.create_index(op.f(f"ix_{TABLE}_township_id"), TABLE, ["township_id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {TABLE}_no_{verb.lower()} BEFORE {verb} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
            )
    else:
        op.execute(
            f'CREATE TRIGGER {TABLE}_no_change BEFORE UPDATE OR DELETE ON "{TABLE}" '
            "FOR EACH ROW EXECUTE FUNCTION quxiang_append_only()"
        )
        op.execute(
            f'CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON "{TABLE}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_append_only()"
        )
    op.add_column("device", sa.Column("apart_from_ms", sa.BigInteger(), nullable=True))
    _hold_what_is_there()


def _hold_what_is_there() -> None:
    """What was set aside before: since the kiosk last said that it had fewer records."""
    bind = op.get_bind()
    for table in ("quarantined", "rejected_record"):
        batches = bind.execute(
            sa.text(
                "SELECT t.device_id, t.epoch, t.received_ms, MIN(t.seq), d.paired_ms "  # noqa: S608
                f"FROM {table} t JOIN device d ON d.id = t.device_id WHERE NOT EXISTS (SELECT 1 "
                "FROM record r WHERE r.device_id = t.device_id AND r.epoch = t.epoch "
                "AND r.seq = t.seq AND r.head = t.head) "
                "GROUP BY t.device_id, t.epoch, t.received_ms, d.paired_ms"
            )
        ).all()
        for device, epoch, received, seq, paired in batches:
            before = bind.execute(
                sa.text(
                    "SELECT MAX(server_ms) FROM contact WHERE device_id = :device AND server_ms <= "
                    ":received AND (epoch < :epoch OR (epoch = :epoch AND seq < :seq))"
                ),
                {"device": device, "received": received, "epoch": epoch, "seq": seq},
            ).scalar()
            bind.execute(
                sa.text(
                    "UPDATE device SET apart_from_ms = :since WHERE id = :device "
                    "AND (apart_from_ms IS NULL OR apart_from_ms > :since)"
                ),
                {"device": device, "since": paired if before is None else before},
            )


def downgrade() -> None:
    op.drop_column("device", "apart_from_ms")
    op.drop_table(TABLE)

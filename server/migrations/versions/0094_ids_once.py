"""A number of what was set aside is given once: after pruning it would come again, below the limit

On PostgreSQL a sequence sees to that already.
"""

from __future__ import annotations

from alembic import op

revision = "0094"
down_revision = "0093"
branch_labels = None
depends_on = None

#: Tables of which pruning may leave nothing. The others always have a newest row.
TABLES = ("rejected_record", "quarantined")


def upgrade() -> None:
    _rebuild(once=True)


def downgrade() -> None:
    _rebuild(once=False)


def _rebuild(once: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in TABLES:
        connection = op.get_bind()
        guards = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
        ).all()
        for name, _ in guards:
            op.execute(f"DROP TRIGGER {name}")
        with op.batch_alter_table(
            table, recreate="always", table_kwargs={"sqlite_autoincrement": once}
        ):
            pass
        for _, sql in guards:
            op.execute(sql)
        if once:
            # What was pruned before may have had the highest number.
            given = connection.exec_driver_sql(
                "SELECT max(n) FROM (SELECT seq AS n FROM sqlite_sequence WHERE name = :table "
                "UNION ALL SELECT last_id FROM prune_limit WHERE table_name = :table "
                "UNION ALL SELECT 0)",
                {"table": table},
            ).scalar_one()
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            connection.exec_driver_sql(
                "INSERT INTO sqlite_sequence VALUES (?, ?)", (table, given)
            )

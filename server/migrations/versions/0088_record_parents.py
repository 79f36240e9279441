"""What a record refers to is asked once a batch, not once a record (PostgreSQL)

Half of what a record cost PostgreSQL were its three foreign keys, asked row by row. A trigger for
each statement asks the same with the same locks, another one keeps what records refer to.
"""

from __future__ import annotations

from alembic import op

revision = "0088"
down_revision = "0087"
branch_labels = None
depends_on = None

PARENTS = {"device": "device_id", "site": "site_id", "township": "township_id"}

_REFERS = "".join(
    f"PERFORM 1 FROM {table} WHERE id = f.{column} FOR KEY SHARE; "
    f"IF NOT FOUND AND f.{column} IS NOT NULL THEN RAISE EXCEPTION "
    f"'record: {column} % is not there', f.{column} USING ERRCODE = 'foreign_key_violation'; "
    "END IF; "
    for table, column in PARENTS.items()
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":  # where they are a sixteenth of it
        return
    op.execute(
        "CREATE FUNCTION quxiang_record_refers() RETURNS trigger LANGUAGE plpgsql AS $$ "  # noqa: S608 - our own words
        "DECLARE f record; BEGIN "
        "FOR f IN SELECT DISTINCT device_id, site_id, township_id FROM fresh LOOP "
        f"{_REFERS}END LOOP; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER record_refers AFTER INSERT ON record REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION quxiang_record_refers()"
    )
    op.execute(
        "CREATE FUNCTION quxiang_has_records() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "DECLARE held boolean; BEGIN "
        "IF TG_OP = 'UPDATE' AND NEW.id = OLD.id THEN RETURN NULL; END IF; "
        "EXECUTE format('SELECT EXISTS (SELECT 1 FROM record WHERE %I = $1)', TG_ARGV[0]) "
        "INTO held USING OLD.id; "
        "IF held THEN RAISE EXCEPTION '% %: records refer to it', TG_TABLE_NAME, OLD.id "
        "USING ERRCODE = 'foreign_key_violation'; END IF; RETURN NULL; END $$"
    )
    for table, column in PARENTS.items():
        op.execute(
            f"CREATE TRIGGER {table}_has_records AFTER DELETE OR UPDATE OF id ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION quxiang_has_records('{column}')"
        )
        op.drop_constraint(f"fk_record_{column}", "record", type_="foreignkey")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, column in PARENTS.items():
        op.create_foreign_key(f"fk_record_{column}", "record", table, [column], ["id"])
    op.execute("DROP FUNCTION quxiang_has_records() CASCADE")
    op.execute("DROP FUNCTION quxiang_record_refers() CASCADE")

"""Rosters, shifts, corrections, findings, spot checks, signed months; all of it append-only"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: In the order in which they may be made; they go in the opposite one.
TABLES = (
    "shift",
    "import_batch",
    "past_expectation",
    "roster_day",
    "calendar_day",
    "township_rule",
    "attachment",
    "correction",
    "correction_decision",
    "leave_step",
    "spot_draw",
    "spot_check",
    "finding",
    "finding_event",
    "month_signature",
)


def _text(name: str, length: int, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _whole(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _moment(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _table(
    name: str,
    *columns: sa.Column,  # type: ignore[type-arg]
    to: dict[str, str] | None = None,
    one: tuple[str, ...] = (),
    by: tuple[str, ...] = ("township_id",),
    together: tuple[str, ...] = (),
    signed: bool = True,
    cadre: bool = False,
) -> None:
    """A table of a township.

    `to` are foreign keys (`?` where null is allowed) by column, `one` is unique, `by` are indexes
    of one column, `together` one of several; `signed` says who and when, `cadre` which official.
    """
    links = to or {}
    parts: list[sa.Column | sa.Constraint] = [sa.Column("id", BIG, nullable=False)]  # type: ignore[type-arg]
    parts += [
        sa.Column(column, BIG, nullable=table.endswith("?")) for column, table in links.items()
    ]
    parts += columns
    if signed:
        parts.append(_text("by", 60))
        if cadre:
            parts.append(_text("by_official", 32, nullable=True))
        parts.append(_moment("at_ms"))
    parts.append(sa.Column("township_id", BIG, nullable=False))
    for column, table in {**links, "township_id": "township"}.items():
        target = f"{table.rstrip('?')}.id"
        parts.append(sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{name}_{column}")))
    parts.append(sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")))
    if one:
        parts.append(sa.UniqueConstraint(*one, name=op.f(f"uq_{name}_{'_'.join(one)}")))
    op.create_table(name, *parts)
    for column in by:
        op.create_index(op.f(f"ix_{name}_{column}"), name, [column])
    if together:
        kind = "when" if together[-1] == "day" else "who"
        op.create_index(f"ix_{name}_{kind}", name, list(together))


def upgrade() -> None:
    day = ("township_id", "day")
    _table(
        "shift", _text("name", 60), _whole("start_min"), _whole("end_min"), _whole("late_min"),
        _whole("early_min"), _whole("visits"),
    )  # fmt: skip
    _table(
        "import_batch", _text("kind", 10), _text("name", 120), _text("sha256", 64),
        _whole("rows"), sa.Column("body", sa.Text(), nullable=False),
        to={"undoes": "import_batch?"},
    )  # fmt: skip
    _table(
        "group_site", to={"work_group_id": "work_group", "site_id": "site"},
        one=("work_group_id", "site_id"), by=("township_id", "site_id"), signed=False,
    )  # fmt: skip
    _table(
        "past_expectation", _whole("weekdays"), _text("first_day", 10, True),
        _text("last_day", 10),
        to={"official_id": "official", "site_id": "site", "shift_id": "shift?"},
        by=("township_id", "official_id", "last_day"),
    )  # fmt: skip
    _table(
        "roster_day", _text("day", 10), _text("what", 10), _text("reason", 200),
        to={"official_id": "official", "site_id": "site?", "shift_id": "shift?",
            "batch_id": "import_batch?"},
        by=(), together=day,
    )  # fmt: skip
    _table(
        "calendar_day", _text("day", 10), sa.Column("working", sa.Boolean(), nullable=True),
        _text("name", 60), by=(), together=day,
    )  # fmt: skip
    _table(
        "township_rule", _text("kind", 20), _text("first_day", 10),
        sa.Column("value", sa.Text(), nullable=False), _text("note", 200),
    )  # fmt: skip
    _table(
        "attachment", _text("name", 120), _text("mime", 40), _text("sha256", 64),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )  # fmt: skip
    _table(
        "correction", _text("official", 32), _text("day", 10), _text("kind", 12),
        _text("record_id", 36, True), _moment("start_ms", True), _moment("end_ms", True),
        _text("really", 32, True), _text("reason", 500),
        to={"site_id": "site?", "undoes": "correction?", "attachment_id": "attachment?"},
        by=(), together=day, cadre=True,
    )  # fmt: skip
    op.create_index("ix_correction_who", "correction", ["township_id", "official"])
    _table(
        "correction_decision", sa.Column("approved", sa.Boolean(), nullable=False),
        _text("note", 500), to={"correction_id": "correction"}, one=("correction_id",), cadre=True,
    )  # fmt: skip
    _table(
        "leave_step", _text("step", 16), _text("reference", 120), to={"leave_id": "leave"},
        by=("township_id", "leave_id"), cadre=True,
    )  # fmt: skip
    _table(
        "spot_draw", _text("day", 10), _text("seed", 64),
        sa.Column("population", sa.Text(), nullable=False),
        sa.Column("drawn", sa.Text(), nullable=False),
    )  # fmt: skip
    _table(
        "spot_check", _text("official", 32), _text("seen", 12), _moment("seen_ms"),
        _text("text", 500),
        to={"draw_id": "spot_draw", "site_id": "site?", "attachment_id": "attachment?"},
        by=("township_id", "draw_id"), cadre=True,
    )  # fmt: skip
    _table(
        "finding", _text("kind", 16), _text("day", 10), _text("official", 32, True),
        _text("record_id", 36, True), _text("text", 1000),
        to={"site_id": "site?", "spot_check_id": "spot_check?", "correction_id": "correction?"},
        cadre=True,
    )  # fmt: skip
    _table(
        "finding_event", _text("what", 10), _text("text", 1000),
        to={"finding_id": "finding", "attachment_id": "attachment?"},
        by=("township_id", "finding_id"), cadre=True,
    )  # fmt: skip
    _table(
        "month_signature", _text("month", 7),
        sa.Column("statement", sa.LargeBinary(), nullable=False), _text("sha256", 64),
        _whole("people"), _whole("days"), _moment("fen"),
        one=("township_id", "month"), cadre=True,
    )  # fmt: skip
    for column in (_text("leader", 32, True), _text("deputy", 32, True)):
        op.add_column("work_group", column)
    op.add_column(
        "work_group", sa.Column("at_least", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("official", _whole("households", True))
    op.add_column(
        "official", sa.Column("duties", sa.String(length=200), server_default="", nullable=False)
    )
    op.add_column("expectation", _text("first_day", 10, True))
    # Rebuilding the table, as batch mode would on SQLite, for the sake of a foreign key is not
    # worth the risk: both databases take the column together with what it refers to.
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(
        f"ALTER TABLE expectation ADD COLUMN shift_id {'INTEGER' if sqlite else 'BIGINT'} "
        "CONSTRAINT fk_expectation_shift_id REFERENCES shift (id)"
    )
    _guard(sqlite)


def _guard(sqlite: bool) -> None:
    for table in TABLES:
        if sqlite:
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
    with op.batch_alter_table("expectation") as batch_op:
        batch_op.drop_column("shift_id")
        batch_op.drop_column("first_day")
    for column in ("duties", "households"):
        op.drop_column("official", column)
    for column in ("at_least", "deputy", "leader"):
        op.drop_column("work_group", column)
    op.drop_table("group_site")
    for table in reversed(TABLES):
        op.drop_table(table)

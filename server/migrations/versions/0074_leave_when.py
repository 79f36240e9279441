"""Leave by when it holds, decisions and steps by what they decide: no township is read through"""

from __future__ import annotations

from alembic import op

revision = "0074"
down_revision = "0073"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_leave_when", "leave", ["township_id", "end_ms", "start_ms"]),
    ("ix_leave_begins", "leave", ["township_id", "start_ms"]),
    ("ix_leave_decision_of", "leave_decision", ["township_id", "leave_id"]),
    ("ix_leave_decision_when", "leave_decision", ["township_id", "at_ms"]),
    ("ix_leave_step_of", "leave_step", ["township_id", "leave_id"]),
    ("ix_leave_step_when", "leave_step", ["township_id", "at_ms"]),
    ("ix_visit_step_of", "visit_step", ["township_id", "visit_id"]),
    ("ix_correction_undoes", "correction", ["township_id", "undoes"]),
)


def upgrade() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table)

"""Alembic's environment: always run by `server.migrate`, on the connection that it opened."""

from __future__ import annotations

from alembic import context

from server.models import Base

connection = context.config.attributes["connection"]
# Batch mode: SQLite cannot alter a table in place.
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()

"""Every row of a server's database into another one: SQLite to PostgreSQL and back."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError

from attendance.i18n import say
from server.config import ServerConfig, store_url
from server.db import Database, unusable
from server.errors import AlreadyInitialised
from server.migrate import check_version, migrate
from server.models import Base, PruneLimit, Township

#: Rows carried at once, some 10 MB.
_PAGE = 5_000
#: What a township's SQLite file is called once its rows are in PostgreSQL.
MOVED = "server.db.moved"


def copy_into(source: ServerConfig, target: ServerConfig) -> int:
    """Copies all rows as of one moment into a database that holds none; how many.

    Ids, bytes and checkpoints stay what they are, so `verify` says of the copy what it says of the
    original. `target` is made or brought up to this release first. Raises AlreadyInitialised where
    it holds a township, DatabaseUnusable, DatabaseTooNew.
    """
    need_empty(target)
    migrate(target)
    old, new = Database(source), Database(target)
    count = 0
    try:
        # One moment of all tables: SQLite's transaction is one; PostgreSQL is asked for it.
        level = {} if source.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with (
            old.engine.connect().execution_options(**level) as reader,
            new.writer.connect() as writer,
            writer.begin(),
        ):
            for table in Base.metadata.sorted_tables:
                count += _copy_table(reader, writer, table)
            for table in Base.metadata.sorted_tables:
                if "id" in table.columns and table.columns["id"].type.python_type is int:
                    _go_on(writer, table)
    finally:
        old.close()
        new.close()
    return count


def _copy_table(reader: Connection, writer: Connection, table: Table) -> int:
    count = 0
    rows = reader.execute(select(table).execution_options(yield_per=_PAGE))
    for page in rows.partitions():
        writer.execute(insert(table), [dict(row._mapping) for row in page])
        count += len(page)
    return count


def _go_on(writer: Connection, table: Table) -> None:
    """Lets the table's numbers go on above what was ever given, what was pruned included."""
    known = writer.scalar(select(func.max(table.columns["id"]))) or 0
    pruned = select(func.max(PruneLimit.last_id)).where(PruneLimit.table_name == table.name)
    highest = max(known, writer.scalar(pruned) or 0)
    if highest < 1:
        return
    given = {"name": table.name, "value": highest}
    if writer.dialect.name == "sqlite":
        if table.dialect_options["sqlite"]["autoincrement"]:
            writer.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), given)
            writer.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :value)"), given)
        return
    sequence = writer.scalar(text("SELECT pg_get_serial_sequence(:name, 'id')"), given)
    if sequence is not None:
        writer.execute(text("SELECT setval(:name, :value)"), {**given, "name": sequence})


def need_empty(config: ServerConfig) -> None:
    """Before a server is set up in a database: raises AlreadyInitialised where there is one.

    Raises DatabaseUnusable too; a SQLite file that is not there yet is not made.
    """
    if config.is_sqlite and not config.database_file.exists():
        return
    if not is_empty(config):
        raise _in_use()


def is_empty(config: ServerConfig) -> bool:
    """Whether no township was ever made in that database.

    It is brought up to this release only then: another server's is left to that one, whose key
    seals its rows (`server.migrate.migrate`). Raises DatabaseUnusable, DatabaseTooNew.
    """
    database = Database(config)
    try:
        with database.session() as session:
            check_version(session.connection())
            known = inspect(session.connection()).has_table(Township.__tablename__)
            empty = not known or session.scalar(select(Township.id).limit(1)) is None
    except DatabaseError as error:
        raise unusable(config, error) from None
    finally:
        database.close()
    if empty:
        migrate(config)
    return empty


def move_in(config: ServerConfig) -> int | None:
    """Moves the township of a data folder's SQLite file into the empty database of `config`.

    The folder remembers the database from then on, and keeps the file under another name. None
    where there is nothing to move: no file, or a database in use.
    """
    file: Path = config.database_file
    if config.is_sqlite or not file.exists():
        return None
    here = ServerConfig(config.data)
    if not is_empty(config):
        return None
    migrate(here)
    count = copy_into(here, config)
    store_url(config)
    file.rename(file.with_name(MOVED))
    return count


def _in_use() -> AlreadyInitialised:
    return AlreadyInitialised(
        say(
            "该数据库中已有服务器，不会覆盖：请另建一个空数据库",
            "that database holds a server already and is not overwritten: make an empty one",
        )
    )

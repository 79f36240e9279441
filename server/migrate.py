"""Brings a database to this release, by Alembic, and seals once what was there before seals."""

from __future__ import annotations

import logging
import sqlite3
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from attendance.i18n import say
from server.config import ServerConfig, load_keys
from server.db import Database, unusable
from server.errors import DatabaseTooNew, DatabaseUnusable
from server.services.evidence import deviceseals, seals
from server.sqlite import LIBRARY, check_mode

log = logging.getLogger(__name__)

#: The revisions since which there are seals of decisions and cursors; of all other rows until a
#: checkpoint closes them; and of devices.
_SEALS, _PASSING_SEALS, _DEVICE_SEALS = "0091", "0092", "0095"


def alembic_of(connection: Connection | None = None) -> AlembicConfig:
    """Alembic's configuration, for the revisions of this release."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(config: ServerConfig) -> None:
    """Creates the tables or brings them up to this release.

    What a release before seals left is sealed, once: the data folder remembers it, so that nobody
    who can only write the database has his rows sealed by setting it back. Raises DatabaseTooNew
    for a database of a later release, DatabaseUnusable where it cannot be opened, is no database or
    was set back, and NotInitialised where there is something to seal and no key.
    """
    database = Database(config)
    try:
        if config.is_sqlite:
            raw = database.engine.raw_connection()
            try:
                check_mode(raw.driver_connection)  # type: ignore[arg-type]
            finally:
                raw.close()
        with database.writer.connect() as connection, connection.begin():
            check_version(connection)
            before = MigrationContext.configure(connection).get_current_revision()
            _check_sealed(config, before)
            command.upgrade(alembic_of(connection), "head")
            if before is not None and before < _DEVICE_SEALS:
                _seal(connection, config, before)
        _note_sealed(config)
    except (DatabaseError, sqlite3.Error, LIBRARY.module.Error) as error:
        raise unusable(config, error) from None
    finally:
        database.close()


def _sealed_since(config: ServerConfig) -> str:
    """The revision that the data folder remembers; empty where it remembers none."""
    try:
        return config.sealed.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _check_sealed(config: ServerConfig, revision: str | None) -> None:
    since = _sealed_since(config)
    if revision is not None and revision < since:
        raise DatabaseUnusable(
            say(
                f"数据库自称是逐行签名之前的版本（{revision}），而它的各行早已签名（{since}）："
                "有人改动过它，不会重新签名。请查明原因，并从备份恢复（quxiang-server restore）",
                f"the database says that it is of a release before seals ({revision}), but its "
                f"rows were sealed as of {since}: somebody set it back, and it is not sealed anew. "
                "Find out why, and restore a backup (quxiang-server restore)",
            )
        )


def _note_sealed(config: ServerConfig) -> None:
    # A folder without keys is no server's yet: what is in its database has no seals.
    known = _sealed_since(config) >= _DEVICE_SEALS
    if known or not (config.data / "server.key").exists():
        return
    waiting = config.sealed.with_suffix(".new")
    waiting.write_text(_DEVICE_SEALS + "\n", "ascii")
    waiting.replace(config.sealed)


def _seal(connection: Connection, config: ServerConfig, before: str) -> None:
    with Session(connection) as session:
        if session.scalar(text("SELECT min(id) FROM township")) is not None:
            log.warning("rows of a release before seals: they are sealed as they are, once")
            seed = load_keys(config).sign_seed
            if before < _SEALS:
                seals.seal_all(session, seed)
                deviceseals.seal_all_cursors(session, seed)
            if before < _PASSING_SEALS:
                seals.seal_passing(session, seed)
            deviceseals.seal_all_devices(session, seed)


def check_version(connection: Connection) -> bool:
    """Whether the database is exactly of this release. Raises DatabaseTooNew."""
    current = MigrationContext.configure(connection).get_current_revision()
    known, head = _revisions()
    if current is not None and current not in known:
        raise DatabaseTooNew(
            say(
                f"数据库来自更新的版本（{current}），本程序不能读取：请安装新版 Quxiang",
                f"the database is of a newer release ({current}): install that release of Quxiang",
            )
        )
    return current == head


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """The revisions of this release, and the last of them; they are Python files to be read."""
    script = ScriptDirectory.from_config(alembic_of())
    return frozenset(each.revision for each in script.walk_revisions()), script.get_current_head()


def at_head(session: Session) -> bool:
    """Whether the database is of this release, cheaply enough to be asked every few seconds."""
    current = MigrationContext.configure(session.connection()).get_current_revision()
    return current == _revisions()[1]

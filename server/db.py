"""The database: one engine an application, a session a request."""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import methodcaller
from pathlib import Path
from typing import IO, Any

from flask import Flask, g, has_request_context, request
from sqlalchemy import (
    URL,
    Connection,
    Executable,
    create_engine,
    event,
    insert,
    make_url,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from attendance.i18n import say
from server.commits import Commits
from server.config import ServerConfig, load_keys
from server.context import context
from server.errors import DatabaseUnusable, NotInitialised
from server.gate import gate
from server.sqlite import LIBRARY

log = logging.getLogger(__name__)

#: In `Session.info`: it sees one moment throughout.
SNAPSHOT = "snapshot"
#: How long a writer waits for another one, milliseconds. A batch of 500 takes about 10 ms.
BUSY_TIMEOUT_MS = 30_000
#: A worker's threads for pages plus the board's watcher. Most of its threads for devices hold none,
#: and wait for what is written together (`server.commits`).
POOL_SIZE = 20
_HELD = "quxiang_turn"
#: They change nothing.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class _Session(Session):
    """Seals what is written by it (`server.services.evidence.seals`)."""

    seed: Callable[[], bytes | None]


@event.listens_for(_Session, "before_flush")
def _before_flush(session: _Session, _context: Any, _instances: Any) -> None:
    from server.services.evidence import deviceseals

    deviceseals.seal_devices(session, session.seed)


@event.listens_for(_Session, "after_flush")
def _after_flush(session: _Session, _context: Any) -> None:
    from server.services.evidence import seals

    seals.seal_rows(session, session.seed)


class Database:
    """An engine and its two kinds of session: `read` and, on SQLite, `write`.

    Which SQLite, and in which mode, is `server.sqlite`. A writer takes the lock when it begins, so
    that two never wait for each other; nothing is sent to the database before the first query.
    """

    def __init__(self, config: ServerConfig) -> None:
        if config.is_sqlite:
            self.engine = create_engine(
                config.url,
                pool_size=POOL_SIZE,
                max_overflow=POOL_SIZE,
                pool_use_lifo=True,  # each holds a cache: few of them, and warm
                module=LIBRARY.module,
                hide_parameters=True,  # no name in a message of the database
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            self._turn = _Turn(config.data / "write.lock")
            event.listen(self.engine, "begin", self._begin_sqlite)
            event.listen(self.engine, "checkin", self._end_sqlite)
        else:
            self.engine = create_engine(
                encrypted(config.url), pool_size=POOL_SIZE, max_overflow=POOL_SIZE,
                pool_pre_ping=True, hide_parameters=True,
                pool_use_lifo=True,  # each has its plans: few of them, and warm
            )  # fmt: skip
            event.listen(self.engine, "connect", _prepare_postgresql)
        self.writer = self.engine.execution_options(quxiang_write=True)
        self._config = config
        self._seed: bytes | None = None
        self.commits = Commits(lambda: self.session(write=True), self.session, gate.give_way)

    def session(self, write: bool = False) -> Session:
        """A new session. The caller commits and closes it."""
        made = _Session(self.writer if write else self.engine, expire_on_commit=False)
        made.seed = self._sign_seed
        return made

    def _sign_seed(self) -> bytes | None:
        """The seed that seals what is written; None until the data folder has one."""
        if self._seed is None:
            with suppress(NotInitialised):
                self._seed = load_keys(self._config).sign_seed
        return self._seed

    def _begin_sqlite(self, connection: Connection) -> None:
        if not connection.get_execution_options().get("quxiang_write", False):
            connection.exec_driver_sql("BEGIN")
            return
        if _HELD not in connection.info:
            if not self._turn.take():
                raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("busy"))
            connection.info[_HELD] = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _end_sqlite(self, _connection: Any, record: Any) -> None:
        # A session gives its connection back as it commits or rolls back, not later.
        if record.info.pop(_HELD, False):
            self._turn.give()

    def snapshot(self) -> Session:
        """A new reading session that sees one moment throughout."""
        session = self.session()
        session.info[SNAPSHOT] = True
        if self.engine.dialect.name != "sqlite":  # whose every transaction does
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        return session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A writing session that commits at the end, or rolls back where the block raises."""
        with self.session(write=True) as session:
            yield session
            session.commit()

    def close(self) -> None:
        """Closes pooled connections; idempotent."""
        self.engine.dispose()


def encrypted(url: str) -> URL:
    """A PostgreSQL URL that lets nobody on the way listen, where the database is elsewhere.

    Without `sslmode` the driver would take plain words as well; here the certificate is checked
    (`verify-full`) unless the URL or PGSSLMODE says otherwise. Raises DatabaseUnusable for the
    modes that fall back.
    """
    parsed = make_url(url)
    hosts = parsed.query.get("host", parsed.host) or ""
    hosts = ",".join(hosts) if isinstance(hosts, tuple) else hosts
    if all(_is_here(host) for host in hosts.split(",")):
        return parsed
    mode = parsed.query.get("sslmode") or os.environ.get("PGSSLMODE")
    if mode is None:
        return parsed.update_query_dict({"sslmode": "verify-full"})
    if mode in ("allow", "prefer"):
        raise DatabaseUnusable(
            say(
                f"sslmode={mode} 会退回到不加密的连接：请用 verify-full",
                f"sslmode={mode} falls back to plain words: say verify-full",
            )
        )
    return parsed


def _is_here(host: str) -> bool:
    """Whether a database's host is this machine: a socket's folder, or loopback."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite alone
    # Bytes that are no text, put there by hand, must not keep `verify` from naming their row.
    connection.text_factory = methodcaller("decode", "utf-8", "replace")
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        f"synchronous = {LIBRARY.synchronous}",
        "foreign_keys = ON",
        "recursive_triggers = ON",  # else REPLACE deletes without asking the triggers
        "trusted_schema = OFF",
        "cache_size = -8000",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 4000",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


#: What is acknowledged is on disk. `local` and the `remote_...` ones are that too, each in its way;
#: whoever chose them has a standby.
_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'
"""
_UNSAFE = """
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name
"""


def power_cut_warning(config: ServerConfig) -> str | None:
    """One clear line where PostgreSQL as it is set up loses records in a power cut, else None.

    Unlike SQLite's mode it is the administrator's, of the whole cluster, and may be meant: of
    `full_page_writes` a file system may take care.
    """
    if config.is_sqlite:
        return None
    database = Database(config)
    try:
        with database.engine.connect() as connection:
            names = connection.exec_driver_sql(_UNSAFE).scalars().all()
    except DatabaseError as error:
        raise unusable(config, error) from None
    finally:
        database.close()
    if not names:
        return None
    return say(
        f"警告：PostgreSQL 的 {'、'.join(names)} 为 off，断电时会丢失或损坏已确认的记录："
        "请在 postgresql.conf 中改为 on 并重新载入",
        f"warning: PostgreSQL runs with {' and '.join(names)} off, a power cut loses or damages "
        "acknowledged records: set it to on in postgresql.conf and reload",
    )


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    # Whoever waits longer for a lock is told to come again, as on SQLite.
    connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    # A page's queries take milliseconds: to start processes for one or to compile it takes longer,
    # and the other pages want those cores. A month of a thousand people is sorted in memory.
    for setting in ("max_parallel_workers_per_gather = 0", "jit = off", "work_mem = '32MB'"):
        connection.execute(f"SET {setting}")
    connection.execute(_DURABLE)
    connection.autocommit = False


class _Turn:
    """Writers one after another, in every process of this machine.

    SQLite's own waiting sleeps and tries again: 32 threads of two workers stored 940 records a
    second that way, and some waited for more than 30 s. Here the kernel wakes the next one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ours = threading.Lock()
        self._file: IO[bytes] | None = None

    def take(self) -> bool:
        """Waits for the turn; False after BUSY_TIMEOUT_MS."""
        if not self._ours.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            return False
        try:
            self._file = self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self.give()
            raise
        return True

    def give(self) -> None:
        """Ends the turn."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._ours.release()


def plain(session: Session, statement: Executable, asked: Mapping[str, Any] | None = None) -> Any:
    """The rows of a question for columns, past the ORM, whose part costs more than many questions.

    What the session holds unwritten is written first, as the ORM does.
    """
    session.flush()
    return session.connection().execute(statement, asked)


def append(session: Session, table: type[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Appends rows of a table that has seals, past the ORM, in as many questions for all as for one
    (on SQLite the ORM inserts row by row)."""
    if not rows:
        return
    from server.services.evidence import seals

    ids = list(session.scalars(insert(table).returning(table.id), list(rows)))
    seals.seal_these(session, _seed_of(session), table.__tablename__, ids)


def seal(session: Session, table: type[Any], row: tuple[Any, ...]) -> None:
    """Seals a row that was inserted past the ORM; `row` has its values in the order of
    `protected.COLUMNS`, as the database gives them back."""
    from server.services.evidence import seals

    seed = _seed_of(session)()
    if seed is not None:
        seals.seal_given(session, seed, table.__tablename__, [row])


def _seed_of(session: Session) -> Callable[[], bytes | None]:
    return session.seed if isinstance(session, _Session) else lambda: None


def session(write: bool | None = None) -> Session:
    """The session of this request; what is not committed is rolled back when the request ends.

    It writes for every method but GET, HEAD and OPTIONS. A view that answers GET and still writes
    (an audit note) says `session(write=True)` before its first query.
    """
    held: Session | None = g.get("quxiang_session")
    if held is None:
        if write is None:
            write = has_request_context() and request.method not in SAFE_METHODS
        held = g.quxiang_session = context().database.session(write)
    return held


def close_session(_error: BaseException | None = None) -> None:
    """Rolls back and closes the request's session, if there is one."""
    held: Session | None = g.pop("quxiang_session", None)
    if held is not None:
        held.close()


def undo() -> None:
    """Rolls back what this request has done, so that its session can be asked again."""
    held: Session | None = g.get("quxiang_session")
    if held is not None:
        held.rollback()


def register(app: Flask) -> None:
    """Closes sessions at the end of every request."""
    app.teardown_appcontext(close_session)


def unusable(config: ServerConfig, error: Exception) -> DatabaseUnusable:
    """One clear line for a database that cannot be opened."""
    place = config.place
    what = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
    return DatabaseUnusable(
        say(
            f"无法使用数据库 {place}：{what[0]}",
            f"cannot use the database {place}: {what[0]}",
        )
    )

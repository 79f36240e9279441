"""The kiosk's database: opened late, one writer at a time, given up and reopened after a fault."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from attendance.records import MAX_INT
from kiosk.errors import StoreUnusable
from kiosk.schema import WriteLock, connect, prepare, unusable


class Database:
    """One file, one connection, one writer. A context manager; `close` is idempotent.

    `make_room` may free room where the disk is full and says whether it did.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        self.device = device
        self._db: sqlite3.Connection | None = None
        self._guard = threading.RLock()
        self._lock = WriteLock(path.with_name(path.name + "-lock"))
        self._writes = 0
        self.make_room: Callable[[], bool] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        device: str,
        *,
        create: bool = True,
        make_room: Callable[[], bool] | None = None,
    ) -> Self:
        """The database in that file, made where it is new and `create` allows.

        Where a full disk got room by `make_room` it is opened once more. Raises StoreUnusable
        (damaged, read-only, missing, another device's) and StoreNewer.
        """
        if not create and not path.is_file():
            raise unusable(path, "open")
        store = cls(path, device)
        store.make_room = make_room
        try:
            store._look()
        except BaseException:
            store.close()
            raise
        return store

    def _look(self) -> None:
        try:
            with self._read():
                return
        except StoreUnusable as error:
            if not error.room_made:
                raise
        with self._read():
            pass

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            with self._lock.hold():  # opening may recover the log, and makes the tables
                db = connect(self.path)
                try:
                    prepare(db, self.path, self.device)
                except BaseException:
                    db.close()
                    raise
            self._db = db
        return self._db

    def _drop(self) -> None:
        """Forgets a connection that failed; what is not committed is gone."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error, OSError), self._lock.hold():
                db.close()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._guard:
            try:
                yield self._connected()
            except (sqlite3.Error, OSError) as error:
                raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error | OSError) -> StoreUnusable:
        """What is raised instead of it; the connection is given up."""
        if isinstance(error, StoreUnusable):
            return error
        cause = "busy" if isinstance(error, BlockingIOError) else error
        fault = unusable(self.path, cause)
        if fault.what == "full":
            fault.room_made = self._make_room()
        self._drop()
        return fault

    def _make_room(self) -> bool:
        """On a full disk: asks `make_room`, then gives back what the log takes."""
        made = self.make_room is not None and self.make_room()
        log = self.path.with_name(self.path.name + "-wal")
        with contextlib.suppress(OSError):
            before = log.stat().st_size
            self._drop()  # the last connection empties the log into the file, and removes it
            made |= not log.exists() or log.stat().st_size < before
        return made

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for questions only. Raises StoreUnusable."""
        with self._read() as db:
            yield db

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction: on disk when the block has ended, or nothing of it.

        Raises StoreUnusable.
        """
        # One block where `_read` and `hold` would be two more: each costs a check-in microseconds.
        with self._guard:
            try:
                db = self._connected()
                self._lock.acquire()
                try:
                    db.execute("BEGIN IMMEDIATE")
                    try:
                        yield db
                        db.execute("COMMIT")
                    except BaseException:
                        with contextlib.suppress(sqlite3.Error):
                            db.execute("ROLLBACK")
                        raise
                    self._writes += 1
                finally:
                    self._lock.release()
            except (sqlite3.Error, OSError) as error:
                raise self._fault(error) from error

    def close(self) -> None:
        """Closes the file; a later call opens it again."""
        with self._guard:
            self._drop()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def generation(self) -> tuple[int, int]:
        """Changes whenever anything was written, by this process or another."""
        with self._read() as db:
            return self._writes, db.execute("PRAGMA data_version").fetchone()[0]

    # -- odds and ends ----------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """A kept value, None where there is none."""
        with self._read() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

    def number(self, key: str) -> int | None:
        """A kept number from 0 to 2^63 - 1, None where there is none or a damaged card left
        something else."""
        try:
            found = int(self.meta(key) or "")
        except ValueError:
            return None
        return found if 0 <= found <= MAX_INT else None

    def set_meta(self, **values: str | None) -> None:
        """Keeps values under their names, durably; None forgets. Equal ones cost nothing."""
        changed = {key: value for key, value in values.items() if self.meta(key) != value}
        if not changed:
            return
        with self.transaction() as db:
            for key, value in changed.items():
                if value is None:
                    db.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

"""Which SQLite is used, and in which mode: what evidence.md says of power cuts and of WAL.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that several connections write and checkpoint at
once; 3.51.3 mended it. So: WAL with synchronous=FULL where the library is new enough, Python's own
or the one inside the `pysqlite3` wheel, else a rollback journal with synchronous=EXTRA. Neither
lost a row in the measured power cuts; WAL syncs once a commit and does not keep readers waiting.
"""

from __future__ import annotations

import sqlite3
from types import ModuleType
from typing import NamedTuple

from attendance.i18n import say
from server.errors import DatabaseUnusable

#: The first release whose WAL several connections may use.
FIXED = (3, 51, 3)
#: What our SQL needs: RETURNING.
OLDEST = (3, 35, 0)


class Library(NamedTuple):
    """A DB-API module, its SQLite's version, and the mode that is safe with it."""

    module: ModuleType
    version: str
    journal: str
    synchronous: str

    @property
    def level(self) -> int:
        """`synchronous` as SQLite answers it."""
        return {"FULL": 2, "EXTRA": 3}[self.synchronous]

    def __str__(self) -> str:
        return f"SQLite {self.version}, journal_mode={self.journal}, synchronous={self.synchronous}"


def choose(candidates: list[tuple[ModuleType, tuple[int, ...]]] | None = None) -> Library:
    """The library of this process. Raises DatabaseUnusable for one that is too old.

    `candidates` are modules with the version of SQLite inside, the preferred one first.
    """
    if candidates is None:
        candidates = [(sqlite3, sqlite3.sqlite_version_info)]
        try:
            from pysqlite3 import dbapi2  # type: ignore[import-untyped]
        except ImportError:
            pass
        else:
            candidates.append((dbapi2, dbapi2.sqlite_version_info))
    module, version = max(candidates, key=lambda held: held[1])
    text = ".".join(map(str, version))
    if version < OLDEST:
        raise DatabaseUnusable(
            say(
                f"SQLite {text} 太旧，需要 3.35 或更新：请安装 pysqlite3，或使用 PostgreSQL",
                f"SQLite {text} is too old, 3.35 is needed: install pysqlite3, or use PostgreSQL",
            )
        )
    if version >= FIXED:
        return Library(module, text, "wal", "FULL")
    return Library(module, text, "delete", "EXTRA")


#: Chosen once a process.
LIBRARY = choose()


def check_mode(connection: sqlite3.Connection, library: Library = LIBRARY) -> None:
    """Puts a file into its mode and looks whether it is. Raises DatabaseUnusable.

    The mode is kept in the file and needs its lock: asked at the start, not on every connection.
    """
    cursor = connection.cursor()
    held = cursor.execute(f"PRAGMA journal_mode = {library.journal}").fetchone()[0]
    level = cursor.execute("PRAGMA synchronous").fetchone()[0]
    cursor.close()
    if (held, level) != (library.journal, library.level):
        raise DatabaseUnusable(
            say(
                f"数据库须处于 {library}，现为 journal_mode={held}、synchronous={level}："
                "请先停止使用它的其他程序；网络盘和内存盘不能使用",
                f"the database must be in {library}, it is in journal_mode={held}, "
                f"synchronous={level}: end other programs that use it; no network drive will do",
            )
        )

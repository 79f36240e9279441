"""The kiosk's SQLite file: its tables, how it is opened, and the lock around every write."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from kiosk.errors import StoreNewer, StoreUnusable

SCHEMA_VERSION = 2
#: The oldest `SCHEMA_VERSION` that may still read and write what this one makes. A release may be
#: taken back after it ran, so every change must leave the file usable for the release before:
#: tables and columns are added in one release and may be relied on in the next.
OLDEST_READER = 2
#: How long a writer waits for another process (a command beside the running kiosk), in seconds.
LOCK_WAIT_S = 10.0
#: Pages of the write-ahead log that are enough to be written back (1 MB), and what the log is cut
#: back to when it was longer. On a full card a log of SQLite's usual 4 MB would take the last room.
LOG_PAGES = 256
LOG_BYTES = 1 << 20
#: `synchronous=FULL` as SQLite answers it.
_FULL = 2

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, cites BLOB NOT NULL);
CREATE TABLE records (
    epoch INTEGER NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, head BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)) WITHOUT ROWID;
CREATE TABLE outbox (epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (epoch, seq)) WITHOUT ROWID;
CREATE TABLE rejected (epoch INTEGER NOT NULL, seq INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (epoch, seq)) WITHOUT ROWID;
CREATE TABLE anchors (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, server_ms INTEGER NOT NULL,
    boot_id TEXT NOT NULL, boottime_ns INTEGER NOT NULL, rtt_ns INTEGER NOT NULL,
    epoch INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX anchors_by_boot ON anchors (boot_id, boottime_ns);
CREATE TABLE erased (official TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE attempts (
    official TEXT PRIMARY KEY, wrong INTEGER NOT NULL, boot_id TEXT NOT NULL,
    boottime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE wrong_pins (
    number INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, boottime_ns INTEGER NOT NULL);
"""
#: Up to which record of an epoch the rows are gone, and the head after it (`kiosk.prune`).
PRUNED = """
CREATE TABLE pruned (epoch INTEGER PRIMARY KEY, seq INTEGER NOT NULL, head BLOB NOT NULL);
"""

_SENTENCES = {
    "full": (
        "磁盘已满，无法登记：请清理空间。",
        "the disk is full, nothing can be recorded: free some space",
    ),
    "readonly": (
        "数据目录只读，无法登记：请检查存储卡和权限。",
        "the data folder is read-only, nothing can be recorded: check the card and permissions",
    ),
    "io": (
        "读写存储卡出错，无法登记：请检查或更换存储卡。",
        "the card cannot be read or written, nothing can be recorded: check or replace it",
    ),
    "corrupt": (
        "数据库 {path} 已损坏：请保留该文件并恢复备份，或用新的配对码重新配对"
        "（quxiang-kiosk pair），原有文件会移到一旁，不会删除。",
        "the database {path} is damaged: keep the file and restore a backup, or pair anew with a "
        "fresh code (quxiang-kiosk pair); what is here is then set aside, not deleted",
    ),
    "busy": (
        "另一个程序长时间占用数据库 {path}：请关闭它再试。",
        "another program holds the database {path} for too long: close it and try again",
    ),
    "open": (
        "打不开数据库 {path}：请检查目录和权限。",
        "the database {path} cannot be opened: check the folder and its permissions",
    ),
    "mode": (
        "{path} 所在的磁盘不支持断电不丢数据的写入方式，无法登记：请把数据目录放在本机存储卡上，"
        "不要用网络盘或内存盘。",
        "the disk of {path} does not take the mode in which a power cut loses nothing, nothing can "
        "be recorded: keep the data folder on this machine's own card, not on a network or memory "
        "drive",
    ),
}
_BY_CODE = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_PERM: "readonly",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_CANTOPEN: "open",
}
#: Codes that say more than their lower byte. The index of the log is a file of its own, made anew
#: at each first opening: where it cannot be given its size the card is full, not failing.
_BY_EXTENDED = {sqlite3.SQLITE_IOERR_SHMSIZE: "full"}
_BY_ERRNO = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EROFS: "readonly",
    errno.EACCES: "readonly",
    errno.EPERM: "readonly",
}


def unusable(path: Path, cause: str | sqlite3.Error | OSError) -> StoreUnusable:
    """The fault in our words. `cause` is a key of `_SENTENCES`, or what was raised."""
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None) or 0
        what = _BY_EXTENDED.get(code) or _BY_CODE.get(code & 0xFF, "io")
    elif isinstance(cause, OSError):
        what = _BY_ERRNO.get(cause.errno or 0, "io")
    else:
        what = cause
    zh, en = _SENTENCES[what]
    return StoreUnusable(what, zh.format(path=path), en.format(path=path))


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the mode that lost nothing in evidence.md's table of power cuts.

    Raises StoreUnusable where the file cannot be kept in it.
    """
    # Whereabouts are nobody else's to read; SQLite gives its log and index the same mode.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        # Counts for a new file only, and only before anything is written into it.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        check_mode(db, path)
        db.execute("PRAGMA secure_delete=ON")
        db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    except BaseException:
        db.close()
        raise
    return db


def check_mode(db: sqlite3.Connection, path: Path) -> None:
    """Puts the file into its mode and looks whether it is: SQLite refuses by an answer, no error.

    Raises StoreUnusable.
    """
    journal = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    db.execute("PRAGMA synchronous=FULL")
    if (journal, db.execute("PRAGMA synchronous").fetchone()[0]) != ("wal", _FULL):
        raise unusable(path, "mode")


def prepare(db: sqlite3.Connection, path: Path, device: str) -> None:
    """Makes the tables of a new file, checks those of an old one.

    Raises StoreNewer, and StoreUnusable where the file is damaged or another device's.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION and not _readable(db):
        raise StoreNewer(
            f"数据库 {path} 来自更新的版本（{version} > {SCHEMA_VERSION}）：请升级本程序。",
            f"the database {path} was written by a newer version ({version} > {SCHEMA_VERSION}): "
            "update this program",
        )
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        for statement in (TABLES + PRUNED).split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('device', ?)", (device,))
        db.execute("INSERT INTO epochs VALUES (1, x'')")
        db.execute("INSERT INTO meta VALUES ('oldest_reader', ?)", (OLDEST_READER,))
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
        return
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise unusable(path, "corrupt")
    owner = db.execute("SELECT value FROM meta WHERE key = 'device'").fetchone()
    if owner is None or owner[0] != device:
        raise StoreUnusable(
            "open",
            f"数据库 {path} 属于另一台设备：请换一个数据目录。",
            f"the database {path} belongs to another device: use another folder",
        )
    if version == 1:
        db.execute("BEGIN IMMEDIATE")
        db.execute(PRUNED)
        db.execute("INSERT INTO meta VALUES ('oldest_reader', ?)", (OLDEST_READER,))
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")


def _readable(db: sqlite3.Connection) -> bool:
    """Whether a newer release left the file so that this one may go on with it."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        return False
    row = db.execute("SELECT value FROM meta WHERE key = 'oldest_reader'").fetchone()
    return row is not None and int(row[0]) <= SCHEMA_VERSION


class WriteLock:
    """One writer at a time among processes, checkpoints included.

    SQLite before 3.51.3 can corrupt a WAL file that several connections write and checkpoint at
    once (evidence.md, "Durability"); a kernel lock around each transaction rules that out, and a
    killed process lets it go by itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the lock. Raises BlockingIOError after LOCK_WAIT_S, OSError for a bad file."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def acquire(self) -> None:
        """As `hold`, until `release`."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
            else:
                return

    def release(self) -> None:
        """Lets go of what `acquire` took."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets the lock file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

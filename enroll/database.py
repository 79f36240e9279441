"""The desk's SQLite file: opening, schema, one writer at a time, erasure to the last byte."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from enroll.errors import DeskNewer, DeskUnusable
from enroll.files import locked, make_private
from enroll.keyring import Keyring

SCHEMA_VERSION = 6

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE officials (
    official TEXT PRIMARY KEY, row BLOB NOT NULL,
    sent BLOB,              -- the row as the server stored it last; NULL where it must be sent
    refused TEXT            -- why the server refused it
);
CREATE TABLE consents (     -- append-only
    id INTEGER PRIMARY KEY, official TEXT NOT NULL, what TEXT NOT NULL, event TEXT NOT NULL,
    given_on TEXT, at_ms INTEGER NOT NULL
);
CREATE INDEX consents_of ON consents (official, what);
CREATE TRIGGER consents_stay BEFORE UPDATE ON consents
    BEGIN SELECT RAISE(ABORT, 'consents are append-only'); END;
CREATE TRIGGER consents_kept BEFORE DELETE ON consents
    BEGIN SELECT RAISE(ABORT, 'consents are append-only'); END;
CREATE TABLE secrets (      -- face, pin, card, badge, portrait (until it is sent)
    official TEXT NOT NULL, kind TEXT NOT NULL, model TEXT, mark TEXT NOT NULL,
    wrapped BLOB NOT NULL, box BLOB NOT NULL, PRIMARY KEY (official, kind)
);
CREATE TABLE portraits (official TEXT PRIMARY KEY, sha256 TEXT NOT NULL);
CREATE TABLE alike (a TEXT NOT NULL, b TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (a, b));
CREATE TABLE sites (site TEXT PRIMARY KEY, kind TEXT NOT NULL);
CREATE TABLE kiosks (
    device TEXT PRIMARY KEY, site TEXT NOT NULL, site_kind TEXT NOT NULL,
    sign_key TEXT NOT NULL, box_key TEXT NOT NULL, seen_ms INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,      -- the last one given out
    put_version INTEGER NOT NULL DEFAULT 0,  -- the last one that the server took
    digest TEXT, made_ms INTEGER, pin_key BLOB NOT NULL
);
CREATE TABLE pin_hashes (
    device TEXT NOT NULL, official TEXT NOT NULL, mark TEXT NOT NULL, phc TEXT NOT NULL,
    PRIMARY KEY (device, official)
);
CREATE TABLE sealed_faces (device TEXT NOT NULL, official TEXT NOT NULL,
    PRIMARY KEY (device, official));
CREATE TABLE tombstones (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, official TEXT NOT NULL, at_ms INTEGER NOT NULL,
    version INTEGER, receipt TEXT
);
CREATE TABLE receipts (
    record_id TEXT PRIMARY KEY, device TEXT NOT NULL, official TEXT NOT NULL,
    received_ms INTEGER NOT NULL, head TEXT NOT NULL
);
CREATE TABLE withdrawals (
    id INTEGER PRIMARY KEY, official TEXT NOT NULL, at_ms INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
);
"""
MARKS_OF_TOKENS = """
CREATE TABLE token_marks (  -- of cards and badges, as sealed for each kiosk
    device TEXT NOT NULL, official TEXT NOT NULL, kind TEXT NOT NULL, mark TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (device, official, kind)
);
"""
VERSIONS_OF_RECEIPTS = """
ALTER TABLE receipts ADD COLUMN version INTEGER;  -- of the manifest that asked
ALTER TABLE receipts ADD COLUMN signature TEXT;   -- the kiosk's
"""
PROPOSALS = """
CREATE TABLE proposals (    -- rows stay and tell who decided; the picture goes with the decision
    id TEXT PRIMARY KEY, official TEXT NOT NULL, device TEXT NOT NULL, at_ms INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL, wrapped BLOB, box BLOB,
    what TEXT, who TEXT NOT NULL, decided_ms INTEGER, told INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER proposals_kept BEFORE DELETE ON proposals
    BEGIN SELECT RAISE(ABORT, 'the log of proposals stays'); END;
CREATE TRIGGER proposals_stay BEFORE UPDATE OF id, official, device, at_ms, taken_ms ON proposals
    BEGIN SELECT RAISE(ABORT, 'the log of proposals stays'); END;
CREATE TRIGGER proposals_decided BEFORE UPDATE OF what, who, decided_ms ON proposals
    WHEN OLD.what IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the log of proposals stays'); END;
"""
REENROLMENTS = """
CREATE TABLE reenrolments ( -- asked by the server; the face's mark as it was then
    finding INTEGER NOT NULL, official TEXT NOT NULL, day TEXT NOT NULL, mark TEXT,
    PRIMARY KEY (finding, official)
);
"""
EXPECTED = """
CREATE TABLE expected (     -- whom the server expects at which village, as it told last
    official TEXT NOT NULL, site TEXT NOT NULL, PRIMARY KEY (official, site)
);
"""
SCHEMA += MARKS_OF_TOKENS + VERSIONS_OF_RECEIPTS + PROPOSALS + REENROLMENTS + EXPECTED
STEPS = {
    1: MARKS_OF_TOKENS,
    2: VERSIONS_OF_RECEIPTS,
    3: PROPOSALS,
    4: REENROLMENTS,
    5: EXPECTED,
}
"""What brings a file of that version to the next."""


def check_mode(db: sqlite3.Connection, path: Path) -> None:
    """Puts the file into WAL with synchronous=FULL, which lost nothing in power cuts, and looks
    whether it is: SQLite refuses by an answer, no error. Raises DeskUnusable."""
    journal = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    db.execute("PRAGMA synchronous=FULL")
    level = db.execute("PRAGMA synchronous").fetchone()[0]
    if (journal, level) != ("wal", 2):
        db.close()
        raise DeskUnusable(
            f"{path} 所在的磁盘不支持断电不丢数据的写入方式（journal_mode={journal}、"
            f"synchronous={level}）：请把数据目录放在本机硬盘上，不要用网络盘或内存盘",
            f"the disk of {path} does not take the mode in which a power cut loses nothing "
            f"(journal_mode={journal}, synchronous={level}): keep the data folder on this "
            "machine's own disk, not on a network or memory drive",
        )


class Database:
    """One connection to `desk.db`. Several commands may have one each: every write, and every use
    of the keyring, happens under one lock file (SQLite before 3.51.3 can corrupt a WAL database
    that several connections write and checkpoint at once)."""

    def __init__(self, data: Path) -> None:
        """Open, or make, the database of the folder `data`. Raises DeskUnusable or DeskNewer."""
        make_private(data)
        self.path = data / "desk.db"
        self.keyring = Keyring(data / "desk.key")
        self._lock = data / "desk.lock"
        self._holding = threading.local()
        with self.locked():
            self._open()

    def _open(self) -> None:
        fresh = not self.path.exists()
        if fresh:
            self.path.touch(mode=0o600)
        try:
            self.db = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                self.db.close()
                raise DeskNewer(
                    f"{self.path} 由更新版本的软件写成（{version}）：请升级本机软件",
                    f"{self.path} was written by a newer version of this software "
                    f"({version}, this one knows {SCHEMA_VERSION}): install that one here",
                )
            check_mode(self.db, self.path)
            self.db.execute("PRAGMA secure_delete=ON")
            self.db.execute("PRAGMA foreign_keys=ON")
            if version == 0:
                self.keyring.make()
                self.db.executescript(
                    f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                )
            elif self.db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            for old in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                self.db.executescript(
                    f"BEGIN IMMEDIATE; {STEPS[old]} PRAGMA user_version={old + 1}; COMMIT;"
                )
        except sqlite3.Error as error:
            raise self._fault(error) from None
        if self.keyring.unfinished:
            self.keyring.replace(self._rewrap)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock file; re-entrant within a thread."""
        if getattr(self._holding, "depth", 0):
            yield
            return
        with locked(self._lock):
            self._holding.depth = 1
            try:
                yield
            finally:
                self._holding.depth = 0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is durable when it ends, or nothing of it. Raises DeskUnusable."""
        with self.locked():
            if self.db.in_transaction:
                yield self.db
                return
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                self.db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._fault(error) from None
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query answers. Raises DeskUnusable."""
        try:
            return self.db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def shred(self) -> None:
        """After rows were deleted: replace the desk's key, rewrite the file, empty its journal."""
        with self.locked():
            self.keyring.replace(self._rewrap)
            try:
                self.db.execute("VACUUM")
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise self._fault(error) from None

    def _rewrap(self) -> None:
        with self.transaction() as db:
            for table, column in (
                ("secrets", "wrapped"),
                ("kiosks", "pin_key"),
                ("proposals", "wrapped"),
            ):
                held = f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
                for rowid, wrapped in db.execute(held).fetchall():
                    fresh = self.keyring.wrap(self.keyring.unwrap(wrapped))
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (fresh, rowid))  # noqa: S608

    def close(self) -> None:
        """Close; any number of times."""
        with self.locked():
            self.db.close()

    def _fault(self, error: sqlite3.Error) -> DeskUnusable:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, (sqlite3.OperationalError, sqlite3.IntegrityError)
        ):
            return DeskUnusable(
                f"{self.path} 已损坏（{error}）：请从备份恢复",
                f"{self.path} is damaged ({error}): restore it from a backup",
            )
        return DeskUnusable(
            f"无法使用 {self.path}：{error}；请检查磁盘空间和权限",
            f"{self.path} cannot be used: {error}; check the disk's space and the permissions",
        )

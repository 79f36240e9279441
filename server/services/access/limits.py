"""How often somebody may ask, counted over all workers of this machine.

The counts live in a small SQLite file beside the database: they may be lost with the power, and
must not wait for the records' own commits.
"""

from __future__ import annotations

import hashlib
import ipaddress
import sqlite3
import threading
from contextlib import closing
from datetime import datetime
from pathlib import Path

from attendance.days import to_ms

#: Names that are kept, and some hundreds more; above it those go whose windows end first.
MOST = 50_000
#: Of one in so many new names the rows are counted: that takes a millisecond when they are many.
_COUNTED_ONE_IN = 64
#: Bits of an IPv6 address that one household has: it would have 2^64 addresses else.
_HOUSEHOLD = 64
_made: set[Path] = set()
_making = threading.Lock()


def _open(folder: Path) -> sqlite3.Connection:
    path = folder / "limits.db"
    raw = sqlite3.connect(path, timeout=2.0, isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")
    with _making:
        if path not in _made or not path.stat().st_size:
            raw.execute(
                "CREATE TABLE IF NOT EXISTS counted "
                "(who BLOB PRIMARY KEY, until INTEGER NOT NULL, n INTEGER NOT NULL) WITHOUT ROWID"
            )
            raw.execute("CREATE INDEX IF NOT EXISTS counted_until ON counted (until)")
            _made.add(path)
    return raw


def place(remote: str) -> str:
    """Who counts as one: an IPv4 address, or the 64 bits that an IPv6 household has."""
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    mapped = getattr(address, "ipv4_mapped", None)
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ipaddress.ip_network((address, _HOUSEHOLD), strict=False))


def _key(who: str, seconds: int) -> bytes:
    return hashlib.sha256(f"{seconds} {who}".encode("utf-8", "replace")).digest()[:16]


def _until(seconds: int, now: datetime) -> int:
    return (to_ms(now) // (1000 * seconds) + 1) * seconds


def allow(folder: Path, who: str, most: int, seconds: int, now: datetime) -> bool:
    """Counts one question of `who`; False from the one after `most` in the running window.

    Windows of `seconds` begin at multiples of it. Names are kept as hashes. Where the counts cannot
    be kept everybody is let through: nothing depends on them but comfort.
    """
    name, until = _key(who, seconds), _until(seconds, now)
    try:
        with closing(_open(folder)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            row = raw.execute(
                "INSERT INTO counted VALUES (?, ?, 1) ON CONFLICT (who) DO UPDATE SET "
                "n = CASE WHEN until = excluded.until THEN n + 1 ELSE 1 END, "
                "until = excluded.until RETURNING n",
                (name, until),
            ).fetchone()
            if row[0] == 1:
                _tidy(raw, name, to_ms(now) // 1000)
            raw.execute("COMMIT")
            return bool(row[0] <= most)
    except sqlite3.Error:
        return True


def _tidy(raw: sqlite3.Connection, name: bytes, now_s: int) -> None:
    """Forgets what is over, and where too many are kept half of them."""
    raw.execute("DELETE FROM counted WHERE until <= ?", (now_s,))
    if name[0] % _COUNTED_ONE_IN:
        return
    many = raw.execute("SELECT count(*) FROM counted").fetchone()[0]
    if many > MOST:
        raw.execute(
            "DELETE FROM counted WHERE who IN (SELECT who FROM counted WHERE who <> ? "
            "ORDER BY until LIMIT ?)",
            (name, many - MOST // 2),
        )


def used_up(folder: Path, who: str, most: int, seconds: int, now: datetime) -> bool:
    """Whether `allow` has said yes to `who` as often as it will in this window; counts nothing."""
    try:
        with closing(_open(folder)) as raw:
            row = raw.execute(
                "SELECT n FROM counted WHERE who = ? AND until = ?",
                (_key(who, seconds), _until(seconds, now)),
            ).fetchone()
    except sqlite3.Error:
        return False
    return row is not None and bool(row[0] >= most)

"""How often somebody may ask, counted over all workers of this machine.

The counts live in a small SQLite file beside the database: they may be lost with the power, and
must not wait for the records' own commits.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from datetime import datetime
from pathlib import Path

from attendance.days import to_ms

#: Rows that are kept; above it the oldest windows go.
MOST = 50_000
_made: set[Path] = set()
_making = threading.Lock()


def _open(folder: Path) -> sqlite3.Connection:
    path = folder / "limits.db"
    raw = sqlite3.connect(path, timeout=2.0, isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")
    with _making:
        if path not in _made or not path.stat().st_size:
            raw.execute(
                "CREATE TABLE IF NOT EXISTS asked "
                "(who TEXT, began INTEGER, n INTEGER NOT NULL, PRIMARY KEY (who, began)) "
                "WITHOUT ROWID"
            )
            _made.add(path)
    return raw


def allow(folder: Path, who: str, most: int, seconds: int, now: datetime) -> bool:
    """Counts one question of `who`; False from the one after `most` in the running window.

    Windows of `seconds` begin at multiples of it. Names are kept as hashes. Where the counts cannot
    be kept everybody is let through: nothing depends on them but comfort.
    """
    began = to_ms(now) // (1000 * seconds)
    name = hashlib.sha256(who.encode()).hexdigest()[:32]
    try:
        with closing(_open(folder)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            row = raw.execute(
                "INSERT INTO asked VALUES (?, ?, 1) ON CONFLICT (who, began) "
                "DO UPDATE SET n = n + 1 RETURNING n",
                (name, began),
            ).fetchone()
            if row[0] == 1:
                raw.execute("DELETE FROM asked WHERE began < ? AND who = ?", (began, name))
                if raw.execute("SELECT count(*) FROM asked").fetchone()[0] > MOST:
                    raw.execute("DELETE FROM asked WHERE who <> ?", (name,))
            raw.execute("COMMIT")
            return bool(row[0] <= most)
    except sqlite3.Error:
        return True

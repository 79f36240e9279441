"""Public portraits on the kiosk, for the board on a television: fetched once, kept for bad days.

Only what the server shows on its own public board comes here, under the same random names; a
picture whose consent was withdrawn is gone from the next snapshot, and is deleted with it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from attendance.errors import QuxiangError
from attendance.wire import MAX_PORTRAIT, WhereaboutsRow
from kiosk.config import write_atomically

MOST = 400
"""Pictures kept at the most; the server makes them 480x640, some 40 kB each: 16 MB."""
PER_EXCHANGE = 12
"""Fetched in one exchange at the most: half a megabyte, a minute of a bad line."""
_TOKEN = re.compile(r"[0-9a-f]{32}")

Fetch = Callable[[str], bytes]


class Portraits:
    """The folder of one kiosk's portraits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, token: str) -> Path | None:
        """The file of a picture, None where it is not here."""
        path = self._folder / f"{token}.jpg"
        return path if _TOKEN.fullmatch(token) and path.is_file() else None

    def follow(self, rows: Iterable[WhereaboutsRow], fetch: Fetch) -> int:
        """Delete whom the board no longer shows, then fetch some of what is missing; how many came.

        `fetch` gives the JPEG of a token. A fault of it, or of the disk, ends the round and is
        nobody else's: a picture is never worth an exchange.
        """
        wanted = [row.portrait for row in rows if row.portrait and _TOKEN.fullmatch(row.portrait)]
        wanted = list(dict.fromkeys(wanted))[:MOST]
        came = 0
        with contextlib.suppress(QuxiangError, OSError):
            self._prune(set(wanted))
            for token in wanted:
                if came >= PER_EXCHANGE:
                    break
                if self.path(token) is None:
                    self._keep(token, fetch(token))
                    came += 1
        return came

    def _keep(self, token: str, jpeg: bytes) -> None:
        if 4 < len(jpeg) <= MAX_PORTRAIT and jpeg.startswith(b"\xff\xd8\xff"):
            write_atomically(self._folder / f"{token}.jpg", jpeg)

    def _prune(self, wanted: set[str]) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.stem not in wanted or path.suffix != ".jpg":
                    path.unlink(missing_ok=True)

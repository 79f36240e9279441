"""The storage card, looked at while nobody checks in: read-only, failing or hung.

Recording finds such a fault by itself, but only once somebody stands there. A thread of its own
looks, since a slow card must not hold up a frame and a hung one must not hold up the alarm.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kiosk.errors import StoreUnusable
from kiosk.schema import unusable

PROBE = ".card"
LOOK_S = 4.0
"""Between two looks. One block written each time, 80 MB a day at the most: an ordinary card stands
that for decades, and a fault is told within ten seconds."""
HUNG_S = 9.0
"""A look that lasts longer is itself the fault."""


class Card:
    """Looks at the folder's card; `fault` is what was found last. `close` is idempotent."""

    def __init__(self, folder: Path, mono: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._mono = mono
        self._found: StoreUnusable | None = None
        self._began: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card", daemon=True)

    @property
    def fault(self) -> StoreUnusable | None:
        """Why nothing can be kept now, None while all is well."""
        began = self._began
        if began is not None and self._mono() - began > HUNG_S:
            return unusable(self._folder, "io")
        return self._found

    def start(self) -> None:
        """Looks from now on, in a thread."""
        self._thread.start()

    def look(self) -> None:
        """Looks once."""
        self._began = self._mono()
        try:
            self._found = self._look()
        finally:
            self._began = None

    def _look(self) -> StoreUnusable | None:
        try:
            if os.statvfs(self._folder).f_flag & os.ST_RDONLY:
                return unusable(self._folder, "readonly")
            # Without O_TRUNC, so that the same block is written in place each time.
            path = self._folder / PROBE
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(fd, os.urandom(16), 0)
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            # A full card is told by its free space; the database keeps a reserve of room.
            return None if error.errno == errno.ENOSPC else unusable(self._folder, error)
        return None

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(LOOK_S)

    def close(self) -> None:
        """Looks no more."""
        self._stop.set()
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._thread.join(1.0)


def free_mb(folder: Path) -> int | None:
    """Free space for this user, in MB (10^6 bytes); None where it cannot be told."""
    with contextlib.suppress(OSError):
        state = os.statvfs(folder)
        return state.f_bavail * state.f_frsize // 1_000_000
    return None

"""What a kiosk tidies up by itself: old records, and a reserve of room for a full card."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from kiosk.clock import Clock
from kiosk.config import sync_folder
from kiosk.edge import Edge
from kiosk.errors import KioskError
from kiosk.prune import LEAST_DAYS, Pruned, prune
from kiosk.store import Store

EVERY_S = 3600.0
"""Between two looks for old records; at once again while some are left."""
BALLAST = "ballast"
BALLAST_BYTES = 16 << 20
"""Held back for records: at 1 kB each with chain, outbox and log, a month of 500 a day."""
LOW_BYTES = 300 << 20
"""With less room than this the ballast is not made, and pruning goes to the least that must stay
(`kiosk.condition` tells people at the same mark)."""
LAST_BYTES = 4 << 20
"""With less than this the ballast is let go before a record fails: what the log may grow to."""


class Housekeeper:
    """Looks after a store's room on the card. `turn` belongs to one thread; `make_room` to any."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        keep_days: int,
        *,
        ballast_bytes: int = BALLAST_BYTES,
        low_bytes: int = LOW_BYTES,
        last_bytes: int = LAST_BYTES,
    ) -> None:
        self._store = store
        self._clock = clock
        self._keep_days = keep_days
        self._ballast = store.path.with_name(BALLAST)
        self._ballast_bytes = ballast_bytes
        self._low_bytes = low_bytes
        self._last_bytes = last_bytes
        store.make_room = self.make_room

    def turn(self) -> Pruned:
        """Prunes, and keeps or lets go the ballast. Raises StoreUnusable."""
        free = self._free()
        if free < self._last_bytes:
            self.make_room()
        elif free > self._low_bytes + self._ballast_bytes:
            self._hold()
        return prune(
            self._store,
            self._clock.read(),
            LEAST_DAYS if free < self._low_bytes else self._keep_days,
        )

    def make_room(self) -> bool:
        """Lets the ballast go; whether there was any."""
        return let_go(self._ballast.parent)

    def _free(self) -> int:
        return shutil.disk_usage(self._store.path.parent).free

    def _hold(self) -> None:
        with contextlib.suppress(OSError):
            if self._ballast.exists() and self._ballast.stat().st_size == self._ballast_bytes:
                return
            fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._ballast_bytes)
                os.fsync(fd)
            finally:
                os.close(fd)


def let_go(folder: Path) -> bool:
    """Gives a full card the room of the ballast that lies in `folder`; whether there was any."""
    try:
        (folder / BALLAST).unlink()
    except OSError:
        return False
    with contextlib.suppress(OSError):
        sync_folder(folder)
    return True


class Every:
    """Calls `turn` in a thread of its own, again at once while it says that more waits."""

    def __init__(
        self, turn: Callable[[], bool], seconds: float, name: str, *, edge: Edge | None = None
    ) -> None:
        self._edge = edge or Edge()
        self._turn = turn
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread; the first call is at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the call under way; may be called again."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            more = False
            # Whatever is wrong with the store or the card is told by who records.
            with contextlib.suppress(KioskError, OSError):
                more = self._turn()
            self._edge.pause(self._stop, 0.2 if more else self._seconds)

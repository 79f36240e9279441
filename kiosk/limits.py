"""How often something may be done at a kiosk: a burst, then one at a time; kept through restarts.

On the boot clock alone, as the locks of PINs: in another boot only the time since that boot counts.
"""

from __future__ import annotations

import json
import math

from kiosk.clock import Clock
from kiosk.errors import StoreUnusable
from kiosk.store import Store

UNVERIFIED_BURST, UNVERIFIED_EVERY_S = 10, 30.0
"""Check-ins of ids that nobody can check: ten at once (a group that visits), then one in 30 s. They
are put off, never refused: the screen sends them by itself when their turn comes. Whoever types
made-up ids all day leaves 2,890 records for the review instead of as many as a keyboard types."""

TAPS_BURST, TAPS_EVERY_S = 10, 30.0
"""Unknown cards: after ten, one in 30 s, and while the pause lasts known cards wait too, or trying
would cost nothing. 2,890 tries a day against a card number of 32 bits among 36 enrolled: one chance
in 41,000 a day. Face and PIN go on."""


class Rate:
    """One limit of one kiosk, named `key` in its store. Thread-safe as its store is."""

    def __init__(self, store: Store, clock: Clock, key: str, burst: int, every_s: float) -> None:
        self._store = store
        self._clock = clock
        self._key = f"rate_{key}"
        self._burst = burst
        self._every_s = every_s

    def wait_s(self) -> int:
        """Seconds until one more is due, rounded up; 0 for now. Raises StoreUnusable."""
        return max(0, math.ceil((1 - self._level()) * self._every_s - 1e-6))

    def take(self) -> None:
        """One was done. Raises StoreUnusable."""
        now = self._clock.read()
        kept = {
            "level": max(0.0, self._level() - 1),
            "boot_id": now.boot_id,
            "boottime_ns": now.boottime_ns,
        }
        self._store.set_meta(**{self._key: json.dumps(kept)})

    def _level(self) -> float:
        """How many may be done at once now, 0 to the burst."""
        text = self._store.meta(self._key)
        try:
            kept = json.loads(text) if text else {"level": self._burst}
            level = float(kept["level"])
            since = int(kept.get("boottime_ns", 0))
        except (StoreUnusable, ValueError, KeyError, TypeError):
            return float(self._burst)
        now = self._clock.read()
        start = since if kept.get("boot_id") == now.boot_id else 0
        gained = max(0.0, (now.boottime_ns - start) / 1e9 / self._every_s)
        return min(float(self._burst), level + gained)

"""How often somebody was not recorded, by reason, for `status` and whoever looks after the kiosk.

Numbers only: nothing of who it was is kept, and no picture.
"""

from __future__ import annotations

import contextlib
import json

from kiosk.errors import StoreUnusable
from kiosk.events import Event
from kiosk.store import Store

_KEY = "refusals"
REASONS = ("unknown", "ambiguous", "not_live", "quality", "locked")


def refusals(store: Store) -> dict[str, int]:
    """Refusals since the kiosk was made, by reason. Raises StoreUnusable."""
    try:
        kept = json.loads(store.meta(_KEY) or "{}")
        return {reason: int(kept.get(reason, 0)) for reason in REASONS}
    except (ValueError, TypeError, AttributeError):
        return dict.fromkeys(REASONS, 0)


class RefusalCount:
    """Listens to the events and counts durably; a store that fails costs the count only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, event: Event) -> None:
        """Take one event into account."""
        if event["event"] != "refused":
            return
        with contextlib.suppress(StoreUnusable):
            counted = refusals(self._store)
            reason = str(event["reason"])
            counted[reason] = counted.get(reason, 0) + 1
            self._store.set_meta(**{_KEY: json.dumps(counted)})

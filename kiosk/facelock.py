"""Three presentations that were not alive lock the face path for a minute; PIN goes on."""

from __future__ import annotations

import json

from attendance.statuses import Kind
from kiosk.clock import Clock, Reading
from kiosk.drafts import Draft
from kiosk.errors import StoreUnusable
from kiosk.store import Store

PRESENTATIONS = 3
"""Refusals as not alive that lock (issue text, "Policy")."""

LOCK_S = 60.0
"""How long the face path stays locked, in seconds."""

_KEY = "face_lock"


class FaceLock:
    """Counts `not_live` presentations, in the store, so that a restart lifts nothing.

    Somebody who is recognised alive takes back the refusals of his own face, which were wrong; not
    those of other faces, or one official could try another's photograph for ever.

    On the boot clock for a live camera: in another boot only the time since that boot counts, as
    for PINs. On frame time (the wall of a `FrameClock`) for footage.
    """

    def __init__(self, store: Store, clock: Clock, *, by_frames: bool) -> None:
        self._store = store
        self._clock = clock
        self._by_frames = by_frames
        self._tried: list[str] = []
        self._since: Reading | None = None
        self._load()

    def _load(self) -> None:
        try:
            kept = json.loads(self._store.meta(_KEY) or "{}")
            self._tried = [str(official) for official in kept.get("tried", [])]
            if "wall_ms" in kept:
                self._since = Reading(kept["wall_ms"], kept["boot_id"], kept["boottime_ns"])
        except (StoreUnusable, ValueError, KeyError, TypeError, AttributeError):
            self._tried, self._since = [], None

    def _keep(self) -> None:
        kept: dict[str, object] = {"tried": self._tried}
        if self._since is not None:
            kept |= {
                "wall_ms": self._since.wall_ms,
                "boot_id": self._since.boot_id,
                "boottime_ns": self._since.boottime_ns,
            }
        self._store.set_meta(**{_KEY: json.dumps(kept)})

    def left_s(self) -> float:
        """Seconds until a face is looked at again, 0 where the path is open."""
        if self._since is None:
            return 0.0
        now = self._clock.read()
        if self._by_frames:
            elapsed = (now.wall_ms - self._since.wall_ms) / 1000
        else:
            start = self._since.boottime_ns if self._since.boot_id == now.boot_id else 0
            elapsed = (now.boottime_ns - start) / 1e9
        # A wall that was stepped back must not lock for longer than a lock lasts.
        left = min(LOCK_S, LOCK_S - elapsed)
        if left <= 0:
            self._since = None
        return max(0.0, left)

    def not_live(self, official: str | None) -> bool:
        """One more presentation, of a face like that of `official`, was refused as not alive;
        whether the path is locked now. That it locked is written into the chain, for the
        supervisors, without saying whom it looked like.

        Raises StoreUnusable where that could not be kept; it counts in this run all the same.
        """
        self._tried.append(official or "")
        locked = len(self._tried) >= PRESENTATIONS
        if locked:
            self._tried, self._since = [], self._clock.read()
        self._keep()
        if locked:
            said = f"{PRESENTATIONS} faces were not alive: no faces for {LOCK_S:.0f} s"
            self._store.record(Draft(kind=Kind.FAULT, detail=said), self._clock.read())
        return self._since is not None

    def passed(self, official: str) -> None:
        """`official` was recognised alive. Raises StoreUnusable."""
        if official in self._tried:
            self._tried = [tried for tried in self._tried if tried != official]
            self._keep()

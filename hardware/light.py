"""When the fill light is on: for a face that is too dark, and no longer than it is needed."""

from __future__ import annotations

from collections import deque

DARK = 70.0
"""Mean grey of a face, 0 to 255, below which the light comes on. The quality gate refuses a face
below 40 (recognition.md), so there is room to act before anybody is turned away."""
BRIGHT = 170.0
"""Mean grey above which the light is not needed. Far above DARK: what the lamp itself adds must not
switch it off again."""
DARK_S = 0.4
"""Seconds that a face must be dark: a shadow that passes is none."""
BRIGHT_S = 2.0
"""Seconds that a face must be bright before the light goes off."""
AWAY_S = 8.0
"""Seconds without a face after which the light goes off."""


class FillLight:
    """Decides the level from the brightness of the face; the caller sets the lamp.

    level: what is on now, 0 to 1. commanded: (seconds, level) of each change, oldest first.
    """

    def __init__(self, full: float = 0.6, *, dark: float = DARK, bright: float = BRIGHT) -> None:
        """full: the level while it is on. dark, bright: mean grey of a face, as above."""
        self.level = 0.0
        self.commanded: deque[tuple[float, float]] = deque(maxlen=64)
        self._full, self._dark, self._bright = full, dark, bright
        self._since: float | None = None
        self._face_at: float | None = None
        self._off_at: float | None = None
        self._needed = False
        self._own: float | None = None

    def see(self, grey: float | None, now_s: float) -> float:
        """Take the mean grey of the face in a frame, None without a face; the level from now on.
        Whoever wanted another level does no longer."""
        if self._own is not None:
            self._set(self._own, now_s)
            self._own = None
        if grey is None:
            self._since = None
            if self._face_at is not None and now_s - self._face_at >= AWAY_S:
                self._needed, self._off_at = False, None
                self._set(0.0, now_s)
            return self.level
        self._face_at = now_s
        lit = self.level > 0
        turning = grey > self._bright and not self._needed if lit else grey < self._dark
        if not turning:
            self._since = None
            return self.level
        self._since = now_s if self._since is None else self._since
        if now_s - self._since >= (BRIGHT_S if lit else DARK_S):
            self._since = None
            if lit:
                self._off_at = now_s
                self._set(0.0, now_s)
            else:
                # Dark again at once: it was the lamp that made the face bright. It stays on while
                # somebody stands there.
                self._needed = self._off_at is not None and now_s - self._off_at < AWAY_S
                self._set(self._full, now_s)
        return self.level

    def command(self, level: float, now_s: float) -> float:
        """Somebody else needs this level for a moment, e.g. to see how a face answers to light;
        the next `see` goes back to the one before."""
        if self._own is None:
            self._own = self.level
        self._since = None
        self._set(level, now_s)
        return self.level

    def _set(self, level: float, now_s: float) -> None:
        if level != self.level:
            self.level = level
            self.commanded.append((now_s, level))

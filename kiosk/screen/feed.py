"""What the page shows right now: written by the kiosk's loop, read by any number of browsers.

Nobody who writes ever waits for a browser: a reader that is slow misses steps, never the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiosk.screen.words import instruction

GREETING_S = 10.0
"""Seconds for which a greeting is shown to a page that connects late (the time to change one's
mind, product.md)."""

PICTURE_WIDTH = 640
"""Widest picture that is sent, in pixels."""

JPEG_QUALITY = 70
"""At 640x480 some 35 kB; at 10 pictures a second 3 Mbit/s that never leave the machine."""


class ScreenFeed:
    """State by key, one passing event (the greeting), and the newest camera picture."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._change = threading.Condition()
        self._version = 0
        self._state: dict[str, tuple[int, Any]] = {}
        self._event: tuple[int, float, dict[str, Any]] | None = None
        self._closed = False
        self._seats: dict[str, int] = {}
        self._picture = threading.Condition()
        self._image: NDArray[np.uint8] | None = None
        self._serial = 0
        self._jpeg: tuple[int, bytes] = (0, b"")
        self.encoded = 0
        self.update(instruction=instruction({}))

    def update(self, **values: Any) -> None:
        """Set keys of the state; readers hear of those that changed. Values must fit JSON."""
        with self._change:
            changed = {k: v for k, v in values.items() if k not in self._state or self._get(k) != v}
            if not changed:
                return
            self._version += 1
            for key, value in changed.items():
                self._state[key] = (self._version, value)
            told = instruction({key: value for key, (_, value) in self._state.items()})
            if self._get("instruction") != told:
                self._state["instruction"] = (self._version, told)
            self._change.notify_all()

    def _get(self, key: str) -> Any:
        return self._state[key][1] if key in self._state else None

    def get(self, key: str) -> Any:
        """The value of a key, None where it was never set."""
        with self._change:
            return self._get(key)

    def fault(self, part: str, words: Mapping[str, str] | None) -> None:
        """Say that a part has failed (`{"zh", "en"}`), or with None that it is well again."""
        with self._change:
            faults = dict(self._get("faults") or {})
            if words is None:
                faults.pop(part, None)
            else:
                faults[part] = dict(words)
            self.update(faults=faults)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Pass an event (`{"type": "greeting" | "ask_pin", ...}`) on to every page, once."""
        with self._change:
            self._version += 1
            self._event = (self._version, self._now_s(), dict(event))
            self._change.notify_all()

    def changes(
        self, after: int, timeout_s: float
    ) -> tuple[int, dict[str, Any], dict[str, Any] | None]:
        """`(version, changed keys, event)` since version `after`, waiting up to `timeout_s`.

        `after` 0 gives everything, with the last event while it is younger than `GREETING_S`. An
        event carries `age_s`, the seconds since it happened.
        """
        with self._change:
            self._change.wait_for(lambda: self._closed or self._version > after, timeout_s)
            state = {key: value for key, (at, value) in self._state.items() if at > after}
            event = None
            if self._event is not None and self._event[0] > after:
                age = self._now_s() - self._event[1]
                if age < GREETING_S:
                    event = {**self._event[2], "age_s": round(age, 3)}
            return self._version, state, event

    def show(self, image: NDArray[np.uint8]) -> None:
        """Offer a camera picture (uint8 BGR, (h, w, 3), not changed afterwards); costs nothing
        while nobody watches."""
        if not self._seats.get("picture"):
            return
        with self._picture:
            self._image = image
            self._serial += 1
            self._picture.notify_all()

    def jpeg(self, after: int, timeout_s: float) -> tuple[int, bytes] | None:
        """The newest picture as `(serial, JPEG)` once its serial is above `after`, else None."""
        with self._picture:
            came = self._picture.wait_for(lambda: self._closed or self._serial > after, timeout_s)
            if self._closed or not came or self._image is None:
                return None
            if self._jpeg[0] != self._serial:
                self._jpeg = (self._serial, _encode(self._image))
                self.encoded += 1
            return self._jpeg

    @contextmanager
    def seat(self, kind: str, seats: int) -> Iterator[bool]:
        """Whether one of `seats` places for streams of this kind was free; held while inside."""
        with self._change:
            free = self._seats.get(kind, 0) < seats
            if free:
                self._seats[kind] = self._seats.get(kind, 0) + 1
        try:
            yield free
        finally:
            if free:
                with self._change:
                    self._seats[kind] -= 1

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Let every waiting reader go."""
        with self._change, self._picture:
            self._closed = True
            self._change.notify_all()
            self._picture.notify_all()


def _encode(image: NDArray[np.uint8]) -> bytes:
    import cv2

    height, width = image.shape[:2]
    if width > PICTURE_WIDTH:
        size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(data) if ok else b""

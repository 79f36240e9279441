"""Badges before the camera: QR codes looked for beside the frame loop, never in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.tokens import is_badge

EVERY_S = 0.3
"""Between two looks: one costs some 40 ms of one core at 640x480."""
SAME_S = 8.0
"""The same badge is told once in so long, however long it is held up."""
LONGEST_SIDE = 1280


class BadgeReader:
    """Looks at the newest picture offered, in a thread of its own. A context manager.

    on_badge is called in that thread with the text of a badge's code; of other codes nothing is
    kept or told.
    """

    def __init__(
        self, on_badge: Callable[[str], None], mono: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_badge = on_badge
        self._mono = mono
        self._change = threading.Condition()
        self._image: NDArray[np.uint8] | None = None
        self._closed = False
        self._next = 0.0
        self._told: tuple[str, float] | None = None
        self.wanted = False
        self._thread = threading.Thread(target=self._run, name="badges", daemon=True)
        self._thread.start()

    def offer(self, image: NDArray[np.uint8]) -> None:
        """A camera picture (uint8 BGR, (h, w, 3), not changed afterwards); costs nothing while no
        badge is `wanted` or the last look was a moment ago."""
        if not self.wanted or self._mono() < self._next:
            return
        with self._change:
            self._next = self._mono() + EVERY_S
            self._image = image
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._image is not None)
                image, self._image = self._image, None
                if self._closed or image is None:
                    return
            text = read_badge(image)
            now = self._mono()
            if text is None or (
                self._told is not None and self._told[0] == text and now - self._told[1] < SAME_S
            ):
                continue
            self._told = (text, now)
            self._on_badge(text)

    def close(self) -> None:
        """Ends the thread; may be called again."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_badge(image: NDArray[np.uint8]) -> str | None:
    """The text of the badge in a picture (uint8 BGR, (h, w, 3)), None where there is none."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    longest = max(grey.shape)
    if longest > LONGEST_SIDE:
        scale = LONGEST_SIDE / longest
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    try:
        text, _, _ = cv2.QRCodeDetectorAruco().detectAndDecode(grey)
    except (cv2.error, UnicodeDecodeError):
        return None  # a code of arbitrary bytes is nobody's badge
    return text if is_badge(text) else None

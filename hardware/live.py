"""Live sources: always the newest picture, whatever the reader missed meanwhile is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from hardware.errors import CameraError, CameraStopped, CameraUnreadable, Notice
from hardware.frames import Camera, Frame, Image

STALL_S = 5.0
"""Seconds without a new picture after which a live source counts as stopped. A USB camera that
lowers its rate in the dark still gives several a second."""


class Capture(Protocol):
    """What `LiveCamera` reads from: `cv2.VideoCapture`, picamera2, or a fake of either."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next picture: (True, uint8 BGR array) or (False, None) when it is over."""

    def release(self) -> None:
        """Let the device go."""


class LiveCamera(Camera):
    """Reads a capture in a thread of its own and hands out the newest picture only.

    capture: opened; released by the reading thread when it ends.
    nothing: the error to raise where not one picture comes within ``stall_s`` of opening.
    dropped: pictures that nobody took, so far.
    """

    live = True

    def __init__(
        self,
        capture: Capture,
        source: str,
        *,
        nothing: CameraError | None = None,
        stall_s: float = STALL_S,
        now_s: Callable[[], float] = time.monotonic,
        on_fault: Callable[[Notice], None] | None = None,
    ) -> None:
        super().__init__(source, on_fault)
        self.dropped = 0
        self._capture = capture
        self._stall_s = stall_s
        self._now_s = now_s
        self._change = threading.Condition()
        self._newest: Frame | None = None
        self._over = False
        self._stop = False
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)
        self._thread.start()
        with self._change:
            came = self._change.wait_for(lambda: self._newest or self._over, stall_s)
            seen = self._newest is not None
        if not came or not seen:
            self.close()
            raise nothing or CameraUnreadable(
                f"摄像头 {source} 没有画面，请检查连接。",
                f"The camera {source} gives no picture: check its cable.",
            )

    def _grab(self) -> None:
        index, began = 0, None
        try:
            while not self._stop:
                ok, image = self._capture.read()
                if not ok or image is None:
                    break
                now = self._now_s()
                began = now if began is None else began
                frame = Frame(index, now - began, _bgr(image), now)
                index += 1
                with self._change:
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._change.notify_all()
        except Exception as error:  # noqa: BLE001 (a driver may raise anything; told below)
            self._fault(
                f"摄像头 {self.source} 出错：{error}", f"The camera {self.source} failed: {error}"
            )
        finally:
            with self._change:
                self._over = True
                self._change.notify_all()
            # Only here: releasing a capture while another thread reads it crashes OpenCV.
            self._capture.release()

    def frames(self) -> Iterator[Frame]:
        while not self._closed:
            with self._change:
                self._change.wait_for(
                    lambda: self._newest or self._over or self._stop, self._stall_s
                )
                if self._stop:
                    return
                frame, self._newest = self._newest, None
            if frame is None:
                raise CameraStopped(
                    f"摄像头 {self.source} 的画面中断了，请检查连接和电源，程序会再次连接。",
                    f"The camera {self.source} stopped giving pictures: check its cable and "
                    "power; it is opened again.",
                )
            yield frame

    def _release(self) -> None:
        with self._change:
            self._stop = True
            self._change.notify_all()
        if threading.current_thread() is not self._thread:
            # A read that hangs must not hang the kiosk: the thread is a daemon and is left behind.
            self._thread.join(self._stall_s)


def _bgr(image: Any) -> Image:
    """The picture as uint8 BGR (height, width, 3); grey pictures are spread over the channels."""
    array = np.asarray(image, dtype=np.uint8)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])

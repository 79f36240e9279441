"""What every camera gives: frames, and how a camera is held and let go."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardware.errors import Notice

Image = NDArray[np.uint8]
"""uint8, shape (height, width, 3), channels blue, green, red."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
"""What counts as a picture (docs: commands), compared in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    index: number of the frame since the source started, from 0; gaps are frames that a live
        camera dropped or pictures that could not be read. It goes on where a clip loops.
    t: seconds since the source started, never falling; from the file, or elapsed for a live one.
    image: uint8 BGR, shape (height, width, 3), upright.
    arrived: reading in seconds of the monotonic clock when the picture was complete.
    """

    index: int
    t: float
    image: Image
    arrived: float


class Camera(ABC):
    """A source of frames: a context manager whose `close` may be called any number of times.

    source: as given, a password in a URL masked.
    live: True for a device, an RTSP stream and picamera2; False for a file and a folder.
    faults: the last 1,000 notices about pictures that had to be skipped, oldest first.
    """

    live: bool = False

    def __init__(self, source: str, on_fault: Callable[[Notice], None] | None = None) -> None:
        self.source = source
        self.faults: deque[Notice] = deque(maxlen=1000)
        self._on_fault = on_fault
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Frames until the file or folder ends or the camera is closed. Iterate only once.

        Raises CameraStopped where a live source dries up, CameraUnreadable where a recorded one
        turns out to hold no picture at all.
        """

    def close(self) -> None:
        """Let the device or file go."""
        if not self._closed:
            self._closed = True
            self._release()

    @abstractmethod
    def _release(self) -> None:
        """Free what is held; called once."""

    def _fault(self, zh: str, en: str) -> None:
        notice = Notice(zh, en)
        self.faults.append(notice)
        if self._on_fault is not None:
            self._on_fault(notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def hush_opencv() -> None:
    """Keep OpenCV and its FFmpeg from writing to stderr: what goes wrong is told by our errors."""
    # Read by OpenCV when its FFmpeg backend first opens something; -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

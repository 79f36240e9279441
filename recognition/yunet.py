"""The YuNet face detector (OpenCV Zoo, MIT) with the input sizes that were measured to work."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.engine import quiet_opencv
from recognition.pictures import as_frame
from recognition.types import Face, Frame

SCORE = 0.8
"""Least confidence. At 0.8 YuNet finds no face in 123 empty pictures, at 0.6 in three of a hundred
(design notes on recognition, November 2026)."""
OVERLAP = 0.3
"""Boxes that overlap more (intersection over union) are one face; OpenCV's default."""
LIVE_SIDE = 320
"""Longer side of the detector's input in pixels. 640x480 frames: 3.7 ms at 320, 13.7 ms at 640 on
one core of the development machine, with genuine cosines equal within 0.005."""
THOROUGH_SIDES = (640, 1280, 160)
"""Further inputs for photographs, tried in turn until a face is found: smaller faces, then those
that fill the picture."""
SMALLEST_SIDE = 12
"""No input is scaled to fewer pixels than this; the face would have fewer than YuNet can see."""
PREPROCESSING = "yunet-320-2x-1"
"""Goes into the model id: what the detector sees decides the landmarks, and they the template."""


class YuNet:
    """The detector; loads its network at the first picture."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._net: cv2.FaceDetectorYN | None = None
        self._size = (0, 0)

    def detect(self, frame: Frame, *, thorough: bool = False) -> list[Face]:
        """As `Engine.detect`. Pictures of at most 320 pixels are doubled first."""
        frame = as_frame(frame)
        longest = max(frame.shape[:2])
        first = 2 * longest if longest <= LIVE_SIDE else LIVE_SIDE
        faces = self._at(frame, first)
        if thorough:
            for side in THOROUGH_SIDES:
                if faces:
                    break
                if side <= 2 * longest and side != first:
                    faces = self._at(frame, side)
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _at(self, frame: Frame, side: int) -> list[Face]:
        height, width = frame.shape[:2]
        scale = side / max(height, width)
        size = (round(width * scale), round(height * scale))
        if min(size) < SMALLEST_SIDE:
            return []
        if size != (width, height):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            frame = np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8)
        rows = self._run(frame, size)
        if rows is None:
            return []
        across, down = width / size[0], height / size[1]
        return [_face(row, across, down) for row in rows if np.isfinite(row).all()]

    def _run(self, picture: Frame, size: tuple[int, int]) -> NDArray[np.float32] | None:
        if self._net is None:
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(
                    str(self._weights), "", size, SCORE, OVERLAP, 200
                )
            self._size = size
        if size != self._size:
            self._net.setInputSize(size)
            self._size = size
        rows = self._net.detect(picture)[1]
        return None if rows is None else np.asarray(rows, np.float32)


def _face(row: NDArray[np.float32], across: float, down: float) -> Face:
    x, y, width, height = (float(v) for v in row[:4])
    landmarks = row[4:14].reshape(5, 2) * np.array([across, down], np.float32)
    return Face(
        (x * across, y * down, width * across, height * down),
        np.ascontiguousarray(landmarks, np.float32),
        float(row[14]),
    )

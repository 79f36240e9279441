"""The YuNet face detector (OpenCV Zoo, MIT) with the input sizes that were measured to work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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
FOLLOW_SIDE = 128
FOLLOW_REACH = 2.5
"""A face is followed in a square this many times its box wide, shrunk to this many pixels: it has
some 50 there, and may move by three quarters of its box from frame to frame."""
AGAIN_SIDES = (64, 96, 128)
"""Pixels to which a face's box is brought when it is looked for again (`YuNet.landmarks`)."""
AGAIN_REACH = 1.5
"""Half the side of the part of the picture that is searched then, in box sides."""
PREPROCESSING = "yunet-320-2x-1"
"""Goes into the model id: what the detector sees decides the landmarks, and they the template."""


class YuNet:
    """The detector; loads its network at the first picture."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._net: cv2.FaceDetectorYN | None = None
        self._size = (0, 0)
        self._follower: cv2.FaceDetectorYN | None = None
        self._closer: cv2.FaceDetectorYN | None = None

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

    def follow(self, frame: Frame, face: Face) -> Face | None:
        """As `Engine.follow`."""
        frame = as_frame(frame)
        height, width = frame.shape[:2]
        x, y = face.centre
        side = int(min(FOLLOW_REACH * max(face.box[2:]), height, width))
        if side < SMALLEST_SIDE:
            return None
        left = int(min(max(x - side / 2, 0), width - side))
        top = int(min(max(y - side / 2, 0), height - side))
        part = frame[top : top + side, left : left + side]
        # Not INTER_AREA, which by a broken factor takes as long as the network.
        small = cv2.resize(part, (FOLLOW_SIDE, FOLLOW_SIDE), interpolation=cv2.INTER_LINEAR)
        if self._follower is None:
            # A network of its own: to change the input size of the other costs more than it saves.
            self._follower = self._create((FOLLOW_SIDE, FOLLOW_SIDE))
        rows = self._follower.detect(small)[1]
        scale = side / FOLLOW_SIDE
        found = [_face(row, scale, scale, left, top) for row in _finite(rows)]
        was = (x, y, face.box[2])
        return min(found, key=lambda f: math.dist((*f.centre, f.box[2]), was), default=None)

    def landmarks(self, frame: Frame, face: Face) -> NDArray[np.float32]:
        """The five landmarks of `face` as the mean over several detections, the given one among
        them, float32, shape (5, 2): one detection is off by some 2 % of the eyes' distance."""
        frame = as_frame(frame)
        x, y = face.centre
        largest = max(face.box[2:])
        reach = AGAIN_REACH * largest
        found = [face.landmarks]
        for side in AGAIN_SIDES:
            scale = side / max(largest, 1e-3)
            size = round(2 * reach * scale)
            move = np.array(
                [[scale, 0, (reach - x) * scale], [0, scale, (reach - y) * scale]], np.float32
            )
            part = np.asarray(cv2.warpAffine(frame, move, (size, size), flags=cv2.INTER_AREA))
            if self._closer is None:
                self._closer = self._create((size, size))
            self._closer.setInputSize((size, size))
            rows = _finite(self._closer.detect(part)[1])
            middle = (size / 2, size / 2)
            near = [
                f for row in rows if math.dist((f := _face(row, 1, 1)).centre, middle) < side / 3
            ]
            if near:
                best = max(near, key=lambda f: f.area)
                corner = np.array([x - reach, y - reach], np.float32)
                found.append(best.landmarks / np.float32(scale) + corner)
        return np.asarray(np.mean(found, axis=0), np.float32)

    def _at(self, frame: Frame, side: int) -> list[Face]:
        height, width = frame.shape[:2]
        scale = side / max(height, width)
        size = (round(width * scale), round(height * scale))
        if min(size) < SMALLEST_SIDE:
            return []
        if size != (width, height):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            frame = np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8)
        if self._net is None:
            self._net = self._create(size)
            self._size = size
        if size != self._size:
            self._net.setInputSize(size)
            self._size = size
        rows = self._net.detect(frame)[1]
        across, down = width / size[0], height / size[1]
        return [_face(row, across, down) for row in _finite(rows)]

    def _create(self, size: tuple[int, int]) -> cv2.FaceDetectorYN:
        with quiet_opencv():
            return cv2.FaceDetectorYN.create(str(self._weights), "", size, SCORE, OVERLAP, 200)


def _finite(rows: Any) -> list[NDArray[np.float32]]:
    if rows is None:
        return []
    return [row for row in np.asarray(rows, np.float32) if np.isfinite(row).all()]


def _face(
    row: NDArray[np.float32], across: float, down: float, left: int = 0, top: int = 0
) -> Face:
    x, y, width, height = (float(v) for v in row[:4])
    landmarks = row[4:14].reshape(5, 2) * np.array([across, down], np.float32)
    landmarks += np.array([left, top], np.float32)
    return Face(
        (x * across + left, y * down + top, width * across, height * down),
        np.ascontiguousarray(landmarks, np.float32),
        float(row[14]),
    )

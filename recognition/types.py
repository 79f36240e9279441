"""Types that every module of recognition shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""One picture: uint8, shape (height, width, 3), channels blue, green, red, 0 to 255."""

Template = NDArray[np.float32]
"""One embedding: float32, shape (dimension,), L2 norm 1. Scores are dot products of two."""


@dataclass(frozen=True, eq=False)
class Face:
    """A detected face, in pixels of the frame in which it was found.

    box: x, y, width, height; floats, may reach over the border.
    landmarks: float32, shape (5, 2), x and y of the person's right eye, left eye, nose tip,
        right mouth corner, left mouth corner (so the right eye lies left in the picture).
    score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels, at least 0."""
        right, left = self.landmarks[0], self.landmarks[1]
        return float(np.hypot(left[0] - right[0], left[1] - right[1]))

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, x and y in pixels."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return max(self.box[2], 0.0) * max(self.box[3], 0.0)

    @property
    def yaw(self) -> float:
        """How far the head is turned: nose tip against the middle of the eyes, along the eye line,
        in eye distances. 0 looks into the camera; positive is a turn to the person's own left.
        About 0.5 x tan(angle), so 0.2 is some 20 degrees.
        """
        right, left, nose = (self.landmarks[i].astype(np.float64) for i in range(3))
        axis = left - right
        length = float(np.hypot(*axis))
        if length < 1e-6:
            return 0.0
        return float(np.dot(nose - (right + left) / 2, axis) / length**2)

    @property
    def pitch(self) -> float:
        """Where the nose tip lies between eye line and mouth line: 0 at the eyes, 1 at the mouth.
        About 0.55 looking straight ahead; smaller looking up, larger looking down.
        """
        points = self.landmarks.astype(np.float64)
        eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
        axis = mouth - eyes
        length = float(np.hypot(*axis))
        if length < 1e-6:
            return 0.0
        return float(np.dot(points[2] - eyes, axis) / length**2)

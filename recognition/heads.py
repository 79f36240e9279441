"""A head in three dimensions out of one frontal picture, for simulating honest people: it turns
before a background that stays where it is. What is behind the ears was never photographed and is
stretched out of what is before them.

The shape is that of an adult head, the same for everybody: an ellipsoid with a nose and hollows of
the eyes, lengths in eye distances. Nothing here is used by the kiosk.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.types import Face, Frame

Floats = NDArray[np.floating]

HALF_WIDTH, HALF_HEIGHT, HALF_DEPTH = 1.20, 1.80, 1.45
"""Half axes. An adult's head is about 152 mm wide, 230 mm high and 190 mm deep, with 63 mm between
the eyes (anthropometric surveys)."""
CENTRE_DOWN, CENTRE_BACK = 0.42, 1.17
"""The middle of the head below the eyes and behind their plane; it turns about the upright axis
through it."""
NOSE, SOCKET = 0.28, 0.10
"""How far the tip stands out of the ellipsoid and the eyes lie in it: together the tip is 0.5
before the eyes' plane, some 32 mm."""
DISTANCE = 10.0
"""Of the camera: some 65 cm."""
GRID = (640, 480)
"""Points along height and breadth of the drawn half."""
RIM = np.deg2rad(60)
"""Longitude from which on the picture shows the head's edge more than its side."""


@dataclass(eq=False)
class Head:
    """One person's head. `picture`: uint8 BGR. `face`: looks ahead; where it is in the picture.

    depth: of the nose and sockets, as a multiple of the shape above; people differ.
    """

    picture: Frame
    face: Face
    depth: float = 1.0

    def __post_init__(self) -> None:
        right, left = self.face.landmarks[0], self.face.landmarks[1]
        self._origin = (right + left) / 2
        self._unit = float(np.hypot(*(left - right)))
        self._axes = np.stack([left - right, [-(left - right)[1], (left - right)[0]]]) / self._unit
        longitude, latitude = np.meshgrid(
            np.linspace(-1.65, 1.65, GRID[1], dtype=np.float32),
            np.linspace(-1.5, 1.5, GRID[0], dtype=np.float32),
        )
        # Where the picture holds nothing but the edge, its neighbour's colours go on.
        shown = np.clip(longitude, -RIM, RIM)
        u = HALF_WIDTH * np.sin(longitude) * np.cos(latitude)
        v = CENTRE_DOWN + HALF_HEIGHT * np.sin(latitude)
        z = HALF_DEPTH * np.cos(longitude) * np.cos(latitude) - CENTRE_BACK
        self._points = np.stack([u, v, z + self.depth * self._relief(u, v)], -1)
        flat = HALF_WIDTH * np.sin(shown) * np.cos(latitude)
        depth = HALF_DEPTH * np.cos(shown) * np.cos(latitude) - CENTRE_BACK
        source = np.stack([flat, v, depth + self.depth * self._relief(flat, v)], -1)
        self._source = self._seen(source)[..., :2]
        self._bare = self._without_head()

    def _relief(self, u: Floats, v: Floats) -> Floats:
        """What nose and eye sockets add to the ellipsoid."""
        tip = max(self._nose_down(), 0.3)
        ridge = np.exp(-((u / 0.18) ** 2))
        along = np.where(v < tip, np.clip(v / tip, 0, 1) ** 1.3, np.exp(-(((v - tip) / 0.12) ** 2)))
        hollow = sum(np.exp(-(((u - at) / 0.25) ** 2) - (v / 0.2) ** 2) for at in (-0.5, 0.5))
        return np.asarray(NOSE * ridge * along - SOCKET * hollow, np.float32)

    def _nose_down(self) -> float:
        return float((self.face.landmarks[2] - self._origin) @ self._axes[1]) / self._unit

    def _seen(self, points: Floats) -> Floats:
        """Pixels x and y, and the distance, of points of the head."""
        away = DISTANCE - points[..., 2]
        flat = points[..., :2] * (DISTANCE / away)[..., None] * self._unit
        return np.asarray(np.dstack([flat @ self._axes + self._origin, away]), np.float32)

    def _without_head(self) -> Frame:
        """The picture with the head painted over by what is around it."""
        small = cv2.resize(self.picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        mask = np.zeros(small.shape[:2], np.uint8)
        outline = self._seen(self._points[:, [0, -1]].reshape(1, -1, 3))[0, :, :2] / 4
        hull = cv2.convexHull(np.asarray(outline, np.float32))
        cv2.fillConvexPoly(mask, np.asarray(hull.round(), np.int32), 255)
        painted = cv2.inpaint(small, mask, 5, cv2.INPAINT_TELEA)
        size = (self.picture.shape[1], self.picture.shape[0])
        hidden = (
            cv2.GaussianBlur(cv2.resize(mask, size), (0, 0), 0.08 * self._unit)[..., None] / 255
        )
        full = hidden * cv2.resize(painted, size) + (1 - hidden) * self.picture
        return np.asarray(full, np.uint8)

    def turned(self, yaw: float, pitch: float = 0.0) -> Frame:
        """The picture with the head turned. yaw in radians, positive to the person's own left;
        pitch positive downwards."""
        about = np.array([0.0, CENTRE_DOWN, -CENTRE_BACK])
        turn = cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0]
        nod = cv2.Rodrigues(np.array([-pitch, 0.0, 0.0]))[0]
        moved = (self._points - about) @ (nod @ turn).T + about
        seen = self._seen(np.asarray(moved, np.float32))
        x, y, away = (seen[..., i].ravel() for i in range(3))
        height, width = self.picture.shape[:2]
        column, row = np.round(x).astype(int), np.round(y).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        near = (DISTANCE + 4 - away[inside]) / 8 * 65535  # 16 bits are sorted in linear time
        order = np.flatnonzero(inside)[np.argsort(near.astype(np.uint16), kind="stable")]
        maps = np.full((height, width, 2), -1, np.float32)
        maps[row[order], column[order]] = self._source.reshape(-1, 2)[order]
        drawn = cv2.remap(self.picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)
        there = np.asarray(maps[..., 0] >= 0, np.float32)
        # The last pixel of the edge is half background.
        share = np.minimum(cv2.GaussianBlur(there, (0, 0), 1.0), there)[..., None]
        return np.asarray(share * drawn + (1 - share) * self._bare, np.uint8)

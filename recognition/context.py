"""What surrounds a face, where the passive networks are weak: the edge of the paper or telephone is
out of sight, the background moves with the face, the same face is there twice.

Context never decides. A doubt makes the challenge necessary (`recognition.liveness`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.minifasnet import remapped
from recognition.types import Face, Frame

ROOM, AMPLE_ROOM = 1.2, 1.45
"""Least width or height of the picture, in face boxes of the networks, for them to see anything of
what is around the face (they were trained at 2.7 and 4.0), and to be believed when they are not
sure. 0.97 to 1.15 in pictures cropped to 1.2 faces, 1.25 to 1.44 in those cropped to 1.5, 1.52 and
more in all clips of people (8 clips, November 2026)."""
SURE = 0.9
"""Mean passive probability from which a face with little room around it is believed: 0 of 90 frames
of printed photographs cropped to 1.2 or 1.5 faces reach 0.8; 41 of 45 genuine ones cropped to 1.5
reach this."""
SIDE = 320
"""Width in pixels at which the background is followed."""
LOOK_SECONDS = 0.1
STEP, LEAP = 0.012, 0.12
"""Shares of the picture's width that the landmarks must have moved in the mean, and may have moved
at most, for the background to be compared."""
PATIENCE_SECONDS = 1.0
"""A face that stays gives no vote; the comparison begins anew after this long."""
POINTS, LEAST_POINTS = 60, 8
RIGID = 0.6
"""Share of the face's motion that may stay unexplained by the background's where both are one
picture (November 2026)."""
FREE, MOVES = 0.12, 0.15
"""The background moved less than this share of the face's motion: it stands still, as before a
camera that is screwed to the wall. From this share on it moves, if not as the face does: paper that
is tilted or bent, a detector that places the landmarks elsewhere in every frame. Votes of eight
clips of people and of photographs that fill the picture: docs/accuracy.md (November 2026)."""
OTHER_AREA = 0.15
"""Least area of a second face, as a share of the first one's, to be compared with it."""
OTHER_LOOKS = 3
"""Second faces compared in one track: a crowd must not cost an embedding each frame."""


class Doubt(Enum):
    """Why the challenge is needed although the networks see nothing wrong."""

    NO_ROOM = "no_room"
    RIGID = "rigid"
    MOVING = "moving"
    TWICE = "twice"


def room(frame: Frame, face: Face) -> float:
    """How many of the networks' face boxes the picture is wide or high, whichever is less."""
    _, _, width, height = remapped(face)
    return float(min(frame.shape[1] / max(width, 1.0), frame.shape[0] / max(height, 1.0)))


@dataclass(eq=False)
class Context:
    """The surroundings of one track. Feed it frames with `see`; it keeps one small grey picture.

    rigid, moving, free: votes on whether the background moves with the face, moves at all, or
    stands still. twice: a second face in the
    picture is the same person. clear_since: from this time, in seconds, the networks saw enough
    around the face; infinite where they do not now. tight: they see little of it.
    """

    rigid: int = 0
    moving: int = 0
    free: int = 0
    twice: bool = False
    clear_since: float = -math.inf
    tight: bool = False
    others: int = 0
    _last: float = -math.inf
    _grey: NDArray[np.uint8] | None = None
    _face: Face | None = None
    _since: float = -math.inf

    def see(self, frame: Frame, face: Face, t: float) -> None:
        """Take one frame into account; most of them cost nothing."""
        if t - self._last < LOOK_SECONDS:
            return
        self._last = t
        there = room(frame, face)
        self.tight = there < AMPLE_ROOM
        if there < ROOM:
            self.clear_since = math.inf
        elif self.clear_since == math.inf:
            self.clear_since = t
        scale = SIDE / frame.shape[1]
        if self._grey is None or self._face is None:
            self._remember(frame, face, t)
            return
        moved = float(np.hypot(*(face.landmarks - self._face.landmarks).T).mean()) * scale
        if moved < STEP * SIDE:
            if t - self._since > PATIENCE_SECONDS:
                self._remember(frame, face, t)
            return
        before, was = self._grey, self._face
        self._remember(frame, face, t)
        if moved > LEAP * SIDE or before.shape != self._grey.shape:
            return
        vote = _moves_with(before, self._grey, was, face, scale)
        self.rigid += vote is Doubt.RIGID
        self.moving += vote is Doubt.MOVING
        self.free += vote is False

    @property
    def votes(self) -> int:
        """How often the background was compared with the face's motion, and told something."""
        return self.rigid + self.moving + self.free

    def doubt(self, passive: float | None) -> Doubt | None:
        """The gravest doubt, None where there is none. passive: the networks' mean probability."""
        if self.twice:
            return Doubt.TWICE
        if self.rigid > self.free:
            return Doubt.RIGID
        if self.rigid + self.moving > self.free:
            return Doubt.MOVING
        unsure = self.tight and (passive is None or passive < SURE)
        return Doubt.NO_ROOM if unsure or self.clear_since == math.inf else None

    def _remember(self, frame: Frame, face: Face, t: float) -> None:
        size = (SIDE, max(round(frame.shape[0] * SIDE / frame.shape[1]), 1))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        self._grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
        self._face, self._since = face, t


def _moves_with(
    before: NDArray[np.uint8], now: NDArray[np.uint8], was: Face, face: Face, scale: float
) -> Doubt | bool | None:
    """Whether the background went where the face went, or somewhere, or (False) stood still; None
    where that cannot be told."""
    points = cv2.goodFeaturesToTrack(
        before, POINTS, 0.01, 5, mask=_background(before.shape, (was, face), scale)
    )
    if points is None or len(points) < LEAST_POINTS:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points, np.empty_like(points))
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, there, np.empty_like(points))
    error = np.hypot(*(back - points).reshape(-1, 2).T)
    good = (found.ravel() > 0) & (again.ravel() > 0) & (error < 1)
    if good.sum() < LEAST_POINTS:
        return None
    first, then = points.reshape(-1, 2)[good], there.reshape(-1, 2)[good]
    warp, kept = cv2.estimateAffinePartial2D(first, then, ransacReprojThreshold=1.5)
    if warp is None or kept.sum() < LEAST_POINTS or kept.mean() < 0.5:
        return None
    start, end = was.landmarks * scale, face.landmarks * scale
    carried = start @ warp[:, :2].T + warp[:, 2]
    own = float(np.hypot(*(end - start).T).mean())
    apart = float(np.hypot(*(end - carried).T).mean()) / own
    share = float(np.hypot(*(carried - start).T).mean()) / own
    if apart < RIGID:
        return Doubt.RIGID
    if share > MOVES:
        return Doubt.MOVING
    return False if share < FREE else None


def _background(
    shape: tuple[int, ...], faces: tuple[Face, Face], scale: float
) -> NDArray[np.uint8]:
    """255 where neither head, hair, shoulders nor arms can be, 0 elsewhere."""
    height, width = shape[:2]
    mask = np.full((height, width), 255, np.uint8)
    for face in faces:
        x, y, w, h = (side * scale for side in face.box)
        head = (int(x - 0.35 * w), int(y - 0.5 * h)), (int(x + 1.35 * w), height)
        shoulders = (int(x - 1.2 * w), int(y + 0.9 * h)), (int(x + 2.2 * w), height)
        for corner, opposite in (head, shoulders):
            cv2.rectangle(mask, corner, opposite, 0, -1)
    return mask

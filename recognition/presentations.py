"""Presentations made from one picture: a flat photograph that is moved, tilted or bent before the
camera, and somebody who answers a challenge with it; for measuring what gets through.

A pinhole camera looks at a print one unit wide. Nothing here is used by the kiosk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.challenge import Challenge, ChallengeState
from recognition.guidance import Guidance
from recognition.types import Face, Frame

GREY = 110
MESH = 17
"""Points along each side of the mesh that carries a print."""


@dataclass(frozen=True)
class Print:
    """How a print is held. bend: radians that its width spans on a cylinder, 0 flat, positive with
    the middle towards the camera; `bend_axis` and `axis` are the angles, in the print's plane, of
    the axes about which it is bent and tilted (pi/2 upright). distance: from the camera, in widths
    of the print."""

    tilt: float = 0.0
    axis: float = float(np.pi / 2)
    bend: float = 0.0
    bend_axis: float = float(np.pi / 2)
    distance: float = 1.6


def present(picture: Frame, held: Print, side: int = 480, *, edge: bool = True) -> Frame:
    """`picture` as a camera of `side` x `side` pixels sees it. tilt in radians. edge: beside the
    print it is grey; else, of a flat print, its border goes on, as if it had no end."""
    height, width = picture.shape[:2]
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, MESH), np.linspace(-0.5, 0.5, MESH) * height / width)
    points = _tilted(_bent(u, v, held), held)
    depth = points[..., 2] + held.distance
    focal = 0.9 * side * held.distance
    x, y = points[..., 0] / depth * focal + side / 2, points[..., 1] / depth * focal + side / 2
    source_x, source_y = (u + 0.5) * (width - 1), (v * width / height + 0.5) * (height - 1)
    if held.bend == 0:
        corners = [(0, 0), (0, -1), (-1, -1), (-1, 0)]
        source = np.array([(source_x[c], source_y[c]) for c in corners], np.float32)
        target = np.array([(x[c], y[c]) for c in corners], np.float32)
        warp = cv2.getPerspectiveTransform(source, target)
        beside = cv2.BORDER_CONSTANT if edge else cv2.BORDER_REPLICATE
        seen = cv2.warpPerspective(
            picture, warp, (side, side), borderMode=beside, borderValue=(GREY,) * 3
        )
        return np.asarray(seen, np.uint8)
    return _splat(picture, [x, y, source_x, source_y, depth], side)


def _bent(u: NDArray[np.float64], v: NDArray[np.float64], held: Print) -> NDArray[np.float64]:
    across = -u * np.sin(held.bend_axis) + v * np.cos(held.bend_axis)
    along = u * np.cos(held.bend_axis) + v * np.sin(held.bend_axis)
    depth = np.zeros_like(u)
    if held.bend:
        depth = (1 - np.cos(across * held.bend)) / held.bend
        across = np.sin(across * held.bend) / held.bend
    x = along * np.cos(held.bend_axis) - across * np.sin(held.bend_axis)
    y = along * np.sin(held.bend_axis) + across * np.cos(held.bend_axis)
    return np.stack([x, y, depth], -1)


def _tilted(points: NDArray[np.float64], held: Print) -> NDArray[np.float64]:
    about = held.tilt * np.array([np.cos(held.axis), np.sin(held.axis), 0.0])
    return np.asarray(points @ cv2.Rodrigues(about)[0].T, np.float64)


def _splat(picture: Frame, mesh: list[NDArray[np.float64]], side: int) -> Frame:
    """The mesh drawn point by point, the nearest last."""
    fine = 36 * MESH
    x, y, source_x, source_y, depth = (
        cv2.resize(np.asarray(part, np.float32), (fine, fine)).ravel() for part in mesh
    )
    # Sorting 16 bits is linear; neighbours that fall together differ by less than a pixel shows.
    steps = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6) * 65535
    order = np.argsort(65535 - steps.astype(np.uint16), kind="stable")
    column, row = np.round(x[order]).astype(int), np.round(y[order]).astype(int)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    column, row, order = column[inside], row[inside], order[inside]
    map_x, map_y = np.full((side, side), -9, np.float32), np.full((side, side), -9, np.float32)
    map_x[row, column], map_y[row, column] = source_x[order], source_y[order]
    seen = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderValue=(GREY,) * 3)
    return np.asarray(seen, np.uint8)


@dataclass
class Answerer:
    """Somebody who holds what he has before the camera and follows the prompts as well as it lets
    him: he tilts it towards the asked side, as far as `sweep` goes, and back.

    sweep: the face that the detector sees at each tilt in degrees, None where it sees none.
    speed: degrees a second. jitter: of each landmark, in eye distances. rest: the tilt, in degrees,
    that he shows when he is to look ahead.
    """

    sweep: Mapping[int, Face | None]
    speed: float = 90.0
    jitter: float = 0.008
    fps: float = 20.0
    seed: int = 0
    rest: float = 0.0

    def answer(self, challenge: Challenge) -> ChallengeState:
        """Go through with it; the state at its end."""
        rng = np.random.default_rng(self.seed)
        angle, growth, t = self.rest, 1.0, challenge.started
        furthest = max(self.sweep)
        while challenge.state is ChallengeState.OPEN and t < challenge.started + 30:
            prompt = challenge.prompt
            left = self._left()
            goal = {Guidance.TURN_LEFT: left * furthest, Guidance.TURN_RIGHT: -left * furthest}
            step = self.speed / self.fps
            angle += float(np.clip(goal.get(prompt, self.rest) - angle, -step, step))
            growth += 0.02 if prompt is Guidance.COME_NEARER else -0.02 if growth > 1 else 0.0
            found = self._at(angle)
            t += 1 / self.fps
            if found is not None:
                challenge.see(_shaken(_grown(found, growth), rng, self.jitter), t)
                if challenge.wants_look:
                    challenge.looked(True)
        return challenge.state

    def _left(self) -> int:
        """The sign of tilt that seems a turn to the left."""
        from recognition.challenge import turn_of

        turns = {a: turn_of(f) for a, f in self.sweep.items() if f is not None}
        high = sum(v for a, v in turns.items() if a > 0) - sum(v for a, v in turns.items() if a < 0)
        return 1 if high >= 0 else -1

    def _at(self, angle: float) -> Face | None:
        """The face between the two nearest tilts that were looked at."""
        known = sorted(self.sweep)
        low = max([a for a in known if a <= angle], default=known[0])
        high = min([a for a in known if a >= angle], default=known[-1])
        first, second = self.sweep[low], self.sweep[high]
        if first is None or second is None:
            return None
        share = (angle - low) / (high - low) if high > low else 0.0
        box = tuple((1 - share) * a + share * b for a, b in zip(first.box, second.box, strict=True))
        points = (1 - share) * first.landmarks + share * second.landmarks
        return Face((box[0], box[1], box[2], box[3]), np.asarray(points, np.float32), first.score)


def _grown(face: Face, growth: float) -> Face:
    x, y = face.centre
    width, height = face.box[2] * growth, face.box[3] * growth
    middle = np.array([x, y], np.float32)
    points = (face.landmarks - middle) * np.float32(growth) + middle
    return replace(face, box=(x - width / 2, y - height / 2, width, height), landmarks=points)


def _shaken(face: Face, rng: np.random.Generator, jitter: float) -> Face:
    noise = rng.normal(0, jitter * face.eye_distance, (5, 2))
    return replace(face, landmarks=np.asarray(face.landmarks + noise, np.float32))


def handheld(
    picture: Frame, seconds: float = 2.0, fps: float = 10.0, seed: int = 0
) -> Iterator[Frame]:
    """`picture` held by hand before a camera of 640 x 480 pixels so that no edge of it is seen:
    shifted, scaled, turned and tilted a little over time, with sensor noise of sigma 3."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, 6)
    height, width = picture.shape[:2]
    zoom = 1.25 * max(640 / width, 480 / height)
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    for number in range(int(seconds * fps)):
        pace = np.array([1.9, 2.7, 1.7, 1.3, 2.1, 2.3]) * number / fps + phases
        x, y, size, roll, yaw, pitch = np.sin(pace) * [18, 14, 0.06, 0.05, 1.5e-4, 1.5e-4]
        scale = zoom * (1 + size)
        turned = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0]])
        warp = np.vstack([turned * scale, [yaw, pitch, 1]]) @ to_middle
        warp = np.array([[1, 0, 320 + x], [0, 1, 240 + y], [0, 0, 1]]) @ warp
        seen = cv2.warpPerspective(picture, warp, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        noisy = seen + rng.normal(0, 3, seen.shape)
        yield np.asarray(np.clip(noisy, 0, 255), np.uint8)


def cropped(picture: Frame, face: Face, boxes: float) -> Frame:
    """The part of `picture` that is `boxes` face boxes wide and high around `face`."""
    x, y = face.centre
    half_width, half_height = face.box[2] * boxes / 2, face.box[3] * boxes / 2
    top, left = max(int(y - half_height), 0), max(int(x - half_width), 0)
    part = picture[top : int(y + half_height) + 1, left : int(x + half_width) + 1]
    return np.ascontiguousarray(part)

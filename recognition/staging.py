"""Stagings for the signs of `recognition.cues`: somebody who walks up, a picture put before the
camera, a display filmed by a camera, a fill light. Simulated, by the physics that each function
states; nothing here is used by the kiosk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.heads import CENTRE_BACK, CENTRE_DOWN, HALF_DEPTH, HALF_HEIGHT, HALF_WIDTH, Head
from recognition.types import Face, Frame

Floats = NDArray[np.floating]
GAMMA = 2.2
SIZE = (640, 480)


def noisy(frame: Floats | Frame, rng: np.random.Generator, sigma: float = 2.0) -> Frame:
    """With sensor noise of `sigma` grey levels."""
    shaken = np.asarray(frame, np.float32) + rng.normal(0, sigma, frame.shape)
    return np.asarray(np.clip(shaken, 0, 255), np.uint8)


def filling(picture: Frame) -> Frame:
    """The middle of `picture` as 640 x 480 pixels."""
    scale = max(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - SIZE[1]) // 2, (large.shape[1] - SIZE[0]) // 2
    return np.ascontiguousarray(large[top : top + SIZE[1], left : left + SIZE[0]])


def _person(picture: Frame, face: Face) -> tuple[Frame, Floats]:
    """The head and what is below it, and its mask, 0 to 1."""
    mask = np.zeros(picture.shape[:2], np.float32)
    (x, y), (w, h) = face.centre, face.box[2:]
    cv2.ellipse(mask, (int(x), int(y - 0.1 * h)), (int(0.68 * w), int(0.78 * h)), 0, 0, 360, 1, -1)
    below = np.array([[x - 0.4 * w, y + 0.4 * h], [x + 0.4 * w, y + 0.4 * h],
                      [x + 1.3 * w, y + 1.1 * h], [x + 1.3 * w, picture.shape[0]],
                      [x - 1.3 * w, picture.shape[0]], [x - 1.3 * w, y + 1.1 * h]])  # fmt: skip
    cv2.fillPoly(mask, [below.astype(np.int32)], 1)
    return picture, np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.03 * w), np.float32)


def walking_up(
    room: Frame, picture: Frame, face: Face, fps: float = 10.0, seed: int = 0
) -> Iterator[Frame]:
    """One second of the empty `room`, then the person of `picture`, cut out, who walks up: the
    image grows from 0.4 to full size in 1.2 s (from 2.5 times the distance, evenly), sways, and
    stays for 2 s. The room stays as it is; exposure adapts by up to 10 %."""
    rng = np.random.default_rng(seed)
    room = filling(room)
    person, mask = _person(picture, face)
    side = rng.choice([-1, 1]) * rng.uniform(40, 160)
    for number in range(int(4.2 * fps)):
        t = number / fps - 1.0
        if t < 0:
            yield noisy(room, rng)
            continue
        away = max(1.0, 2.5 - 1.5 * t / 1.2)
        scale = 85 / face.eye_distance / away
        sway = 8 * np.sin(3.1 * t + seed) + side * max(0.0, 1 - t / 1.2)
        x, y = face.centre
        warp = np.array([[scale, 0, 320 + sway - scale * x],
                         [0, scale, 220 + 3 * np.sin(5 * t) - scale * y]])  # fmt: skip
        over = cv2.warpAffine(person, warp, SIZE, flags=cv2.INTER_AREA)
        share = cv2.warpAffine(mask, warp, SIZE)[..., None]
        exposed = (share * over + (1 - share) * room) * (1 - 0.1 * min(t, 1.0))
        yield noisy(exposed, rng)


def put_before(room: Frame, held: Iterator[Frame], fps: float = 10.0, seed: int = 0,
               rises: float = 0.3) -> Iterator[Frame]:  # fmt: skip
    """One second of the empty `room`, then `held`, which fills the picture, pushed up from below
    within `rises` seconds (0: all at once)."""
    rng = np.random.default_rng(seed)
    room = filling(room)
    for _ in range(int(fps)):
        yield noisy(room, rng)
    for number, frame in enumerate(held):
        up = 1.0 if rises <= 0 else min(1.0, (number + 1) / (rises * fps + 1))
        rows = int(SIZE[1] * (1 - up))
        shown = room.copy()
        shown[rows:] = filling(frame)[: SIZE[1] - rows]
        yield shown if rows == 0 else noisy(shown, rng)


@dataclass(frozen=True)
class Panel:
    """A display before a camera with a rolling shutter.

    pitch: display pixels' distance in camera pixels. depth: share of the light that the grid of the
    pixels modulates before the lens blurs it. refresh: light pulses a second (of the panel or its
    dimming). duty: share of the time that it is lit. exposure, line: of the camera, in seconds.
    """

    pitch: float = 1.45
    tilt: float = 0.05
    depth: float = 0.5
    refresh: float = 243.7
    duty: float = 0.6
    exposure: float = 1 / 100
    line: float = 1 / 30 / 480
    blur: float = 0.4


def filmed(frame: Frame, t: float, panel: Panel, rng: np.random.Generator) -> Frame:
    """`frame` shown by `panel`, as the camera sees it at `t`.

    In linear light. The grid is a raised cosine in both directions with the three colours a third
    of a pixel apart; what the sensor's pixel (a box) and the lens (a Gaussian) leave of it is
    sampled at the camera's pixels, where it aliases. Every row integrates the pulses over its own
    exposure; the first Fourier term is kept.
    """
    linear = (frame.astype(np.float32) / 255) ** GAMMA
    height, width = frame.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    along, across = x + panel.tilt * y, y - panel.tilt * x
    frequency = 1 / panel.pitch
    left = float(np.sinc(frequency) * np.exp(-2 * (np.pi * panel.blur * frequency) ** 2))
    grid = np.stack(
        [
            (1 + panel.depth * left * np.cos(2 * np.pi * (frequency * along + shift)))
            * (1 + panel.depth * left * np.cos(2 * np.pi * frequency * across))
            for shift in (-1 / 3, 0, 1 / 3)
        ],
        -1,
    )
    pulse = 2 * np.sinc(panel.duty) * np.sinc(panel.refresh * panel.exposure)
    start = t + panel.line * np.arange(height, dtype=np.float64)
    rows = 1 + pulse * np.cos(2 * np.pi * panel.refresh * start)
    seen = np.clip(linear * grid * rows[:, None, None], 0, 1) ** (1 / GAMMA)
    return noisy(np.asarray(seen * 255, np.float32), rng)


def facing_lamp(head: Head) -> Floats:
    """Light of a lamp beside the camera on every pixel of the head, cosine of the angle to the
    surface (Lambert) over the distance squared, 0 outside; float32, shape (height, width)."""
    height, width = head.picture.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    right, left = head.face.landmarks[0].astype(float), head.face.landmarks[1].astype(float)
    unit = float(np.hypot(*(left - right)))
    axis = (left - right) / unit
    dx, dy = x - (right + left)[0] / 2, y - (right + left)[1] / 2
    u, v = (dx * axis[0] + dy * axis[1]) / unit, (-dx * axis[1] + dy * axis[0]) / unit
    inside = 1 - (u / HALF_WIDTH) ** 2 - ((v - CENTRE_DOWN) / HALF_HEIGHT) ** 2
    z = HALF_DEPTH * np.sqrt(np.maximum(inside, 1e-3)) - CENTRE_BACK
    normal = np.stack([u / HALF_WIDTH**2, (v - CENTRE_DOWN) / HALF_HEIGHT**2,
                       (z + CENTRE_BACK) / HALF_DEPTH**2], -1)  # fmt: skip
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lamp = np.stack([-u, -1.0 - v, 10.0 - z], -1)
    away = np.linalg.norm(lamp, axis=-1)
    cosine = (normal * lamp).sum(-1) / away
    return np.asarray(np.where(inside > 0, np.maximum(cosine, 0) * 100 / away**2, 0), np.float32)


def under_light(
    picture: Frame, lamp: Floats | float, level: float, rng: np.random.Generator,
    strength: float = 0.6, adapt: bool = True,
) -> Frame:  # fmt: skip
    """`picture` with a fill light of `level`, 0 to 1. lamp: how much of it arrives, 1 on a surface
    that faces it at the subject's distance: a map for a head (the room behind, three times as far,
    gets a ninth), 1 for paper, 0.04 for the glass of a screen, which reflects that much evenly.
    strength: against the light that is there. adapt: the camera keeps the mean brightness."""
    linear = (picture.astype(np.float32) / 255) ** GAMMA
    share = np.asarray(lamp, np.float32)
    if share.ndim == 2:
        share = np.maximum(share, 1 / 9)[..., None]
    if np.ndim(lamp) == 0 and float(share) < 0.1:
        lit = linear + level * strength * share * 0.2  # a reflection off the glass, not the picture
    else:
        lit = linear * (1 + level * strength * share)
    if adapt:
        lit *= linear.mean() / max(float(lit.mean()), 1e-6)
    return noisy(np.asarray(np.clip(lit, 0, 1) ** (1 / GAMMA) * 255, np.float32), rng)

"""Masks and dark glasses painted on faces, for measuring what they do; not used by the kiosk."""

from __future__ import annotations

import cv2
import numpy as np

from recognition.occlusion import placement
from recognition.types import Face, Frame

COLOURS = {
    "surgical blue": (205, 175, 120),
    "white": (235, 235, 235),
    "black": (35, 35, 35),
    "pink": (190, 170, 240),
    "skin": (150, 180, 215),
    "grey": (140, 140, 140),
    "green": (120, 190, 130),
}
"""Blue, green, red."""
OUTLINE = np.array(
    [[16, 66], [56, 60], [96, 66], [90, 104], [76, 120], [56, 126], [36, 120], [22, 104]],
    np.float32,
)
"""Of a mask on a face aligned as `recognition.occlusion.PLACES`, pixels."""


def masked(frame: Frame, face: Face, colour: tuple[int, int, int]) -> Frame:
    """`frame` with a pleated mask of `colour` painted on `face`, lit as the face is."""
    back = cv2.invertAffineTransform(placement(face.landmarks))
    height, width = frame.shape[:2]
    cover = np.zeros((height, width), np.float32)
    cv2.fillPoly(cover, [cv2.transform(OUTLINE[None], back)[0].astype(np.int32)], 1.0)
    unit = max(face.eye_distance / 35, 1.0)
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.8 * unit), np.float32)
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
    light = cv2.GaussianBlur(grey, (0, 0), 9 * unit)
    under = light[cover > 0.5]
    lit = max(float(np.percentile(under, 80)), 20.0) if under.size else 128.0
    shade = np.clip(light / lit, 0.35, 1.15)
    rows = np.arange(height)[:, None]
    pleats = 1 - 0.07 * np.exp(-((rows % (12 * unit) - 6 * unit) ** 2) / (2 * unit**2))
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 1))
    cloth = np.array(colour, np.float32) * (shade * pleats)[..., None] + noise
    mixed = frame * (1 - cover[..., None]) + cloth * cover[..., None]
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def shaded(frame: Frame, face: Face, rng: np.random.Generator, cover: float) -> Frame:
    """`frame` with dark glasses of a drawn size and tint painted on `face`. cover: how little of
    the eyes shows through, 0 to 1."""
    back = cv2.invertAffineTransform(placement(face.landmarks))
    lenses = np.zeros((116, 112), np.uint8)
    size = int(rng.integers(13, 17)), int(rng.integers(8, 13))
    for middle in ((38, 54), (74, 54)):
        cv2.ellipse(lenses, middle, size, 0, 0, 360, 255, -1)
    cv2.line(lenses, (48, 50), (64, 50), 255, 2)
    height, width = frame.shape[:2]
    over = cv2.warpAffine(lenses, back, (width, height))[..., None] / 255 * cover
    mixed = frame * (1 - over) + rng.uniform(5, 40, 3) * over
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)

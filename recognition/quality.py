"""Is this face good enough to be compared, and if not, what should the person do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.occlusion import both_halves
from recognition.pictures import as_frame
from recognition.types import Face, Frame

Purpose = Literal["enrol", "capture", "live", "still"]


class QualityFault(Enum):
    """What is wrong with a picture, and in `words` what to do about it."""

    NO_FACE = "no_face"
    MANY_FACES = "many_faces"
    TOO_SMALL = "too_small"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BLURRED = "blurred"
    TURNED_AWAY = "turned_away"
    CUT_OFF = "cut_off"
    MASKED = "masked"
    DARK_GLASSES = "dark_glasses"

    def words(self, lang: str = "zh") -> str:
        """What to do, in "zh" or "en"."""
        zh, en = _WORDS[self]
        return zh if lang == "zh" else en


_WORDS = {
    QualityFault.NO_FACE: ("没有找到人脸，请正对镜头", "No face found: look into the camera"),
    QualityFault.MANY_FACES: ("画面中不止一人，请只留一人", "More than one face: one person only"),
    QualityFault.TOO_SMALL: ("靠近一点", "Come a little closer"),
    QualityFault.TOO_DARK: ("光线太暗，请到亮处", "Too dark: move into the light"),
    QualityFault.TOO_BRIGHT: ("光线太强，请避开强光", "Too bright: move out of the glare"),
    QualityFault.BLURRED: ("画面模糊，请站稳", "Blurred: hold still"),
    QualityFault.TURNED_AWAY: ("请转向摄像头", "Turn to the camera"),
    QualityFault.CUT_OFF: ("请让整张脸进入画面", "Bring the whole face into the picture"),
    QualityFault.MASKED: ("请摘下口罩", "Lower your mask, please"),
    QualityFault.DARK_GLASSES: ("请摘下墨镜", "Take off your dark glasses, please"),
}


@dataclass(frozen=True)
class Limits:
    """What a face must keep to; chosen in `docs/accuracy.md`, "Quality limits"."""

    eye_distance: float  # pixels, at least
    darkest: float  # mean grey of the face, 0 to 255, at least
    brightest: float  # the same, at most
    sharpness: float  # as `sharpness_of` measures it, at least
    yaw: float  # |Face.yaw| at most
    pitch: tuple[float, float]  # Face.pitch within
    inside: float  # share of `whole_face` that lies in the picture, at least


# A template is compared for years: ask for more than of a live frame.
TEMPLATE = Limits(24.0, 50.0, 225.0, 2.0, 0.30, (0.30, 0.85), 0.90)
LIMITS: dict[Purpose, Limits] = {
    "enrol": TEMPLATE,
    "capture": TEMPLATE,
    "live": Limits(20.0, 35.0, 235.0, 1.4, 0.38, (0.20, 0.95), 0.75),
    # A track can wait for a better look; a single picture is all there is.
    "still": Limits(10.0, 20.0, 245.0, 0.5, 0.80, (0.05, 1.20), 0.50),
}


@dataclass(frozen=True)
class Measures:
    """What was measured on one face; units as in `Limits`."""

    eye_distance: float
    brightness: float
    sharpness: float
    yaw: float
    pitch: float
    inside: float
    masked: bool
    dark_glasses: bool


@dataclass(frozen=True)
class Quality:
    """The outcome: `faults` in the order in which they should be put right; `ok` without any.

    measures: None where there is no face.
    """

    faults: tuple[QualityFault, ...]
    measures: Measures | None = None

    @property
    def ok(self) -> bool:
        """No fault was found."""
        return not self.faults

    def words(self, lang: str = "zh") -> str:
        """What to do, one sentence a fault; empty where all is well."""
        return ("；" if lang == "zh" else "; ").join(f.words(lang) for f in self.faults)


def assess_quality(
    frame: Frame, face: Face | Sequence[Face], purpose: Purpose = "enrol"
) -> Quality:
    """Judge `face`, or the only face of a sequence, in `frame` (uint8 BGR, shape (h, w, 3)).

    "enrol" judges given pictures, "capture" somebody at the desk's camera. For both a second face
    is a fault unless it is small (a passer-by, under a fifth of the area of the first); for "live"
    and "still" the first is judged, the others are passed over.
    """
    faces = [face] if isinstance(face, Face) else sorted(face, key=lambda f: f.area, reverse=True)
    if not faces:
        return Quality((QualityFault.NO_FACE,))
    first = faces[0]
    measures = measure(frame, first)
    limits = LIMITS[purpose]
    many = purpose in ("enrol", "capture") and len(faces) > 1 and faces[1].area > 0.2 * first.area
    checks = (
        (QualityFault.MANY_FACES, many),
        (QualityFault.CUT_OFF, measures.inside < limits.inside),
        (
            QualityFault.TOO_SMALL,
            measures.eye_distance < limits.eye_distance and not _turned(measures, limits),
        ),
        (QualityFault.TURNED_AWAY, _turned(measures, limits)),
        (QualityFault.TOO_DARK, measures.brightness < limits.darkest),
        (QualityFault.TOO_BRIGHT, measures.brightness > limits.brightest),
        (QualityFault.BLURRED, measures.sharpness < limits.sharpness),
        # Asked to be lowered, never guessed through; a still cannot be taken again.
        (QualityFault.MASKED, measures.masked and purpose != "still"),
        # Who stands there can take them off. A given picture with them did no harm as a template.
        (QualityFault.DARK_GLASSES, measures.dark_glasses and purpose in ("capture", "live")),
    )
    return Quality(tuple(fault for fault, found in checks if found), measures)


def _turned(measures: Measures, limits: Limits) -> bool:
    low, high = limits.pitch
    return abs(measures.yaw) > limits.yaw or not low <= measures.pitch <= high


def measure(frame: Frame, face: Face) -> Measures:
    """What `assess_quality` judges, measured on `face` in `frame`."""
    frame = as_frame(frame)
    height, width = frame.shape[:2]
    x, y, w, h = whole_face(face)
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + w, width), min(y + h, height)
    inside = max(right - left, 0) * max(bottom - top, 0) / max(w * h, 1e-6)
    chip = grey_chip(frame, face)
    lower, upper = both_halves(frame, face)
    return Measures(
        eye_distance=face.eye_distance,
        brightness=float(chip.mean()),
        sharpness=sharpness_of(chip),
        yaw=face.yaw,
        pitch=face.pitch,
        inside=float(inside),
        masked=lower.masked,
        dark_glasses=upper.dark_glasses,
    )


SMOOTHED = 1.5
"""Standard deviation, in pixels of the chip, of the Gaussian before the Laplacian. Of 774 looks,
sharp and blurred, under noise of sigma 0.5, 3 and 6, it ranks those that would be missed below the
others in 91 and 93 of 100 pairs (first and second half of the people); the bare Laplacian, which
takes noise for edges, in 73 and 71 (docs/accuracy.md, "The live quality gate", November 2026)."""
LEAST_CONTRAST = 4.0
"""Standard deviation, grey levels, below which a chip holds noise and little else."""


def sharpness_of(chip: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of Gaussian of `chip`, as `grey_chip` makes it, in thousandths of
    the chip's own variance: the same in glare, in the dark and in good light."""
    grey = chip.astype(np.float32)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), SMOOTHED), cv2.CV_32F)
    return float(1000 * edges.var() / max(float(grey.var()), LEAST_CONTRAST**2))


def whole_face(face: Face) -> tuple[float, float, float, float]:
    """x, y, width, height of the face from brows to chin, reckoned from the landmarks: the
    detector's box ends where the picture ends, and cannot tell that half a face is missing."""
    points = face.landmarks.astype(np.float64)
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    # Eyes to mouth is about as far as eye to eye; the larger of both survives a turn or a nod.
    unit = max(face.eye_distance, float(np.hypot(*(mouth - eyes))), 1e-3)
    middle = (eyes + mouth) / 2
    return middle[0] - unit, middle[1] - unit, 2 * unit, 2.1 * unit


CHIP = 96


def grey_chip(frame: Frame, face: Face) -> NDArray[np.uint8]:
    """The part of the face's box that lies in the picture, grey, uint8, 96 x 96 pixels.

    Every face is judged at one size, so that a sharp far face and a sharp near one count alike.
    """
    height, width = frame.shape[:2]
    x, y, w, h = face.box
    left, top = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
    right = min(max(int(x + w), left + 1), width)
    bottom = min(max(int(y + h), top + 1), height)
    part = frame[top:bottom, left:right]
    how = cv2.INTER_AREA if part.shape[0] > CHIP else cv2.INTER_LINEAR
    chip = cv2.resize(part, (CHIP, CHIP), interpolation=how)
    return np.asarray(cv2.cvtColor(chip, cv2.COLOR_BGR2GRAY), np.uint8)

"""Is the face covered by a mask, or are the eyes by dark glasses?

A mask has neither lips nor nostrils. The face is brought to one size by its landmarks (which the
detector guesses through a mask well enough), and the mouth's part is compared with the eyes' part:
how much goes on there from line to line, how red it is in places, whether it has the colour of
the cheeks under the eyes. Hats and glasses do not lie there. A beard has lines, and the cheek's
colour is not asked for alone.

Behind dark glasses nothing is as bright as the cheeks under them: an eye has its white and its
lids, also in the shadow of the brow. Clear glasses hide neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.types import Face, Frame

PLACES = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
"""Where the five landmarks come to lie, in pixels: as in a face aligned for SFace, 112 x 112."""
CHIP = (112, 116)
EYES = (28, 84, 44, 58)
MOUTH = (38, 74, 80, 104)
UPPER = ((34, 46, 58, 65), (66, 78, 58, 65), (50, 62, 40, 52))
LOWER = ((30, 40, 84, 104), (72, 82, 84, 104), (46, 66, 102, 112))
"""Parts of the chip, x from and to, y from and to: skin under the eyes and between them; cheeks
beside the mouth, and the chin."""
SMOOTH, SMOOTH_PALE = 0.35, 8.0
"""A mouth with less than this share of the eyes' detail, and less red than this, is covered."""
STRANGE, STRANGE_DETAIL, STRANGE_PALE = 12.0, 0.55, 5.0
"""So is one of another colour than the cheeks above, with less than this detail and red. Both
rules together accuse 0 of 305 honest faces of frames and none of 290 pictures, and see 97.6 % and
95.2 % of painted masks of seven colours, on one half of the people and on the other (November
2026; scripts/measure_masks.py; docs/accuracy.md, "Masks")."""
LEAST_DETAIL = 1.5
"""Grey levels from line to line at the eyes below which the picture is too soft to tell."""
LENSES = ((29, 48, 44, 60), (65, 84, 44, 60))
UNDER, BROW = ((30, 46, 62, 74), (66, 82, 62, 74)), (40, 72, 22, 34)
"""Parts of the chip: around each eye, the cheek under it, and the forehead."""
DIM, DARK = 0.50, 0.45
"""Lightness of the brightest parts around the eyes, and of their middle, as shares of the skin's:
below both the glasses are dark. Of 198 pictures of LFW without any the least has 0.65, of two with
some the more 0.45; 0 of 305 other honest pictures and frames are accused (November 2026;
scripts/measure_masks.py; docs/accuracy.md, "Dark glasses")."""


@dataclass(frozen=True)
class LowerFace:
    """What was seen. eyes: detail at the eyes, grey levels from line to line. detail: that of the
    mouth as a share of it. red: spread of redness at the mouth, and strange: distance in colour
    between the lower and the upper face, both in units of CIE Lab."""

    eyes: float
    detail: float
    red: float
    strange: float

    @property
    def masked(self) -> bool:
        """A mask covers mouth and nose."""
        if self.eyes < LEAST_DETAIL:
            return False
        smooth = self.detail < SMOOTH and self.red < SMOOTH_PALE
        strange = (
            self.strange > STRANGE and self.detail < STRANGE_DETAIL and self.red < STRANGE_PALE
        )
        return smooth or strange


@dataclass(frozen=True)
class UpperFace:
    """What was seen, as shares of the lightness of cheeks or forehead, whichever is less: a white
    mask is no cheek. bright: of the brightest 15 in 100 pixels around the eye that has more of
    them. middle: median around the lighter eye."""

    bright: float
    middle: float

    @property
    def dark_glasses(self) -> bool:
        """Dark glasses, or hair, cover the eyes."""
        return self.bright < DIM and self.middle < DARK


def both_halves(frame: Frame, face: Face) -> tuple[LowerFace, UpperFace]:
    """Measure `face` in `frame` (uint8 BGR, shape (h, w, 3)); it is aligned once."""
    lab = _aligned(frame, face)
    return _lower(lab), _upper(lab)


def upper_face(frame: Frame, face: Face) -> UpperFace:
    """As `both_halves`."""
    return _upper(_aligned(frame, face))


def lower_face(frame: Frame, face: Face) -> LowerFace:
    """As `both_halves`."""
    return _lower(_aligned(frame, face))


def _upper(lab: NDArray[np.float32]) -> UpperFace:
    cheeks = float(np.mean([np.median(_part(lab, p)[..., 0]) for p in UNDER]))
    skin = max(min(cheeks, float(np.median(_part(lab, BROW)[..., 0]))), 1.0)
    eyes = [_part(lab, p)[..., 0] for p in LENSES]
    return UpperFace(
        bright=max(float(np.quantile(eye, 0.85)) for eye in eyes) / skin,
        middle=max(float(np.median(eye)) for eye in eyes) / skin,
    )


def _lower(lab: NDArray[np.float32]) -> LowerFace:
    eyes, mouth = _detail(lab, EYES), _detail(lab, MOUTH)
    redness = _part(lab, MOUTH)[..., 1]
    # Between the tenth most and the fifth least: a lip is a small part of it.
    least, most = np.percentile(redness, (20, 90))
    upper = np.median(np.concatenate([_part(lab, p).reshape(-1, 3) for p in UPPER]), axis=0)
    lower = np.median(np.concatenate([_part(lab, p).reshape(-1, 3) for p in LOWER]), axis=0)
    return LowerFace(
        eyes=eyes,
        detail=mouth / (eyes + 0.5),
        red=float(most - least),
        strange=float(np.hypot(*(lower - upper)[1:])),
    )


def _aligned(frame: Frame, face: Face) -> NDArray[np.float32]:
    """The face at one size, in CIE Lab of 0 to 255, float32, shape (116, 112, 3)."""
    chip = cv2.warpAffine(frame, placement(face.landmarks), CHIP, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(chip, cv2.COLOR_BGR2LAB).astype(np.float32)


def _part(chip: NDArray[np.float32], part: tuple[int, int, int, int]) -> NDArray[np.float32]:
    left, right, top, bottom = part
    return chip[top:bottom, left:right]


def _detail(lab: NDArray[np.float32], part: tuple[int, int, int, int]) -> float:
    """Mean change from line to line, sensor noise smoothed away."""
    smooth = cv2.GaussianBlur(_part(lab, part)[..., 0], (0, 0), 1)
    return float(np.abs(np.diff(smooth, axis=0)).mean())


def placement(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The similarity (turn, scale, shift) that brings the landmarks nearest to PLACES."""
    points, places = landmarks.astype(np.float64), PLACES.astype(np.float64)
    middle, target = points.mean(axis=0), places.mean(axis=0)
    a, b = points - middle, places - target
    size = max(float((a * a).sum()), 1e-6)
    along = float((a * b).sum()) / size
    across = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array([[along, -across], [across, along]])
    return np.hstack([turn, (target - turn @ middle)[:, None]])

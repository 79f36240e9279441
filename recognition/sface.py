"""The default engine: YuNet and SFace (OpenCV Zoo, MIT and Apache-2.0) through OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.engine import model_id, quiet_opencv, unit
from recognition.pictures import as_frame
from recognition.types import Face, Frame, Template
from recognition.weights import SFACE, SFACE_SET, YUNET, find_weights
from recognition.yunet import PREPROCESSING, YuNet

THRESHOLD = 0.50
"""Cosine. FPIR 0.01 % and TPIR 98.4 % at a gallery of 36, 3 photographs each, single stills of LFW
(13,233 pictures), November 2026. On 182 East Asian people at 0.45: FPIR 0.6 %; at 0.50, 40 East
Asian adults in hard poses: FPIR 0 to 0.6 %, TPIR 96.4 %. OpenCV's own 0.363 gives FPIR 7.5 %."""
MARGIN = 0.03
"""Least lead over the second person. Measured to change nothing beyond noise on LFW (N = 36,
November 2026); kept small, so that two people whom the model cannot tell apart (twins) are called
ambiguous instead of being guessed."""
SAME_FACE = 0.30
"""Least cosine of a look with the mean of its track. Between two people of LFW one pair in a
thousand reaches 0.343 (19,500 pairs, November 2026); looks of one person within a clip stay above
0.6 (five clips)."""
SHRINK_ABOVE = 160.0
"""Eye distance in pixels above which the face is shrunk with averaging before it is aligned: SFace
sees 35 pixels between the eyes, and sampling every fifth pixel of a big photograph is noise."""
SHRINK_TO = 80.0
SHIFT = 2.0
"""Pixels of the aligned 112 x 112 face by which a thorough look is shifted each way."""
VIEWS = ((0.0, 0.0), (SHIFT, 0.0), (-SHIFT, 0.0), (0.0, SHIFT), (0.0, -SHIFT))
EYES = 35.24
"""Pixels between the eyes of an aligned face."""


class SFaceEngine:
    """YuNet and SFace; see `Engine`. The networks load at the first use."""

    name = "sface"
    model_id = model_id("sface", SFACE_SET, PREPROCESSING + " alignCrop-112 area-160-80 views-7")
    dimension = 128
    threshold = THRESHOLD
    margin = MARGIN
    same_face = SAME_FACE

    def __init__(self, yunet: Path, sface: Path) -> None:
        self._detector = YuNet(yunet)
        self._weights = sface
        self._net: cv2.FaceRecognizerSF | None = None

    @classmethod
    def find(cls, data_dir: Path | None = None) -> SFaceEngine:
        """The engine with its weights found; raises WeightsMissing or WeightsCorrupt."""
        weights = find_weights(data_dir, SFACE_SET)
        return cls(weights.path(YUNET), weights.path(SFACE))

    def detect(self, frame: Frame, *, thorough: bool = False) -> list[Face]:
        """See `Engine.detect`."""
        return self._detector.detect(frame, thorough=thorough)

    def follow(self, frame: Frame, face: Face) -> Face | None:
        """See `Engine.follow`."""
        return self._detector.follow(frame, face)

    def embed(self, frame: Frame, face: Face, *, thorough: bool = False) -> Template:
        """See `Engine.embed`: float32, shape (128,)."""
        frame = as_frame(frame)
        if not thorough:
            picture, points = shrunk(frame, face)
            return unit(self._feature(self._aligned(picture, points)))
        # Half of it aligned by the mean of several detections, as it is and mirrored; half by the
        # one detection, shifted a little: what alignment leaves to chance is averaged away.
        whole = np.zeros(self.dimension, np.float32)
        again = Face(face.box, self._detector.landmarks(frame, face), face.score)
        chip = self._aligned(*shrunk(frame, again))
        for view in (chip, np.ascontiguousarray(chip[:, ::-1])):
            whole += unit(self._feature(view)) / 2
        picture, points = shrunk(frame, face)
        across = (points[1] - points[0]) / EYES  # one pixel of the aligned face
        down = np.array([-across[1], across[0]], np.float32)
        for x, y in VIEWS:
            chip = self._aligned(picture, points + np.float32(x) * across + np.float32(y) * down)
            whole += unit(self._feature(chip)) / len(VIEWS)
        return unit(whole)

    def _aligned(self, picture: Frame, points: NDArray[np.float32]) -> Frame:
        row = np.zeros((1, 15), np.float32)
        row[0, 4:14] = points.reshape(-1)
        return np.asarray(self._network().alignCrop(picture, row), np.uint8)

    def _feature(self, chip: Frame) -> NDArray[np.float32]:
        return np.asarray(self._network().feature(chip), np.float32)

    def _network(self) -> cv2.FaceRecognizerSF:
        if self._net is None:
            with quiet_opencv():
                self._net = cv2.FaceRecognizerSF.create(str(self._weights), "")
        return self._net


def shrunk(frame: Frame, face: Face) -> tuple[Frame, NDArray[np.float32]]:
    """`frame` and the landmarks, or a smaller copy of the face's surroundings and theirs."""
    distance = face.eye_distance
    if distance <= SHRINK_ABOVE:
        return frame, face.landmarks
    reach = 3 * distance  # the aligned 112 x 112 square reaches 1.6 eye distances from the nose
    middle = face.landmarks.mean(axis=0)
    height, width = frame.shape[:2]
    left, top = (max(int(v), 0) for v in middle - reach)
    right, bottom = min(int(middle[0] + reach), width), min(int(middle[1] + reach), height)
    if right - left < 2 or bottom - top < 2:
        return frame, face.landmarks
    part = frame[top:bottom, left:right]
    size = tuple(max(round(v * SHRINK_TO / distance), 1) for v in (right - left, bottom - top))
    small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([size[0] / (right - left), size[1] / (bottom - top)], np.float32)
    return small, (face.landmarks - np.array([left, top], np.float32)) * scale

"""The engine of `face_recognition`: dlib's 5-point alignment and ResNet, faces found by YuNet.

It calls dlib itself and gives what `face_recognition.face_encodings(model="small")` gives for the
same box; that library is not imported, since its import loads the 68-point model, which may not
be used commercially.

Measured in November 2026 (design notes on recognition), Euclidean distance, LFW and 182 East Asian
people: the library's own threshold of 0.6 gives an FPR of 51 % between East Asian faces of one sex;
at a gallery of 36 with 3 photographs each an FPIR of 28.5 % (East Asian, hard poses: 98 %); at 0.45
0.2 % on LFW and 72 % among those East Asian faces; at 0.40 still 34 %. Choose `sface` unless there
is a reason not to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.engine import model_id, unit
from recognition.errors import EngineMissing
from recognition.pictures import as_frame
from recognition.types import Face, Frame, Template
from recognition.weights import DLIB_FIVE_POINTS, DLIB_RESNET, DLIB_SET, YUNET, find_weights
from recognition.yunet import PREPROCESSING, YuNet

THRESHOLD = 0.953
"""Cosine; where the Euclidean distance is 0.45 (mean over 19,900 pairs of LFW, standard deviation
0.004, November 2026). At 0.45: TPIR 83 %, FPIR 0.2 % at a gallery of 36, 3 photographs, LFW; FPIR
72 % there among 40 East Asian adults."""
MARGIN = 0.003
"""As SFace's, in proportion to the narrower spread of these cosines."""
SAME_FACE = 0.90
"""Least cosine of a look with the mean of its track; a distance of some 0.62, which one pair of
different people in a hundred undercuts (19,500 pairs of LFW, November 2026)."""
BOX_SIDE = 0.95
"""Side of dlib's own square boxes, as a share of the root of the area of YuNet's box: mean over
105 pictures of LFW and deepface, standard deviation 0.07 (November 2026)."""
BOX_DOWN = 0.043
"""How far down its middle lies, as a share of the height of YuNet's box (the same pictures)."""


class DlibEngine:
    """YuNet, dlib's 5 points and ResNet; see `Engine`. The networks load at the first use.

    Templates are the descriptors divided by their length, so that a score is a cosine, rises with
    likeness and goes through the same gallery as SFace's.
    """

    name = "dlib"
    model_id = model_id("dlib", (YUNET, *DLIB_SET), PREPROCESSING + " square-095-043 unit")
    dimension = 128
    threshold = THRESHOLD
    margin = MARGIN
    same_face = SAME_FACE

    def __init__(self, yunet: Path, five_points: Path, resnet: Path) -> None:
        self._detector = YuNet(yunet)
        self._files = (five_points, resnet)
        self._nets: tuple[Any, Any] | None = None

    @classmethod
    def find(cls, data_dir: Path | None = None) -> DlibEngine:
        """The engine with its weights found; raises EngineMissing without dlib, else as SFace's."""
        weights = find_weights(data_dir, (YUNET, *DLIB_SET))
        _dlib()
        return cls(weights.path(YUNET), weights.path(DLIB_FIVE_POINTS), weights.path(DLIB_RESNET))

    def detect(self, frame: Frame, *, thorough: bool = False) -> list[Face]:
        """See `Engine.detect`."""
        return self._detector.detect(frame, thorough=thorough)

    def follow(self, frame: Frame, face: Face) -> Face | None:
        """See `Engine.follow`."""
        return self._detector.follow(frame, face)

    def embed(self, frame: Frame, face: Face, *, thorough: bool = False) -> Template:
        """See `Engine.embed`: float32, shape (128,); `thorough` changes nothing."""
        return unit(self.encoding(frame, square_box(face)))

    def encoding(self, frame: Frame, box: tuple[int, int, int, int]) -> NDArray[np.float64]:
        """dlib's descriptor of the face in `box`, float64, shape (128,), not of unit length.

        box: top, right, bottom, left in pixels, as `face_recognition` has it.
        """
        dlib = _dlib()
        if self._nets is None:
            five_points, resnet = (str(path) for path in self._files)
            self._nets = (
                dlib.shape_predictor(five_points),
                dlib.face_recognition_model_v1(resnet),
            )
        points, net = self._nets
        rgb = np.ascontiguousarray(as_frame(frame)[:, :, ::-1])
        top, right, bottom, left = box
        shape = points(rgb, dlib.rectangle(left, top, right, bottom))
        return np.asarray(net.compute_face_descriptor(rgb, shape, 1), np.float64)


def square_box(face: Face) -> tuple[int, int, int, int]:
    """The square that dlib's own detector would draw: top, right, bottom, left in pixels."""
    x, y = face.centre
    half = BOX_SIDE * face.area**0.5 / 2
    y += BOX_DOWN * face.box[3]
    return round(y - half), round(x + half), round(y + half), round(x - half)


def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise EngineMissing(
            "the dlib engine needs dlib: pip install 'quxiang[dlib]', or choose sface",
            "dlib 引擎需要安装 dlib：pip install 'quxiang[dlib]'，或改用 sface",
        ) from None
    return dlib

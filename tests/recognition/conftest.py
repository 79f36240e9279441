"""Fixtures of the recognition tests: engines, clips, faces that look like faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.errors import WeightsMissing
from recognition.minifasnet import MiniFASNet
from recognition.types import Face, Frame, Template
from recognition.weights import MINIFASNET_V1SE, MINIFASNET_V2


@pytest.fixture(scope="session")
def sface() -> Engine:
    """The default engine."""
    try:
        return load_engine("sface")
    except WeightsMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def dlib_engine() -> Engine:
    """The engine of face_recognition."""
    pytest.importorskip("dlib")
    try:
        return load_engine("dlib")
    except WeightsMissing as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Clip:
    """A clip read into memory."""

    name: str
    frames: list[Frame]
    fps: float


def read_clip(path: Path, seconds: float = 4.0) -> Clip:
    """The first seconds of a clip."""
    source = cv2.VideoCapture(str(path))
    fps = float(source.get(cv2.CAP_PROP_FPS))
    frames: list[Frame] = []
    while len(frames) < seconds * fps:
        ok, frame = source.read()
        if not ok:
            break
        frames.append(frame)
    source.release()
    return Clip(path.stem, frames, fps)


@pytest.fixture(scope="session")
def clips(shared_data: Path) -> list[Clip]:
    """Every clip of the development set, four seconds of each."""
    return [read_clip(p) for p in sorted((shared_data / "videos").iterdir())]


@pytest.fixture(scope="session")
def templates(clips: list[Clip], sface: Engine) -> dict[str, np.ndarray]:
    """Three templates of each clip's person, from its first second."""
    found = {}
    for clip in clips:
        chosen = [clip.frames[i] for i in (0, int(clip.fps // 2), int(clip.fps) - 1)]
        found[clip.name] = np.stack(
            [sface.embed(f, sface.detect(f, thorough=True)[0]) for f in chosen]
        )
    return found


@pytest.fixture(scope="session")
def networks(shared_models: Path) -> MiniFASNet:
    """The two networks of the development weights."""
    return MiniFASNet(
        [(shared_models / MINIFASNET_V2.name, 2.7), (shared_models / MINIFASNET_V1SE.name, 4.0)]
    )


def make_face(
    x: float = 320, y: float = 240, eyes: float = 60, yaw: float = 0.0, score: float = 0.9
) -> Face:
    """A face whose eyes' middle is at x, y; looking ahead unless turned."""
    points = np.array(
        [
            [x - eyes / 2, y],
            [x + eyes / 2, y],
            [x + yaw * eyes, y + 0.55 * eyes],
            [x - 0.4 * eyes, y + eyes],
            [x + 0.4 * eyes, y + eyes],
        ],
        np.float32,
    )
    return Face((x - 1.1 * eyes, y - 1.1 * eyes, 2.2 * eyes, 2.8 * eyes), points, score)


class ScriptedEngine:
    """An engine whose faces and identities the test writes down beforehand, frame by frame.

    The frame carries its number in its first pixel; everything behind the engine is real.
    """

    name = "scripted"
    model_id = "scripted-000000000000"
    dimension = 8
    threshold = 0.5
    margin = 0.03
    same_face = 0.3

    def __init__(self) -> None:
        self.script: list[list[tuple[Face, Template]]] = []
        self.embedded: list[int] = []
        self._rng = np.random.default_rng(0)

    def add(self, *people: tuple[Face, Template], times: int = 1) -> None:
        """Append frames in which these people stand."""
        self.script += [list(people)] * times

    def frames(self, *, still: bool = False) -> list[Frame]:
        """The frames to play: texture that changes from frame to frame unless `still`."""
        made = []
        picture = self._texture()
        for number in range(len(self.script)):
            frame = (picture if still else self._texture()).copy()
            frame[0, 0] = (number // 256, number % 256, 7)
            made.append(frame)
        return made

    def _texture(self) -> Frame:
        coarse = self._rng.integers(60, 190, (96, 128, 3), dtype=np.uint8)
        return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_NEAREST))

    def detect(self, frame: Frame, *, thorough: bool = False) -> list[Face]:
        return sorted(
            (face for face, _ in self.script[self._number(frame)]),
            key=lambda f: f.area,
            reverse=True,
        )

    def follow(self, frame: Frame, face: Face) -> Face | None:
        x, y = face.centre
        near = [
            f
            for f, _ in self.script[self._number(frame)]
            if max(abs(f.centre[0] - x), abs(f.centre[1] - y)) < face.box[2]
        ]
        return min(near, key=lambda f: abs(f.box[2] - face.box[2]), default=None)

    def embed(self, frame: Frame, face: Face, *, thorough: bool = False) -> Template:
        number = self._number(frame)
        self.embedded.append(number)
        return next(t for f, t in self.script[number] if f is face)

    @staticmethod
    def _number(frame: Frame) -> int:
        return int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1])


@pytest.fixture
def scripted() -> ScriptedEngine:
    """See `ScriptedEngine`."""
    return ScriptedEngine()


@pytest.fixture(scope="session")
def person() -> Callable[[int, float], Template]:
    """person(i) is a template of person i; person(i, likeness) has that cosine with it."""

    def make(number: int, likeness: float = 1.0) -> Template:
        vector = np.zeros(8, np.float32)
        vector[number] = likeness
        vector[7] = float(np.sqrt(max(0.0, 1 - likeness**2)))
        return vector

    return make


@pytest.fixture(scope="session")
def face_at() -> Callable[..., Face]:
    """See `make_face`."""
    return make_face

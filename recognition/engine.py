"""The interface of an engine (detector and embedder), and what engines share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import cv2
import numpy as np

from recognition.types import Face, Frame, Template
from recognition.weights import Pinned


class Engine(Protocol):
    """What finds and embeds faces. Not thread-safe: one engine belongs to one thread.

    name: "sface" or "dlib". model_id: the templates' origin; never compare across two of them.
    dimension: numbers in a template. threshold: a score at or above it may be a match, from the
    measurement that the engine's module cites. margin: least lead over the second person.
    same_face: a look whose score with the mean of its track is below it is of somebody else.
    """

    name: str
    model_id: str
    dimension: int
    threshold: float
    margin: float
    same_face: float

    def detect(self, frame: Frame, *, thorough: bool = False) -> list[Face]:
        """Faces in `frame` (uint8 BGR, shape (h, w, 3)), largest first; [] where there are none.

        thorough: also look for much smaller and much larger faces (for photographs; a kiosk's
        camera needs only those who stand before it).
        """
        ...

    def follow(self, frame: Frame, face: Face) -> Face | None:
        """`face`, found in an earlier frame, sought around its place in `frame` alone; None where
        it is not there. A third of the cost of `detect`, which a caller must still ask for anybody
        else."""
        ...

    def embed(self, frame: Frame, face: Face, *, thorough: bool = False) -> Template:
        """The template of `face` in `frame`: float32, shape (dimension,), L2 norm 1.

        thorough: the mean of several views of the face, for photographs, of which there is only
        one; the looks of a track are averaged anyway. Costs some eight times as much; an engine
        that gains nothing by it may do the same as without.
        """
        ...


def model_id(name: str, weights: Sequence[Pinned], preprocessing: str) -> str:
    """`name` and 12 hex digits of SHA-256 over the weights' own hashes and the preprocessing."""
    told = "\n".join([*(w.sha256 for w in weights), preprocessing])
    return f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def unit(vector: np.ndarray) -> Template:
    """`vector` flattened to float32 and divided by its L2 norm (a zero vector stays zero)."""
    flat = np.asarray(vector, np.float32).reshape(-1)
    norm = float(np.linalg.norm(flat))
    return np.ascontiguousarray(flat / norm if norm > 0 else flat, np.float32)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence a warning that OpenCV 5 prints for every network that it loads."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)

"""The choice among the engines, by name."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from recognition.engine import Engine
from recognition.errors import RecognitionError
from recognition.weights import ENGINES

THREADS = min(2, os.cpu_count() or 1)
"""Threads of OpenCV. Two, because the second halves the time of an embedding (15.5 to 8.3 ms here)
while a Raspberry Pi's other two cores stay free for the screen, its browser and the store."""


def load_engine(name: str = "sface", data_dir: Path | None = None) -> Engine:
    """The engine called `name`, its weights found and checked; networks load at the first use.

    data_dir: the role's data folder, whose `models` is searched. Raises WeightsMissing,
    WeightsCorrupt, EngineMissing, or RecognitionError for an unknown name.
    """
    cv2.setNumThreads(THREADS)
    if name == "sface":
        from recognition.sface import SFaceEngine

        return SFaceEngine.find(data_dir)
    if name == "dlib":
        from recognition.dlib_engine import DlibEngine

        return DlibEngine.find(data_dir)
    raise RecognitionError(
        f"there is no engine {name!r}; choose {' or '.join(ENGINES)}",
        f"没有名为 {name!r} 的识别引擎，请选 {' 或 '.join(ENGINES)}",
    )

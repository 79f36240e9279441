"""Weights, and what one frame costs on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kiosk.checks.machine import Check, State
from kiosk.views import SLOW_S

if TYPE_CHECKING:
    from recognition.engine import Engine

ENOUGH_S = SLOW_S
"""What a picture with a face may cost: a decision wants three looks, and a greeting within a second
is promised."""
TRIES = 3


def weights(data: Path) -> Check:
    """The networks' files."""
    from recognition.weights import LIVENESS_SET, SFACE_SET, find_weights

    found = find_weights(data, SFACE_SET, fetch=False)
    for pinned in SFACE_SET:
        found.path(pinned)
    if find_weights(data, LIVENESS_SET, fetch=False).missing:
        # The kiosk works without them, so nothing is wrong that a technician must mend today.
        return Check(
            "weights",
            State.WARN,
            (
                "识别模型齐全，缺少活体检测模型，每人都须按提示转头",
                "recognition weights are there, those for liveness are not: everybody is asked to "
                "turn the head",
            ),
            ("请运行 quxiang-recognition weights", "run quxiang-recognition weights"),
        )
    return Check("weights", State.OK, ("识别模型齐全", "recognition weights are there"))


def speed(
    data: Path,
    *,
    running: bool = False,
    load: Callable[[str, Path], Engine] | None = None,
    mono: Callable[[], float] = time.perf_counter,
) -> Check:
    """One picture of 640x480 searched and one face embedded, the best of three.

    running: a kiosk runs beside, which makes it slower. Raises RecognitionError without weights.
    """
    import numpy as np

    from recognition.engines import load_engine
    from recognition.types import Face

    engine = (load or load_engine)("sface", data)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    marks = np.array([[275, 200], [365, 200], [320, 250], [280, 300], [360, 300]], np.float32)
    face = Face((220.0, 120.0, 200.0, 240.0), marks, 0.9)
    took = []
    for _ in range(TRIES + 1):
        began = mono()
        engine.detect(picture)
        engine.embed(picture, face)
        took.append(mono() - began)
    best = min(took[1:])  # the first one loads the networks
    found = (
        f"一帧 {best * 1000:.0f} 毫秒，须在 {ENOUGH_S * 1000:.0f} 毫秒内",
        f"{best * 1000:.0f} ms a frame, up to {ENOUGH_S * 1000:.0f} ms will do",
    )
    if best <= ENOUGH_S:
        return Check("speed", State.OK, found)
    if running:
        advice = ("终端正在运行，停下后再测一次", "the kiosk runs beside: stop it and try again")
        return Check("speed", State.WARN, found, advice)
    return Check(
        "speed",
        State.FAIL,
        found,
        (
            "机器太慢：请关掉别的程序、散热，或换 Raspberry Pi 4 以上",
            "too slow: end other programs, cool it, or take a Raspberry Pi 4 or newer",
        ),
    )

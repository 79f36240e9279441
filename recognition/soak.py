"""Does the recogniser grow? `python -m recognition.soak --frames 100000` plays frames for as long
as one likes, people coming and going, and prints the process's memory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from recognition.benchmark import portrait_frame
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.language import say
from recognition.liveness import Liveness, load_liveness
from recognition.recogniser import Recogniser
from recognition.types import Frame

FPS = 25.0
VISIT, GAP = 100, 25
"""Frames that somebody stays, and that the place is empty: a visit every five seconds."""
SIZE = (320, 240)


def visits(picture: Frame) -> Iterator[Frame]:
    """Endless small frames: one face swaying for a while, then nobody, with sensor noise."""
    rng = np.random.default_rng(0)
    small = np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    empty = np.full_like(small, 110)
    noise = rng.integers(0, 7, (8, *small.shape), dtype=np.uint8)
    number = 0
    while True:
        place = number % (VISIT + GAP)
        scene = np.roll(small, place % 5, axis=1) if place < VISIT else empty
        yield np.asarray(cv2.subtract(scene, noise[number % len(noise)]), np.uint8)
        number += 1


def soak(
    engine: Engine, liveness: Liveness, picture: Frame, frames: int, every: int
) -> Iterator[tuple[int, float]]:
    """Play `frames` frames made of `picture` (one face), and yield (frames played, resident
    memory in MB) after every `every` of them."""
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([("a", engine.embed(picture, engine.detect(picture)[0])[None])])
    with Recogniser(engine, gallery, liveness) as recogniser:
        for index, frame in zip(range(frames), visits(picture), strict=False):
            recogniser.observe(frame, index / FPS, index)
            if (index + 1) % every == 0:
                yield index + 1, resident_mb()


def resident_mb() -> float:
    """Resident memory of this process in MB, NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(int(s.split()[1]) / 1024 for s in lines if s.startswith("VmRSS:"))


def main() -> int:
    """Run and print; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--policy", default="doubtful")
    args = parser.parse_args()
    engine, liveness = load_engine("sface"), load_liveness(args.policy)
    for played, memory in soak(engine, liveness, portrait_frame(), args.frames, 10_000):
        print(say(f"{played} 帧  {memory:.1f} MB", f"{played} frames  {memory:.1f} MB"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

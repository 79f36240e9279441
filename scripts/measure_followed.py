"""Simulated heads that obey, and photographs that do as well as they can, through the recogniser.

    .venv/bin/python -m scripts.measure_followed ../shared/data --models ../shared/models

No edge of a photograph is ever seen. Frames with sensor noise, ten a second, until the recogniser
decides. Prints, with n and 95 % Wilson intervals, what `docs/accuracy.md` ("Liveness") cites.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from recognition.challenge import turn_of
from recognition.decision import Match, Wait
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.heads import Head
from recognition.liveness import Liveness, Policy
from recognition.minifasnet import find_minifasnet
from recognition.presentations import Print, cropped, present
from recognition.recogniser import Recogniser
from recognition.types import Face, Frame
from scripts.measure_heads import frontals, told

STEP = 5
"""Degrees from frame to frame: 50 a second."""
FILLS = 1.25
"""Enlargement by which a photograph fills the view, however it sways."""
POLICIES: tuple[Policy, ...] = ("challenge", "doubtful")
"""Not `both`: what the networks say of a drawn head tells nothing of real ones."""


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--skip", type=int, default=0, help="people")
    args = parser.parse_args()
    os.environ["QUXIANG_MODELS"] = str(args.models.resolve())
    cv2.setNumThreads(1)
    engine, networks = load_engine(), find_minifasnet()
    took: dict[str, list[float | None]] = {}
    # Every other one: the first folder alone would hold the whole number.
    first, last = 2 * args.skip, 2 * (args.skip + args.people)
    for number, looks in enumerate(islice(frontals(engine, args.data), first, last, 2), args.skip):
        picture, face = looks[0]
        templates = engine.embed(picture, face)[None]
        head = Head(picture, face)
        kinds = {
            "head": {a: head.turned(float(np.deg2rad(a))) for a in range(-45, 46, STEP)},
            "photograph": held(picture),
            "photograph cropped to 1.5": held(cropped(picture, face, 1.5)),
        }
        for kind, frames in kinds.items():
            for policy in POLICIES:
                rng = random.Random(number)  # noqa: S311  # nosec B311 # guards nothing
                liveness = Liveness(policy, networks, rng=rng)
                at = obeyed(engine, liveness, templates, frames, number, kind != "head")
                took.setdefault(f"{kind}: {policy}", []).append(at)
    for name, times in took.items():
        accepted = [at for at in times if at is not None]
        told(f"{name}: accepted", len(accepted), len(times))
        if accepted:
            print(f"    after {np.median(accepted):.1f} s, {max(accepted):.1f} s at the latest")
    return 0


def held(picture: Frame) -> dict[int, Frame]:
    """The photograph, tilted about an upright axis by each angle."""
    tilts = range(-55, 56, STEP)
    return {
        a: present(picture, Print(float(np.deg2rad(a)), distance=1.0), 600, edge=False)
        for a in tilts
    }


def obeyed(
    engine: Engine,
    liveness: Liveness,
    templates: np.ndarray,
    frames: dict[int, Frame],
    seed: int,
    by_hand: bool,
) -> float | None:
    """Seconds until it is accepted, None where it is refused. Who has turned as far as he can and
    is still asked goes back and tries again. by_hand: the whole picture sways; else the head,
    before what stays where it is, by turning a little."""
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([("person", templates)])
    noise, furthest = np.random.default_rng(seed), max(frames)
    left = furthest * (1 if not by_hand else seems_left(engine, frames))
    angle, growth, back = 0, 1.0, False
    asked: Guidance | None = None
    with Recogniser(engine, gallery, liveness) as recogniser:
        for index in range(250):
            goals = {Guidance.TURN_LEFT: left, Guidance.TURN_RIGHT: -left}
            goal = goals.get(asked, 0) if asked else 0
            back = (back or abs(angle) == furthest) and abs(angle) > 0 and goal != 0
            goal = 0 if back else goal
            angle += STEP * int(np.sign(goal - angle))
            growth += 0.03 if asked is Guidance.COME_NEARER else -0.03 if growth > 1 else 0.0
            sway = STEP if angle == 0 and not by_hand and index % 12 < 2 else 0
            way = np.array([12 * np.sin(0.5 * index), 9 * np.sin(0.3 * index)]) * by_hand
            frame = moved(frames[angle + sway], growth * (FILLS if by_hand else 1), way)
            noisy = np.clip(frame + noise.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
            decision = recogniser.observe(noisy, index / 10, index).decision
            if isinstance(decision, Match):
                return index / 10
            if not isinstance(decision, Wait):
                return None
            asked = decision.guidance
    return None


def seems_left(engine: Engine, frames: dict[int, Frame]) -> int:
    """The sign of tilt that the detector takes for a turn to the left."""
    found: dict[int, Face] = {
        a: faces[0] for a, frame in frames.items() if (faces := engine.detect(frame))
    }
    return 1 if sum(np.sign(a) * turn_of(face) for a, face in found.items()) >= 0 else -1


def moved(frame: Frame, growth: float, way: np.ndarray) -> Frame:
    """The frame, enlarged about its middle and shifted by `way` pixels."""
    height, width = frame.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), 0, growth)
    warp[:, 2] += way
    seen = cv2.warpAffine(frame, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


if __name__ == "__main__":
    sys.exit(main())

"""What the live quality gate is worth: `python scripts/measure_gate.py FOLDER [--clips DIR]`.

FOLDER/people/NAME/* as for `quxiang-recognition evaluate`. Each picture is shown to a kiosk's
camera well, and spoiled in each way that the gate knows: further away, darker, glaring, blurred,
over the border, masked; turned heads are those that the pictures have. Every look is judged by the
gate and compared all the same with three other pictures of its person. A gate pays where what it
refuses would have been missed and what it passes is recognised. People are parted by the order of
their names. Honest people refused: the pictures as they are, and every third frame of the clips.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hardware.camera import open_camera
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.liveness import Liveness
from recognition.looks import Looker, pictures_below
from recognition.painted import COLOURS, masked
from recognition.pictures import read_picture
from recognition.quality import QualityFault, assess_quality
from recognition.statistics import wilson
from recognition.track import choose_subject
from recognition.types import Face, Frame

PHOTOS = 3
WAYS = ("as it is", "far", "dark", "glare", "blurred", "cut", "masked")
LEVELS = 2
"""Spoiled looks of each picture and way, each of a drawn degree."""


@dataclass(frozen=True)
class Spoiled:
    """One look: whether the gate passes it, or takes it for masked; its score with its person."""

    half: int
    passed: bool
    accused: bool
    score: float


def shown(
    frame: Frame, face: Face, eyes: float, shift: float, rng: np.random.Generator
) -> tuple[Frame, NDArray[np.float32]]:
    """640x480 with `eyes` pixels between the eyes, shifted to the right by `shift` eye distances;
    and the map into it."""
    middle = face.landmarks.mean(axis=0)
    move = cv2.getRotationMatrix2D(
        (float(middle[0]), float(middle[1])), 0, eyes / max(face.eye_distance, 1.0)
    )
    move[:, 2] += np.array([320 + shift * eyes, 240]) - middle
    view = cv2.warpAffine(
        frame, move, (640, 480), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(view, np.uint8), np.asarray(move, np.float32)


def spoil(frame: Frame, face: Face, way: str, rng: np.random.Generator) -> Frame:
    """One look of a kiosk's camera, spoiled in one way to a drawn degree; sensor noise in all."""
    eyes = rng.uniform(8, 30) if way == "far" else 60.0
    edge = 640 / 2 / 60
    shift = rng.uniform(edge - 1.2, edge + 0.5) if way == "cut" else 0.0
    view, move = shown(frame, face, eyes, shift, rng)
    if way == "masked":
        points = cv2.transform(face.landmarks[None].astype(np.float32), move)[0]
        there = Face((0, 0, 1, 1), np.asarray(points, np.float32), face.score)
        view = masked(view, there, list(COLOURS.values())[int(rng.integers(len(COLOURS)))])
    look = np.asarray(view, np.float32)
    if way == "dark":
        look *= rng.uniform(0.03, 0.4)
    if way == "glare":
        look = 255 - (255 - look) * rng.uniform(0.03, 0.5)
    if way == "blurred":
        look = np.asarray(cv2.GaussianBlur(look, (0, 0), rng.uniform(1.5, 8)), np.float32)
    noisy = look + rng.normal(0, 3, look.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def looks_of(
    folder: Path, engine: Engine, every: int
) -> tuple[dict[str, list[Spoiled]], dict[str, int], list[tuple[float, float, int]], int]:
    """Spoiled looks by way; looks in which no face was found; of all pictures as they are the
    turn, the score and the half; and how many of them the live gate refuses."""
    rng = np.random.default_rng(0)
    looker = Looker(engine, Liveness("off"))
    found: dict[str, list[Spoiled]] = defaultdict(list)
    unseen: dict[str, int] = defaultdict(int)
    turns: list[tuple[float, float, int]] = []
    refused = number = 0
    places = sorted(p for p in (folder / "people").iterdir() if p.is_dir())
    for half_of, place in enumerate(tqdm(places, disable=not sys.stderr.isatty())):
        looks = [looker.look(path, enrolling=True) for path in pictures_below(place)]
        for at, look in enumerate(looks):
            if look.track is None:
                continue
            refused += look.live is None
            enrolled = [
                k.template for i, k in enumerate(looks) if i != at and k.template is not None
            ][:PHOTOS]
            if len(enrolled) < PHOTOS:
                continue
            own = Gallery(engine.model_id, engine.dimension)
            own.replace([("own", np.stack(enrolled))])
            assert look.template is not None  # noqa: S101 - there is a track, for the type checker
            turn = abs(look.track.face.yaw)
            turns.append((turn, own.search(look.template).best_score, half_of % 2))
            number += 1
            if number % every:
                continue
            frame = read_picture(look.path)
            for way in WAYS:
                for _ in range(LEVELS):
                    seen = spoil(frame, look.track.face, way, rng)
                    subject = choose_subject(engine.detect(seen), seen, None, still=True)
                    if subject is None:
                        unseen[way] += 1
                        continue
                    faults = assess_quality(seen, subject, "live").faults
                    score = own.search(engine.embed(seen, subject)).best_score
                    accused = QualityFault.MASKED in faults
                    found[way].append(Spoiled(half_of % 2, not faults, accused, score))
    return found, unseen, turns, refused


def frames_refused(folder: Path, engine: Engine) -> tuple[int, int]:
    """Frames of clips (every third) in which the live gate refuses the face, and how many."""
    refused = seen = 0
    for path in sorted(folder.iterdir()):
        with open_camera(str(path)) as camera:
            for number, taken in enumerate(camera.frames()):
                subject = choose_subject(engine.detect(taken.image), taken.image, None)
                if number % 3 == 0 and subject is not None:
                    seen += 1
                    refused += not assess_quality(taken.image, subject, "live").ok
    return refused, seen


def share(hits: int, of: int) -> str:
    """A rate with its n."""
    return f"{hits / of:.1%} ({of})" if of else "- (0)"


def interval(hits: int, of: int) -> str:
    """A rate with n and its interval."""
    low, high = wilson(hits / max(of, 1), of)
    return f"{hits} of {of}: {hits / max(of, 1):.2%} [{low:.2%}, {high:.2%}]"


def main() -> int:
    """Print the tables; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=Path, help="clips of honest people")
    parser.add_argument("--every", type=int, default=2, help="spoil every n-th picture")
    args = parser.parse_args()
    engine = load_engine("sface")
    found, unseen, turns, refused = looks_of(args.folder, engine, args.every)
    pictures = sum(1 for _ in pictures_below(args.folder / "people"))
    print(f"pictures as they are, refused by the live gate: {interval(refused, pictures)}")
    if args.clips:
        print(f"frames of clips, refused: {interval(*frames_refused(args.clips, engine))}")
    print("| look | no face found | refused | of these missed | missed of those that pass |")
    print("|---|---|---|---|---|")
    for way, all_ in found.items():
        cells = [share(unseen[way], unseen[way] + len(all_))]
        halves = [[s for s in all_ if s.half == half] for half in (0, 1)]
        cells.append(" / ".join(share(sum(not s.passed for s in h), len(h)) for h in halves))
        for passed in (False, True):
            told = []
            for half in halves:
                some = [s for s in half if s.passed == passed]
                told.append(share(sum(s.score < engine.threshold for s in some), len(some)))
            cells.append(" / ".join(told))
        print(f"| {way} | " + " | ".join(cells) + " |")
    bare = [s for way, all_ in found.items() if way != "masked" for s in all_]
    print(f"taken for masked without a mask: {interval(sum(s.accused for s in bare), len(bare))}")
    print("| turn of the head (`Face.yaw`) | missed, first / second half |")
    print("|---|---|")
    edges = (0.0, 0.1, 0.2, 0.3, 0.38, 0.5, 2.0)
    for low, high in itertools.pairwise(edges):
        told = []
        for number in (0, 1):
            scores = [s for turn, s, half in turns if low <= turn < high and half == number]
            told.append(share(sum(s < engine.threshold for s in scores), len(scores)))
        print(f"| {low} to {high} | " + " / ".join(told) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

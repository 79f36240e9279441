"""Put simulated heads and photographs through the challenge.

    .venv/bin/python scripts/measure_heads.py ../shared/data --models ../shared/models

Prints, with n and 95 % Wilson intervals, what `docs/accuracy.md` ("Liveness") cites. Ten minutes;
`--part 0/2` and `--part 1/2` are halves of the people, `--json` keeps the counts of one, and
`--add` adds those of another.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from recognition.challenge import Challenge, ChallengeState, turn_of
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.heads import Head
from recognition.pictures import read_picture
from recognition.presentations import Answerer, Print, present
from recognition.statistics import wilson
from recognition.types import Face, Frame

SLANT = float(np.deg2rad(60))
HELD = {
    "flat, upright axis": Print(),
    "flat, slanted axis": Print(axis=SLANT),
    "flat, near": Print(distance=1.0),
    "bent 1.5 rad a width": Print(bend=1.5),
    "bent 3 rad a width": Print(bend=3.0),
    "bent 4 rad a width": Print(bend=4.0),
    "bent 2 rad, slanted": Print(bend=2.0, bend_axis=SLANT, axis=SLANT),
    "bent away 2 rad": Print(bend=-2.0),
    "bent away 3 rad": Print(bend=-3.0),
}
FOLDERS = ("lfw_dev", "faces_deepface", "faces_azure", "faces_dlib_johns")
SIDE = 600
PEOPLE = ("people n", "photographed n")


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--part", default="0/1", help="which people: number/of so many")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--add", type=Path)
    args = parser.parse_args()
    os.environ["QUXIANG_MODELS"] = str(args.models.resolve())
    cv2.setNumThreads(1)
    part, parts = map(int, args.part.split("/"))
    counts = measured(load_engine(), args.data, part, parts)
    if args.add:
        before = Counter(json.loads(args.add.read_text(encoding="utf-8")))
        counts = Counter({k: counts[k] + before[k] for k in {**before, **counts}})
    for kind in sorted(key[:-2] for key in counts if key.endswith(" n") and key not in PEOPLE):
        told(kind, counts[kind], counts[f"{kind} n"])
    print(f"{counts['people n']} people, {counts['photographed n']} of them held up as photographs")
    if args.json:
        args.json.write_text(json.dumps(counts, indent=1, sort_keys=True), encoding="utf-8")
    return 0


def measured(engine: Engine, data: Path, part: int, parts: int) -> Counter[str]:
    """Hits of each kind, and under its name with " n" the trials."""
    counts: Counter[str] = Counter()
    for number, looks in enumerate(frontals(engine, data)):
        if number % parts != part:
            continue
        counts["people n"] += 1
        for look, (picture, face) in enumerate(looks):
            head = Head(picture, face)
            sweep = {
                a: middle(engine, head.turned(float(np.deg2rad(a)))) for a in range(-48, 49, 8)
            }
            counts["head refused n"] += 1
            counts["head refused"] += not passes(sweep, 2 * number + look)
        counts["photographed n"] += 1
        picture = looks[0][0]
        for kind, held in HELD.items():
            tilts = {
                a: middle(engine, present(picture, replace(held, tilt=float(np.deg2rad(a)))))
                for a in range(-60, 61, 10)
            }
            for rest, name in ((0.0, kind), (30.0, f"{kind}, begun tilted")):
                for seed in range(2):
                    sign = 1 if seed else -1
                    passed = passes(tilts, number * 7 + seed, sign * rest)
                    for each in (
                        f"photograph {name}",
                        "photographs" if not rest else "begun tilted",
                    ):
                        counts[f"{each}, passed n"] += 1
                        counts[f"{each}, passed"] += passed
    return counts


def told(name: str, hits: int, n: int) -> None:
    """The rate, printed."""
    low, high = wilson(hits / n, n) if n else (0.0, 1.0)
    share = 100 * hits / max(n, 1)
    print(f"{name:58} {hits:4} of {n:4} {share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]")


def passes(sweep: dict[int, Face | None], seed: int, rest: float = 0.0) -> bool:
    """Whether who holds what `sweep` shows passes a challenge drawn with `seed`."""
    if sweep[0] is None:
        return False
    challenge = Challenge.draw(0.0, random.Random(seed))  # noqa: S311  # nosec B311 # guards nothing
    return Answerer(sweep, seed=seed, rest=rest).answer(challenge) is ChallengeState.PASSED


def frontals(engine: Engine, data: Path) -> Iterator[list[tuple[Frame, Face]]]:
    """One or two pictures of each person who looks ahead, 600 x 600, 70 pixels between the eyes."""
    people = [p for folder in FOLDERS for p in sorted((data / folder).iterdir())]
    for person in (*people, *sorted((data / "spoof_nuaa_dev" / "genuine").iterdir())):
        found = []
        for path in sorted(person.glob("*.jpg")):
            picture = read_picture(path)
            face = subject(engine, picture)
            if face is not None and face.eye_distance >= 28 and abs(turn_of(face)) <= 0.12:
                found.append((abs(turn_of(face)), str(path), picture, face))
        looks = []
        for _, _, picture, face in sorted(found, key=lambda one: one[:2])[:2]:
            shown = framed(picture, face)
            ahead = middle(engine, shown)
            if ahead is not None:
                looks.append((shown, ahead))
        if looks:
            yield looks


def framed(picture: Frame, face: Face) -> Frame:
    """The picture around the face."""
    scale = 70 / face.eye_distance
    x, y = face.centre
    warp = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y]])
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    seen = cv2.warpAffine(picture, warp, (SIDE, SIDE), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


def subject(engine: Engine, picture: Frame) -> Face | None:
    """The largest face."""
    return max(engine.detect(picture, thorough=True), key=lambda f: f.area, default=None)


def middle(engine: Engine, picture: Frame) -> Face | None:
    """The face in the middle fifth or so of the picture."""
    height, width = picture.shape[:2]
    for face in engine.detect(picture):
        x, y = face.centre
        if np.hypot(x - width / 2, y - height / 2) < 0.2 * max(width, height):
            return face
    return None


if __name__ == "__main__":
    sys.exit(main())

"""Which three photographs to enrol: `python scripts/measure_enrolment.py FOLDER`.

FOLDER/people/NAME/* as for `quxiang-recognition evaluate`. Of everybody with four or more pictures
that pass the desk's gate, each picture is held out once as the probe, and three of the others are
chosen: those that differ (what the desk does), at random, the most typical. The people are parted
by the order of their names; the choice was made on the first half. Prints the rows of
docs/accuracy.md, "What was tried".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from enroll.enrol import LIKENESS, MAX_TEMPLATES, Sample, choose
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.liveness import Liveness
from recognition.looks import Looker, pictures_below
from recognition.quality import Quality

Vectors = NDArray[np.float32]
Chooser = Callable[[Vectors, np.random.Generator], Vectors]
AT_RANDOM = 20
"""Draws of the random choice for each probe."""


def usable(folder: Path, engine: Engine) -> list[Vectors]:
    """Templates of the pictures that the desk takes, shape (n, d), by person in name order."""
    looker = Looker(engine, Liveness("off"))
    people = []
    places = sorted(p for p in (folder / "people").iterdir() if p.is_dir())
    for place in tqdm(places, disable=not sys.stderr.isatty()):
        looks = [looker.look(path, enrolling=True) for path in pictures_below(place)]
        found = [k.template for k in looks if k.enrollable and k.template is not None]
        if found:
            people.append(np.stack(found))
    return people


def differing(engine: Engine) -> Chooser:
    """The desk's own choice."""

    def take(pictures: Vectors, rng: np.random.Generator) -> Vectors:
        samples = [Sample(str(i), picture, Quality(())) for i, picture in enumerate(pictures)]
        taken, _ = choose(samples, LIKENESS[engine.name])
        return np.stack([s.template for s in taken]) if taken else pictures[:0]

    return take


def at_random(pictures: Vectors, rng: np.random.Generator) -> Vectors:
    """Any three."""
    return pictures[rng.permutation(len(pictures))[:MAX_TEMPLATES]]


def typical(pictures: Vectors, rng: np.random.Generator) -> Vectors:
    """The three most like all the others."""
    likeness = (pictures @ pictures.T).mean(axis=1)
    return pictures[np.argsort(-likeness)[:MAX_TEMPLATES]]


def first_ones(pictures: Vectors, rng: np.random.Generator) -> Vectors:
    """The first three, as they lie in the folder."""
    return pictures[:MAX_TEMPLATES]


def everything(pictures: Vectors, rng: np.random.Generator) -> Vectors:
    """All of them, however many: more than the desk takes."""
    return pictures


def outcome(
    people: list[Vectors], take: Chooser, engine: Engine, draws: int
) -> tuple[Vectors, Vectors]:
    """Scores of the held-out probes with their own person, and the highest with anybody else."""
    rng = np.random.default_rng(0)
    mine: list[float] = []
    others: list[float] = []
    able = [p for p in people if len(p) > MAX_TEMPLATES]
    for _ in range(draws):
        galleries = [take(person, rng) for person in able]
        for number, person in enumerate(able):
            rest = Gallery(engine.model_id, engine.dimension)
            rest.replace((str(i), g) for i, g in enumerate(galleries) if i != number and len(g))
            own = Gallery(engine.model_id, engine.dimension)
            for at, probe in enumerate(person):
                enrolled = take(np.delete(person, at, axis=0), rng)
                own.replace([("own", enrolled)] if len(enrolled) else [])
                mine.append(own.search(probe).best_score)
                others.append(rest.search(probe).best_score)
    return np.asarray(mine, np.float32), np.asarray(others, np.float32)


def main() -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    engine = load_engine("sface")
    people = usable(args.folder, engine)
    halves = (people[::2], people[1::2])
    probes = [sum(len(p) for p in half if len(p) > MAX_TEMPLATES) for half in halves]
    print(f"probes, first and second half: {probes[0]} and {probes[1]}; threshold "
          f"{engine.threshold}")  # fmt: skip
    print("| three of them | below the threshold | lowest hundredth | mean | highest stranger |")
    print("|---|---|---|---|---|")
    for name, take, draws in (
        ("that differ (shipped)", differing(engine), 1),
        ("at random", at_random, AT_RANDOM),
        ("most typical", typical, 1),
        ("first in the folder", first_ones, 1),
        ("all, more than three", everything, 1),
    ):
        found = [outcome(half, take, engine, draws) for half in halves]
        cells = [
            " / ".join(f"{(mine < engine.threshold).mean():.2%}" for mine, _ in found),
            " / ".join(f"{np.percentile(mine, 1):.3f}" for mine, _ in found),
            " / ".join(f"{mine.mean():.3f}" for mine, _ in found),
            " / ".join(f"{others.max():.3f}" for _, others in found),
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

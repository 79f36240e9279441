"""What was tried for accuracy, measured again: `python scripts/ablate_recognition.py FOLDER`.

FOLDER/people/NAME/* as for `quxiang-recognition evaluate`. The people are parted by the order of
their names: what is kept is chosen on one half, and the other half's figures stand beside it.
Prints the table of docs/accuracy.md, "What was tried".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.looks import pictures_below
from recognition.occlusion import PLACES
from recognition.pictures import read_picture
from recognition.quality import assess_quality, measure
from recognition.track import choose_subject, sample_weight
from recognition.types import Face, Frame, Template

SIDE = 112
LOOKS = 8
PHOTOS = 3
DRAWS = 40
Vectors = NDArray[np.float32]


@dataclass
class Person:
    """One person's pictures. plain: (n, d) as shipped; others: the same by variant; looks: for
    each picture (8, d) embeddings of a simulated track, and their weights (8,)."""

    name: str
    plain: list[Template] = field(default_factory=list)
    others: dict[str, list[Template]] = field(default_factory=dict)
    looks: list[tuple[Vectors, Vectors]] = field(default_factory=list)


# -- embeddings --------------------------------------------------------------------------------


def placed(frame: Frame, landmarks: Vectors, finer: int, how: int) -> Frame:
    """The face aligned as SFace wants it, sampled `finer` times as densely and averaged."""
    matrix = cv2.estimateAffinePartial2D(landmarks, PLACES * finer, method=cv2.LMEDS)[0]
    big = cv2.warpAffine(frame, matrix, (SIDE * finer, SIDE * finer), flags=how)
    if finer > 1:
        big = cv2.resize(big, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(big, np.uint8)


def embed_chip(engine: Engine, chip: Frame) -> Template:
    """The template of an aligned face."""
    return engine.embed(chip, Face((0.0, 0.0, SIDE, SIDE), PLACES, 1.0))


def variants(engine: Engine, frame: Frame, face: Face) -> dict[str, Template]:
    """The picture's template by every way to align it."""
    points = face.landmarks
    scale = PLACES[1, 0] - PLACES[0, 0]
    finer = int(np.clip(np.ceil(face.eye_distance / scale), 1, 8))
    chip = placed(frame, points, 1, cv2.INTER_LINEAR)
    both = embed_chip(engine, chip) + embed_chip(engine, np.ascontiguousarray(chip[:, ::-1]))
    again = [p for p in (seen_again(engine, frame, face, side) for side in (64, 96, 128)) if p]
    mean = np.mean([points, *(f.landmarks for f in again)], axis=0).astype(np.float32)
    return {
        "look: one view of the face": engine.embed(frame, face),
        "align: cubic": embed_chip(engine, placed(frame, points, 1, cv2.INTER_CUBIC)),
        "align: sampled densely, averaged": embed_chip(
            engine, placed(frame, points, finer, cv2.INTER_LINEAR)
        ),
        "align: landmarks of four detections": embed_chip(
            engine, placed(frame, mean, finer, cv2.INTER_LINEAR)
        ),
        "flip averaging": (both / np.linalg.norm(both)).astype(np.float32),
    }


def seen_again(engine: Engine, frame: Frame, face: Face, side: int) -> Face | None:
    """The face found again in its surroundings, brought to `side` pixels."""
    x, y = face.centre
    reach = 1.5 * max(face.box[2:])
    scale = side / max(face.box[2:])
    move = np.array([[scale, 0, (reach - x) * scale], [0, scale, (reach - y) * scale]], np.float32)
    size = round(2 * reach * scale)
    part = np.asarray(cv2.warpAffine(frame, move, (size, size), flags=cv2.INTER_AREA), np.uint8)
    found = choose_subject(engine.detect(part), part, None, still=True)
    if found is None:
        return None
    landmarks = found.landmarks / scale + np.array([x - reach, y - reach], np.float32)
    return Face(face.box, landmarks.astype(np.float32), found.score)


def track_of(
    engine: Engine, frame: Frame, face: Face, rng: np.random.Generator
) -> tuple[Vectors, Vectors]:
    """Eight looks of a kiosk's camera at the picture: shifted, turned, blurred, noisy, dim."""
    vectors: list[Template] = []
    weights: list[float] = []
    middle = face.landmarks.mean(axis=0)
    for _ in range(4 * LOOKS):
        if len(vectors) == LOOKS:
            break
        scale = rng.uniform(45, 75) / max(face.eye_distance, 1.0)
        move = cv2.getRotationMatrix2D(
            (float(middle[0]), float(middle[1])), rng.uniform(-6, 6), scale
        )
        move[:, 2] += np.array([320, 240]) - middle + rng.normal(0, 15, 2)
        view = cv2.warpAffine(frame, move, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.3, 1.6))
        noise = rng.normal(0, rng.uniform(2, 7), view.shape)
        dim = np.clip(view * rng.uniform(0.7, 1.25) + noise, 0, 255).astype(np.uint8)
        packed = cv2.imencode(".jpg", dim, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 90))])[1]
        seen = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        subject = choose_subject(engine.detect(seen), seen, None)
        if subject is None or not assess_quality(seen, subject, "live").ok:
            continue
        vectors.append(engine.embed(seen, subject))
        weights.append(sample_weight(measure(seen, subject)))
    if not vectors:
        return np.zeros((0, engine.dimension), np.float32), np.zeros(0, np.float32)
    return np.stack(vectors), np.asarray(weights, np.float32)


def read_people(folder: Path, engine: Engine) -> list[Person]:
    """Everybody in FOLDER/people."""
    rng = np.random.default_rng(0)
    people = []
    places = sorted(p for p in (folder / "people").iterdir() if p.is_dir())
    for place in tqdm(places, disable=not sys.stderr.isatty()):
        person = Person(place.name)
        for path in pictures_below(place):
            frame = read_picture(path)
            face = choose_subject(engine.detect(frame, thorough=True), frame, None, still=True)
            if face is None:
                continue
            person.plain.append(engine.embed(frame, face, thorough=True))
            for name, template in variants(engine, frame, face).items():
                person.others.setdefault(name, []).append(template)
            person.looks.append(track_of(engine, frame, face, rng))
        people.append(person)
    return people


# -- comparison --------------------------------------------------------------------------------

Score = Callable[[Vectors, Vectors], float]
"""(probe embeddings (n, d), one person's templates (k, d)) to a score."""


def with_mean(templates: Vectors) -> Vectors:
    """The templates and the direction of their mean: as `recognition.gallery` compares."""
    mean = templates.mean(axis=0)
    return np.vstack([templates, mean / np.linalg.norm(mean)])


def shipped(probe: Vectors, templates: Vectors) -> float:
    """Mean over the looks of the best template and the templates' mean, half and half."""
    scores = probe @ with_mean(templates).T
    return float((scores[:, :-1].max(axis=1) + scores[:, -1]).mean() / 2)


def best_or_mean(probe: Vectors, templates: Vectors) -> float:
    """The better of the best template and the templates' mean."""
    return float((probe @ with_mean(templates).T).max(axis=1).mean())


def best_only(probe: Vectors, templates: Vectors) -> float:
    """The best template, without their mean."""
    return float((probe @ templates.T).max(axis=1).mean())


def mean_score(probe: Vectors, templates: Vectors) -> float:
    """The mean over the templates."""
    return float((probe @ templates.T).mean())


def mean_only(probe: Vectors, templates: Vectors) -> float:
    """The direction of the mean alone."""
    return float((probe @ with_mean(templates)[-1:].T).mean())


def fused(probe: Vectors, weights: Vectors) -> Vectors:
    """One embedding out of a track's, weighted."""
    if not len(probe):
        return probe
    mean = (probe * weights[:, None]).sum(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)[None]


def outcomes(
    people: list[Person],
    enrolled: Callable[[Person], list[Template]],
    probes: Callable[[Person, int], Vectors],
    score: Score,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of mated probes (-1 where another was likelier) and the best of non-mated ones."""
    rng = np.random.default_rng(0)
    able = [p for p in people if len(p.plain) > PHOTOS]
    size = len(able) - max(3, len(able) // 4)
    mated, others = [], []
    for _ in range(DRAWS):
        chosen = [able[i] for i in rng.permutation(len(able))[:size]]
        gallery, asked = [], []
        for person in chosen:
            order = rng.permutation(len(person.plain))
            gallery.append(np.stack([enrolled(person)[i] for i in order[:PHOTOS]]))
            asked += [(person, int(i)) for i in order[PHOTOS:]]
        asked += [(p, i) for p in people if p not in chosen for i in range(len(p.plain))]
        for person, i in asked:
            probe = probes(person, i)
            if not len(probe):
                continue
            scores = [score(probe, templates) for templates in gallery]
            best = int(np.argmax(scores))
            if person in chosen:
                mated.append(scores[best] if chosen[best] is person else -1.0)
            else:
                others.append(scores[best])
    return np.asarray(mated), np.asarray(others)


def experiments(
    people: list[Person],
) -> Iterator[tuple[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Every variant's name and outcomes."""

    def plain(person: Person) -> list[Template]:
        return person.plain

    def still(person: Person, i: int) -> Vectors:
        return person.plain[i][None]

    yield "stills, shipped", outcomes(people, plain, still, shipped)
    for name, score in (
        ("score: best template only", best_only),
        ("score: best template or mean template", best_or_mean),
        ("score: mean over templates", mean_score),
        ("score: mean template only", mean_only),
    ):
        yield name, outcomes(people, plain, still, score)
    for name in people[0].others:

        def other(person: Person, name: str = name) -> list[Template]:
            return person.others[name]

        def probe(person: Person, i: int, name: str = name) -> Vectors:
            return person.others[name][i][None]

        yield name, outcomes(people, other, probe, shipped)
    yield (
        "track of 8, shipped",
        outcomes(
            people, plain, lambda p, i: fused(p.looks[i][0], np.ones_like(p.looks[i][1])), shipped
        ),
    )
    yield (
        "track: its first look alone",
        outcomes(people, plain, lambda p, i: p.looks[i][0][:1], shipped),
    )
    yield (
        "track: mean of the looks' scores",
        outcomes(people, plain, lambda p, i: p.looks[i][0], shipped),
    )
    yield (
        "track: embedding weighted by quality",
        outcomes(people, plain, lambda p, i: fused(*p.looks[i]), shipped),
    )


def main() -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    engine = load_engine("sface")
    people = [p for p in read_people(args.folder, engine) if p.plain]
    halves = (people[::2], people[1::2])
    print("| variant | TPIR | FPIR | lowest hundredth, mated | highest, non-mated |")
    print("|---|---|---|---|---|")
    for one, two in zip(*(experiments(half) for half in halves), strict=True):
        cells = [one[0]]
        for measure_of in (
            lambda m, _: f"{(m >= engine.threshold).mean():.2%}",
            lambda _, o: f"{(o >= engine.threshold).mean():.2%}",
            lambda m, _: f"{np.percentile(m, 1):.3f}",
            lambda _, o: f"{o.max():.3f}",
        ):
            cells.append(" / ".join(measure_of(*half[1]) for half in (one, two)))
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

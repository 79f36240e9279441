"""Masks and dark glasses, painted on: `python scripts/measure_masks.py FOLDER [--clips DIR]`.

FOLDER/people/NAME/* and FOLDER/bona_fide/** as for `quxiang-recognition evaluate`. How many painted
masks are seen, how many faces without one are accused, and what a mask that is not seen does to the
comparison. The people are parted by the order of their names; the limits are chosen again on the
first half alone, and both stand beside the shipped ones on the second. Painted masks are not real
ones: nothing here tells how a printed mask fares. Dark glasses are painted as well, and the names
of pictures that are accused of some without are printed, to be looked at.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hardware.camera import open_camera
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.liveness import Liveness
from recognition.looks import Looker, pictures_below
from recognition.occlusion import LEAST_DETAIL, LowerFace, lower_face, upper_face
from recognition.painted import COLOURS, masked, shaded
from recognition.pictures import read_picture
from recognition.statistics import wilson
from recognition.track import choose_subject
from recognition.types import Frame


@dataclass
class Half:
    """Of one half of the people: faces without a mask, painted ones in which a face is found, how
    many were painted, and the scores of these with their own person and with the best other."""

    bare: list[LowerFace] = field(default_factory=list)
    covered: list[LowerFace] = field(default_factory=list)
    painted: int = 0
    own: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    behind_glasses: list[bool] = field(default_factory=list)
    glasses_painted: int = 0


def measured(folder: Path, engine: Engine, every: int) -> tuple[Half, Half]:
    """Both halves of FOLDER/people, a mask of every colour on every n-th picture."""
    looker = Looker(engine, Liveness("off"))
    places = sorted(p for p in (folder / "people").iterdir() if p.is_dir())
    looks = {
        place.name: [looker.look(p, enrolling=True) for p in pictures_below(place)]
        for place in tqdm(places, disable=not sys.stderr.isatty())
    }
    templates = {
        name: [k.template for k in all_ if k.template is not None] for name, all_ in looks.items()
    }
    halves = (Half(), Half())
    number = 0
    for turn, (name, all_) in enumerate(tqdm(looks.items(), disable=not sys.stderr.isatty())):
        half = halves[turn % 2]
        others = Gallery(engine.model_id, engine.dimension)
        others.replace((n, np.stack(t[:3])) for n, t in templates.items() if n != name and t)
        for at, look in enumerate(all_):
            if look.track is None:
                continue
            frame, face = read_picture(look.path), look.track.face
            half.bare.append(lower_face(frame, face))
            if upper_face(frame, face).dark_glasses:
                print(f"dark glasses seen: {look.path.parent.name}/{look.path.name}")
            number += 1
            if number % every:
                continue
            for cover in (0.75, 0.9, 1.0):
                picture = shaded(frame, face, np.random.default_rng(number), cover)
                half.glasses_painted += 1
                found = engine.detect(picture, thorough=True)
                subject = choose_subject(found, picture, None, still=True)
                if subject is not None:
                    half.behind_glasses.append(upper_face(picture, subject).dark_glasses)
            left = [k.template for i, k in enumerate(all_) if i != at and k.template is not None]
            own = Gallery(engine.model_id, engine.dimension)
            own.replace([("own", np.stack(left[:3]))] if left else [])
            for colour in COLOURS.values():
                picture = masked(frame, face, colour)
                half.painted += 1
                seen = engine.detect(picture, thorough=True)
                subject = choose_subject(seen, picture, None, still=True)
                if subject is None:
                    continue
                half.covered.append(lower_face(picture, subject))
                probe = engine.embed(picture, subject)
                if left:
                    half.own.append(own.search(probe).best_score)
                half.others.append(others.search(probe).best_score)
    return halves


def accused_elsewhere(
    folders: list[Path], clips: Path | None, engine: Engine
) -> tuple[int, int, int]:
    """Faces accused of a mask, and of dark glasses, in other honest pictures and frames (every
    fifth), and how many there are."""
    accused = dark = seen = 0

    def see(frame: Frame) -> None:
        nonlocal accused, dark, seen
        for face in engine.detect(frame):
            seen += 1
            accused += lower_face(frame, face).masked
            dark += upper_face(frame, face).dark_glasses

    for folder in folders:
        for path in pictures_below(folder):
            see(read_picture(path))
    for path in sorted(clips.iterdir()) if clips else []:
        with open_camera(str(path)) as camera:
            for number, taken in enumerate(camera.frames()):
                if number % 5 == 0:
                    see(taken.image)
    return accused, dark, seen


def chosen(half: Half) -> tuple[float, float, float, float, float]:
    """The limits that find most painted masks of `half` while accusing nobody of it."""
    grid = itertools.product(
        (0.25, 0.30, 0.35, 0.40), (6, 8, 10), (8, 12, 16, 20), (0.45, 0.55, 0.65), (4, 5, 6)
    )
    able = [g for g in grid if not any(judged(face, *g) for face in half.bare)]
    return max(able, key=lambda g: sum(judged(face, *g) for face in half.covered))


def judged(
    face: LowerFace, smooth: float, pale: float, strange: float, detail: float, red: float
) -> bool:
    """`LowerFace.masked` with other limits."""
    if face.eyes < LEAST_DETAIL:
        return False
    plain = face.detail < smooth and face.red < pale
    return plain or (face.strange > strange and face.detail < detail and face.red < red)


def told(hits: int, of: int) -> str:
    """A rate with n and interval."""
    low, high = wilson(hits / max(of, 1), of)
    return f"{hits} of {of} ({hits / max(of, 1):.1%} [{low:.1%}, {high:.1%}])"


def main() -> int:
    """Print the figures; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=Path, help="clips of honest people")
    parser.add_argument("--every", type=int, default=3, help="paint every n-th picture")
    args = parser.parse_args()
    engine = load_engine("sface")
    halves = measured(args.folder, engine, args.every)
    for name, half in zip(("first", "second"), halves, strict=True):
        print(f"{name} half, shipped limits:")
        print(
            f"  painted masks seen: {told(sum(f.masked for f in half.covered), len(half.covered))}"
        )
        print(f"  no face found under one: {told(half.painted - len(half.covered), half.painted)}")
        print(f"  accused without one: {told(sum(f.masked for f in half.bare), len(half.bare))}")
        seen = half.behind_glasses
        print(f"  painted dark glasses seen: {told(sum(seen), len(seen))}")
        unseen = half.glasses_painted - len(seen)
        print(f"  no face found behind them: {told(unseen, half.glasses_painted)}")
        for whose, scores in (("own person", half.own), ("somebody else", half.others)):
            reached = sum(score >= engine.threshold for score in scores)
            print(f"  compared all the same, {whose}: {told(reached, len(scores))}")
    limits = chosen(halves[0])
    second = halves[1]
    print(f"limits chosen on the first half alone {limits}, on the second:")
    print(f"  seen: {told(sum(judged(f, *limits) for f in second.covered), len(second.covered))}")
    print(f"  accused: {told(sum(judged(f, *limits) for f in second.bare), len(second.bare))}")
    masks, dark, of = accused_elsewhere([args.folder / "bona_fide"], args.clips, engine)
    print(f"other honest pictures and frames accused: {told(masks, of)}")
    print(f"  of dark glasses: {told(dark, of)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

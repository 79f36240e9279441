"""Measure every layer of liveness on the pictures and clips of the development set.

    .venv/bin/python scripts/measure_liveness.py ../shared/data --models ../shared/models

Prints, with n and 95 % Wilson intervals, what `docs/accuracy.md` ("Liveness") cites. Some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.challenge import FRONTAL, Challenge, ChallengeState, turn_of
from recognition.cues import Sign
from recognition.decision import Match, Wait
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.liveness import Liveness
from recognition.minifasnet import find_minifasnet
from recognition.pictures import read_picture
from recognition.presentations import Answerer, cropped, handheld
from recognition.recogniser import Recogniser
from recognition.statistics import rate_of, wilson
from recognition.types import Face, Frame


@dataclass(frozen=True)
class Presentation:
    """Frames of somebody, or of an attack on somebody, whose templates are enrolled."""

    frames: list[Frame]
    fps: float
    templates: np.ndarray


class Once:
    """A check whose answers about a frame are kept: several layers look at the same frames."""

    def __init__(self, check: Any) -> None:
        self.check = check
        self.known: dict[Any, Any] = {}

    def __call__(self, frame: Frame, *rest: Any, **how: Any) -> Any:
        """As the check."""
        told = [each.landmarks.tobytes() if isinstance(each, Face) else each for each in rest]
        key = id(frame), *told, *how.items()
        if key not in self.known:
            self.known[key] = frame, self.check(frame, *rest, **how)
        return self.known[key][1]


class Remembering:
    """An engine that looks at each frame once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.known: dict[str, Once] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if name not in ("detect", "embed", "follow"):
            return value
        return self.known.setdefault(name, Once(value))


class WithoutContext(Liveness):
    """The same layers with a context that never doubts."""

    def watch(self, engine: Engine, track: Any, *rest: Any) -> None:
        """Only the challenge."""
        if track.challenge is not None:
            super().watch(engine, track, *rest)


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kind", help="only presentations whose name has this in it")
    parser.add_argument("--part", default="0/1", help="which of them: number/of so many")
    parser.add_argument("--only", choices=["challenge", "presentations", "person"])
    args = parser.parse_args()
    os.environ["QUXIANG_MODELS"] = str(args.models.resolve())
    cv2.setNumThreads(1)
    engine = load_engine()
    first, every = map(int, args.part.split("/"))
    report: dict[str, Any] = {}
    if args.only in (None, "challenge"):
        report["challenge"] = challenge_alone(engine, args.data)
    if args.only in (None, "presentations"):
        report["presentations"] = presentations(engine, args.data, args.kind, (first, every))
    if args.only in (None, "person"):
        report["person"] = turning_person(engine, args.data)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def dice(seed: int) -> random.Random:
    """The same numbers each time: a measurement, no secret."""
    return random.Random(seed)  # noqa: S311  # nosec B311 # guards nothing


def told(name: str, hits: int, trials: int) -> dict[str, Any]:
    """The rate, printed."""
    low, high = wilson(hits / trials, trials) if trials else (0.0, 1.0)
    share = f"{100 * hits / max(trials, 1):5.1f} %  [{100 * low:.1f}, {100 * high:.1f}]"
    print(f"{name:58} {hits:4} of {trials:4}  {share}", flush=True)
    return dict(rate_of(hits, trials) or {})


# -- the challenge alone -----------------------------------------------------------------------


def challenge_alone(engine: Engine, data: Path) -> dict[str, Any]:
    """Real turned heads that follow the prompts, and a clip of one; photographs: measure_heads."""
    out = {}
    sweeps = list(turned_heads(engine, data))
    refused = 0
    for sweep in sweeps:
        states = Counter(
            Answerer(sweep, speed=3.0, seed=n).answer(Challenge.draw(0.0, dice(n)))
            for n in range(6)
        )
        refused += states[ChallengeState.PASSED] < 4
    out["heads"] = told("challenge, real turned heads refused", refused, len(sweeps))
    clip = passed_by_clip(sweeps[0], 2000)
    out["clip"] = told("challenge, a prepared clip of the right person", clip, 2000)
    return out


def frontal_stills(engine: Engine, folder: Path) -> Iterator[Frame]:
    """One picture of each person who looks ahead, 500 x 500."""
    for person in sorted(folder.iterdir()):
        picture = cv2.resize(
            read_picture(sorted(person.glob("*.jpg"))[0]), (500, 500), interpolation=cv2.INTER_CUBIC
        )
        face = middle_face(engine, np.asarray(picture, np.uint8))
        if face is not None and abs(turn_of(face)) <= FRONTAL:
            yield np.asarray(picture, np.uint8)


def middle_face(engine: Engine, picture: Frame, *, thorough: bool = False) -> Face | None:
    """The face in the middle fifth or so of the picture."""
    height, width = picture.shape[:2]
    for face in engine.detect(picture, thorough=thorough):
        x, y = face.centre
        if np.hypot(x - width / 2, y - height / 2) < 0.2 * max(width, height):
            return face
    return None


def turned_heads(engine: Engine, data: Path) -> Iterator[dict[int, Face | None]]:
    """From ahead to a turn of at least 0.30, of people who have pictures of both; the other side
    is the mirror image, the way between is interpolated."""
    for folder in ("lfw_dev", "faces_dlib_johns", "faces_deepface", "faces_azure"):
        for person in sorted((data / folder).iterdir()):
            found = (
                middle_face(engine, read_picture(p), thorough=True)
                for p in sorted(person.glob("*.jpg"))
            )
            faces = [f for f in found if f is not None]
            ahead = sorted((f for f in faces if abs(turn_of(f)) <= 0.1), key=breadth)
            if not ahead:
                continue
            base, mirrored = levelled(ahead[len(ahead) // 2]), levelled(ahead[len(ahead) // 2], -1)
            middle = np.asarray((base.landmarks + mirrored.landmarks) / 2, np.float32)
            straight = Face(base.box, middle, base.score)
            for face in faces:
                if 0.30 <= abs(turn_of(face)) < 1.2:
                    one, other = levelled(face), levelled(face, -1)
                    left, right = (one, other) if turn_of(face) > 0 else (other, one)
                    yield {-1: right, 0: straight, 1: left}


def breadth(face: Face) -> float:
    """Width over height of the box."""
    return face.box[2] / face.box[3]


def levelled(face: Face, side: int = 1) -> Face:
    """The face at a height of 200 pixels in the middle of 640 x 480, or its mirror image."""
    scale = 200 / face.box[3]
    points = (face.landmarks - np.array(face.centre, np.float32)) * np.float32(scale)
    if side < 0:
        points = (points * np.array([-1, 1], np.float32))[[1, 0, 2, 4, 3]]
    width = face.box[2] * scale
    middle = np.array([320, 240], np.float32)
    return Face(
        (320 - width / 2, 140, width, 200), np.asarray(points + middle, np.float32), face.score
    )


def passed_by_clip(sweep: dict[int, Face | None], tries: int) -> int:
    """A clip of the person doing one drawn sequence, shown for challenges drawn anew: how often it
    passes. Its timing is taken to fit, always."""
    passed = 0
    for number in range(tries):
        rng = dice(number)
        filmed, challenge = Challenge.draw(0.0, rng), Challenge.draw(0.0, rng)
        challenge.steps, asked = filmed.steps, challenge.steps
        state = Answerer(sweep, speed=3.0, seed=number).answer(challenge) if number < 20 else None
        good = state in (None, ChallengeState.PASSED)
        passed += asked == filmed.steps and good
    return passed


# -- whole presentations through the recogniser ------------------------------------------------


def presentations(
    engine: Engine, data: Path, only: str | None, part: tuple[int, int]
) -> dict[str, Any]:
    """Accepted, and put to the challenge, by the layers alone and together."""
    networks = find_minifasnet()
    if networks is None:
        raise SystemExit("the MiniFASNet weights are not in --models")
    passive, looking = Once(networks), Remembering(engine)
    layers = {
        "1 passive": Liveness("passive", passive),
        "2 challenge": Liveness("challenge"),
        "1 + 2": WithoutContext("doubtful", passive),
        "1 + 2 + 3, doubtful": Liveness("doubtful", passive),
        "both": Liveness("both", passive),
        "doubtful, signs": Liveness("doubtful", passive, signs=set(Sign)),
    }
    out: dict[str, Any] = {}
    for kind, make in kinds(engine, data):
        if only and only not in kind:
            continue
        made = list(islice(make(), part[0], None, part[1]))
        passive.known.clear()
        looking.known.clear()
        out[kind] = {}
        for name, liveness in layers.items():
            if name in ("2 challenge", "both") and "people" in kind:
                continue  # nobody asked them to turn when they were filmed
            results = [put(looking, liveness, one) for one in made]
            seconds = [at for at, _ in results if at is not None]
            accepted = len(seconds)
            asked = sum(result[1] for result in results)
            out[kind][name] = told(f"{kind}: {name}: accepted", accepted, len(made))
            out[kind][name]["put to the challenge"] = asked
            if seconds:
                out[kind][name]["median_s"] = float(np.median(seconds))
                out[kind][name]["longest_s"] = max(seconds)
            waited = f"; after {np.median(seconds):.2f} s, {max(seconds):.2f} s" if seconds else ""
            print(f"{'':58} {asked:4} put to the challenge{waited}")
    return out


def kinds(engine: Engine, data: Path) -> Iterator[tuple[str, Callable[[], Iterable[Presentation]]]]:
    """Every kind of presentation, by its name, and what makes them."""
    nuaa = data / "spoof_nuaa_dev"

    def acted(kind: str, boxes: float | None = None) -> Iterator[Presentation]:
        return (nuaa_clip(engine, nuaa, who, kind, boxes) for who in whos(nuaa))

    def held(pictures: Iterable[Frame], boxes: float | None = None) -> Iterator[Presentation]:
        return (moved(engine, one, boxes, seed=i) for i, one in enumerate(pictures))

    def files(kind: str) -> Iterator[Frame]:
        return map(read_picture, sorted((data / "spoof_minivision" / kind).glob("*.jpg")))

    def lfw() -> Iterator[Frame]:
        return frontal_stills(engine, data / "lfw_dev")

    yield "people in clips", lambda: people_in_clips(engine, data)
    yield "people, NUAA frames", lambda: acted("genuine")
    yield "printed, NUAA", lambda: acted("printed_photo")
    yield "printed, cropped to 1.5", lambda: acted("printed_photo", 1.5)
    yield "printed, cropped to 1.2", lambda: acted("printed_photo", 1.2)
    yield "printed, minivision, moved", lambda: held(files("printed_photo"))
    yield "printed, minivision, cropped to 1.5, moved", lambda: held(files("printed_photo"), 1.5)
    yield "screen, minivision, moved", lambda: held(files("screen_replay"))
    yield "screen, minivision, cropped to 1.5, moved", lambda: held(files("screen_replay"), 1.5)
    yield "camera frames fill the picture", lambda: held(camera_stills(data))
    yield "LFW stills fill the picture", lambda: held(lfw())
    yield "LFW stills cropped to 1.5 fill it", lambda: held(lfw(), 1.5)


def camera_stills(data: Path) -> Iterator[Frame]:
    """Frames of people before a camera, as photographs of them: five a person."""
    for who in whos(data / "spoof_nuaa_dev"):
        for path in sorted((data / "spoof_nuaa_dev" / "genuine" / who).glob("*.jpg"))[::3]:
            yield read_picture(path)
    for path in sorted((data / "videos").iterdir()):
        frames, _ = read_clip(path)
        yield from frames[:: len(frames) // 5][:5]


def whos(nuaa: Path) -> list[str]:
    """The people of the NUAA frames."""
    return sorted(p.name for p in (nuaa / "genuine").iterdir())


def people_in_clips(engine: Engine, data: Path) -> Iterator[Presentation]:
    """Windows of three seconds; enrolled from the first second of the clip."""
    for path in sorted((data / "videos").iterdir()):
        frames, fps = read_clip(path)
        first = [frames[int(i)] for i in (0, fps // 2, fps - 1)]
        templates = np.stack([engine.embed(f, engine.detect(f)[0]) for f in first])
        for start in range(int(fps), len(frames) - int(2 * fps), int(3 * fps)):
            yield Presentation(frames[start : start + int(3 * fps)], fps, templates)


def read_clip(path: Path) -> tuple[list[Frame], float]:
    """All frames, and how many there are in a second."""
    source = cv2.VideoCapture(str(path))
    fps = float(source.get(cv2.CAP_PROP_FPS))
    frames: list[Frame] = []
    while True:
        there, frame = source.read()
        if not there:
            return frames, fps
        frames.append(np.asarray(frame, np.uint8))


def nuaa_clip(
    engine: Engine, nuaa: Path, who: str, kind: str, boxes: float | None = None
) -> Presentation:
    """Frames at ten a second; enrolled from every sixth genuine one, which is not played."""
    alive = [read_picture(p) for p in sorted((nuaa / "genuine" / who).glob("*.jpg"))]
    templates = np.stack([engine.embed(f, engine.detect(f, thorough=True)[0]) for f in alive[::6]])
    if kind == "genuine":
        frames = [f for i, f in enumerate(alive) if i % 6]
    else:
        frames = [read_picture(p) for p in sorted((nuaa / kind / who).glob("*.jpg"))]
    if boxes is not None:
        frames = [cropped(f, engine.detect(f, thorough=True)[0], boxes) for f in frames]
        frames = [np.asarray(cv2.resize(f, (480, 640)), np.uint8) for f in frames]
    return Presentation(frames, 10.0, templates)


def moved(
    engine: Engine, picture: Frame, boxes: float | None = None, seed: int = 0
) -> Presentation:
    """A still held by hand before the camera for two seconds; the person enrolled from it."""
    face = engine.detect(picture, thorough=True)[0]
    templates = engine.embed(picture, face)[None]
    part = picture if boxes is None else cropped(picture, face, boxes)
    return Presentation(list(handheld(part, seed=seed)), 10.0, templates)


def put(engine: Any, liveness: Liveness, made: Presentation) -> tuple[float | None, bool]:
    """After how many seconds it was accepted, None where it was not; whether it was put to the
    challenge."""
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([("attacked", made.templates)])
    asked = False
    with Recogniser(engine, gallery, liveness) as recogniser:
        for index, frame in enumerate(made.frames):
            seen = recogniser.observe(frame, index / made.fps, index)
            asked = asked or bool(recogniser.track and recogniser.track.challenge)
            if isinstance(seen.decision, Match):
                return index / made.fps, asked
    return None, asked


# -- a person who obeys ------------------------------------------------------------------------

AHEAD, LEFT, RIGHT = range(24), range(158, 170), range(68, 90)
"""Frames of the one clip in which somebody turns both ways far enough (unasked)."""


def turning_person(engine: Engine, data: Path) -> dict[str, Any]:
    """The lively clip replayed in answer to the prompts, every pixel real, through the recogniser:
    forwards into the turn, backwards out of it; coming nearer is enlargement."""
    frames, fps = read_clip(data / "videos" / "liveportrait_d12.mp4")
    templates = np.stack([engine.embed(frames[i], engine.detect(frames[i])[0]) for i in (0, 12)])
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([("person", templates)])
    refused, seconds = 0, []
    tries = 12
    for seed in range(tries):
        liveness = Liveness("challenge", rng=dice(seed))
        took = answered(Recogniser(engine, gallery, liveness), frames, fps)
        refused += took is None
        seconds += [took] if took is not None else []
    out = told("challenge, the turning person refused (1 person)", refused, tries)
    print(f"seconds that it took: median {np.median(seconds):.1f}, longest {max(seconds):.1f}")
    return {**out, "median_s": float(np.median(seconds)), "longest_s": max(seconds)}


def answered(recogniser: Recogniser, frames: list[Frame], fps: float) -> float | None:
    """Seconds until the match, None where it is refused."""
    queue: list[int] = []
    growth = 1.0
    for index in range(int(40 * fps)):
        number = queue.pop(0) if queue else AHEAD[index % len(AHEAD)]
        frame = enlarged(frames[number], growth)
        decision = recogniser.observe(frame, index / fps, index).decision
        if isinstance(decision, Match):
            return index / fps
        if not isinstance(decision, Wait):
            return None
        asked = decision.guidance
        growth += 0.015 if asked is Guidance.COME_NEARER else -0.015 if growth > 1 else 0.0
        if not queue and asked in (Guidance.TURN_LEFT, Guidance.TURN_RIGHT):
            way = LEFT if asked is Guidance.TURN_LEFT else RIGHT
            queue = [way[0]] * 6 + [*way, *reversed(way)]
    return None


def enlarged(frame: Frame, growth: float) -> Frame:
    """The middle of the frame, `growth` times as large."""
    if growth <= 1:
        return frame
    height, width = frame.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), 0, growth)
    return np.asarray(cv2.warpAffine(frame, warp, (width, height)), np.uint8)


if __name__ == "__main__":
    sys.exit(main())

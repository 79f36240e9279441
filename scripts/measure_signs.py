"""What the signs of `recognition.cues` see of simulated attacks and of people.

    .venv/bin/python -m scripts.measure_signs ../shared/data --models ../shared/models

The stagings and their physics: `recognition.staging`. Light and display on windows of the clips of
people, entry on pictures. Prints, with n and 95 % Wilson intervals, what `docs/accuracy.md`
("Signs") cites. Some minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from recognition.cues import LIGHT_SECONDS, Display, Doorway, Entrance, Lighting
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.heads import Head
from recognition.pictures import read_picture
from recognition.presentations import handheld
from recognition.staging import (
    Panel,
    facing_lamp,
    filmed,
    put_before,
    under_light,
    walking_up,
)
from recognition.types import Face, Frame
from scripts.measure_heads import frontals, told

LOOKS = 9
"""Frames of a window, ten a second."""
PANELS = {"1.45 pixels": Panel(), "1.45 pixels, never dark": Panel(duty=1.0)}
DIMMED = {"244 Hz, too fine to beat": Panel(pitch=0.6)}
Window = list[tuple[Frame, Face]]


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=6, help="of each clip")
    parser.add_argument("--people", type=int, default=8)
    args = parser.parse_args()
    os.environ["QUXIANG_MODELS"] = str(args.models.resolve())
    cv2.setNumThreads(1)
    engine = load_engine()
    seen = list(windows(engine, args.data, args.windows))
    display(seen)
    light(seen)
    entry(engine, args.data, args.people)
    return 0


def windows(engine: Engine, data: Path, each: int) -> Iterator[Window]:
    """Nine frames of a clip, a tenth of a second apart, from places spread over it."""
    for path in sorted((data / "videos").iterdir()):
        source = cv2.VideoCapture(str(path))
        step = max(1, round(source.get(cv2.CAP_PROP_FPS) / 10))
        frames = []
        while (got := source.read())[0]:
            frames.append(np.asarray(got[1], np.uint8))
        frames = frames[::step]
        for start in np.linspace(0, len(frames) - LOOKS, each).astype(int):
            found = [(f, engine.detect(f)) for f in frames[start : start + LOOKS]]
            if all(faces for _, faces in found):
                yield [(frame, faces[0]) for frame, faces in found]


def display(seen: list[Window]) -> None:
    """A display shows what was filmed, or nothing is between."""
    rng = np.random.default_rng(0)
    for name, panel in {"nothing": None, **PANELS, **DIMMED}.items():
        doubted, peaks, bands = 0, [], []
        for window in seen:
            look = Display()
            for number, (frame, face) in enumerate(window[:6]):
                shown = filmed(frame, number * 0.1, panel, rng) if panel else frame
                look.see(shown, face)
            doubted += look.suspicion() is not None
            peaks += [float(np.median(look.peaks))] if look.peaks else []
            bands += [float(np.median(look.bands))] if look.bands else []
        told(f"display, {name}: doubted", doubted, len(seen))
        print(f"    peaks {min(peaks):.0f} to {max(peaks):.0f}, ", end="")
        print(f"bands {min(bands):.3f} to {max(bands):.3f}, median {np.median(bands):.3f}")


def light(seen: list[Window]) -> None:
    """The same people lit as heads; and as if they were flat paper, or behind glass."""
    rng = np.random.default_rng(0)
    for strength in (0.6, 0.3):
        for kind in ("head", "paper", "glass"):
            told_nothing = doubted = 0
            for window in seen:
                first, face = window[0]
                lamp = facing_lamp(Head(first, face)) if kind == "head" else 1.0
                lamp = 0.04 if kind == "glass" else lamp
                look = Lighting()
                still = window if kind == "head" else [window[0]] * LOOKS
                for number, (frame, seen_face) in enumerate(still):
                    level = float(number / 10 > LIGHT_SECONDS)
                    lit = under_light(frame, lamp, level, rng, strength)
                    look.see(lit, seen_face, number / 10)
                    look.command(float(number / 10 >= LIGHT_SECONDS), number / 10)
                told_nothing += look.relief is None
                doubted += look.suspicion() is not None
            told(f"light of {strength}, {kind}: doubted", doubted, len(seen))
            if told_nothing:
                print(f"    {told_nothing} turned meanwhile and told nothing")


def entry(engine: Engine, data: Path, people: int) -> None:
    """People who walk up to a room, and pictures put before it."""
    room = read_picture(sorted((data / "noface").iterdir())[0])
    doubted = dict.fromkeys(("walks up", "put at once", "put in 0.3 s", "put in 0.6 s"), 0)
    looks = [found[0] for found in islice(frontals(engine, data), 0, 3 * people, 3)]
    for seed, (picture, face) in enumerate(looks):
        stagings = {"walks up": walking_up(room, picture, face, seed=seed)}
        for name, rises in (("at once", 0.0), ("in 0.3 s", 0.3), ("in 0.6 s", 0.6)):
            held = handheld(picture, 1.6, seed=seed)
            stagings[f"put {name}"] = put_before(room, held, seed=seed, rises=rises)
        for name, frames in stagings.items():
            doubted[name] += came(engine, frames).suspicion() is not None
    for name, count in doubted.items():
        told(f"entry, {name}: doubted", count, len(looks))


def came(engine: Engine, frames: Iterator[Frame]) -> Entrance:
    """The entrance, once the first face has been there for a second."""
    doorway, entrance = Doorway(), None
    for number, frame in enumerate(frames):
        t = number / 10
        faces = [face for face in engine.detect(frame) if face.eye_distance >= 24]
        if entrance is None:
            if not faces:
                doorway.see(frame, engine.detect(frame), t)
                continue
            entrance = doorway.entrance(faces[0], t)
        if faces:
            entrance.see(frame, faces[0], t)
    return entrance or Entrance()


if __name__ == "__main__":
    sys.exit(main())

"""One look at each picture of an evaluation, taken as the kiosk takes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recognition.decision import Ambiguous, Match, Unknown
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.gallery import Gallery
from recognition.language import language
from recognition.liveness import Liveness
from recognition.pictures import SUFFIXES, read_picture
from recognition.quality import assess_quality
from recognition.recogniser import Recogniser
from recognition.track import Track


@dataclass(frozen=True, eq=False)
class Look:
    """What one picture gave. track: None where no usable face was acquired.
    enrollable: it passes the gate of the enrolment desk."""

    path: Path
    track: Track | None
    enrollable: bool

    @property
    def template(self) -> NDArray[np.float32] | None:
        """float32, shape (d,), or None."""
        return self.track.samples[0].template if self.track else None


class Looker:
    """Takes one look at each picture; remembers what a damaged one said."""

    def __init__(self, engine: Engine, liveness: Liveness) -> None:
        self.engine = engine
        empty = Gallery(engine.model_id, engine.dimension)
        self.recogniser = Recogniser(engine, empty, liveness, stills=True)

    def look(self, path: Path, *, enrolling: bool) -> Look:
        """Read and look at one picture; a damaged one is told on stderr and gives no track."""
        try:
            frame = read_picture(path)
            seen = self.recogniser.observe(frame, 0.0)
        except BadPicture as error:
            print(error.words(language()), file=sys.stderr)
            return Look(path, None, False)
        track = self.recogniser.track
        if track is None or not track.samples or seen.subject is None:
            return Look(path, None, False)
        good = enrolling and assess_quality(frame, seen.subject, "enrol").ok
        return Look(path, track, good)


def judge(
    recogniser: Recogniser, look: Look, gallery: Gallery
) -> tuple[str | None, str | None, float]:
    """(matched official or None, best official or None, score) by the kiosk's decision."""
    if look.track is None:
        return None, None, -1.0
    decision = recogniser.judge(look.track, 0.0, gallery=gallery)
    if isinstance(decision, Match):
        return decision.official, decision.official, decision.score
    if isinstance(decision, Ambiguous):
        return None, decision.first, decision.score
    if isinstance(decision, Unknown):
        return None, decision.best, decision.score
    return None, None, -1.0


def pictures_below(folder: Path) -> Iterator[Path]:
    """Pictures anywhere below `folder`, in name order, links followed."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def progress(items: list[Any], what: str) -> Any:
    """`items` with a bar on a terminal, or one plain line where there are many."""
    long = isinstance(items[0], tuple) if items else False
    if sys.stderr.isatty():
        return tqdm(items, desc=what, leave=long, unit="")
    if long or len(items) > 50:
        print(f"{what}: {len(items)}", file=sys.stderr)
    return items

"""One look at each picture of an evaluation, taken as the kiosk takes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recognition.decision import Ambiguous, Match, Unknown
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.gallery import Gallery
from recognition.language import language, say
from recognition.liveness import Liveness
from recognition.pictures import SUFFIXES, read_picture
from recognition.quality import assess_quality
from recognition.recogniser import Recogniser
from recognition.track import MAX_SAMPLES, Sample, Track
from recognition.types import Template

TRACK_LOOKS = MAX_SAMPLES
"""Looks of a track in an evaluation: as many as the kiosk keeps of a face."""
TRACK_SECONDS = 0.1
"""Between two of them, as the kiosk takes them."""


@dataclass(frozen=True, eq=False)
class Look:
    """What one picture gave. track: None where no usable face was acquired.
    enrollable: it passes the gate of the enrolment desk. live: the embedding that a kiosk's camera
    would take of it, one view; None where the live gate would wait for a better look."""

    path: Path
    track: Track | None
    enrollable: bool
    live: Template | None = None

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
        if not enrolling:
            return Look(path, track, False)
        good = assess_quality(frame, seen.subject, "enrol").ok
        passed = assess_quality(frame, seen.subject, "live").ok
        live = self.engine.embed(frame, seen.subject) if passed else None
        return Look(path, track, good, live)


def track_of(looks: Sequence[Look], rng: np.random.Generator) -> Track | None:
    """Photographs of one person as the looks of one track, in drawn order and again from the
    first until there are eight; None where the live gate takes none of them."""
    drawn = [looks[i] for i in rng.permutation(len(looks))]
    usable: list[tuple[Track, Template]] = [
        (k.track, k.live) for k in drawn if k.track is not None and k.live is not None
    ]
    if not usable:
        return None
    samples = [
        Sample(i * TRACK_SECONDS, i, usable[i % len(usable)][1], 1.0) for i in range(TRACK_LOOKS)
    ]
    return replace(usable[0][0], samples=samples, first_usable=0.0, last_embedded=samples[-1].t)


Verdict = tuple[str | None, str | None, float]
"""Matched official or None, best official or None, score."""


class Judge:
    """The kiosk's decision on single pictures and on tracks, with liveness off."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        empty = Gallery(engine.model_id, engine.dimension)
        self._still = Recogniser(engine, empty, Liveness("off"), stills=True)
        self._moving = Recogniser(engine, empty, Liveness("off"))

    def still(self, look: Look, gallery: Gallery) -> Verdict:
        """`look` as a track of one frame, with the rules about motion switched off."""
        return judge(self._still, look.track, gallery)

    def track(self, track: Track | None, gallery: Gallery) -> Verdict:
        """`track` by the rules of moving pictures, once its face has gone."""
        return judge(self._moving, track, gallery, last=True)


def judge(
    recogniser: Recogniser, track: Track | None, gallery: Gallery, *, last: bool = False
) -> Verdict:
    """What the kiosk's decision makes of a track; nobody where there is none."""
    if track is None:
        return None, None, -1.0
    decision = recogniser.judge(track, track.last_embedded, last=last, gallery=gallery)
    if isinstance(decision, Match):
        return decision.official, decision.official, decision.score
    if isinstance(decision, Ambiguous):
        return None, decision.first, decision.score
    if isinstance(decision, Unknown):
        return None, decision.best, decision.score
    return None, None, -1.0


def pictures_below(folder: Path) -> Iterator[Path]:
    """Pictures anywhere below `folder`, in name order, links followed; none twice where links
    run in a circle. A folder that may not be read is told on stderr and passed over."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_tell_unread, followlinks=True):
        folders.sort()
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() not in SUFFIXES:
                continue
            if path.is_file():
                yield path
            elif path.is_symlink():
                print(say(f"{path} 指向不存在的文件", f"{path} leads nowhere"), file=sys.stderr)


def _tell_unread(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # a part of the folder that nobody made
    words = say(
        f"无法读取 {error.filename}：{error.strerror}",
        f"{error.filename} cannot be read: {error.strerror}",
    )
    print(words, file=sys.stderr)


def progress(items: list[Any], what: str) -> Any:
    """`items` with a bar on a terminal, or one plain line where there are many."""
    long = isinstance(items[0], tuple) if items else False
    if sys.stderr.isatty():
        return tqdm(items, desc=what, leave=long, unit="")
    if long or len(items) > 50:
        print(f"{what}: {len(items)}", file=sys.stderr)
    return items

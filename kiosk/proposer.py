"""When a kiosk proposes a picture of somebody as a template, and which.

Only of people whose sealed gallery says that they consented to it, only beside a check-in that was
recorded, and only where the face was hardly known: a match close above the threshold by a live
presentation, or a PIN while the face stayed below it. One look is held in memory while its face is
there, and for LOOK_S after; of anybody else nothing is ever written.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.days import DAY_MS
from attendance.errors import QuxiangError
from attendance.proposals import MAX_PICTURE, ProposalContents, seal_proposal
from attendance.signing import KEY_BYTES, DeviceKeys
from kiosk.people import People, Person
from kiosk.site import Site
from kiosk.store import Store
from kiosk.vault import Vault
from recognition.decision import Decision, Match, Unknown
from recognition.engine import Engine
from recognition.quality import assess_quality
from recognition.recogniser import Observation
from recognition.track import Sample, Track, sample_weight
from recognition.types import Face, Frame

LOOK_S = 30.0
"""How long a face that has gone may still be proposed: who turns to the keys of the PIN."""
REST_MS = 7 * DAY_MS
"""Between two proposals of one official: a week shows another light, another coat. No figure hangs
on it, or on NARROW: a person decides."""
NARROW = 0.25
"""A match is close where it lies in this part of the way from the threshold to 1 (sface: below
0.625 with the threshold 0.50)."""
AROUND = 2.2
"""Side of the square that is kept, in heights of the face: the detector wants some margin."""
SIDE = 320
"""Pixels of that square at the most: some 60 between the eyes, twice what enrolment asks."""
QUALITIES = (90, 75, 55)
LAST = "proposed"


@dataclass
class _Look:
    """The best look at the face before the camera; uint8 BGR."""

    track_id: int
    seen_s: float
    picture: NDArray[np.uint8] | None = None
    weight: float = 0.0
    decision: Decision | None = None
    passive: float | None = None


class Proposer:
    """Belongs to one run of a kiosk. `seen` is the frame loop's, the rest may be any thread's."""

    def __init__(
        self,
        vault: Vault,
        store: Store,
        keys: DeviceKeys,
        people: Callable[[], People],
        threshold: float,
        model: str,
        now_ms: Callable[[], int],
    ) -> None:
        """`people` tells whom the kiosk knows now; `threshold` and `model` are the engine's;
        `now_ms` is the true time as well as the kiosk knows it, Unix ms."""
        self._vault = vault
        self._store = store
        self._keys = keys
        self._people = people
        self._threshold = threshold
        self._model = model
        self._now_ms = now_ms
        self._guard = threading.Lock()
        self._look: _Look | None = None

    @property
    def holds(self) -> bool:
        """Whether a picture is held in memory now."""
        with self._guard:
            return self._look is not None and self._look.picture is not None

    def seen(self, frame: Frame, seen: Observation, track: Track | None) -> None:
        """Follow what the recogniser saw in this frame; `track` is the one that it follows."""
        if not self._people().proposing:
            self.forget()
            return
        with self._guard:
            look = self._look
            if seen.track_id is None:
                if look is not None and not 0 <= seen.t - look.seen_s <= LOOK_S:
                    self._look = None
                return
            if look is None or look.track_id != seen.track_id:
                look = self._look = _Look(seen.track_id, seen.t)
            look.seen_s, look.decision = seen.t, seen.decision
            look.passive = _passive(track.samples) if track is not None else None
            if seen.quality is not None and seen.quality.ok and seen.subject is not None:
                self._keep_better(look, frame, seen.subject, seen.faces)

    def forget(self) -> None:
        """Nothing of anybody stays in memory."""
        with self._guard:
            self._look = None

    def by_face(self, match: Match) -> bool:
        """After a check-in by face was recorded; whether a picture was kept."""
        live = match.liveness.live is True and match.liveness.name not in ("off", "still")
        if not live or match.score >= self._threshold + NARROW * (1 - self._threshold):
            return False
        with self._guard:
            look = self._look
            if look is None or look.track_id != match.track_id:
                return False
            return self._propose(look, match.official, "face", match.score, match.liveness.name)

    def by_pin(self, official: str) -> bool:
        """After a check-in by PIN was recorded; whether a picture of the face that was looked at
        meanwhile, and that nobody's templates fitted, was kept."""
        with self._guard:
            look = self._look
            if look is None or not isinstance(look.decision, Unknown):
                return False
            passive = "not asked" if look.passive is None else f"passive {look.passive:.2f}"
            return self._propose(look, official, "pin", look.decision.score, passive)

    def _keep_better(self, look: _Look, frame: Frame, face: Face, faces: tuple[Face, ...]) -> None:
        if face is not max(faces, key=lambda each: each.area, default=None):
            return
        quality = assess_quality(frame, faces, "enrol")
        if not quality.ok or quality.measures is None:
            return
        weight = sample_weight(quality.measures)
        if look.picture is None or weight > look.weight:
            look.picture, look.weight = _square(frame, face), weight

    def _propose(
        self, look: _Look, official: str, method: str, score: float, liveness: str
    ) -> bool:
        person, contents = self._people().get(official), self._vault.contents()
        if look.picture is None or not _may(person) or contents is None:
            return False
        if len(contents.desk_box) != KEY_BYTES:
            return False
        now_ms = self._now_ms()
        picture, look.picture, look.weight = look.picture, None, 0.0
        try:
            last = _last(self._store)
            rested = abs(now_ms - last.get(official, -REST_MS)) >= REST_MS
            jpeg = _jpeg(picture)
            if not rested or jpeg is None or not self._vault.pile.has_room(official):
                return False
            self._vault.pile.put(
                seal_proposal(
                    ProposalContents(
                        id=str(uuid.uuid4()),
                        device=self._store.device,
                        official=official,
                        at_ms=now_ms,
                        method=method,
                        score=round(float(score), 4),
                        threshold=self._threshold,
                        liveness=liveness,
                        model=self._model,
                        picture=jpeg,
                    ),
                    contents.desk_box,
                    self._keys,
                )
            )
            known = {p.official for p in contents.people if p.propose}
            kept = {who: at for who, at in last.items() if who in known}
            self._store.set_meta(**{LAST: json.dumps({**kept, official: now_ms})})
        except (OSError, QuxiangError):
            return False  # the check-in stands; a picture is never worth a fault
        return True


def proposer_of(
    site: Site, engine: Engine, people: Callable[[], People], now_ms: Callable[[], int]
) -> Proposer:
    """The proposer of a paired kiosk's folder."""
    vault, store, keys = site.vault, site.store, site.keys
    return Proposer(vault, store, keys, people, engine.threshold, engine.model_id, now_ms)


def _may(person: Person | None) -> bool:
    return person is not None and person.propose


def _last(store: Store) -> dict[str, int]:
    """When something was proposed last, by official, Unix ms."""
    try:
        found = json.loads(store.meta(LAST) or "{}")
    except ValueError:
        return {}
    return {str(who): int(at) for who, at in found.items() if isinstance(at, int)}


def _passive(samples: list[Sample]) -> float | None:
    asked = [sample.passive for sample in samples if sample.passive is not None]
    return sum(asked) / len(asked) if asked else None


def _square(frame: Frame, face: Face) -> NDArray[np.uint8]:
    """The part of the picture around the face, at most SIDE pixels wide and high."""
    height, width = frame.shape[:2]
    x, y = face.centre
    half = AROUND * max(face.box[2], face.box[3]) / 2
    left, top = max(int(x - half), 0), max(int(y - half), 0)
    part = frame[top : min(int(y + half), height), left : min(int(x + half), width)]
    scale = SIDE / max(part.shape[:2])
    if scale >= 1:
        return np.array(part, np.uint8)  # a copy: the frame's memory is used again
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> bytes | None:
    for quality in QUALITIES:
        ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if ok and len(data) <= MAX_PICTURE:
            return bytes(data)
    return None

"""Frames in, decisions out: the loop body of the kiosk and of the evaluation."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.cues import Doorway
from recognition.decision import (
    MOVING,
    STILL,
    TIME_SLACK,
    Decision,
    Identified,
    Match,
    NotLive,
    PoorQuality,
    Refusals,
    Wait,
    decide,
    identify,
)
from recognition.engine import Engine
from recognition.errors import ModelMismatch
from recognition.gallery import Gallery
from recognition.guidance import FOR_FAULT, Guidance
from recognition.liveness import Liveness, LivenessVerdict, load_liveness
from recognition.pictures import as_frame
from recognition.quality import Quality, assess_quality
from recognition.track import (
    MAX_SAMPLES,
    Sample,
    Track,
    choose_subject,
    continues,
    near_enough,
    overlap,
    sample_weight,
)
from recognition.types import Face, Frame

SMALLEST_SIDE = 12
"""Pixels of a frame's shorter side below which it holds no face."""
LOST_SECONDS = 0.6
"""A face not seen for this long has gone; a nod or a hand before the face is shorter."""
SAMPLE_SECONDS = 0.1
"""Least time between two embeddings while undecided: neighbouring frames tell nothing new."""
RECHECK_SECONDS = 0.5
"""Time between embeddings once decided, to notice that another person stepped into the place."""
SEARCH_SECONDS = 0.2
"""Time between two searches of the whole frame while a face is followed: somebody who steps before
it is noticed that much later."""
LEAP = 0.3
"""Overlap with its last place (intersection over union) below which a face has leapt."""
EMPTY_SECONDS = 0.5
"""An unchanged empty scene is searched again after this long."""
EMPTY_CHANGE = 6.0
"""Grey levels by which a cell of the 32 x 24 grid must change to make a frame worth searching;
sensor noise of sigma 6 moves a cell of 400 pixels by 0.3."""
QUALITY_FRAMES = 10
QUALITY_SECONDS = 1.0
"""A face seen for so many frames and seconds without a usable look is reported as poor quality."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame gave.

    faces: all that the detector found. subject: the one looked at. decision: the track's; the same
    object until it changes. fresh: it was made in this frame. first_usable: frame time in seconds
    and first_usable_index the index of the first usable frame of this face.
    quality: of the subject in this frame, None where it was not judged.
    """

    t: float
    index: int
    faces: tuple[Face, ...]
    subject: Face | None
    track_id: int | None
    decision: Decision
    fresh: bool = False
    first_usable: float | None = None
    first_usable_index: int | None = None
    quality: Quality | None = None


class Recogniser:
    """Follows one subject at a time through the frames and decides once per track.

    A refused track may still become a Match when better looks come; it is refused only once.
    Not thread-safe. `stills`: every frame is a track of its own, rules about motion switched off.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        liveness: Liveness | str = "doubtful",
        *,
        stills: bool = False,
        data_dir: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """liveness: a `Liveness`, or a policy's name (weights are then looked for in `data_dir`).

        Raises ModelMismatch where gallery and engine differ, WeightsMissing as `load_liveness`.
        """
        if gallery.model_id != engine.model_id:
            raise ModelMismatch(
                f"the gallery was made by {gallery.model_id}, the engine is {engine.model_id}: "
                "enrol again with this engine",
                f"人脸库由 {gallery.model_id} 生成，当前引擎是 {engine.model_id}：请重新登记",
            )
        self.engine = engine
        self.gallery = gallery
        self.liveness = (
            load_liveness(liveness, data_dir, rng=rng) if isinstance(liveness, str) else liveness
        )
        self.stills = stills
        self._rules = STILL if stills else MOVING
        self._track: Track | None = None
        self._decision: Decision = Wait(None, None)
        self._refused = False
        self._next_id = 1
        self._last_t = -math.inf
        self._ended: list[Decision] = []
        self._empty: NDArray[np.float32] | None = None
        self._empty_since = -math.inf
        self._searched = -math.inf
        self._size = (0, 0)
        self._doorway = Doorway()

    def __enter__(self) -> Recogniser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the track and its embeddings. Idempotent."""
        self._track = None
        self._empty = None
        self._decision = Wait(None, None)

    @property
    def ended(self) -> list[Decision]:
        """Refusals of tracks that ended in the last `observe` or `finish` without having been
        decided before: not_live, quality, and unknown or ambiguous of somebody who left early."""
        return list(self._ended)

    def finish(self) -> list[Decision]:
        """The source has ended: end the track, and return `ended`."""
        self._ended = []
        self._end_track()
        return self.ended

    def observe(self, frame: NDArray[Any], t_seconds: float, index: int = 0) -> Observation:
        """Take one frame (uint8 BGR; grey, BGRA and 16 bits are converted) of time `t_seconds`.

        Time that runs backwards ends the track: the source began anew. Raises BadPicture for what
        is not a picture.
        """
        picture = as_frame(frame)
        self._ended = []
        if self.stills or t_seconds < self._last_t:
            self._end_track()
            self._ended = [] if self.stills else self._ended
        self._last_t = t_seconds
        self._fit(picture)
        if self._track is None and not self.stills and self._still_empty(picture, t_seconds):
            faces: list[Face] = []
        elif (followed := self._followed(picture, t_seconds)) is not None:
            faces = [followed]
        else:
            faces = self.engine.detect(picture, thorough=self.stills)
            self._searched = t_seconds
        return self._observe(picture, t_seconds, index, faces)

    def _fit(self, frame: Frame) -> None:
        """A folder may hold pictures of differing sizes: carry the track's places over."""
        height, width = frame.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return  # nobody can be seen in it, and the places would be rounded away
        if self._track is not None and (height, width) != self._size:
            self._track.rescale(width / self._size[1], height / self._size[0])
        self._size = (height, width)

    def _followed(self, frame: Frame, t: float) -> Face | None:
        """The subject's face sought around its last place; None where the whole frame must be
        searched: for a look, whose landmarks decide the template, for a challenge, now and then."""
        track = self._track
        if (
            track is None
            or self.stills
            or track.missed
            or track.challenge
            or t - self._searched >= SEARCH_SECONDS - TIME_SLACK
            or self._look_due(track, t)
        ):
            return None
        face = self.engine.follow(frame, track.face)
        if face is None or not continues(track, face) or overlap(track.face, face) < LEAP:
            return None  # a look is due, and a look wants the whole frame
        return face

    def _look_due(self, track: Track, t: float) -> bool:
        enough = len(track.samples) >= MAX_SAMPLES and track.span >= self._rules.refuse_seconds
        settled = enough or not isinstance(self._decision, Wait)
        pause = RECHECK_SECONDS if settled else SAMPLE_SECONDS
        return t - track.last_embedded >= pause - TIME_SLACK or bool(track.odd)

    def _observe(self, frame: Frame, t: float, index: int, faces: list[Face]) -> Observation:
        subject = choose_subject(faces, frame, self._track, still=self.stills)
        if faces:
            self._empty = None
        track = self._track
        if subject is None:
            if track and t - track.last_seen > LOST_SECONDS:
                self._end_track()
            if self._track is None:
                self._doorway.see(frame, faces, t)
                return Observation(t, index, tuple(faces), None, None, self._idle(faces, frame))
            self._track.missed = True
            return self._observation(t, index, faces, None, False, None)
        jumped = False
        if track is not None and not continues(track, subject):
            self._end_track()
            track = None
        if track is None:
            track = self._start_track(frame, subject, t, index)
            track.entrance = self._doorway.entrance(subject, t)
        else:
            # After a gap or a leap somebody else may stand there: look again at once.
            jumped = overlap(track.face, subject) < LEAP or track.missed
            track.see(frame, subject, t, index)
        if not self.stills and not isinstance(self._decision, (Match, NotLive)):
            self.liveness.watch(self.engine, track, frame, faces, subject, t)
        quality = self._maybe_sample(track, frame, subject, t, index, jumped)
        fresh = self._decide(t, quality)
        return self._observation(t, index, faces, subject, fresh, quality)

    def _maybe_sample(
        self, track: Track, frame: Frame, face: Face, t: float, index: int, jumped: bool
    ) -> Quality | None:
        """Judge the frame and embed it where that tells something new."""
        if not (self._look_due(track, t) or jumped):
            return None
        quality = assess_quality(frame, face, "still" if self.stills else "live")
        if not quality.ok:
            track.last_fault = quality.faults[0]
            track.faults += 1
            return quality
        template = self.engine.embed(frame, face, thorough=self.stills)
        if not np.isfinite(template).all():
            track.faults += 1  # a network that answers nothing: no look, and no reason to stop
            return quality
        track.usable += 1
        if track.first_usable is None:
            track.first_usable, track.first_usable_index = t, index
        track.last_embedded = t
        weight = sample_weight(quality.measures) if quality.measures else 0.0
        passive = None if isinstance(self._decision, Match) else self.liveness.look(frame, face)
        sample = Sample(t, index, template, weight, passive)
        if track.likeness(template) >= self.engine.same_face:
            track.odd.clear()
            track.keep(sample)
        else:
            track.odd.append(sample)
            self._maybe_exchange(frame, face, t, index)
        return quality

    def _maybe_exchange(self, frame: Frame, face: Face, t: float, index: int) -> None:
        """Two looks in a row at somebody else begin a new track with him."""
        track = self._track
        if track is None or len(track.odd) < 2:
            return
        before, now = track.odd[-2:]
        if float(before.template @ now.template) < self.engine.same_face:
            track.odd = [now]
            return
        self._end_track()
        fresh = self._start_track(frame, face, t, index)
        fresh.samples = [before, now]
        fresh.last_embedded = t
        fresh.usable = 2
        fresh.first_usable, fresh.first_usable_index = before.t, before.index

    def _decide(self, t: float, quality: Quality | None) -> bool:
        """Bring the decision up to date; True where a new one is to be told."""
        track = self._track
        if track is None or isinstance(self._decision, (Match, NotLive)):
            return False
        decision = self.judge(track, t, last=False)
        if isinstance(decision, Wait):
            if self._refused:
                return False
            if quality is not None and not quality.ok and not track.challenge:
                decision = Wait(FOR_FAULT[quality.faults[0]], track.track_id)
            elif quality is None and not track.challenge and isinstance(self._decision, Wait):
                decision = Wait(self._decision.guidance, track.track_id)
            self._decision = decision
            return False
        if isinstance(decision, Match):
            self._decision = decision
            return True
        if self._refused:
            return False
        self._decision, self._refused = decision, True
        return True

    @property
    def track(self) -> Track | None:
        """The subject's track, None where there is nobody."""
        return self._track

    @property
    def wanted_light(self) -> float | None:
        """The level, 0 to 1, at which a fill light should stand now, None where it is of no use.
        Who sets a lamp by it tells `lit`."""
        track = self._track
        settled = isinstance(self._decision, (Match, NotLive))
        return None if track is None or settled else self.liveness.wanted_light(track, self._last_t)

    def lit(self, level: float, t_seconds: float) -> None:
        """A fill light was set at `t_seconds` of frame time; level from 0, dark, to 1."""
        if self._track is not None:
            self._track.lighting.command(level, t_seconds)

    def judge(
        self, track: Track, t: float, *, last: bool = False, gallery: Gallery | None = None
    ) -> Decision:
        """The decision on `track` at `t` seconds, without changing anything but a challenge.

        last: the face has gone. gallery: another than the recogniser's own (for evaluation).
        """
        if not track.samples:
            if not self.stills:
                return Wait(Guidance.LOOK, track.track_id)
            return PoorQuality(track.last_fault, track.track_id)
        engine = self.engine
        identity = identify(
            track.probes,
            track.span,
            self.gallery if gallery is None else gallery,
            engine.threshold,
            engine.margin,
            track.track_id,
            self._rules,
            last=last,
        )
        verdict = LivenessVerdict(None, "open")
        if isinstance(identity, Identified):
            verdict = self.liveness.assess(track, t, stills=self.stills)
        return decide(identity, verdict, track.track_id, last=last)

    def _start_track(self, frame: Frame, face: Face, t: float, index: int) -> Track:
        self._track = Track.start(self._next_id, frame, face, t, index)
        self._next_id += 1
        self._decision, self._refused = Wait(Guidance.LOOK, self._track.track_id), False
        return self._track

    def _end_track(self) -> None:
        track, self._track = self._track, None
        decided = self._refused or not isinstance(self._decision, Wait)
        self._decision, self._refused = Wait(None, None), False
        if track is None or decided or self.stills:
            return
        decision = self.judge(track, track.last_seen, last=True)
        if isinstance(decision, Refusals):
            self._ended.append(decision)
        elif (
            track.faults > track.usable
            and track.seen >= QUALITY_FRAMES
            and track.last_seen - track.born >= QUALITY_SECONDS
        ):
            self._ended.append(PoorQuality(track.last_fault, track.track_id))

    def _observation(
        self,
        t: float,
        index: int,
        faces: list[Face],
        subject: Face | None,
        fresh: bool,
        quality: Quality | None,
    ) -> Observation:
        track = self._track
        return Observation(
            t,
            index,
            tuple(faces),
            subject,
            track.track_id if track else None,
            self._decision,
            fresh,
            track.first_usable if track else None,
            track.first_usable_index if track else None,
            quality,
        )

    def _idle(self, faces: list[Face], frame: Frame) -> Wait:
        if not faces:
            return Wait(None, None)
        if any(near_enough(face, frame) for face in faces):
            return Wait(Guidance.TO_THE_MIDDLE, None)
        return Wait(Guidance.COME_CLOSER, None)

    def _still_empty(self, frame: Frame, t: float) -> bool:
        """The scene was searched a moment ago, nobody was there, and nothing has changed."""
        grid = cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA)
        view = np.asarray(cv2.cvtColor(grid, cv2.COLOR_BGR2GRAY), np.float32)
        if (
            self._empty is not None
            and t - self._empty_since < EMPTY_SECONDS
            and float(np.abs(view - self._empty).max()) < EMPTY_CHANGE
        ):
            return True
        self._empty, self._empty_since = view, t
        return False

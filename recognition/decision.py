"""The decision over what was seen of a face: the same code for kiosk and evaluation.

Identity first, then life: a stranger's photograph is a stranger, not an attack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recognition.gallery import Candidates, Gallery, template_of
from recognition.guidance import Guidance
from recognition.liveness import LivenessVerdict
from recognition.quality import QualityFault

RefusalReason = Literal["unknown", "ambiguous", "not_live", "quality"]


@dataclass(frozen=True)
class Rules:
    """How much a decision asks for. Seconds are of frame time."""

    frames: int
    """Looks that must agree. Three: one bad look among them changes neither the majority nor, at
    the threshold, the mean by more than the spread of genuine scores (0.1)."""
    seconds: float
    """Least time between first and last look: two neighbouring frames are nearly the same picture
    and prove nothing about each other. 0.3 s leaves most of the promised second to the rest."""
    refuse_seconds: float
    """Least time before somebody is refused: the first looks, while he steps up, are the worst."""


MOVING = Rules(frames=3, seconds=0.3, refuse_seconds=1.0)
STILL = Rules(frames=1, seconds=0.0, refuse_seconds=0.0)
TIME_SLACK = 0.011
"""Frame times are rounded by containers to 1/100 s at worst (GIF)."""


@dataclass(frozen=True)
class Match:
    """This official. margin: lead over the second person (in a gallery of one: over a score of -1).
    frames: looks that the decision rests on."""

    official: str
    score: float
    margin: float
    liveness: LivenessVerdict
    track_id: int
    frames: int
    reason: None = None


@dataclass(frozen=True)
class Unknown:
    """Nobody enrolled reaches the threshold; score is the best there was (-1: empty gallery).
    best: who that was, for evaluation only; no screen, record or log may tell it."""

    score: float
    track_id: int
    best: str | None = field(default=None, repr=False)
    reason: RefusalReason = "unknown"


@dataclass(frozen=True)
class Ambiguous:
    """Two people are equally likely. Their ids are not for the screen."""

    first: str
    second: str
    score: float
    margin: float
    track_id: int
    reason: RefusalReason = "ambiguous"


@dataclass(frozen=True)
class NotLive:
    """It looks like an enrolled person and did not prove to be alive.

    official: who was presented, for counting repeated tries only; no screen or record may tell it.
    """

    liveness: LivenessVerdict
    score: float
    track_id: int
    official: str | None = field(default=None, repr=False)
    reason: RefusalReason = "not_live"


@dataclass(frozen=True)
class PoorQuality:
    """A face stayed before the camera and never gave enough usable looks; reported at its end."""

    fault: QualityFault | None
    track_id: int
    reason: RefusalReason = "quality"


@dataclass(frozen=True)
class Wait:
    """No decision yet. guidance: what to say, None where nobody is there."""

    guidance: Guidance | None
    track_id: int | None
    reason: None = None


Decision = Match | Unknown | Ambiguous | NotLive | PoorQuality | Wait
Refusals = (Unknown, Ambiguous, NotLive, PoorQuality)


@dataclass(frozen=True)
class Identified:
    """The gallery's answer that passed every rule but liveness."""

    candidates: Candidates
    frames: int


def identify(
    probes: NDArray[np.float32],
    span: float,
    gallery: Gallery,
    threshold: float,
    margin: float,
    track_id: int,
    rules: Rules,
    *,
    last: bool = False,
) -> Identified | Unknown | Ambiguous | Wait:
    """Who it is, before asking whether he lives.

    probes: float32, shape (n, d), embeddings of one face. span: seconds between the first and the
    last usable look. last: the face has gone, nothing better will come.
    A person must reach `threshold` for the mean of the probes, lead by `margin`, and be the best
    of the gallery for `rules.frames` single probes.
    """
    waiting = Wait(Guidance.LOOK, track_id)
    if len(probes) < rules.frames or span < rules.seconds - TIME_SLACK:
        return waiting
    # One embedding out of all: the mean direction of the looks, as a thorough look at a still is
    # the mean of its views (docs/accuracy.md, "What was tried").
    found = gallery.search(template_of(probes))
    patient = not last and span < rules.refuse_seconds - TIME_SLACK
    if found.best_id is None or found.best_score < threshold:
        return waiting if patient else Unknown(found.best_score, track_id, found.best_id)
    # One probe always agrees with itself; evaluation asks this millions of times.
    agreeing = (
        sum(gallery.search(probe).best_id == found.best_id for probe in probes)
        if len(probes) > 1
        else 1
    )
    if agreeing < rules.frames:
        return waiting if patient else Unknown(found.best_score, track_id, found.best_id)
    if found.second_id is not None and found.margin < margin:
        if patient:
            return waiting
        return Ambiguous(found.best_id, found.second_id, found.best_score, found.margin, track_id)
    return Identified(found, len(probes))


def decide(
    identity: Identified | Unknown | Ambiguous | Wait,
    liveness: LivenessVerdict,
    track_id: int,
    *,
    last: bool = False,
) -> Decision:
    """The decision, given identity and liveness. last: an open liveness question counts
    as no where there is a suspicion; where there is none, nothing is decided."""
    if not isinstance(identity, Identified):
        return identity
    found = identity.candidates
    assert found.best_id is not None  # noqa: S101 - what Identified means, for the type checker
    if liveness.live:
        return Match(
            found.best_id, found.best_score, found.margin, liveness, track_id, identity.frames
        )
    if liveness.live is None and not (last and liveness.suspect):
        return Wait(liveness.guidance, track_id)
    return NotLive(liveness, found.best_score, track_id, found.best_id)

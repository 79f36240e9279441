"""Is the face a living person's? Policies over the checks that this machine can make.

Checks: *motion* (a face that never moves is a picture or a frozen camera), *passive* (the
MiniFASNet networks, where their weights are found), *challenge* (commanded turns of the head).
*Context* (`recognition.context`) and the *signs* that are switched on (`recognition.cues`) never
decide: a doubt makes the challenge necessary.
Identity comes first: only somebody who would be matched is asked to prove that he is alive.

No check may be outvoted by another: once a challenge was begun, only passing it helps.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from recognition.challenge import NEARER, Challenge, ChallengeState
from recognition.context import OTHER_AREA, OTHER_LOOKS, Doubt
from recognition.cues import DEFAULT_SIGNS, LIGHT_LEVELS, LIGHT_SECONDS, Sign, Suspicion
from recognition.engine import Engine
from recognition.errors import RecognitionError
from recognition.guidance import Guidance
from recognition.track import Track
from recognition.types import Face, Frame

Policy = Literal["doubtful", "passive", "challenge", "both", "off"]
PassiveCheck = Callable[[Frame, Face], float]
"""Probability, 0 to 1, that the face in the frame is genuine."""

MOTION = 0.04
"""Least change of a moving face, as a share of its contrast (`Track.motion`). Stills with sensor
noise up to sigma 6, recompression and flicker stay below 0.020; the stillest clip of a person
passes 0.08 within a second (five clips of the development set, November 2026)."""
MOTION_SECONDS = 3.0
"""A face that has not moved for this long is refused; until then it is asked to move."""
GENUINE = 0.5
"""Mean passive probability from which a track is genuine: with the two attack classes together on
the other side this is the networks' own argmax, which transfers; tuned thresholds did not."""
PASSIVE_FRAMES = 3
"""Looks that a passive yes needs (one for stills)."""
PASSIVE_FRAMES_NO = 6
"""Looks that a passive no needs; the first ones, while somebody steps up, are the worst."""

PASSIVE_SECONDS = 4.0
"""The networks had no clear view for this long: the challenge decides."""
BACKGROUND_SECONDS = 0.8
"""How long to wait for a motion of the face that tells whether the background goes with it, though
the networks see nothing wrong. Camera frames of people that fill the picture, moved by hand, are
accepted: 85.0 % by the networks alone, 60.0 % with context that does not wait, 10.0 % after 0.8 s
(n = 40, November 2026, docs/accuracy.md)."""
TIME_SLACK = 0.011
"""Frame times are rounded by containers to 1/100 s at worst (GIF)."""
SIGN_SECONDS = 0.1
"""Time between two looks for signs."""
STEP_BACK_SECONDS = 2.0
"""Somebody so near that nothing is seen around the face is asked to step back for this long, and
put to the challenge after that."""
ALARMS = (Doubt.RIGID, Doubt.TWICE, Suspicion.COVERED, Suspicion.UNLIT)
"""Doubts that, together with a passive no, refuse without a challenge."""
WHY = {
    ChallengeState.WRONG_WAY: "turned the wrong way",
    ChallengeState.TOO_LATE: "too late",
    ChallengeState.OTHER_FACE: "another face made the turn",
}


@dataclass(frozen=True)
class LivenessVerdict:
    """live: None while it is open. name: the check that decided, for the record: off, still,
    motion, passive, challenge or passive+challenge. score: passive probability, 0 to 1.
    suspect: who leaves while it is open is refused; not somebody who only passed by, with whom
    nothing was wrong so far."""

    live: bool | None
    name: str
    score: float | None = None
    reason: str | None = None
    guidance: Guidance | None = None
    suspect: bool = True


class Liveness:
    """The checks under one policy.

    `passive` is None where the weights are missing: then `doubtful`, `passive` and `both` put the
    challenge to everybody, since a kiosk without that file must stay of use, and safe.
    """

    def __init__(
        self,
        policy: Policy = "doubtful",
        passive: PassiveCheck | None = None,
        *,
        rng: random.Random | None = None,
        signs: Collection[Sign] = DEFAULT_SIGNS,
    ) -> None:
        """signs: of `recognition.cues`, those that may call for the challenge."""
        if policy not in get_args(Policy):
            raise RecognitionError(
                f"there is no liveness policy {policy!r}; choose {', '.join(get_args(Policy))}",
                f"没有名为 {policy!r} 的活体检测策略，请选 {'、'.join(get_args(Policy))}",
            )
        self.policy = policy
        self._passive = passive if policy in ("doubtful", "passive", "both") else None
        self._rng = rng or random.SystemRandom()
        self.signs = frozenset(signs)

    @property
    def has_passive(self) -> bool:
        """The passive networks are there and used."""
        return self._passive is not None

    @property
    def lacks_weights(self) -> bool:
        """The policy wants the passive networks, and their weights are missing."""
        return self.policy in ("doubtful", "passive", "both") and self._passive is None

    def note(self, lang: str = "zh") -> str | None:
        """What screen and status must say about weakened checks, or None."""
        if self.policy == "off":
            zh, en = "活体检测已关闭", "Liveness detection is off"
        elif self.lacks_weights:
            zh, en = (
                "缺少活体检测模型，每人都须按提示转头（见 quxiang-recognition weights）",
                "Liveness weights are missing: everybody is asked to turn the head "
                "(see quxiang-recognition weights)",
            )
        else:
            return None
        return zh if lang == "zh" else en

    def look(self, frame: Frame, face: Face) -> float | None:
        """The passive probability of one frame, None without the networks."""
        return self._passive(frame, face) if self._passive else None

    def watch(
        self,
        engine: Engine,
        track: Track,
        frame: Frame,
        faces: Sequence[Face],
        subject: Face,
        t: float,
    ) -> None:
        """Take a frame of an undecided track into account: for its challenge, else its context."""
        if self.policy == "off":
            return
        challenge = track.challenge
        if challenge is None:
            if self._passive is not None:
                track.context.see(frame, subject, t)
                self._watch_signs(track, frame, subject, t)
                self._seek_twin(engine, track, frame, faces, subject)
            track.roomy = subject.box[3] * NEARER < 0.8 * frame.shape[0]
            return
        challenge.see(subject, t)
        if challenge.wants_look:
            # Another head that did the turn for him is nobody's proof.
            likeness = track.likeness(engine.embed(frame, subject))
            challenge.looked(likeness >= engine.same_face)

    def _watch_signs(self, track: Track, frame: Frame, subject: Face, t: float) -> None:
        if t - track.signs_seen < SIGN_SECONDS - TIME_SLACK:
            return
        track.signs_seen = t
        if Sign.ENTRY in self.signs:
            track.entrance.see(frame, subject, t)
        if Sign.DISPLAY in self.signs:
            track.display.see(frame, subject)
        if Sign.LIGHT in self.signs:
            track.lighting.see(frame, subject, t)

    def suspicion(self, track: Track, t: float) -> Suspicion | None:
        """What the signs that are switched on saw, the gravest first.

        Who only appeared (he may have turned round, or looked up) is believed once the background
        stood still behind him.
        """
        told = {
            Sign.LIGHT: track.lighting.suspicion,
            Sign.ENTRY: track.entrance.suspicion,
            Sign.DISPLAY: track.display.suspicion,
        }
        found = [ask() for sign, ask in told.items() if sign in self.signs]
        young = t - track.born < BACKGROUND_SECONDS - TIME_SLACK
        if track.context.free > 0 or young:
            found = [suspicion for suspicion in found if suspicion is not Suspicion.APPEARED]
        return next((suspicion for suspicion in found if suspicion is not None), None)

    def wanted_light(self, track: Track, t: float) -> float | None:
        """The level, 0 to 1, at which the fill light should stand now for its answer to be seen;
        None where that is of no use: switched off, told already, or the face is not followed."""
        done = track.lighting.relief is not None or track.challenge is not None
        if Sign.LIGHT not in self.signs or self._passive is None or done:
            return None
        turn = int((t - track.born) / LIGHT_SECONDS)
        return LIGHT_LEVELS[turn] if turn < len(LIGHT_LEVELS) else None

    def _seek_twin(
        self, engine: Engine, track: Track, frame: Frame, faces: Sequence[Face], subject: Face
    ) -> None:
        """Look whether somebody holds a picture beside his own face, or is in a poster too."""
        context = track.context
        if context.twice or context.others >= OTHER_LOOKS or not track.samples:
            return
        for other in faces:
            if other is subject or other.area < OTHER_AREA * subject.area:
                continue
            context.others += 1
            context.twice = track.likeness(engine.embed(frame, other)) >= engine.threshold
            return

    def assess(self, track: Track, t: float, *, stills: bool = False) -> LivenessVerdict:
        """What the track proves at time `t` (seconds). stills: rules about motion switched off."""
        if self.policy == "off":
            return LivenessVerdict(True, "off")
        if stills:
            return self._assess_still(track)
        if track.motion < MOTION:
            if t - track.born >= MOTION_SECONDS:
                return LivenessVerdict(False, "motion", reason="the face never moved")
            return LivenessVerdict(None, "motion", guidance=Guidance.MOVE_A_LITTLE)
        since = -math.inf if self.policy == "passive" else track.context.clear_since
        passive = self._assess_passive(track, PASSIVE_FRAMES, PASSIVE_FRAMES_NO, since)
        if passive is None:
            return self._assess_challenge(track, t, "challenge", None)
        doubt = track.context.doubt(passive.score) or self.suspicion(track, t)
        if self.policy == "passive":
            return passive
        if passive.live is False and (self.policy == "both" or doubt in ALARMS):
            return passive
        if track.challenge is None:
            if doubt is Doubt.NO_ROOM and t - track.born < STEP_BACK_SECONDS:
                return LivenessVerdict(None, "passive", guidance=Guidance.STEP_BACK)
            unclear = passive.live is None and doubt is not Doubt.NO_ROOM
            if unclear and t - track.born < PASSIVE_SECONDS:
                return passive
            if passive.live and doubt is None and self.policy == "doubtful":
                looking = self.wanted_light(track, t) is not None and track.lighting.commanded
                if (
                    track.context.votes and not looking
                ) or t - track.born >= BACKGROUND_SECONDS - TIME_SLACK:
                    return passive
                return replace(passive, live=None, guidance=Guidance.LOOK, suspect=False)
        name = "passive+challenge" if passive.live else "challenge"
        return self._assess_challenge(track, t, name, passive.score)

    def _assess_still(self, track: Track) -> LivenessVerdict:
        if self.policy == "challenge":
            return LivenessVerdict(False, "challenge", reason="a still cannot turn its head")
        passive = self._assess_passive(track, 1, 1, -math.inf)
        return passive or LivenessVerdict(True, "still")

    def _assess_passive(
        self, track: Track, yes: int, no: int, since: float
    ) -> LivenessVerdict | None:
        looks = [s for s in track.samples if s.t >= since]
        scores = [s.passive for s in looks if s.passive is not None]
        if self._passive is None:
            return None
        mean = sum(scores) / len(scores) if scores else None
        if mean is not None and mean >= GENUINE and len(scores) >= yes:
            return LivenessVerdict(True, "passive", mean)
        if mean is not None and mean < GENUINE and len(scores) >= no:
            return LivenessVerdict(False, "passive", mean, "looks like a picture or a screen")
        wrong = mean is None or mean < GENUINE
        return LivenessVerdict(None, "passive", mean, guidance=Guidance.LOOK, suspect=wrong)

    def _assess_challenge(
        self, track: Track, t: float, name: str, score: float | None
    ) -> LivenessVerdict:
        if track.challenge is None:
            track.challenge = Challenge.draw(t, self._rng, room=track.roomy)
        challenge = track.challenge
        if challenge.state is ChallengeState.PASSED:
            return LivenessVerdict(True, name, score)
        if challenge.state is ChallengeState.OPEN:
            return LivenessVerdict(None, name, score, guidance=challenge.prompt)
        return LivenessVerdict(False, name, score, WHY[challenge.state])


def load_liveness(
    policy: str = "doubtful",
    data_dir: Path | None = None,
    *,
    rng: random.Random | None = None,
    signs: Collection[Sign] = DEFAULT_SIGNS,
) -> Liveness:
    """`Liveness` under `policy`, with the passive networks where their weights are found.

    data_dir: the role's data folder. Raises RecognitionError for an unknown policy.
    """
    passive: PassiveCheck | None = None
    if policy in ("doubtful", "passive", "both"):
        from recognition.minifasnet import find_minifasnet

        passive = find_minifasnet(data_dir)
    return Liveness(cast(Policy, policy), passive, rng=rng, signs=signs)

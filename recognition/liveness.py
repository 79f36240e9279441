"""Is the face a living person's? Policies over the checks that this machine can make.

Checks: *motion* (a face that never moves is a picture or a frozen camera), *passive* (the
MiniFASNet networks, where their weights are found), *challenge* (a commanded turn of the head).
Identity comes first: only somebody who would be matched is asked to prove that he is alive.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from recognition.challenge import Challenge, ChallengeState
from recognition.errors import RecognitionError, WeightsMissing
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


@dataclass(frozen=True)
class LivenessVerdict:
    """live: None while it is open. name: the check that decided, for the record: off, still,
    motion, passive, challenge or passive+challenge. score: passive probability, 0 to 1."""

    live: bool | None
    name: str
    score: float | None = None
    reason: str | None = None
    guidance: Guidance | None = None


class Liveness:
    """The checks under one policy. `passive` is None where the weights are missing."""

    def __init__(
        self,
        policy: Policy = "doubtful",
        passive: PassiveCheck | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        if policy not in get_args(Policy):
            raise RecognitionError(
                f"there is no liveness policy {policy!r}; choose {', '.join(get_args(Policy))}",
                f"没有名为 {policy!r} 的活体检测策略，请选 {'、'.join(get_args(Policy))}",
            )
        self.policy = policy
        self._passive = passive if policy in ("doubtful", "passive", "both") else None
        if policy in ("passive", "both") and passive is None:
            raise WeightsMissing(
                f"liveness policy {policy} needs the MiniFASNet weights: see quxiang-recognition "
                "weights, or choose --liveness challenge",
                f"活体检测策略 {policy} 需要 MiniFASNet 模型文件："
                "请看 quxiang-recognition weights，或改用 --liveness challenge",
            )
        self._rng = rng or random.SystemRandom()

    @property
    def has_passive(self) -> bool:
        """The passive networks are there and used."""
        return self._passive is not None

    def note(self, lang: str = "zh") -> str | None:
        """What screen and status must say about weakened checks, or None."""
        if self.policy == "off":
            zh, en = "活体检测已关闭", "Liveness detection is off"
        elif self.policy == "doubtful" and self._passive is None:
            zh, en = (
                "缺少活体检测模型，仅检查人脸是否在动",
                "Liveness weights are missing: only motion of the face is checked",
            )
        else:
            return None
        return zh if lang == "zh" else en

    def look(self, frame: Frame, face: Face) -> float | None:
        """The passive probability of one frame, None without the networks."""
        return self._passive(frame, face) if self._passive else None

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
        if self.policy == "challenge":
            return self._assess_challenge(track, t, "challenge", None)
        passive = self._assess_passive(track, PASSIVE_FRAMES, PASSIVE_FRAMES_NO)
        if passive is None:
            return LivenessVerdict(True, "motion")
        if self.policy == "passive" or passive.live is None:
            return passive
        if self.policy == "both":
            if passive.live is False:
                return passive
            return self._assess_challenge(track, t, "passive+challenge", passive.score)
        if passive.live:
            return passive
        return self._assess_challenge(track, t, "challenge", passive.score)

    def _assess_still(self, track: Track) -> LivenessVerdict:
        if self.policy == "challenge":
            return LivenessVerdict(False, "challenge", reason="a still cannot turn its head")
        passive = self._assess_passive(track, 1, 1)
        return passive or LivenessVerdict(True, "still")

    def _assess_passive(self, track: Track, yes: int, no: int) -> LivenessVerdict | None:
        scores = [s.passive for s in track.samples if s.passive is not None]
        if self._passive is None:
            return None
        mean = sum(scores) / len(scores) if scores else None
        if mean is not None and mean >= GENUINE and len(scores) >= yes:
            return LivenessVerdict(True, "passive", mean)
        if mean is not None and mean < GENUINE and len(scores) >= no:
            return LivenessVerdict(False, "passive", mean, "looks like a picture or a screen")
        return LivenessVerdict(None, "passive", mean, guidance=Guidance.LOOK)

    def _assess_challenge(
        self, track: Track, t: float, name: str, score: float | None
    ) -> LivenessVerdict:
        if track.challenge is None:
            track.challenge = Challenge.draw(t, self._rng)
        challenge = track.challenge
        if challenge.state is ChallengeState.PASSED:
            return LivenessVerdict(True, name, score)
        if challenge.state is ChallengeState.OPEN:
            return LivenessVerdict(None, name, score, guidance=challenge.prompt)
        why = "turned the wrong way" if challenge.state is ChallengeState.WRONG_WAY else "too late"
        return LivenessVerdict(False, name, score, why)


def load_liveness(
    policy: str = "doubtful", data_dir: Path | None = None, *, rng: random.Random | None = None
) -> Liveness:
    """`Liveness` under `policy`, with the passive networks where their weights are found.

    data_dir: the role's data folder. Raises WeightsMissing where the policy cannot do without them,
    RecognitionError for an unknown policy.
    """
    passive: PassiveCheck | None = None
    if policy in ("doubtful", "passive", "both"):
        from recognition.minifasnet import find_minifasnet

        passive = find_minifasnet(data_dir)
    return Liveness(cast(Policy, policy), passive, rng=rng)

"""A commanded motion: turn the head left or right, as asked, twice.

A photograph that is moved or tilted keeps its nose between its eyes; a head that turns by 30
degrees moves it by more than a quarter of the eye distance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum

from recognition.guidance import Guidance
from recognition.types import Face

TURN = 0.28
"""Change of `Face.yaw` that counts as a turn, some 29 degrees. A photograph tilted by 50 degrees
reaches 0.21 by perspective alone (15 stills of the development set, each tilted both ways 100
times), noise 0.02; a person who turns as asked passes 0.35 (November 2026)."""
AHEAD = 0.12
"""|change| below which the head looks ahead again."""
FRAMES = 2
"""Frames in a row that must show the turn: one may be a slip of the detector."""
STEPS = 2
"""Two steps of two directions: somebody who guesses, or plays a clip, is right one time in four."""
STEP_SECONDS = 5.0


class ChallengeState(Enum):
    """Where a challenge stands."""

    OPEN = "open"
    PASSED = "passed"
    WRONG_WAY = "wrong_way"
    TOO_LATE = "too_late"


@dataclass(eq=False)
class Challenge:
    """One challenge of one track. Feed every frame to `see`; it takes time from the caller."""

    steps: tuple[Guidance, ...]
    started: float
    done: int = 0
    state: ChallengeState = ChallengeState.OPEN
    _baseline: list[float] = field(default_factory=list)
    _returning: bool = False
    _right_way: int = 0
    _wrong_way: int = 0

    @classmethod
    def draw(cls, t: float, rng: random.Random) -> Challenge:
        """A challenge whose steps nobody can know before. t: seconds."""
        ways = (Guidance.TURN_LEFT, Guidance.TURN_RIGHT)
        return cls(tuple(rng.choice(ways) for _ in range(STEPS)), t)

    @property
    def prompt(self) -> Guidance:
        """What to say now."""
        if len(self._baseline) < FRAMES or self._returning:
            return Guidance.LOOK_AHEAD
        return self.steps[min(self.done, len(self.steps) - 1)]

    def see(self, face: Face, t: float) -> None:
        """Take one frame's face into account."""
        if self.state is not ChallengeState.OPEN:
            return
        if t - self.started > STEP_SECONDS:
            self.state = ChallengeState.TOO_LATE
            return
        yaw = face.yaw
        if len(self._baseline) < FRAMES:
            if abs(yaw) < TURN:
                self._baseline.append(yaw)
            return
        turned = yaw - sum(self._baseline) / len(self._baseline)
        if self._returning:
            if abs(turned) < AHEAD:
                self._returning, self.started = False, t
            return
        wanted = turned if self.steps[self.done] is Guidance.TURN_LEFT else -turned
        self._right_way = self._right_way + 1 if wanted >= TURN else 0
        self._wrong_way = self._wrong_way + 1 if wanted <= -TURN else 0
        if self._wrong_way >= FRAMES:
            self.state = ChallengeState.WRONG_WAY
        elif self._right_way >= FRAMES:
            self._right_way = self._wrong_way = 0
            self.done += 1
            self._returning, self.started = True, t
            if self.done == len(self.steps):
                self.state = ChallengeState.PASSED

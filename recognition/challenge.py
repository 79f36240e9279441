"""A commanded motion: four random steps, each a turn to the left, to the right, or coming nearer,
with turns to both sides among them.

Why a photograph fails: where its nose lies between eyes and mouth does not change, whatever flat
picture is moved, tilted or stretched (`turn_of` is invariant to affine maps). The detector, which
guesses at faces, still sees a little turn in a strongly tilted or bent picture; but then the face
is foreshortened too, which a head, being about as deep as wide, is not; and what little it feigns
it feigns to one side. Why a clip that was
prepared fails: it would have to hold the right steps in the right order.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

import numpy as np

from recognition.guidance import Guidance
from recognition.types import Face

TURN = 0.17
"""Change of `turn_of` that counts as a turn, some 19 degrees: six times the landmark jitter of a
head in motion (0.028, of one at rest 0.002 to 0.011; five clips). With it and the two limits below,
of people on whom nothing was chosen, 1 of 28 simulated heads that obey is refused and 0 of 270
photographs pass (docs/accuracy.md, November 2026)."""
FRONTAL = 0.15
"""|turn_of| of somebody who looks ahead: 0.11 at most in the clips of people who do (4 clips)."""
REST = 0.08
"""Spread of `turn_of` over the frames from which the position ahead is taken, at most."""
BROAD = 0.83
"""Width over height of the turned face's box, as a share of the same when ahead. Simulated heads at
24 degrees keep 0.85 in 95 of 100, photographs tilted or bent until they seem to turn as far fall to
0.84 and less in the median (docs/accuracy.md, November 2026)."""
DEPTH = 0.5
"""Nose tip before the eyes' plane, in eye distances: a head turned by `a` shows tan(a) times it."""
SLACK = 0.30
"""By how much the eye distance, as a share of the face's height, may fall short of the cosine of
the turn that the nose shows; same measurement."""
NEARER = 1.2
"""Growth of the face's height that counts as having come nearer. A photograph can do this: it only
makes the sequence harder to guess, so it is one step at most."""
WAY = 0.35
"""Share of the way at which, at the latest, the motion must have been seen under way: a picture of
a turned head that is put in the place of another was never between them."""
FRAMES = 2
"""Frames in a row that must show it: one may be a slip of the detector."""
GAP_SECONDS = 0.5
"""A face not seen for this long may have been exchanged: the step begins anew."""
LEAP, LEAP_PER_SECOND = 0.10, 2.5
"""Change of `turn_of` from frame to frame that no neck makes: the quickest of a lively clip is 0.17
in 1/25 s."""
JUMP, JUMP_PER_SECOND = 0.15, 5.0
"""The same for the way of the face's middle, in widths of its box: 0.33 in 1/25 s in that clip,
0.05 in four others."""
STEP_SECONDS = 6.0
STEPS = 4

TURNS = (Guidance.TURN_LEFT, Guidance.TURN_RIGHT)
WITH_NEARER = tuple(
    steps
    for steps in product((*TURNS, Guidance.COME_NEARER), repeat=STEPS)
    if steps.count(Guidance.COME_NEARER) <= 1 and set(TURNS) <= set(steps)
)
"""38 sequences: guessed, or met by a clip, one time in 38."""
ONLY_TURNS = tuple(s for s in product(TURNS, repeat=STEPS) if set(TURNS) <= set(s))
"""14 sequences, for a face with no room to come nearer."""


class ChallengeState(Enum):
    """Where a challenge stands."""

    OPEN = "open"
    PASSED = "passed"
    WRONG_WAY = "wrong_way"
    TOO_LATE = "too_late"
    OTHER_FACE = "other_face"


def turn_of(face: Face) -> float:
    """How far the head is turned: where the nose tip lies between the median line of the face and
    an eye, along the eye line, in eye distances. Positive: to the person's own left. As
    `Face.yaw`, but the same for a flat picture however it is held: invariant to affine maps."""
    points = face.landmarks.astype(np.float64)
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    across, down, nose = points[1] - points[0], mouth - eyes, points[2] - eyes
    area = across[0] * down[1] - across[1] * down[0]
    if abs(area) < 1e-6:
        return 0.0
    return float((nose[0] * down[1] - nose[1] * down[0]) / area)


@dataclass(frozen=True)
class Pose:
    """What a challenge looks at in one frame. broad: width over height of the face's box. eyes: eye
    distance over the box's height. height: of the box, pixels. x, y: its middle, in pixels."""

    t: float
    turn: float
    broad: float
    eyes: float
    height: float
    width: float
    x: float
    y: float

    @classmethod
    def of(cls, face: Face, t: float) -> Pose:
        """The pose of `face` at `t` seconds."""
        width, height = max(face.box[2], 1.0), max(face.box[3], 1.0)
        return cls(t, turn_of(face), width / height, face.eye_distance / height, height, width,
                   *face.centre)  # fmt: skip

    def follows(self, before: Pose) -> bool:
        """One head can have come from there to here."""
        passed = self.t - before.t
        leap, jump = LEAP + LEAP_PER_SECOND * passed, JUMP + JUMP_PER_SECOND * passed
        way = math.hypot(self.x - before.x, self.y - before.y) / max(before.width, self.width)
        return passed <= GAP_SECONDS and abs(self.turn - before.turn) <= leap and way <= jump


@dataclass(eq=False)
class Challenge:
    """One challenge of one track. Feed every frame to `see`; it takes time from the caller.

    wants_look: the face of this frame must be compared with the track's; `looked` takes the answer.
    """

    steps: tuple[Guidance, ...]
    started: float
    done: int = 0
    state: ChallengeState = ChallengeState.OPEN
    wants_look: bool = False
    _ahead: list[Pose] = field(default_factory=list)
    _straight: float | None = None
    _shapes: list[tuple[float, float]] = field(default_factory=list)
    _reference: tuple[float, float] = (0.0, 0.0)
    _asked: bool = False
    _last: Pose | None = None
    _under_way: bool = False
    _right: int = 0
    _wrong: int = 0

    @classmethod
    def draw(cls, t: float, rng: random.Random, *, room: bool = True) -> Challenge:
        """A challenge whose steps nobody can know before. t: seconds. room: the face can still come
        nearer without leaving the picture."""
        return cls(rng.choice(WITH_NEARER if room else ONLY_TURNS), t)

    @property
    def prompt(self) -> Guidance:
        """What to say now."""
        if not self._asked:
            return Guidance.LOOK_AHEAD
        return self.steps[min(self.done, len(self.steps) - 1)]

    def see(self, face: Face, t: float) -> None:
        """Take one frame's face into account."""
        if self.state is not ChallengeState.OPEN:
            return
        self.wants_look = False
        if t - self.started > STEP_SECONDS:
            self.state = ChallengeState.TOO_LATE
            return
        pose, before = Pose.of(face, t), self._last
        self._last = pose
        self._remember(pose)
        if before is None or not pose.follows(before):
            self._begin_anew()
        if not self._asked:
            self._wait_for_ahead(pose)
        elif self.steps[self.done] is Guidance.COME_NEARER:
            self._judge_nearer(pose)
        else:
            self._judge_turn(pose)

    def looked(self, same: bool) -> None:
        """The frame for which `wants_look` was set shows the person of the track, or not."""
        self.wants_look = False
        if not same:
            self.state = ChallengeState.OTHER_FACE

    def _remember(self, pose: Pose) -> None:
        """The broadest that the face ever was, by the middle of three frames: somebody who begins
        with a picture that is tilted already must not be measured by that."""
        self._shapes = [*self._shapes[-2:], (pose.broad, pose.eyes)]
        if len(self._shapes) == 3:
            broad, eyes = (sorted(shape[i] for shape in self._shapes)[1] for i in (0, 1))
            self._reference = max(self._reference[0], broad), max(self._reference[1], eyes)

    def _begin_anew(self) -> None:
        self._ahead, self._asked, self._under_way = [], False, False
        self._right = self._wrong = 0

    def _wait_for_ahead(self, pose: Pose) -> None:
        # A camera that hangs to one side sees everybody turned a little.
        if abs(pose.turn - (self._straight or 0.0)) > FRONTAL:
            self._ahead = []
            return
        self._ahead = [*self._ahead[-FRAMES:], pose]
        turns = [p.turn for p in self._ahead]
        if len(turns) > FRAMES and (self._straight is not None or max(turns) - min(turns) <= REST):
            self._asked = True
            # Later the head is still on its way back when the next step may begin.
            self._straight = sum(turns) / len(turns) if self._straight is None else self._straight

    def _judge_turn(self, pose: Pose) -> None:
        turned = pose.turn - (self._straight or 0.0)
        wanted = turned if self.steps[self.done] is Guidance.TURN_LEFT else -turned
        self._under_way = self._under_way or WAY * TURN <= wanted < TURN
        cosine = 1 / math.hypot(1, turned / DEPTH)
        solid = (
            pose.broad >= BROAD * self._reference[0]
            and pose.eyes >= (cosine - SLACK) * self._reference[1]
        )
        self._count(pose, wanted >= TURN and solid and self._under_way, wanted <= -TURN)

    def _judge_nearer(self, pose: Pose) -> None:
        turned = pose.turn - (self._straight or 0.0)
        growth = pose.height / (sum(p.height for p in self._ahead) / len(self._ahead))
        self._under_way = self._under_way or WAY * (NEARER - 1) <= growth - 1 < NEARER - 1
        near = growth >= NEARER and abs(turned) < TURN and self._under_way
        self._count(pose, near, abs(turned) >= TURN)

    def _count(self, pose: Pose, right: bool, wrong: bool) -> None:
        self._right = self._right + 1 if right else 0
        self._wrong = self._wrong + 1 if wrong else 0
        if self._wrong >= FRAMES:
            self.state = ChallengeState.WRONG_WAY
        elif self._right >= FRAMES:
            self.wants_look = True
            self.done += 1
            self.started = pose.t
            self._begin_anew()
            if self.done == len(self.steps):
                self.state = ChallengeState.PASSED

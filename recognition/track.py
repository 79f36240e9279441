"""Following one face through the frames: who is the subject, and what was seen of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.challenge import Challenge
from recognition.context import Context
from recognition.cues import Display, Entrance, Lighting
from recognition.quality import Measures, QualityFault
from recognition.types import Face, Frame, Template

NEAR_SHARE = 0.05
"""Least eye distance of the subject, as a share of the frame's shorter side: 24 pixels of 480, some
1.4 m before a 60-degree camera. Who is further away is passing by, and is never embedded."""
NEAR_PIXELS = 20.0
"""Least eye distance in pixels, whatever the frame."""
STILL_PIXELS = 10.0
"""The same for single pictures, where nobody passes by; SFace has nothing to see below."""
OVAL = (0.40, 0.46)
"""Half axes of the oval in the middle of the frame, as shares of its width and height."""
TAKE_OVER = 2.0
"""A face this many times larger (in area) than the subject's becomes the subject."""
MAX_SAMPLES = 8
"""Embeddings kept of a track: the best eight; more change a mean of scores by less than noise."""
MOTION_GRID = 16


@dataclass(frozen=True, eq=False)
class Sample:
    """One usable look at the face. t: seconds. weight: how good, 0 to 1. passive: probability of
    a genuine face, 0 to 1, None where it was not asked."""

    t: float
    index: int
    template: Template
    weight: float
    passive: float | None = None


@dataclass(eq=False)
class Track:
    """What was seen of one face from its coming to its going. Times in seconds of frame time."""

    track_id: int
    face: Face
    born: float
    born_index: int
    last_seen: float
    last_index: int
    region: tuple[int, int, int, int]
    first_view: NDArray[np.float32]
    seen: int = 1
    changes: tuple[float, float] = (0.0, 0.0)
    first_usable: float | None = None
    first_usable_index: int | None = None
    last_embedded: float = -math.inf
    missed: bool = False
    samples: list[Sample] = field(default_factory=list)
    odd: list[Sample] = field(default_factory=list)
    last_fault: QualityFault | None = None
    faults: int = 0
    usable: int = 0
    challenge: Challenge | None = None
    context: Context = field(default_factory=Context)
    entrance: Entrance = field(default_factory=Entrance)
    display: Display = field(default_factory=Display)
    lighting: Lighting = field(default_factory=Lighting)
    signs_seen: float = -math.inf
    roomy: bool = True

    @classmethod
    def start(cls, track_id: int, frame: Frame, face: Face, t: float, index: int) -> Track:
        """A track that begins with `face` in `frame`."""
        region = _region(frame, face)
        return cls(track_id, face, t, index, t, index, region, _view(frame, region))

    def see(self, frame: Frame, face: Face, t: float, index: int) -> None:
        """The face was found again."""
        self.face, self.last_seen, self.last_index = face, t, index
        self.seen += 1
        self.missed = False
        now = _difference(self.first_view, _view(frame, self.region))
        self.changes = tuple(sorted((*self.changes, now)))[1:]  # type: ignore[assignment]

    def rescale(self, across: float, down: float) -> None:
        """The pictures are this many times wider and higher from now on; times the same scene."""
        scale = np.array([across, down], np.float32)
        x, y, width, height = self.face.box
        box = (x * across, y * down, width * across, height * down)
        self.face = Face(box, self.face.landmarks * scale, self.face.score)
        left, top, right, bottom = self.region
        self.region = (
            int(left * across),
            int(top * down),
            max(int(right * across), int(left * across) + 1),
            max(int(bottom * down), int(top * down) + 1),
        )

    @property
    def motion(self) -> float:
        """How much the face changed since its first frame, as a share of its contrast: the second
        largest change, since one frame may be a slip of the camera. 0 for a face that never moves.
        """
        return self.changes[0]

    @property
    def span(self) -> float:
        """Seconds between the first and the last usable look."""
        return self.last_embedded - self.first_usable if self.first_usable is not None else 0.0

    @property
    def probes(self) -> NDArray[np.float32]:
        """Templates of the samples, float32, shape (n, d)."""
        return np.stack([s.template for s in self.samples])

    def likeness(self, template: Template) -> float:
        """Cosine between `template` and the mean of the samples; 1 where there are none yet."""
        if not self.samples:
            return 1.0
        mean = self.probes.mean(axis=0)
        return float(mean @ template / max(float(np.linalg.norm(mean)), 1e-6))

    def keep(self, sample: Sample) -> None:
        """Add `sample`, in place of the worst where there are enough."""
        if len(self.samples) >= MAX_SAMPLES:
            worst = min(self.samples, key=lambda s: s.weight)
            if sample.weight <= worst.weight:
                return
            self.samples.remove(worst)
        self.samples.append(sample)


def near_enough(face: Face, frame: Frame, *, still: bool = False) -> bool:
    """The face is large enough to be somebody who steps up to the camera."""
    if still:
        return bool(face.eye_distance >= STILL_PIXELS) or abs(face.yaw) > 0.5
    least = max(NEAR_PIXELS, NEAR_SHARE * min(frame.shape[:2]))
    # The eyes of a turned head are close together: its height tells how near it is.
    return bool(max(face.eye_distance, 0.35 * face.box[3]) >= least)


def in_oval(face: Face, frame: Frame) -> bool:
    """The middle of the face lies in the oval."""
    height, width = frame.shape[:2]
    x, y = face.centre
    across, down = (x / width - 0.5) / OVAL[0], (y / height - 0.5) / OVAL[1]
    return bool(across**2 + down**2 <= 1)


def prominence(face: Face, frame: Frame) -> float:
    """Area, less the further from the middle: the subject of a photograph is not always the
    largest face, but hardly ever one at the border (40 people of LFW: the lowest hundredth of
    genuine cosines rises from 0.14 to 0.32)."""
    height, width = frame.shape[:2]
    x, y = face.centre
    return face.area * math.exp(-((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / 0.25**2)


def continues(track: Track, face: Face) -> bool:
    """`face` may be the one that `track` followed: near its last place and of a similar size.
    Whether it is the same person is asked of the embedder, not of the box."""
    (x, y), (px, py) = face.centre, track.face.centre
    reach = max(face.box[2], track.face.box[2])
    ratio = face.area / max(track.face.area, 1e-6)
    return math.hypot(x - px, y - py) <= reach and 0.35 <= ratio <= 1 / 0.35


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    ax, ay, aw, ah = a.box
    bx, by, bw, bh = b.box
    across = min(ax + aw, bx + bw) - max(ax, bx)
    down = min(ay + ah, by + bh) - max(ay, by)
    common = max(across, 0.0) * max(down, 0.0)
    return common / max(a.area + b.area - common, 1e-6)


def choose_subject(
    faces: Sequence[Face], frame: Frame, track: Track | None, *, still: bool = False
) -> Face | None:
    """The face to look at: the one `track` follows, unless a much larger one stepped before it."""
    able = [f for f in faces if near_enough(f, frame, still=still) and (still or in_oval(f, frame))]
    best = max(able, key=lambda f: prominence(f, frame), default=None)
    if track is None or still:
        return best
    same = [f for f in faces if near_enough(f, frame) and continues(track, f)]
    if not same:
        return best
    x, y = track.face.centre
    nearest = min(same, key=lambda f: math.hypot(f.centre[0] - x, f.centre[1] - y))
    if best is not None and best is not nearest and best.area > TAKE_OVER * nearest.area:
        return best
    return nearest


def sample_weight(measures: Measures) -> float:
    """How good a look is, 0 to 1: frontal, sharp and near."""
    frontal = max(0.05, 1 - abs(measures.yaw) / 0.4)
    return frontal * min(1, measures.sharpness / 7) * min(1, measures.eye_distance / 60)


def _region(frame: Frame, face: Face) -> tuple[int, int, int, int]:
    height, width = frame.shape[:2]
    x, y, w, h = face.box
    left, top = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
    return left, top, min(max(int(x + w), left + 1), width), min(max(int(y + h), top + 1), height)


def _view(frame: Frame, region: tuple[int, int, int, int]) -> NDArray[np.float32]:
    left, top, right, bottom = region
    part = frame[top:bottom, left:right]
    if not part.size:  # the camera changed its frame size under way
        return np.zeros((MOTION_GRID, MOTION_GRID), np.float32)
    grid = cv2.resize(part, (MOTION_GRID, MOTION_GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(grid, cv2.COLOR_BGR2GRAY), np.float32)


def _difference(first: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """Mean difference of two views as a share of the first one's contrast, brightness and gain
    taken out (lamps flicker, cameras adjust): 0 for one and the same picture."""
    a, b = first - first.mean(), now - now.mean()
    contrast = float(a.std())
    if contrast < 1e-3:
        return 0.0
    gain = float((a * b).sum() / max(float((a * a).sum()), 1e-6))
    return float(np.abs(b - gain * a).mean()) / contrast

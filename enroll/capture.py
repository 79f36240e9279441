"""Guided capture: three pictures that differ, judged as they are taken, none of them kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from enroll.enrol import LIKENESS, MAX_TEMPLATES, Sample, choose, look
from enroll.errors import FaceRefused
from enroll.folder import Note
from hardware.frames import Camera, Frame
from recognition.engine import Engine
from recognition.quality import Quality
from recognition.types import Face

CONSENT = Note(
    "本人同意：仅为考勤签到，由照片计算人脸模板，加密存放在登记台和本人应到地点的一体机上；照片不保存、"
    "不上传；可随时撤回，撤回即删除；不愿刷脸的可用 PIN 签到，效力相同。",
    "I consent: for checking in only, a template is computed from my face and kept, encrypted, on "
    "the enrolment desk and on the kiosks where I am expected. No photograph is kept or sent. I "
    "may withdraw at any time, and it is erased. Checking in by PIN instead is just as good.",
)
"""What the person has signed, shown before the camera opens (PIPL Art. 29; face recognition
measures of 2025, Art. 10)."""

STEP_S = 20.0
"""Seconds for each of the three poses before the desk goes on with what it has."""
HOLD_S = 0.4
"""A pose counts when it was held this long; the sharpest frame of it is taken."""
TURN = 0.10
"""Least change of `Face.yaw` that counts as turned: some 10 degrees, well above the jitter of the
landmarks and well below the quality gate's limit."""
STRAIGHT = 0.12
LOOK_S = 0.08
"""Frames nearer than this to the last one judged are passed over: the person does not move so
fast, and a small computer keeps up."""
REPEAT_S = 3.0
"""The same words are not said again before this."""
POOL_S = 0.5
POOL_MOST = 24

_STEPS = (
    ("straight", Note("请正对摄像头，站稳", "Look straight into the camera and hold still")),
    ("left", Note("请把头稍微转向您的左侧", "Turn your head slightly to your left")),
    ("right", Note("请把头稍微转向您的右侧", "Turn your head slightly to your right")),
)


@dataclass
class _State:
    step: int = 0
    began: float | None = None
    held_since: float | None = None
    sharpest: tuple[Frame, Face, Quality] | None = None
    taken: list[Sample] = field(default_factory=list)
    pool: list[Sample] = field(default_factory=list)
    looked: float = -1e9
    pooled: float = -1e9
    yaw: float = 0.0
    last: Quality | None = None


def capture(camera: Camera, engine: Engine, tell: Callable[[Note], None]) -> list[Sample]:
    """Up to three samples of the one person before `camera`, straight, left and right.

    tell: called with each instruction and each word on quality, in frame time never more often
    than every three seconds the same. Where a pose is not reached in time, or a file ends, frames
    that differ most take its place. Raises FaceRefused where nothing could be used, CameraError.
    """
    state = _State()
    say = _Speaker(tell)
    for frame in camera.frames():
        if state.began is None:
            state.began = frame.t
            say(_STEPS[0][1], frame.t)
        if frame.t - state.looked < LOOK_S:
            continue
        state.looked = frame.t
        if _step(engine, frame, state, say):
            break
        if frame.t - state.began > STEP_S and not _next_step(state, frame.t, say):
            break
    if len(state.taken) < MAX_TEMPLATES:
        state.taken, _ = choose([*state.taken, *state.pool], LIKENESS[engine.name])
    if not state.taken:
        why = state.last
        raise FaceRefused(
            "没有拍到可用的照片" + (f"：{why.words('zh')}" if why and not why.ok else ""),
            "no usable picture was taken" + (f": {why.words('en')}" if why and not why.ok else ""),
        )
    return state.taken


class _Speaker:
    def __init__(self, tell: Callable[[Note], None]) -> None:
        self._tell = tell
        self._said: dict[Note, float] = {}

    def __call__(self, note: Note, t: float) -> None:
        if t - self._said.get(note, -1e9) >= REPEAT_S:
            self._said[note] = t
            self._tell(note)


def _step(engine: Engine, frame: Frame, state: _State, say: _Speaker) -> bool:
    """Judge one frame; True once all pictures are taken."""
    quality, face = look(engine, frame.image, "capture")
    state.last = quality
    if not quality.ok or face is None:
        _let_go(state)
        fault = quality.faults[0]
        say(Note(fault.words("zh"), fault.words("en")), frame.t)
        return False
    if frame.t - state.pooled >= POOL_S and len(state.pool) < POOL_MOST:
        state.pooled = frame.t
        state.pool.append(_sample(engine, frame, face, quality))
    if not _in_pose(face, state):
        _let_go(state)
        say(_STEPS[state.step][1], frame.t)
        return False
    if state.held_since is None:
        state.held_since = frame.t
    if state.sharpest is None or _sharpness(quality) > _sharpness(state.sharpest[2]):
        state.sharpest = frame, face, quality
    if frame.t - state.held_since < HOLD_S:
        return False
    best = _sample(engine, *state.sharpest)
    yaw = state.sharpest[1].yaw
    _let_go(state)
    return _take(engine, best, yaw, state, frame.t, say)


def _let_go(state: _State) -> None:
    state.held_since, state.sharpest = None, None


def _take(engine: Engine, best: Sample, yaw: float, state: _State, t: float, say: _Speaker) -> bool:
    scores = [float(best.template @ other.template) for other in state.taken]
    if scores and min(scores) < LIKENESS[engine.name].same_person:
        say(Note("换了人？请同一个人拍完", "Another person? The same one, please"), t)
        return False
    if scores and max(scores) >= LIKENESS[engine.name].same_picture:
        say(_STEPS[state.step][1], t)
        return False
    if state.step == 0:
        state.yaw = yaw
    state.taken.append(best)
    done = len(state.taken)
    say(Note(f"第 {done} 张已拍好", f"Picture {done} taken"), t)
    return not _next_step(state, t, say)


def _next_step(state: _State, t: float, say: _Speaker) -> bool:
    state.step += 1
    state.began = t
    _let_go(state)
    if state.step >= len(_STEPS):
        return False
    say(_STEPS[state.step][1], t)
    return True


def _in_pose(face: Face, state: _State) -> bool:
    if state.step == 0:
        return abs(face.yaw) <= STRAIGHT
    turned = face.yaw - state.yaw
    return turned >= TURN if state.step == 1 else turned <= -TURN


def _sample(engine: Engine, frame: Frame, face: Face, quality: Quality) -> Sample:
    return Sample(f"frame {frame.index}", engine.embed(frame.image, face, thorough=True), quality)


def _sharpness(quality: Quality) -> float:
    return 0.0 if quality.measures is None else quality.measures.sharpness

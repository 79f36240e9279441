"""The challenge: what a head does, what a photograph, another picture or a clip cannot."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.challenge import (
    FRONTAL,
    TURN,
    Challenge,
    ChallengeState,
    turn_of,
)
from recognition.engine import Engine
from recognition.guidance import Guidance
from recognition.presentations import Answerer, Print, present
from recognition.types import Face

FPS = 20.0
LEFT, RIGHT, NEARER = Guidance.TURN_LEFT, Guidance.TURN_RIGHT, Guidance.COME_NEARER
Make = Callable[..., Face]


def show(challenge: Challenge, faces: list[Face | None], start: float = 0.0) -> float:
    """Play faces at 20 a second; the time after the last."""
    for number, face in enumerate(faces):
        if face is not None:
            challenge.see(face, start + number / FPS)
            if challenge.wants_look:
                challenge.looked(True)
    return start + len(faces) / FPS


def turning(face_at: Make, goal: float, frames: int = 8) -> list[Face]:
    """From ahead to `goal` and a moment there."""
    way = [face_at(yaw=goal * i / frames) for i in range(frames + 1)]
    return [face_at()] * 4 + way + [way[-1]] * 3


def test_left_is_the_persons_own_left(face_at: Make) -> None:
    """The nose of who turns to his own left moves to the right in the camera's picture."""
    assert face_at(yaw=0.3).landmarks[2][0] > face_at().landmarks[2][0]
    assert turn_of(face_at(yaw=0.3)) == pytest.approx(0.3, abs=1e-5)
    challenge = Challenge((LEFT, LEFT), 0.0)
    show(challenge, turning(face_at, 0.4))
    assert challenge.done == 1
    assert Guidance.TURN_LEFT.words("zh").startswith("←")


@given(
    st.tuples(*[st.floats(-2, 2)] * 4).filter(lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 0.05),
    st.floats(-0.5, 0.5),
)
def test_no_flat_motion_turns_a_nose(matrix: tuple[float, ...], yaw: float) -> None:
    """However a flat picture is moved, stretched, slanted: the turn that it shows is the same."""
    points = np.array([[-30, 0], [30, 0], [60 * yaw, 33], [-24, 60], [24, 60]], np.float64)
    moved = points @ np.array(matrix).reshape(2, 2).T + [300, 200]
    before, after = (
        turn_of(Face((0, 0, 9, 9), np.asarray(p, np.float32), 1)) for p in (points, moved)
    )
    assert after == pytest.approx(before, abs=0.01)


def test_a_picture_put_in_place_of_another_was_never_between(face_at: Make) -> None:
    """Ahead, and at once turned: no head did that, at whatever frame rate."""
    for fps in (20.0, 8.0):
        challenge = Challenge((LEFT, LEFT), 0.0)
        for number in range(60):
            face = face_at(yaw=0.4 if number % 20 >= 10 else 0.0)
            challenge.see(face, number / fps)
        assert challenge.done == 0
        assert challenge.state in (ChallengeState.OPEN, ChallengeState.TOO_LATE)


def test_an_exchange_while_the_face_was_away_begins_the_step_anew(face_at: Make) -> None:
    faces: list[Face | None] = [face_at()] * 5 + [face_at(yaw=0.1 * i) for i in (0, 1)]
    challenge = Challenge((LEFT, LEFT), 0.0)
    show(challenge, [*faces, *[None] * 12, *[face_at(yaw=0.4)] * 10])
    assert (challenge.done, challenge.prompt) == (0, Guidance.LOOK_AHEAD)


def test_another_persons_turn_is_nobodys_proof(face_at: Make) -> None:
    challenge = Challenge((LEFT, LEFT), 0.0)
    for number, face in enumerate(turning(face_at, 0.4)):
        challenge.see(face, number / FPS)
        if challenge.wants_look:
            challenge.looked(False)
    assert challenge.state is ChallengeState.OTHER_FACE


def test_a_foreshortened_face_has_not_turned(face_at: Make) -> None:
    """The nose shows a turn, but the face became as narrow as a tilted picture does: the detector
    imagines 0.4 at a tilt of 55 degrees, whose cosine is 0.57."""
    challenge = Challenge((LEFT, LEFT), 0.0)
    narrow = []
    for face in turning(face_at, 0.4):
        x, y, width, height = face.box
        by = 1 - 1.1 * abs(turn_of(face))
        narrow.append(replace(face, box=(x + width * (1 - by) / 2, y, width * by, height)))
    show(challenge, narrow)
    assert challenge.done == 0


def test_who_begins_tilted_is_measured_by_the_broadest_he_ever_was(face_at: Make) -> None:
    """From one slant through the middle to the other: no turn. With the cosine of 63 degrees."""
    challenge = Challenge((LEFT, LEFT), 0.0)
    faces = []
    for share in np.linspace(-1, 1, 30):
        face = face_at(yaw=0.14 * share)
        face = face if abs(share) > 0.01 else face_at()
        x, y, width, height = face.box
        by = 1 - 0.55 * abs(share)
        faces.append(
            replace(
                face_at(yaw=-0.13 + 0.42 * max(share, 0)),
                box=(x + width * (1 - by) / 2, y, width * by, height),
            )
        )
    show(challenge, [faces[0]] * 5 + faces + [faces[-1]] * 5)
    assert challenge.done == 0


def test_coming_nearer_is_a_step_that_must_be_seen_under_way(face_at: Make) -> None:
    def grown(growths: list[float]) -> Challenge:
        challenge = Challenge((NEARER, LEFT), 0.0)
        show(challenge, [face_at()] * 4 + [face_at(eyes=60 * g) for g in growths])
        return challenge

    assert grown([1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.25, 1.25]).done == 1
    assert grown([1.0, 1.3, 1.3, 1.3]).done == 0, "another picture, not a step nearer"
    assert grown([1.0, 1.05, 1.1, 1.1]).done == 0


def test_a_turn_while_coming_nearer_was_asked_is_the_wrong_motion(face_at: Make) -> None:
    challenge = Challenge((NEARER, LEFT), 0.0)
    show(challenge, turning(face_at, 0.4))
    assert challenge.state is ChallengeState.WRONG_WAY


def test_a_prepared_clip_meets_the_steps_one_time_in_twenty(face_at: Make) -> None:
    """Even where its timing fits: a head that follows the steps it was filmed with."""
    sweep = {-1: face_at(yaw=-0.4), 0: face_at(), 1: face_at(yaw=0.4)}
    tries, passed = 200, 0
    for seed in range(tries):
        rng = random.Random(seed)
        filmed, asked = Challenge.draw(0.0, rng).steps, Challenge.draw(0.0, rng).steps
        challenge = _Filmed(asked, 0.0)
        challenge.filmed = filmed
        passed += Answerer(sweep, speed=3.0).answer(challenge) is ChallengeState.PASSED
    assert passed / tries == pytest.approx(0.05, abs=0.04)


class _Filmed(Challenge):
    """A challenge whose answerer sees the prompts of another one."""

    filmed: tuple[Guidance, ...] = ()

    @property
    def prompt(self) -> Guidance:
        right = super().prompt
        return right if right is Guidance.LOOK_AHEAD else self.filmed[self.done]


def test_jitter_of_the_landmarks_is_no_motion(face_at: Make) -> None:
    """Ten times as much as the clips show, for as long as a challenge lasts."""
    sweep = {-1: face_at(), 0: face_at(), 1: face_at()}
    for seed in range(10):
        challenge = Challenge((LEFT, RIGHT, LEFT), 0.0)
        Answerer(sweep, jitter=0.05, seed=seed).answer(challenge)
        assert challenge.done == 0


@pytest.fixture(scope="session")
def stills(shared_data, sface: Engine) -> list[np.ndarray]:
    """Four photographs of people who look ahead."""
    found = []
    for name in ("Michelle_Kwan", "Yao_Ming", "Angela_Bassett", "John_McCain", "Tim_Robbins"):
        path = sorted((shared_data / "lfw_dev" / name).glob("*.jpg"))[0]
        picture = cv2.resize(cv2.imread(str(path)), (500, 500), interpolation=cv2.INTER_CUBIC)
        face = middle(sface, picture)
        if face is not None and abs(turn_of(face)) <= FRONTAL:
            found.append(picture)
    assert len(found) >= 3
    return found


def middle(sface: Engine, picture: np.ndarray) -> Face | None:
    side = picture.shape[0]
    for face in sface.detect(picture):
        if np.hypot(face.centre[0] - side / 2, face.centre[1] - side / 2) < 0.2 * side:
            return face
    return None


@pytest.mark.parametrize(
    "held",
    [Print(), Print(axis=float(np.deg2rad(60))), Print(bend=1.5), Print(bend=-2.0)],
    ids=["upright", "slanted", "bent", "hollow"],
)
def test_a_real_photograph_does_not_pass_whatever_is_done_with_it(
    sface: Engine, stills: list[np.ndarray], held: Print
) -> None:
    """Tilted by up to 60 degrees towards the asked side and back, as the prompts say."""
    for picture in stills:
        sweep = {
            angle: middle(sface, present(picture, replace(held, tilt=float(np.deg2rad(angle)))))
            for angle in range(-60, 61, 15)
        }
        assert sweep[0] is not None
        for seed in range(4):
            challenge = Challenge.draw(0.0, random.Random(seed))
            state = Answerer(sweep, seed=seed).answer(challenge)
            assert state is not ChallengeState.PASSED


def test_a_real_head_that_turns_is_taken_at_its_word(sface: Engine, clips) -> None:
    """The one clip in which somebody turns far: the frames from ahead to the turn and back."""
    clip = next(c for c in clips if c.name == "liveportrait_d12")
    frames = [*clip.frames[66:91], *reversed(clip.frames[66:91])]
    faces = [face for frame in frames if (face := middle(sface, frame)) is not None]
    turns = [turn_of(face) for face in faces]
    assert min(turns) < -TURN, "to his own right"
    challenge = Challenge((RIGHT, RIGHT), 0.0)
    for number, face in enumerate([*faces, *faces]):
        challenge.see(face, number / clip.fps)
        if challenge.wants_look:
            challenge.looked(True)
    assert challenge.state is ChallengeState.PASSED

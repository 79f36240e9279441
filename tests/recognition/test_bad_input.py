"""Whatever a camera or a folder hands over has a defined outcome, in the very loop of the kiosk."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from recognition.decision import Match, NotLive, Unknown, Wait
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.liveness import Liveness
from recognition.quality import QualityFault
from recognition.recogniser import Recogniser
from recognition.soak import resident_mb, soak


@pytest.fixture(scope="session")
def frame(clips) -> np.ndarray:
    """480 x 480, one face."""
    return np.asarray(clips[-1].frames[0])


@pytest.fixture
def gallery(clips, templates, sface: Engine) -> Gallery:
    """A gallery of one: the person of `frame`."""
    made = Gallery(sface.model_id, sface.dimension)
    made.replace([("a", templates[clips[-1].name])])
    return made


def huge(frame: np.ndarray) -> np.ndarray:
    grown = cv2.resize(frame, (6000, 6000), interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(grown, 0, 0, 0, 2000, cv2.BORDER_CONSTANT)


def crowd(frame: np.ndarray) -> np.ndarray:
    return np.tile(cv2.resize(frame, (120, 120), interpolation=cv2.INTER_AREA), (5, 8, 1))


@pytest.mark.parametrize(
    ("make", "faces", "outcome"),
    [
        (lambda p: np.full_like(p, 90), 0, Wait),
        (lambda p: p[:1, :1], 0, Wait),
        (lambda p: np.zeros((2, 5000, 3), np.uint8), 0, Wait),
        (lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), 1, Match),
        (lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2BGRA), 1, Match),
        (lambda p: p.astype(np.uint16) * 257, 1, Match),
        (lambda p: np.ascontiguousarray(p[:, ::-1])[:, ::-1], 1, Match),  # strides below zero
        (huge, 1, Match),
        (crowd, 40, Match),  # the same person forty times, each with 25 pixels between the eyes
    ],
    ids=["empty", "1x1", "line", "grey", "rgba", "16-bit", "mirrored", "8000x6000", "forty"],
)
def test_a_picture_of_any_kind_is_decided(
    sface: Engine, gallery: Gallery, frame: np.ndarray, make: Any, faces: int, outcome: type
) -> None:
    with Recogniser(sface, gallery, "off", stills=True) as recogniser:
        seen = recogniser.observe(make(frame), 0.0)
    assert len(seen.faces) == faces
    assert isinstance(seen.decision, outcome)


def test_a_face_cut_by_the_border_is_asked_into_the_picture(
    sface: Engine, gallery: Gallery, frame: np.ndarray
) -> None:
    (face,) = sface.detect(frame)
    cut = np.ascontiguousarray(frame[:, int(face.centre[0]) - 12 :])
    with Recogniser(sface, gallery, "off") as recogniser:
        seen = [recogniser.observe(cut, i / 10) for i in range(3)]
    # Half a face is mostly not found at all; where it is, it is never embedded.
    for each in seen:
        assert not isinstance(each.decision, Match)
        if each.quality is not None:
            assert QualityFault.CUT_OFF in each.quality.faults


def test_what_is_no_picture_leaves_the_track_alone(
    sface: Engine, gallery: Gallery, frame: np.ndarray
) -> None:
    with Recogniser(sface, gallery, "off") as recogniser:
        recogniser.observe(frame, 0.0)
        before = recogniser.track
        for bad in (np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4))):
            with pytest.raises(BadPicture):
                recogniser.observe(bad, 0.1)
        assert recogniser.track is before
        assert recogniser.observe(frame, 0.1).track_id == 1


def test_frames_of_differing_sizes_in_one_folder(sface: Engine, gallery: Gallery, clips) -> None:
    """Ten frames a second, each of another size, one pixel among them: matched all the same."""
    sizes = [480, 360, 1, 640, 240, 480, 900, 300]
    with Recogniser(sface, gallery, "off", stills=False) as recogniser:
        decisions = []
        for number in range(24):
            picture = clips[-1].frames[2 * number]
            side = sizes[number % len(sizes)]
            decisions.append(recogniser.observe(cv2.resize(picture, (side, side)), number / 10))
    assert any(isinstance(seen.decision, Match) for seen in decisions)
    assert {seen.decision.official for seen in decisions if isinstance(seen.decision, Match)} == {
        "a"
    }


def test_the_same_frame_for_ever(sface: Engine, gallery: Gallery, frame: np.ndarray) -> None:
    """A frozen camera, or a photograph on a stand: asked to move, then refused once, for good."""
    told = []
    with Recogniser(sface, gallery, Liveness("doubtful")) as recogniser:
        for number in range(80):
            seen = recogniser.observe(frame, number / 10)
            if number == 20:
                assert seen.decision == Wait(Guidance.MOVE_A_LITTLE, 1)
            if seen.fresh:
                told.append(seen.decision)
            told += recogniser.ended
        told += recogniser.finish()
    assert [type(decision) for decision in told] == [NotLive]


def test_the_same_empty_frame_for_ever(sface: Engine, gallery: Gallery) -> None:
    frozen = np.full((480, 640, 3), 100, np.uint8)
    with Recogniser(sface, gallery, "off") as recogniser:
        for number in range(50):
            assert recogniser.observe(frozen, number / 10).decision == Wait(None, None)
        assert recogniser.finish() == []


def test_galleries_of_nobody_and_of_one(sface: Engine, gallery: Gallery, frame: np.ndarray) -> None:
    nobody = Gallery(sface.model_id, sface.dimension)
    for known, outcome in ((nobody, Unknown), (gallery, Match)):
        with Recogniser(sface, known, "off", stills=True) as recogniser:
            assert isinstance(recogniser.observe(frame, 0.0).decision, outcome)


@pytest.mark.parametrize("stills", [True, False])
def test_an_embedding_of_nothing_is_no_look(
    scripted: Any, person: Any, face_at: Any, stills: bool
) -> None:
    """A network that answers NaN: nobody is matched by it, nothing is raised, and the good looks
    that follow count."""
    face = face_at()
    nothing = np.full(8, np.nan, np.float32)
    scripted.add((face, nothing), times=4)
    scripted.add((face, person(1)), times=20)
    known = Gallery(scripted.model_id, 8)
    known.replace([("one", person(1)[None])])
    with Recogniser(scripted, known, "off", stills=stills) as recogniser:
        seen = [
            recogniser.observe(frame, number / 10).decision
            for number, frame in enumerate(scripted.frames())
        ]
    assert not any(isinstance(decision, Match) for decision in seen[:4])
    last = seen[-1]
    assert isinstance(last, Match)
    assert last.score == pytest.approx(1)


def test_forty_strangers_around_the_one_who_steps_up(
    scripted: Any, person: Any, face_at: Any
) -> None:
    """He is in the middle and near; the crowd is never embedded, and nobody is called ambiguous."""
    crowd = [
        (face_at(x=40 + 60 * (i % 10), y=30 + 110 * (i // 10), eyes=12), person(2))
        for i in range(40)
    ]
    scripted.add(*crowd, (face_at(), person(1)), times=12)
    known = Gallery(scripted.model_id, 8)
    known.replace([("one", person(1)[None]), ("two", person(2)[None])])
    with Recogniser(scripted, known, "off") as recogniser:
        seen = [recogniser.observe(f, i / 10) for i, f in enumerate(scripted.frames())]
    assert len(seen[0].faces) == 41
    assert {d.decision.official for d in seen if isinstance(d.decision, Match)} == {"one"}


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_cut_by_any_border_is_never_matched_unseen(
    sface: Engine, gallery: Gallery, frame: np.ndarray, side: str
) -> None:
    """Half of the face is in the picture: not found, or named as cut off, and never embedded."""
    (face,) = sface.detect(frame)
    x, y = (int(v) for v in face.landmarks.mean(axis=0))
    part = {
        "left": frame[:, x:],
        "right": frame[:, :x],
        "top": frame[y:],
        "bottom": frame[:y],
    }[side]
    with Recogniser(sface, gallery, "off") as recogniser:
        seen = [recogniser.observe(np.ascontiguousarray(part), i / 10) for i in range(6)]
    for each in seen:
        assert not isinstance(each.decision, Match)
        assert each.quality is None or not each.quality.ok


def test_it_does_not_grow(sface: Engine, frame: np.ndarray) -> None:
    """A short soak; the long one (100,000 frames) is `python -m recognition.soak`."""
    list(soak(sface, Liveness("off"), frame, 130, 130))
    before = resident_mb()
    ((played, after),) = soak(sface, Liveness("off"), frame, 300, 300)
    assert played == 300
    assert after - before < 8

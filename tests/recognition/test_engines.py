"""Both engines behind one interface; dlib's is what face_recognition computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from recognition import challenge, decision, dlib_engine, liveness, quality, sface
from recognition.dlib_engine import DlibEngine, square_box
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.errors import RecognitionError
from recognition.pictures import read_picture
from recognition.sface import SFaceEngine
from recognition.track import overlap
from recognition.types import Face


@pytest.fixture(params=["sface", "dlib"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Either engine."""
    return request.getfixturevalue({"sface": "sface", "dlib": "dlib_engine"}[request.param])


def test_the_interface(engine: Engine, clips) -> None:
    assert re.fullmatch(rf"{engine.name}-[0-9a-f]{{12}}", engine.model_id)
    frame = clips[-1].frames[0]
    (face,) = engine.detect(frame)
    template = engine.embed(frame, face)
    assert (template.shape, template.dtype) == ((engine.dimension,), np.float32)
    assert np.linalg.norm(template) == pytest.approx(1, abs=1e-5)
    assert face.landmarks.shape == (5, 2)
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert right_eye[1] < nose[1] < right_mouth[1]


def test_a_thorough_look_averages_what_alignment_leaves_to_chance(
    sface: SFaceEngine, clips
) -> None:
    """Landmarks that are off by three pixels change a thorough template less than a plain one."""
    frame = clips[-1].frames[0]
    (face,) = sface.detect(frame)
    moved = Face(face.box, face.landmarks + np.float32([3, -2]), face.score)
    plain, thorough = (
        float(sface.embed(frame, face, thorough=t) @ sface.embed(frame, moved, thorough=t))
        for t in (False, True)
    )
    assert thorough > plain
    both = sface.embed(frame, face), sface.embed(frame, face, thorough=True)
    assert np.linalg.norm(both[1]) == pytest.approx(1, abs=1e-5)
    assert 0.9 < float(both[0] @ both[1]) < 0.9999


def test_one_person_scores_above_two(engine: Engine, shared_data: Path) -> None:
    """Nine people of the deepface set: the genuine mean lies far above the impostor mean, and no
    two people reach the threshold."""
    templates, owners = [], []
    for path in sorted((shared_data / "faces_deepface").rglob("*.jpg")):
        frame = read_picture(path)
        templates.append(engine.embed(frame, engine.detect(frame, thorough=True)[0]))
        owners.append(path.parent.name)
    scores = np.stack(templates) @ np.stack(templates).T
    same = np.array(owners)[:, None] == np.array(owners)[None]
    pairs = np.triu_indices(len(owners), 1)
    genuine, impostor = scores[pairs][same[pairs]], scores[pairs][~same[pairs]]
    assert genuine.mean() > impostor.mean() + 4 * impostor.std()
    assert impostor.max() < engine.threshold
    assert np.quantile(genuine, 0.05) > engine.same_face > np.quantile(impostor, 0.9)
    assert (genuine >= engine.threshold).mean() > (0.9 if engine.name == "sface" else 0.5)


def test_dlib_gives_what_face_recognition_gives(dlib_engine: DlibEngine, clips) -> None:
    face_recognition = pytest.importorskip("face_recognition")
    for clip in clips:
        frame = clip.frames[0]
        box = square_box(dlib_engine.detect(frame)[0])
        rgb = np.ascontiguousarray(frame[:, :, ::-1])
        (theirs,) = face_recognition.face_encodings(rgb, [box], model="small")
        assert np.abs(dlib_engine.encoding(frame, box) - theirs).max() < 1e-6


def test_dlib_boxes_are_near_those_of_its_own_detector(dlib_engine: DlibEngine, clips) -> None:
    face_recognition = pytest.importorskip("face_recognition")
    for clip in clips:
        frame = clip.frames[0]
        (theirs,) = face_recognition.face_locations(np.ascontiguousarray(frame[:, :, ::-1]))
        ours = square_box(dlib_engine.detect(frame)[0])
        side = theirs[2] - theirs[0]
        assert np.abs(np.subtract(ours, theirs)).max() < 0.25 * side


def test_an_unknown_engine_is_told() -> None:
    with pytest.raises(RecognitionError, match="choose sface or dlib"):
        load_engine("eigenfaces")


@pytest.mark.parametrize("module", [sface, dlib_engine])
def test_a_threshold_carries_its_error_rate(module) -> None:
    """A bare number is a defect: what it was measured on stands next to it."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    cited = source.split("THRESHOLD = ", 1)[1].split('"""')[1]
    for word in ("FPIR", "gallery of 36", "LFW", "2026"):
        assert word in " ".join(cited.split())


def test_the_page_of_accuracy_tells_of_the_shipped_constants(root: Path) -> None:
    """A threshold that is changed without being measured anew is a red test."""
    page = (root / "docs" / "accuracy.md").read_text(encoding="utf-8")
    told = (
        f"sface, threshold {sface.THRESHOLD:.2f}",
        f"dlib, threshold {dlib_engine.THRESHOLD}",
        f"Limit {liveness.MOTION}; a face below it for {liveness.MOTION_SECONDS:.0f} s",
        f"a turn must reach {challenge.TURN}",
        f"Desk {quality.LIMITS['enrol'].sharpness}, "
        f"live {quality.LIMITS['live'].sharpness}.",
        f"desk {quality.LIMITS['enrol'].yaw:.2f}, live {quality.LIMITS['live'].yaw}",
    )
    for words in told:
        assert words in " ".join(page.split()), words


def test_a_decision_of_moving_pictures_needs_several_frames() -> None:
    assert decision.MOVING.frames >= 3
    assert decision.MOVING.seconds >= 0.3


@pytest.mark.parametrize("name", ["sface", "dlib_engine"])
def test_a_face_is_followed_near_its_last_place(
    clips, name: str, request: pytest.FixtureRequest
) -> None:
    """Frame after frame the follower finds what the detector finds, and nothing where nobody is."""
    engine = request.getfixturevalue(name)
    for clip in clips:
        face = engine.detect(clip.frames[0])[0]
        for frame in clip.frames[1:20]:
            (found, *_) = engine.detect(frame)
            followed = engine.follow(frame, face)
            assert followed is not None, clip.name
            assert overlap(followed, found) > 0.7
            away = np.abs(followed.landmarks - found.landmarks).mean()
            assert away < 0.12 * found.eye_distance
            face = followed
        assert engine.follow(np.full_like(frame, 90), face) is None
    assert engine.follow(np.zeros((8, 8, 3), np.uint8), face) is None

"""The quality gate: what is wrong with a picture, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.engine import Engine
from recognition.guidance import FOR_FAULT, Guidance
from recognition.pictures import read_picture
from recognition.quality import QualityFault, assess_quality


@pytest.fixture(scope="session")
def good(clips) -> np.ndarray:
    """A frame that nothing is wrong with."""
    return clips[-1].frames[0]


def faults(engine: Engine, picture: np.ndarray) -> tuple[QualityFault, ...]:
    return assess_quality(picture, engine.detect(picture, thorough=True)).faults


def test_a_good_picture_passes(sface: Engine, good: np.ndarray) -> None:
    assert faults(sface, good) == ()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda p: np.full_like(p, 90), QualityFault.NO_FACE),
        (lambda p: np.hstack([p, p]), QualityFault.MANY_FACES),
        (lambda p: cv2.resize(p, (80, 80), interpolation=cv2.INTER_AREA), QualityFault.TOO_SMALL),
        (lambda p: (p * 0.25).astype(np.uint8), QualityFault.TOO_DARK),
        (lambda p: np.clip(p * 0.3 + 200, 0, 255).astype(np.uint8), QualityFault.TOO_BRIGHT),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 14), QualityFault.BLURRED),
        (lambda p: p[:, p.shape[1] // 2 - 30 :], QualityFault.CUT_OFF),
    ],
)
def test_each_fault_is_named(sface: Engine, good: np.ndarray, spoil, fault) -> None:
    assert fault in faults(sface, np.ascontiguousarray(spoil(good)))


def test_a_turned_head_is_named(good: np.ndarray, face_at) -> None:
    quality = assess_quality(good, face_at(x=240, y=240, yaw=0.5))
    assert QualityFault.TURNED_AWAY in quality.faults
    assert QualityFault.TURNED_AWAY not in assess_quality(good, face_at(x=240, y=240)).faults


def test_a_passer_by_is_no_fault(good: np.ndarray, face_at) -> None:
    two = [face_at(x=240, y=240, eyes=80), face_at(x=60, y=60, eyes=20)]
    assert QualityFault.MANY_FACES not in assess_quality(good, two).faults


def test_every_fault_has_words_and_guidance() -> None:
    for fault in QualityFault:
        assert fault.words("zh") != fault.words("en")
        assert FOR_FAULT[fault] in Guidance
    for guidance in Guidance:
        assert guidance.words("zh") != guidance.words("en")
    assert QualityFault.TOO_SMALL.words("zh") == "靠近一点"


def test_words_join_several_faults(sface: Engine, good: np.ndarray) -> None:
    dark = cv2.GaussianBlur((good * 0.25).astype(np.uint8), (0, 0), 14)
    quality = assess_quality(dark, sface.detect(dark, thorough=True))
    assert not quality.ok
    assert "；" in quality.words("zh")
    assert "; " in quality.words("en")


def test_real_pictures_mostly_pass_and_no_face_never(sface: Engine, shared_data: Path) -> None:
    people = sorted((shared_data / "faces_deepface").rglob("*.jpg"))
    assert sum(not faults(sface, read_picture(p)) for p in people) >= 0.9 * len(people)
    for path in sorted((shared_data / "noface").glob("*.jpg")):
        assert faults(sface, read_picture(path)) == (QualityFault.NO_FACE,), path.name

"""Masks and dark glasses are asked off: painted ones are found, bare faces not accused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.decision import PoorQuality, Wait
from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.occlusion import lower_face, upper_face
from recognition.painted import COLOURS, masked, shaded
from recognition.pictures import read_picture
from recognition.quality import QualityFault, assess_quality
from recognition.recogniser import Recogniser
from recognition.track import choose_subject
from recognition.types import Face


@pytest.fixture(scope="session")
def portraits(shared_data: Path, sface: Engine) -> list[tuple[np.ndarray, Face]]:
    """Faces of the development sets, every seventh picture."""
    paths = sorted((shared_data / "lfw_dev").rglob("*.jpg"))[::7]
    paths += sorted((shared_data / "faces_dlib_johns").rglob("*.jpg"))[::7]
    paths += sorted((shared_data / "spoof_nuaa_dev" / "genuine").rglob("*.jpg"))[::7]
    found = []
    for path in paths:
        frame = read_picture(path)
        face = choose_subject(sface.detect(frame, thorough=True), frame, None, still=True)
        if face is not None:
            found.append((frame, face))
    return found


def test_a_face_without_a_mask_is_not_accused(portraits, clips, sface: Engine) -> None:
    assert len(portraits) > 35
    assert not any(lower_face(frame, face).masked for frame, face in portraits)
    for clip in clips:
        for frame in clip.frames[::10]:
            assert not lower_face(frame, sface.detect(frame)[0]).masked, clip.name


@pytest.mark.parametrize("colour", ["surgical blue", "white", "black", "pink", "skin"])
def test_a_painted_mask_is_found(portraits, sface: Engine, colour: str) -> None:
    seen = found = 0
    for frame, face in portraits[::2]:
        picture = masked(frame, face, COLOURS[colour])
        again = choose_subject(sface.detect(picture, thorough=True), picture, None, still=True)
        if again is not None:
            seen += 1
            found += lower_face(picture, again).masked
    assert seen > 15
    assert found >= 0.9 * seen


def test_grey_pictures_are_judged_too(portraits) -> None:
    """Without colour the detail must tell; nobody is accused for being grey."""
    for frame, face in portraits[::2]:
        grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        assert not lower_face(grey, face).masked


@pytest.mark.parametrize(
    ("cover", "asked"),
    [
        (lambda p, f: masked(p, f, COLOURS["white"]), Guidance.LOWER_MASK),
        (lambda p, f: shaded(p, f, np.random.default_rng(0), 0.9), Guidance.TAKE_OFF_GLASSES),
    ],
    ids=["mask", "dark glasses"],
)
def test_somebody_covered_is_asked_and_never_guessed(
    clips, templates, sface: Engine, cover, asked: Guidance
) -> None:
    """Enrolled, covered, before the camera for two seconds: words, then `quality`; no match."""
    clip = clips[-1]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace([(clip.name, templates[clip.name])])
    recogniser = Recogniser(sface, gallery, "off")
    said = []
    for index, frame in enumerate(clip.frames[: int(2 * clip.fps) : 3]):
        shown = cover(frame, sface.detect(frame)[0])
        said.append(recogniser.observe(shown, index * 3 / clip.fps).decision)
    assert Wait(asked, 1) in said
    assert not any(getattr(d, "official", None) for d in said)
    assert [type(d) for d in recogniser.finish()] == [PoorQuality]


def test_the_desk_says_the_same(clips, sface: Engine) -> None:
    frame = clips[-1].frames[0]
    face = sface.detect(frame)[0]
    quality = assess_quality(masked(frame, face, COLOURS["black"]), face, "enrol")
    assert QualityFault.MASKED in quality.faults
    assert "请摘下口罩" in quality.words("zh")


def test_only_dark_glasses_are_taken_for_some(shared_data: Path, clips, sface: Engine) -> None:
    """Of the 200 pictures two show somebody with dark glasses (looked at); clear ones pass."""
    accused = []
    for path in sorted((shared_data / "lfw_dev").rglob("*.jpg")):
        frame = read_picture(path)
        face = choose_subject(sface.detect(frame), frame, None, still=True)
        if face is not None and upper_face(frame, face).dark_glasses:
            accused.append(path)
    assert len(accused) == 2
    for clip in clips:
        for frame in clip.frames[::10]:
            assert not upper_face(frame, sface.detect(frame)[0]).dark_glasses, clip.name


def test_painted_dark_glasses_are_found_more_often_than_not(portraits, sface: Engine) -> None:
    seen = found = 0
    for number, (frame, face) in enumerate(portraits[::2]):
        picture = shaded(frame, face, np.random.default_rng(number), 0.9)
        again = choose_subject(sface.detect(picture, thorough=True), picture, None, still=True)
        if again is not None:
            seen += 1
            found += upper_face(picture, again).dark_glasses
    assert seen > 15
    assert found >= 0.5 * seen


def test_the_desk_asks_only_who_can_take_them_off(clips, sface: Engine) -> None:
    frame = clips[-1].frames[0]
    glasses = shaded(frame, sface.detect(frame)[0], np.random.default_rng(0), 0.9)
    faces = sface.detect(glasses)
    assert QualityFault.DARK_GLASSES in assess_quality(glasses, faces, "capture").faults
    assert QualityFault.DARK_GLASSES not in assess_quality(glasses, faces, "enrol").faults
    assert "请摘下墨镜" in QualityFault.DARK_GLASSES.words("zh")


def test_a_white_mask_does_not_make_the_eyes_dark(portraits, sface: Engine) -> None:
    accused = seen = 0
    for frame, face in portraits:
        picture = masked(frame, face, COLOURS["white"])
        for again in sface.detect(picture, thorough=True)[:1]:
            seen += 1
            accused += upper_face(picture, again).dark_glasses
    assert seen > 30
    assert accused <= 1

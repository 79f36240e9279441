"""A mask is asked to be lowered: painted masks are found, faces without one are not accused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.decision import PoorQuality, Wait
from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.occlusion import _placement, lower_face
from recognition.pictures import read_picture
from recognition.quality import QualityFault, assess_quality
from recognition.recogniser import Recogniser
from recognition.track import choose_subject
from recognition.types import Face

COLOURS = {
    "surgical blue": (205, 175, 120),
    "white": (235, 235, 235),
    "black": (35, 35, 35),
    "pink": (190, 170, 240),
    "skin": (150, 180, 215),
}
OUTLINE = np.array(
    [[16, 66], [56, 60], [96, 66], [90, 104], [76, 120], [56, 126], [36, 120], [22, 104]],
    np.float32,
)


def masked(frame: np.ndarray, face: Face, colour: tuple[int, int, int]) -> np.ndarray:
    """`frame` with a pleated mask painted on, lit as the face is."""
    back = cv2.invertAffineTransform(_placement(face.landmarks))
    height, width = frame.shape[:2]
    cover = np.zeros((height, width), np.float32)
    cv2.fillPoly(cover, [cv2.transform(OUTLINE[None], back)[0].astype(np.int32)], 1.0)
    unit = max(face.eye_distance / 35, 1.0)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.8 * unit)
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
    light = cv2.GaussianBlur(grey, (0, 0), 9 * unit)
    light = np.clip(light / max(float(np.percentile(light[cover > 0.5], 80)), 20.0), 0.35, 1.15)
    rows = np.arange(height)[:, None]
    pleats = 1 - 0.07 * np.exp(-((rows % (12 * unit) - 6 * unit) ** 2) / (2 * unit**2))
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 1))
    cloth = np.array(colour, np.float32) * (light * pleats)[..., None] + noise
    mixed = frame * (1 - cover[..., None]) + cloth * cover[..., None]
    return np.clip(mixed, 0, 255).astype(np.uint8)


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


@pytest.mark.parametrize("colour", COLOURS)
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


def test_somebody_masked_is_asked_and_never_guessed(clips, templates, sface: Engine) -> None:
    """Enrolled, masked, before the camera for two seconds: words, then `quality`; no match."""
    clip = clips[-1]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace([(clip.name, templates[clip.name])])
    recogniser = Recogniser(sface, gallery, "off")
    said = []
    for index, frame in enumerate(clip.frames[: int(2 * clip.fps) : 3]):
        face = sface.detect(frame)[0]
        seen = recogniser.observe(masked(frame, face, COLOURS["white"]), index * 3 / clip.fps)
        said.append(seen.decision)
    assert Wait(Guidance.LOWER_MASK, 1) in said
    assert not any(getattr(d, "official", None) for d in said)
    assert [type(d) for d in recogniser.finish()] == [PoorQuality]


def test_the_desk_says_the_same(clips, sface: Engine) -> None:
    frame = clips[-1].frames[0]
    face = sface.detect(frame)[0]
    quality = assess_quality(masked(frame, face, COLOURS["black"]), face, "enrol")
    assert QualityFault.MASKED in quality.faults
    assert "请摘下口罩" in quality.words("zh")

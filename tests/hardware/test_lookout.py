"""Cameras that freeze, are covered or hang upside down; hot machines; turned cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.fakes import FakeCamera
from hardware.frames import Image
from hardware.lookout import (
    COVERED_S,
    DETAIL,
    FROZEN_S,
    LOOK_S,
    TURN_EVERY_S,
    TURNED,
    PictureWatch,
    Thermometer,
    View,
    Warmth,
    detail,
)
from hardware.turned import TurnedCamera

RNG = np.random.default_rng(5)


def noisy(mean: float, spread: float = 3.0) -> Image:
    """A picture of nothing as a sensor gives it: never the same twice."""
    return RNG.normal(mean, spread, (120, 160, 3)).clip(0, 255).astype(np.uint8)


def test_a_living_camera_is_well() -> None:
    watch = PictureWatch()
    assert {watch.see(scene(), t / 10) for t in range(300)} == {View.OK}


def test_the_same_picture_for_long_is_frozen_until_it_moves() -> None:
    watch, still = PictureWatch(), scene()
    views = [watch.see(still, float(t)) for t in range(14)]
    assert views == [View.OK] * int(FROZEN_S) + [View.FROZEN] * 4
    assert watch.see(scene(), 14.0) is View.OK


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_black_pictures_are_a_covered_lens(spread: float) -> None:
    watch = PictureWatch()
    views = [watch.see(noisy(5, spread), t / 2) for t in range(40)]
    first = int(COVERED_S * 2)
    assert views == [View.OK] * first + [View.COVERED] * (40 - first)
    assert watch.see(scene(), 21.0) is View.OK
    assert watch.see(noisy(5), 21.5) is View.OK  # a hand that passes is none


def covers(mean: float) -> list[Image]:
    """A finger or a cloth on the lens: bright or dim, a slow gradient, noise."""
    slow = np.linspace(-0.25, 0.25, 320)[None, :, None] * mean + mean
    noise = RNG.normal(0, 4.0, (4, 240, 320, 3))
    return list((slow + noise).clip(0, 255).astype(np.uint8))


class Passing:
    """Plays a watch two pictures a second, and writes down each change of view with its second."""

    def __init__(self) -> None:
        self.watch, self.now, self.changes = PictureWatch(), 0.0, [(0, View.OK)]

    def play(self, seconds: int, pictures: list[Image]) -> None:
        for turn in range(seconds * 2):
            view = self.watch.see(pictures[turn % len(pictures)], self.now)
            if view is not self.changes[-1][1]:
                self.changes.append((round(self.now), view))
            self.now += 0.5


@pytest.mark.parametrize("mean", [30.0, 120.0, 200.0])
def test_a_bright_cover_is_told_with_a_doubt_and_goes(mean: float) -> None:
    passing, room, cover = Passing(), [scene(), scene()], covers(mean)
    passing.play(70, room)
    passing.play(20, cover)
    passing.play(3, room)
    passing.play(5, cover)  # a hand that wipes the lens
    passing.play(70, room)
    passing.play(15, cover)
    assert passing.changes == [
        (0, View.OK), (80, View.BLANK), (90, View.OK), (178, View.BLANK),
    ]  # fmt: skip


def test_a_blank_wall_is_learned_and_a_view_that_returns_is_watched_again() -> None:
    passing, room, wall = Passing(), [scene(), scene()], covers(190.0)
    for _ in range(4):  # people come and go before a wall without a mark
        passing.play(40, wall)
        passing.play(8, room)
    passing.play(60, wall)
    learned = [(0, View.OK), (10, View.BLANK), (40, View.OK), (58, View.BLANK), (88, View.OK)]
    assert passing.changes == learned
    passing.play(70, room)
    passing.play(20, wall)
    assert passing.changes == [*learned, (332, View.BLANK)]


@pytest.mark.parametrize(("gain", "lift"), [(0.25, 140.0), (0.2, 5.0)])
def test_fog_and_a_dim_room_still_show_something(gain: float, lift: float) -> None:
    passing = Passing()
    passing.play(30, [np.uint8(scene() * gain + lift) for _ in range(2)])
    assert passing.changes == [(0, View.OK)]


def test_no_picture_of_a_real_scene_is_blank(shared_data: Path) -> None:
    places = [*sorted((shared_data / "noface").iterdir()),
              *sorted((shared_data / "scenes_azure").iterdir())]  # fmt: skip
    images = [image for image in map(cv2.imread, map(str, places)) if image is not None]
    if not images:
        pytest.skip("no scenes are here")
    assert min(detail(image) for image in images) > 2 * DETAIL


def test_a_dark_room_with_somebody_in_it_is_not_covered() -> None:
    watch = PictureWatch()
    room = np.full((120, 160, 3), 4, np.uint8)
    room[40:90, 60:110] = 60
    assert {watch.see(room + noisy(3, 1.0) // 2, t / 2) for t in range(20)} == {View.OK}


class Detector:
    """Finds a face of a given score in pictures whose upper half is bright, or in turned ones."""

    def __init__(self, upright: float, turned: float) -> None:
        self.upright, self.turned, self.calls = upright, turned, 0

    def __call__(self, image: Image) -> float:
        self.calls += 1
        return self.upright if image[:60].mean() > image[60:].mean() else self.turned


def scene() -> Image:
    image = noisy(60)
    image[:60] = noisy(160)[:60]
    return image


@pytest.mark.parametrize("hallucinated", [0.0, 0.82])
def test_a_face_found_only_in_the_turned_picture_is_a_camera_upside_down(
    hallucinated: float,
) -> None:
    detector = Detector(upright=hallucinated, turned=0.93)
    watch = PictureWatch(detector)
    views = [watch.see(scene(), t / 10) for t in range(100)]
    first = round(TURN_EVERY_S * 10) * (TURNED - 1)
    assert views == [View.OK] * first + [View.UPSIDE_DOWN] * (100 - first)
    assert detector.calls == 10  # two a look, a look every two seconds
    detector.upright, detector.turned = 0.93, hallucinated  # somebody turned it round
    assert watch.see(scene(), 10.1) is View.OK


def test_somebody_before_an_upright_camera_is_no_sign() -> None:
    watch = PictureWatch(Detector(upright=0.93, turned=0.8))
    assert {watch.see(scene(), t / 2) for t in range(100)} == {View.OK}
    empty = PictureWatch(Detector(0.0, 0.0))
    assert {empty.see(scene(), t / 2) for t in range(100)} == {View.OK}


def test_real_faces_upright_and_turned(shared_data: Path) -> None:
    from recognition.engines import load_engine

    clip = shared_data / "videos" / "intel_head-pose-male.gif"
    if not clip.exists():
        pytest.skip(f"{clip.name} is not here")
    engine = load_engine()
    capture = cv2.VideoCapture(str(clip))
    images = [image for ok, image in (capture.read() for _ in range(12)) if ok]

    def best(image: Image) -> float:
        return max((face.score for face in engine.detect(image)), default=0.0)

    for turned, wanted in ((False, View.OK), (True, View.UPSIDE_DOWN)):
        watch = PictureWatch(best)
        for t, image in enumerate(images):
            shown = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
            view = watch.see(shown, float(t))
        assert view is wanted


def test_heat_is_read_with_hysteresis(tmp_path: Path) -> None:
    thermal, throttled = tmp_path / "temp", tmp_path / "get_throttled"
    meter = Thermometer(thermal, throttled)
    assert meter.look(0.0) == Warmth()  # no such files: nothing is known, nothing is wrong
    seen = []
    for number, celsius in enumerate((50, 79, 80, 76, 74, 79), 1):
        thermal.write_text(f"{celsius * 1000}\n")
        assert meter.look(number * LOOK_S - 0.1) == (seen[-1] if seen else Warmth())
        seen.append(meter.look(number * LOOK_S))
    assert [warmth.slow for warmth in seen] == [False, False, True, True, False, False]
    assert seen[2].celsius == 80.0


@pytest.mark.parametrize(
    ("bits", "slow", "weak"),
    [("0\n", False, False), ("50005", True, True), ("0x1", False, True),
     ("throttled=0x8", True, False), ("50000", False, False), ("what", False, False)],
)  # fmt: skip
def test_the_firmwares_word_counts_now_and_not_what_was(
    tmp_path: Path, bits: str, slow: bool, weak: bool
) -> None:
    (tmp_path / "t").write_text("61000")
    (tmp_path / "g").write_text(bits)
    assert Thermometer(tmp_path / "t", tmp_path / "g").look(0.0) == Warmth(61.0, slow, weak)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_camera_gives_upright_pictures(degrees: int) -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 255
    inner = FakeCamera([image], live=True)
    with TurnedCamera(inner, degrees) as camera:
        (frame,) = camera.frames()
        assert camera.live
    assert inner.released == 1
    corner = {90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[degrees]  # clockwise
    assert frame.image[corner].tolist() == [255, 255, 255]
    assert frame.image.shape == ((3, 2, 3) if degrees != 180 else (2, 3, 3))
    with pytest.raises(ValueError, match="45"):
        TurnedCamera(inner, 45)

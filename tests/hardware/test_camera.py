"""Files, folders and devices as cameras: real files, made here or from the shared data."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.camera import list_cameras, open_camera
from hardware.errors import (
    CameraError,
    CameraMissing,
    CameraStopped,
    CameraUnreadable,
)
from hardware.fakes import FakeCamera, FakeCapture
from hardware.footage import read_picture
from hardware.frames import PICTURE_SUFFIXES, Image
from hardware.live import LiveCamera


def picture(value: int, width: int = 64, height: int = 48) -> Image:
    """A plain picture whose brightness tells which one it is."""
    return np.full((height, width, 3), value, np.uint8)


def write_video(path: Path, frames: list[Image], fps: float, codec: str = "MJPG") -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_pictures(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        ok, data = cv2.imencode(Path(name).suffix.lower(), picture(20 * (number + 1)))
        assert ok
        (folder / name).write_bytes(data.tobytes())
    return folder


def brightness(image: Image) -> int:
    return round(float(image.mean()) / 20)


# --- video files


def test_a_video_gives_every_frame_with_the_files_times(tmp_path):
    path = write_video(tmp_path / "a.avi", [picture(20 * n) for n in range(10)], 12.5)
    with open_camera(str(path)) as camera:
        frames = list(camera.frames())
    assert not camera.live
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.t for frame in frames] == pytest.approx([n / 12.5 for n in range(10)], abs=1e-3)
    assert [brightness(frame.image) for frame in frames] == list(range(10))
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert not camera.faults
    assert camera.closed
    camera.close()


@pytest.mark.parametrize(
    ("name", "count", "seconds"),
    [
        ("intel_head-pose-male.gif", 62, 5.08),
        ("liveportrait_d12.mp4", 183, 7.28),
        ("liveportrait_d18.mp4", 216, 7.167),
    ],
)
def test_real_clips(shared_data, name, count, seconds):
    with open_camera(str(shared_data / "videos" / name)) as camera:
        times = [frame.t for frame in camera.frames()]
    assert len(times) == count
    assert times[-1] == pytest.approx(seconds, abs=0.01)
    assert times == sorted(times)
    assert len(set(times)) == count


def test_a_sideways_video_is_set_upright(tmp_path):
    wide = picture(0)
    wide[:, :16] = (0, 0, 255)  # red at the left
    path = write_video(tmp_path / "a.mp4", [wide] * 5, 10, "mp4v")
    data = bytearray(path.read_bytes())
    # The matrix of the track header says how a telephone was held: a quarter turn clockwise.
    at = data.index(b"tkhd") + 4 + 40
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turn)
    path.write_bytes(data)
    with open_camera(str(path)) as camera:
        image = next(camera.frames()).image
    assert image.shape == (64, 48, 3)
    assert image[4, 24, 2] > 200  # what was left is on top
    assert image[60, 24, 2] < 60


def test_a_loop_goes_on_counting(tmp_path):
    path = write_video(tmp_path / "a.avi", [picture(20 * n) for n in range(4)], 10)
    seen = []
    with open_camera(str(path), loop=True) as camera:
        for frame in camera.frames():
            seen.append((frame.index, round(frame.t, 3), brightness(frame.image)))
            if len(seen) == 10:
                break
    assert seen == [(n, n / 10, n % 4) for n in range(10)]


def test_realtime_paces_by_the_files_times_and_drops_nothing(tmp_path):
    path = write_video(tmp_path / "a.avi", [picture(20 * n) for n in range(5)], 10)
    clock = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        clock[0] += seconds

    with open_camera(str(path), realtime=True, now_s=lambda: clock[0], sleep=sleep) as camera:
        arrived = []
        for frame in camera.frames():
            arrived.append(round(frame.arrived, 3))
            clock[0] += 0.25 if frame.index == 1 else 0.02  # one frame takes long to work on
    assert arrived == [100.0, 100.1, 100.35, 100.37, 100.4]
    assert slept == [0.08, 0.01]


def test_a_cut_off_video_gives_what_is_there_and_says_so(tmp_path):
    frames = [picture(n) for n in range(0, 200, 2)]
    whole = write_video(tmp_path / "whole.avi", frames, 10)
    path = tmp_path / "cut.avi"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    heard: list[str] = []
    with open_camera(str(path), on_fault=lambda n: heard.append(n.en)) as camera:
        count = sum(1 for _ in camera.frames())
    assert 10 < count < 90
    assert len(camera.faults) == 1
    assert f"after {count} of 100" in heard[0]


# --- folders


def test_a_folder_plays_in_name_order_at_ten_a_second(tmp_path):
    names = ["a.jpg", "b.JPEG", "c.PNG", "d.bmp", "e.Jpg"]
    folder = write_pictures(tmp_path / "f", names)
    (folder / "notes.txt").write_text("no picture")
    (folder / "d2.jpg").symlink_to(folder / "a.jpg")
    with open_camera(str(folder)) as camera:
        frames = list(camera.frames())
    assert [brightness(frame.image) for frame in frames] == [1, 2, 3, 4, 1, 5]
    assert [frame.t for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert not camera.faults


def test_corrupt_pictures_are_left_out_and_told_once(tmp_path):
    folder = write_pictures(tmp_path / "f", ["a.jpg", "b.jpg", "c.png", "d.bmp", "e.jpg"])
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:-200])  # breaks off
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:-20])
    (folder / "d.bmp").write_bytes(b"BM nonsense")
    (folder / "d2.jpg").write_bytes(b"")
    (folder / "d3.jpg").symlink_to(folder / "gone")
    heard: list[str] = []
    with open_camera(str(folder), loop=True, on_fault=lambda n: heard.append(n.zh)) as camera:
        frames = []
        for frame in camera.frames():
            frames.append(frame)
            if len(frames) == 4:
                break
    assert [frame.index for frame in frames] == [0, 6, 7, 13]
    assert [frame.t for frame in frames] == pytest.approx([0, 0.6, 0.7, 1.3])
    assert [name for text in heard for name in text.split() if name.startswith("/")] == [
        str(folder / name) for name in ("b.jpg", "c.png", "d.bmp", "d2.jpg", "d3.jpg")
    ]
    assert len(camera.faults) == 5


@pytest.mark.parametrize(
    ("suffix", "at", "size"),
    [("png", 16, ">II"), ("bmp", 18, "<ii"), ("jpg", None, ">HH")],
)
def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path, suffix, at, size):
    path = write_pictures(tmp_path / "f", [f"a.{suffix}"]) / f"a.{suffix}"
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0") + 5 if at is None else at
    assert read_picture(path) is not None
    data[at : at + struct.calcsize(size)] = struct.pack(size, 30_000, 30_000)
    path.write_bytes(data)
    assert read_picture(path) is None


def test_real_pictures_are_read(shared_data):
    paths = sorted((shared_data / "faces_azure").rglob("*.jpg"))
    paths += sorted((shared_data / "noface").iterdir())
    assert len(paths) > 10
    for path in paths:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            assert read_picture(path) is not None, path


def test_one_picture_is_a_source_too(tmp_path):
    folder = write_pictures(tmp_path / "f", ["a.jpg"])
    with open_camera(str(folder / "a.jpg")) as camera:
        assert [frame.index for frame in camera.frames()] == [0]


# --- what is missing or unreadable


def bad_sources(folder: Path) -> dict[str, tuple[str, type[CameraError], str]]:
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("hello\n" * 1000)
    (folder / "empty").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "a.txt").touch()
    os.mkfifo(folder / "pipe.mp4")
    return {
        "zero": (str(folder / "zero.mp4"), CameraUnreadable, "empty (0 bytes)"),
        "text": (str(folder / "text.mp4"), CameraUnreadable, "no video"),
        "empty folder": (str(folder / "empty"), CameraUnreadable, "holds no pictures"),
        "folder of text": (str(folder / "words"), CameraUnreadable, "holds no pictures"),
        "pipe": (str(folder / "pipe.mp4"), CameraUnreadable, "no file, folder or camera"),
        "no file": (str(folder / "none.mp4"), CameraMissing, "check the name"),
        "no device": ("97", CameraMissing, "no camera 97"),
        "nothing": (" ", CameraMissing, "Name a camera"),
        "web page": ("http://127.0.0.1/x.mp4", CameraMissing, "Name a camera"),
        "rtsp refused": ("rtsp://127.0.0.1:1/x", CameraUnreadable, "does not answer"),
    }


NAMES = (
    "zero",
    "text",
    "empty folder",
    "folder of text",
    "pipe",
    "no file",
    "no device",
    "nothing",
    "web page",
    "rtsp refused",
)


@pytest.mark.parametrize("name", NAMES)
def test_each_way_to_be_missing_has_its_error_and_one_line(tmp_path, name):
    source, kind, says = bad_sources(tmp_path)[name]
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        open_camera(source)
    assert time.monotonic() - began < 6
    assert says in str(caught.value)
    assert isinstance(caught.value, OSError)
    for lang in ("zh", "en"):
        assert "\n" not in caught.value.words(lang)
    assert caught.value.words("zh_CN.UTF-8") != caught.value.words("en")


OPEN_ALL = """
import sys
from hardware.camera import open_camera
from hardware.errors import CameraError
for source in sys.argv[1:]:
    try:
        open_camera(source)
    except CameraError as error:
        print(error)
"""


def test_opencv_does_not_write_over_our_one_line(tmp_path):
    sources = [source for source, _, _ in bad_sources(tmp_path).values()]
    result = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, *sources], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == len(sources)


def test_a_folder_of_nothing_but_corrupt_pictures(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 no")
    with open_camera(str(tmp_path)) as camera, pytest.raises(CameraUnreadable, match="not one"):
        list(camera.frames())
    assert len(camera.faults) == 1


def test_picamera2_without_its_package_says_how_to_install_it():
    try:
        import picamera2  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("picamera2 is installed here")
    with pytest.raises(CameraMissing, match="apt install python3-picamera2"):
        open_camera("picamera2")


def test_a_password_in_an_address_is_never_said():
    with pytest.raises(CameraUnreadable) as caught:
        open_camera("rtsp://admin:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value) + caught.value.words("zh")


def test_listing_cameras_is_quick_and_quiet():
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", "from hardware.camera import list_cameras; print(list_cameras())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - began < 20
    assert result.stderr == ""
    assert result.stdout.startswith("[")
    if not list(Path("/dev").glob("video*")):
        assert list_cameras() == []


# --- live sources


def test_live_hands_out_the_newest_and_drops_the_stale():
    gate = threading.Event()
    fed = threading.Event()

    def feed():
        yield picture(0)
        gate.wait(10)
        yield from (picture(20 * n) for n in (1, 2, 3))
        fed.set()
        stop.wait(10)

    stop = threading.Event()
    capture = FakeCapture(feed())
    clock = iter([50.0, 50.5, 51.0, 51.5]).__next__
    with LiveCamera(capture, "fake", now_s=clock) as camera:
        assert camera.live
        frames = camera.frames()
        first = next(frames)
        gate.set()
        assert fed.wait(10)
        newest = next(frames)
        stop.set()
        with pytest.raises(CameraStopped):
            next(frames)
    assert (first.index, first.t, first.arrived) == (0, 0.0, 50.0)
    assert (newest.index, newest.t, brightness(newest.image)) == (3, 1.5, 3)
    assert camera.dropped == 2
    camera.close()
    assert capture.released == 1


def test_a_live_source_that_hangs_has_stopped():
    hang = threading.Event()

    def feed():
        yield picture(1)
        hang.wait(10)

    with LiveCamera(FakeCapture(feed()), "fake", stall_s=0.05) as camera:
        frames = camera.frames()
        next(frames)
        with pytest.raises(CameraStopped, match="stopped giving pictures"):
            next(frames)
        hang.set()


def test_a_live_source_that_raises_has_stopped_and_says_why():
    camera = LiveCamera(FakeCapture([picture(1), ValueError("USB reset")]), "fake")
    with pytest.raises(CameraStopped):
        list(camera.frames())
    assert "USB reset" in str(camera.faults[0])
    camera.close()


def test_a_live_source_without_a_first_picture_does_not_open():
    capture = FakeCapture([])
    with pytest.raises(CameraUnreadable, match="no picture"):
        LiveCamera(capture, "fake", stall_s=1)
    assert capture.released == 1


def test_grey_pictures_become_three_channels():
    stop = threading.Event()

    def feed():
        yield np.full((4, 6), 7, np.uint8)
        stop.wait(10)

    with LiveCamera(FakeCapture(feed()), "fake") as camera:
        image = next(camera.frames()).image
        stop.set()
    assert image.shape == (4, 6, 3)
    assert (image == 7).all()


def test_closing_ends_the_frames():
    stop = threading.Event()

    def feed():
        yield picture(1)
        stop.wait(10)
        yield picture(2)

    camera = LiveCamera(FakeCapture(feed()), "fake")
    frames = camera.frames()
    next(frames)
    closer = threading.Thread(target=camera.close)
    closer.start()
    assert list(frames) == []
    stop.set()
    closer.join()


# --- the fake that ships


def test_the_fake_camera_plays_its_script_and_remembers():
    lost = CameraStopped("断", "lost")
    with FakeCamera([picture(1), None, picture(2), lost, picture(3)], fps=5, live=True) as camera:
        got = []
        with pytest.raises(CameraStopped):
            got.extend(frame.index for frame in camera.frames())
        assert [frame.index for frame in camera.given] == [0, 2]
        rest = [frame.t for frame in camera.frames()]
    assert len(rest) == 1
    assert len(camera.faults) == 1
    assert camera.released == 1

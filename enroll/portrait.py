"""The picture for the public board: its own consent, re-encoded here, never enrolled."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from attendance.wire import MAX_PORTRAIT
from enroll.folder import PORTRAIT
from recognition.pictures import SUFFIXES, read_picture

LONG_SIDE = 960
"""Longer side in pixels at most: twice what the board shows, for sharp screens."""


def find_portrait(folder: Path) -> Path | None:
    """OFFICIAL/portrait.jpg (or another picture suffix, in any case); None where there is none."""
    if not folder.is_dir():
        return None
    return next((p for p in sorted(folder.iterdir()) if is_portrait(p) and p.is_file()), None)


def is_portrait(path: Path) -> bool:
    """Whether the file's name says that it is the portrait."""
    return path.stem.lower() == PORTRAIT and path.suffix.lower() in SUFFIXES


def encode_portrait(path: Path) -> bytes:
    """The picture upright, at most LONG_SIDE long, as a JPEG without any metadata, at most 1 MiB.

    Raises BadPicture.
    """
    frame = read_picture(path)
    scale = LONG_SIDE / max(frame.shape[:2])
    if scale < 1:
        size = (max(round(frame.shape[1] * scale), 1), max(round(frame.shape[0] * scale), 1))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    for quality in (88, 75, 55, 30):
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(jpeg) <= MAX_PORTRAIT:
            break
    return jpeg.tobytes()

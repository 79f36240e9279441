"""Reading of picture files: bounded, upright, always 8-bit BGR."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.errors import BadPicture
from recognition.types import Frame

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
MAX_PIXELS = 50_000_000
"""More is refused before decoding: a few kilobytes can claim gigabytes (a decompression bomb)."""
MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read at all; a 50-megapixel JPEG of a telephone has some 25 MB."""


def picture_paths(folder: Path) -> list[Path]:
    """Pictures directly in `folder`, by suffix in any case, in name order, symlinks followed.

    Raises BadPicture where `folder` is not a folder.
    """
    if not folder.is_dir():
        raise BadPicture(f"{folder} is not a folder", f"{folder} 不是文件夹")
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()),
        key=lambda p: p.name,
    )


def read_picture(path: Path) -> Frame:
    """The picture in `path`: uint8, shape (height, width, 3), BGR, EXIF orientation applied.

    Grey becomes three equal channels, transparency is dropped, 16 bits become 8.
    Raises BadPicture with one sentence where the file is missing, empty, cut off, not a JPEG, PNG
    or BMP, or has more than MAX_PIXELS.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadPicture(
            f"{path} cannot be read: {error.strerror or error}",
            f"无法读取 {path}：{error.strerror or error}",
        ) from None
    try:
        return decode_picture(data)
    except BadPicture as error:
        raise BadPicture(f"{path} {error.en}", f"{path} {error.zh}") from None


def decode_picture(data: bytes) -> Frame:
    """Like `read_picture`, from the file's bytes."""
    if not data:
        raise BadPicture("is empty (zero bytes)", "是空文件（零字节）")
    if len(data) > MAX_BYTES:
        raise BadPicture(
            f"has more than {MAX_BYTES >> 20} MiB; save it smaller",
            f"超过 {MAX_BYTES >> 20} MiB，请缩小后再用",
        )
    width, height = _claimed_size(data)
    if width < 1 or height < 1:
        raise BadPicture("claims to have no pixels", "没有像素")
    if width * height > MAX_PIXELS:
        raise BadPicture(
            f"has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are read",
            f"有 {width} x {height} 像素，最多只读 {MAX_PIXELS // 10**6} 百万像素",
        )
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None or picture.ndim != 3 or picture.dtype != np.uint8:
        raise BadPicture("is damaged and cannot be decoded", "已损坏，无法解码")
    return np.ascontiguousarray(picture)


def as_frame(picture: NDArray[Any]) -> Frame:
    """`picture` as uint8 BGR of shape (height, width, 3), unchanged where it is one already.

    Takes grey (h, w) or (h, w, 1), BGR, BGRA (transparency dropped), 8 or 16 bits.
    Raises BadPicture for anything else, or for no pixels.
    """
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
        raise BadPicture(
            f"a frame of shape {picture.shape} and type {picture.dtype} is not a picture",
            f"画面格式不对：形状 {picture.shape}，类型 {picture.dtype}",
        )
    if picture.ndim == 2:
        picture = picture[:, :, None]
    channels = picture.shape[2]
    if channels == 1:
        return np.ascontiguousarray(np.repeat(picture, 3, axis=2))
    if channels not in (3, 4):
        raise BadPicture(
            f"a frame with {channels} channels is not a picture",
            f"画面有 {channels} 个通道，不是图片",
        )
    return np.ascontiguousarray(picture[:, :, :3])


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header claims; BadPicture where the file is cut off or foreign."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        if len(data) < 24 or b"IEND" not in data[-64:]:
            raise BadPicture("is a PNG that was cut off", "是不完整的 PNG 文件")
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"BM"):
        if len(data) < 26:
            raise BadPicture("is a BMP that was cut off", "是不完整的 BMP 文件")
        if struct.unpack("<I", data[14:18])[0] == 12:
            width, height = struct.unpack("<HH", data[18:22])
            return width, height
        width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    raise BadPicture("is not a JPEG, PNG or BMP picture", "不是 JPEG、PNG 或 BMP 图片")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:  # fill and bare markers
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            # libjpeg fills what is missing with grey and says nothing: look for the end ourselves.
            if data.rfind(b"\xff\xd9") < at:
                raise BadPicture("is a JPEG that was cut off", "是不完整的 JPEG 文件")
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    raise BadPicture("is a JPEG whose header is damaged", "是文件头损坏的 JPEG")

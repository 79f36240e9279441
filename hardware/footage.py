"""Recorded sources: a video file, a picture, a folder of pictures; the same frames every time."""

from __future__ import annotations

import math
import struct
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hardware.errors import CameraMissing, CameraUnreadable, Notice
from hardware.frames import PICTURE_SUFFIXES, Camera, Frame, Image, hush_opencv

FOLDER_FPS = 10.0
"""Frames a second of a folder of pictures; commands.md sets it."""

FALLBACK_FPS = 25.0
"""Frames a second where a video file states none or nonsense (PAL's rate, the commonest)."""

MAX_PICTURE_BYTES = 64 * 1024 * 1024
"""A larger picture file is skipped unread: no camera makes one."""

MAX_PIXELS = 64_000_000
"""A picture that claims more is skipped undecoded: 192 MB as an array, all that a Pi can spare."""


class RecordedCamera(Camera):
    """Frames with the times of the recording, as fast as they are taken, or paced in real time.

    realtime: sleep until each frame's time has come; no frame is ever dropped.
    loop: start over at the end, times and indices going on.
    """

    live = False

    def __init__(
        self,
        path: Path,
        *,
        realtime: bool = False,
        loop: bool = False,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        on_fault: Callable[[Notice], None] | None = None,
    ) -> None:
        super().__init__(str(path), on_fault)
        self.path = path
        self._realtime = realtime
        self._loop = loop
        self._now_s = now_s
        self._sleep = sleep
        self._again = False

    @abstractmethod
    def _once(self) -> Iterator[tuple[int, float, Image]]:
        """(index, seconds, image) of one pass through the recording."""

    @abstractmethod
    def _step_s(self) -> float:
        """Seconds between the last frame of a pass and the first of the next."""

    def _fault(self, zh: str, en: str) -> None:
        # Told once, not on every round of a clip that loops for weeks.
        if not self._again:
            super()._fault(zh, en)

    def frames(self) -> Iterator[Frame]:
        began: float | None = None
        index_base, t_base = 0, 0.0
        while not self._closed:
            index, t = -1, 0.0
            for index, t, image in self._once():
                if self._closed:
                    return
                if self._realtime:
                    began = self._now_s() if began is None else began
                    ahead_s = began + t_base + t - self._now_s()
                    if ahead_s > 0:
                        self._sleep(ahead_s)
                yield Frame(index_base + index, t_base + t, image, self._now_s())
            if self._closed:
                return
            if index < 0:
                raise CameraUnreadable(
                    f"{self.path} 里没有一张能读的画面，请换一个文件或文件夹。",
                    f"{self.path} holds not one readable picture: give another file or folder.",
                )
            if not self._loop:
                return
            self._again = True
            index_base += index + 1
            t_base += t + self._step_s()


class FileCamera(RecordedCamera):
    """A video file, GIF included; rotation stated in the file is applied.

    Raises CameraMissing, or CameraUnreadable for an empty file or one that is no video.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        hush_opencv()
        if not path.exists():
            raise CameraMissing(
                f"找不到视频文件 {path}，请检查路径。", f"No file {path}: check the path."
            )
        try:
            size = path.stat().st_size
            with path.open("rb"):
                pass
        except OSError as error:
            raise CameraUnreadable(
                f"无权读取 {path}，请检查文件权限。",
                f"{path} may not be read: check its permissions.",
            ) from error
        if size == 0:
            raise CameraUnreadable(
                f"视频文件 {path} 是空的（0 字节），请重新复制。",
                f"The video file {path} is empty (0 bytes): copy it again.",
            )
        self._capture = self._open()
        self._fresh = True
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float = fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else FALLBACK_FPS

    def _open(self) -> cv2.VideoCapture:
        # An absolute path, so that a colon in a name is not taken for a protocol by FFmpeg.
        capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise CameraUnreadable(
                f"{self.path} 不是能播放的视频或已损坏，请换一个文件。",
                f"{self.path} is no video that can be played, or is damaged: give another file.",
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture

    def _step_s(self) -> float:
        return 1.0 / self.fps

    def _once(self) -> Iterator[tuple[int, float, Image]]:
        if not self._fresh:
            self._capture.release()
            self._capture = self._open()
        self._fresh = False
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        index, first_ms, t = 0, 0.0, 0.0
        while True:
            ok, image = self._capture.read()
            if not ok or image is None:
                break
            stamp_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if index == 0:
                first_ms = stamp_ms
            else:
                # Files without usable stamps (all zero, or falling) are timed by their rate.
                stamp = (stamp_ms - first_ms) / 1000.0
                t = stamp if math.isfinite(stamp) and stamp > t else t + self._step_s()
            yield index, t, np.asarray(image, dtype=np.uint8)
            if self._closed:
                return
            index += 1
        # Containers round the count; only a clear shortfall is worth telling.
        if 0 < index < stated - max(2, stated // 50):
            self._fault(
                f"{self.path} 在第 {index} 帧中断（应有 {stated} 帧），文件可能不完整。",
                f"{self.path} breaks off after {index} of {stated} frames: it may be incomplete.",
            )

    def _release(self) -> None:
        self._capture.release()


class FolderCamera(RecordedCamera):
    """Pictures of a folder in name order at 10 frames a second; also one single picture file.

    Symbolic links are followed. A picture that cannot be read keeps its index and time, is left
    out and told in `faults`. Raises CameraUnreadable where there is no picture at all.
    """

    fps = FOLDER_FPS

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        hush_opencv()
        try:
            found = [path] if path.is_file() else sorted(path.iterdir(), key=lambda p: p.name)
        except OSError as error:
            raise CameraUnreadable(
                f"无权读取文件夹 {path}，请检查权限。",
                f"The folder {path} may not be read: check its permissions.",
            ) from error
        self.pictures: tuple[Path, ...] = tuple(
            each for each in found if each.suffix.lower() in PICTURE_SUFFIXES and not each.is_dir()
        )
        if not self.pictures:
            raise CameraUnreadable(
                f"文件夹 {path} 里没有图片（jpg、jpeg、png、bmp），请放入图片或换一个文件夹。",
                f"The folder {path} holds no pictures (jpg, jpeg, png, bmp): "
                "put some in or give another.",
            )

    def _step_s(self) -> float:
        return 1.0 / self.fps

    def _once(self) -> Iterator[tuple[int, float, Image]]:
        for index, path in enumerate(self.pictures):
            image = read_picture(path)
            if image is None:
                self._fault(
                    f"图片 {path} 读不出来，已跳过。",
                    f"The picture {path} cannot be read and was skipped.",
                )
                continue
            yield index, index / self.fps, image

    def _release(self) -> None:
        pass


def read_picture(path: Path) -> Image | None:
    """The picture, uint8 BGR (height, width, 3), upright by its EXIF; None where it is unreadable.

    A JPEG or PNG that breaks off counts as unreadable: the decoder would fill the rest with grey.
    """
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return None
    if data[:4] == b"\x89PNG" and b"IEND" not in data[-64:]:
        return None
    if not 0 < _claimed_pixels(data) <= MAX_PIXELS:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint8:
        return None
    return np.asarray(image, dtype=np.uint8)


def _claimed_pixels(data: bytes) -> int:
    """Pixels that a JPEG, PNG or BMP says it has; 0 where it says none or is neither."""
    if data[:4] == b"\x89PNG" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width * height)
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(int(width * height))  # a negative height: rows from the top
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        # SOF0 to SOF15 state the size; C4, C8 and CC in their midst are other segments (T.81 B.1).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return int(width * height)
        # A fill byte stands alone; every other segment states its length.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0

"""Open any source of frames by its SOURCE string, and find the cameras of this machine."""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardware.errors import (
    CameraBusy,
    CameraError,
    CameraMissing,
    CameraUnreadable,
    HardwareError,
    Notice,
)
from hardware.frames import PICTURE_SUFFIXES, Camera, Frame, hush_opencv
from hardware.live import Capture, LiveCamera

__all__ = ["Camera", "CameraError", "Frame", "list_cameras", "open_camera"]

RTSP_TIMEOUT_S = 5.0
"""Seconds that an RTSP server has to answer, and later to send the next picture."""

SIZE = (640, 480)
"""Width and height asked of a live camera: what the measurements of recognition.md are made on."""

_VIDIOC_QUERYCAP = 0x80685600  # linux/videodev2.h: _IOR('V', 0, struct v4l2_capability)
_V4L2_CAP_VIDEO_CAPTURE = 0x00000001
_V4L2_CAP_STREAMING = 0x04000000


def open_camera(
    source: str,
    *,
    realtime: bool = False,
    loop: bool = False,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    on_fault: Callable[[Notice], None] | None = None,
) -> Camera:
    """Open SOURCE: the number of a device, ``picamera2``, an ``rtsp://`` or ``rtsps://`` URL, a
    folder of pictures, a picture or a video file.

    realtime: pace a file or folder by its own times (a live source is paced anyway).
    loop: start a file or folder over when it ends, times and indices going on.
    now_s: the monotonic clock in seconds, for `Frame.arrived` and the times of a live source.
    sleep: how ``realtime`` waits.
    on_fault: called with a Notice for each picture that is skipped, in the reading thread.

    Raises CameraMissing, CameraBusy or CameraUnreadable, each with one sentence of advice.
    """
    source = source.strip()
    if re.fullmatch(r"[0-9]{1,4}", source):
        return _open_device(int(source), now_s, on_fault)
    if source == "picamera2":
        return _open_picamera2(now_s, on_fault)
    if re.match(r"rtsps?://", source, re.IGNORECASE):
        return _open_rtsp(source, now_s, on_fault)
    if not source or "://" in source:
        raise CameraMissing(
            "请给出摄像头：编号、视频文件、图片文件夹、rtsp:// 地址或 picamera2。",
            "Name a camera: a number, a video file, a folder of pictures, an rtsp:// URL or "
            "picamera2.",
        )
    path = Path(source).expanduser()
    from hardware.footage import FileCamera, FolderCamera

    options: dict[str, Any] = {
        "realtime": realtime, "loop": loop, "now_s": now_s, "sleep": sleep, "on_fault": on_fault
    }  # fmt: skip
    if not path.exists():
        raise CameraMissing(
            f"找不到 {source}：没有这个文件、文件夹或摄像头，请检查名称。",
            f"There is no file, folder or camera called {source}: check the name.",
        )
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return FolderCamera(path, **options)
    if stat.S_ISCHR(path.stat().st_mode):
        number = re.fullmatch(r"/dev/video([0-9]{1,4})", str(path.resolve()))
        if number:
            return _open_device(int(number[1]), now_s, on_fault)
    if not path.is_file():
        raise CameraUnreadable(
            f"{source} 不是文件，也不是文件夹或摄像头，请检查名称。",
            f"{source} is no file, folder or camera: check the name.",
        )
    return FileCamera(path, **options)


def list_cameras() -> list[int]:
    """Numbers of the attached cameras that deliver a picture when opened, rising; none is []."""
    numbers = _device_numbers() if sys.platform.startswith("linux") else list(range(4))
    working = []
    for number in numbers:
        try:
            with _open_device(number, time.monotonic, None):
                working.append(number)
        except HardwareError:
            continue
    return working


def _device_numbers() -> list[int]:
    """Numbers of the /dev/video nodes that say they capture pictures (a Pi has a dozen others)."""
    found = []
    for node in Path("/dev").glob("video*"):
        match = re.fullmatch(r"video([0-9]{1,4})", node.name)
        if match and _captures(node):
            found.append(int(match[1]))
    return sorted(found)


def _captures(node: Path) -> bool:
    import fcntl

    try:
        handle = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return error.errno in (errno.EBUSY, errno.EACCES, errno.EPERM)
    try:
        answer = fcntl.ioctl(handle, _VIDIOC_QUERYCAP, bytes(104))
    except OSError:
        return False
    finally:
        os.close(handle)
    (device_caps,) = struct.unpack_from("=I", answer, 88)
    wanted = _V4L2_CAP_VIDEO_CAPTURE | _V4L2_CAP_STREAMING
    return bool(device_caps & wanted == wanted)


def _open_device(
    number: int, now_s: Callable[[], float], on_fault: Callable[[Notice], None] | None
) -> Camera:
    busy = CameraBusy(
        f"摄像头 {number} 打不开或没有画面，请关闭正在使用它的程序，或重新插拔。",
        f"Camera {number} cannot be opened or gives no picture: close the program that uses it, "
        "or plug it in again.",
    )
    if sys.platform.startswith("linux"):
        node = Path(f"/dev/video{number}")
        if not node.exists():
            others = "、".join(map(str, _device_numbers()))
            raise CameraMissing(
                f"没有编号为 {number} 的摄像头，"
                + (f"本机有：{others}。" if others else "本机没有接摄像头，请插上后再试。"),
                f"There is no camera {number}: "
                + (
                    f"this machine has {others.replace('、', ', ')}."
                    if others
                    else "none is attached to this machine; plug one in and try again."
                ),
            )
        try:
            os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK))
        except PermissionError as error:
            raise CameraBusy(
                f"无权使用摄像头 {number}，请把当前用户加入 video 组后重新登录。",
                f"Camera {number} may not be used: add this user to the group video and log in "
                "again.",
            ) from error
        except OSError as error:
            raise busy from error
    hush_opencv()
    import cv2

    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(number, backend)
    if not capture.isOpened():
        capture.release()
        raise busy
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, SIZE[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, SIZE[1])
    # One buffered picture at most where the driver allows it: the newest is what counts.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return LiveCamera(capture, str(number), nothing=busy, now_s=now_s, on_fault=on_fault)


def _open_rtsp(
    url: str, now_s: Callable[[], float], on_fault: Callable[[Notice], None] | None
) -> Camera:
    hush_opencv()
    import cv2

    shown = re.sub(r"(://)[^/@]*@", r"\1***@", url)
    silent = CameraUnreadable(
        f"网络摄像头 {shown} 没有应答或没有画面，请检查地址、密码和网线。",
        f"The RTSP camera {shown} does not answer or sends no picture: check the address, the "
        "password and the cable.",
    )
    limit_ms = int(RTSP_TIMEOUT_S * 1000)
    capture = cv2.VideoCapture(
        url,
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms],
    )
    if not capture.isOpened():
        capture.release()
        raise silent
    return LiveCamera(capture, shown, nothing=silent, now_s=now_s, on_fault=on_fault)


class _Picamera2Capture:
    """picamera2 behind the two calls that `LiveCamera` makes."""

    def __init__(self, device: Any) -> None:
        self._device = device
        # "RGB888" is libcamera's name for bytes that lie as blue, green, red in memory.
        device.configure(device.create_video_configuration(main={"size": SIZE, "format": "RGB888"}))
        device.start()

    def read(self) -> tuple[bool, Any]:
        return True, self._device.capture_array("main")

    def release(self) -> None:
        self._device.stop()
        self._device.close()


def _open_picamera2(
    now_s: Callable[[], float], on_fault: Callable[[Notice], None] | None
) -> Camera:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise CameraMissing(
            "没有安装 picamera2：请运行 sudo apt install python3-picamera2，"
            "并用 --system-site-packages 建立 .venv。",
            "picamera2 is not installed: run sudo apt install python3-picamera2 and make the "
            ".venv with --system-site-packages.",
        ) from error
    try:
        device = Picamera2()
    except IndexError as error:
        raise CameraMissing(
            "没有找到树莓派摄像头，请断电后检查排线。",
            "No Raspberry Pi camera was found: switch off and check its ribbon cable.",
        ) from error
    except RuntimeError as error:
        raise CameraBusy(
            "树莓派摄像头被其他程序占用，请关闭后再试。",
            "The Raspberry Pi camera is used by another program: close it and try again.",
        ) from error
    try:
        capture: Capture = _Picamera2Capture(device)
    except RuntimeError as error:
        device.close()
        raise CameraBusy(
            "树莓派摄像头无法启动，请重启设备。",
            "The Raspberry Pi camera does not start: restart the device.",
        ) from error
    return LiveCamera(capture, "picamera2", now_s=now_s, on_fault=on_fault)

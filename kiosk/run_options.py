"""What the options of `quxiang-kiosk run` say together."""

from __future__ import annotations

import argparse
import contextlib
import re
import stat
from pathlib import Path

from attendance.i18n import say


def is_live(source: str) -> bool:
    """Whether SOURCE names a camera, not footage, without opening it."""
    if re.fullmatch(r"\s*([0-9]{1,4}|picamera2|rtsps?://.*)\s*", source, re.IGNORECASE):
        return True
    with contextlib.suppress(OSError):
        return stat.S_ISCHR(Path(source).expanduser().stat().st_mode)
    return False


def wrong_usage(args: argparse.Namespace, live: bool) -> str:
    """What is wrong with the options taken together, empty where nothing is."""
    if args.liveness == "off" and live:
        return say(
            "实时摄像头不能关闭活体检测：--liveness off 只用于文件或文件夹",
            "--liveness off is refused for a live camera: it is for files and folders only",
        )
    if args.until_end and (live or args.loop):
        return say(
            "--until-end 只用于会结束的文件或文件夹",
            "--until-end is for a file or folder that ends, without --loop",
        )
    return ""

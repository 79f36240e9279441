"""What a check says, and the machine that it looks at: a folder tree and a few commands."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from attendance.i18n import Language, language
from hardware.gpio_lines import lines_in_use

Pair = tuple[str, str]
"""The same said in Chinese and in English."""

APP = "/var/lib/quxiang/app"
UNIT = "/etc/systemd/system/quxiang-kiosk.service"
LONGEST_S = 10.0
"""A command of the system that takes longer counts as one that is not there."""


class State(StrEnum):
    """ok; warn: works, and will not for ever; fail: somebody must do something; absent: this
    machine has no such thing and needs none."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    ABSENT = "not here"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    found: what was seen. advice: what to do about it, a pair of empty texts where nothing is to be
    done. Neither ends with a full stop.
    """

    name: str
    state: State
    found: Pair
    advice: Pair = ("", "")

    @property
    def ok(self) -> bool:
        """Whether nobody needs to come for it today."""
        return self.state is not State.FAIL

    def words(self, lang: Language | None = None) -> str:
        """Finding and advice as one line."""
        zh = (lang or language()) == "zh"
        found, advice = (pair[0 if zh else 1] for pair in (self.found, self.advice))
        return f"{found}{'：' if zh else ': '}{advice}" if advice else found


def run_command(words: Sequence[str]) -> str | None:
    """What a command prints, None where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            list(words),
            capture_output=True,
            timeout=LONGEST_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class Machine:
    """This machine, or a tree of files that stands for one.

    root: everything but the kiosk's own folder is read below it. run: prints of a command, as
    `run_command`. allowed: whether this user may read and write a device. room: as `os.statvfs`.
    lines: who holds which GPIO line (BCM number), None where that cannot be told. environ: for
    PATH and gpiozero's choice of pins. module: whether a Python module is installed. now_s: Unix
    seconds.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str | None] = run_command
    allowed: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK)
    room: Callable[[Path], os.statvfs_result] = os.statvfs
    lines: Callable[[], Mapping[int, str] | None] = lines_in_use
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    now_s: Callable[[], float] = time.time

    def path(self, absolute: str | Path) -> Path:
        """Where that file of the machine lies."""
        return self.root / str(absolute).lstrip("/")

    def glob(self, pattern: str) -> list[Path]:
        """Files by a pattern that begins with a slash, in order."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def read(self, absolute: str | Path) -> str | None:
        """A small file's text without the space around it; None where it cannot be read."""
        try:
            with self.path(absolute).open("rb") as file:
                return file.read(1 << 20).decode("utf-8", "replace").strip(" \t\r\n\0")
        except OSError:
            return None

    def has_command(self, word: str) -> bool:
        """Whether a command can be started by that word."""
        if "/" in word:
            return os.access(self.path(word), os.X_OK)
        folders = self.environ.get("PATH", os.defpath).split(":")
        return any(
            os.access(self.path(f"{folder}/{word}"), os.X_OK) for folder in folders if folder
        )

    @property
    def is_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return (self.read("/proc/device-tree/model") or "").startswith("Raspberry")

    @property
    def installed(self) -> bool:
        """Whether install-kiosk.sh made it a kiosk."""
        return self.path(UNIT).exists()

    def missing(self, state: State) -> State:
        """How bad it is that something is missing: `state` on a kiosk, nothing on a plain PC."""
        return state if self.is_pi or self.installed else State.ABSENT

    def mount_of(self, folder: Path) -> tuple[str, str, str, frozenset[str]] | None:
        """Device, place, type, options of the file system that holds `folder`; None: not told."""
        found = None
        for line in (self.read("/proc/self/mounts") or "").splitlines():
            words = line.split()
            if len(words) < 4:
                continue
            place = words[1].replace("\\040", " ")
            # Of two mounts over each other the later one counts.
            if folder.is_relative_to(place) and (found is None or len(place) >= len(found[1])):
                found = (words[0], place, words[2], frozenset(words[3].split(",")))
        return found

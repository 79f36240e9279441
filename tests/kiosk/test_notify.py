"""What systemd hears: ready once, alive while the loop turns, silence when it hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.fakes import FakeTownship
from kiosk.notify import Notifier
from kiosk.pairing import pair


class Systemd:
    """The manager's end of NOTIFY_SOCKET, with memory."""

    def __init__(self, path: Path, watchdog_s: float) -> None:
        self.heard: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.environ = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(round(watchdog_s * 1e6)),
        }

    def listen(self, seconds: float) -> str | None:
        """The next word within so long, None where nothing came: then the unit is killed."""
        self.socket.settimeout(seconds)
        try:
            word = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        self.heard.append(word)
        return word


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "notify", 0.6)
    yield made
    made.socket.close()


def test_words_and_their_pace(systemd: Systemd) -> None:
    now = [100.0]
    told = Notifier(systemd.environ, lambda: now[0])
    assert told.watched
    told.ready()
    told.ready()
    for step in range(10):
        now[0] = 100.0 + step * 0.1
        told.beat()
    told.status("two\nlines")
    told.stopping()
    while systemd.listen(0.05):
        pass
    assert systemd.heard == ["READY=1", *["WATCHDOG=1"] * 5, "STATUS=two lines", "STOPPING=1"]


def test_the_abstract_namespace() -> None:
    name = f"\0quxiang-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name)
        end.settimeout(2)
        Notifier({"NOTIFY_SOCKET": "@" + name[1:]}).ready()
        assert end.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "never"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "900000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    told = Notifier(environ)
    assert not told.watched
    told.ready()
    told.beat()
    assert told.is_ready


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Path]:
    township = FakeTownship()
    pair(tmp_path / "kiosk", township.url, str(township.code))
    yield tmp_path / "kiosk"
    township.close()


def test_a_loop_that_hangs_falls_silent_and_is_restarted(
    village: Path, tmp_path: Path, systemd: Systemd, environ: dict[str, str], free_port: int
) -> None:
    """The real command under a fake manager; SIGSTOP on its loop's process is the hang."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(3):
        cv2.imwrite(str(frames / f"{index}.png"), np.full((120, 160, 3), 90, np.uint8))
    command = [sys.executable, "-m", "kiosk.cli", "run", "--data", str(village),
               "--camera", str(frames), "--loop", "--liveness", "off",
               "--screen", str(free_port)]  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    for _ in range(2):  # the second is the restart, on the same folder
        kiosk = subprocess.Popen(
            command, cwd=root, env={**environ, **systemd.environ}, stdout=subprocess.DEVNULL
        )
        try:
            assert systemd.listen(60) == "READY=1"
            for _ in range(4):
                assert systemd.listen(5) == "WATCHDOG=1"
            kiosk.send_signal(signal.SIGSTOP)
            while systemd.listen(0.05) is not None:
                pass
            assert systemd.listen(1.2) is None, "silence for twice the watchdog's time"
        finally:
            kiosk.kill()
            kiosk.wait()
    assert systemd.heard.count("READY=1") == 2

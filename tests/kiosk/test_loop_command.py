"""`quxiang-kiosk run` as a process: pins, signals, ports, and one clear line for what is wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from attendance.statuses import Status
from attendance.wire import GalleryContents, Person, WhereaboutsRow
from kiosk.clock import SystemClock
from kiosk.config import load_keys
from kiosk.fakes import FakeTownship, package
from kiosk.pairing import pair
from kiosk.pins import hash_pin

PIN_KEY = b"k" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A paired kiosk with one official on leave who uses a PIN; its township answers."""
    township = FakeTownship()
    township.now_ms = now = SystemClock().read().wall_ms
    data = tmp_path / "kiosk"
    config = pair(data, township.url, str(township.code))
    contents = GalleryContents(
        device=config.device,
        version=1,
        model="none",
        dimension=128,
        pin_key=PIN_KEY,
        people=[Person(official="XC-3", name="赵六", title="", pin=hash_pin(PIN_KEY, "333333"))],
    )
    township.galleries[config.device] = package(
        township.desk, load_keys(data).box_public, contents, made_ms=now
    )
    township.rows = [
        WhereaboutsRow(
            official="XC-3",
            name="赵六",
            title="",
            status=Status.ON_LEAVE,
            basis="absence",
            since_ms=now - 1000,
            until_ms=now + 86_400_000,
        )
    ]
    yield data
    township.down()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    made = tmp_path / "nobody"
    made.mkdir()
    for index in range(3):
        cv2.imwrite(str(made / f"{index}.png"), np.full((120, 160, 3), 90, np.uint8))
    return made


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path, environ: dict[str, str]) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kiosk.cli", "run", "--data", str(folder), *map(str, arguments)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def events_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def wait_for(probe: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_lamps_on_mock_pins_show_approved_leave_read_back(
    start: Start, scene: Path, tmp_path: Path
) -> None:
    log = tmp_path / "events.jsonl"
    process = start("--camera", scene, "--until-end", "--events", log, "--lamps", "rgb")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert [e for e in events_of(log) if e["event"] == "lamp"] == [
        {
            "event": "lamp",
            "official": "XC-3",
            "driver": "rgb",
            "colour": "red",
            "latched": "red",
            "blinking": False,
        }
    ]


def test_it_goes_on_after_the_footage_until_it_is_told_to_stop(
    start: Start, scene: Path, tmp_path: Path, free_port: int
) -> None:
    process = start("--camera", scene, "--screen", free_port)
    page = f"http://127.0.0.1:{free_port}/"

    def up() -> bool:
        try:
            return requests.get(page, timeout=1).ok
        except requests.RequestException:
            return False

    wait_for(up, process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert page in output
    assert time.monotonic() - began < 10


def test_a_second_kiosk_of_the_same_folder_is_one_line(
    start: Start, scene: Path, tmp_path: Path
) -> None:
    log = tmp_path / "events.jsonl"
    first = start("--camera", scene, "--loop", "--events", log)
    wait_for(lambda: events_of(log), first)
    second = start("--camera", scene, "--until-end")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert len(errors.splitlines()) == 1
    assert "running already" in errors
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--camera", "no-such-file.mp4", "--until-end"], 1, "no-such-file.mp4"),
        (["--camera", "97"], 1, "97"),
        (["--camera", "0", "--liveness", "off"], 2, "live camera"),
        (["--camera", "0", "--until-end"], 2, "--until-end"),
        (["--camera", "SCENE", "--until-end", "--events", "/no/such/folder/e"], 1, "events"),
        (["--camera", "SCENE", "--until-end", "--screen", "TAKEN"], 1, "taken"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    start: Start, scene: Path, arguments: list[str], status: int, words: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        filled = {"SCENE": str(scene), "TAKEN": str(taken.getsockname()[1])}
        process = start(*(filled.get(each, each) for each in arguments))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert len(errors.splitlines()) == 1, errors
    assert words in errors
    assert "Traceback" not in errors


def test_a_folder_that_was_never_paired_is_one_line_and_stays_empty(
    start: Start, scene: Path, tmp_path: Path
) -> None:
    process = start("--camera", scene, "--until-end", "--data", tmp_path / "new")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "not paired" in errors
    assert not (tmp_path / "new").exists()

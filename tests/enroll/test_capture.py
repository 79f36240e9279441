"""Guided capture, from a camera that plays real clips and composed ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from enroll.capture import capture
from enroll.errors import FaceRefused
from enroll.folder import Note
from hardware.camera import open_camera
from hardware.fakes import FakeCamera
from hardware.frames import Image


def clips(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "videos").glob("*.mp4"))


def test_a_person_before_the_camera_gives_pictures_that_differ(engine, shared_data: Path) -> None:
    for clip in clips(shared_data)[::2]:
        told: list[Note] = []
        with open_camera(str(clip)) as camera:
            samples = capture(camera, engine, told.append)
        assert 1 <= len(samples) <= 3
        assert all(sample.quality.ok for sample in samples)
        scores = [float(a.template @ b.template) for a in samples for b in samples if a is not b]
        assert all(0.363 <= score < 0.985 for score in scores), (clip.name, scores)
        assert told[0].en.startswith("Look straight")


def test_words_guide_and_are_not_repeated_all_the_time(engine) -> None:
    told: list[Note] = []
    nobody: list[Image] = [np.full((120, 160, 3), 90, np.uint8)] * 60
    with pytest.raises(FaceRefused, match="No face found"):
        capture(FakeCamera(nobody, fps=10), engine, told.append)
    words = [note.en for note in told]
    assert words[0].startswith("Look straight")
    assert 1 <= sum("No face" in word for word in words) <= 2


def test_a_still_held_up_gives_one_picture_not_three(
    engine, faces: Callable[[int], list[Path]]
) -> None:
    still = cv2.imread(str(faces(6)[1]))
    assert len(capture(FakeCamera([still] * 40, fps=10), engine, lambda note: None)) == 1


def test_a_second_person_does_not_slip_in(engine, faces: Callable[[int], list[Path]]) -> None:
    one, other = (cv2.imread(str(faces(n)[1])) for n in (6, 9))
    script = [one] * 8 + [other] * 30
    samples = capture(FakeCamera(script, fps=10), engine, lambda note: None)
    first = engine.embed(one, engine.detect(one, thorough=True)[0])
    second = engine.embed(other, engine.detect(other, thorough=True)[0])
    for sample in samples:
        same = [float(sample.template @ who) > 0.9 for who in (first, second)]
        assert sum(same) == 1
    assert len({float(s.template @ first) > 0.9 for s in samples}) == 1


def test_by_command_a_new_official_is_added_and_nothing_of_a_failed_one(
    tmp_path: Path, township, engine, shared_data: Path, command
) -> None:
    data = tmp_path / "data"
    command("pair", "--data", data, "--server", township.url, "--code", township.make_code())
    kiosk = township.add_kiosk("杏树村")
    clip = clips(shared_data)[0]
    common = ("--data", data, "--consented-on", "2026-11-01")
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    done = command("capture", "li-4", "--name", "李四", "--camera", empty, *common)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "li-4" not in command("list", "--data", data).stdout
    done = command(
        *("capture", "li-4", "--name", "李四", "--sites", "杏树村", "--camera", clip, *common),
        "--pin-stdin",
        text="482913\n",
        lang="zh",
    )
    assert done.returncode == 0, done.stderr
    assert "本人同意" in done.stdout
    assert "李四 已登记" in done.stdout
    township.pull(kiosk)
    person = kiosk.person("li-4")
    assert len(person.templates) % 512 == 0
    assert person.templates
    assert person.pin
    done = command("capture", "wang-5", "--camera", clip, *common)
    assert done.returncode == 1
    assert "--name" in done.stderr


def test_watch_serves_a_kiosk_that_appears_later_and_ends_cleanly(
    tmp_path: Path, township, command, environ: dict[str, str]
) -> None:
    data = tmp_path / "data"
    command("pair", "--data", data, "--server", township.url, "--code", township.make_code())
    watching = subprocess.Popen(
        [sys.executable, "-m", "enroll.cli", "sync", "--watch", "--interval=0.1", f"--data={data}"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        rounds = len(township.history)
        until(lambda: len(township.history) > rounds)
        kiosk = township.add_kiosk("杏树村")
        until(lambda: kiosk.device in township.galleries)
        # The next round begins only when this one has been told.
        rounds = len(township.history)
        until(lambda: len(township.history) > rounds + 1)
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=20)
    finally:
        watching.kill()
    assert watching.returncode == 0
    assert out.count("sealed version ") == 1
    assert err == ""
    assert os.path.lexists(data / "desk.db")


def until(true: Callable[[], bool], patience_s: float = 20) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)

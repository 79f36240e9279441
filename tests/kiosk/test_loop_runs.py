"""Whole runs of the kiosk on real clips: real recognition, real store, real HTTP."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance.statuses import Kind, Method
from hardware.errors import CameraStopped
from hardware.fakes import FakeCamera
from hardware.frames import Camera
from kiosk.run import main_run
from kiosk.store import Store
from tests.kiosk.village import HEAD_TURN, STRANGER, Village, without


def test_a_clip_is_recognised_recorded_lit_and_sent(village: Village, videos: Path) -> None:
    village.enrol()
    status, events = village.run(videos / HEAD_TURN)
    assert status == 0
    checkin, lamp = without(events, "sync")
    assert (
        checkin.items()
        >= {
            "event": "checkin",
            "official": "XC-1",
            "status": "in_village",
            "method": "face",
            "liveness": "passive",
            "seq": 1,
        }.items()
    )
    assert checkin["score"] > 0.8
    assert checkin["margin"] > 0.5
    assert checkin["frame"] > 0
    assert 0 < checkin["latency_ms"] < 60_000
    assert lamp == {
        "event": "lamp",
        "official": "XC-1",
        "driver": "screen",
        "colour": "yellow",
        "latched": "yellow",
        "blinking": False,
    }
    assert events[-1] == {
        "event": "sync", "sent": events[-1]["sent"], "stored": events[-1]["stored"],
        "duplicate": 0, "rejected": 0, "pending": 0,
    }  # fmt: skip
    assert sum(e["stored"] for e in events if e["event"] == "sync") == 1
    (record,) = village.township.stored(village.config.device)
    assert (record.official, record.kind, record.method) == ("XC-1", Kind.CHECKIN, Method.FACE)
    assert (record.liveness, record.gallery) == ("passive", 1)
    assert record.model == village.engine.model_id
    assert record.score == pytest.approx(checkin["score"], abs=1e-4)


def test_a_stranger_is_refused_once_and_nothing_of_them_is_kept(
    village: Village, videos: Path
) -> None:
    village.enrol()
    status, events = village.run(videos / STRANGER)
    assert status == 0
    assert [e["event"] for e in without(events, "sync")] == ["refused"]
    assert without(events, "sync")[0]["reason"] == "unknown"
    assert village.township.stored(village.config.device) == []


def test_a_run_ends_well_while_the_server_is_down_and_loses_nothing(
    village: Village, videos: Path, empty_scene: Path
) -> None:
    village.enrol()
    assert village.run(empty_scene)[0] == 0  # brings the gallery
    village.township.down()
    status, events = village.run(videos / HEAD_TURN, liveness="off")
    assert status == 0
    told = [e for e in events if e["event"] == "fault"]
    assert [e["part"] for e in told] == ["sync"]  # once, not at every try
    assert [e["liveness"] for e in events if e["event"] == "checkin"] == ["off"]
    with Store.open(village.folder / "kiosk.db", village.config.device) as store:
        assert store.pending() == 1
    village.township.up()
    _, events = village.run(empty_scene)
    assert sum(e["stored"] for e in events if e["event"] == "sync") == 1
    assert village.township.stored(village.config.device)[0].liveness == "off"


@pytest.mark.timeout(60)
def test_a_lost_camera_is_told_and_opened_again(village: Village) -> None:
    village.enrol()
    # Whether this machine has a sound card is another trouble.
    (village.folder / "kiosk.toml").write_text("[voice]\non = false\n", "utf-8")
    stop = threading.Event()
    blank = np.full((120, 160, 3), 90, np.uint8)
    opened: list[FakeCamera] = []

    def opener(source: str, **_: Any) -> Camera:
        lost = CameraStopped("没有画面了", "no more pictures")
        if not opened:
            opened.append(FakeCamera([blank, blank, lost], live=True))
            return opened[-1]
        if len(opened) == 1:
            opened.append(FakeCamera([], live=True))
            raise lost

        def endless() -> Iterator[Any]:
            yield blank
            stop.set()
            yield blank

        opened.append(FakeCamera(endless(), live=True))
        return opened[-1]

    status, events = village.run("0", opener=opener, stop=stop, until_end=False)
    assert status == 0
    assert without(events, "sync", "lamp") == [
        {"event": "fault", "part": "camera", "what": "no more pictures"}
    ]
    assert [len(camera.given) for camera in opened] == [2, 0, 2]
    assert [camera.released for camera in opened] == [1, 0, 1]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"liveness": "off"}, "live camera"),
        ({"until_end": True}, "that ends"),
    ],
)
def test_wrong_usage_is_two_and_one_line(
    village: Village, capsys: pytest.CaptureFixture[str], options: dict[str, Any], advice: str
) -> None:
    args = {"until_end": False, **options}
    namespace = argparse.Namespace(
        data=village.folder, camera="0", loop=False, liveness="doubtful", **{
            key: value for key, value in args.items() if key != "liveness"
        }
    )  # fmt: skip
    namespace.liveness = options.get("liveness", "doubtful")
    assert main_run(namespace) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert advice in line or "文件" in line

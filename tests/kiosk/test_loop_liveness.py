"""Who is taken for a living person in front of the kiosk, and who is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from attendance.wire import Person
from hardware.fakes import mock_pins
from hardware.wiring import Switch, Wiring
from kiosk.commands import status_of
from kiosk.events import EventLog
from kiosk.facelock import LOCK_S, FaceLock
from kiosk.fakes import FakeClock
from kiosk.settings import Settings, VoiceSettings
from kiosk.site import Site
from kiosk.surroundings import Surroundings
from kiosk.troubles import Troubles
from recognition.cues import Sign
from recognition.engine import Engine
from recognition.guidance import Guidance
from recognition.heads import Head
from recognition.liveness import load_liveness
from recognition.staging import facing_lamp, under_light
from tests.kiosk.village import HEAD_TURN, Bench, Village


@pytest.mark.parametrize("policy", ["doubtful", "both"])
def test_on_footage_the_person_is_taken_and_his_printed_photograph_is_not(
    village: Village, engine: Engine, shared_data: Path, tmp_path: Path, policy: str
) -> None:
    """Nobody asked this person to turn, so a challenge refuses him; the other settings are tried by
    the console in `tests/walks/test_clips.py`."""
    frames = {
        kind: sorted((shared_data / "spoof_nuaa_dev" / kind / "0003").glob("*.jpg"))
        for kind in ("genuine", "printed_photo")
    }
    pictures = [cv2.imread(str(path)) for path in frames["genuine"][::6]]
    rows = [engine.embed(p, engine.detect(p, thorough=True)[0]) for p in pictures]
    templates = np.stack(rows).astype("<f4").tobytes()
    village.people.append(Person(official="XC-9", name="孙八", title="", templates=templates))
    village.enrol()
    played = {}
    for kind, paths in frames.items():
        folder = tmp_path / kind
        folder.mkdir()
        for number, path in enumerate(paths):
            if kind != "genuine" or number % 6:
                (folder / f"{number:03}.jpg").symlink_to(path)
        status, events = village.run(folder, liveness=policy)
        assert status == 0
        told = [e for e in events if e["event"] in ("checkin", "refused")]
        played[kind] = [e.get("liveness") or e["reason"] for e in told]
    taken = policy == "doubtful"
    assert played["genuine"] == ["passive" if taken else "not_live"]
    assert set(played["printed_photo"]) == {"not_live"}
    with Site(village.folder) as site:
        counted = status_of(site)["refusals"]
    assert counted["not_live"] == sum(told.count("not_live") for told in played.values())


def test_without_the_liveness_weights_the_kiosk_runs_asks_and_says_so(
    village: Village,
    videos: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    village.enrol()
    (village.folder / "models").unlink()
    for policy in ("doubtful", "passive", "both"):
        status, events = village.run(videos / HEAD_TURN, liveness=policy)
        assert status == 0
        told = [e for e in events if e["event"] in ("checkin", "refused")]
        assert [e.get("reason") for e in told] == ["not_live"]
        assert "everybody is asked to turn the head" in capsys.readouterr().out


@pytest.mark.parametrize("solid", [True, False])
def test_the_fill_light_asks_whether_the_face_is_solid(
    village: Village, bench_of: Callable[..., Bench], walking: list[Any], solid: bool
) -> None:
    """The light goes dark and full for her; a sheet of paper that brightens evenly is not believed,
    though the networks take it for a person."""
    village.enrol()
    bench = bench_of(liveness=load_liveness("doubtful", village.folder, signs={Sign.LIGHT}))
    bench.sync()
    pins, rng = mock_pins(), np.random.default_rng(0)
    levels, said = [], set()
    around = Surroundings(
        Wiring("screen", light=Switch(12)),
        Settings(voice=VoiceSettings(on=False)),
        live=False,
        troubles=Troubles(bench.feed, EventLog(None)),
        feed=bench.feed,
        person_of=lambda official: None,
        now_ms=lambda: 0,
        mono=lambda: bench.now[0],
        pin_factory=pins,
        on_level=bench.recogniser.lit,
    )
    bench.kiosk.around = around
    face = village.engine.detect(walking[16])[0]
    lamp = facing_lamp(Head(walking[16], face)) if solid else 1.0
    for number, image in enumerate(walking[16:]):
        level = pins.pin(12).state
        bench.play([under_light(image, lamp, level, rng)], start=number / 10)
        levels.append(level)
        said.add((bench.feed.get("guidance") or {}).get("zh"))
    around.close()
    assert [a for a, b in zip(levels, [None, *levels], strict=False) if a != b] == [0, 1, 0]
    assert (Guidance.LOOK_AHEAD.words() in said) is not solid
    assert ("durable" in bench.story) is solid


def test_three_attacks_lock_the_face_path_and_never_the_pin(
    village: Village, bench_of: Callable[..., Bench], walking: list[Any]
) -> None:
    village.enrol()
    clock = FakeClock(wall_ms=village.township.now_ms)
    bench = bench_of(clock=clock)
    bench.sync()
    photograph, nobody = [walking[0]] * 34, [np.full_like(walking[0], 90)] * 8
    at = 0.0
    for _ in range(4):
        bench.play(photograph + nobody, start=at)
        at += 5.0
    reasons = [e["reason"] for e in bench.events if e["event"] == "refused"]
    assert reasons == ["not_live"] * 3 + ["locked"]
    assert bench.story == ["durable"]  # that the path was locked, for the supervisors
    assert bench.feed.get("instruction")["en"].startswith("Face check-in pauses")
    again = bench_of(clock=clock)  # a restart lifts nothing
    again.sync()
    assert FaceLock(again.store, clock, by_frames=True).left_s() > LOCK_S - 30
    assert bench.kiosk.pin("XC-3", "333333").ok
    bench.play(walking, start=at + LOCK_S)
    assert [e["official"] for e in bench.events if e["event"] == "checkin"] == ["XC-3", "XC-2"]
    assert bench.feed.get("locked") is False


LIVELY = "liveportrait_d12.mp4"
AHEAD, LEFT, RIGHT = range(24), range(158, 170), range(68, 90)
"""Frames of that clip: looking ahead, and into a turn to the person's own left and right."""


@pytest.mark.parametrize(
    ("policy", "weights", "by"),
    [
        ("challenge", True, "challenge"),
        ("both", True, "passive+challenge"),
        ("doubtful", False, "challenge"),
    ],
)
def test_who_does_what_the_screen_says_is_taken(
    village: Village,
    bench_of: Callable[..., Bench],
    videos: Path,
    policy: str,
    weights: bool,
    by: str,
) -> None:
    """Real frames of a person, in the order that the screen asks for; coming nearer is enlarged."""
    capture = cv2.VideoCapture(str(videos / LIVELY))
    frames = [capture.read()[1] for _ in range(max(LEFT) + 1)]
    capture.release()
    engine = village.engine
    rows = [engine.embed(frames[i], engine.detect(frames[i])[0]) for i in (0, 12)]
    templates = np.stack(rows).astype("<f4").tobytes()
    village.people.append(Person(official="XC-9", name="孙八", title="", templates=templates))
    village.enrol()
    if not weights:
        (village.folder / "models").unlink()
    folder = village.folder
    bench = bench_of(liveness=load_liveness(policy, folder, rng=random.Random(1)))
    bench.sync()
    queue: list[int] = []
    said: list[str] = []
    growth = 1.0
    for index in range(600):
        number = queue.pop(0) if queue else AHEAD[index % len(AHEAD)]
        height, width = frames[number].shape[:2]
        nearer = cv2.getRotationMatrix2D((width / 2, height / 2), 0, growth)
        bench.play([cv2.warpAffine(frames[number], nearer, (width, height))], index / 25, 25.0)
        asked = (bench.feed.get("guidance") or {}).get("zh")
        said += [asked] if asked and asked not in said else []
        growth += 0.015 if asked == Guidance.COME_NEARER.words() else -0.015 if growth > 1 else 0
        if not queue and asked in (Guidance.TURN_LEFT.words(), Guidance.TURN_RIGHT.words()):
            way = LEFT if asked == Guidance.TURN_LEFT.words() else RIGHT
            queue = [way[0]] * 6 + [*way, *reversed(way)]
        if "durable" in bench.story:
            break
    told = [e for e in bench.events if e["event"] in ("checkin", "refused")]
    assert [(e["event"], e.get("liveness")) for e in told] == [("checkin", by)]
    assert Guidance.LOOK_AHEAD.words() in said

"""The signs that can be switched on: each calls for the challenge, none decides."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recognition.challenge import turn_of
from recognition.cues import (
    BANDS,
    DEFAULT_SIGNS,
    PEAK,
    RELIEF,
    Display,
    Doorway,
    Lighting,
    Sign,
    Suspicion,
    signs_of,
)
from recognition.decision import Match, NotLive
from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.heads import Head
from recognition.liveness import Liveness
from recognition.pictures import read_picture
from recognition.recogniser import Recogniser
from recognition.staging import Panel, facing_lamp, filmed, under_light
from recognition.types import Frame


def texture(seed: int, size: tuple[int, int] = (640, 480), cells: int = 12) -> Frame:
    """Smooth blotches."""
    coarse = np.random.default_rng(seed).integers(60, 190, (cells, cells, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def entered(face_at: Any, before: Frame, after: Frame, *, grows: bool) -> Suspicion | None:
    """What the entrance tells of a face that comes while `before` becomes `after`."""
    doorway = Doorway()
    for step in range(10):
        doorway.see(before, [face_at(eyes=22)] if grows and step > 6 else [], step * 0.1)
    entrance = doorway.entrance(face_at(), 1.0)
    for step in range(5):
        entrance.see(after, face_at(), 1.0 + step * 0.1)
    return entrance.suspicion()


def test_who_walks_up_before_the_room_that_was_there_is_no_doubt(face_at) -> None:
    room = texture(1)
    brighter = np.asarray(np.clip(room * 0.8 + 10, 0, 255), np.uint8)
    assert entered(face_at, room, brighter, grows=True) is None


def test_a_face_that_is_there_at_once_and_a_room_that_is_gone_are(face_at) -> None:
    room = texture(1)
    assert entered(face_at, room, room, grows=False) is Suspicion.APPEARED
    assert entered(face_at, room, texture(2), grows=True) is Suspicion.COVERED


def test_a_clip_that_begins_with_a_face_says_nothing_of_its_coming(face_at) -> None:
    doorway = Doorway()
    assert doorway.entrance(face_at(), 0.0).suspicion() is None
    doorway.see(texture(1), [], 1.0)
    assert doorway.entrance(face_at(), 1.1).suspicion() is None, "too short a look"


def shown(face_at: Any, panel: Panel | None, seconds: float = 1.0) -> Display:
    display, rng, picture = Display(), np.random.default_rng(0), texture(3)
    for step in range(int(seconds * 10)):
        frame = picture if panel is None else filmed(picture, step * 0.1, panel, rng)
        display.see(frame, face_at())
    return display


def test_a_panel_beats_with_the_sensor_or_the_shutter(face_at) -> None:
    assert shown(face_at, None).suspicion() is None
    coarse = shown(face_at, Panel(duty=1.0))
    assert np.median(coarse.peaks) > PEAK
    assert coarse.suspicion() is Suspicion.MOIRE
    fine = shown(face_at, Panel(pitch=0.6))
    assert np.median(fine.bands) > BANDS
    assert fine.suspicion() is Suspicion.BANDED


@pytest.mark.parametrize(("what", "solid"), [("head", True), ("paper", False), ("glass", False)])
def test_a_head_answers_to_the_light_unevenly(face_at, what: str, solid: bool) -> None:
    picture, face, rng = texture(4), face_at(), np.random.default_rng(0)
    lamp = facing_lamp(Head(picture, face)) if what == "head" else 1.0 if what == "paper" else 0.04
    lighting = Lighting()
    for number, level in enumerate((0.0, 1.0)):
        lighting.command(level, number * 0.4)
        for step in (0.1, 0.2, 0.3):
            frame = under_light(picture, lamp, level, rng)
            lighting.see(frame, face, number * 0.4 + step)
    assert lighting.relief is not None
    assert (lighting.relief > RELIEF) is solid
    assert lighting.suspicion() is (None if solid else Suspicion.UNLIT)


def test_no_lamp_no_verdict(face_at) -> None:
    lighting = Lighting()
    lighting.see(texture(4), face_at(), 1.0)
    assert (lighting.relief, lighting.suspicion()) == (None, None)


def test_the_setting_names_the_signs() -> None:
    assert signs_of(None) == DEFAULT_SIGNS == frozenset()
    assert signs_of("none") == signs_of("") == frozenset()
    assert signs_of("display, light") == {Sign.DISPLAY, Sign.LIGHT}
    with pytest.raises(ValueError, match="smell"):
        signs_of("smell")


@pytest.mark.parametrize(
    ("passive", "signs", "outcome"),
    [
        (0.9, {Sign.ENTRY}, (NotLive, "passive+challenge")),
        (0.1, {Sign.ENTRY}, (NotLive, "challenge")),
        (0.9, set(), (Match, "passive")),
    ],
)
def test_a_doubted_entrance_calls_for_the_challenge_and_decides_nothing(
    scripted, person, face_at, passive: float, signs: set[Sign], outcome: tuple[Any, str]
) -> None:
    empty = 20
    scripted.add(times=empty)
    scripted.add((face_at(), person(0)), times=80)
    frames = scripted.frames()
    for number in range(empty):
        room = texture(9)
        room[0, 0] = frames[number][0, 0]
        frames[number] = room
    gallery = Gallery(scripted.model_id, scripted.dimension)
    gallery.replace([("a", person(0).reshape(1, -1))])
    checks = Liveness("doubtful", lambda *_: passive, rng=random.Random(0), signs=signs)
    recogniser = Recogniser(scripted, gallery, checks)
    told = []
    for index, frame in enumerate(frames):
        seen = recogniser.observe(frame, index / 25, index)
        told += [seen.decision] if seen.fresh else []
    told += recogniser.finish()
    assert [(type(d), d.liveness.name) for d in told] == [outcome]


def test_the_light_is_asked_for_once_and_told(scripted, person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=40)
    gallery = Gallery(scripted.model_id, scripted.dimension)
    gallery.replace([("a", person(0).reshape(1, -1))])
    checks = Liveness("doubtful", lambda *_: 0.9, signs={Sign.LIGHT})
    recogniser = Recogniser(scripted, gallery, checks)
    levels: list[float | None] = []
    for index, frame in enumerate(scripted.frames()):
        recogniser.observe(frame, index / 25, index)
        wanted = recogniser.wanted_light
        if wanted is not None and (not levels or levels[-1] != wanted):
            recogniser.lit(wanted, index / 25)
        levels.append(wanted)
    assert [a for a, b in zip(levels, [*levels[1:], -1], strict=True) if a != b] == [0.0, 1.0, None]


def test_a_simulated_head_turns_for_the_detector(shared_data: Path, sface: Engine) -> None:
    path = sorted((shared_data / "lfw_dev" / "Michelle_Kwan").glob("*.jpg"))[0]
    picture = cv2.resize(read_picture(path), (500, 500), interpolation=cv2.INTER_CUBIC)
    face = sface.detect(picture)[0]
    head = Head(np.asarray(picture, np.uint8), face)
    left, ahead, right = (
        turn_of(sface.detect(head.turned(float(np.deg2rad(a))))[0]) for a in (36, 0, -36)
    )
    assert left - ahead > 0.09
    assert ahead - right > 0.09

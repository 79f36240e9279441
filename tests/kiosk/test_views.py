"""A live camera's troubles through the loop that reads it: seen, told once, gone by themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hardware.errors import CameraStopped
from hardware.fakes import FakeCamera
from hardware.frames import Frame, Image
from hardware.lookout import PictureWatch, Thermometer
from kiosk.events import EventLog
from kiosk.screen.feed import ScreenFeed
from kiosk.troubles import Troubles
from kiosk.views import Lookout
from kiosk.watch import Watch

RNG = np.random.default_rng(3)


def noisy(mean: float) -> Image:
    return RNG.normal(mean, 2.0, (64, 64, 3)).clip(0, 255).astype(np.uint8)


def room() -> Image:
    """A picture with something in it."""
    scene = noisy(90)
    scene[:32] += np.uint8(80)
    return scene


class Loop:
    """Stands for the kiosk's loop: which frames it was given."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.idled = 0

    def process(self, frame: Frame) -> None:
        self.frames.append(frame.index)

    def idle(self) -> None:
        self.idled += 1

    def ended(self, index: int) -> None:
        """The script is over."""


class Bench:
    """Plays pictures to a real `Watch`, half a second apart, and writes down what was shown."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.thermal = folder / "temp"
        self.thermal.write_text("50000")
        self.said: list[str] = []
        self.states: list[str] = []
        self.shown: list[list[str]] = []
        self.advice: list[str] = []
        self.faults: list[dict[str, Any]] = []
        self.feed, self.loop = ScreenFeed(), Loop()
        events = EventLog(None)
        events.listen(lambda event: self.said.append(event["what"]))
        self.troubles = Troubles(self.feed, events)
        self.lookout = Lookout(
            PictureWatch(), Thermometer(self.thermal, folder / "none"), self.feed, self.troubles
        )
        self.events = events

    def play(self, *scripts: list[Any]) -> None:
        cameras: Iterator[FakeCamera] = iter(
            [
                FakeCamera(self._script(script), live=True, now_s=lambda: self.now)
                for script in scripts
            ]
        )
        Watch(
            lambda: next(cameras),
            self.loop,  # type: ignore[arg-type]
            self.events,
            self.feed,
            self.troubles,
            threading.Event(),
            live=True,
            on_state=self.states.append,
            lookout=self.lookout,
        ).run()

    def _script(self, pictures: list[Any]) -> Iterator[Any]:
        for picture in pictures:
            yield picture
            self.now += 0.5
            faults = self.feed.get("faults") or {}
            if faults not in self.faults:
                self.faults.append(faults)
            now = [each["what_en"] for each in self.feed.get("troubles")]
            if not self.shown or self.shown[-1] != now:
                self.shown.append(now)
                self.advice += [each["advice_zh"] for each in self.feed.get("troubles")]


def test_each_trouble_of_the_picture_is_shown_and_recovers(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    still = room()
    well = [room() for _ in range(4)]
    bench.play(well + [noisy(4) for _ in range(10)] + well + [still] * 24 + well)
    assert bench.shown == [
        [], ["The camera is covered, or it is dark"], [], ["The camera's picture is frozen"], [],
    ]  # fmt: skip
    assert bench.states == ["ok", "covered", "ok", "frozen", "ok", "ended"]
    assert [what.split(":")[0] for what in bench.said] == [
        "The camera is covered, or it is dark", "The camera's picture is frozen",
    ]  # fmt: skip
    assert all("请" in advice for advice in bench.advice)
    assert bench.feed.get("faults") == {}


def test_in_doubt_advice_is_shown_and_nobody_is_sent_away_from_the_camera(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cover = [RNG.normal(150, 1.0, (64, 64, 3)).astype(np.uint8) for _ in range(30)]
    bench.play([room(), *cover, *[room() for _ in range(4)]])
    assert bench.states == ["ok", "blank", "ok", "ended"]
    assert bench.shown == [[], ["The camera may be covered: it sees nothing at all"], []]
    assert bench.feed.get("faults") == {}
    assert bench.faults == [{}]


def test_a_covered_camera_that_is_unplugged_and_comes_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    gone = CameraStopped("没有画面了", "no more pictures")
    bench.play([noisy(4) for _ in range(8)] + [gone], [noisy(90) for _ in range(3)])
    assert bench.states == ["ok", "covered", "fault", "ok", "ended"]
    assert bench.feed.get("troubles") == []


def test_a_machine_that_is_too_hot_looks_at_fewer_pictures_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def half_minute(celsius: int) -> int:
        bench.thermal.write_text(str(celsius * 1000))
        before = len(bench.loop.frames)
        for _ in range(300):  # ten a second
            bench.now += 0.1
            frame = Frame(0, bench.now, noisy(90), bench.now)
            if bench.lookout.due(frame.arrived):
                bench.loop.process(frame)
        return len(bench.loop.frames) - before

    assert half_minute(50) == 300
    hot = half_minute(85)
    assert 100 <= hot <= 220  # up to ten seconds pass before it is noticed
    (shown,) = bench.feed.get("troubles")
    assert shown["part"] == "heat"
    assert "85 °C" in shown["advice_en"]
    assert "85 °C" in shown["advice_zh"]
    assert half_minute(84) < 110
    assert len(bench.said) == 1  # a number that wanders is no news
    half_minute(60)
    assert bench.feed.get("troubles") == []
    assert half_minute(60) == 300


def test_a_weak_power_supply_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "none").write_text("1")
    bench.lookout.turn(0.0)
    assert [each["part"] for each in bench.feed.get("troubles")] == ["power"]
    (tmp_path / "none").write_text("10000")  # it was, and is no more
    bench.lookout.turn(20.0)
    assert bench.feed.get("troubles") == []


def test_heat_and_power_are_looked_at_while_the_camera_is_gone(tmp_path: Path) -> None:
    """A trouble of the machine neither waits for a picture nor stays because there is none."""
    bench = Bench(tmp_path)
    firmware = tmp_path / "none"
    stop = threading.Event()
    history: list[list[str]] = []

    class Patient(Loop):
        def idle(self) -> None:
            now = [each["part"] for each in bench.feed.get("troubles")]
            if not history or history[-1] != now:
                history.append(now)
                # What the last look found is changed for the next one.
                steps = {0: "5", 1: "0"}
                if len(history) - 1 in steps:
                    firmware.write_text(steps[len(history) - 1])
            bench.now += 6.0
            if len(history) == 3:
                stop.set()

    watch = Watch(
        lambda: FakeCamera([]),
        Patient(),  # type: ignore[arg-type]
        bench.events, bench.feed, bench.troubles, stop,
        live=True, on_state=bench.states.append, lookout=bench.lookout, mono=lambda: bench.now,
    )  # fmt: skip
    watch.idle(20.0)
    assert history == [[], ["heat", "power"], []]

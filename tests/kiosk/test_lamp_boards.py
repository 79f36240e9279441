"""The whole kiosk on each lamp driver: a touch on the page turns exactly that lamp."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpiozero
import numpy as np
import pytest
import requests
from gpiozero.pins.mock import MockFactory

from attendance.statuses import Kind, Status
from attendance.wire import GalleryContents, Person, WhereaboutsRow
from hardware.drivers import open_lamps
from hardware.errors import LampError
from hardware.fake_chips import PixelChips, ShiftChips, perceive
from hardware.fakes import FakeCamera, history, mock_pins
from hardware.wiring import Chain, Wiring
from hardware.wiring_file import load_wiring
from kiosk.board import BoardRow
from kiosk.cli import main
from kiosk.clock import SystemClock
from kiosk.config import load_keys
from kiosk.events import EventLog
from kiosk.fakes import FakeTownship, package
from kiosk.lampkeeper import RETRY_S, LampKeeper
from kiosk.pairing import pair
from kiosk.pins import hash_pin
from kiosk.run import main_run

PIN_KEY = b"k" * 32
PEOPLE = [f"XC-{n}" for n in range(36)]
ON_LEAVE = "XC-7"
HASH = hash_pin(PIN_KEY, "111111")
NOBODY = np.full((120, 160, 3), 90, np.uint8)


class Kiosk:
    """A paired kiosk for 36 officials with one PIN."""

    def __init__(self, folder: Path, port: int, pins: MockFactory) -> None:
        self.folder, self.port, self.pins = folder, port, pins
        self.township = FakeTownship()
        now = self.township.now_ms = SystemClock().read().wall_ms
        config = pair(folder, self.township.url, str(self.township.code))
        contents = GalleryContents(
            device=config.device,
            version=1,
            model="none",
            dimension=128,
            pin_key=PIN_KEY,
            people=[
                Person(official=official, name=official, title="", pin=HASH) for official in PEOPLE
            ],
        )
        self.township.galleries[config.device] = package(
            self.township.desk, load_keys(folder).box_public, contents, made_ms=now
        )
        self.township.rows = [
            WhereaboutsRow(
                official=ON_LEAVE, name=ON_LEAVE, title="", status=Status.ON_LEAVE,
                basis="absence", since_ms=now - 1000, until_ms=now + 86_400_000,
            )
        ]  # fmt: skip

    def wire(self, text: str) -> None:
        (self.folder / "wiring.toml").write_text(text, "utf-8")

    def listed(self) -> bool:
        """Whether the list of officials has arrived: who is on leave has been given a colour."""
        return f'"{ON_LEAVE}"' in (self.folder / "events.jsonl").read_text("utf-8")

    def pin(self, official: str) -> dict[str, Any]:
        """A PIN typed on the page."""
        page = f"http://127.0.0.1:{self.port}/"
        text = requests.get(page, timeout=5).text
        found = re.search(r'name="screen-token" content="([^"]+)"', text)
        assert found
        answer = requests.post(
            page + "pin",
            json={"official": official, "pin": "111111"},
            headers={"X-Screen-Token": found[1]},
            timeout=10,
        )
        said: dict[str, Any] = answer.json()
        return said

    def run(self, script: Iterator[Any], **options: Any) -> list[dict[str, Any]]:
        """`quxiang-kiosk run` before a camera that plays the script; its events."""
        events = self.folder / "events.jsonl"
        stop = threading.Event()

        def played() -> Iterator[Any]:
            yield from script
            stop.set()

        args = argparse.Namespace(
            data=self.folder, camera="0", lamps=None, until_end=False, events=str(events),
            screen=self.port, liveness="passive", realtime=False, loop=False, notice=None,
            engine="sface",
        )  # fmt: skip
        status = main_run(
            argparse.Namespace(**{**vars(args), **options}),
            opener=lambda *_args, **_more: FakeCamera(played(), live=True),
            stop=stop,
        )
        assert status == 0
        return [json.loads(line) for line in events.read_text("utf-8").splitlines()]


@pytest.fixture
def kiosk(tmp_path: Path, free_port: int) -> Iterator[Kiosk]:
    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = mock_pins()
    made = Kiosk(tmp_path / "kiosk", free_port, gpiozero.Device.pin_factory)
    yield made
    made.township.down()
    gpiozero.Device.pin_factory = before


def until(seen: Callable[[], bool], frames: int = 3000) -> Iterator[Any]:
    """Frames of an empty scene until something is seen."""
    for _ in range(frames):
        if seen():
            return
        threading.Event().wait(0.01)
        yield NOBODY
    raise AssertionError("it was never seen")


WIRING = {
    "shift": 'driver = "shift"\nactive_high = false\n[chain]\nlength = 14\nreadback = 9\n',
    "apa102": 'driver = "apa102"\n[chain]\nlength = 36\nreadback = 9\n',
}


@pytest.mark.parametrize("driver", ["shift", "apa102"])
def test_a_check_in_turns_exactly_that_lamp(kiosk: Kiosk, driver: str) -> None:
    kiosk.wire(WIRING[driver] + "[lamps.XC-7]\nplace = 36\n[lamps.XC-12]\nplace = 2\n")
    chain = load_wiring(kiosk.folder / "wiring.toml").chain
    chips: Any = (
        ShiftChips(kiosk.pins, chain, 14, anode=True)
        if driver == "shift"
        else PixelChips(kiosk.pins, chain, 36)
    )

    def looks() -> list[dict[int, str]]:
        """Every picture that was seen: places from 1 that were not dark."""
        pictures = []
        for seen in chips.seen:
            if driver == "shift":
                each = [ShiftChips.look(seen, (3 * n, 3 * n + 1, 3 * n + 2)) for n in range(36)]
            else:
                each = list(seen)
            pictures.append({n: look for n, look in enumerate(each, 1) if look != "off"})
        return pictures

    def day() -> Iterator[Any]:
        yield NOBODY
        yield from until(lambda: looks()[-1] == {36: "red"})
        assert kiosk.pin("XC-12")["ok"]
        assert looks()[-1] == {2: "yellow", 36: "red"}  # at once, not when the loop comes round
        assert kiosk.pin("XC-3")["ok"]  # has no lamp
        yield NOBODY

    events = kiosk.run(day())
    test = [{2: colour, 36: colour} for colour in ("green", "blue", "yellow", "red")]
    assert looks() == [{}, *test, {}, {36: "red"}, {2: "yellow", 36: "red"}, {}]
    told = [(e["official"], e["driver"], e["latched"]) for e in events if e["event"] == "lamp"]
    assert told == [
        ("XC-7", driver, "red"), ("XC-12", driver, "yellow"), ("XC-3", "screen", "yellow"),
    ]  # fmt: skip
    assert not [e for e in events if e["event"] == "fault" and e["part"] == "lamps"]


def test_lamps_whose_pins_are_taken_never_stop_a_check_in(kiosk: Kiosk) -> None:
    """Another program holds the latch; when it lets go, the board shows the truth by itself."""
    kiosk.wire(WIRING["shift"].replace("readback = 9\n", "") + "[lamps.XC-12]\nplace = 13\n")
    chips = ShiftChips(kiosk.pins, load_wiring(kiosk.folder / "wiring.toml").chain, 14, anode=True)
    other = gpiozero.OutputDevice(25)

    def day() -> Iterator[Any]:
        yield from until(kiosk.listed)
        assert kiosk.pin("XC-12")["ok"]
        assert chips.seen == [frozenset()]
        other.close()
        yield from until(lambda: chips.lights([(36, 37, 38)]) == ["yellow"])

    events = kiosk.run(day())
    faults = [e["what"] for e in events if e["event"] == "fault" and e["part"] == "lamps"]
    assert len(faults) == 1
    assert "25" in faults[0]
    lamps = [e for e in events if e["event"] == "lamp" and e["official"] == "XC-12"]
    assert [(e["colour"], e["latched"]) for e in lamps] == [
        ("off", "unknown"), ("yellow", "unknown"), ("yellow", "yellow"),
    ]  # fmt: skip


def test_a_bad_wiring_file_leaves_check_in_alone_and_is_taken_when_it_is_right(
    kiosk: Kiosk,
) -> None:
    kiosk.wire("driver = 'neon'")

    def day() -> Iterator[Any]:
        yield from until(kiosk.listed)
        assert kiosk.pin("XC-12")["ok"]
        kiosk.wire("[lamps.XC-12]\nred = 17\ngreen = 27\nblue = 22\n")
        yield from until(lambda: [kiosk.pins.pin(n).state for n in (17, 27, 22)] == [1, 1, 0])

    events = kiosk.run(day())
    faults = [e["what"] for e in events if e["event"] == "fault" and e["part"] == "lamps"]
    assert len(faults) == 1
    assert "driver must be one of" in faults[0]
    kiosk.wire("driver = 'neon'")
    with pytest.raises(ValueError, match="driver must be one of"):
        kiosk.run(iter([NOBODY]), lamps="rgb")  # somebody typed it, and can put it right


def test_a_button_after_a_check_in_takes_the_screens_path(kiosk: Kiosk) -> None:
    """Buttons, door, tones and voice of a whole kiosk: each follows what was recorded."""
    kiosk.wire(
        "[lamps.XC-12]\nred = 17\ngreen = 27\nblue = 22\n[buttons]\nred = 5\ngreen = 6\n"
        "[door]\npin = 20\nseconds = 0.2\n[buzzer]\npin = 18\n[motion]\npin = 16\n"
    )
    said = kiosk.folder / "said"
    program = f"import sys; open({str(said)!r}, 'ab').write(sys.stdin.buffer.read())"
    command = json.dumps(f'{sys.executable} -c "{program}"')
    (kiosk.folder / "kiosk.toml").write_text(f"[voice]\ncommand = {command}\n", "utf-8")
    lamp, door, button = [17, 27, 22], kiosk.pins.pin(20), kiosk.pins.pin(5)

    def lit() -> list[float]:
        return [kiosk.pins.pin(number).state for number in lamp]

    def spoken(words: str) -> bool:
        return said.exists() and words in said.read_text("utf-8")

    def day() -> Iterator[Any]:
        yield from until(kiosk.listed)
        button.drive_low()  # nobody was recognised: nothing is chosen
        button.drive_high()
        yield NOBODY
        kiosk.pins.pin(16).drive_high()
        assert kiosk.pin("XC-12")["ok"]
        assert lit() == [1, 1, 0]
        yield from until(lambda: spoken("XC-12您好，已记录，下乡"))
        yield from until(lambda: not door.state)
        button.drive_low()
        yield from until(lambda: lit() == [1, 0, 0])
        button.drive_high()
        yield from until(lambda: spoken("请休假"))

    events = kiosk.run(day())
    told = [(e["official"], e["status"], e["method"]) for e in events if e["event"] == "checkin"]
    assert told == [("XC-12", "in_village", "pin"), ("XC-12", "on_leave", "pin")]
    records = [r for r in kiosk.township.stored("k0000000") if r.official == "XC-12"]
    assert [r.kind for r in records][:1] == [Kind.CHECKIN]
    if len(records) > 1:
        assert (records[1].kind, records[1].supersedes) == (Kind.AMEND, records[0].record_id)
    assert history(kiosk.pins, 20)[:3] == [0, 1, 0]
    assert any(state.state for state in kiosk.pins.pin(18).states)  # it was heard
    assert [e for e in events if e["event"] == "fault"] == []


class Stood:
    """Somebody before the board: what is printed and what is seen, in the order in which it came.

    Colours are by place from 1; between two that it shows `rgb` sets one pin after the other, which
    nobody sees.
    """

    def __init__(self, kiosk: Kiosk, driver: str) -> None:
        self.history: list[str | dict[int, str]] = []
        self._lights: dict[int, str] = {}
        if driver == "rgb":
            self._lamps = [(5, 6, 13), (19, 26, 12), (17, 27, 22)]
            for number in {pin for lamp in self._lamps for pin in lamp}:
                kiosk.pins.pin(number).watchers.append(lambda _pin: self._look())
        else:
            chain = load_wiring(kiosk.folder / "wiring.toml").chain
            if driver == "shift":
                self._chips: Any = ShiftChips(kiosk.pins, chain, 2, anode=True)
            else:
                self._chips = PixelChips(kiosk.pins, chain, 3)
            for number in (chain.latch, chain.enable, chain.select):
                kiosk.pins.pin(number).watchers.append(lambda _pin: self._look())
        self._driver, self._pins = driver, kiosk.pins

    def _look(self) -> None:
        if self._driver == "rgb":
            red_green_blue = [[255 * self._pins.pin(n).state for n in each] for each in self._lamps]
            seen = [perceive((round(r), round(g), round(b))) for r, g, b in red_green_blue]
        elif self._driver == "shift":
            seen = self._chips.lights([(3 * n, 3 * n + 1, 3 * n + 2) for n in range(3)])
        else:
            seen = list(self._chips.look())
        lit = {n: look for n, look in enumerate(seen, 1) if look not in ("off", "odd")}
        if lit and lit != self._lights:
            self.history.append(lit)
        self._lights = lit

    def write(self, text: str) -> int:
        """A line or a part of one; none comes while a lamp is lit."""
        assert self._lights == {}
        if text.strip():
            self.history.append(text.split()[0])
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


WALKED = {
    "rgb": "[lamps.XC-1]\nred = 17\ngreen = 27\nblue = 22\n"
    "[lamps.XC-0]\nred = 19\ngreen = 26\nblue = 12\n"
    "[lamps.GONE]\nred = 5\ngreen = 6\nblue = 13\n",
    "shift": 'driver = "shift"\nactive_high = false\n[chain]\nlength = 2\nreadback = 9\n',
    "apa102": 'driver = "apa102"\n[chain]\nlength = 3\nreadback = 9\n',
}


@pytest.mark.parametrize("driver", ["rgb", "shift", "apa102"])
def test_a_walk_names_each_official_before_their_lamp_alone_shows_each_colour(
    kiosk: Kiosk, driver: str
) -> None:
    """In the order of the list, wherever on the board; then lamps that the list does not know."""
    places = "[lamps.XC-1]\nplace = 3\n[lamps.XC-0]\nplace = 2\n[lamps.GONE]\nplace = 1\n"
    kiosk.wire(WALKED[driver] + ("" if driver == "rgb" else places))
    assert main(["sync", "--data", str(kiosk.folder)]) == 0
    stood = Stood(kiosk, driver)
    with contextlib.redirect_stdout(stood):  # type: ignore[type-var]
        walk = ["lamps", "test", "--data", str(kiosk.folder), "--pause", "0"]
        assert main(walk) == 0
    colours = ("green", "blue", "yellow", "red")
    expected: list[Any] = []
    for official, place in (("XC-0", 2), ("XC-1", 3), *((each, 0) for each in PEOPLE[2:]),
                            ("GONE", 1)):  # fmt: skip
        shown = [{place: colour} for colour in colours] if place else []
        expected += [official, *shown, "green=green", "ok"]
    assert stood.history == expected


# -- the keeper alone: faults between two changes --------------------------------------------


class Bench:
    """A keeper on a chain with simulated chips, a clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[dict[str, Any]] = []
        self.pins = mock_pins()
        self.chips = ShiftChips(self.pins, Chain(), 2)
        self.board = open_lamps(
            "shift", ["A", "B"], Wiring("shift", chain=Chain(length=2)), self.pins
        )
        events = EventLog(None)
        events.listen(lambda event: self.said.append(dict(event)))
        self.keeper = LampKeeper(self.board, events, now_s=lambda: self.now)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.keeper.close()


def row(official: str, colour: str, *, blinking: bool = False) -> BoardRow:
    return BoardRow(
        official=official, name=official, title="", status=Status.ON_DUTY, colour=colour,
        blinking=blinking, since_ms=None, until_ms=None, word_key="on_duty", pending=False,
    )  # fmt: skip


def test_a_chain_that_dies_while_blinking_is_unknown_at_once(bench: Bench) -> None:
    rows = [row("A", "green", blinking=True), row("B", "off")]
    bench.keeper.apply(rows)
    bench.pins.pin(10).mode = "broken"
    for _ in range(3):
        bench.now += 0.5
        bench.keeper.tick()
    lamps = [(e["official"], e["latched"]) for e in bench.said if e["event"] == "lamp"]
    assert lamps == [("A", "green"), ("B", "unknown"), ("A", "unknown")]
    assert [e["event"] for e in bench.said].count("fault") == 1
    assert bench.keeper.failed
    assert isinstance(bench.keeper.failure, LampError)
    bench.pins.pin(10).mode = "works"
    bench.now += RETRY_S
    bench.keeper.apply(rows)
    assert not bench.keeper.failed
    assert bench.keeper.failure is None
    assert {(e["official"], e["latched"]) for e in bench.said[4:]} == {("A", "green"), ("B", "off")}


def test_the_self_test_names_what_does_not_follow(bench: Bench) -> None:
    bench.keeper.self_test(lambda: None)
    assert bench.said == []
    assert [len(lit) for lit in bench.chips.seen] == [0, 2, 2, 4, 2, 0]
    bench.pins.pin(24)._change_state(True)
    bench.pins.pin(24).mode = "stuck"
    bench.keeper.self_test(lambda: None)
    assert [e["what"] for e in bench.said] == ["self-test: A, B: wrong colours read back"]

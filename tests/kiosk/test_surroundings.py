"""What surrounds the screen follows events: greetings, tunes, quiet hours, buttons, the light."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import gpiozero
import numpy as np
import pytest

from hardware.fakes import mock_pins
from hardware.panel import TONES
from hardware.voice import Voice
from hardware.wiring import Switch, Wiring
from hardware.wiring_file import check_wiring
from kiosk.errors import ConfigInvalid
from kiosk.events import EventLog
from kiosk.people import Person
from kiosk.screen.app import Answer
from kiosk.screen.feed import ScreenFeed
from kiosk.settings import Settings, VoiceSettings, is_quiet, load_settings
from kiosk.sticks import STICKS
from kiosk.surroundings import REFUSED_S, Surroundings, brightness
from kiosk.troubles import Troubles
from recognition.types import Face

PEOPLE = {"XC-1": Person("XC-1", "李强", "干事")}


class Speech:
    """Ends as soon as it began."""

    def poll(self) -> int | None:
        return 0

    def kill(self) -> None:
        """Has ended."""


class Loop:
    """Stands for the kiosk's loop: who was greeted, and what was chosen."""

    def __init__(self) -> None:
        self.greeted: tuple[Mapping[str, Any], float] | None = None
        self.chosen: list[tuple[str, str]] = []

    def choose(self, record_id: str, status: str, reason: Any, until_ms: Any) -> Answer:
        self.chosen.append((record_id, str(status)))
        return Answer(True, "已记录", "Recorded")


class Bench:
    def __init__(self, settings: Settings | None = None, wiring: Wiring | None = None) -> None:
        self.now = 1000.0
        self.clock = "09:00"
        self.said: list[str] = []
        self.faults: list[str] = []
        self.pins = mock_pins()
        self.feed = ScreenFeed()
        self.events = EventLog(None)
        self.loop = Loop()
        self.levels: list[tuple[float, float]] = []
        self.troubles = Troubles(self.feed, self.events)
        text = {
            "driver": "screen", "buttons": {"green": 5, "red": 6}, "motion": {"pin": 16},
            "buzzer": {"pin": 18}, "light": {"pin": 12},
        }  # fmt: skip
        self.around = Surroundings(
            wiring or check_wiring(text),
            settings or Settings(),
            live=True,
            troubles=self.troubles,
            feed=self.feed,
            person_of=PEOPLE.get,
            now_ms=self.now_ms,
            mono=lambda: self.now,
            pin_factory=self.pins,
            voice=Voice(start=self.speak),
            on_level=lambda level, t: self.levels.append((level, t)),
        )
        self.around.kiosk = self.loop
        self.events.listen(self.around)
        self.around.turn()

    def now_ms(self) -> int:
        at = datetime.fromisoformat(f"2026-11-25T{self.clock}").replace(
            tzinfo=ZoneInfo("Asia/Shanghai")
        )
        return int(at.timestamp() * 1000)

    def speak(self, words: list[str], text: str, complaints: Any) -> Speech:
        self.said.append(text.strip())
        return Speech()

    def after(self, seconds: float = 1.0) -> None:
        self.around.turn()
        self.now += seconds
        self.around.turn()

    def press(self, number: int) -> None:
        self.now += 1
        self.pins.pin(number).drive_low()
        self.now += 0.1
        self.pins.pin(number).drive_high()
        self.around.turn()

    def note(self) -> int | None:
        hertz = self.pins.pin(18).frequency
        return None if hertz is None else round(hertz)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def first(tune: str) -> int:
    return round(TONES[tune][0][0] or 0)


def test_what_was_recorded_is_greeted_and_heard(bench: Bench) -> None:
    bench.events.checkin("XC-1", "in_village", "face", seq=1)
    assert bench.said == []  # not in the thread that recorded, which must not wait
    bench.around.turn()
    assert bench.said == ["李强您好，已记录，下乡。"]
    assert bench.note() == first("recorded")
    bench.after()
    assert bench.note() is None
    bench.events.again("XC-1")
    bench.around.turn()
    assert bench.note() == first("again")
    bench.after()
    bench.events.checkin("NEW-9", "in_village", "pin", seq=2)
    bench.after()
    assert bench.said[1:] == ["李强您好，刚才已经记录。", "您好，已记录，工作人员会核对。"]
    bench.events.checkin("XC-1", "left", "face", seq=3)
    bench.after()
    bench.loop.greeted = {"official": "XC-1", "verified": False}, bench.now
    bench.events.checkin("XC-1", "in_village", "pin", seq=4)  # an id without a PIN: anybody's
    bench.after()
    assert bench.said[3:] == ["李强再见，已记录离开。", "您好，已记录，工作人员会核对。"]


def test_refusals_are_said_once_in_a_while_and_heard_each_time(bench: Bench) -> None:
    for _ in range(3):
        bench.events.refused("unknown")
        bench.around.turn()
        assert bench.note() == first("refused")
        bench.after()
    assert bench.said == ["没有认出您，请靠近一点或改用密码。"]
    bench.now += REFUSED_S
    bench.events.refused("quality")
    bench.events.refused("locked")
    bench.after()
    assert bench.said[1:] == ["看不清楚，请正对摄像头。"]


def test_a_fault_that_turns_people_away_is_heard(bench: Bench) -> None:
    bench.events.fault("sync", "no network")
    bench.around.turn()
    assert bench.note() is None
    bench.events.fault("store", "full")
    bench.around.turn()
    assert bench.note() == first("fault")
    assert bench.said == []


def test_quiet_hours_and_switched_off() -> None:
    settings = Settings(voice=VoiceSettings(quiet=("21:00", "07:00")))
    bench = Bench(settings)
    for clock, count in (("20:59", 1), ("21:00", 1), ("02:00", 1), ("06:59", 1), ("07:00", 2)):
        bench.clock = clock
        bench.events.again("XC-1")
        bench.after()
        assert len(bench.said) == count, clock
        assert bench.note() is None
    off = Bench(Settings(voice=VoiceSettings(on=False)))
    off.events.again("XC-1")
    off.after()
    assert off.said == []
    assert is_quiet(("12:00", "14:00"), "13:59")
    assert not is_quiet(("12:00", "14:00"), "14:00")
    assert not is_quiet(None, "00:00")


def test_a_button_chooses_for_whoever_was_recognised_within_ten_seconds(bench: Bench) -> None:
    bench.press(6)
    assert bench.loop.chosen == []
    assert bench.note() == first("refused")
    bench.loop.greeted = ({"id": "r1", "status": "in_village", "choices": True}, bench.now)
    bench.press(6)
    assert bench.loop.chosen == [("r1", "on_leave")]
    bench.now += 8
    bench.press(5)
    assert bench.loop.chosen == [("r1", "on_leave")]  # ten seconds are over
    bench.loop.greeted = ({"id": "r2", "status": "on_duty", "choices": True}, bench.now)
    bench.press(5)  # it is so already
    bench.loop.greeted = ({"id": "r3", "status": "in_village", "choices": False}, bench.now)
    bench.press(5)  # nobody knows who that is
    assert bench.loop.chosen == [("r1", "on_leave")]


def test_motion_wakes_the_screen(bench: Bench) -> None:
    assert bench.feed.get("motion") is None
    for count in (1, 2):
        bench.now += 5
        bench.pins.pin(16).drive_high()
        bench.after()
        bench.pins.pin(16).drive_low()
        assert bench.feed.get("motion") == count


def test_the_light_follows_the_face(bench: Bench) -> None:
    face = Face((20.0, 20.0, 40.0, 40.0), np.zeros((5, 2), np.float32), 0.9)
    dark = np.full((80, 80, 3), 30, np.uint8)
    for t in range(10):
        bench.around.seen(dark, face, t / 10)
        bench.now += 0.1
    assert bench.pins.pin(12).state == pytest.approx(0.6)
    assert bench.levels == [(0.6, 0.4)]
    bench.now += 10
    bench.around.seen(dark, None, 12.0)
    assert bench.pins.pin(12).state == 0
    assert bench.levels[1:] == [(0.0, 12.0)]
    bench.around.seen(dark, face, 13.0, 1.0)  # the recognition wants to see the face answer
    bench.around.seen(dark, face, 13.1, 1.0)
    bench.around.seen(dark, face, 13.5, 0.25)
    assert bench.levels[2:] == [(1.0, 13.0), (1.0, 13.1), (0.25, 13.5)]
    assert bench.pins.pin(12).state == 0.25
    bench.around.seen(dark, face, 13.6)
    assert bench.levels[5:] == [(0.0, 13.6)], "as it was before"


def test_brightness_is_that_of_the_middle_of_the_face() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    image[30:50, 30:50] = (0, 255, 0)
    face = Face((20.0, 20.0, 40.0, 40.0), np.zeros((5, 2), np.float32), 0.9)
    assert brightness(image, face) == pytest.approx(255 * 0.587)
    assert brightness(image, None) is None
    outside = Face((-90.0, -90.0, 40.0, 40.0), np.zeros((5, 2), np.float32), 0.9)
    assert brightness(image, outside) is None


def test_each_part_that_fails_is_shown_with_advice_and_never_stops_the_rest() -> None:
    pins = mock_pins()
    other = gpiozero.OutputDevice(18, pin_factory=pins)
    bench = Bench()
    bench.around.close()
    bench.pins = pins
    bench.around = Surroundings(
        Wiring("screen", buzzer=18, light=Switch(12)),
        Settings(voice=VoiceSettings(command="'")),
        live=True,
        troubles=bench.troubles,
        feed=bench.feed,
        person_of=PEOPLE.get,
        now_ms=bench.now_ms,
        mono=lambda: bench.now,
        pin_factory=pins,
    )
    bench.around({"event": "again", "official": "XC-1"})
    bench.after()
    shown = {each["part"]: each for each in bench.feed.get("troubles")}
    assert set(shown) == {"voice", "buzzer"}
    assert "pin" in shown["buzzer"]["advice_en"]
    assert "引脚" in shown["buzzer"]["advice_zh"]
    other.close()
    bench.after(6.0)
    assert [each["part"] for each in bench.feed.get("troubles")] == ["voice"]
    bench.around.close()
    bench.around.close()


# -- the settings file ----------------------------------------------------------------------


def test_settings_are_optional_and_checked(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings()
    path = tmp_path / "kiosk.toml"
    path.write_text(
        '[voice]\non = false\ncommand = "spd-say"\nquiet = ["21:00", "07:00"]\n'
        "[light]\nlevel = 1\n[camera]\nrotate = 180\n",
        "utf-8",
    )
    settings = load_settings(tmp_path)
    assert settings.voice == VoiceSettings(False, "spd-say", ("21:00", "07:00"))
    assert (settings.light.level, settings.camera.rotate) == (1.0, 180)
    assert settings.buttons.on
    assert (settings.card.needs_pin, settings.stick.folders) == (False, STICKS)
    path.write_text('[card]\nneeds_pin = true\n[stick]\nfolders = ["/mnt/usb"]\n', "utf-8")
    settings = load_settings(tmp_path)
    assert (settings.card.needs_pin, settings.stick.folders) == (True, ("/mnt/usb",))


@pytest.mark.parametrize(
    "text",
    [
        "[voice]\nloud = true",
        "[voice]\nquiet = ['25:00', '07:00']",
        "[voice]\nquiet = ['7:00']",
        "[light]\nlevel = 0",
        "[light]\ndark = 200",
        "[camera]\nrotate = 45",
        "[card]\nneeds_pin = 'yes'",
        "[stick]\nfolders = ['media']",
        "[stick]\nfolders = ['/']",
        "[camera",
        "x = 1",
        "#" * 70_000,
    ],
)
def test_a_bad_settings_file_is_refused_with_the_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "kiosk.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigInvalid, match="cannot be used") as caught:
        load_settings(tmp_path)
    assert "\n" not in str(caught.value)
    assert "无法使用" in caught.value.words("zh")

"""Buttons, sensor, door, tones and fill light on mock pins, by the caller's clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gpiozero
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import PanelError
from hardware.fakes import history, mock_pins
from hardware.light import AWAY_S, BRIGHT, BRIGHT_S, DARK, DARK_S, FillLight
from hardware.panel import BOUNCE_S, RETRY_S, TONES, Contacts, Dimmer, Pulse, Tones
from hardware.wiring import Door, Switch

NAME = ("东西", "thing")


class Hands:
    """Mock pins, a clock that moves when told, and fingers."""

    def __init__(self) -> None:
        self.pins = mock_pins()
        self.now = 100.0

    def contacts(self, **pins: Switch) -> Contacts:
        made = Contacts(NAME, pins, lambda: self.now, self.pins)
        made.turn(self.now)
        return made

    def press(self, number: int, *, bounces: int = 0) -> None:
        for _ in range(bounces + 1):
            self.pins.pin(number).drive_low()
            self.now += 0.004
            self.pins.pin(number).drive_high()
            self.now += 0.004


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_press_is_told_once_however_much_it_bounces(hands: Hands) -> None:
    buttons = hands.contacts(green=Switch(5, False), red=Switch(6, False))
    assert hands.pins.pin(5).pull == "up"
    assert buttons.take() == []
    hands.press(5, bounces=4)
    assert buttons.take() == ["green"]
    assert buttons.take() == []
    hands.now += BOUNCE_S
    hands.press(6)
    hands.press(5)
    assert buttons.take() == ["red", "green"]
    hands.now += 0.01
    hands.press(5)  # too soon after the last edge: the same press
    assert buttons.take() == []
    buttons.close()
    buttons.close()


def test_a_sensor_drives_its_pin_high(hands: Hands) -> None:
    motion = hands.contacts(motion=Switch(16))
    assert hands.pins.pin(16).pull == "down"
    assert not motion.active
    hands.pins.pin(16).drive_high()
    assert motion.active
    assert motion.take() == ["motion"]
    hands.now += 1
    hands.pins.pin(16).drive_low()
    assert motion.take() == []


@pytest.mark.parametrize("active_high", [True, False])
def test_a_door_is_pulsed_for_its_time(hands: Hands, active_high: bool) -> None:
    door = Pulse(NAME, Door(17, active_high, 0.5), hands.pins)
    door.turn(0.0)
    off, on = (0, 1) if active_high else (1, 0)
    door.fire(1.0)
    for now_s in (1.1, 1.4):
        door.turn(now_s)
        assert hands.pins.pin(17).state == on
    door.turn(1.5)
    door.turn(9.0)
    assert history(hands.pins, 17)[-2:] == [on, off]
    door.fire(10.0)
    door.fire(10.4)  # the next person holds it longer
    door.turn(10.6)
    assert hands.pins.pin(17).state == on
    door.turn(10.9)
    assert hands.pins.pin(17).state == off


def heard(
    hands: Hands, tones: Tones, tune: str, step: float = 0.01
) -> list[tuple[int | None, float]]:
    """The notes that came out of pin 18: hertz and for how long."""
    tones.play(tune, hands.now)
    notes: list[tuple[int | None, float]] = []
    for _ in range(400):
        hertz = hands.pins.pin(18).frequency
        note = None if hertz is None else round(hertz)
        if notes and notes[-1][0] == note:
            notes[-1] = (note, notes[-1][1] + step)
        else:
            notes.append((note, step))
        hands.now += step
        tones.turn(hands.now)
    return [(note, round(seconds, 2)) for note, seconds in notes[:-1]]


def test_each_outcome_has_its_tune(hands: Hands) -> None:
    tones = Tones(NAME, 18, hands.pins)
    tunes = {}
    for tune, notes in TONES.items():
        tunes[tune] = heard(hands, tones, tune)
        for (hertz, seconds), (wanted, length) in zip(tunes[tune], notes, strict=True):
            assert (hertz is None) == (wanted is None)
            assert hertz is None or abs(hertz - (wanted or 0)) <= 1
            assert abs(seconds - length) <= 0.021
    shapes = [tuple(hertz for hertz, _ in tune) for tune in tunes.values()]
    assert len(set(shapes)) == len(shapes) == 4
    assert hands.pins.pin(18).frequency is None
    tones.play("fault", hands.now)
    tones.play("again", hands.now)  # the newest is heard
    assert round(hands.pins.pin(18).frequency) == round(TONES["again"][0][0] or 0)
    tones.close()


def test_the_fill_light_is_dimmed(hands: Hands) -> None:
    light = Dimmer(NAME, Switch(12), hands.pins)
    light.turn(0.0)
    light.set(0.6, 0.0)
    assert hands.pins.pin(12).state == 0.6
    light.set(0.0, 1.0)
    assert hands.pins.pin(12).state == 0.0
    light.set(1.0, 2.0)
    light.close()
    assert not hands.pins.pin(12).state


@pytest.mark.parametrize(
    ("pin", "build", "use"),
    [
        (17, lambda f: Pulse(NAME, Door(17), f), lambda part, now: part.fire(now)),
        (18, lambda f: Tones(NAME, 18, f), lambda part, now: part.play("again", now)),
        (12, lambda f: Dimmer(NAME, Switch(12), f), lambda part, now: part.set(0.5, now)),
        (5, lambda f: Contacts(NAME, {"a": Switch(5)}, lambda: 0.0, f), lambda part, now: None),
    ],
    ids=["door", "tones", "light", "button"],
)
def test_a_pin_that_is_taken_is_a_fault_until_it_is_free(
    hands: Hands, pin: int, build: Callable[[Any], Any], use: Callable[[Any, float], None]
) -> None:
    other = gpiozero.InputDevice(pin, pin_factory=hands.pins)
    part = build(hands.pins)
    part.turn(0.0)
    use(part, 0.1)
    assert isinstance(part.fault, PanelError)
    assert "thing" in part.fault.words("en")
    assert "东西" in part.fault.words("zh")
    other.close()
    part.turn(RETRY_S - 0.1)
    assert part.fault is not None  # not before its time
    part.turn(RETRY_S + 0.2)
    assert part.fault is None
    use(part, RETRY_S + 0.3)
    assert part.fault is None
    part.close()


def test_a_door_that_fails_while_open_is_let_go(hands: Hands) -> None:
    door = Pulse(NAME, Door(17, seconds=1.0), hands.pins)
    door.fire(0.0)
    hands.pins.pin(17).mode = "broken"
    door.turn(1.0)
    assert door.fault is not None
    assert hands.pins.pin(17).function == "input"  # so the relay drops
    hands.pins.pin(17).mode = "works"
    door.turn(1.0 + RETRY_S)
    assert door.fault is None


# -- when the light is on -------------------------------------------------------------------


def test_the_light_comes_on_for_a_dark_face_and_goes_off_again() -> None:
    light = FillLight(0.6)
    seen = [light.see(40.0, t / 10) for t in range(8)]
    assert seen == [0.0] * 4 + [0.6] * 4  # after DARK_S
    for t in range(8, 100):
        assert light.see((DARK + BRIGHT) / 2, t / 10) == 0.6  # between the two it stays
    assert light.see(None, 10.0) == 0.6
    assert light.see(None, 10.0 + AWAY_S) == 0.0
    assert [level for _, level in light.commanded] == [0.6, 0.0]


def test_a_bright_moment_does_not_switch_the_light_off() -> None:
    light = FillLight(0.6)
    for t in range(5):
        light.see(40.0, t / 10)
    for t in range(5, 5 + int(BRIGHT_S * 10)):
        assert light.see(220.0, t / 10) == 0.6
    assert light.see(220.0, 0.5 + BRIGHT_S) == 0.0


def test_a_shadow_that_passes_is_none() -> None:
    light = FillLight()
    for t in range(50):
        assert light.see(40.0 if t % 3 else 120.0, t / 10) == 0.0


def test_a_lamp_that_lights_the_face_itself_does_not_flicker() -> None:
    """In the dark the lamp brings a face beyond BRIGHT: off, dark again, and then it stays on."""
    light = FillLight(1.0)
    levels = [light.see(20.0 if light.level == 0 else 220.0, t / 10) for t in range(600)]
    assert [level for _, level in light.commanded] == [1.0, 0.0, 1.0]
    assert levels[-1] == 1.0
    light.see(None, 60.0)
    assert light.see(None, 60.0 + AWAY_S) == 0.0


@given(st.lists(st.one_of(st.none(), st.floats(0, 255)), max_size=300))
def test_the_light_never_flickers(greys: list[float | None]) -> None:
    light = FillLight()
    for index, grey in enumerate(greys):
        light.see(grey, index / 10)
    times = [at for at, _ in light.commanded]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert all(gap >= DARK_S - 1e-9 for gap in gaps)
    assert all(gap >= BRIGHT_S - 1e-9 for gap in gaps[::2])  # lit at least so long

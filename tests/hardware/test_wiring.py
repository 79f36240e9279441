"""The wiring file: taken whole or refused with the place named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hardware.errors import WiringError
from hardware.wiring import FREE_PINS, Chain, Door, Pins, Switch, Wiring
from hardware.wiring_file import check_wiring, load_wiring

GOOD = """
driver = "rgb"
active_high = false
[lamps.CN-001]
red = 17
green = 27
blue = 22
[lamps.002]
red = 5
green = 6
blue = 13
"""


def test_a_good_file_keeps_its_order(tmp_path):
    path = tmp_path / "wiring.toml"
    path.write_text(GOOD, "utf-8")
    assert load_wiring(path) == Wiring(
        "rgb", False, {"CN-001": Pins(17, 27, 22), "002": Pins(5, 6, 13)}
    )
    assert list(load_wiring(path).lamps) == ["CN-001", "002"]


def test_chains_and_what_else_surrounds_the_screen():
    whole = """
driver = "shift"
active_high = false
[chain]
latch = 22
length = 2
readback = 9
[lamps.A]
place = 2
[lamps.B]
red = 15
green = 0
blue = 1
[buttons]
green = 5
red = 6
[motion]
pin = 16
[door]
pin = 17
active_high = false
seconds = 0.5
[buzzer]
pin = 18
[light]
pin = 12
"""
    assert check_wiring(tomllib.loads(whole)) == Wiring(
        "shift",
        False,
        {"A": Pins(3, 4, 5), "B": Pins(15, 0, 1)},
        chain=Chain(latch=22, length=2, readback=9),
        buttons={"green": 5, "red": 6},
        motion=Switch(16),
        door=Door(17, False, 0.5),
        buzzer=18,
        light=Switch(12),
    )
    strip = check_wiring(
        tomllib.loads("driver='apa102'\n[chain]\nbrightness=31\n[lamps.A]\nplace=9")
    )
    assert strip == Wiring("apa102", pixels={"A": 8}, chain=Chain(brightness=31))
    assert check_wiring({"driver": "shift"}) == Wiring("shift")
    assert check_wiring({"driver": "screen", "buzzer": {"pin": 18}}).buzzer == 18


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no lamps"),
        ("lamps = 3", "no lamps"),
        ("[lamps]\nA = 3", "lamps.A must give the pins"),
        ("driver = 'neon'\n[lamps.A]\nred=4\ngreen=5\nblue=6", "driver must be one of screen, rgb"),
        ("driver = 1", "driver must be one of"),
        ("colour = 1\n[lamps.A]\nred=4\ngreen=5\nblue=6", "colour is not known"),
        ("active_high = 'yes'\n[lamps.A]\nred=4\ngreen=5\nblue=6", "true or false"),
        ("[lamps.A]\nred=4\ngreen=5", "lamps.A.blue must be a BCM pin"),
        ("[lamps.A]\nred=4\ngreen=5\nblue=28", "lamps.A.blue must be a BCM pin"),
        ("[lamps.A]\nred=1\ngreen=5\nblue=6", "lamps.A.red must be a BCM pin"),
        ("[lamps.A]\nred=true\ngreen=5\nblue=6", "lamps.A.red must be a BCM pin"),
        ("[lamps.A]\nred='4'\ngreen=5\nblue=6", "lamps.A.red must be a BCM pin"),
        ("[lamps.A]\nred=4\ngreen=5\nblue=6\nwhite=7", "lamps.A.white is not known"),
        ("[lamps.A]\nred=4\ngreen=5\nblue=4", "pin 4 is used twice, by lamps.A.red and lamps.A.bl"),
        ("[lamps.A]\nred=4\ngreen=5\nblue=6\n[lamps.B]\nred=7\ngreen=8\nblue=5", "pin 5 is used"),
        ("[lamps.A\n", "no valid TOML"),
        ("[chain]\nlatch = 5\n[lamps.A]\nred=4\ngreen=5\nblue=6", "chain is for shift and apa102"),
        ("driver = 'screen'\n[lamps.A]\nred=4", "there are no lamps to wire"),
        ("driver = 'shift'\nlamps = 3", "no lamps"),
        ("driver = 'shift'\nchain = 3", "chain must be a section"),
        ("driver = 'shift'\n[chain]\nbrightness = 3", "chain.brightness is not known"),
        ("driver = 'apa102'\n[chain]\nlatch = 25", "chain.latch is not known"),
        ("driver = 'apa102'\n[chain]\nbrightness = 32", "brightness must be a whole number from 1"),
        ("driver = 'shift'\n[chain]\nclock = 99", "chain.clock must be a BCM pin number"),
        (
            "driver = 'shift'\n[chain]\nlatch = 11",
            "pin 11 is used twice, by chain.clock and chain.l",
        ),
        ("driver = 'shift'\n[chain]\nlength = 0", "chain.length must be a whole number from 1"),
        ("driver = 'shift'\n[chain]\nlength = true", "chain.length must be a whole number"),
        ("driver = 'shift'\n[chain]\nreadback = 9", "chain.readback needs chain.length"),
        ("driver = 'shift'\n[lamps]\nA = 1", "lamps.A must give its place, or the outputs"),
        ("driver = 'shift'\n[lamps.A]\nplace = 0", "lamps.A.place must be a whole number from 1"),
        ("driver = 'shift'\n[lamps.A]\nplace = 1\nred = 2", "lamps.A.red is not known; use place"),
        ("driver = 'shift'\n[lamps.A]\nred=0\ngreen=1", "lamps.A.blue must be a whole number"),
        (
            "driver='shift'\n[lamps.A]\nplace=2\n[lamps.B]\nred=0\ngreen=3\nblue=9",
            "lamps.A.place and lamps.B.green share one place on the chain",
        ),
        ("driver='shift'\n[chain]\nlength=1\n[lamps.A]\nplace=3", "beyond the end of the chain"),
        ("driver='apa102'\n[chain]\nlength=2\n[lamps.A]\nplace=3", "beyond the end of the chain"),
        ("driver='apa102'\n[lamps]\nA = 1", "lamps.A must give its place"),
        ("driver='apa102'\n[lamps.A]\nred=1", "lamps.A.red is not known"),
        (
            "driver='apa102'\n[lamps.A]\nplace=3\n[lamps.B]\nplace=3",
            "lamps.A.place and lamps.B.place",
        ),
        ("driver='screen'\nbuttons = 4", "buttons must be a section"),
        (
            "driver='screen'\n[buttons]\npink = 4",
            "buttons.pink is not known; use green, blue, yell",
        ),
        ("driver='screen'\n[buttons]\ngreen = 40", "buttons.green must be a BCM pin number"),
        (
            "driver='screen'\n[buttons]\ngreen=5\nred=5",
            "used twice, by buttons.green and buttons.red",
        ),
        ("driver='screen'\n[motion]\nactive_high=true", "motion.pin must be a BCM pin number"),
        ("driver='screen'\n[motion]\npin=5\nactive_high=1", "motion.active_high must be true"),
        ("driver='screen'\n[door]\npin=5\nseconds=0", "door.seconds must be above 0"),
        ("driver='screen'\n[door]\npin=5\nseconds='long'", "door.seconds must be above 0"),
        ("driver='screen'\n[door]\npin=5\nseconds=31", "at most 30"),
        ("driver='screen'\n[door]\npin=5\n[buzzer]\npin=5", "by door.pin and buzzer.pin"),
        ("driver='screen'\n[light]\npin=5\nlux=4", "light.lux is not known"),
        ("driver='apa102'\n[light]\npin=10", "pin 10 is used twice, by chain.data and light.pin"),
        ("[lamps.A]\nred=4\ngreen=5\nblue=6\n[buttons]\nred=6", "by lamps.A.blue and buttons.red"),
    ],
)
def test_a_bad_file_names_the_place(tmp_path, text, says):
    path = tmp_path / "wiring.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(WiringError, match=re.escape(says)) as caught:
        load_wiring(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.words("zh") != caught.value.words("en")
    assert isinstance(caught.value, ValueError)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(WiringError, match="cannot be read"):
        load_wiring(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff\xfe")
    with pytest.raises(WiringError, match="no valid TOML"):
        load_wiring(tmp_path / "latin.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * 300_000)
    with pytest.raises(WiringError, match="too long"):
        load_wiring(tmp_path / "long.toml")


def test_the_free_pins_spare_the_eeprom_and_the_clock():
    assert len(FREE_PINS) == 24
    assert not {0, 1, 2, 3} & set(FREE_PINS)


def test_the_documented_example_is_taken_as_it_stands():
    document = Path(__file__).parents[2] / "docs" / "wiring.md"
    blocks = re.findall(r"```toml\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    assert blocks
    drivers = [check_wiring(tomllib.loads(block)).driver for block in blocks]
    assert set(drivers) == {"rgb", "shift", "apa102"}

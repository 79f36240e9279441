"""The wiring file: taken whole or refused with the place named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hardware.errors import WiringError
from hardware.wiring import FREE_PINS, Pins, Wiring, check_wiring, load_wiring

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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no lamps"),
        ("lamps = 3", "no lamps"),
        ("[lamps]\nA = 3", "lamps.A must give the pins"),
        ("driver = 'shift'\n[lamps.A]\nred=4\ngreen=5\nblue=6", "driver must be one of rgb"),
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
    import tomllib

    document = Path(__file__).parents[2] / "docs" / "wiring.md"
    blocks = re.findall(r"```toml\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert check_wiring(tomllib.loads(block)).lamps

"""docs/wiring.md against the code: pins, header positions, defaults and counts of parts."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from hardware.chain import USUAL_LAMPS
from hardware.shift import OUTPUTS
from hardware.wiring import FREE_PINS, PINS, Chain, Door, Wiring
from hardware.wiring_file import check_wiring

PAGE = (Path(__file__).parents[2] / "docs" / "wiring.md").read_text("utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next of its rank."""
    found = re.search(rf"^(#+) {re.escape(title)}.*?\n(.*?)(?=^\1 |\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[2]


def about(driver: str) -> str:
    """What stands of a driver; the header is shown below that of `rgb`."""
    return section(f"Driver `{driver}`") + (
        section("The 40-pin header") if driver == "rgb" else ""
    )


def picture() -> dict[int, int]:
    """By BCM number the position on the header, as the picture shows it."""
    found = {}
    for line in section("The 40-pin header").splitlines():
        row = re.fullmatch(r"\s*(?:\w+\s+)?(\S+)\s+\((\d+)\)\s*\((\d+)\)\s*(\S+).*", line)
        if row:
            left, odd, even, right = row.groups()
            assert int(even) == int(odd) + 1
            for name, position in ((left, odd), (right, even)):
                if name.isdecimal():
                    assert int(name) not in found, f"{name} stands there twice"
                    found[int(name)] = int(position)
    return found


HEADER = picture()


def test_the_picture_is_the_header_of_a_raspberry_pi() -> None:
    known = (
        "2:3 3:5 4:7 14:8 15:10 17:11 18:12 27:13 22:15 23:16 24:18 10:19 9:21 25:22 11:23 8:24"
        " 7:26 0:27 1:28 5:29 6:31 12:32 13:33 19:35 16:36 26:37 20:38 21:40"
    )
    assert {int(a): int(b) for a, b in (each.split(":") for each in known.split())} == HEADER
    assert set(PINS) == set(HEADER) - {0, 1}


def test_the_pins_without_a_file_are_those_that_the_driver_takes() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+), (\d+), (\d+) \|$",
        section("The 40-pin header"), re.M,
    )  # fmt: skip
    cells = [list(map(int, row)) for row in rows]
    assert [row[0] for row in cells] == list(range(1, len(FREE_PINS) // 3 + 1))
    assert [pin for row in cells for pin in row[1:4]] == list(FREE_PINS)
    for row in cells:
        assert [HEADER[pin] for pin in row[1:4]] == row[4:]


@pytest.mark.parametrize("driver", ["shift", "apa102"])
def test_the_chains_pins_and_positions(driver: str) -> None:
    text = section(f"Driver `{driver}`")
    rows = re.findall(r"^\| (\d+)(?: [A-Z]+\d?)? \((\d+)\) \|", text, re.M)
    pins = {int(pin): int(position) for pin, position in rows}
    assert pins == {pin: HEADER[pin] for pin in pins}
    usual = Chain()
    wanted = {usual.clock, usual.data, usual.select, 9}
    assert set(pins) == (wanted | {usual.latch, usual.enable} if driver == "shift" else wanted)


@pytest.mark.parametrize("driver", ["rgb", "shift", "apa102"])
def test_what_an_example_calls_usual_is(driver: str) -> None:
    block = re.search(r"```toml\n(.*?)```", about(driver), re.S)
    assert block
    wiring = check_wiring(tomllib.loads(block[1]))
    assert wiring.driver == driver
    assert wiring.active_high is Wiring().active_high
    shown = {k: v for k, v in asdict(wiring.chain).items() if k != "length"}
    assert shown == {k: v for k, v in asdict(Chain()).items() if k != "length"}
    if driver != "rgb":
        told = f"enough for {USUAL_LAMPS}" if driver == "shift" else f"{USUAL_LAMPS} are written"
        assert f"without it {told}" in block[1]
    rest = tomllib.loads(section("What else surrounds the screen").split("```toml\n")[1]
                         .split("```")[0])  # fmt: skip
    assert rest["door"]["seconds"] == Door(pin=20).seconds


def test_as_many_chips_as_are_listed_carry_the_lamps() -> None:
    text = section("Driver `shift`")
    for lamps in (36, 72):
        chips = math.ceil(lamps * 3 / OUTPUTS)
        assert re.search(rf"\b{chips} carry {lamps}\b", text)
    row = next(line for line in text.splitlines() if line.startswith("| 74HC595, DIP-16"))
    assert [cell.strip() for cell in row.split("|")][3:5] == ["14", "27"]
    assert f"{14 * OUTPUTS} outputs" in text.replace("(", " ")
    ours = check_wiring({"driver": "shift", "lamps": {"A": {"place": 1}, "B": {"place": 36}}})
    assert (ours.lamps["A"].red, ours.lamps["A"].blue) == (0, 2), "red on QA, blue on QC"
    assert ours.lamps["B"].blue < 14 * OUTPUTS


def test_the_kiosk_itself_has_parts_with_prices_and_its_clock_sits_on_the_i2c_bus() -> None:
    text = section("The kiosk itself")
    priced = [line for line in text.splitlines() if re.match(r"\|.*\| \d+ \|$", line)]
    assert len(priced) >= 8
    (clock,) = (line for line in priced if "DS3231" in line)
    assert (HEADER[2], HEADER[3]) == (3, 5)
    assert "1 (3V3), 3 (SDA), 5 (SCL), 9 (GND)" in clock
    assert not set(FREE_PINS) & {2, 3}, "no lamp takes the clock's pins by itself"


@pytest.mark.parametrize(("driver", "about_yuan"), [("rgb", 50), ("shift", 150), ("apa102", 150)])
def test_what_the_boards_come_to_is_what_their_tables_say(driver: str, about_yuan: int) -> None:
    rows = re.findall(r"^\|.*\| (\d+) \|$", section(f"Driver `{driver}`"), re.M)
    said = re.sub(r"\s+", " ", section("The kiosk itself"))
    assert f"{about_yuan} " in said
    assert 0.6 < sum(map(int, rows)) / about_yuan < 1.5


def test_each_driver_has_parts_with_prices_and_a_picture() -> None:
    for driver in ("rgb", "shift", "apa102"):
        text = about(driver)
        priced = [line for line in text.splitlines() if re.match(r"\|.*\| \d+ \|$", line)]
        assert len(priced) >= 5, driver
        assert re.search(r"```\n.*──.*```", text, re.S), driver

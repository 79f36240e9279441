"""Chains of 74HC595 and APA102: simulated chips decode the pins into what a person would see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware import apa102, shift
from hardware.apa102 import TONES
from hardware.chain import REWRITE_S, ChainBoard, bits_of
from hardware.drivers import open_lamps
from hardware.errors import LampError, WiringError
from hardware.fake_chips import PixelChips, ShiftChips, perceive
from hardware.fakes import mock_pins
from hardware.lamps import Colour, LampBoard, Latched
from hardware.wiring import Chain, Pins, Wiring

NAMES = [f"L{n:02}" for n in range(36)]
CHIPS, READBACK = 14, 9
DRIVERS = ("shift", "apa102")


class Strip:
    """A board on mock pins with simulated chips at the end of the wires."""

    def __init__(
        self, driver: str, *, count: int = 36, readback: bool = False, **wiring: Any
    ) -> None:
        self.driver = driver
        self.count = count
        length = CHIPS if driver == "shift" else count
        chain = Chain(length=length, readback=READBACK if readback else None)
        self.wiring = Wiring(driver, chain=wiring.pop("chain", chain), **wiring)
        self.pins: MockFactory = mock_pins()
        self.chips: Any
        length = self.wiring.chain.length or 0
        if driver == "shift":
            anode = not self.wiring.active_high
            self.chips = ShiftChips(self.pins, self.wiring.chain, length, anode=anode)
        else:
            self.chips = PixelChips(self.pins, self.wiring.chain, length)
        self.board: LampBoard = open_lamps(driver, NAMES[:count], self.wiring, self.pins)

    def parts(self, place: int) -> tuple[int, int, int]:
        return 3 * place, 3 * place + 1, 3 * place + 2

    def history(self) -> list[dict[str, str]]:
        """Each picture that was ever seen, as the lamps that were not dark in it."""
        pictures = []
        for seen in self.chips.seen:
            if self.driver == "shift":
                looks = [ShiftChips.look(seen, self.parts(n)) for n in range(self.count)]
            else:
                looks = list(seen)
            pictures.append({NAMES[n]: look for n, look in enumerate(looks) if look != "off"})
        return pictures

    def now(self) -> dict[str, str]:
        return self.history()[-1]


@pytest.fixture
def strip() -> Iterator[Callable[..., Strip]]:
    made: list[Strip] = []

    def build(driver: str, **options: Any) -> Strip:
        made.append(Strip(driver, **options))
        return made[-1]

    yield build
    for each in made:
        each.board.close()


@pytest.mark.parametrize("readback", [False, True], ids=["alone", "readback"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_day_on_36_lamps_is_seen_exactly_so(
    strip: Callable[..., Strip], driver: str, readback: bool
) -> None:
    s = strip(driver, readback=readback)
    assert s.board.driver == driver
    assert s.board.show("L00", "green") == Latched(Colour.GREEN)
    assert s.board.show("L35", "yellow") == Latched(Colour.YELLOW)
    assert s.board.show("L07", "blue") == Latched(Colour.BLUE)
    assert s.board.show("L07", "red") == Latched(Colour.RED)
    assert s.board.show("L00", "off") == Latched(Colour.OFF)
    s.board.close()
    assert s.history() == [
        {},  # whatever the chips woke up with: nobody saw it
        {"L00": "green"},
        {"L00": "green", "L35": "yellow"},
        {"L00": "green", "L35": "yellow", "L07": "blue"},
        {"L00": "green", "L35": "yellow", "L07": "red"},
        {"L35": "yellow", "L07": "red"},
        {},
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_many_changes_are_one_writing_and_none_is_none(
    strip: Callable[..., Strip], driver: str
) -> None:
    s = strip(driver)
    before = s.chips.clocks
    seen = s.board.show_all(dict.fromkeys(NAMES, ("red", False)))
    once = s.chips.clocks - before
    assert set(seen.values()) == {Latched(Colour.RED)}
    assert s.history() == [{}, dict.fromkeys(NAMES, "red")]
    bits = 8 * CHIPS if driver == "shift" else 8 * len(apa102.encode([apa102.DARK] * 36))
    assert once == bits
    for now_s in (0.1, 0.6, 1.1, 30.0):
        s.board.tick(now_s)
    assert s.chips.clocks == before + once  # nothing blinks: nothing is written


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_chain_that_lost_its_power_shows_the_truth_again(
    strip: Callable[..., Strip], driver: str
) -> None:
    s = strip(driver)
    s.board.show("L05", "green")
    s.board.tick(0.0)
    if driver == "shift":
        s.chips.storage = [0] * len(s.chips.storage)
        s.chips._look()
    else:
        s.chips.pixels[5].light = (0, 0, 0)
        s.chips.look()
    assert s.now() == {}
    s.board.tick(REWRITE_S - 1)
    assert s.now() == {}
    s.board.tick(REWRITE_S)
    assert s.now() == {"L05": "green"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_blinking_goes_by_the_callers_clock(strip: Callable[..., Strip], driver: str) -> None:
    s = strip(driver)
    s.board.show("L01", "blue")
    assert s.board.show("L02", "yellow", blinking=True) == Latched(Colour.YELLOW, True)
    seen = []
    for now_s in (0.1, 0.49, 0.5, 0.9, 1.0, 1.6):
        s.board.tick(now_s)
        seen.append(s.board.latched("L02"))
    assert seen == [Latched(Colour.YELLOW, True)] * 6
    lit = {"L01": "blue", "L02": "yellow"}
    assert s.history() == [{}, {"L01": "blue"}, lit, {"L01": "blue"}, lit, {"L01": "blue"}]
    s.board.show("L02", "yellow")  # steady again, in the middle of a dark half
    assert s.now() == lit
    s.board.tick(2.6)
    assert s.now() == lit


def test_common_anode_lamps_are_lit_by_low_outputs(strip: Callable[..., Strip]) -> None:
    s = strip("shift", active_high=False)
    s.board.show("L03", "yellow")
    assert s.history() == [{}, {"L03": "yellow"}]
    assert s.chips.storage[:9] == [1] * 9
    assert s.chips.storage[9:12] == [0, 0, 1]


def test_nothing_is_seen_before_the_first_latch(strip: Callable[..., Strip]) -> None:
    pins = mock_pins()
    chips = ShiftChips(pins, Chain(), 3, seed=7)
    assert any(chips.storage)
    assert chips.blank  # the pull-up, while nobody drives OE
    board = open_lamps("shift", NAMES[:8], Wiring("shift", chain=Chain(length=3)), pins)
    assert not chips.blank
    assert chips.latches == 1
    board.show("L00", "red")
    board.close()
    assert chips.seen == [frozenset(), frozenset({0}), frozenset()]
    assert chips.blank  # and blank it stays


def test_outputs_in_any_order_and_officials_without_a_place(strip: Callable[..., Strip]) -> None:
    lamps = {"L01": Pins(10, 2, 5), "gone": Pins(0, 1, 3)}
    s = strip("shift", count=3, lamps=lamps, chain=Chain(length=2))
    assert [s.board.has(name) for name in NAMES[:3]] == [False, True, False]
    assert s.board.driver_of("L00") == "screen"
    assert s.board.show("L00", "red") == Latched(Colour.RED)
    s.board.show("L01", "yellow")
    assert s.chips.seen == [frozenset(), frozenset({10, 2})]
    assert s.board.wired == ("L01", "gone")


def test_pixels_by_wiring_and_brightness(strip: Callable[..., Strip]) -> None:
    chain = Chain(length=4, brightness=3)
    s = strip("apa102", count=4, pixels={"L00": 3, "L01": 0}, chain=chain)
    s.board.show("L00", "green")
    s.board.show("L01", "yellow")
    assert [pixel.brightness for pixel in s.chips.pixels] == [3, 0, 0, 3]
    assert s.chips.pixels[3].light == (0, round(255 * 3 / 31), 0)
    assert s.chips.seen[-1] == ("yellow", "off", "off", "green")


@pytest.mark.parametrize("driver", DRIVERS)
def test_lamps_come_and_go_and_keep_their_places(strip: Callable[..., Strip], driver: str) -> None:
    s = strip(driver, count=4)
    s.board.show("L01", "red")
    s.board.show("L03", "green")
    s.board.set_lamps(["L03", "new", "L00", "L02"])
    assert s.now() == {"L03": "green"}  # who left goes dark
    s.board.show("new", "blue")  # and the next one gets the place
    assert s.now() == {"L03": "green", "L01": "blue"}
    assert s.board.lamps == ("L03", "new", "L00", "L02")
    with pytest.raises(ValueError, match="purple"):
        s.board.show("new", "purple")


@pytest.mark.parametrize("driver", DRIVERS)
def test_who_does_not_fit_on_the_chain_is_drawn_on_the_screen(
    strip: Callable[..., Strip], driver: str
) -> None:
    s = strip(driver, count=3, chain=Chain(length=1))
    places = 2 if driver == "shift" else 1
    assert [s.board.has(name) for name in NAMES[:3]] == [n < places for n in range(3)]
    assert s.board.show("L02", "red") == Latched(Colour.RED)


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_a_wiring_file_lamps_take_places_in_order(driver: str) -> None:
    pins = mock_pins()
    kind, length = (ShiftChips, 27) if driver == "shift" else (PixelChips, 72)
    chips: Any = kind(pins, Chain(), length)
    with open_lamps(driver, NAMES, None, pins) as board:
        board.show("L34", "green")
        if driver == "shift":
            assert chips.seen[-1] == {3 * 34 + 1}
        else:
            assert [n for n, look in enumerate(chips.seen[-1]) if look != "off"] == [34]
    with pytest.raises(WiringError, match="for rgb"):
        open_lamps(driver, NAMES, Wiring("rgb"), pins)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_broken_pin_is_a_typed_error_and_the_board_is_opened_anew(
    strip: Callable[..., Strip], driver: str
) -> None:
    s = strip(driver)
    s.board.show("L00", "green")
    s.pins.pin(10).mode = "broken"
    with pytest.raises(LampError, match="SPI") as caught:
        s.board.show("L01", "blue")
    assert "SPI" in caught.value.words("zh")
    with pytest.raises(LampError):
        s.board.latched("L00")
    s.pins.pin(10).mode = "works"
    assert s.board.show("L01", "blue") == Latched(Colour.BLUE)
    assert s.now() == {"L00": "green", "L01": "blue"}
    assert s.board.latched("L00") == Latched(Colour.GREEN)


def test_a_latch_or_enable_that_is_stuck_is_no_colour(strip: Callable[..., Strip]) -> None:
    s = strip("shift")
    s.pins.pin(25).mode = "stuck"
    with pytest.raises(LampError, match="latch pin 25"):
        s.board.show("L00", "green")
    s.pins.pin(25).mode = "works"
    s.board.show("L00", "green")
    s.pins.pin(24)._change_state(True)  # a wire that touches 3.3 V
    s.pins.pin(24).mode = "stuck"
    assert s.board.show("L01", "red").colour is Colour.OFF
    assert s.now() == {}


@pytest.mark.parametrize("where", [0, 13])
def test_a_link_torn_between_chips_is_read_back(strip: Callable[..., Strip], where: int) -> None:
    s = strip("shift", readback=True)
    s.board.show("L00", "green")
    s.chips.broken = where
    shown = s.board.show("L01", "red")
    assert shown.colour is not Colour.RED  # nothing comes back of what went in
    s.board.close()


def test_a_readback_wire_that_is_missing_is_told_when_the_board_opens() -> None:
    pins = mock_pins()
    chain = Chain(length=CHIPS, readback=READBACK)
    ShiftChips(pins, Chain(), CHIPS)  # nobody drives pin 9
    with pytest.raises(LampError, match="does not answer"):
        open_lamps("shift", NAMES, Wiring("shift", chain=chain), pins)
    assert not pins._reservations or not any(pins._reservations.values())


@pytest.mark.parametrize("dead", [0, 35])
def test_a_dead_pixel_makes_the_strip_unknown(strip: Callable[..., Strip], dead: int) -> None:
    s = strip("apa102", readback=True)
    assert s.board.show("L20", "green") == Latched(Colour.GREEN)
    s.chips.pixels[dead].dead = True
    assert s.board.show("L20", "red").colour is None
    s.chips.pixels[dead].dead = False
    assert s.board.show("L20", "red") == Latched(Colour.RED)


@pytest.mark.parametrize("really", [35, 37])
def test_a_strip_of_another_length_is_noticed(really: int) -> None:
    pins = mock_pins()
    chain = Chain(length=36, readback=READBACK)
    PixelChips(pins, chain, really)
    with open_lamps("apa102", NAMES, Wiring("apa102", chain=chain), pins) as board:
        assert board.show("L00", "green").colour is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_self_test_shows_every_colour_once_on_every_lamp(
    strip: Callable[..., Strip], driver: str
) -> None:
    s = strip(driver)
    seen: list[dict[str, str]] = []
    assert s.board.self_test(lambda: seen.append(s.now())) == {}
    colours = ("green", "blue", "yellow", "red")
    assert seen == [dict.fromkeys(NAMES, colour) for colour in colours]
    assert s.history() == [{}, *seen, {}]
    s.pins.pin(10).mode = "broken"
    assert set(s.board.self_test(lambda: None)) == set(NAMES)


@pytest.mark.parametrize("driver", DRIVERS)
def test_two_boards_cannot_hold_the_same_pins(strip: Callable[..., Strip], driver: str) -> None:
    s = strip(driver)
    with pytest.raises(LampError, match="no other program"):
        open_lamps(driver, NAMES, s.wiring, s.pins)
    assert s.board.show("L00", "red") == Latched(Colour.RED)


def test_bits_leave_the_highest_first() -> None:
    assert bits_of([0x80, 0x01]) == [1] + [0] * 14 + [1]
    assert issubclass(shift.ShiftBoard, ChainBoard)


# -- properties -----------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.booleans())
def test_shift_images_are_decoded_as_encoded(lit: list[bool], active_high: bool) -> None:
    chips = -(-len(lit) // 8)
    image = shift.encode(dict(enumerate(lit)), chips, active_high)
    assert len(image) == chips
    decoded = shift.decode(image, active_high)
    assert [decoded[n] for n in range(len(lit))] == lit
    assert not any(decoded[n] for n in range(len(lit), 8 * chips))


PIXEL = st.tuples(*[st.integers(0, n) for n in (31, 255, 255, 255)])


@settings(max_examples=20, deadline=None)
@given(st.lists(PIXEL, min_size=1, max_size=40), st.lists(PIXEL, min_size=1, max_size=40))
def test_any_pixels_are_what_the_strip_shows(
    first: list[apa102.Pixel], second: list[apa102.Pixel]
) -> None:
    """Also after other pixels, and none too few of the clocks that a long strip needs."""
    for pixels in (first, first[::-1], second[: len(first)] + first[len(second) :]):
        chips = PixelChips(mock_pins(), Chain(), len(pixels))
        chips.feed(bits_of(apa102.encode(first)))
        chips.feed(bits_of(apa102.encode(pixels)))
        assert [chip.brightness for chip in chips.pixels] == [pixel[0] for pixel in pixels]
        assert [chip.light for chip in chips.pixels] == [
            tuple(round(part * pixel[0] / 31) for part in pixel[1:]) for pixel in pixels
        ]


def test_every_tone_is_seen_as_its_colour() -> None:
    for colour, tone in TONES.items():
        assert perceive(tone) == colour
        assert apa102.tone_of((5, *tone)) is colour
        assert apa102.tone_of((0, *tone)) is Colour.OFF
    assert apa102.tone_of((5, 1, 2, 3)) is None
    assert perceive((255, 255, 255)) == "odd"
    with pytest.raises(ValueError, match="32"):
        apa102.encode([(32, 0, 0, 0)])

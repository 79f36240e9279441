"""The lamp board on mock pins: whole histories of pin states, and what is read back from them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hardware.drivers import open_lamps
from hardware.errors import LampError, NoGpio, WiringError
from hardware.fakes import history, mock_pins
from hardware.lamps import Colour, LampState, Latched, colour_of
from hardware.rgb import RgbBoard
from hardware.wiring import Pins, Wiring

TWO = ("A1", "B2")


def test_every_colour_reaches_the_pins_and_is_read_back():
    factory = mock_pins()
    with open_lamps("rgb", TWO, None, factory) as board:
        shown = [
            board.show("B2", colour) for colour in ("green", "blue", "yellow", "red", Colour.OFF)
        ]
        assert [each.colour for each in shown] == ["green", "blue", "yellow", "red", "off"]
        # B2 has the second three of the free pins: red 7, green 8, blue 9.
        assert board.pins == {"A1": Pins(4, 5, 6), "B2": Pins(7, 8, 9)}
    assert history(factory, 7) == [0, 1, 0]
    assert history(factory, 8) == [0, 1, 0, 1, 0]
    assert history(factory, 9) == [0, 1, 0]
    assert history(factory, 5) == [0]  # the neighbour was never lit


def test_common_anode_lamps_are_lit_by_low_pins():
    factory = mock_pins()
    wiring = Wiring(active_high=False, lamps={"A1": Pins(17, 27, 22)})
    with open_lamps("rgb", ["A1"], wiring, factory) as board:
        assert [factory.pin(n).state for n in (17, 27, 22)] == [True, True, True]
        assert board.show("A1", "yellow") == Latched(Colour.YELLOW)
        assert [factory.pin(n).state for n in (17, 27, 22)] == [False, False, True]


def test_latched_is_what_the_pins_say_and_not_what_was_asked():
    factory = mock_pins()
    with open_lamps("rgb", ["A1"], None, factory) as board:
        factory.pin(5).mode = "stuck"
        assert board.show("A1", "green").colour is Colour.OFF
        assert board.show("A1", "yellow").colour is Colour.RED
        factory.pin(5).mode = "works"
        board.show("A1", "green")
        factory.pin(4)._change_state(True)  # a wire that touches 3.3 V
        assert board.latched("A1").colour is Colour.YELLOW
        factory.pin(6)._change_state(True)
        assert board.latched("A1").colour is None  # white is no colour of ours
        assert board.states() == (LampState("A1", None),)


def test_a_driver_that_fails_is_a_typed_error_and_harms_no_other_lamp():
    factory = mock_pins()
    with open_lamps("rgb", TWO, None, factory) as board:
        board.show("B2", "blue")
        factory.pin(5).mode = "broken"
        with pytest.raises(LampError, match="lamp A1") as caught:
            board.show("A1", "green")
        assert "灯 A1" in caught.value.words("zh_CN")
        assert isinstance(caught.value, RuntimeError)
        assert board.latched("B2").colour is Colour.BLUE
        with pytest.raises(LampError):
            board.all_off()
        assert board.latched("B2").colour is Colour.OFF  # all were tried
    board.close()  # twice is fine, and so was once with a broken pin


def test_blinking_goes_by_the_callers_clock():
    factory = mock_pins()
    with RgbBoard(TWO, None, factory) as board:
        board.tick(0.0)
        assert board.show("A1", "yellow", blinking=True) == Latched(Colour.YELLOW, True)
        board.show("B2", "green")
        seen = []
        for now_s in (0.1, 0.49, 0.5, 0.9, 1.0, 1.6, 2.1):
            board.tick(now_s)
            seen.append(board.latched("A1"))
        assert seen == [Latched(Colour.YELLOW, True)] * 7
        assert history(factory, 4) == [0, 1, 0, 1, 0, 1]
        assert history(factory, 5) == [0, 1, 0, 1, 0, 1]
        assert history(factory, 6) == [0]
        assert history(factory, 8) == [0, 1]  # the steady lamp stayed lit
        board.tick(2.6)
        board.show("A1", "yellow")  # steady again, in the middle of a dark half
        board.tick(3.1)
        board.tick(3.6)
        assert history(factory, 4) == [0, 1, 0, 1, 0, 1, 0, 1]


def test_a_pin_that_fails_while_blinking_leaves_the_others_blinking():
    factory = mock_pins()
    with RgbBoard(TWO, None, factory) as board:
        board.show("A1", "red", blinking=True)
        board.show("B2", "red", blinking=True)
        factory.pin(4).mode = "broken"
        with pytest.raises(LampError, match="lamp A1"):
            board.tick(0.5)
        assert history(factory, 7) == [0, 1, 0]


def test_a_blinking_lamp_that_is_stuck_dark_is_not_reported_lit():
    factory = mock_pins()
    with RgbBoard(["A1"], None, factory) as board:
        factory.pin(4).mode = "stuck"
        assert board.show("A1", "red", blinking=True) == Latched(Colour.OFF, True)
        board.tick(0.5)
        assert board.latched("A1") == Latched(Colour.OFF, True)
        factory.pin(4).mode = "works"
        board.tick(1.0)
        board.tick(1.5)
        assert board.latched("A1") == Latched(Colour.RED, True)


def test_eight_lamps_get_pins_and_the_others_the_screen():
    names = [f"L{n}" for n in range(11)]
    with open_lamps("rgb", names, None, mock_pins()) as board:
        assert [board.has(name) for name in names] == [True] * 8 + [False] * 3
        assert [board.driver_of(name) for name in names] == ["rgb"] * 8 + ["screen"] * 3
        assert board.pins["L7"] == Pins(25, 26, 27)
        assert board.show("L10", "red") == Latched(Colour.RED)
        assert board.show("nobody", "blue", blinking=True) == Latched(Colour.BLUE, True)
        assert board.latched("L10").colour is Colour.RED
        assert board.lamps == (*names, "nobody")


def test_lamps_come_and_go_and_keep_their_pins():
    factory = mock_pins()
    names = [f"L{n}" for n in range(9)]
    with RgbBoard(names, None, factory) as board:
        board.show("L8", "green")  # drawn on the screen only, so far
        board.show("L2", "red")
        board.set_lamps([*names[1:], "new"])
        assert board.lamps == (*names[1:], "new")
        assert history(factory, 4)[-1] == 0
        assert board.pins["L2"] == Pins(10, 11, 12)
        assert board.latched("L2").colour is Colour.RED
        assert board.pins["L8"] == Pins(4, 5, 6)  # what L0 left, with the colour it had
        assert factory.pin(5).state
        assert not board.has("new")


def test_with_a_wiring_file_only_wired_lamps_have_pins():
    wiring = Wiring(lamps={"B2": Pins(17, 27, 22), "gone": Pins(5, 6, 13)})
    with open_lamps("rgb", TWO, wiring, mock_pins()) as board:
        assert (board.has("A1"), board.has("B2")) == (False, True)
        assert board.lamps == TWO
        board.set_lamps(["gone", "B2"])
        assert board.show("gone", "green") == Latched(Colour.GREEN)
    with pytest.raises(WiringError, match="for shift"):
        RgbBoard(TWO, Wiring("shift"), mock_pins())


def test_pins_already_taken_are_a_lamp_error_and_nothing_is_held():
    factory = mock_pins()
    with open_lamps("rgb", ["A1"], None, factory), pytest.raises(LampError, match="lamp X"):
        open_lamps("rgb", [], Wiring(lamps={"W": Pins(20, 21, 22), "X": Pins(4, 23, 24)}), factory)
    open_lamps("rgb", [], Wiring(lamps={"W": Pins(20, 21, 22), "X": Pins(4, 23, 24)}), factory)


def test_closing_darkens_the_lamps():
    factory = mock_pins()
    board = open_lamps("rgb", ["A1"], None, factory)
    board.show("A1", "red", blinking=True)
    board.close()
    board.close()
    board.tick(10.0)
    assert history(factory, 4)[-1] == 0
    assert board.latched("A1") == Latched(Colour.OFF)


def test_the_screen_board_keeps_what_is_shown():
    with open_lamps("screen", TWO) as board:
        assert board.driver == "screen"
        assert board.show("A1", "yellow", blinking=True) == Latched(Colour.YELLOW, True)
        assert board.show("B2", "off", blinking=True) == Latched(Colour.OFF, False)
        board.set_lamps(["C3", "A1"])
        assert board.states() == (
            LampState("C3", Colour.OFF),
            LampState("A1", Colour.YELLOW, True),
        )
        board.all_off()
        assert board.latched("A1") == Latched(Colour.OFF)
        with pytest.raises(ValueError, match="purple"):
            board.show("A1", "purple")


@pytest.mark.parametrize("driver", ["neon", ""])
def test_an_unknown_driver_names_those_that_exist(driver):
    with pytest.raises(LampError, match="screen, rgb, shift, apa102"):
        open_lamps(driver, TWO)


def test_colours_and_bits_are_each_others_inverse():
    assert {colour_of(colour.rgb) for colour in Colour} == set(Colour)
    assert colour_of((1, 1, 1)) is None


SCRIPT = """
import sys
from hardware.errors import NoGpio
from hardware.drivers import open_lamps
try:
    with open_lamps("rgb", ["A1"]) as board:
        print(board.show("A1", "green").colour)
except NoGpio as error:
    print(error.words("en"))
"""


def _run(**extra: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPIOZERO")} | extra
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("pin_class", ["mockpin", "mockpwmpin"])
def test_gpiozeros_own_variable_gives_mock_pins(pin_class):
    result = _run(GPIOZERO_PIN_FACTORY="mock", GPIOZERO_MOCK_PIN_CLASS=pin_class)
    assert (result.stdout, result.stderr) == ("green\n", "")


def test_a_machine_without_gpio_says_what_to_do():
    # The named factory exists nowhere but on a Pi; asking for it is what a PC without pins sees.
    result = _run(GPIOZERO_PIN_FACTORY="nothere")
    assert "no usable GPIO" in result.stdout
    assert "--lamps screen" in result.stdout
    assert "nothere" in result.stdout, "why is said, too"
    assert "quxiang-kiosk doctor" in result.stdout
    assert result.stderr == ""
    assert issubclass(NoGpio, LampError)


# A device of that name that opens and knows nothing of pins, in a /dev of its own.
NO_IOCTL = """
set -e
mount -t tmpfs tmpfs /mnt
for each in null urandom random zero; do cp -a /dev/$each /mnt/; done
mknod -m 666 /mnt/gpiochip0 c 1 3
mount --bind /mnt /dev
exec "$0" "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev of its own needs root")
def test_a_real_lgpio_whose_ioctl_is_absent_says_what_to_do():
    pytest.importorskip("lgpio", reason="lgpio is installed on 64-bit Raspberry Pis only")
    env = {**os.environ, "GPIOZERO_PIN_FACTORY": "lgpio"}
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", NO_IOCTL, sys.executable, "-c", SCRIPT],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in result.stderr or "mount" in result.stderr:
        pytest.skip(f"no mount namespace here: {result.stderr.strip()}")
    assert "no usable GPIO" in result.stdout, result.stderr
    assert "quxiang-kiosk doctor" in result.stdout
    assert result.stderr == ""

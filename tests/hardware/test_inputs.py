"""What the kernel lists of input devices, as it was written down on machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware.inputs import WayIn, way_in

POWER = """I: Bus=0019 Vendor=0000 Product=0001 Version=0000
N: Name="pwr_button"
H: Handlers=kbd event0
B: PROP=0
B: EV=3
B: KEY=10000000000000 0
"""
KEYBOARD = """I: Bus=0003 Vendor=046d Product=c31c Version=0110
N: Name="Logitech USB Keyboard"
H: Handlers=sysrq kbd leds event1
B: PROP=0
B: EV=120013
B: KEY=1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe
"""
TOUCH = """I: Bus=0018 Vendor=0000 Product=0000 Version=0000
N: Name="10-0038 generic ft5x06 (79)"
H: Handlers=mouse0 event2
B: PROP=2
B: EV=b
B: KEY=400 0 0 0 0 0
B: ABS=260800000000003
"""
TOUCHPAD = TOUCH.replace("PROP=2", "PROP=5")


@pytest.mark.parametrize(
    ("listed", "way"),
    [
        ([POWER], WayIn.NONE),
        ([POWER, KEYBOARD], WayIn.KEYBOARD),
        ([POWER, TOUCHPAD], WayIn.NONE),
        ([POWER, KEYBOARD, TOUCH], WayIn.TOUCH),
        ([], WayIn.NONE),
    ],
)
def test_the_best_way_in_is_named(tmp_path: Path, listed: list[str], way: WayIn) -> None:
    file = tmp_path / "devices"
    file.write_text("\n".join(listed))
    assert way_in(file) is way


def test_a_machine_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    assert way_in(tmp_path / "none") is WayIn.UNKNOWN
    (tmp_path / "devices").write_text(POWER)
    assert way_in(tmp_path / "devices", screen=tmp_path / "unit") is WayIn.UNKNOWN
    (tmp_path / "unit").touch()
    assert way_in(tmp_path / "devices", screen=tmp_path / "unit") is WayIn.NONE

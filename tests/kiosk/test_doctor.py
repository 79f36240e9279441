"""Each check of `doctor` against a tree that stands for a healthy Pi, a sick one, or a plain PC."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.fakes import FakeCamera
from hardware.gpio_lines import lines_in_use
from hardware.wiring_file import check_wiring
from kiosk.checks import devices, power
from kiosk.checks.machine import APP, State
from kiosk.settings import Settings, VoiceSettings
from tests.kiosk.doctored import (
    EPOCH,
    ERRORS,
    HEAT,
    LIFE,
    LOOKS,
    MOUNTS,
    NOW,
    READER,
    RGB,
    ROOT_ERRORS,
    SHIFT,
    TOUCH,
    Tree,
    not_opened,
    pictures,
)


@pytest.fixture
def pi(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


@pytest.mark.parametrize("name", LOOKS)
def test_a_healthy_pi_is_well(pi: Tree, name: str) -> None:
    found = LOOKS[name](pi.machine)
    assert (found.name, found.state, found.advice) == (name, State.OK, ("", "")), found
    assert all(found.found)


@pytest.mark.parametrize("name", LOOKS)
def test_a_plain_pc_gives_no_false_alarm(tmp_path: Path, name: str) -> None:
    """No camera, no pins, no clock chip, no sound, nothing that tells: nothing of it is wrong."""
    machine = replace(Tree(tmp_path / "x").machine, root=tmp_path / "empty", run=lambda words: None)
    found = LOOKS[name](machine)
    if name in ("gpio", "spi"):  # here a wiring file asks for pins, which is no plain PC
        return
    assert found.ok, found
    assert found.advice == ("", "")
    assert found.state is (State.OK if name == "disk" else State.ABSENT)


Change = Callable[[Tree], Any]
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
SICK: list[tuple[str, State, Change, str]] = [
    ("disk", State.FAIL, lambda t: setattr(t, "room", _room(50_000, 800_000)), "204 MB"),
    ("disk", State.FAIL, lambda t: setattr(t, "room", _room(5_000_000, 900)), "900 more files"),
    ("mount", State.FAIL,
     lambda t: t.put(MOUNTS, "/dev/mmcblk0p3 /var/lib/quxiang ext4 ro 0 0\n"), "read-only"),
    ("mount", State.FAIL,
     lambda t: t.put(MOUNTS, "overlayroot / overlay rw 0 0\n"), "gone with the power"),
    ("card_errors", State.FAIL, lambda t: t.put(ERRORS, "3\n"), "mmcblk0p3 3"),
    ("card_errors", State.WARN, lambda t: t.put(ROOT_ERRORS, "1\n"), "mmcblk0p2 1"),
    ("wear", State.WARN, lambda t: t.put(LIFE, "0x08 0x02"), "80%"),
    ("wear", State.FAIL, lambda t: t.put(LIFE, "0x02 0x0b"), "100%"),
    ("wear", State.FAIL, lambda t: t.put("/sys/block/mmcblk0/device/pre_eol_info", "0x03"), "20%"),
    ("wear", State.ABSENT, lambda t: [t.drop(f"/sys/block/mmcblk0/device/{n}") for n in
                                      ("life_time", "pre_eol_info")], "does not tell"),
    ("layout", State.FAIL,
     lambda t: t.put(MOUNTS, "overlayroot / overlay rw 0 0\n"), "not mounted"),
    ("layout", State.WARN,
     lambda t: t.put(MOUNTS, "/dev/mmcblk0p2 / ext4 rw 0 0\n"
                     "/dev/mmcblk0p3 /var/lib/quxiang ext4 rw 0 0\n"), "not in force"),
    ("rtc", State.WARN, lambda t: t.drop("/dev/rtc0"), "no hardware clock"),
    ("rtc", State.FAIL, lambda t: t.put(EPOCH, "90"), "lost its time"),
    ("rtc", State.WARN, lambda t: t.put(EPOCH, str(NOW - 900)), "-900 s"),
    ("timesync", State.WARN,
     lambda t: t.printed.update({"timedatectl show --value -p NTPSynchronized": "no"}), "not sync"),
    ("timesync", State.WARN, lambda t: t.printed.update(
        {"timedatectl show --value -p NTPSynchronized": "",
         "chronyc -c tracking": "00000000,,0,0.0,0,0,0,0,0,0,0,0,0,Not synchronised"}), "not sync"),
    ("power", State.FAIL, lambda t: t.put(THROTTLED, "50001"), "too weak"),
    ("power", State.WARN, lambda t: t.put(THROTTLED, "50000"), "since the start"),
    ("power", State.WARN, lambda t: [t.drop(THROTTLED), t.printed.update(
        {"vcgencmd get_throttled": "throttled=0x10000"})], "since the start"),
    ("heat", State.FAIL, lambda t: t.put(THROTTLED, "4"), "slowed down"),
    ("heat", State.FAIL, lambda t: t.put(HEAT, "84000"), "shade"),
    ("heat", State.WARN, lambda t: t.put(THROTTLED, "80000"), "now 51"),
    ("watchdog", State.WARN, lambda t: t.drop("/dev/watchdog"), "stays hung"),
    ("watchdog", State.WARN, lambda t: t.printed.update(
        {"systemctl show --value -p RuntimeWatchdogUSec": "0"}), "system 0"),
    ("watchdog", State.ABSENT, lambda t: t.printed.clear(), "does not run"),
    ("release", State.FAIL, lambda t: t.drop(f"{APP}/release.key"), "no update is taken"),
    ("release", State.FAIL, lambda t: t.drop(f"{APP}/releases/7/complete"), "not whole"),
    ("release", State.WARN,
     lambda t: t.put(f"{APP}/state.json", '{"good": 7, "failed": [3, 8]}'), "8 was taken back"),
    ("gpio", State.FAIL, lambda t: t.drop("/dev/gpiochip0"), "no GPIO"),
    ("gpio", State.FAIL, lambda t: t.forbidden.add("gpiochip0"), "usermod -aG gpio"),
    ("gpio", State.FAIL, lambda t: t.held.update({5: "w1"}), "5 (button green): w1"),
    ("spi", State.WARN, lambda t: t.drop("/dev/spidev0.0"), "dtparam=spi=on"),
    ("spi", State.WARN, lambda t: t.forbidden.add("spidev0.0"), "usermod -aG spi"),
    ("sound", State.FAIL, lambda t: t.drop("/usr/bin/espeak-ng"), "install espeak-ng"),
    ("sound", State.FAIL, lambda t: t.drop("/dev/snd/pcmC0D0p"), "no sound card"),
    ("sound", State.FAIL, lambda t: t.forbidden.add("pcmC0D0p"), "usermod -aG audio"),
    ("touch", State.FAIL, lambda t: t.put("/proc/bus/input/devices", "I: Bus=0019\n"), "ribbon"),
    ("touch", State.WARN, lambda t: t.put("/proc/bus/input/devices", READER), "keyboard works"),
    ("reader", State.ABSENT, lambda t: t.put("/proc/bus/input/devices", TOUCH), "no card reader"),
    ("camera", State.FAIL, lambda t: t.drop("/dev/video0"), "no camera"),
]  # fmt: skip


def _room(blocks: int, files: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 7_000_000, blocks, blocks, 900_000, files, files, 0, 255))


@pytest.mark.parametrize(("name", "state", "change", "said"), SICK)
def test_what_is_wrong_is_found_and_says_what_to_do(
    pi: Tree, name: str, state: State, change: Change, said: str
) -> None:
    change(pi)
    found = LOOKS[name](pi.machine)
    assert (found.name, found.state) == (name, state), found
    assert said in found.words("en")
    assert any("一" <= letter <= "鿿" for letter in found.words("zh"))
    assert found.ok == (state is not State.FAIL)
    if state is not State.ABSENT:
        assert all(found.advice)
        assert not found.words("en").endswith((".", "。"))


def test_a_pin_is_busy_for_lamps_on_pins_but_not_through_spi(pi: Tree) -> None:
    pi.held = {11: "spi0 CLK", 17: "relay"}
    busy = devices.gpio(pi.machine, RGB, running=False)
    assert (busy.state, "17 (lamp A1): relay" in busy.words("en")) == (State.FAIL, True)
    assert devices.gpio(pi.machine, RGB, running=True).state is State.OK
    assert devices.gpio(pi.machine, SHIFT, running=False).state is State.OK
    on_spi = check_wiring({"driver": "rgb", "lamps": {"A1": {"red": 11, "green": 27, "blue": 22}}})
    named = devices.gpio(pi.machine, on_spi, running=False)
    assert "11 (lamp A1): spi0 CLK" in named.words("en"), "a lamp on SPI's own pin"
    mock = replace(pi.machine, environ={"GPIOZERO_PIN_FACTORY": "mock"})
    assert devices.gpio(mock, RGB, running=False).state is State.ABSENT
    assert lines_in_use(pi.root / "dev") is None, "a plain file is no chip"


def test_the_voice_follows_its_setting(pi: Tree, tmp_path: Path) -> None:
    off = Settings(voice=VoiceSettings(on=False))
    assert devices.sound(pi.machine, off).state is State.ABSENT
    for command in ("'", "speak-no", "/opt/none"):
        asked = Settings(voice=VoiceSettings(on=True, command=command))
        found = devices.sound(replace(pi.machine, root=tmp_path), asked)
        assert found.state is State.FAIL, "whoever asked for a voice is told, on a PC too"
        assert "kiosk.toml" in found.words("en")


def test_a_clock_chip_in_local_time_is_not_compared(pi: Tree) -> None:
    pi.put(EPOCH, str(NOW + 28_800))
    assert power.rtc(pi.machine).state is State.WARN
    pi.put("/etc/adjtime", "0.0 0 0.0\n0\nLOCAL\n")
    assert power.rtc(pi.machine).state is State.OK


# -- the camera -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "state", "said"),
    [
        (pictures(*[90] * 9, half=40), State.OK, "64x48"),
        (pictures(*[90] * 9), State.WARN, "may be covered"),
        (pictures(*[90] * 9, noise=False), State.FAIL, "frozen"),
        (pictures(*[3] * 9), State.WARN, "covered"),
        ([], State.FAIL, "no picture"),
    ],
)
def test_a_camera_gives_pictures_that_differ(
    pi: Tree, images: list[np.ndarray], state: State, said: str
) -> None:
    opened: list[str] = []

    def opener(source: str) -> FakeCamera:
        opened.append(source)
        return FakeCamera(images, live=True)

    source = devices.source_of(pi.machine)
    found = devices.camera(pi.machine, source, running=None, opener=opener)
    assert opened == ["2"], "the one of kiosk.env"
    assert (found.state, said in found.words("en")) == (state, True), found


@pytest.mark.parametrize(
    ("running", "state"),
    [
        ("ok", State.OK),
        ("frozen", State.FAIL),
        ("upside_down", State.FAIL),
        ("fault", State.FAIL),
        ("blank", State.WARN),
    ],
)
def test_a_running_kiosk_keeps_its_camera_and_is_believed(
    pi: Tree, running: str, state: State
) -> None:
    assert devices.camera(pi.machine, "0", running=running, opener=not_opened).state is state

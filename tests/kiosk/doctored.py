"""A tree of files that stands for a healthy Raspberry Pi, and what `doctor` looks at in it; and a
database that its card has spoilt."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardware.wiring_file import check_wiring
from kiosk.checks import devices, power, storage
from kiosk.checks.machine import APP, Check, Machine
from kiosk.config import DATABASE
from kiosk.settings import Settings

NOW = 1_780_000_000
MOUNTS = "/proc/self/mounts"
ERRORS, ROOT_ERRORS = (f"/sys/fs/ext4/mmcblk0p{n}/errors_count" for n in (3, 2))
LIFE = "/sys/block/mmcblk0/device/life_time"
EPOCH = "/sys/class/rtc/rtc0/since_epoch"
HEAT = "/sys/class/thermal/thermal_zone0/temp"
DATA = Path("/var/lib/quxiang/kiosk")
TOUCH = """I: Bus=0018 Vendor=0416 Product=038f Version=0000
N: Name="Goodix Capacitive TouchScreen"
H: Handlers=mouse0 event0
B: PROP=2
B: EV=b
B: ABS=2658000 3

"""
READER = """I: Bus=0003 Vendor=ffff Product=0035 Version=0110
N: Name="Sycreader RFID Technology Co., Ltd SYC ID&IC USB Reader"
H: Handlers=sysrq kbd event1 leds
B: PROP=0
B: EV=120013
"""
WELL = {
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    MOUNTS: "/dev/mmcblk0p2 / ext4 rw 0 0\noverlayroot / overlay rw 0 0\n"
    "/dev/mmcblk0p3 /var/lib/quxiang ext4 rw,noatime 0 0\n",
    "/proc/bus/input/devices": TOUCH + READER,
    "/proc/asound/cards": " 0 [Device ]: USB-Audio - USB Audio Device\n   Generic at usb-1\n",
    ROOT_ERRORS: "0\n",
    ERRORS: "0\n",
    LIFE: "0x02 0x01\n",
    "/sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
    "/sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    HEAT: "51234\n",
    EPOCH: f"{NOW + 1}\n",
    "/sys/class/video4linux/video0/name": "HD USB Camera\n",
    "/sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
    "/etc/systemd/system/quxiang-kiosk.service": "[Unit]\n",
    "/etc/systemd/system/quxiang-screen.service": "[Unit]\n",
    "/etc/fstab": "# data\nUUID=1-2 /var/lib/quxiang ext4 noatime,errors=remount-ro 0 2\n",
    "/etc/overlayroot.local.conf": 'overlayroot="tmpfs:recurse=0"\n',
    "/etc/quxiang/kiosk.env": "# a comment\nCAMERA=2\nOPTIONS=\n",
    f"{APP}/release.key": "MCowBQYDK2VwAyEA\n",
    f"{APP}/releases/7/complete": "",
    **dict.fromkeys(
        ("/dev/rtc0", "/dev/watchdog", "/dev/gpiochip0", "/dev/spidev0.0", "/dev/snd/pcmC0D0p",
         "/dev/video0", "/dev/video10"),
        "",
    ),
}  # fmt: skip
COMMANDS = {
    "systemctl show --value -p RuntimeWatchdogUSec": "14s",
    "systemctl show --value -p WatchdogUSec quxiang-kiosk.service": "30s",
    "timedatectl show --value -p NTPSynchronized": "yes",
}
ROOM = os.statvfs_result(
    (4096, 4096, 7_000_000, 6_000_000, 5_000_000, 900_000, 800_000, 800_000, 0, 255)
)
SHIFT = check_wiring({"driver": "shift", "buttons": {"green": 5}, "chain": {"length": 3}})
RGB = check_wiring({"driver": "rgb", "lamps": {"A1": {"red": 17, "green": 27, "blue": 22}}})


class Tree:
    """A machine of files and of what commands print."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.printed = dict(COMMANDS)
        self.forbidden: set[str] = set()
        self.held: dict[int, str] = {8: "spi0 CS0", 2: "i2c"}
        self.room = ROOM
        self.asked: list[str] = []
        for place, text in WELL.items():
            self.put(place, text)
        self.put("/usr/bin/espeak-ng", "#!/bin/sh\n").chmod(0o755)
        (self.root / APP.lstrip("/") / "current").symlink_to("releases/7")

    def put(self, place: str, text: str) -> Path:
        path = self.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def drop(self, place: str) -> None:
        (self.root / place.lstrip("/")).unlink()

    def run(self, words: Sequence[str]) -> str | None:
        self.asked.append(" ".join(words))
        return self.printed.get(" ".join(words))

    @property
    def machine(self) -> Machine:
        return Machine(
            root=self.root,
            run=self.run,
            allowed=lambda path: path.name not in self.forbidden,
            room=lambda path: self.room,
            lines=lambda: self.held,
            environ={"PATH": "/usr/local/bin:/usr/bin"},
            module=lambda name: True,
            now_s=lambda: NOW,
        )


LOOKS: dict[str, Callable[[Machine], Check]] = {
    "disk": lambda at: storage.disk(at, DATA),
    "mount": lambda at: storage.mount(at, DATA),
    "card_errors": lambda at: storage.card_errors(at, DATA),
    "wear": lambda at: storage.wear(at, DATA),
    "layout": lambda at: storage.layout(at, DATA),
    "rtc": power.rtc,
    "timesync": power.timesync,
    "power": power.power,
    "heat": power.heated,
    "watchdog": power.watchdog,
    "release": lambda at: power.release(at, Path(APP)),
    "gpio": lambda at: devices.gpio(at, SHIFT, running=False),
    "spi": lambda at: devices.spi(at, SHIFT),
    "sound": lambda at: devices.sound(at, Settings()),
    "touch": devices.touch,
    "reader": lambda at: devices.reader(at, None),
    "camera": lambda at: devices.camera(at, None, running=None, opener=not_opened),
}


def not_opened(source: str) -> Any:
    raise AssertionError("no camera was named")


def pictures(*means: int, noise: bool = True, half: int = 0) -> list[np.ndarray]:
    """Of one grey and noise; the lower half is brighter by `half`."""
    dice = np.random.default_rng(0)
    top = 4 if noise else 1
    made = [
        np.full((48, 64, 3), m, np.uint8) + dice.integers(0, top, (48, 64, 3), np.uint8)
        for m in means
    ]
    for image in made:
        image[24:] += np.uint8(half)
    return made


PAGE = 4096


def spoil(folder: Path, seq: int) -> None:
    """Overwrites the page of a kiosk's database that holds this record; nobody has it open."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
        payload = db.execute("SELECT payload FROM records WHERE seq = ?", (seq,)).fetchone()[0]
    data = bytearray((folder / DATABASE).read_bytes())
    page = data.index(payload) // PAGE
    data[page * PAGE : (page + 1) * PAGE] = b"\xff" * PAGE
    (folder / DATABASE).write_bytes(data)

"""Each check of `doctor` against a tree that stands for a healthy Pi, a sick one, or a plain PC."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance import wire
from attendance.statuses import Kind
from hardware.fakes import FakeCamera
from hardware.gpio_lines import lines_in_use
from hardware.wiring_file import check_wiring
from kiosk.checks import devices, power, recognition, records, storage
from kiosk.checks.machine import APP, Check, Machine, State
from kiosk.clock import SystemClock
from kiosk.condition import EXPIRING_MS, WAITING_S
from kiosk.config import load_config, save_config
from kiosk.doctor import checks
from kiosk.fakes import FakeTownship, package
from kiosk.pairing import pair
from kiosk.people import People
from kiosk.settings import Settings, VoiceSettings
from kiosk.site import Site
from kiosk.store import Draft

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


@pytest.fixture
def pi(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


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
    "camera": lambda at: devices.camera(at, None, running=None, opener=_none),
}


def _none(source: str) -> Any:
    raise AssertionError("no camera was named")


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
    assert devices.camera(pi.machine, "0", running=running, opener=_none).state is state


# -- recognition ----------------------------------------------------------------------------


class SlowEngine:
    """Takes as long as it is told, by a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self.takes = list(seconds)

    def detect(self, frame: Any) -> list[Any]:
        assert frame.shape == (480, 640, 3)
        self.now += self.takes.pop(0)
        return []

    def embed(self, frame: Any, face: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("takes", "running", "state"),
    [
        ((9.0, 0.3, 0.2, 0.4), False, State.OK),
        ((0.1, 0.3, 0.26, 0.4), False, State.FAIL),
        ((0.1, 0.3, 0.26, 0.4), True, State.WARN),
    ],
)
def test_speed_is_that_of_the_best_frame_after_the_first(
    tmp_path: Path, takes: tuple[float, ...], running: bool, state: State
) -> None:
    engine = SlowEngine(*takes)
    found = recognition.speed(
        tmp_path,
        running=running,
        load=lambda name, data: engine,
        mono=lambda: engine.now,  # type: ignore[arg-type, return-value]
    )
    assert (found.name, found.state) == ("speed", state)
    assert f"{min(takes[1:]) * 1000:.0f} ms" in found.words("en")


# -- the paired kiosk -----------------------------------------------------------------------


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    opened = FakeTownship()
    opened.now_ms = SystemClock().read().wall_ms
    yield opened
    opened.close()


@pytest.fixture
def site(township: FakeTownship, tmp_path: Path) -> Iterator[Site]:
    pair(tmp_path / "kiosk", township.url, str(township.code))
    with Site(tmp_path / "kiosk") as opened:
        yield opened


def test_records_that_wait_for_days(site: Site) -> None:
    assert records.outbox(site).state is State.OK
    now = SystemClock().read()
    old = replace(
        now, wall_ms=now.wall_ms - WAITING_S * 1000 - 5000, boot_id="0" * 8 + now.boot_id[8:]
    )
    site.store.record(Draft(kind=Kind.CLOCK, detail="x"), old)
    found = records.outbox(site)
    assert (found.state, "3 d 0 h" in found.words("en")) == (State.FAIL, True)


def test_a_manifest_before_and_after_its_end(site: Site, township: FakeTownship) -> None:
    client = site.client(SystemClock())
    client.exchange()
    client.close()
    assert records.gallery(site).state is State.FAIL
    now_ms = SystemClock().read().wall_ms
    for version, lasts, state in (
        (1, EXPIRING_MS + 86_400_000, State.OK),
        (2, EXPIRING_MS - 60_000, State.WARN),
        (3, -1, State.FAIL),
    ):
        contents = _gallery(site.config.device, version)
        made = package(
            township.desk, site.keys.box_public, contents, made_ms=now_ms + lasts, days=0
        )
        site.vault.install(made, load_config(site.folder), site.keys, now_ms)
        assert records.gallery(site).state is state, version


def test_the_certificate_is_the_pinned_one(site: Site, pi: Tree) -> None:
    assert records.certificate(site, pi.machine).state is State.ABSENT  # http on loopback
    remote = {"server": "https://10.0.0.1:8443"}
    save_config(site.folder, _with(site, **remote, pin="ab" * 32))
    assert records.certificate(site, pi.machine, lambda url: b"\xab" * 32).state is State.OK
    other = records.certificate(site, pi.machine, lambda url: b"\xac" * 32)
    assert (other.state, "somebody may stand between" in other.words("en")) == (State.FAIL, True)
    save_config(site.folder, _with(site, **remote, ca="/x.crt"))
    asked = "openssl x509 -noout -enddate -in /x.crt"
    for printed, state in (
        ("notAfter=Jun 30 00:00:00 2036 GMT", State.OK),
        ("notAfter=Jun 10 00:00:00 2026 GMT", State.WARN),
        ("notAfter=Jun 10 00:00:00 2025 GMT", State.FAIL),
        ("", State.FAIL),
    ):
        pi.printed[asked] = printed
        assert records.certificate(site, pi.machine).state is state, printed


def _with(site: Site, **more: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(site.config, **more)


def _gallery(device: str, version: int = 1, *people: wire.Person) -> wire.GalleryContents:
    return wire.GalleryContents(
        device=device, version=version, model="m", dimension=4, pin_key=b"k" * 32, people=[*people]
    )


def test_people_without_a_pin_and_cards_without_a_reader(pi: Tree) -> None:
    assert records.pins(People()).state is State.ABSENT
    both = wire.Person(official="A-1", name="李强", title="", pin="hash", card=b"c" * 32)
    faceless = wire.Person(official="A-2", name="王芳", title="")
    people = People(_gallery("kkkkkkkk", 1, both))
    assert records.pins(people).state is State.OK
    some = records.pins(People(_gallery("kkkkkkkk", 1, both, faceless)))
    assert (some.state, "王芳" in some.words("zh")) == (State.WARN, True)
    assert devices.reader(pi.machine, people).state is State.OK
    pi.put("/proc/bus/input/devices", TOUCH)
    assert devices.reader(pi.machine, people).state is State.WARN
    pi.put("/dev/input/quxiang-card", "")
    assert devices.reader(pi.machine, people).state is State.OK


def test_everything_in_turn_on_a_pi(site: Site, pi: Tree, township: FakeTownship) -> None:
    """The whole command: a fresh kiosk on a healthy Pi lacks its gallery and was not started."""
    pi.put(
        MOUNTS, WELL[MOUNTS] + f"/dev/sda1 {site.folder} ext4 rw 0 0\n"
    )
    images = pictures(*[90] * 9, half=40)
    found = {check.name: check for check in checks(
        site.folder, machine=pi.machine, opener=lambda source: FakeCamera(images, live=True)
    )}  # fmt: skip
    assert [name for name, check in found.items() if not check.ok] == ["kiosk", "gallery"]
    assert set(LOOKS) <= set(found)
    assert {"certificate", "outbox", "speed", "weights", "pins", "settings"} <= set(found)
    township.down()
    (site.folder / "kiosk.toml").write_text("[voice]\nloud = 1\n", "utf-8")
    (site.folder / "wiring.toml").write_text("driver = 'none'\n", "utf-8")
    found = {check.name: check for check in checks(site.folder, machine=pi.machine, opener=_none)}
    bad = {name for name, check in found.items() if not check.ok}
    assert {"server", "settings", "wiring", "camera"} <= bad
    assert "internal fault" in found["camera"].words("en"), "one check's fault hides no other"

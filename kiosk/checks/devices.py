"""What hangs on the machine: pins, sound, camera, touch screen, card reader."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import numpy as np

from hardware.frames import Camera
from hardware.inputs import DEVICES, SCREEN_UNIT, WayIn, way_in
from hardware.lookout import BLACK, DETAIL, FLAT, View, detail
from hardware.wiring import Wiring
from kiosk.checks.machine import Check, Machine, State
from kiosk.people import People
from kiosk.settings import Settings
from kiosk.views import VIEWS

FRAMES = 8
"""Pictures of a live camera that are compared: a living sensor has noise, no two are equal."""
READERS = (("ffff", "0035"), ("08ff", "0009"), ("0c27", None))
"""Vendor and product of the usual card readers that type, as in deploy/config/60-quxiang.rules."""
NO_CAMERA = re.compile(r"codec|isp|rpivid|hevc|pispbe", re.IGNORECASE)
"""Video devices of a Raspberry Pi that are no cameras."""


def group_advice(group: str) -> tuple[str, str]:
    """How the kiosk's user gets at a device."""
    return (
        f"请运行 sudo usermod -aG {group} quxiang 后重启",
        f"run sudo usermod -aG {group} quxiang and restart",
    )


def pins_of(wiring: Wiring) -> dict[int, str]:
    """What each pin is for, by BCM number."""
    taken: dict[int, str] = {}
    if wiring.driver == "rgb":
        for lamp, pins in wiring.lamps.items():
            taken.update(dict.fromkeys((pins.red, pins.green, pins.blue), f"lamp {lamp}"))
    elif wiring.driver in ("shift", "apa102"):
        line = wiring.chain
        taken.update({line.clock: "lamps", line.data: "lamps"})
        if wiring.driver == "shift":
            taken.update({line.latch: "lamps", line.enable: "lamps"})
        if line.readback is not None:
            taken[line.readback] = "lamps"
    taken.update({pin: f"button {colour}" for colour, pin in wiring.buttons.items()})
    for name, switch in (("motion", wiring.motion), ("door", wiring.door), ("light", wiring.light)):
        if switch is not None:
            taken[switch.pin] = name
    if wiring.buzzer is not None:
        taken[wiring.buzzer] = "buzzer"
    return taken


def gpio(machine: Machine, wiring: Wiring | None, *, running: bool) -> Check:
    """The pins that the wiring file asks for are there, may be used, and nobody else holds them."""
    pins = pins_of(wiring) if wiring else {}
    if not pins:
        return Check("gpio", State.ABSENT, ("没有接线文件要用引脚", "no wiring file asks for pins"))
    if machine.environ.get("GPIOZERO_PIN_FACTORY") == "mock":
        return Check("gpio", State.ABSENT, ("用的是模拟引脚", "mock pins are used"))
    chips = machine.glob("/dev/gpiochip*")
    if not chips:
        return Check(
            "gpio",
            State.FAIL,
            ("本机没有 GPIO 引脚", "this machine has no GPIO pins"),
            ("请改用树莓派，或删去 wiring.toml", "use a Raspberry Pi, or remove wiring.toml"),
        )
    if not any(machine.allowed(chip) for chip in chips):
        return Check(
            "gpio",
            State.FAIL,
            ("没有权限使用引脚", "the pins may not be used"),
            group_advice("gpio"),
        )
    if running:
        return Check("gpio", State.OK, ("引脚由运行中的终端使用", "in use by the running kiosk"))
    held = machine.lines()
    if held is None:
        return Check("gpio", State.OK, ("引脚可用", "the pins can be used"))
    # Hardware SPI holds its own pins, which the chain then reaches through it.
    own = wiring is not None and wiring.driver in ("shift", "apa102")
    busy = {
        pin: who
        for pin, who in held.items()
        if pin in pins and not (own and who.lower().startswith("spi"))
    }
    if busy:
        listed = ", ".join(f"{pin} ({pins[pin]}): {who}" for pin, who in sorted(busy.items()))
        return Check(
            "gpio",
            State.FAIL,
            (f"引脚被占用：{listed}", f"pins are held by others: {listed}"),
            (
                "请停掉占用的程序，在 raspi-config 关闭该接口，或改 wiring.toml",
                "stop that program, switch the interface off (raspi-config), or edit wiring.toml",
            ),
        )
    return Check("gpio", State.OK, (f"{len(pins)} 个引脚空闲", f"free pins: {len(pins)}"))


def spi(machine: Machine, wiring: Wiring | None) -> Check:
    """Hardware SPI for the drivers that shift bits; without it they are slower, no more."""
    if wiring is None or wiring.driver not in ("shift", "apa102"):
        return Check("spi", State.ABSENT, ("灯板不用 SPI", "the lamp board needs no SPI"))
    if (wiring.chain.clock, wiring.chain.data) != (11, 10):
        return Check(
            "spi",
            State.ABSENT,
            ("接在别的引脚上，由程序移位", "on other pins, shifted by software"),
        )
    device = machine.path("/dev/spidev0.0")
    if not device.exists():
        return Check(
            "spi",
            State.WARN,
            ("SPI 没有打开，由程序移位，较慢", "SPI is off: bits are shifted by software, slower"),
            (
                "请在 config.txt 写入 dtparam=spi=on 后重启",
                "write dtparam=spi=on into config.txt and restart",
            ),
        )
    if not machine.allowed(device):
        return Check(
            "spi", State.WARN, ("没有权限使用 SPI", "SPI may not be used"), group_advice("spi")
        )
    if not machine.module("spidev"):
        return Check(
            "spi",
            State.WARN,
            (
                "没有安装 spidev，由程序移位，较慢",
                "spidev is not installed: shifted by software, slower",
            ),
            ("请安装 spidev（docs/wiring.md）", "install spidev (docs/wiring.md)"),
        )
    return Check("spi", State.OK, ("SPI 可用", "SPI can be used"))


def sound(machine: Machine, settings: Settings) -> Check:
    """The voice's command and something that sounds."""
    voice = settings.voice
    if voice.on is False:
        return Check("sound", State.ABSENT, ("语音已关闭", "the voice is switched off"))
    bad = State.FAIL if voice.on else machine.missing(State.FAIL)
    advise = bad is State.FAIL
    try:
        words = shlex.split(voice.command)
    except ValueError:
        words = []
    if not words or not machine.has_command(words[0]):
        name = words[0] if words else voice.command
        advice = (
            f"请安装 {name}，或改 kiosk.toml 的 [voice]",
            f"install {name}, or change [voice] in kiosk.toml",
        )
        told = (f"找不到语音命令 {name}", f"the voice's command {name} is not there")
        return Check("sound", bad, told, advice if advise else ("", ""))
    devices = machine.glob("/dev/snd/pcm*p")
    if not devices:
        return Check(
            "sound",
            bad,
            ("没有声卡", "there is no sound card"),
            ("请接 USB 扬声器", "plug a USB loudspeaker in") if advise else ("", ""),
        )
    if not any(machine.allowed(device) for device in devices):
        advice = group_advice("audio") if advise else ("", "")
        return Check("sound", bad, ("没有权限使用声卡", "the sound card may not be used"), advice)
    cards = re.findall(r"\]: \S+ - (.+)", machine.read("/proc/asound/cards") or "")
    told = "、".join(cards) or "声卡正常", ", ".join(cards) or "a sound card is there"
    return Check("sound", State.OK, told)


def touch(machine: Machine) -> Check:
    """How fingers get in."""
    way = way_in(machine.path(DEVICES), screen=machine.path(SCREEN_UNIT))
    if way is WayIn.NONE:
        return Check(
            "touch",
            State.FAIL,
            ("没有触摸屏也没有键盘", "no touch screen and no keyboard"),
            (
                "请检查触摸屏的排线，或插上 USB 键盘",
                "check the screen's ribbon, or plug in a USB keyboard",
            ),
        )
    if way is WayIn.UNKNOWN:
        return Check("touch", State.ABSENT, ("本机没有屏幕会话", "no screen session here"))
    if way is WayIn.KEYBOARD:
        advice = ("若装了触摸屏，请检查排线", "check the ribbon where a touch screen was fitted")
        told = ("没有触摸屏，可用键盘操作", "no touch screen; the keyboard works")
        return Check("touch", State.WARN, told, advice)
    return Check("touch", State.OK, ("触摸屏正常", "touch screen found"))


def reader(machine: Machine, people: People | None) -> Check:
    """A card reader, where somebody has a card."""
    text = (machine.read(DEVICES) or "").lower()
    linked = bool(machine.glob("/dev/input/quxiang-card"))
    if linked or any(
        re.search(rf"vendor={vendor} product={product or '[0-9a-f]{4}'}", text)
        for vendor, product in READERS
    ):
        return Check("reader", State.OK, ("读卡器已接", "a card reader is there"))
    if people is not None and people.cards:
        return Check(
            "reader",
            machine.missing(State.WARN),
            (
                f"没有认出读卡器，而 {people.cards} 人有卡",
                f"no card reader was recognised; people with a card: {people.cards}",
            ),
            (
                "请插好读卡器；别的型号只要能打字也可用，请刷一次卡试试",
                "plug it in; another make that types works too, try a card",
            ),
        )
    return Check("reader", State.ABSENT, ("没有读卡器", "no card reader"))


def camera(
    machine: Machine,
    source: str | None,
    *,
    running: str | None,
    opener: Callable[..., Camera],
) -> Check:
    """The camera opens and gives pictures that differ.

    running: how a kiosk that runs now says its camera is (`Watch.state`), None where none runs.
    """
    if running is not None:
        trouble = {str(view): trouble for view, trouble in VIEWS.items()}.get(running)
        if trouble is not None:
            state = State.WARN if running == View.BLANK else State.FAIL
            return Check("camera", state, trouble.what, trouble.advice)
        if running == "fault":
            return Check(
                "camera",
                State.FAIL,
                ("运行中的终端没有画面", "the running kiosk gets no picture"),
                ("请检查摄像头的线", "check the camera's cable"),
            )
        return Check("camera", State.OK, ("终端正在使用", "in use by the running kiosk"))
    if source is None:
        return _listed(machine)
    pictures = []
    with opener(source) as opened:
        live, shown = opened.live, opened.source  # without the password of a URL
        for frame in opened.frames():
            pictures.append(frame.image)
            if len(pictures) >= (FRAMES if live else 1):
                break
    if not pictures:
        told = (f"{shown} 没有画面", f"{shown} gives no picture")
        return Check("camera", State.FAIL, told, ("请检查", "check it"))
    height, width = pictures[0].shape[:2]
    seen = f"{shown}: {width}x{height}"
    if live and all(np.array_equal(pictures[0], other) for other in pictures[1:]):
        words = VIEWS[View.FROZEN]
        return Check("camera", State.FAIL, words.what, words.advice)
    if live and float(pictures[-1].mean()) <= BLACK and float(pictures[-1].std()) <= FLAT:
        words = VIEWS[View.COVERED]
        return Check("camera", State.WARN, words.what, words.advice)
    if live and all(detail(picture) <= DETAIL for picture in pictures):
        words = VIEWS[View.BLANK]
        return Check("camera", State.WARN, words.what, words.advice)
    return Check("camera", State.OK, (seen, seen))


def _listed(machine: Machine) -> Check:
    names = []
    for device in machine.glob("/dev/video*"):
        name = machine.read(f"/sys/class/video4linux/{device.name}/name") or device.name
        if not NO_CAMERA.search(name):
            names.append(name)
    if names:
        told = "、".join(dict.fromkeys(names)), ", ".join(dict.fromkeys(names))
        return Check("camera", State.OK, told)
    bad = machine.missing(State.FAIL)
    return Check(
        "camera",
        bad,
        ("没有找到摄像头", "no camera was found"),
        ("请检查接线，或用 --camera 指定", "check its cable, or name one with --camera")
        if bad is State.FAIL
        else ("", ""),
    )


def source_of(machine: Machine) -> str | None:
    """The camera that an installed kiosk is told to use, None where it is not said."""
    for line in (machine.read("/etc/quxiang/kiosk.env") or "").splitlines():
        if line.startswith("CAMERA="):
            return line.removeprefix("CAMERA=").strip().strip("\"'") or None
    return "0" if machine.installed else None

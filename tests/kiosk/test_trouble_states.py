"""Each state that a Pi which nobody visits may get into, through the whole kiosk: told on its page
in both languages with what to do, known to `doctor`, and gone by itself once its cause is.

`docs/faults.md` has the table. Played are pictures, pins, free space and the machine's own files.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpiozero
import numpy as np
import pytest

from attendance.wire import GalleryContents, Person
from hardware.errors import CameraMissing, CameraStopped
from hardware.fakes import FakeCamera, mock_pins
from hardware.frames import Image
from kiosk.clock import SystemClock
from kiosk.config import load_keys
from kiosk.doctor import checks
from kiosk.edge import Edge
from kiosk.fakes import FakeTownship, package
from kiosk.pairing import pair
from kiosk.pins import hash_pin
from kiosk.run import main_run
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser
from tests.faults.yearworld import Book
from tests.kiosk.doctored import HEAT, READER, TOUCH, Tree, not_opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PIN_KEY = b"k" * 32
LATCH = 25
DEVICES, SOUND = "/proc/bus/input/devices", "/dev/snd/pcmC0D0p"
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"


class Place:
    """A kiosk that runs in a thread, and what is played around it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.tree = Tree(folder / "pi")
        self.folder, self.url = folder / "kiosk", f"http://127.0.0.1:{port}/"
        self.seen = "room"
        self.free = 9000
        self.dice = np.random.default_rng(3)
        self.book = Book()
        self._still = self._room()
        self._ahead = 0.0
        self._stop = threading.Event()
        self.township = FakeTownship()
        now = self.township.now_ms = SystemClock().read().wall_ms
        config = pair(self.folder, self.township.url, str(self.township.code))
        person = Person(official="XC-1", name="王芳", title="", pin=hash_pin(PIN_KEY, "111111"))
        contents = GalleryContents(
            device=config.device, version=1, model=self.book.model_id,
            dimension=self.book.dimension, pin_key=PIN_KEY, people=[person],
        )  # fmt: skip
        self.township.galleries[config.device] = package(
            self.township.desk, load_keys(self.folder).box_public, contents, made_ms=now
        )
        (self.folder / "wiring.toml").write_text(
            'driver = "shift"\n[chain]\nlength = 1\n[lamps.XC-1]\nplace = 1\n', "utf-8"
        )
        gpiozero.Device.pin_factory = mock_pins()
        self.other: gpiozero.OutputDevice | None = gpiozero.OutputDevice(LATCH)
        edge = Edge(
            mono=self._mono,
            recogniser=lambda *_: Recogniser(
                self.book, Gallery(self.book.model_id, self.book.dimension), "off"
            ),
            root=self.tree.root,
            free_mb=lambda _: self.free,
        )
        args = argparse.Namespace(
            data=self.folder, camera="0", lamps=None, until_end=False, events=None, screen=port,
            liveness="doubtful", realtime=False, loop=False, notice=None, engine="sface",
        )  # fmt: skip
        self._thread = threading.Thread(
            target=main_run,
            args=(args,),
            kwargs={"opener": self._open, "stop": self._stop, "edge": edge},
        )
        self._thread.start()

    def _mono(self) -> float:
        """Half a second a picture beside the time that passes."""
        return time.monotonic() + self._ahead

    def _open(self, *_args: Any, **_more: Any) -> FakeCamera:
        if self.seen == "nothing":
            raise CameraMissing("没有找到摄像头，请检查接线。", "No camera: check its cable.")
        return FakeCamera(self._pictures(), live=True, now_s=self._mono)

    def _pictures(self) -> Iterator[Any]:
        while not self._stop.wait(0.01):
            self._ahead += 0.5
            if self.seen == "nothing":
                yield CameraStopped("摄像头没有画面了，请检查接线。", "No more: check the cable.")
            else:
                yield self._picture()

    def _picture(self) -> Image:
        if self.seen == "still":
            return self._still
        picture = self._noise(4) if self.seen == "black" else self._room()
        # Where the engine finds a face: upright in the first pixel, turned in the last.
        corners = {"upright": (5, 0), "turned": (0, 5)}.get(self.seen, (0, 0))
        picture[0, 0, 0], picture[-1, -1, 0] = corners
        return picture

    def _noise(self, mean: float) -> Image:
        return self.dice.normal(mean, 2.0, (120, 160, 3)).clip(0, 255).astype(np.uint8)

    def _room(self) -> Image:
        scene = self._noise(90)
        scene[:60] += np.uint8(80)
        return scene

    def doctor(self, name: str) -> tuple[bool, str, str]:
        """Whether that line is well, and its words in Chinese and English."""
        machine = self.tree.machine
        found = {each.name: each for each in checks(self.folder, None, machine, not_opened)}
        return found[name].ok, found[name].words("zh"), found[name].words("en")

    def free_pins(self) -> None:
        """The other program ends."""
        if self.other is not None:
            self.other.close()
            self.other = None

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self.township.down()
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    import socket

    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port = end.getsockname()[1]
    before = gpiozero.Device.pin_factory
    made = Place(tmp_path_factory.mktemp("place"), port)
    yield made
    made.close()
    gpiozero.Device.pin_factory = before


@dataclass(frozen=True)
class State:
    """part, zh, en, advice_zh, advice_en: as the page says it. begin, end: its cause and the end of
    that. check: the line of `doctor` that names it, with `known` in it."""

    part: str
    what: tuple[str, str]
    advice: tuple[str, str]
    begin: Callable[[Place], Any]
    end: Callable[[Place], Any]
    check: str
    known: str


def sees(what: str) -> Callable[[Place], None]:
    return lambda place: setattr(place, "seen", what)


def room(mb: int) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        import os

        place.free = mb
        blocks = mb * 1_000_000 // 4096
        place.tree.room = os.statvfs_result(
            (4096, 4096, 7_000_000, blocks, blocks, 900_000, 800_000, 800_000, 0, 255)
        )

    return change


def hot(degrees: int, bits: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        place.tree.put(HEAT, f"{degrees}000\n")
        place.tree.put(THROTTLED, bits)

    return change


STATES = {
    # First: the other program holds the pin from the kiosk's start on.
    "GPIO busy": State(
        "lamps", ("灯板故障", "The lamp board has a fault"), ("引脚", "pin"),
        lambda place: None, Place.free_pins, "lamps", "check the wires",
    ),
    "camera unplugged": State(
        "camera", ("摄像头没有画面", "The camera gives no picture"), ("请检查接线", "cable"),
        sees("nothing"), sees("room"), "camera", "check the camera's cable",
    ),
    "camera frozen": State(
        "camera", ("摄像头画面不动了", "The camera's picture is frozen"),
        ("请重新插拔摄像头", "unplug the camera and plug it in again"),
        sees("still"), sees("room"), "camera", "frozen",
    ),
    "camera covered": State(
        "camera", ("摄像头被遮住，或太黑", "The camera is covered, or it is dark"),
        ("请取下镜头上的遮挡并擦净", "take away what covers the lens"),
        sees("black"), sees("room"), "camera", "covered",
    ),
    "camera upside down": State(
        "camera", ("摄像头装倒了", "The camera hangs upside down"),
        ("rotate = 180", "turn it round"),
        sees("turned"), sees("upright"), "camera", "upside down",
    ),
    "touch screen missing": State(
        "touch", ("触摸屏没有反应", "The touch screen is missing"),
        ("请检查触摸屏的排线", "check the screen's ribbon"),
        lambda place: place.tree.put(DEVICES, "I: Bus=0019\n"),
        lambda place: place.tree.put(DEVICES, TOUCH + READER), "touch", "ribbon",
    ),
    "no sound card": State(
        "voice", ("语音故障", "The voice failed"),
        ("请插上 USB 扬声器", "plug a USB loudspeaker in"),
        lambda place: place.tree.drop(SOUND), lambda place: place.tree.put(SOUND, ""),
        "sound", "plug a USB loudspeaker in",
    ),
    "disk nearly full": State(
        "disk", ("存储空间不足", "Storage is nearly full"), ("技术人员", "technician"),
        room(250), room(9000), "disk", "larger card",
    ),
    "heat": State(
        "heat", ("机器过热，已放慢", "The machine is too hot and has slowed down"),
        ("85 °C", "give it shade and air"),
        hot(85, "e000c\n"), hot(60, "e0000\n"), "heat", "shade",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_told_with_advice_and_goes_by_itself(
    browser: Browser, place: Place, name: str
) -> None:
    state = STATES[name]
    context = browser.new_context(viewport={"width": 800, "height": 480}, has_touch=True)
    try:
        page = context.new_page()
        opened(page, place)
        state.begin(place)
        line = f'#troubles [data-part="{state.part}"]'
        page.wait_for_selector(f'{line}:has-text("{state.what[0]}")', timeout=60_000)
        # A machine that cannot speak may have said so already, with other advice.
        page.wait_for_selector(f'{line}:has-text("{state.advice[0]}")', timeout=60_000)
        well, zh, en = place.doctor(state.check)
        assert (well, state.known in en, any("一" <= each <= "鿿" for each in zh)) == (
            False, True, True,
        ), (well, zh, en)  # fmt: skip
        page.click("#language")
        page.wait_for_selector(f'{line}:has-text("{state.what[1]}")')
        assert state.advice[1] in page.inner_text(line)
        state.end(place)
        page.wait_for_selector(line, state="detached", timeout=60_000)
        assert place.doctor(state.check)[0]
    finally:
        state.end(place)
        context.close()
        place.seen = "room"


def opened(page: Page, place: Place) -> None:
    """Wait for a kiosk that is still starting."""
    until = time.monotonic() + 60
    while True:
        try:
            page.goto(place.url)
            break
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    page.wait_for_selector("#rows li", timeout=60_000)

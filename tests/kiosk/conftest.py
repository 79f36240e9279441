"""A screen before a kiosk that is played by the test, in a real browser."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from attendance.statuses import LOOKS, Status
from kiosk.initials import initials
from kiosk.screen.app import Answer, Screen
from kiosk.screen.feed import ScreenFeed
from tests.kiosk.village import (  # noqa: F401 - fixtures
    bench_of,
    empty_scene,
    engine,
    templates,
    videos,
    village,
    walking,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = [
    "张伟",
    "王芳",
    "李娜",
    "刘洋",
    "陈静",
    "杨勇",
    "赵敏",
    "黄强",
    "周杰",
    "吴秀英",
    "徐磊",
    "孙丽",
    "马超",
    "朱红",
    "胡建国",
    "郭芳",
]
SHOWN = [Status.ON_DUTY, Status.BUSINESS_TRIP, Status.IN_VILLAGE, Status.ON_LEAVE, Status.LEFT]
OVERFLOWING = """() => {
  const found = [];
  const dialog = document.querySelector("dialog[open]");
  for (const each of (dialog ?? document.body).querySelectorAll("*")) {
    if (!each.checkVisibility() || each.closest(".sr") || (!dialog && each.closest("dialog"))) continue;
    const box = each.getBoundingClientRect();
    const scrolls = each.closest(".board, .names, .prose");
    if (!scrolls && box.width && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.top < -1))
      found.push(`outside: ${each.tagName} ${each.id} ${each.textContent.slice(0, 30)}`);
    if (each.tagName === "BUTTON" && (box.width < 55 || box.height < 55))
      found.push(`small: ${each.textContent} ${box.width}x${box.height}`);
    if (["BUTTON", "P", "H1", "OUTPUT"].includes(each.tagName) && each.scrollWidth > each.clientWidth + 1)
      found.push(`truncated: ${each.textContent.slice(0, 30)}`);
  }
  return found;
}"""  # noqa: E501


# WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 for text of 24 px, or of 18.7 px in bold. Disabled controls
# are exempt. Layers are blended from the outermost inwards.
PALE = """() => {
  const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
  const blend = (over, under) => { const a = over[3] ?? 1; return [0, 1, 2].map((i) => over[i] * a + under[i] * (1 - a)); };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const root = document.querySelector("dialog[open]") ?? document.body;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const each = node.parentElement;
    if (!node.textContent.trim() || !each.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (each.closest(".sr") || each.closest(":disabled") || (root === document.body && each.closest("dialog"))) continue;
    const style = getComputedStyle(each);
    const layers = [];
    for (let at = each; at; at = at.parentElement) layers.unshift(numbers(getComputedStyle(at).backgroundColor));
    const ground = layers.reduce((under, over) => blend(over, under), [255, 255, 255]);
    const ink = blend(numbers(style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const px = parseFloat(style.fontSize);
    const large = px >= 24 || (px >= 18.7 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
    if (px < 16.9) found.push(`${node.textContent.trim().slice(0, 30)}: ${px} px`);
  }
  return found;
}"""  # noqa: E501


class Desk:
    """What is touched, remembered, and answered as the kiosk's loop answers."""

    def __init__(self, feed: ScreenFeed) -> None:
        self.feed = feed
        self.done: list[tuple[Any, ...]] = []
        self.count = 0

    def greet(self, name: str, status: Status = Status.IN_VILLAGE, **more: Any) -> dict[str, Any]:
        self.count += 1
        greeting = {
            "type": "greeting",
            "id": f"r-{self.count}",
            "official": "XC-1",
            "name": name,
            "title": "干事",
            "status": str(status),
            "at_ms": 1_790_000_000_000,
            "method": "face",
            "verified": True,
            "reason": None,
            "until_ms": None,
            "choices": True,
            **more,
        }
        self.feed.tell(greeting)
        return greeting

    def pin(self, official: str, pin: str, ticket: str | None = None) -> Answer:
        self.done.append(("pin", official, pin, *([ticket] if ticket else [])))
        if pin != "123456":
            return Answer(False, "密码不对，请再试一次。", "Wrong PIN: try again.")
        return Answer(True, "已记录", "Recorded", self.greet("王芳", method="pin"))

    def card(self, number: str) -> Answer:
        self.done.append(("card", number))
        if number != "0012345678":
            return Answer(False, "这张卡没有登记，或已作废：请用密码签到。", "This card is void.")
        return Answer(True, "已记录", "Recorded", self.greet("王芳", method="card"))

    def choose(
        self, record_id: str, status: str, reason: str | None, until_ms: int | None
    ) -> Answer:
        self.done.append(("choose", record_id, status, reason, until_ms))
        more = {"reason": reason, "until_ms": until_ms}
        return Answer(True, "已记录", "Recorded", self.greet("王芳", Status(status), **more))


class Stand:
    """A screen with a board of sixteen people and a camera that shows a grey wall."""

    def __init__(self) -> None:
        self.feed = ScreenFeed()
        self.desk = Desk(self.feed)
        self.screen = Screen(self.feed, self.desk, 0)
        self.problems: list[str] = []
        self._stop = threading.Event()
        rows = [
            {
                "official": f"XC-{index}",
                "name": name,
                "title": "",
                "status": str(SHOWN[index % 5]),
                "colour": LOOKS[SHOWN[index % 5]].colour,
                "blinking": False,
                "since_ms": 1_790_000_000_000,
                "until_ms": 1_790_100_000_000 if index % 5 in (1, 3) else None,
                "pending": index % 5 == 1,
                "lamp": "ok",
            }
            for index, name in enumerate(NAMES)
        ]
        self.feed.update(
            site="杏树村",
            clock={"now_ms": 1_790_000_000_000, "sure": True},
            link={"ok": True, "heard_ms": 1_790_000_000_000, "since_ms": None},
            pending=0,
            rows=rows,
            people=[
                {
                    "official": row["official"],
                    "name": row["name"],
                    "initials": initials(str(row["name"])),
                }
                for row in rows
            ],
            head_code="7KQ2M9XA",
            camera=True,
        )
        self._player = threading.Thread(target=self._play, daemon=True)
        self._player.start()

    def _play(self) -> None:
        picture = np.full((480, 640, 3), 120, np.uint8)
        while not self._stop.wait(0.05):
            self.feed.show(picture)

    def close(self) -> None:
        self._stop.set()
        self._player.join()
        self.screen.close()


@pytest.fixture
def card() -> Iterator[Path]:
    """A file system of 12 MB in memory."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.close()


@pytest.fixture(scope="module")
def misfits() -> Callable[[Page], list[str]]:
    """What is cut, lies outside the screen, or is too small for a finger: `misfits(page)`."""
    return lambda page: list(page.evaluate(OVERFLOWING))


@pytest.fixture(scope="module")
def pale() -> Callable[[Page], list[str]]:
    """Visible text whose contrast is below WCAG AA: `pale(page)`."""
    return lambda page: list(page.evaluate(PALE))


@pytest.fixture
def new_stand() -> type[Stand]:
    """For a screen of the test's own."""
    return Stand


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, stand: Stand) -> Iterator[Open]:
    contexts = []
    stand.desk.done.clear()
    stand.feed.update(
        faults={}, troubles=[], demo={}, waiting=False, locked=False, guidance=None, near=False
    )
    stand.feed.update(link={"ok": True, "heard_ms": 1_790_000_000_000, "since_ms": None})
    stand.feed.tell({"type": "quiet"})  # else the greeting of the test before is shown again
    problems: list[str] = []

    def opened(width: int = 800, height: int = 480, lang: str = "zh") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True)
        contexts.append(context)
        context.add_cookies([{"name": "lang", "value": lang, "url": stand.screen.url}])
        page = context.new_page()

        def note(message: Any) -> None:
            if message.type in ("error", "warning"):
                problems.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(stand.screen.url)
                else problems.append(f"asked {request.url}")
            ),
        )
        page.goto(stand.screen.url)
        page.wait_for_selector("#rows li")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []

"""The kiosk's page in a real browser, in front of a real kiosk that plays footage."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from attendance.statuses import LOOKS, Status
from kiosk.screen.app import Answer, Screen
from kiosk.screen.feed import ScreenFeed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

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

    def pin(self, official: str, pin: str) -> Answer:
        self.done.append(("pin", official, pin))
        if pin != "123456":
            return Answer(False, "密码不对，请再试一次。", "Wrong PIN: try again.")
        return Answer(True, "已记录", "Recorded", self.greet("王芳", method="pin"))

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
            people=[{"official": row["official"], "name": row["name"]} for row in rows],
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


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.close()


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, stand: Stand) -> Iterator[Open]:
    contexts = []
    stand.desk.done.clear()
    stand.feed.update(faults={}, demo={}, waiting=False, locked=False, guidance=None)
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
        with contextlib.suppress(Exception):
            # A greeting of the test before may still be shown to a new page; that is meant so.
            page.click("#g-done", timeout=250)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize(
    ("size", "lang"),
    [
        ((800, 480), "zh"),
        ((800, 480), "en"),
        ((1024, 600), "en"),
        ((1280, 800), "zh"),
        ((1920, 1080), "zh"),
    ],
)
def test_every_view_fits_and_can_be_touched(
    open_page: Open, stand: Stand, size: tuple[int, int], lang: str
) -> None:
    page = open_page(*size, lang=lang)
    stand.feed.update(
        demo={"liveness_off": True, "footage": True, "notice": "Portraits: NASA; White House"},
        pending=128,
    )
    page.wait_for_selector("#banner:visible")
    assert page.evaluate(OVERFLOWING) == []
    size_px = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    assert size_px >= 20
    stand.desk.greet("示例干部甲 Sample official A")
    page.wait_for_selector("#greeting[open]")
    assert page.evaluate(OVERFLOWING) == []
    assert page.is_visible("#banner")  # sample footage says so over everything
    page.click('#g-buttons [data-status="on_leave"]')
    assert page.evaluate(OVERFLOWING) == []
    page.click("#d-back")
    page.click("#g-done")
    page.click("#open-pin")
    assert page.evaluate(OVERFLOWING) == []
    page.click('#p-names [data-official="XC-1"]')
    for _ in range(6):
        page.keyboard.press("9")
    page.wait_for_selector("#p-result:not(:empty)")
    assert page.evaluate(OVERFLOWING) == []
    page.click("#p-swap")
    page.click("#p-swap")
    assert page.evaluate(OVERFLOWING) == []
    page.click("#p-close")
    page.click("#open-notice")
    assert page.evaluate(OVERFLOWING) == []
    page.click("#n-close")
    stand.feed.update(pending=0)


def test_a_greeting_names_and_says_the_colour_in_word_and_shape(
    open_page: Open, stand: Stand
) -> None:
    page = open_page()
    began = time.monotonic()
    stand.desk.greet("王芳")
    page.wait_for_selector("#greeting[open]")
    took = time.monotonic() - began
    assert page.inner_text("#g-name") == "王芳"
    assert page.inner_text("#g-status") == "下乡"
    assert page.get_attribute("#g-status use", "href") == "#square"
    colour = page.evaluate("getComputedStyle(document.getElementById('g-card')).backgroundColor")
    assert colour == "rgb(240, 196, 25)"
    assert "王芳" in page.inner_text("#greeting-live")
    assert took < 2  # generous: a shared machine; the figure is in the issue


def test_a_change_of_mind_by_touch_with_reason_and_return(open_page: Open, stand: Stand) -> None:
    page = open_page()
    shown = stand.desk.greet("王芳")
    page.tap('#g-buttons [data-status="business_trip"]')
    page.tap('[data-reason="meeting"]')
    page.tap('#d-return [data-hours="24"]')
    page.tap("#d-confirm")
    page.wait_for_selector('#g-status:has-text("出差")')
    (done,) = stand.desk.done
    assert done[:4] == ("choose", shown["id"], "business_trip", "meeting")
    # 1,790,000,000 is 2026-09-21 21:33 in Shanghai: tomorrow's end of work is 18:00 on the 22nd,
    # counted from the page's clock that ran on a little.
    assert done[4] % 3_600_000 == 0
    assert 0 < done[4] - 1_790_000_000_000 < 2 * 86_400_000
    assert "开会" in page.inner_text("#g-more")
    page.tap('#g-buttons [data-status="left"]')
    page.wait_for_selector('#g-status:has-text("已离开")')
    assert stand.desk.done[1][2:] == ("left", None, None)


def test_pin_by_touch_alone(open_page: Open, stand: Stand) -> None:
    page = open_page()
    page.tap("#open-pin")
    page.tap('#p-names [data-official="XC-1"]')
    for digit in "000000":
        page.tap(f'#p-keys button:text-is("{digit}")')
    page.wait_for_selector('#p-result:has-text("密码不对")')
    for digit in "123456":
        page.tap(f'#p-keys button:text-is("{digit}")')
    page.wait_for_selector("#greeting[open]")
    assert page.inner_text("#g-when").endswith("密码")
    assert stand.desk.done == [("pin", "XC-1", "000000"), ("pin", "XC-1", "123456")]
    assert page.get_attribute("#pad", "open") is None


def test_everything_by_keyboard(open_page: Open, stand: Stand) -> None:
    page = open_page(lang="en")
    page.focus("#open-pin")
    page.keyboard.press("Enter")
    page.keyboard.type("zx-77")
    page.keyboard.press("Tab")
    page.focus("#p-next")
    page.keyboard.press("Enter")
    page.keyboard.type("123456")
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "zx-77", "123456")]
    page.focus('#g-buttons [data-status="on_leave"]')
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # where the keyboard is can be seen
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the focus is on Confirm
    page.wait_for_selector('#g-status:has-text("On leave")')
    page.keyboard.press("Escape")
    page.wait_for_selector("#greeting", state="hidden")


def test_second_factor_asks_for_the_pin_of_that_person(open_page: Open, stand: Stand) -> None:
    page = open_page()
    stand.feed.tell({"type": "ask_pin", "official": "XC-2", "name": "李娜"})
    page.wait_for_selector("#p-digits:visible")
    assert page.inner_text("#p-who") == "李娜"
    page.keyboard.type("123456")
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-2", "123456")]


def test_the_language_switches_at_once_and_is_kept(open_page: Open, stand: Stand) -> None:
    page = open_page()
    page.click("#language")
    assert page.inner_text("#open-pin") == "Without a face · PIN"
    assert page.inner_text('#rows [data-status="on_duty"] i >> nth=0') == "On duty"
    page.click("#open-notice")
    assert "withdraw" in page.inner_text(".prose")
    page.reload()
    assert page.get_attribute("html", "lang") == "en"


def test_states_are_said_one_at_a_time(open_page: Open, stand: Stand) -> None:
    page = open_page()
    said = page.locator("#instruction")
    stand.feed.update(guidance={"zh": "靠近一点", "en": "Come a little closer"})
    page.wait_for_selector('#instruction:has-text("靠近一点")')
    stand.feed.fault("store", {"zh": "磁盘已满", "en": "the disk is full"})
    page.wait_for_selector('#instruction[data-tone="bad"]')
    assert "无法记录" in said.inner_text()
    stand.feed.fault("store", None)
    page.wait_for_selector('#instruction[data-tone="act"]')
    stand.feed.update(link={"ok": False, "heard_ms": None, "since_ms": 1_790_000_000_000})
    page.wait_for_selector("#link.warn")
    assert "签到照常" in page.inner_text("#link")


def test_a_page_that_lost_the_kiosk_says_so_and_comes_back(browser: Browser) -> None:
    first = Stand()
    context = browser.new_context(viewport={"width": 800, "height": 480})
    page = context.new_page()
    page.goto(first.screen.url)
    page.wait_for_selector("#rows li")
    old = page.get_attribute('meta[name="screen-token"]', "content")
    port = first.screen.port
    first.close()
    page.wait_for_selector('#instruction[data-tone="bad"]', timeout=10_000)
    feed = ScreenFeed()
    feed.update(site="回来了")
    with Screen(feed, Desk(feed), port):
        page.wait_for_selector('#site:has-text("回来了")', timeout=20_000)
        assert page.get_attribute('meta[name="screen-token"]', "content") != old
        context.close()


def test_shapes_differ_by_more_than_colour(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    shapes = page.eval_on_selector_all(
        "#rows li", "all => [...new Set(all.map(e => e.dataset.status + e.querySelector('use')"
        ".getAttribute('href')))]",
    )  # fmt: skip
    assert len(shapes) == 5
    assert len({shape.split("#")[1] for shape in shapes}) == 5

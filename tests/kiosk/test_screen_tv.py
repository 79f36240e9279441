"""The board on a television, in a real browser: nobody touches it, nobody looks after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from attendance.statuses import LOOKS, Status
from kiosk.portraits import Portraits
from kiosk.screen.app import Screen
from kiosk.screen.feed import ScreenFeed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NOW = 1_790_000_000_000
TOKEN = "ab" * 16
SHOWN = [Status.ON_DUTY, Status.IN_VILLAGE, Status.BUSINESS_TRIP, Status.ON_LEAVE, Status.UNKNOWN]


def rows(count: int, *, stale: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "official": f"XC-{number}",
            "name": ["王芳", "欧阳建国", "买买提·艾力", "阿卜杜热依木·麦麦提明"][number % 4],
            "title": ["党委副书记、政法委员", "党政综合办公室主任", "副镇长", "镇长"][number % 4],
            "status": "stale" if stale else str(SHOWN[number % 5]),
            "colour": LOOKS[SHOWN[number % 5]].colour,
            "blinking": stale,
            "since_ms": NOW,
            "until_ms": NOW + 100_000_000 if number % 5 in (2, 3) else None,
            "pending": False,
            "lamp": "ok",
            "phone": f"138{number:08d}",
            "portrait": TOKEN if number % 2 else None,
        }
        for number in range(count)
    ]


class Television:
    def __init__(self, folder: Path) -> None:
        self.feed = ScreenFeed()
        self.portraits = Portraits(folder)
        self.feed.update(
            site="青山镇",
            clock={"now_ms": NOW, "sure": True},
            link={"ok": True, "heard_ms": NOW, "since_ms": None},
            rows=rows(36),
        )
        self.screen = Screen(self.feed, NOBODY, 0, None, self.portraits)


NOBODY: Any = object()  # a television acts on nothing


@pytest.fixture
def television(tmp_path: Path) -> Iterator[Television]:
    folder = tmp_path / "portraits"
    folder.mkdir()
    picture = np.full((640, 480, 3), (60, 120, 200), np.uint8)
    cv2.imwrite(str(folder / f"{TOKEN}.jpg"), picture)
    made = Television(folder)
    yield made
    made.screen.close()


@pytest.fixture
def watch(browser: Browser, television: Television) -> Iterator[Callable[..., Page]]:
    contexts, problems = [], []

    def opened(width: int = 1920, height: int = 1080, lang: str = "zh") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.clock.install()
        page.goto(f"{television.screen.url}tv?lang={lang}")
        page.wait_for_selector("article")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


CUT = """() => [...document.querySelectorAll("#people *, header *, footer *")].filter((each) => {
  if (each.matches(".photo, .photo *, svg, svg *")) return false;
  if (each.matches("h2 small") && each.scrollHeight > 1.3 * each.clientHeight) return true; // a third line
  const box = each.getBoundingClientRect();
  return box.bottom > innerHeight + 1 || box.right > innerWidth + 1 || each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflow === "hidden";
}).map((each) => `${each.className || each.tagName}: ${each.textContent}`)"""  # noqa: E501


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720)])
@pytest.mark.parametrize(("people", "pages"), [(36, 3), (100, 9)])
def test_everybody_comes_by_and_can_be_read_at_three_metres(
    watch: Callable[..., Page],
    television: Television,
    pale: Callable[[Page], list[str]],
    size: tuple[int, int],
    people: int,
    pages: int,
    lang: str,
) -> None:
    television.feed.update(rows=rows(people))
    page = watch(*size, lang=lang)
    seen: list[str] = []
    for turn in range(pages):
        page.wait_for_selector(f'#page:has-text("{turn + 1}")')
        shown = page.eval_on_selector_all("article", "all => all.map(e => e.dataset.official)")
        seen += [each for each in shown if each not in seen]
        assert page.evaluate(CUT) == []
        assert pale(page) == []
        if turn + 1 < pages:
            following = page.locator(f'article[data-official="XC-{12 * (turn + 1)}"]')
            for _ in range(12):  # a second at a time: the page's own clock goes on meanwhile
                if following.count():
                    break
                page.clock.run_for(1_000)
            following.wait_for()
    assert seen == [f"XC-{number}" for number in range(people)]
    # A character's height in millimetres on a 32 inch television, 398 mm high, and the angle at
    # 3 m: 16' is the least that ISO 9241-303 allows.
    for part, least in (("h2", 4.5), (".state", 3.9), (".phone", 3.9), ("h2 small", 3.5)):
        px = page.eval_on_selector(part, "e => parseFloat(getComputedStyle(e).fontSize)")
        share = px / size[1] * 100
        minutes = share / 100 * 398 / 3000 * 3438
        assert share >= least
        assert minutes >= 16


def test_photographs_are_the_kiosks_own_and_the_rest_has_a_letter(
    watch: Callable[..., Page], television: Television
) -> None:
    page = watch()
    page.wait_for_selector('article[data-official="XC-1"] img')
    assert page.eval_on_selector(
        'article[data-official="XC-1"] img', "e => e.decode().then(() => e.naturalWidth)"
    ) == 480  # fmt: skip
    assert page.inner_text('article[data-official="XC-2"] .photo') == "买"
    assert page.locator('article[data-official="XC-2"] img').count() == 0
    answer = page.request.get(f"{television.screen.url}portraits/{'00' * 16}.jpg")
    assert answer.status == 404


def test_an_outage_is_marked_and_the_board_stays(
    watch: Callable[..., Page], television: Television
) -> None:
    page = watch()
    assert not page.is_visible("#stale")
    television.feed.update(
        rows=rows(36, stale=True), link={"ok": False, "heard_ms": NOW, "since_ms": NOW}
    )
    page.wait_for_selector('#stale:has-text("22:13")')
    assert page.inner_text("article .state >> nth=0") == "状态待更新"
    assert page.locator("article").count() == 12
    television.feed.update(rows=rows(36), link={"ok": True, "heard_ms": NOW, "since_ms": None})
    page.wait_for_selector("#stale", state="hidden")


def test_a_kiosk_program_that_is_gone_is_told_and_its_return_is_found_alone(
    watch: Callable[..., Page], television: Television
) -> None:
    page = watch()
    port = television.screen.port
    television.screen.close()
    page.wait_for_selector("body.lost")
    assert page.inner_text("#stale").startswith("本机程序无应答")
    assert page.locator("article").count() == 12
    feed = ScreenFeed()
    feed.update(site="回来了", rows=rows(2), clock={"now_ms": NOW, "sure": False})
    with Screen(feed, NOBODY, port, None, television.portraits):
        for _ in range(40):
            page.clock.run_for(500)
            if page.locator("article").count() == 2 and "回来了" in page.inner_text("h1"):
                break
            page.wait_for_timeout(250)
        assert page.inner_text("h1").startswith("回来了")
        assert "时间未核对" in page.inner_text("#date")

"""Lists that are longer than the screen, in a real browser: the board, names, troubles, texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kiosk.condition import NO_WAY_IN
from kiosk.troubles import Trouble
from kiosk.views import VIEWS, WEAK, heat
from kiosk.watch import LOST
from tests.kiosk.pages import SETTLED, TROUBLES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Open = Callable[..., "Page"]
Find = Callable[["Page"], list[str]]


@pytest.fixture
def crowd(stand: Any) -> Iterator[None]:
    """Forty people: more than any screen shows at once."""
    rows, people = stand.feed.get("rows"), stand.feed.get("people")

    def forty(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**some[at % 16], "official": f"XC-{at}"} for at in range(40)]

    stand.feed.update(rows=forty(rows), people=forty(people))
    yield
    stand.feed.update(rows=rows, people=people)


# Of a list: those that are cut in two, and how many are out of sight above and below.
SEEN = """(list) => {
  const scroller = document.querySelector(list);
  const seen = scroller.getBoundingClientRect();
  const boxes = [...scroller.querySelectorAll("li, button")].map((each) => each.getBoundingClientRect());
  return [
    boxes.filter((box) => box.top < seen.bottom - 2 && box.bottom > seen.bottom + 2
      || box.top < seen.top - 2 && box.bottom > seen.top + 2).length,
    boxes.filter((box) => box.top < seen.top - 2).length,
    boxes.filter((box) => box.bottom > seen.bottom + 2).length,
  ];
}"""  # noqa: E501


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080)])
def test_long_lists_end_at_a_whole_row_and_say_how_many_more_there_are(
    open_page: Open, stand: Any, misfits: Find, pale: Find, size: tuple[int, int], lang: str
) -> None:
    page = open_page(*size, lang=lang)
    more = {"zh": "下面还有 {} 人", "en": "{} more below"}[lang]
    page.wait_for_selector("#rows li:nth-child(40)")
    for troubles_shown in ([], TROUBLES):
        stand.feed.update(troubles=troubles_shown)
        if troubles_shown:
            page.wait_for_selector("#troubles li")
        page.dispatch_event(".board", "pointerdown")  # or a slow machine sees it turn its page
        page.evaluate("document.querySelector('.board').scrollTop = 0")
        page.evaluate(SETTLED)
        cut, above, below = page.evaluate(SEEN, ".board")
        assert (cut, above) == (0, 0)
        assert 0 < below < 40
        assert more.format(below) in page.inner_text("#board-more")
        assert (misfits(page), pale(page)) == ([], [])
    page.evaluate("document.querySelector('.board').scrollTop = 1e6")
    page.wait_for_selector('#board-more:not(:has-text("▾"))')
    assert page.evaluate(SEEN, ".board")[0] == 0
    page.click("#open-pin")
    page.wait_for_selector("#p-more:visible")
    cut, above, below = page.evaluate(SEEN, "#p-names")
    assert (cut, above) == (0, 0)
    assert 0 < below < 40
    assert more.format(below) in page.inner_text("#p-more")
    assert (misfits(page), pale(page)) == ([], [])
    page.click('#p-index [data-letter="w"]')  # a few names: nothing is out of sight
    page.wait_for_selector("#p-more", state="hidden")
    page.click("#p-close")
    page.click("#open-notice")
    page.wait_for_selector("#notice .prose.goes-on")
    page.evaluate("document.querySelector('#notice .prose').scrollTop = 1e6")
    page.wait_for_selector("#notice .prose:not(.goes-on)")


@pytest.mark.usefixtures("crowd")
def test_a_long_name_widens_its_own_cell_and_heightens_no_row(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.wait_for_selector("#rows li:nth-child(40)")
    high = "Math.max(...[...document.querySelectorAll('#rows li')].map((e) => e.offsetHeight))"
    before = page.evaluate(high)
    rows = stand.feed.get("rows")
    long = {**rows[3], "name": "阿卜杜热依木·麦麦提明", "pending": True}
    stand.feed.update(rows=[*rows[:3], long, *rows[4:]])
    page.wait_for_selector('#rows .wide:has-text("麦麦提明")')
    assert page.locator("#rows .wide").count() == 1
    assert page.evaluate(high) == before
    assert page.evaluate(SEEN, ".board")[0] == 0


@pytest.mark.usefixtures("crowd")
def test_a_long_board_turns_by_whole_rows(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.emulate_media(reduced_motion="reduce")  # at once: a smooth scroll takes its own time
    page.clock.install()
    page.reload()
    page.wait_for_selector("#rows li:nth-child(40)")
    tops, at = [], 0
    for _ in range(5):
        page.clock.run_for(8000)
        at = settled(page, at)
        tops.append(at)
        assert page.evaluate(SEEN, ".board")[0] == 0
    starts = page.eval_on_selector_all(
        "#rows li", "all => [...new Set(all.map(e => e.offsetTop - e.parentElement.offsetTop))]"
    )
    assert all(min(abs(top - start) for start in starts) <= 1 for top in tops), (tops, starts)
    assert 0 in [round(top) for top in tops], "it begins again"
    assert max(tops) > 0


def settled(page: Page, before: float) -> float:
    """Where the board stands once it left `before`."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        now = float(page.evaluate("document.querySelector('.board').scrollTop"))
        if now != before:
            return now
        time.sleep(0.05)
    raise AssertionError("the board did not turn")


def test_many_troubles_keep_their_advice_one_touch_away(
    open_page: Open, stand: Any, misfits: Find, pale: Find
) -> None:
    """The strip is never cut: where whole sentences have no room they move into a list."""
    page = open_page(lang="en")
    board = page.locator(".board").bounding_box()
    several = [
        Trouble("camera", LOST, ("没有找到摄像头：请检查接线", "not found: check its cable")),
        heat(83.0), WEAK, NO_WAY_IN, *VIEWS.values(),
    ]  # fmt: skip
    for count in range(1, len(several) + 1):
        shown = [each.as_json() for each in several[:count]]
        stand.feed.update(troubles=shown)
        page.wait_for_selector(f"#troubles li:nth-child({count})", state="attached")
        page.evaluate(SETTLED)
        assert (count, page.evaluate(CUT), misfits(page), pale(page)) == (count, [], [], [])
        brief = page.is_visible("#open-troubles")
        whole = page.locator("#troubles li:visible").count() == count
        assert whole or f"({count})" in page.inner_text("#open-troubles")
        assert page.is_visible("#troubles .advice") != brief
    assert brief
    room = page.locator(".board").bounding_box()
    assert board is not None
    assert room is not None
    assert room["height"] > board["height"] / 2, "the board keeps its room"
    page.tap("#open-troubles")
    page.wait_for_selector("#trouble-list[open]")
    assert len(page.query_selector_all("#t-rows li")) == len(several)
    assert "shade and air" in page.inner_text("#t-rows")
    page.evaluate(SETTLED)
    assert (misfits(page), pale(page)) == ([], [])
    stand.feed.update(troubles=[])
    page.wait_for_selector("#trouble-list", state="hidden")  # all is well again: nothing to read
    assert not page.is_visible("#strip")
    assert page.locator(".board").bounding_box() == board
    page.click("#language")
    stand.feed.update(troubles=[several[0].as_json()])
    page.wait_for_selector('#troubles:has-text("摄像头没有画面：没有找到摄像头")')


# What of the strip lies outside of it.
CUT = """() => {
  const strip = document.getElementById("strip").getBoundingClientRect();
  const list = document.getElementById("troubles");
  const found = list.scrollHeight > list.clientHeight + 1 ? ["scrolls"] : [];
  for (const each of list.querySelectorAll("li:not([hidden])")) {
    const box = each.getBoundingClientRect();
    if (box.bottom > strip.bottom + 1 || box.right > strip.right + 1) found.push(each.textContent);
  }
  return found;
}"""


def test_names_by_letter_and_by_initials(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.tap("#open-pin")
    page.tap('#p-index [data-letter="w"]')
    assert page.locator("#p-names button").all_inner_texts() == ["王芳", "吴秀英"]
    page.tap("#p-swap")
    for letter in "HJG":
        page.tap(f'#p-letters button:text-is("{letter}")')
    assert page.locator("#p-found button").all_inner_texts() == ["胡建国"]
    page.tap("#p-found button")
    assert page.inner_text("#p-who") == "胡建国"

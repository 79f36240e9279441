"""The privacy notice is one touch away, whatever a person has on the screen; in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kiosk.screen.pairing import PairingScreen
from kiosk.unpaired import Pairing
from tests.kiosk.pages import SETTLED, TROUBLES, swipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

Open = Callable[..., "Page"]
Find = Callable[["Page"], list[str]]
WITHDRAW = {"zh": "如何撤回同意", "en": "How to withdraw consent"}


def idle(page: Page, stand: Any) -> str:
    return "#wake"


def live(page: Page, stand: Any) -> str:
    stand.feed.update(near=True)
    return "#look"


def guided(page: Page, stand: Any) -> str:
    stand.feed.update(near=True, guidance={"zh": "← 请向左转头", "en": "← Turn your head"})
    return '#instruction[data-tone="act"]'


def greeting(page: Page, stand: Any) -> str:
    stand.desk.greet("示例干部甲 Sample official A")
    # Not that of the view before, which may still be going: a touch on it is a touch on nothing.
    page.wait_for_selector("#greeting[open]")
    page.evaluate(SETTLED)
    return "#g-choices"


def reasons(page: Page, stand: Any) -> str:
    greeting(page, stand)
    page.tap('#g-buttons [data-status="on_leave"]')
    page.tap('[data-reason="sick"]')
    page.tap('[data-days="7"]')
    return "#g-detail"


def changed(page: Page, stand: Any) -> str:
    reasons(page, stand)
    page.tap("#d-confirm")
    return '#g-status use[href="#diamond"]'


def unverified(page: Page, stand: Any) -> str:
    stand.desk.greet("王芳", verified=False, choices=False)
    return "#greeting.plain"


def names(page: Page, stand: Any) -> str:
    page.tap("#open-pin")
    return "#p-pick"


def letters(page: Page, stand: Any) -> str:
    names(page, stand)
    page.tap("#p-swap")
    return "#p-type"


def digits(page: Page, stand: Any) -> str:
    names(page, stand)
    page.tap('#p-names [data-official="XC-1"]')
    page.tap('#p-keys button:text-is("1")')
    return "#p-digits"


def card_and_pin(page: Page, stand: Any) -> str:
    event = {"type": "ask_pin", "official": "XC-2", "name": "李娜", "why": "after_card"}
    stand.feed.tell({**event, "ticket": "t-1"})
    return "#p-digits"


def face_and_pin(page: Page, stand: Any) -> str:
    stand.feed.tell({"type": "ask_pin", "official": "XC-2", "name": "李娜"})
    return "#p-digits"


def unknown_card(page: Page, stand: Any) -> str:
    swipe(page, "87654321")
    return "#toast:not(.calm)"


def some_troubles(page: Page, stand: Any) -> str:
    stand.feed.update(troubles=TROUBLES)
    return "#troubles li"


def every_trouble(page: Page, stand: Any) -> str:
    stand.feed.update(troubles=[{**TROUBLES[at % 2], "part": f"{at}"} for at in range(9)])
    page.tap("#open-troubles")
    return "#t-rows"


VIEWS = (
    idle, live, guided, greeting, reasons, changed, unverified, names, letters, digits,
    card_and_pin, face_and_pin, unknown_card, some_troubles, every_trouble,
)  # fmt: skip


def read(page: Page, lang: str) -> None:
    """One touch on the only way to the notice that is in sight; how to withdraw is then in sight
    without another."""
    buttons = page.locator('[data-opens="notice"]:visible')
    if page.locator("dialog[open]").count():
        buttons = page.locator('dialog[open] [data-opens="notice"]:visible')
    assert buttons.count() == 1
    buttons.tap()
    page.wait_for_selector("#notice[open]")
    page.evaluate(SETTLED)
    head = page.locator(f'#notice h2:has-text("{WITHDRAW[lang]}")')
    box, size = head.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    assert box["y"] + box["height"] * 3 < size["height"], "with the first lines of what it says"


AFRESH = "for (const each of document.querySelectorAll('dialog[open]')) each.close();"


# A quarter of a minute each: the kiosk's own size in both languages, the others in one.
@pytest.mark.parametrize(
    ("size", "lang"),
    [((800, 480), "zh"), ((800, 480), "en"), ((1024, 600), "en"), ((1920, 1080), "zh")],
)
def test_the_notice_is_one_touch_from_every_view(
    open_page: Open, stand: Any, misfits: Find, pale: Find, size: tuple[int, int], lang: str
) -> None:
    page = open_page(*size, lang=lang)
    for view in VIEWS:
        there, name = view(page, stand), view.__name__
        page.wait_for_selector(f"{there} >> visible=true")
        page.evaluate(SETTLED)
        assert (name, misfits(page), pale(page)) == (name, [], [])
        read(page, lang)
        page.tap("#n-close")
        page.wait_for_selector("#notice", state="hidden")
        # The message about a card goes by itself.
        assert view is unknown_card or page.is_visible(there), f"{name}: they go on where they were"
        page.evaluate(AFRESH)
        stand.feed.update(near=False, guidance=None, troubles=[])
        if page.is_visible("#look"):
            page.tap("#look-close")
            page.wait_for_selector("#look", state="hidden")
        page.wait_for_selector("#strip", state="hidden")


def test_what_is_typed_while_it_is_read_goes_to_no_pad(open_page: Open, stand: Any) -> None:
    page = open_page()
    digits(page, stand)
    read(page, "zh")
    page.keyboard.type("23456", delay=70)
    page.keyboard.press("Backspace")
    page.tap("#n-close")
    assert page.locator("#p-dots .full").count() == 1
    assert stand.desk.done == []


def test_reading_puts_off_the_end_of_the_greeting_but_not_beyond_the_choice(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    page.clock.install()
    page.reload()
    page.wait_for_selector("#rows li")
    greeting(page, stand)
    read(page, "zh")
    page.clock.run_for(15_000)
    page.tap("#n-close")
    page.tap('#g-buttons [data-status="left"]')
    page.wait_for_selector('#g-status:has-text("已离开")')
    assert stand.desk.done[0][2] == "left"
    read(page, "zh")
    page.clock.run_for(29_000)
    assert not page.is_visible("#greeting"), "the kiosk would not take a choice any more"
    assert page.is_visible("#notice"), "reading goes on"
    page.clock.run_for(181_000)
    assert not page.is_visible("#notice"), "nobody is there: the board comes back"


def test_an_abandoned_pad_still_closes_after_the_notice(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.clock.install()
    page.reload()
    page.wait_for_selector("#rows li")
    digits(page, stand)
    read(page, "zh")
    page.clock.run_for(60_000)
    page.tap("#n-close")
    assert page.is_visible("#p-dots .full"), "who read goes on where they were"
    page.clock.run_for(47_000)
    assert not page.is_visible("#pad")


def test_who_reads_after_the_greeting_is_not_interrupted_by_the_camera(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    shown = stand.desk.greet("王芳")
    page.wait_for_selector("#greeting[open]")
    read(page, "zh")
    stand.feed.tell({**shown, "again": True, "nonce": 7})
    stand.feed.update(site="下一个状态")
    page.wait_for_selector('#site:has-text("下一个状态")', state="attached")
    assert page.is_visible("#notice")
    stand.desk.greet("李娜")  # another person: they come first
    page.wait_for_selector("#notice", state="hidden")
    assert page.inner_text("#g-name") == "李娜"
    stand.feed.update(site="杏树村")


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080)])
def test_the_page_of_an_unpaired_kiosk_has_it_too(
    browser: Browser, tmp_path: Path, misfits: Find, pale: Find, size: tuple[int, int], lang: str
) -> None:
    with PairingScreen(Pairing(tmp_path, sticks=()), 0) as screen:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=True
        )
        context.add_cookies([{"name": "lang", "value": lang, "url": screen.url}])
        page = context.new_page()
        page.goto(screen.url)
        page.wait_for_selector("#keys button")
        read(page, lang)
        assert (misfits(page), pale(page)) == ([], [])
        page.tap("#n-language")
        other = "en" if lang == "zh" else "zh"
        assert WITHDRAW[other] in page.inner_text("#notice")
        page.tap("#n-close")
        assert page.is_visible("#keys")
        context.close()

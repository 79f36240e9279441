"""A card reader that types, and badges, before the kiosk's page in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kiosk.screen.app import Answer
from tests.kiosk.pages import CARD, swipe

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Open = Callable[..., "Page"]
HEARD = """() => {
  window.heard = [];
  const result = document.getElementById("p-result");
  new MutationObserver(() => { if (result.textContent) window.heard.push(result.textContent); })
    .observe(result, { childList: true, characterData: true });
}"""


@pytest.mark.parametrize("where", ["idle", "notice", "names", "digits", "button", "greeting"])
def test_a_card_counts_wherever_the_page_is(open_page: Open, stand: Any, where: str) -> None:
    page = open_page()
    if where == "notice":
        page.click("#open-notice")
    elif where in ("names", "digits"):
        page.click("#open-pin")
        if where == "digits":
            page.click('#p-names [data-official="XC-2"]')
            page.keyboard.type("12", delay=70)
            page.wait_for_selector("#p-dots i.full >> nth=1")
    elif where == "button":
        page.focus("#language")
    elif where == "greeting":
        stand.desk.greet("李娜")
        page.wait_for_selector("#greeting[open]")
    swipe(page)
    page.wait_for_selector('#g-name:has-text("王芳")')
    assert page.inner_text("#g-when").endswith("刷卡")
    assert stand.desk.done == [("card", CARD)]
    assert page.evaluate("window.pressed") is False  # Enter pressed no button
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert page.get_attribute("#pad", "open") is None
    page.tap('#g-buttons [data-status="left"]')  # the same change of mind
    page.wait_for_selector('#g-status:has-text("已离开")')


def test_a_person_who_types_is_not_taken_for_a_card(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.click("#open-pin")
    page.click('#p-names [data-official="XC-1"]')
    page.keyboard.type("123456", delay=60)  # a fast typist
    page.keyboard.press("Enter")
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-1", "123456")]


def test_six_digits_as_fast_as_a_reader_are_still_a_pin(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.click("#open-pin")
    page.click('#p-names [data-official="XC-1"]')
    swipe(page, "123456")
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-1", "123456")]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_unknown_card_is_told_and_the_message_goes(
    open_page: Open,
    misfits: Callable[[Page], list[str]],
    pale: Callable[[Page], list[str]],
    lang: str,
) -> None:
    page = open_page(lang=lang)
    swipe(page, "87654321")
    page.wait_for_selector(
        f'#toast:not(.calm):has-text("{"没有登记" if lang == "zh" else "void"}")'
    )
    assert misfits(page) == []
    assert pale(page) == []
    page.wait_for_selector("#toast", state="hidden", timeout=9000)


def test_a_badge_asks_for_the_pin_of_its_official(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.click("#open-notice")
    event = {"type": "ask_pin", "official": "XC-2", "name": "李娜", "why": "after_card"}
    stand.feed.tell({**event, "ticket": "t-1"})
    page.wait_for_selector("#p-digits:visible")
    assert page.inner_text("#p-title") == "请再输入您的密码"
    assert page.inner_text("#p-who") == "李娜"
    page.keyboard.type("000000", delay=60)
    page.wait_for_selector('#p-result:has-text("密码不对")')
    for digit in "123456":
        page.tap(f'#p-keys button:text-is("{digit}")')
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-2", "000000", "t-1"), ("pin", "XC-2", "123456", "t-1")]


def test_what_is_put_off_is_sent_again_without_a_touch(open_page: Open, stand: Any) -> None:
    page = open_page()
    answers = [Answer(False, "请稍候，会自动登记。", "Wait.", wait_s=1)]
    later = stand.desk.pin
    stand.desk.pin = lambda *words: answers.pop() if answers else later(*words)
    try:
        page.click("#open-pin")
        page.click('#p-names [data-official="XC-1"]')
        page.keyboard.type("123456", delay=60)
        page.wait_for_selector('#p-result:has-text("会自动登记")')
        page.wait_for_selector("#greeting[open]", timeout=6000)
    finally:
        del stand.desk.pin
    assert stand.desk.done == [("pin", "XC-1", "123456")]


def test_a_refusal_that_comes_late_is_not_shown_to_the_next(open_page: Open, stand: Any) -> None:
    page = open_page()
    asked = []

    def put_off_and_refused(*words: str) -> Answer:
        asked.append(words)
        if len(asked) == 1:
            return Answer(False, "请稍候，会自动登记。", "Wait.", wait_s=3)
        return Answer(False, "密码不对，请再试一次。", "Wrong PIN: try again.")

    stand.desk.pin = put_off_and_refused
    try:
        page.click("#open-pin")
        page.click('#p-names [data-official="XC-1"]')
        page.keyboard.type("000000", delay=60)
        page.wait_for_selector('#p-result:has-text("会自动登记")')
        page.click("#p-close")
        page.click("#open-pin")
        page.click('#p-names [data-official="XC-2"]')
        page.click('#p-keys button:text-is("7")')
        with page.expect_response("**/pin", timeout=15_000):
            pass
        page.wait_for_timeout(300)
        assert len(asked) == 2
        assert page.inner_text("#p-result") == ""
        assert page.locator("#p-dots .full").count() == 1
    finally:
        del stand.desk.pin


def test_what_was_put_off_for_one_person_is_not_shown_to_the_next(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    answers = [Answer(False, "请稍候，会自动登记。", "Wait.", wait_s=4)]
    later = stand.desk.pin
    stand.desk.pin = lambda *words: answers.pop() if answers else later(*words)
    try:
        page.click("#open-pin")
        page.click('#p-names [data-official="XC-1"]')
        page.keyboard.type("123456", delay=60)
        page.wait_for_selector('#p-result:has-text("会自动登记")')
        page.click("#p-close")
        page.click("#open-pin")
        page.click('#p-names [data-official="XC-2"]')
        assert page.inner_text("#p-result") == ""
        page.evaluate(HEARD)
        page.click('#p-keys button:text-is("7")')
        assert page.locator("#p-dots .full").count() == 1
        page.wait_for_selector("#greeting[open]", timeout=15_000)
    finally:
        del stand.desk.pin
    assert page.evaluate("window.heard") == [], "nor later, while it is counted down"
    assert stand.desk.done == [("pin", "XC-1", "123456")], "as promised, though the pad was closed"

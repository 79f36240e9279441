"""The kiosk's page by keyboard alone, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Open = Callable[..., "Page"]


def test_everything_by_keyboard(open_page: Open, stand: Any) -> None:
    page = open_page(lang="en")
    page.focus("#open-pin")
    page.keyboard.press("Enter")
    page.keyboard.type("zx-77", delay=70)
    page.wait_for_selector('#p-next:has-text("ZX-77")')
    page.keyboard.press("Enter")
    page.keyboard.type("123456", delay=70)
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "ZX-77", "123456")]
    page.focus('#g-buttons [data-status="on_leave"]')
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # where the keyboard is can be seen
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the focus is on Confirm
    page.wait_for_selector('#g-status:has-text("On leave")')
    page.keyboard.press("Escape")
    page.wait_for_selector("#greeting", state="hidden")


def test_the_keyboard_goes_in_order_and_is_always_seen(open_page: Open, stand: Any) -> None:
    page = open_page(lang="en")
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.id || document.activeElement.classList[0]")
        )
        width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert width >= 3
    assert order == ["open-state", "language", "wake", "board", "open-pin", "open-notice"]
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#notice", state="hidden")
    page.focus("#wake")
    page.keyboard.press("Enter")
    page.wait_for_selector("#look:visible")
    assert page.evaluate("document.activeElement.id") == "look-pin"
    page.keyboard.press("Escape")
    page.wait_for_selector("#look", state="hidden", timeout=3000)
    assert page.evaluate("document.activeElement.id") == "wake"
    page.focus("#open-pin")
    page.keyboard.press("Enter")
    page.focus('#p-names [data-official="XC-1"]')
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")  # one step back, to the names
    page.wait_for_selector("#p-names:visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#pad", state="hidden")

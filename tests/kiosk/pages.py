"""What the tests of the kiosk's page share: waiting until it is there and has settled, two
troubles, a card reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from playwright.sync_api import Page

CARD = "0012345678"

# Every transition has ended; what blinks for ever does not count.
SETTLED = """async () => {
  const all = document.getAnimations();
  const ending = all.filter((each) => each.effect.getComputedTiming().iterations !== Infinity);
  await Promise.allSettled(ending.map((each) => each.finished));
}"""
TROUBLES = [
    {
        "part": "camera",
        "what_zh": "摄像头被遮住",
        "what_en": "The camera is covered",
        "advice_zh": "请擦净镜头或移开遮挡；可用密码或刷卡。",
        "advice_en": "Wipe the lens or move what covers it; PIN and card work.",
    },
    {
        "part": "disk",
        "what_zh": "存储空间将满",
        "what_en": "The disk is nearly full",
        "advice_zh": "请通知技术人员；签到照常。",
        "advice_en": "Tell the technician; check-in goes on.",
    },
]


def wait_for(ready: Callable[[], Any], seconds: float = 30) -> None:
    """Until that is so, of a page that may not be served yet."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if ready():
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come")


def swipe(page: Page, number: str = CARD) -> None:
    """Keys as fast as a reader types them, in one turn of the page, then Enter.

    Each says itself when it was struck: a busy machine may stop the page between two of them for
    longer than a reader would."""
    page.evaluate(
        """(keys) => {
          let at = performance.now();
          for (const key of [...keys, "Enter"]) {
            const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
            Object.defineProperty(event, "timeStamp", { value: at += 10 });
            window.pressed = document.activeElement.dispatchEvent(event);
          }
        }""",
        list(number),
    )

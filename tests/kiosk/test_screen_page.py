"""The kiosk's page in a real browser, in front of a real kiosk that plays footage."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hardware.fakes import mock_pins
from hardware.wiring_file import check_wiring
from kiosk.events import EventLog
from kiosk.screen.app import Screen
from kiosk.screen.feed import ScreenFeed
from kiosk.settings import Settings, VoiceSettings
from kiosk.surroundings import Surroundings
from kiosk.troubles import Troubles
from tests.axe import troubles
from tests.kiosk.pages import SETTLED, TROUBLES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CONDITION = {
    "clock": "A",
    "camera": "ok",
    "lamps": "rgb",
    "free_mb": 24310,
    "oldest_s": 7260,
    "rejected": 0,
    "expires_ms": 1_797_000_000_000,
}
"""As `kiosk.condition.Condition.shown` gives it."""

Open = Callable[..., "Page"]
Find = Callable[["Page"], list[str]]


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080)])
def test_every_view_fits_can_be_read_and_touched(
    open_page: Open, stand: Any, misfits: Find, pale: Find, size: tuple[int, int], lang: str
) -> None:
    page = open_page(*size, lang=lang)

    def well(view: str) -> None:
        page.evaluate(SETTLED)
        assert (view, misfits(page), pale(page)) == (view, [], [])
        if size == (1024, 600):
            assert (view, troubles(page)) == (view, [])

    stand.feed.update(
        demo={"liveness_off": True, "footage": True, "notice": "Portraits: NASA; White House"},
        pending=128,
    )
    page.wait_for_selector("#banner:visible")
    well("idle")
    size_px = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    assert size_px >= 20
    stand.feed.update(near=True)
    page.wait_for_selector("#look:visible")
    well("near")
    stand.feed.update(guidance={"zh": "← 请向左转头", "en": "← Turn your head to your left"})
    page.wait_for_selector('#instruction[data-tone="act"]')
    well("guided")
    stand.feed.update(near=False, guidance=None)
    page.click("#look-close")
    stand.feed.update(troubles=TROUBLES, condition=CONDITION)
    page.wait_for_selector("#troubles li")
    well("troubles")
    page.tap("#open-state")
    page.wait_for_selector("#trouble-list[open]")
    well("how it is")
    page.tap("#t-close")
    stand.feed.update(troubles=[])
    page.wait_for_selector("#troubles li", state="detached")
    stand.desk.greet("示例干部甲 Sample official A")
    page.wait_for_selector("#greeting[open]")
    well("greeting")
    assert page.is_visible("#banner")  # sample footage says so over everything
    page.click('#g-buttons [data-status="on_leave"]')
    page.click('[data-reason="sick"]')
    page.click('[data-days="7"]')
    well("reasons")
    page.click("#d-confirm")
    page.wait_for_selector('#g-status use[href="#diamond"]')
    well("changed")
    page.click("#g-done")
    page.click("#open-pin")
    well("names")
    page.click("#p-swap")
    page.keyboard.type("W")
    page.wait_for_selector("#p-found button")
    well("letters")
    page.click("#p-found [data-official='XC-1']")
    page.keyboard.type("999999", delay=70)
    page.wait_for_selector("#p-result:not(:empty):not(.calm)")
    well("wrong PIN")
    page.click("#p-close")
    page.click("#open-notice")
    well("notice")
    page.click("#n-close")
    stand.feed.update(pending=0)


def test_a_greeting_names_and_says_the_colour_in_word_and_shape(
    open_page: Open, stand: Any
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


def test_a_change_of_mind_by_touch_with_reason_and_return(open_page: Open, stand: Any) -> None:
    page = open_page()
    shown = stand.desk.greet("王芳")
    page.tap('#g-buttons [data-status="business_trip"]')
    page.tap('[data-reason="meeting"]')
    page.tap('#d-return [data-days="1"]')
    page.tap('#d-return [data-hours="1"]')
    page.tap("#d-confirm")
    page.wait_for_selector('#g-status:has-text("出差")')
    (done,) = stand.desk.done
    assert done[:4] == ("choose", shown["id"], "business_trip", "meeting")
    # 1,790,000,000 is 2026-09-21 22:13 in Shanghai: tomorrow's end of work is 18:00 on the 22nd,
    # and an hour later.
    assert done[4] == 1_790_074_800_000
    assert "开会" in page.inner_text("#g-more")
    page.tap('#g-buttons [data-status="left"]')
    page.wait_for_selector('#g-status:has-text("已离开")')
    assert stand.desk.done[1][2:] == ("left", None, None)


def test_pin_by_touch_alone(open_page: Open, stand: Any) -> None:
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


def test_second_factor_asks_for_the_pin_of_that_person(open_page: Open, stand: Any) -> None:
    page = open_page()
    stand.feed.tell({"type": "ask_pin", "official": "XC-2", "name": "李娜"})
    page.wait_for_selector("#p-digits:visible")
    assert page.inner_text("#p-who") == "李娜"
    page.keyboard.type("123456", delay=70)
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-2", "123456")]


def test_the_language_switches_at_once_and_is_kept(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.click("#language")
    assert page.inner_text("#open-pin") == "PIN · card · badge"
    assert page.inner_text('#rows [data-status="on_duty"] i >> nth=0') == "On duty"
    page.click("#open-notice")
    assert "withdraw" in page.inner_text(".prose")
    page.reload()
    assert page.get_attribute("html", "lang") == "en"


def test_states_are_said_one_at_a_time(open_page: Open, stand: Any) -> None:
    page = open_page()
    said = page.locator("#said")
    stand.feed.update(guidance={"zh": "靠近一点", "en": "Come a little closer"})
    page.wait_for_selector('#instruction:has-text("靠近一点")')
    stand.feed.fault("store", {"zh": "磁盘已满", "en": "the disk is full"})
    page.wait_for_selector('#instruction[data-tone="bad"]')
    assert "无法记录" in said.inner_text()
    assert "磁盘已满" in page.inner_text("#troubles")
    stand.feed.fault("store", None)
    page.wait_for_selector('#troubles [data-part="store"]', state="detached")
    page.wait_for_selector('#instruction[data-tone="act"]')
    stand.feed.update(liveness_basic=True)
    page.wait_for_selector(
        '#troubles [data-part="weights"]:has-text("缺少活体检测模型，请按提示转头")'
    )
    stand.feed.update(liveness_basic=False)
    page.wait_for_selector('#troubles [data-part="weights"]', state="detached")
    stand.feed.update(link={"ok": False, "heard_ms": None, "since_ms": 1_790_000_000_000})
    page.wait_for_selector("#link.warn")
    assert "签到照常" in page.inner_text("#link")


def test_a_page_that_lost_the_kiosk_says_so_and_comes_back(
    browser: Browser, new_stand: type[Any]
) -> None:
    first = new_stand()
    context = browser.new_context(viewport={"width": 800, "height": 480})
    page = context.new_page()
    page.goto(first.screen.url)
    page.wait_for_selector("#rows li")
    old = page.get_attribute('meta[name="screen-token"]', "content")
    port = first.screen.port
    first.close()
    page.wait_for_selector('#wake[data-tone="bad"]', timeout=10_000)
    feed = ScreenFeed()
    feed.update(site="回来了")
    with Screen(feed, first.desk, port):
        page.wait_for_selector('#site:has-text("回来了")', timeout=20_000)
        assert page.get_attribute('meta[name="screen-token"]', "content") != old
        context.close()


def test_shapes_differ_by_more_than_colour(open_page: Open) -> None:
    page = open_page()
    shapes = page.eval_on_selector_all(
        "#rows li", "all => [...new Set(all.map(e => e.dataset.status + e.querySelector('use')"
        ".getAttribute('href')))]",
    )  # fmt: skip
    assert len(shapes) == 5
    assert len({shape.split("#")[1] for shape in shapes}) == 5


def test_a_face_wakes_the_mirror_and_it_sleeps_again(open_page: Open, stand: Any) -> None:
    page = open_page()
    place = page.locator("#clock").bounding_box()
    assert not page.is_visible("#look")
    assert stand.feed._seats.get("picture", 0) == 0  # a sleeping mirror costs no pictures
    stand.feed.update(near=True)
    page.wait_for_selector("#look:visible")
    page.evaluate(
        "new Promise((done) => { const look = () => document.getElementById('picture').naturalWidth"
        " ? done() : setTimeout(look, 20); look(); })"
    )
    assert not page.is_visible("#rows")
    assert page.locator("#clock").bounding_box() == place  # nothing moved
    stand.feed.update(near=False)
    page.wait_for_selector("#look", state="hidden", timeout=10_000)
    assert page.is_visible("#rows")


def test_the_notice_is_one_touch_from_the_board_and_from_the_mirror(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    page.tap("#open-notice")
    assert "如何撤回同意" in page.inner_text("#notice .prose")
    page.tap("#n-close")
    stand.feed.update(near=True)
    page.wait_for_selector("#look:visible")
    page.tap("#look-notice")
    assert "如何撤回同意" in page.inner_text("#notice .prose")
    page.tap("#n-close")
    assert page.is_visible("#look"), "whoever read it stands before the camera as before"
    stand.feed.update(near=False)


def state_of(page: Page) -> dict[str, str]:
    """The list of how the kiosk is, label and value."""
    said = page.eval_on_selector_all(
        "#t-state > div", "all => all.map(e => [...e.children].map(each => each.innerText))"
    )
    return dict(said)


def test_how_the_kiosk_is_stands_one_touch_away_also_where_nothing_is_wrong(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    stand.feed.update(condition=CONDITION, pending=128)
    page.wait_for_selector('#link:has-text("128")')
    page.tap("#open-state")
    assert page.inner_text("#t-title") == "运行状况"
    assert state_of(page) == {
        "待上传的记录": "128 条，最早的已等 2 小时",
        "剩余存储空间": "24.3\xa0GB",
        "时钟": "已核对（A 级）",
        "摄像头": "正常",
        "指示灯": "正常",
        "人脸库清单有效期至": "2026年12月11日",
        "上次联系服务器": "22:13",
    }
    stand.feed.update(
        troubles=TROUBLES,
        pending=1,
        condition={
            **CONDITION, "clock": "C", "free_mb": 120, "oldest_s": 4 * 86_400, "rejected": 3,
            "expires_ms": 1_780_000_000_000, "lamps": "unknown",
        },
        link={"ok": False, "heard_ms": None, "since_ms": 1_790_000_000_000},
    )  # fmt: skip
    page.wait_for_selector('#t-state .bad:has-text("C 级")')
    page.evaluate("document.getElementById('language').click()")
    assert state_of(page) == {
        "Records to upload": "1, the oldest for 4 d",
        "Rejected records": "3",
        "Free storage": "120\xa0MB",
        "Clock": "not verified (class C)",
        "Camera": "The camera is covered",
        "Lamps": "not known",
        "Gallery valid until": "29 May 2026, expired",
        "Last contact with the server": "none yet",
    }
    assert page.locator("#t-state .bad").count() == 6
    stand.feed.update(troubles=[], condition={**CONDITION, "expires_ms": None}, pending=0)
    page.wait_for_selector('#t-state:has-text("waiting for the enrolment desk")')
    assert state_of(page)["Records to upload"] == "none"
    assert page.is_visible("#t-state"), "who looks how it is goes on looking"
    page.tap("#t-close")
    stand.feed.update(near=True)
    page.wait_for_selector("#look:visible")
    page.tap("#open-state")
    assert page.is_visible("#t-state"), "from the mirror too"
    stand.desk.greet("王芳")
    page.wait_for_selector("#greeting[open]")
    assert not page.is_visible("#t-state"), "whoever checks in comes first"
    stand.feed.update(near=False)


def test_a_list_that_nobody_reads_any_more_gives_the_screen_back(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    page.clock.install()
    page.reload()
    page.wait_for_selector("#rows li")
    page.tap("#open-state")
    page.clock.run_for(170_000)
    assert page.is_visible("#t-state")
    page.tap("#t-title")
    page.clock.run_for(170_000)
    assert page.is_visible("#t-state")
    page.clock.run_for(15_000)
    assert not page.is_visible("#t-state")


def test_a_motion_sensor_wakes_the_mirror_before_a_face_is_seen(
    open_page: Open, stand: Any
) -> None:
    """From the pin to the page: only the pins are mock ones."""
    page, pins, now = open_page(), mock_pins(), [100.0]
    around = Surroundings(
        check_wiring({"driver": "screen", "motion": {"pin": 16}}),
        Settings(voice=VoiceSettings(on=False)),
        live=True,
        troubles=Troubles(stand.feed, EventLog(None)),
        feed=stand.feed,
        person_of=lambda official: None,
        now_ms=lambda: 1_790_000_000_000,
        mono=lambda: now[0],
        pin_factory=pins,
    )
    with contextlib.closing(around):
        around.turn()
        assert not page.is_visible("#look")
        pins.pin(16).drive_high()
        now[0] += 1.0
        around.turn()
        page.wait_for_selector("#look:visible")
        pins.pin(16).drive_low()
        now[0] += 1.0
        around.turn()
        page.wait_for_selector("#look", state="hidden", timeout=10_000)  # nobody came
        stand.feed.update(camera=False)
        page.wait_for_selector("#picture[hidden]", state="attached")
        pins.pin(16).drive_high()
        now[0] += 5.0
        around.turn()
        page.wait_for_timeout(300)
        assert not page.is_visible("#look"), "without a camera there is nothing to show"
        stand.feed.update(camera=True)


def test_reasons_fit_the_status(open_page: Open, stand: Any) -> None:
    page = open_page()
    stand.desk.greet("王芳")
    for status, offered in (
        ("on_leave", ["事假", "病假"]),
        ("business_trip", ["开会", "培训", "民事代办", "走访入户"]),
    ):
        page.click(f'#g-buttons [data-status="{status}"]')
        assert page.locator("#d-reasons button").all_inner_texts() == offered
        page.click("#d-back")


def test_without_a_camera_the_idle_line_leads_to_the_pad(open_page: Open, stand: Any) -> None:
    page = open_page()
    stand.feed.update(camera=False)
    stand.feed.fault("camera", {"zh": "摄像头断开", "en": "the camera is gone"})
    page.wait_for_selector('#wake[data-tone="warn"]')
    page.tap("#wake")
    page.wait_for_selector("#pad[open]")
    stand.feed.update(camera=True)


WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => window.seen.push(performance.timeOrigin + performance.now()))
    .observe(document.getElementById("greeting-live"), { childList: true, characterData: true });
}"""


def test_the_greeting_is_on_the_screen_within_100_ms(open_page: Open, stand: Any) -> None:
    """From `tell` in the kiosk to the change in the page's DOM, on one clock; 40 greetings."""
    page = open_page()
    page.evaluate(WATCH)
    told = []
    for count in range(40):
        told.append(time.time() * 1000)
        stand.desk.greet(f"王芳{count}")
        page.evaluate(
            "(n) => new Promise((done) => { const look = () => window.seen.length > n"
            " ? done() : setTimeout(look, 5); look(); })",
            count,
        )
    took = sorted(seen - at for at, seen in zip(told, page.evaluate("window.seen"), strict=True))
    p95 = took[int(len(took) * 0.95)]
    print(f"greeting to screen: n {len(took)}, median {took[20]:.1f} ms, 95th percentile {p95:.1f}")
    assert p95 < 100


# A browser tells of a closing with the next frame, which a busy Pi draws late.
CLOSED_AND_OPENED = """async ([module, opens, dialog, whom]) => {
  const open = (await import(`/static/${module}.js`))[opens];
  document.getElementById(dialog).close();
  open(whom, () => Date.now());
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""


def test_a_greeting_that_follows_on_another_is_not_ended_with_it(
    open_page: Open, stand: Any
) -> None:
    page = open_page()
    before = stand.desk.greet("李娜")
    page.wait_for_selector("#greeting[open]")
    after = {**before, "id": "r-next", "name": "王芳"}
    page.evaluate(CLOSED_AND_OPENED, ["greeting", "greet", "greeting", after])
    page.tap('#g-buttons [data-status="left"]')
    page.wait_for_selector('#g-status:has-text("已离开")')
    assert stand.desk.done == [("choose", "r-next", "left", None, None)]


def test_a_pad_that_follows_on_another_is_not_ended_with_it(open_page: Open, stand: Any) -> None:
    page = open_page()
    page.tap("#open-pin")
    person = {"official": "XC-2", "name": "李娜", "why": "after_card", "ticket": "t-1"}
    page.evaluate(CLOSED_AND_OPENED, ["pad", "openPad", "pad", person])
    page.keyboard.type("123456", delay=60)
    page.wait_for_selector("#greeting[open]")
    assert stand.desk.done == [("pin", "XC-2", "123456", "t-1")]

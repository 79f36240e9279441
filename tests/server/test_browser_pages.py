"""The pages in Debian's Chromium: live, within the screen, from this server alone."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from attendance.statuses import Status
from server.models import Official, User
from server.services.access import accounts
from server.web.board import STREAMS, watcher
from tests.server.web_seed import PASSWORD, World, fill, make_world

pytestmark = pytest.mark.browser

SIZES = {"telephone": (390, 844), "desk": (1280, 800), "television": (1920, 1080)}
STAFF_PAGES = ("/day", "/day?date=2026-11-19", "/officials", "/officials/A017", "/leave", "/sites",
               "/audit", "/password", "/nope", "/settings/rules", "/settings/roster/A017",
               "/settings/groups", "/duty/roster", "/charts", "/account",
               "/account/second")  # fmt: skip


class Quiet(WSGIRequestHandler):
    """Logs nothing; the tests look at what the browser saw."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


class Served:
    """A world behind a real HTTP server that can be stopped and started again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", self.port, self.world.app, threaded=True, request_handler=Quiet
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        watcher(self.world.app).close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = make_world(tmp_path_factory.mktemp("browser"))
    fill(world)
    here = Served(world)
    yield here
    here.stop()


class Reader:
    """A page in a window of its own, and everything it asked for or complained of."""

    def __init__(self, browser: Browser, url: str, size: str, lang: str, js: bool = True) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, java_script_enabled=js
        )
        self.context.add_cookies([{"name": "quxiang_lang", "value": lang, "url": url}])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.url = url
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path: str) -> Page:
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer is None or answer.status < 500, path
        return self.page

    def sign_in(self, name: str, lands: str = "**/day") -> None:
        self.open("/login")
        # The name has the focus by itself, though on a busy machine not yet when the page loaded.
        expect(self.page.locator("[autofocus]")).to_be_focused()
        self.page.keyboard.type(name)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lands)

    def close(self) -> None:
        self.context.close()


@pytest.mark.parametrize(
    ("size", "lang"),
    [
        ("telephone", "zh"),
        ("telephone", "en"),
        ("desk", "zh"),
        ("desk", "en"),
        ("television", "zh"),
    ],
)
def test_no_page_overflows_or_asks_elsewhere(
    browser: Browser, served: Served, size: str, lang: str
) -> None:
    reader = Reader(browser, served.url, size, lang)
    try:
        for path in ("/", "/login"):
            check_width(reader, path)
        page = reader.open("/")
        assert page.locator(".person .heard").count(), "the board has people of a silent site"
        broken = page.evaluate(
            """() => [...document.querySelectorAll('.person .phone')].filter(e =>
                e.offsetHeight > 2.2 * parseFloat(getComputedStyle(e).fontSize)).length"""
        )
        assert broken == 0, "a telephone number is broken into lines"
        reader.sign_in("leader")
        for path in STAFF_PAGES:
            check_width(reader, path)
        origin = urlsplit(served.url).netloc
        assert {urlsplit(asked).netloc for asked in reader.asked} == {origin}
        assert [e for e in reader.errors if "404" not in e] == [], "no CSP violation, no error"
    finally:
        reader.close()


def check_width(reader: Reader, path: str) -> Page:
    page = reader.open(path)
    over = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
    assert over <= 0, f"{path} is {over} pixels too wide"
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => {
            const r = e.getBoundingClientRect();
            return r.width && !e.closest('.unseen, thead, .scroll') && r.right > innerWidth + 1;
        }).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == [], path
    return page


def test_the_board_follows_a_record_without_reloading(browser: Browser, served: Served) -> None:
    reader = Reader(browser, served.url, "desk", "zh")
    try:
        page = reader.open("/")
        person = page.locator(".person", has_text="林海涛").first
        target = page.locator(".person", has_text="杨晓燕")
        expect(person).to_be_visible()
        expect(target).to_contain_text("未签到")
        page.evaluate("window.notReloaded = true")
        served.world.kiosks[0].record("A006", status=Status.ON_DUTY)
        served.world.kiosks[0].sync()
        expect(target).to_contain_text("在岗", timeout=3_000)
        assert page.evaluate("window.notReloaded") is True
        assert page.locator(".legend li", has_text="在岗").inner_text().split()[-1] == "3"
    finally:
        reader.close()


def test_a_board_without_a_stream_polls(browser: Browser, served: Served) -> None:
    watching = watcher(served.world.app)
    held = [watching.open(1) for _ in range(STREAMS)]
    reader = Reader(browser, served.url, "desk", "zh")
    try:
        page = reader.open("/")
        target = page.locator(".person", has_text="孙志强")
        expect(target).to_contain_text("未签到")
        with page.expect_response("**/board.json"):
            page.reload()
        served.world.kiosks[1].record("A012")
        served.world.kiosks[1].sync()
        expect(target).to_contain_text("下乡", timeout=10_000)
    finally:
        reader.close()
        for stream in held:
            if stream is not None:
                stream.close()


def test_a_board_that_does_not_hear_the_server_says_so(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    served = Served(make_world(tmp_path_factory.mktemp("silent"), people=6))
    reader = Reader(browser, served.url, "telephone", "zh")
    try:
        reader.page.clock.install()
        page = reader.open("/")
        warning = page.locator(".awaiting")
        expect(warning).to_be_hidden()
        served.stop()
        page.clock.run_for(40_000)
        expect(warning).to_be_visible()
        expect(warning).to_contain_text("状态待更新")
        served.start()
        for _ in range(8):
            page.clock.run_for(5_000)
            page.wait_for_timeout(50)
            if warning.is_hidden():
                break
        expect(warning).to_be_hidden()
    finally:
        reader.close()
        served.stop()


def test_the_board_works_without_javascript(browser: Browser, served: Served) -> None:
    reader = Reader(browser, served.url, "telephone", "zh", js=False)
    try:
        page = reader.open("/")
        expect(page.locator(".person")).to_have_count(36)
        page.get_by_text("English").click()
        expect(page.locator("h1")).to_have_text("Where our officials are")
        assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
    finally:
        reader.close()


def test_a_board_of_many_is_walked_by_group_and_printed_small(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    served = Served(make_world(tmp_path_factory.mktemp("many"), people=96))
    with served.world.app.extensions["quxiang"].database.transaction() as session:
        session.execute(
            update(Official).where(Official.official.like("A00%")).values(portrait="a" * 32)
        )
    reader = Reader(browser, served.url, "telephone", "zh")
    try:
        page = reader.open("/")
        expect(page.locator(".jump a").first).to_be_hidden()
        page.get_by_text("按工作组查找").click()
        page.locator(".jump a", has_text="便民服务中心").click()
        expect(page.locator(".group", has_text="便民服务中心")).to_be_in_viewport()
        edges = {round(box["x"]) for who in page.locator(".person .who").all()[:12]
                 if (box := who.bounding_box()) is not None}  # fmt: skip
        assert len(edges) == 1, "names stand below each other, with a portrait or without"
        page.emulate_media(media="print")
        assert page.locator(".jump").is_hidden()
        assert page.locator(".person img").first.is_hidden()
        boxes = [who.bounding_box() for who in page.locator(".person").all()]
        tall = [box for box in boxes if box is not None and box["height"] > 60]
        assert len(tall) <= 2, "but the long name and the long title"
        assert len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True))) <= 3
    finally:
        reader.close()
        served.stop()


def test_the_board_prints_on_a4(browser: Browser, served: Served) -> None:
    reader = Reader(browser, served.url, "desk", "zh")
    try:
        page = reader.open("/")
        page.emulate_media(media="print")
        assert page.locator(".tools").is_hidden()
        pdf = page.pdf(prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF")
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 2
    finally:
        reader.close()


def test_a_week_prints_across_the_sheet_its_heading_with_it(
    browser: Browser, served: Served
) -> None:
    reader = Reader(browser, served.url, "desk", "zh")
    try:
        reader.sign_in("leader")
        pdf = reader.open("/week?date=2026-11-19").pdf(prefer_css_page_size=True)
        boxes = re.findall(rb"/MediaBox \[0 0 (\d+)[.\d]* (\d+)[.\d]*\]", pdf)
        assert set(boxes) == {(b"841", b"594")}
    finally:
        reader.close()


def test_a_leader_approves_leave(browser: Browser, served: Served) -> None:
    reader = Reader(browser, served.url, "telephone", "zh")
    try:
        reader.sign_in("leader")
        page = reader.open("/leave")
        row = page.locator("tr", has_text="冯建国")
        row.get_by_role("button", name="批准", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("已批准")
        expect(page.locator("tr", has_text="冯建国")).to_contain_text("已批准")
        reader.open("/")
        expect(page.locator(".person", has_text="冯建国")).to_contain_text("请休假")
    finally:
        reader.close()


def test_signing_in_with_a_code_and_ending_a_session(browser: Browser, served: Served) -> None:
    here = Reader(browser, served.url, "telephone", "zh")
    there = Reader(browser, served.url, "desk", "en")
    try:
        with served.world.app.extensions["quxiang"].database.transaction() as session:
            place = session.query(User).filter_by(name="leader").one().township
            accounts.add_user(session, place, "twostep", "leader", PASSWORD, served.world.hand(),
                              must_change=False)  # fmt: skip
        here.sign_in("twostep")
        page = here.open("/account")
        page.get_by_role("link", name="去设置").click()
        page.get_by_role("button", name="去设置").click()
        secret = page.locator(".secret").inner_text().replace(" ", "")
        assert page.locator("svg.qr").bounding_box()["width"] > 150
        page.get_by_label("动态码").fill(_code(served, secret, 0))
        page.keyboard.press("Enter")
        expect(page.locator(".codes li")).to_have_count(8)
        check_here(page)
        page.get_by_role("link", name="已妥善保管").click()
        page.wait_for_url("**/day")

        there.open("/login")
        there.page.get_by_label("Account").fill("twostep")
        there.page.get_by_label("Password").fill(PASSWORD)
        there.page.keyboard.press("Enter")
        there.page.wait_for_url("**/login/code*")
        expect(there.page.locator("#code")).to_be_focused()
        there.page.keyboard.type("000000")
        there.page.keyboard.press("Enter")
        expect(there.page.get_by_role("alert")).to_contain_text("The code is wrong")
        check_here(there.page)
        there.page.get_by_label("Code", exact=True).fill(_code(served, secret, 1))
        there.page.keyboard.press("Enter")
        there.page.wait_for_url("**/day")

        page = here.open("/account")
        rows = page.locator("main tbody tr")
        expect(rows).to_have_count(2)
        check_here(page)
        other = rows.filter(has_not_text="本机")
        page.get_by_label("现密码").fill(PASSWORD)
        other.get_by_role("button", name="退出").click()
        expect(page.get_by_role("status")).to_contain_text("已在那里退出")
        there.open("/day")
        assert "/login" in there.page.url
        expect(page.locator("main tbody tr")).to_have_count(1)
        assert here.errors == [], "no CSP violation"
    finally:
        here.close()
        there.close()


def _code(served: Served, secret: str, steps: int) -> str:
    return pyotp.HOTP(secret).at(int(served.world.hand().timestamp()) // 30 + steps)


def check_here(page: Page) -> None:
    over = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
    assert over <= 0, f"{page.url} is {over} pixels too wide"
    assert page.evaluate(CONTRAST) == []


def test_the_contrast_of_words_is_enough(browser: Browser, served: Served) -> None:
    reader = Reader(browser, served.url, "desk", "zh")
    try:
        reader.sign_in("leader")
        for path in ("/", "/day", "/day?date=2026-11-19", "/leave"):
            page = reader.open(path)
            weak = page.evaluate(CONTRAST)
            assert weak == [], path
    finally:
        reader.close()


#: WCAG 2.2, 1.4.3: at least 4.5 to 1 (3 to 1 for 24 px, or 18.66 px bold).
CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.tagName === 'NOSCRIPT') continue;
    const style = getComputedStyle(e);
    const pair = [light(parse(style.color)), light(ground(e))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.add(e.className + ': ' + e.textContent.trim().slice(0, 20)
      + ' ' + ratio.toFixed(2));
  }
  return [...found];
}"""

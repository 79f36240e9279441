"""Each role's day in the demo township, from login to the signed month, in a real browser.

The tests go on from one another, as the roles do: what the clerk enters the leader decides.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Browser, Page, expect

from server.app import create_app
from server.config import ServerConfig
from server.demo import make_demo
from server.models import Official
from server.services.township.townships import create_township

from .test_browser_pages import Reader, Served
from .web_seed import Hand, World

pytestmark = pytest.mark.browser

#: Monday morning in Shanghai: October is over, and its last week is in the demo.
NOW = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
NEW = ("N-901", "钱多多", "驻村干部", "13900000901")


class Desk:
    """The demo township behind a real server, and the passwords that the demo said."""

    def __init__(self, config: ServerConfig) -> None:
        said = list(make_demo(config, 10, 6, 12, NOW))
        found = (re.match(r"(\w+)  (\S+)  .+  \((\w+)\)$", line) for line in said)
        self.passwords = {m[3]: (m[1], m[2]) for m in found if m}
        app = create_app(config, clock=Hand(NOW))
        self.served = Served(World(app, Hand(NOW), config, [], []))

    def signed_in(
        self, browser: Browser, role: str, size: str = "desk", lands: str = "**/day"
    ) -> Reader:
        reader = Reader(browser, self.served.url, size, "zh")
        sign_in(reader, *self.passwords[role], lands)
        return reader

    def neighbour(self) -> None:
        """Another township on the same server, with one official."""
        with self.served.world.app.extensions["quxiang"].database.transaction() as session:
            place = create_township(session, "邻乡", NOW)
            session.add(
                Official(township_id=place.id, official="L-1", name="外乡人", title="科员",
                         phone="", created_ms=0, updated_ms=0)
            )  # fmt: skip


def sign_in(reader: Reader, name: str, password: str, lands: str = "**/day") -> None:
    page = reader.open("/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url(lands)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(ServerConfig(tmp_path_factory.mktemp("desk") / "server"))
    yield made
    made.served.stop()


def said(page: Page, words: str) -> None:
    expect(page.get_by_role("status").first).to_contain_text(words)


def table(*rows: tuple[str, ...]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for row in (("编号", "姓名", "职务", "电话"), *rows):
        book.active.append(row)  # type: ignore[union-attr]
    book.save(out)
    return out.getvalue()


def test_the_clerk_imports_plans_and_enters(browser: Browser, desk: Desk) -> None:
    reader = desk.signed_in(browser, "clerk")
    try:
        page = reader.open("/settings/import")
        page.locator("#file-officials").set_input_files(
            {"name": "officials.xlsx", "mimeType": "application/vnd.ms-excel",
             "buffer": table(NEW, ("N 902", "错", "", ""))}
        )  # fmt: skip
        page.locator("form", has=page.locator("#file-officials")).locator("button").click()
        expect(page.locator("main")).to_contain_text("尚未写入")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(1)).to_contain_text("不导入")
        page.get_by_role("button", name="写入").click()
        said(page, "已导入")

        page = reader.open("/officials?q=qdd")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody")).to_contain_text(NEW[1])

        page = reader.open("/settings/exceptions")
        page.select_option("#official", NEW[0])
        page.fill("#from", "2026-11-03")
        page.select_option("#what", "at")
        site = page.locator("#site option").nth(2).inner_text()
        page.select_option("#site", label=site)
        page.fill("#reason", "防汛")
        page.locator("form", has=page.locator("#what")).locator("button").click()
        expect(page.locator("tbody")).to_contain_text(f"到站点: {site}")

        page = reader.open("/leave")
        page.get_by_text("登记请假或出差").click()
        page.select_option("#official", NEW[0])
        page.fill("#first", "2026-11-05")
        page.fill("#last", "2026-11-04")
        page.fill("#reason", "年休假")
        page.get_by_role("button", name="提交审批").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.locator("#reason")).to_have_value("年休假")
        page.fill("#last", "2026-11-05")
        page.get_by_role("button", name="提交审批").click()
        expect(page.locator("tr", has_text=NEW[1])).to_contain_text("待领导审批")

        propose(reader, "QS-002", "终端断电")
        assert reader.errors == [] or all("400" in e for e in reader.errors)
    finally:
        reader.close()


def propose(reader: Reader, official: str, reason: str) -> None:
    """Somebody was in a village that Saturday, although no kiosk says so."""
    page = reader.open(f"/corrections/{official}?date=2026-10-31")
    page.select_option("#kind", "presence")
    page.select_option("#site", index=2)
    page.fill("#start", "08:20")
    page.fill("#reason", reason)
    page.get_by_role("button", name="提出", exact=True).click()
    said(page, "已提出")


def test_the_inspector_draws_looks_and_opens_a_finding(browser: Browser, desk: Desk) -> None:
    reader = desk.signed_in(browser, "inspector", "telephone")
    try:
        page = reader.open("/discrepancies?first=2026-10-22&last=2026-10-31")
        for kind in ("liveness_off", "late_amend", "unknown_official", "few_visits",
                     "kiosk_silent", "no_kiosk"):  # fmt: skip
            expect(page.locator(f"#kind option[value={kind}]")).to_have_count(1)
        page = reader.open("/discrepancies?first=2026-10-22&last=2026-10-31&kind=unknown_official")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody")).to_contain_text("QS-999")
        assert reader.open(
            "/discrepancies?last=2026-10-31&kind=unknown_official&q=QS-001"
        ).locator("tbody").inner_text().strip() == "暂无内容。"
        page = reader.open("/spotchecks")
        page.fill("#date", "2026-10-30")
        page.get_by_role("button", name="抽取").click()
        expect(page.locator("code.seed")).to_have_text(re.compile("^[0-9a-f]{32}$"))
        first = page.locator("section.panel").first
        first.locator("select[name=seen]").select_option("not_there")
        first.locator("input[name=time]").fill("10:15")
        first.locator("input[name=text]").fill("锁着门")
        first.locator("input[name=finding]").check()
        first.get_by_role("button", name="记录").click()
        said(page, "已记录")
        expect(page.locator("section.panel").first).to_contain_text("锁着门")
        page = reader.open("/findings?state=open")
        expect(page.locator("section.panel", has_text="锁着门")).to_be_visible()
        for path in ("/settings/import", "/leave", "/corrections"):
            reader.open(path)
            expect(page.locator("main form[method=post]")).to_have_count(0)
        assert reader.errors == []
    finally:
        reader.close()


def test_the_leader_decides_closes_and_signs_the_month(browser: Browser, desk: Desk) -> None:
    reader = desk.signed_in(browser, "leader")
    try:
        page = reader.open("/leave")
        row = page.locator("tr", has_text=NEW[1])
        row.get_by_role("button", name="批准", exact=True).click()
        said(page, "已批准")

        page.get_by_text("登记请假或出差").click()
        expect(page.locator("main")).to_contain_text("没有其他领导账号")
        page.select_option("#official", "QS-003")
        for day in ("#first", "#last"):
            page.fill(day, "2026-12-01")
        page.fill("#reason", "年休假")
        page.get_by_role("button", name="提交审批").click()
        own = page.locator("tr", has_text="由您登记，不能自己审批")
        expect(own.get_by_role("button", name="批准", exact=True)).to_have_count(0)
        usual = page.viewport_size
        assert usual is not None
        page.set_viewport_size({"width": 820, "height": 800})
        assert page.locator("tbody th b").evaluate_all(
            "names => names.every(name => name.getClientRects().length === 1)"
        ), "no name is broken in two beside that sentence"
        page.set_viewport_size(usual)
        own.get_by_text("未休（撤销）").click()
        own.get_by_role("button", name="撤销").click()
        expect(page.locator("tr", has_text="由您登记，不能自己审批")).to_have_count(0)

        before = paid(reader, "2026-10")
        approve(reader, "终端断电")
        after = paid(reader, "2026-10")
        assert after == before + 35, "a day in the village that somebody vouched for is paid"

        page = reader.open("/findings?state=open")
        found = page.locator("section.panel", has_text="锁着门")
        found.get_by_text("继续办理").click()
        found.locator("select[name=what]").select_option("closed")
        found.locator("input[name=text]").fill("已谈话")
        found.get_by_role("button", name="登记").click()
        said(page, "已记录")

        page = reader.open("/allowance?month=2026-10")
        page.get_by_role("button", name="签字确认本月").click()
        expect(page.locator("main")).to_contain_text("报表已固定")
        expect(page.get_by_role("button", name="签字确认本月")).to_have_count(0)
        assert paid(reader, "2026-10") == after
    finally:
        reader.close()


def paid(reader: Reader, month: str) -> float:
    """What the statement says is to be paid."""
    text = reader.open(f"/allowance?month={month}").locator("dl.facts dd").nth(2).inner_text()
    return float(text.split()[0])


def approve(reader: Reader, reason: str) -> None:
    page = reader.open("/corrections?state=proposed")
    row = page.locator("tr", has_text=reason)
    row.locator("input[name=note]").fill("已核实")
    row.get_by_role("button", name="批准", exact=True).click()
    said(page, "已批准")


def test_what_is_corrected_afterwards_is_paid_in_the_next_month(
    browser: Browser, desk: Desk
) -> None:
    clerk, leader = desk.signed_in(browser, "clerk"), desk.signed_in(browser, "leader")
    try:
        signed, open_ = paid(leader, "2026-10"), paid(leader, "2026-11")
        propose(clerk, "QS-003", "周六值守")
        expect(clerk.page.get_by_role("button", name="批准", exact=True)).to_have_count(0)
        approve(leader, "周六值守")
        assert paid(leader, "2026-10") == signed, "signed is frozen"
        assert paid(leader, "2026-11") == open_ + 35
        changes = leader.page.locator("table", has_text="差额")
        expect(changes).to_contain_text("2026-10-31")
    finally:
        clerk.close()
        leader.close()


def test_the_administrator_gives_an_account_and_takes_it_back(browser: Browser, desk: Desk) -> None:
    admin = desk.signed_in(browser, "admin")
    fresh = Reader(browser, desk.served.url, "telephone", "zh")
    try:
        page = admin.open("/accounts")
        page.get_by_text("新增账号").click()
        page.fill("#name", "xinren")
        page.select_option("#role", "inspector")
        page.get_by_role("button", name="建立账号").click()
        once = page.get_by_role("status").locator("code").inner_text()
        expect(page.locator("tr", has_text="xinren")).to_contain_text("一次性密码")

        # Whoever gets it changes the password before anything else.
        sign_in(fresh, "xinren", once, "**/password")
        theirs = fresh.page
        theirs.locator("input[type=password]").nth(0).fill(once)
        for nth in (1, 2):
            theirs.locator("input[type=password]").nth(nth).fill("horse staple battery")
        theirs.get_by_role("button", name="修改密码").click()
        theirs.wait_for_url("**/day")
        assert fresh.open("/spotchecks").get_by_role("button", name="抽取").is_visible()

        page = admin.open("/accounts")
        page.get_by_role("link", name="xinren").click()
        page.select_option("#role", "leader")
        page.get_by_role("button", name="修改", exact=True).click()
        fresh.open("/day")
        assert "/login" in theirs.url, "with another role the account signs in anew"
        sign_in(fresh, "xinren", "horse staple battery")
        fresh.open("/leave")
        expect(theirs.get_by_role("link", name="审计记录")).to_be_attached()

        page.get_by_role("button", name="停用账号").click()
        fresh.open("/day")
        assert "/login" in theirs.url, "put out of force ends the sessions"
        theirs.fill("[name=name]", "xinren")
        theirs.fill("[name=password]", "horse staple battery")
        theirs.keyboard.press("Enter")
        expect(theirs.get_by_role("alert")).to_be_visible()
        assert admin.errors == []
    finally:
        admin.close()
        fresh.close()


def test_the_administrator_lets_a_program_read_and_no_longer(browser: Browser, desk: Desk) -> None:
    reader = desk.signed_in(browser, "admin")
    try:
        page = reader.open("/tokens")
        page.fill("#name", "大屏")
        page.get_by_label("去向").check()
        page.get_by_role("button", name="生成令牌").click()
        token = page.locator("code.token").inner_text()
        asked = {"Authorization": f"Bearer {token}"}
        where = f"{desk.served.url}/api/v1/programs/whereabouts"
        assert reader.context.request.get(where, headers=asked).status == 200
        page.get_by_role("button", name="撤销").click()
        assert reader.context.request.get(where, headers=asked).status == 401
        expect(page.locator("tr", has_text="大屏")).not_to_contain_text("生效中")
    finally:
        reader.close()


def test_the_administrator_reads_who_did_what(browser: Browser, desk: Desk) -> None:
    reader = desk.signed_in(browser, "admin")
    try:
        page = reader.open("/audit")
        trail = page.locator("main")
        for who, what in (("lingdao", "2026-10"), ("wenshu", "officials.xlsx"),
                          ("dudao", "")):  # fmt: skip
            page = reader.open(f"/audit?who={who}")
            row = trail.locator("tr", has_text=who).filter(has_text=what)
            expect(row.first).to_be_attached()
        page = reader.open("/audit")
        page.fill("#who", "admin")
        page.fill("#text", "xinren")
        page.select_option("#what", "changes")
        page.get_by_role("button", name="查询").click()
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(3)  # made, another role, out of force
        with page.expect_download() as waiting:
            page.get_by_role("link", name="导出 CSV").click()
        saved = Path(waiting.value.path()).read_text("utf-8-sig")
        assert saved.count("xinren") == 3
        page = reader.open("/corrections?state=proposed")
        expect(page.get_by_role("button", name="批准", exact=True)).to_have_count(0)
        page.get_by_role("button", name="退出").click()
        reader.open("/audit")
        assert "/login" in page.url
        assert reader.errors == []
    finally:
        reader.close()


def test_the_auditor_reads_one_township_after_the_other(browser: Browser, desk: Desk) -> None:
    desk.neighbour()
    reader = desk.signed_in(browser, "auditor", "telephone", "**/county")
    try:
        page = reader.page
        expect(page.locator(".nav a")).to_have_count(1)
        reader.open("/day")
        assert page.url.endswith("/county"), "nothing is read before a township is chosen"
        page.get_by_role("button", name="青山乡").click()
        page.wait_for_url("**/day")
        reader.open("/day?date=2026-10-30")
        expect(page.locator("main")).to_contain_text("王秀兰")
        for path in ("/discrepancies?first=2026-10-22&last=2026-10-31", "/corrections", "/leave",
                     "/spotchecks/1", "/findings", "/settings/rules", "/settings/import",
                     "/allowance?month=2026-10", "/sites", "/publication", "/visits"):  # fmt: skip
            reader.open(path)
            forms = page.locator("main form[method=post]:has(button:enabled)")
            expect(forms, path).to_have_count(0)
        reader.open("/allowance?month=2026-10")
        expect(page.locator("main")).to_contain_text("报表已固定")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="XLSX").click()
        book = openpyxl.load_workbook(io.BytesIO(Path(waiting.value.path()).read_bytes()))
        assert any("王秀兰" in str(cell.value) for row in book.active for cell in row)

        reader.open("/county")
        expect(page.locator("li", has_text="青山乡")).to_contain_text("正在查阅")
        page.get_by_role("button", name="邻乡").click()
        page.wait_for_url("**/day")
        expect(page.locator("main")).not_to_contain_text("王秀兰")
        expect(reader.open("/officials").locator("main")).to_contain_text("外乡人")
        assert reader.open("/officials/QS-001").locator("h1").inner_text() == "没有这个页面"
        reader.open("/county")
        expect(page.locator("li", has_text="邻乡")).to_contain_text("正在查阅")
        page.get_by_role("button", name="退出").click()
        reader.open("/day")
        assert "/login" in page.url
        assert [e for e in reader.errors if "404" not in e] == []
    finally:
        reader.close()

    leader = desk.signed_in(browser, "leader")
    try:
        page = leader.open("/audit?who=shenji")
        for what in ("2026-10-30", "2026-10-22..2026-10-31"):
            expect(page.locator("tr", has_text=what).first).to_contain_text("shenji")
        assert leader.open("/audit?text=L-1").locator("tbody tr").count() == 1  # says: nothing
    finally:
        leader.close()

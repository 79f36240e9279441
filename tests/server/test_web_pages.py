"""The supervisors' pages: what they say of a day and of a person, and how many queries it takes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest
from sqlalchemy import event

from attendance.statuses import Kind, Method, Status
from server import csvs
from server.models import Official
from server.web import words
from tests.conftest import NewDatabase
from tests.server.web_seed import GROUPS, LONG_NAME, World, fill, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("pages"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def rows_of(html: str) -> dict[str, str]:
    """The text of each row of the day sheet, by the official's code."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html, re.S):
        code = re.search(r'/officials/([A-Z0-9]+)"', row)
        if code:
            found[code[1]] = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip()
    return found


def table(data: bytes) -> list[dict[str, str]]:
    assert data.startswith(b"\xef\xbb\xbf"), "Excel needs the mark"
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_the_day_sheet_says_who_came_when_how_and_how_sure(world: World) -> None:
    rows = rows_of(world.client("inspector").get("/day").text)
    assert len(rows) == 36
    office = rows["A005"]
    assert "已到" in office
    assert "08:14" in office
    assert "示例乡机关 · 人脸 · 签到" in office
    assert "自行申报 · 开会 · 预计 17:30 返回" in rows["A002"]
    assert "07:30 至 10:05 之间" in rows["A013"], "a bracket, class B"
    assert "时钟存疑，请核实" in rows["A016"], "class C"
    assert "样片／活体检测关闭" in rows["A008"]
    assert "仅有未核实记录" in rows["A009"]
    assert "身份未核实" in rows["A009"]
    assert "PIN 码" in rows["A009"]
    assert "非应到站点" in rows["A017"]
    assert "已被后来的更改取代" in rows["A007"]
    assert "与已批准的请假或出差冲突" in rows["A025"]
    assert "尚未到" in rows["A019"]
    assert "请休假" in rows["A026"]
    assert "请假或出差待审批" in rows["A028"]
    assert "当日无安排" in rows["A036"]


def test_absent_and_not_known_are_told_apart(world: World) -> None:
    # What the willow village's kiosk held came at 10:05 today; the stone village has no kiosk.
    rows = rows_of(world.client("inspector").get("/day?date=2026-11-19").text)
    assert "缺勤" in rows["A006"], "the office's records are complete"
    assert "尚不知道" in rows["A019"], "no records can have come from there"
    assert "缺勤" not in rows["A019"]
    en = rows_of(world.client("inspector", "en").get("/day?date=2026-11-19").text)
    assert "Absent" in en["A006"]
    assert "Not yet known" in en["A019"]


def test_counts_add_up_and_records_without_a_person_show(world: World) -> None:
    page = world.client("clerk").get("/day").text
    counts = re.findall(r'<span class="badge v-(\w+)">.*?</span> <b>(\d+)</b></a>', page, re.S)
    assert sum(int(number) for _, number in counts) == 36
    assert "名册之外编号的记录" in page
    assert "Z999" in page
    assert "柳树沟门满族村" in page
    assert "记录完整至 10:04" in page


def test_filters_narrow_the_sheet(world: World) -> None:
    browser = world.client("clerk")
    group = rows_of(browser.get("/day", query_string={"group": GROUPS[1]}).text)
    assert sorted(group) == [f"A{n:03d}" for n in range(7, 13)]
    site = rows_of(browser.get("/day", query_string={"site": "柳树沟门满族村"}).text)
    assert sorted(site) == [f"A{n:03d}" for n in range(13, 19)]
    apricot = rows_of(browser.get("/day", query_string={"site": "杏树村 Xingshu village"}).text)
    assert "A017" in apricot, "expected elsewhere, but came here"
    trips = rows_of(browser.get("/day?verdict=trip").text)
    assert set(trips) == {"A007", "A027"}
    assert "没有符合条件的人员" in browser.get("/day?verdict=absent").text
    csv_rows = table(browser.get("/day.csv?verdict=trip").data)
    assert {row["编号"] for row in csv_rows} == {"A007", "A027"}


def test_days_lead_to_their_neighbours(world: World) -> None:
    browser = world.client("clerk")
    today = browser.get("/day").text
    assert "/day?date=2026-11-19" in today
    assert 'rel="next"' not in today
    assert "非工作日" in browser.get("/day?date=2026-11-15").text
    assert "2026年2月14日" in browser.get("/day?date=2026-02-14").text
    assert "工作日" in browser.get("/day?date=2026-02-14").text  # made up for Spring Festival
    assert "节假日安排尚未收录" in browser.get("/day?date=2100-01-04").text
    for wrong in ("yesterday", "2026-13-01", "1200-01-01", "9999-12-31", "2026-11-20T00"):
        assert browser.get("/day", query_string={"date": wrong}).status_code == 400


def test_the_day_as_csv(world: World) -> None:
    rows = table(world.client("clerk").get("/day.csv?date=2026-11-20").data)
    assert {row["编号"] for row in rows} == set(world.codes)
    mine = [row for row in rows if row["编号"] == "A002"]
    assert [row["状态"] for row in mine] == ["在岗", "出差"]
    assert mine[0]["时钟等级"] == "A"
    assert mine[0]["相似度"] == "0.740"
    doubtful = next(row for row in rows if row["编号"] == "A016")
    assert doubtful["时钟等级"] == "C"
    assert "时钟存疑" in doubtful["时间"]
    header = world.client("clerk", "en").get("/day.csv").data.decode("utf-8-sig").splitlines()[0]
    assert header.startswith("Day,Work group,Official,Title,Id,Expected at,Verdict,Time")


def test_formulas_are_only_text(world: World) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        evil = session.query(Official).filter_by(official="A031").one()
        name, evil.name, evil.title = evil.name, '=HYPERLINK("http://x","y")', "@SUM(1)"
    browser = world.client("clerk")
    row = next(r for r in table(browser.get("/day.csv").data) if r["编号"] == "A031")
    assert row["干部"].startswith("'=")
    assert row["职务"].startswith("'@")
    assert table(browser.get("/officials/A031.csv").data)[0]["干部"].startswith("'=")
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.query(Official).filter_by(official="A031").one().name = name
    for cell in ("=1", "+1", "-1", "@a", "\ta", "\ra", "＝1"):
        assert csvs.neutral(cell) == f"'{cell}"
    assert csvs.neutral("a=1") == "a=1"
    assert csvs.neutral(None) == ""


def test_names_are_text_and_not_markup(world: World) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        evil = session.query(Official).filter_by(official="A032").one()
        name, evil.name = evil.name, "<script>alert(1)</script>"
        evil.phone = 'javascript:"><b>1'
    browser = world.client("leader")
    for path in ("/", "/board/rows", "/day", "/officials", "/officials/A032", "/leave"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert "javascript:" not in text.replace("javascript:&#34;", "")
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.query(Official).filter_by(official="A032").one().name = name


def test_a_history_shows_the_evidence_of_each_day(world: World) -> None:
    browser = world.client("inspector")
    page = browser.get("/officials/A017").text
    assert page.count("/day?date=") == 31
    assert "终端 kiosk1aa，记录 1/" in page
    assert "时钟等级 A" in page
    assert "相似度 0.74" in page
    short = browser.get("/officials/A017?first=2026-11-19&last=2026-11-20")
    assert short.text.count("/day?date=") == 2
    rows = table(browser.get("/officials/A017.csv?first=2026-11-19&last=2026-11-20").data)
    assert [row["日期"] for row in rows] == ["2026-11-20", "2026-11-19"]
    assert browser.get("/officials/NOBODY").status_code == 404
    assert browser.get("/officials/%00").status_code == 400
    assert browser.get("/officials/A017?first=2026-11-20&last=2026-11-19").status_code == 400
    assert browser.get("/officials/A017?first=2020-01-01").status_code == 400


def test_officials_are_found_by_name_telephone_and_id(world: World) -> None:
    browser = world.client("clerk")

    def found(text: str) -> list[str]:
        page = browser.get("/officials", query_string={"q": text}).text
        return re.findall(r'href="/officials/(\w+)"', page)

    assert found("买买提") == ["A014"]
    assert found("13800000020") == ["A021"]
    assert len(found("")) == 36
    assert found("无此人") == []
    assert LONG_NAME in browser.get("/officials").text


def test_sites_show_what_was_set_aside(world: World) -> None:
    page = world.client("clerk").get("/sites").text
    assert "kiosk2aa" in page
    assert "此站点没有终端" in page
    assert "摄像头：正常" in page
    assert page.count("久未联络") == 2, "the villages; the office was heard a moment ago"
    en = world.client("clerk", "en").get("/sites").text
    assert "no kiosk is paired with this site" in en


def test_sites_show_how_often_a_kiosk_refused_and_why(world: World) -> None:
    """Numbers by reason, only of reasons that happened."""
    page = world.client("clerk").get("/sites").text
    assert "活体未通过：3 次" in page
    assert "未识别：2 次" in page
    assert "画面不清" not in page
    en = world.client("clerk", "en").get("/sites").text
    assert "refused as not alive: 3" in en
    assert "refused as unknown: 2" in en
    for said in (
        "oldest record waits 2 h",
        "not accepted: 1",
        "gallery until 2026-05-29",
        "needs attention: camera / storage",
    ):
        assert said in en
    assert "需要处理：摄像头 / 存储空间" in page


def statements(world: World, path: str, who: str = "inspector") -> int:
    """How many statements a page sends to the database, without signing in."""
    return len(asked(world, path, who))


def asked(world: World, path: str, who: str = "inspector") -> list[str]:
    """The statements of a page that was looked at before, in order."""
    browser = world.client(who)
    browser.get(path)  # what is kept between requests is kept
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    engine = world.app.extensions["quxiang"].database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert browser.get(path).status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return seen


def test_a_thousand_officials_take_no_more_queries(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database()
    many = 1000 if url is None else 200  # how long a page takes is timed once
    large = make_world(tmp_path, people=many, url=url)
    kiosk = large.kiosks[0]
    kiosk.sync()
    for n, code in enumerate(large.codes):
        kiosk.record(code, Kind.CHECKIN, Status.ON_DUTY, method=Method.PIN)
        if n % 500 == 499 or n == many - 1:
            kiosk.sync()
    for path in ("/", "/board.json", "/day", "/day.csv", "/officials", "/leave", "/sites",
                 "/month", "/week", "/discrepancies", "/allowance?month=2026-11"):  # fmt: skip
        assert statements(large, path) <= statements(world, path) + 1, path
    browser = large.client("inspector")
    first, second = (browser.get(f"/officials?page={n}").text for n in (1, 2))
    assert (large.codes[99] in first, large.codes[99] in second) == (True, False)
    assert large.codes[100] in second
    started = perf_counter()
    page = browser.get("/day?date=2026-11-19&all=1")
    assert perf_counter() - started < 10, "far above what is measured, since machines differ"
    assert page.text.count("v-came") >= many


def test_every_word_of_the_services_has_words_on_the_pages(world: World) -> None:
    from server.rules import flags
    from server.services.sheets import daysheet
    from server.web import sheets

    assert {*flags.RECORD_FLAGS, *flags.DAY_KINDS} <= set(sheets.FLAGS)
    assert set(daysheet.VERDICTS) == set(words.VERDICTS)
    assert set(words.METHODS) == {str(m) for m in Method}
    assert set(words.KINDS) == {str(k) for k in Kind}


@pytest.mark.parametrize(
    ("ends", "cls", "zh", "en"),
    [
        (("08:12", "08:12"), "A", "08:12", "08:12"),
        (("08:12", "08:14"), "B", "08:12 至 08:14 之间", "between 08:12 and 08:14"),
        (("08:12", "08:14"), "C", "约 08:12（时钟存疑，请核实）",
         "about 08:12 (clock doubtful: please confirm)"),
    ],
)  # fmt: skip
def test_certainty_in_words(
    world: World, ends: tuple[str, str], cls: str, zh: str, en: str
) -> None:
    from attendance.days import day_of, to_ms
    from tests.server.web_seed import shanghai

    first, last = (to_ms(shanghai(20, clock)) for clock in ends)
    for lang, said in (("zh", zh), ("en", en)):
        headers = {"Cookie": f"quxiang_lang={lang}"}
        with world.app.test_request_context("/", headers=headers):
            assert words.interval_words(first, last, first, cls, day_of(first)) == said


def test_an_interval_over_midnight_names_its_days(world: World) -> None:
    from attendance.days import day_of, to_ms
    from tests.server.web_seed import shanghai

    first, last = to_ms(shanghai(18, "22:00")), to_ms(shanghai(20, "06:00"))
    with world.app.test_request_context("/"):
        said = words.interval_words(first, last, first, "B", day_of(last))
    assert said == "11月18日 22:00 至 06:00 之间"


def test_cookies_are_secure_off_loopback(tmp_path: Path) -> None:
    import dataclasses

    from server.app import create_app

    world = make_world(tmp_path, people=6)
    config = dataclasses.replace(world.config, secure_cookies=True, hosts=("board.example",))
    browser = create_app(config, clock=world.hand).test_client()
    answer = browser.get("/login", base_url="https://board.example")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    assert browser.get("/login", base_url="https://other.example").status_code == 400

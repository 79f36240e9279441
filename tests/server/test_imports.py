"""Tables that offices send: bounded, every row's fate before anything is written, whole, undone."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from server.errors import InputInvalid
from server.models import ImportBatch, ImportDraft, LeaveRow, LeaveStep, Official, RosterDay, User
from server.services.imports import tables
from server.services.imports.plans import COLUMNS, NEEDED, weekdays_of
from server.services.township import leave as township_leave
from server.services.township.townships import only_township
from tests.conftest import NewDatabase

from .test_settings import roster, trail
from .test_web_desk import token
from .web_seed import GROUPS, World, make_world, shanghai

APRICOT, STONE = "杏树村 Xingshu village", "石头村"
PAGE = "/settings/import"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("imports"), url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


def xlsx(header: Sequence[str], *rows: Sequence[object]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (header, *rows):
        sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def send(browser, kind: str, body: bytes, name: str = "表.xlsx"):  # type: ignore[no-untyped-def]
    """Sends a table; the answer leads to the preview, or back."""
    data = {"csrf_token": token(browser, PAGE), "kind": kind, "file": (io.BytesIO(body), name)}
    return browser.post(PAGE, data=data, content_type="multipart/form-data")


def previewed(browser, kind: str, body: bytes) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """The preview's address and text."""
    answer = send(browser, kind, body)
    assert answer.status_code == 303
    assert "/draft/" in answer.location, browser.get(PAGE).text
    return answer.location, browser.get(answer.location).text


def fates(text: str) -> dict[str, int]:
    """How often each fate comes in the rows of a page."""
    found: dict[str, int] = {}
    for word in re.findall(r'data-label="结果"><span[^>]*>([^<]+)<', text):
        found[word] = found.get(word, 0) + 1
    return found


def applied(browser, where: str, text: str):  # type: ignore[no-untyped-def]
    seen = re.search(r'name="seen" value="([^"]+)"', text)
    assert seen
    return browser.post(where, data={"csrf_token": token(browser, where), "seen": seen[1]})


def undone(browser, where: str) -> str:  # type: ignore[no-untyped-def]
    answer = browser.post(f"{where}/undo", data={"csrf_token": token(browser, where), "sure": "1"})
    assert answer.status_code == 303
    return browser.get(answer.location).text


def count(world: World, table: type) -> int:
    with world.app.extensions["quxiang"].database.session() as session:
        return len(session.scalars(select(table.id)).all())


def test_officials_from_preview_to_undoing(world: World) -> None:
    clerk = world.client("clerk")
    before = roster(world)
    body = xlsx(
        ["编号", "姓名", "职务", "包联户数", "应到站点", "工作组"],
        ["N-1", "新一", "科员", 61, f"{STONE}；{APRICOT}", GROUPS[0]],
        ["N-2", "=1+1", "科员", None, "", GROUPS[0]],
        ["A002", before.by_code["A002"].name, "副主任", "70", "示例乡机关", "新成立的组"],
        ["A003", before.by_code["A003"].name, before.by_code["A003"].title, None, "示例乡机关",
         GROUPS[0]],
        ["N-1", "重复", "", "", "", ""],
        ["X 9", "坏编号", "", "", "", ""],
        ["N-3", "户数多", "", "99999", "", ""],
        ["N-4", "远方", "", "", "无此村", ""],
    )  # fmt: skip
    where, text = previewed(clerk, "officials", body)
    assert fates(text) == {"将新增": 1, "将修改": 1, "已是如此": 1, "不导入": 5}
    for said in ("单元格含公式", "没有站点“无此村”", "表中重复", "户数须在 0 至 10,000 之间",
                 "编号缺失或含其他字符", "职务: 副组长 → 副主任"):  # fmt: skip
        assert said in text
    assert fates(clerk.get(f"{where}?fate=refused").text) == {"不导入": 5}
    assert "N-1" not in roster(world).by_code, "nothing is written before it is applied"
    assert count(world, ImportBatch) == 0
    answer = applied(clerk, where, text)
    assert re.search(r"/settings/import/\d+$", answer.location), answer.location
    held = roster(world)
    assert sorted(p.place.name for p in held.by_code["N-1"].patterns) == sorted([STONE, APRICOT])
    assert (held.by_code["N-1"].households, held.by_code["A002"].title) == (61, "副主任")
    assert held.by_code["A002"].group == "新成立的组"
    assert "N-2" not in held.by_code
    assert count(world, ImportDraft) == 0, "the file is gone once it is applied"
    (who, target) = trail(world, "import")[-1]
    assert who == "clerk"
    assert "officials 表.xlsx 2" in target
    assert fates(previewed(clerk, "officials", body)[1])["已是如此"] == 3, "again changes nothing"
    text = undone(clerk, answer.location)
    assert fates(text) == {"已撤回": 2}
    held = roster(world)
    assert not held.by_code["N-1"].active
    assert held.by_code["A002"].title == before.by_code["A002"].title
    assert held.by_code["A002"].group == before.by_code["A002"].group
    again = clerk.post(
        f"{answer.location}/undo", data={"csrf_token": token(clerk, PAGE), "sure": "1"}
    )
    assert again.status_code == 400
    assert count(world, ImportBatch) == 2, "undone once, by an entry of its own"


def test_rosters_from_preview_to_undoing(world: World) -> None:
    clerk = world.client("clerk")
    body = xlsx(
        ["编号", "姓名", "日期", "结束日期", "安排", "站点", "星期", "班次", "事由"],
        ["A010", None, datetime(2026, 12, 1), date(2026, 12, 3), "到站点", STONE, "",  # noqa: DTZ001
         "", "防汛"],
        ["A011", None, "2026年12月5日", "", "不安排", "", "", "", ""],
        ["A012", None, "2026/11/23", "", "每周", STONE, "一三五", "", ""],
        ["A010", None, "2026-12-02", "", "不安排", "", "", "", ""],
        ["A013", "不是他", "2026-12-02", "", "不安排", "", "", "", ""],
        ["B001", None, "2026-12-02", "", "不安排", "", "", "", ""],
        ["A014", None, "2026-13-02", "", "不安排", "", "", "", ""],
        ["A014", None, "2026-11-01", "", "每周", STONE, "一", "", ""],
        ["A014", None, "2026-12-02", "", "每周", STONE, "八", "", ""],
        ["A014", None, "2026-11-02", "", "不安排", "", "", "", ""],
    )  # fmt: skip
    where, text = previewed(clerk, "rosters", body)
    assert fates(text) == {"将新增": 3, "不导入": 7}
    assert "名册中没有该编号" in text, "of the next township"
    assert "该日已过：请补办请假出差，或提出更正" in text
    location = applied(clerk, where, text).location
    held = roster(world)
    days = [date(2026, 12, n) for n in (1, 2, 3)]
    assert all(held.by_code["A010"].dated[day].place.name == STONE for day in days)
    assert held.by_code["A011"].dated[date(2026, 12, 5)].what == "off"
    assert {p.place.name: p.weekdays for p in held.by_code["A012"].patterns} == {
        APRICOT: 31, STONE: 0b10101,
    }  # fmt: skip
    # Somebody changes one of the days since: that one stays, the rest goes back.
    own = {"official": "A010", "first": "2026-12-02", "what": "off",
           "csrf_token": token(clerk, "/settings/exceptions")}  # fmt: skip
    assert clerk.post("/settings/exceptions", data=own).status_code == 303
    text = undone(clerk, location)
    assert "此后有人改动过的行保持不变" in text
    held = roster(world)
    assert [held.by_code["A010"].dated[day].what for day in days] == ["pattern", "off", "pattern"]
    assert held.by_code["A011"].dated[date(2026, 12, 5)].what == "pattern"
    assert [p.place.name for p in held.by_code["A012"].patterns] == [APRICOT]
    assert count(world, RosterDay) == 4 + 1 + 3, "every exception stays to be seen"
    # What was imported for days that are over by then stays: sheets rest on it.
    world.hand.moment = shanghai(24, "09:00")
    clerk = world.client("clerk")
    body = xlsx(
        ["编号", "日期", "结束日期", "安排"], ["A015", "2026-11-24", "2026-11-26", "不安排"]
    )
    where, text = previewed(clerk, "rosters", body)
    location = applied(clerk, where, text).location
    world.hand.moment = shanghai(25, "09:00")
    clerk = world.client("clerk")
    undone(clerk, location)
    held = roster(world)
    whats = [held.by_code["A015"].dated[date(2026, 11, n)].what for n in (24, 25, 26)]
    assert whats == ["off", "pattern", "pattern"]


def test_leave_from_preview_to_undoing(world: World) -> None:
    clerk, leader = world.client("clerk"), world.client("leader")
    body = xlsx(
        ["编号", "类别", "开始日期", "结束日期", "事由"],
        ["A020", "请休假", "2026-12-01", "2026-12-02", "年休假"],
        ["A021", "出差", "20261203", "20261203", "培训"],
        ["A020", "出差", "2026-12-02", "2026-12-04", ""],
        ["A020", "旷工", "2026-12-12", "2026-12-14", ""],
        ["A022", "请休假", "2026-12-05", "2026-12-04", ""],
    )
    where, text = previewed(clerk, "leave", body)
    assert fates(text) == {"将新增": 2, "不导入": 3}
    assert "与已有的请假或出差重叠" in text
    location = applied(clerk, where, text).location
    assert leader.get("/leave").text.count("年休假") == 1
    assert fates(previewed(clerk, "leave", body)[1])["已是如此"] == 2
    undone(clerk, location)
    assert count(world, LeaveStep) == 2
    assert fates(previewed(clerk, "leave", body)[1])["将新增"] == 2, "what was undone is free again"


def test_who_may_import_and_see_a_draft(world: World) -> None:
    body = xlsx(["编号", "姓名"], ["N-9", "某"])
    clerk, inspector = world.client("clerk"), world.client("inspector")
    assert '<form method="post"' not in inspector.get(PAGE).text.split("<main", 1)[1]
    data = {"csrf_token": token(inspector, "/findings"), "kind": "officials",
            "file": (io.BytesIO(body), "x.xlsx")}  # fmt: skip
    refused = inspector.post(PAGE, data=data, content_type="multipart/form-data")
    assert refused.status_code == 403
    where, text = previewed(clerk, "officials", body)
    for other in ("admin", "inspector", "stranger"):
        assert world.client(other).get(where).status_code == 404
    assert clerk.get(f"{PAGE}/draft/{'x' * 43}").status_code == 404
    with world.app.extensions["quxiang"].database.transaction() as session:
        person = session.scalars(select(Official).where(Official.official == "A005")).one()
        person.title = "变了"
    assert applied(clerk, where, text).location.count("/settings/import/") == 1
    number = roster(world).by_code["N-9"].official
    assert number == "N-9"
    stale, text = previewed(clerk, "officials", xlsx(["编号", "姓名"], ["A005", "新名"]))
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.scalars(select(Official).where(Official.official == "A005")).one().title = "又变"
    answer = applied(clerk, stale, text)
    assert answer.status_code == 400
    assert "情况已有变化" in answer.text, "what was not shown is not written"
    strange = world.client("stranger")
    with world.app.extensions["quxiang"].database.session() as session:
        last = session.scalars(select(ImportBatch.id)).all()[-1]
    assert strange.get(f"{PAGE}/{last}").status_code == 404


@pytest.mark.parametrize("kind", list(COLUMNS))
def test_the_template_is_a_table_that_can_be_sent(world: World, kind: str) -> None:
    for lang in ("zh", "en"):
        body = world.client("clerk", lang).get(f"{PAGE}/{kind}.xlsx").data
        book = openpyxl.load_workbook(io.BytesIO(body))
        head = [cell.value for cell in book.worksheets[0][1]]
        assert len(head) == len(COLUMNS[kind])
        if kind == "officials":
            made = tables.read_table(body, COLUMNS[kind], NEEDED[kind])
            assert len(made.columns) == len(head)
        notes = book.worksheets[1]
        assert notes.max_row > 4, "an example of each kind of row"


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (40 << 20))
    return out.getvalue()


def doctype() -> bytes:
    out = io.BytesIO(xlsx(["编号", "姓名"], ["A", "B"]))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("xl/evil.xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>')
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "key"),
    [(b"", "table_file"), (b"PK\x03\x04", "table_file"), (b"\xd0\xcf\x11\xe0" * 99, "table_file"),
     (b"x" * (tables.MAX_BYTES + 1), "table_file"), (bomb(), "table_file"),
     (doctype(), "table_file"),
     (xlsx(["编号"], ["A"]), "table_columns"), (xlsx(["编号", "姓名", "Id"], ["A"]),
      "table_columns"), (xlsx(["编号", "姓名"]), "table_rows"),
     (xlsx(["编号", "姓名"], *[["A", "B"]] * (tables.MAX_ROWS + 1)), "table_rows")],
    ids=["empty", "cut off", "old xls", "too large", "bomb", "doctype", "no name", "id twice",
         "no rows", "too many rows"],
)  # fmt: skip
def test_what_is_no_table_is_refused(body: bytes, key: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        tables.read_table(body, COLUMNS["officials"], NEEDED["officials"])
    assert refused.value.key == key


GOOD = xlsx(["编号", "姓名"], ["A1", "张三"], ["A2", "李四"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=12))
def test_a_broken_file_is_refused_and_never_a_crash(changes: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for place, value in changes:
        body[place] = value
    try:
        made = tables.read_table(bytes(body), COLUMNS["officials"], NEEDED["officials"])
    except InputInvalid:
        return
    assert len(made.lines) <= 2


@pytest.mark.parametrize(
    ("typed", "mask"),
    [("工作日", 31), ("每天", 127), ("一三五", 0b10101), ("周一至周五", 31), ("1-5", 31),
     ("135", 0b10101), ("周六、周日", 0b1100000), ("星期天", 64), ("", None), ("八", None),
     ("五-一", None), ("-1", None), ("1-", None)],
)  # fmt: skip
def test_weekdays_as_offices_write_them(typed: str, mask: int | None) -> None:
    assert weekdays_of(typed) == mask


@pytest.mark.parametrize(
    ("typed", "found"),
    [("2026-11-05", True), ("2026/11/5", True), ("2026.11.05", True), ("20261105", True),
     ("2026年11月5日", True), ("5.11.2026", False), ("2026-11", False), ("1899-11-05", False),
     ("昨天", False), (shanghai(5, "08:00").date(), True)],
)  # fmt: skip
def test_dates_as_offices_write_them(typed: str | date, found: bool) -> None:
    assert (tables.date_of(typed) == date(2026, 11, 5)) is found


def test_undoing_leaves_approved_leave_that_has_begun_to_another_leader(world: World) -> None:
    body = xlsx(
        ["编号", "类别", "开始日期", "结束日期", "事由"],
        ["A023", "请休假", "2026-11-05", "2026-11-05", ""],
        ["A024", "请休假", "2026-11-05", "2026-11-05", ""],
        ["A025", "请休假", "2026-12-24", "2026-12-24", ""],
    )
    clerk, leader = world.client("clerk"), world.client("leader")
    database = world.app.extensions["quxiang"].database

    def imported() -> str:
        """Imports the table; its first row and its last are approved."""
        where, text = previewed(clerk, "leave", body)
        location = applied(clerk, where, text).location
        with database.transaction() as session:
            user = session.query(User).filter_by(name="leader").one()
            first = session.query(LeaveRow).order_by(LeaveRow.id.desc()).limit(3).all()[-1].id
            for number in (first, first + 2):
                township_leave.decide(session, number, True, user, world.hand())
        return str(location)

    text = undone(clerk, imported())
    assert fates(text) == {"已批准且已开始，保持不变": 1, "已撤回": 2}
    assert "因请假已批准且已开始而保持不变的行：1。" in text
    assert "此后有人改动过的行保持不变" not in text
    with database.transaction() as session:
        user = session.query(User).filter_by(name="leader").one()
        place = only_township(session, "示例乡")
        (held,) = township_leave.listing(session, place, "A023")
        assert held.state == "approved"
        township_leave.step(session, held.id, "withdrawn", "", user, world.hand())
    text = undone(leader, imported())
    assert fates(text) == {"已撤回": 3}, "a leader who did not import them"


def test_undoing_leave_asks_no_more_for_more_rows(world: World) -> None:
    clerk = world.client("clerk")
    engine = world.app.extensions["quxiang"].database.engine

    def asked(rows: int, month: int) -> int:
        """How many statements it takes to take back an import of so many rows."""
        body = xlsx(
            ["编号", "类别", "开始日期", "结束日期", "事由"],
            *(["A026", "请休假", f"2027-{month:02}-{n + 1:02}", f"2027-{month:02}-{n + 1:02}", ""]
              for n in range(rows)),
        )  # fmt: skip
        where, text = previewed(clerk, "leave", body)
        location = applied(clerk, where, text).location
        data = {"csrf_token": token(clerk, location), "sure": "1"}
        seen: list[str] = []

        def note(_c: object, _cursor: object, statement: str, *_more: object) -> None:
            seen.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            answer = clerk.post(f"{location}/undo", data=data)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        assert fates(clerk.get(answer.location).text) == {"已撤回": rows}
        return len(seen)

    asked(1, 3)  # what is kept between requests is kept
    few = asked(2, 5)
    assert asked(20, 7) == few


def test_undoing_leaves_what_was_withdrawn_since_and_ones_own_leave(world: World) -> None:
    body = xlsx(
        ["编号", "类别", "开始日期", "结束日期", "事由"],
        *([code, "请休假", "2027-09-01", "2027-09-01", ""] for code in ("A001", "A027", "A028")),
    )
    clerk, leader = world.client("clerk"), world.client("leader")  # the leader is A001
    where, text = previewed(clerk, "leave", body)
    location = applied(clerk, where, text).location
    with world.app.extensions["quxiang"].database.transaction() as session:
        user = session.query(User).filter_by(name="clerk").one()
        number = session.query(LeaveRow).filter_by(official="A027").one().id
        township_leave.step(session, number, "withdrawn", "", user, world.hand())
    steps = count(world, LeaveStep)
    text = undone(leader, str(location))
    assert fates(text) == {"此后有改动，保持不变": 2, "已撤回": 1}
    assert count(world, LeaveStep) == steps + 1

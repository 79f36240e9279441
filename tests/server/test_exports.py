"""Papers to keep and to sign: opened with another library than the one that wrote them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from server import printing, tables
from server.csvs import csv_text
from server.models import Official
from server.web import jobs
from server.xlsx import Mark, Sheet, workbook
from tests.conftest import NewDatabase

from .test_settings import trail
from .test_web_desk import post
from .test_web_pages import statements
from .web_seed import World, fill, make_world

EVIL = '=HYPERLINK("http://x","y")'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("exports"), url=new_database())
    fill(made)
    with made.app.extensions["quxiang"].database.transaction() as session:
        session.query(Official).filter_by(official="A031").one().name = EVIL
    inspector = made.client("inspector")
    found = {"kind": "other", "date": "2026-11-20", "text": "@SUM(1+1)", "official": "A031"}
    assert post(inspector, "/findings", "/findings", **found) == 303
    yield made
    made.app.extensions["quxiang"].database.close()


def sheet(world: World, path: str, lang: str = "zh"):  # type: ignore[no-untyped-def]
    answer = world.client("clerk", lang).get(path)
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    return openpyxl.load_workbook(io.BytesIO(answer.data))


def cells(page) -> list[list[object]]:  # type: ignore[no-untyped-def]
    return [[cell.value for cell in row] for row in page.iter_rows()]


@pytest.mark.parametrize(
    "path", ["/month.xlsx?month=2026-11", "/allowance.xlsx?month=2026-11", "/findings.xlsx"]
)
def test_no_cell_of_a_spreadsheet_is_a_formula(world: World, path: str) -> None:
    for lang in ("zh", "en"):
        book = sheet(world, path, lang)
        seen = [cell for page in book.worksheets for row in page.iter_rows() for cell in row]
        assert [cell.coordinate for cell in seen if cell.data_type == "f"] == []
        texts = [str(cell.value) for cell in seen if cell.value is not None]
        assert not [text for text in texts if text.startswith(("=", "@", "+"))]
        assert f"'{EVIL}" in texts
        assert all(page.page_setup.paperSize == 9 for page in book.worksheets[:1])


def test_the_month_as_spreadsheet_says_what_the_page_says(world: World) -> None:
    page = sheet(world, "/month.xlsx?month=2026-11").worksheets[0]
    rows = cells(page)
    head = next(n for n, row in enumerate(rows) if row[0] == "干部")
    assert rows[0][0] == "示例乡 2026年11月考勤月报"
    assert rows[head][3:33] == [str(n) for n in range(1, 31)]
    people = {row[0]: row for row in rows[head + 1 : head + 37]}
    assert len(people) == 36
    with world.app.extensions["quxiang"].database.session() as session:
        named = {o.official: o.name for o in session.query(Official)}
    assert people[named["A002"]][21:23] == ["●", "●"]
    assert people[named["A027"]][22] == "▲"
    assert people[named["A008"]][22] == "■"
    coloured = page.cell(head + 2 + list(people).index(named["A008"]), 23)
    assert coloured.fill.start_color.rgb == "FFFFD21F"
    ends = [row[0] for row in rows[head + 37 :] if row[0]]
    assert ends == ["党政办", "督导组", "领导"], "a line for each signature"
    some = sheet(world, "/month.xlsx?month=2026-11&q=A00").worksheets[0]
    assert len(cells(some)) == len(rows) - 36 + 9, "filtered as on the page"


def test_the_allowance_adds_up_and_explains_itself(world: World) -> None:
    book = sheet(world, "/allowance.xlsx?month=2026-11")
    rows = cells(book.worksheets[0])
    head = next(n for n, row in enumerate(rows) if row[0] == "序号")
    people = [row for row in rows[head + 1 :] if isinstance(row[0], int)]
    total = next(row for row in rows if row[1] == "合计")
    assert sum(row[7] for row in people) == total[7] > 0
    assert sum(row[6] for row in people) == total[6]
    lines = cells(book.worksheets[1])
    assert sum(row[9] for row in lines[1:]) == total[7], "line by line it is the same sum"
    assert all(row[3] for row in lines[1:]), "each day with its reason"
    part = cells(sheet(world, "/allowance.xlsx?month=2026-11&q=A00").worksheets[0])
    assert any("人中的" in str(row[0]) for row in part), "a part is said to be one"


@pytest.mark.parametrize(
    ("path", "head"),
    [("/month.csv?month=2026-11", "干部"), ("/allowance.csv?month=2026-11", "序号"),
     ("/findings.csv", "№")],
)  # fmt: skip
def test_as_csv(world: World, path: str, head: str) -> None:
    data = world.client("inspector").get(path).data
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert rows[0][0] == head
    flat = [cell for row in rows for cell in row]
    assert f"'{EVIL}" in flat
    assert not [cell for cell in flat if cell.startswith(("=", "@", "+"))]
    if "month" in path.split("?")[0]:
        assert "下乡" in " ".join(flat) or "在村" in " ".join(flat)


def rows_of(world: World, path: str) -> list[list[str]]:
    data = world.client("clerk").get(path).data.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(data, newline="")))


def test_the_lines_of_the_allowance_are_a_csv_of_their_own(world: World) -> None:
    month = "month=2026-11"
    lines = rows_of(world, f"/allowance.csv?{month}&lines=1")
    wanted = cells(sheet(world, f"/allowance.xlsx?{month}").worksheets[-1])
    assert len(lines) == len(wanted) > 36
    assert lines[0] == wanted[0]
    assert all(len(line) == len(wanted[0]) and line[3] for line in lines), "each with its reason"
    total = next(row for row in rows_of(world, f"/allowance.csv?{month}") if row[1] == "合计")
    assert {line[9] for line in lines[1:]} == {"0.00", "35.00"}
    assert sum(float(line[9]) for line in lines[1:]) == float(total[7]) > 0
    assert re.fullmatch(r"\d+\.00", total[7]), "money has two decimals"
    answer = world.client("clerk").get(f"/allowance.csv?{month}&lines=1&q=A00")
    assert "allowance-2026-11-lines.csv" in answer.headers["Content-Disposition"]
    assert len(answer.text.splitlines()) < len(lines), "filtered as on the page"
    page = world.client("clerk").get(f"/allowance?{month}&q=A00").text
    assert 'href="/allowance.csv?lines=1&amp;month=2026-11&amp;q=A00"' in page


def test_numbers_are_numbers_in_a_csv_and_text_alone_is_kept_from_running() -> None:
    rows = [[-35.0, 35.5, -3, 7, None, "-3", "=1", "-"]]
    assert csv_text(["a"], rows) == "a\r\n-35.00,35.50,-3,7,,'-3,'=1,'-\r\n"


def test_exports_are_in_the_trail_and_closed_to_strangers(world: World) -> None:
    assert world.app.test_client().get("/month.xlsx").status_code == 303
    world.client("leader").get("/month.csv?month=2026-10")
    assert trail(world, "csv_month")[-1] == ("leader", "2026-10")
    for path in ("/month.xlsx?month=x", "/findings.csv?state=x"):
        assert world.client("leader").get(path).status_code == 400
    assert world.client("leader").get("/month.doc").status_code == 404
    text = world.client("stranger").get("/findings.csv").data.decode()
    assert "SUM" not in text


def text_of(pdf: bytes, folder: Path) -> str:
    (folder / "x.pdf").write_bytes(pdf)
    done = subprocess.run(["pdftotext", "-layout", str(folder / "x.pdf"), "-"],
                          capture_output=True, check=True)  # fmt: skip
    return done.stdout.decode()


def test_the_pdf_is_a4_with_its_fonts_and_signature_lines(world: World, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext on this machine (poppler-utils)")
    leader = world.client("leader")
    answer = leader.get("/allowance.pdf?month=2026-11")
    if answer.status_code == 303:  # a busy machine: the page that says how far it is
        where = answer.location
        assert "<progress" in leader.get(where).text or jobs._running[-1].poll() is not None
        jobs._running[-1].wait(240)
        page = leader.get(where).text
        if "暂不能生成" in page:
            pytest.skip("the libraries of WeasyPrint are not on this machine")
        assert "PDF 已生成" in page
        for role in ("clerk", "stranger"):
            assert world.client(role).get(where).status_code == 404, "one's own alone"
        answer = leader.get(f"{where}/file")
    assert answer.data.startswith(b"%PDF-")
    said = text_of(answer.data, tmp_path)
    for word in ("示例乡", "下乡补助发放表", "党政办", "督导组", "领导", "合计"):
        assert word in said
    assert re.search(r"1 ?/ ?\d", said), "pages are numbered"
    assert "王建国" in said
    info = subprocess.run(["pdfinfo", str(tmp_path / "x.pdf")], capture_output=True, text=True)
    assert "(A4)" in info.stdout
    fonts = subprocess.run(["pdffonts", str(tmp_path / "x.pdf")], capture_output=True, text=True)
    rows = fonts.stdout.splitlines()[2:]
    assert rows
    assert all(" yes yes " in row for row in rows), "embedded and subset"


def test_a_long_table_is_written_beside_the_worker_with_its_rows_counted(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    large = make_world(tmp_path / "large", people=300, url=new_database())
    clerk = large.client("clerk")
    for kind in ("xlsx", "csv"):
        answer = clerk.get(f"/month.{kind}?month=2026-11&group=")
        if answer.status_code == 303:  # a busy machine
            jobs._running[-1].wait(60)
            page = clerk.get(answer.location).text
            assert f"{kind.upper()} 已生成" in page
            assert 'href="/month?month=2026-11&amp;group=' in page, "and the way back"
            assert large.client("leader").get(answer.location).status_code == 404, "one's own"
            answer = clerk.get(f"{answer.location}/file")
        assert f'filename=month-2026-11.{kind}' in answer.headers["Content-Disposition"]
        if kind == "xlsx":
            page = openpyxl.load_workbook(io.BytesIO(answer.data)).worksheets[0]
            assert sum(str(row[0].value)[:1] in "王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗"
                       for row in page.iter_rows() if row[0].value) >= 150  # fmt: skip
        else:
            assert len(answer.data.decode("utf-8-sig").splitlines()) == 301
    made = [folder.name for folder in (large.config.data / "exports").iterdir()]
    assert len(made) == 2
    before = len(trail(large, "view_export"))
    for token in made:
        assert clerk.get(f"/exports/{token}/file").status_code == 200
    fetched = sorted(target for _, target in trail(large, "view_export")[before:])
    assert fetched == ["month-2026-11.csv", "month-2026-11.xlsx"], "each time is a look"


def test_what_is_handed_over_is_written_as_it_would_be_at_once(tmp_path: Path) -> None:
    sheets = [
        Sheet("一", ["a", "b"], [["x", Mark("●", "g", "在机关")], [None, 35.0], [EVIL, 7]] * 40,
              [10, 4], above=["题"], below=[["合计", 3]], signatures=["党政办"],
              colours={"g": ("#1B7A34", "#FFFFFF")}),
    ]  # fmt: skip
    counted: list[int] = []
    for kind in ("xlsx", "csv"):
        handed = tables.unpacked(tables.packed(tables.Tables(kind, sheets)))
        found = tables.written(handed, counted.append)
        if kind == "csv":
            wanted = csv_text(sheets[0].header, [*sheets[0].rows, *sheets[0].below])
            assert found.decode("utf-8-sig") == wanted
        else:
            both = [cells(openpyxl.load_workbook(io.BytesIO(data)).worksheets[0])
                    for data in (found, workbook(sheets))]  # fmt: skip
            assert both[0] == both[1]
    assert counted == [50, 100, 50, 100]
    (tmp_path / "in.json").write_text("{")
    done = subprocess.run([sys.executable, "-m", "server.printing", str(tmp_path)])
    assert done.returncode == 1
    assert (tmp_path / "error").read_text() == printing.FAILED


def test_without_the_libraries_the_page_says_what_is_missing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The edge that is faked: a WeasyPrint that finds no Pango, as it is installed without.
    fake = tmp_path / "fake" / "weasyprint"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise OSError(\"cannot load library 'libpango-1.0-0'\")")
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    clerk = world.client("clerk")
    answer = clerk.get("/findings.pdf")
    assert answer.status_code == 303
    jobs._running[-1].wait(30)
    page = clerk.get(answer.location).text
    assert "缺少 libpango-1.0-0" in page
    assert "请用浏览器直接打印页面" in page
    assert clerk.get(f"{answer.location}/file").status_code == 404


def test_papers_are_few_at_once(world: World) -> None:
    clerk = world.client("clerk")
    home = world.config.data / "exports"
    home.mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        (home / name).mkdir()
        meta = jobs.Meta(1, 1, "x", "x", 1, int(world.hand().timestamp() * 1000))
        (home / name / "meta.json").write_bytes(jobs.msgspec.json.encode(meta))
        (home / name / "in.html").write_text("x")
    answer = clerk.get("/findings.pdf")
    assert answer.location == "/findings"
    assert "正在生成其他文件" in clerk.get("/findings").text
    for path in ("/exports/x", f"/exports/{'a' * 32}", "/exports/..%2f..%2fserver.key"):
        assert clerk.get(path).status_code == 404
    for name in ("a", "b", "c"):
        shutil.rmtree(home / name)


def test_their_queries_do_not_grow(world: World, new_database: NewDatabase, tmp_path: Path) -> None:
    large = make_world(tmp_path, people=200, url=new_database())
    for path in ("/month.xlsx?month=2026-11", "/allowance.xlsx?month=2026-11", "/findings.xlsx"):
        assert statements(large, path) <= statements(world, path), path

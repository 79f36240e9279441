"""officials.csv: what is taken, what is skipped, and what is said of it."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enroll.errors import FolderInvalid
from enroll.folder import (
    COLUMNS,
    OPTIONAL,
    BadRow,
    Row,
    is_weak,
    parse_date,
    parse_officials,
    read_officials,
)

TODAY = date(2026, 11, 21)
SITES = ["杏树村", "镇政府"]
GOOD = {
    "official": "zhang-3",
    "name": "张三",
    "title": "副镇长",
    "phone": "13800000000",
    "work_group": "一组",
    "sites": "杏树村;镇政府",
    "consented_on": "2026-11-01",
    "pin": "482913",
    "portrait_consented_on": "",
    "card": "",
}


def table(*rows: dict[str, str], columns: tuple[str, ...] = (*COLUMNS, *OPTIONAL)) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([row[c] for c in columns] for row in rows)
    return out.getvalue()


def one(**changes: str) -> Row | BadRow:
    (row,) = parse_officials(table({**GOOD, **changes}), TODAY, SITES)
    return row


def refusal(**changes: str) -> str:
    row = one(**changes)
    assert isinstance(row, BadRow)
    assert all(fault.words("zh") and fault.words("en") for fault in row.faults)
    return "; ".join(fault.en for fault in row.faults)


def test_a_good_row_is_taken_as_written() -> None:
    row = one()
    assert isinstance(row, Row)
    assert row.roster.name == "张三"
    assert row.roster.sites == ["杏树村", "镇政府"]
    assert row.consented_on == date(2026, 11, 1)
    assert row.pin == "482913"
    assert row.portrait_consented_on is None
    assert "482913" not in repr(row)


@given(st.permutations((*COLUMNS, *OPTIONAL)))
def test_columns_may_stand_in_any_order(columns: list[str]) -> None:
    assert parse_officials(table(GOOD, columns=tuple(columns)), TODAY, SITES) == [one()]


def test_the_optional_column_may_be_absent_and_others_are_ignored() -> None:
    assert parse_officials(table(GOOD, columns=COLUMNS), TODAY, SITES) == [one()]
    wide = table({**GOOD, "remark": "x"}, columns=(*COLUMNS, "remark"))
    assert parse_officials(wide, TODAY, SITES) == [one()]


@given(st.sets(st.sampled_from(COLUMNS), min_size=1))
def test_every_missing_column_is_named(missing: set[str]) -> None:
    left = tuple(c for c in COLUMNS if c not in missing)
    with pytest.raises(FolderInvalid) as caught:
        parse_officials(table(GOOD, columns=left), TODAY, SITES)
    line = str(caught.value)
    told = line.split(":")[0]
    assert "\n" not in line
    assert all(name in told for name in missing)
    assert not any(f" {name}," in told + "," for name in left)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"official": ""}, "id"),
        ({"official": "张三"}, "id"),
        ({"official": "../etc"}, "id"),
        ({"official": "a" * 33}, "id"),
        ({"name": ""}, "name"),
        ({"name": "长" * 61}, "name"),
        ({"pin": "12345"}, "six digits"),
        ({"pin": "12345a"}, "six digits"),
        ({"pin": "１２３４５６"}, "six digits"),
        ({"consented_on": "yesterday"}, "not a date"),
        ({"consented_on": "2026-02-30"}, "not a date"),
        ({"consented_on": "2026-11-22"}, "future"),
        ({"portrait_consented_on": "2027-01-01"}, "future"),
        ({"sites": "杏树村;火星"}, "unknown site: 火星"),
    ],
)
def test_a_bad_row_says_why(changes: dict[str, str], word: str) -> None:
    assert word in refusal(**changes)


def test_the_first_of_two_rows_with_one_id_counts() -> None:
    first, second = parse_officials(table(GOOD, {**GOOD, "name": "李四"}), TODAY, SITES)
    assert isinstance(first, Row)
    assert first.roster.name == "张三"
    assert isinstance(second, BadRow)
    assert second.line == 3


def test_sites_are_not_judged_before_the_server_named_them() -> None:
    (row,) = parse_officials(table({**GOOD, "sites": "火星"}), TODAY, None)
    assert isinstance(row, Row)


def test_weak_pins_are_taken_with_a_warning() -> None:
    row = one(pin="123456")
    assert isinstance(row, Row)
    assert row.pin == "123456"
    assert any("guess" in note.en for note in row.notes)
    assert [p for p in ("111111", "654321", "121212", "123123", "482913") if not is_weak(p)] == [
        "482913"
    ]


@given(st.dates(date(1990, 1, 1), TODAY))
def test_dates_are_read_as_offices_write_them(day: date) -> None:
    for text in (
        day.isoformat(),
        f"{day.year}/{day.month}/{day.day}",
        f"{day.year}年{day.month}月{day.day}日",
        f"{day.year}.{day.month:02}.{day.day:02}",
    ):
        assert parse_date(text) == day


field = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)),
    max_size=70,
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys((*COLUMNS, *OPTIONAL), field)), max_size=6))
def test_whatever_stands_in_the_cells_every_row_has_a_fate(rows: list[dict[str, str]]) -> None:
    fates = parse_officials(table(*rows), TODAY, SITES)
    filled = [row for row in rows if any(value.strip() for value in row.values())]
    assert len(fates) == len(filled)
    good = [fate for fate in fates if isinstance(fate, Row)]
    assert len({fate.roster.official for fate in good}) == len(good)
    for fate in good:
        assert fate.pin is None or len(fate.pin) == 6
        assert fate.consented_on is None or fate.consented_on <= TODAY + timedelta()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_is_read_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "officials.csv").write_bytes(table(GOOD).encode(encoding))
    assert read_officials(tmp_path, TODAY, SITES) == [one()]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (table(GOOD).encode("gb18030"), "GBK"),
        (table(GOOD).encode("utf-16"), "UTF-16"),
        (b"", "lacks the columns"),
        (b'official,name\n"unclosed', "lacks the column"),
        (table(GOOD).encode() + b'x,"unclosed', "quotes"),
        (b"official," + table(GOOD).encode(), "twice"),
        (b"\xff\xfe\xfa\x81", "UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_gives_one_line(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "officials.csv").write_bytes(data)
    with pytest.raises(FolderInvalid, match=word) as caught:
        read_officials(tmp_path, TODAY, SITES)
    assert "\n" not in caught.value.words("zh") + caught.value.words("en")


def test_no_folder_and_no_file_give_one_line(tmp_path: Path) -> None:
    with pytest.raises(FolderInvalid, match="not a folder"):
        read_officials(tmp_path / "none", TODAY, SITES)
    with pytest.raises(FolderInvalid, match=r"officials\.csv"):
        read_officials(tmp_path, TODAY, SITES)

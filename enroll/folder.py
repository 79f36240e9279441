"""The folder of `enroll import`: officials.csv, and photographs below it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from attendance import wire
from attendance.errors import TokenInvalid
from attendance.tokens import card_number
from enroll.errors import FolderInvalid

CSV_NAME = "officials.csv"
COLUMNS = ("official", "name", "title", "phone", "work_group", "sites", "consented_on", "pin")
OPTIONAL = ("portrait_consented_on", "card")
MAX_BYTES = 8 << 20
"""Largest officials.csv that is read: 5,000 rows (a roster's most) of 1,600 bytes each."""
PORTRAIT = "portrait"
"""Stem of the picture for the public board; never enrolled."""

_DATE = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})")
_DATE_ZH = re.compile(r"([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日?")
_WEAK = re.compile(r"(.)\1{5}|(...)\2|(..)\3\3")
_RUNS = "01234567890", "09876543210"


@dataclass(frozen=True)
class Note:
    """A sentence about a row, in both languages."""

    zh: str
    en: str

    def words(self, lang: str) -> str:
        """The sentence in "zh" or "en"."""
        return self.zh if lang == "zh" else self.en


@dataclass(frozen=True)
class Row:
    """One official of the CSV, checked. `line` is the line of the file; `pin` and `card` None where
    empty."""

    line: int
    roster: wire.RosterRow
    consented_on: date | None
    pin: str | None
    portrait_consented_on: date | None
    notes: tuple[Note, ...] = ()
    card: str | None = None

    def __repr__(self) -> str:
        return f"Row({self.line}, {self.roster.official})"


@dataclass(frozen=True)
class BadRow:
    """A row that is skipped, and why. `official` as written, perhaps not an id at all."""

    line: int
    official: str
    faults: tuple[Note, ...]


def read_officials(folder: Path, today: date, sites: Collection[str] | None) -> list[Row | BadRow]:
    """The rows of `folder`/officials.csv, in order.

    today: the Asia/Shanghai date; a consent from later is a bad row. sites: the known ones, None
    where the server never told them (then they are not checked). Raises FolderInvalid with one line
    where the file as a whole cannot be read.
    """
    if not folder.is_dir():
        raise FolderInvalid(f"{folder} 不是文件夹", f"{folder} is not a folder")
    return parse_officials(_read(folder / CSV_NAME), today, sites)


def parse_officials(text: str, today: date, sites: Collection[str] | None) -> list[Row | BadRow]:
    """As `read_officials`, from the file's text."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row | BadRow] = []
    seen: set[str] = set()
    try:
        header = next(reader, None)
        columns = _columns(header)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(reader.line_num, cells, columns, today, sites, seen))
    except csv.Error as error:
        raise FolderInvalid(
            f"{CSV_NAME} 第 {reader.line_num} 行不是有效的 CSV（{error}）：请检查引号",
            f"{CSV_NAME}, line {reader.line_num}, is not CSV ({error}): check the quotes",
        ) from None
    return rows


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = error.strerror or error
        raise FolderInvalid(
            f"无法读取 {path}：{what}；文件夹里要有 {CSV_NAME}",
            f"{path} cannot be read: {what}; the folder needs an {CSV_NAME}",
        ) from None
    if len(data) > MAX_BYTES:
        raise FolderInvalid(
            f"{path} 超过 {MAX_BYTES >> 20} MiB：请拆分后导入",
            f"{path} has more than {MAX_BYTES >> 20} MiB: split it",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    what_zh, what_en = "不是 UTF-8", "is not UTF-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        what_zh, what_en = "是 UTF-16 编码", "is UTF-16"
    else:
        try:
            data.decode("gb18030")
            what_zh, what_en = "是 GBK 编码", "looks like GBK"
        except UnicodeDecodeError:
            pass
    raise FolderInvalid(
        f"{path} {what_zh}（第 {line} 行）：请在 Excel 或 WPS 中另存为“CSV UTF-8”",
        f"{path} {what_en} (line {line}): save it as CSV UTF-8 in Excel or WPS",
    )


def _columns(header: list[str] | None) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header or []]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise FolderInvalid(
            f"{CSV_NAME} 第一行缺少列：{'、'.join(missing)}；应为 {','.join(COLUMNS)}",
            f"{CSV_NAME} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}: "
            f"its first line must be {','.join(COLUMNS)}",
        )
    twice = {name for name in (*COLUMNS, *OPTIONAL) if names.count(name) > 1}
    if twice:
        raise FolderInvalid(
            f"{CSV_NAME} 中列 {'、'.join(sorted(twice))} 出现了两次",
            f"{CSV_NAME} has the column {', '.join(sorted(twice))} twice",
        )
    return {name: names.index(name) for name in (*COLUMNS, *OPTIONAL) if name in names}


def _row(
    line: int,
    cells: list[str],
    columns: dict[str, int],
    today: date,
    sites: Collection[str] | None,
    seen: set[str],
) -> Row | BadRow:
    cell = {name: cells[at].strip() if at < len(cells) else "" for name, at in columns.items()}
    official = cell["official"]
    faults: list[Note] = []
    if len(cells) < max(columns[name] for name in COLUMNS) + 1:
        faults.append(Note("列数不够", "too few columns"))
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", official):
        faults.append(
            Note(
                f"编号“{official}”无效：1 到 32 个英文字母、数字或短横线",
                f"the id {official!r} is not 1 to 32 letters, digits or dashes",
            )
        )
    elif official in seen:
        faults.append(Note("编号重复，已采用前一行", "this id is in an earlier row, which counts"))
    seen.add(official)
    if cell["pin"] and not re.fullmatch(r"[0-9]{6}", cell["pin"]):
        faults.append(
            Note(
                "PIN 不是六位数字（Excel 会去掉开头的 0）",
                "the PIN is not six digits (Excel drops leading zeros)",
            )
        )
    card = None
    if cell.get("card"):
        try:
            card = card_number(cell["card"])
        except TokenInvalid:
            faults.append(
                Note(
                    "卡号不是 6 到 40 位数字或字母：请用读卡器读入",
                    "the card number has not 6 to 40 digits or letters: let the reader type it",
                )
            )
    dates: dict[str, date | None] = {}
    for column in ("consented_on", "portrait_consented_on"):
        try:
            dates[column] = parse_date(cell.get(column, ""))
        except ValueError:
            faults.append(
                Note(
                    f"{column} 的日期“{cell[column]}”无效，应为 2026-11-21 这样",
                    f"{column}: {cell[column]!r} is not a date like 2026-11-21",
                )
            )
            continue
        given = dates[column]
        if given is not None and given > today:
            faults.append(
                Note(f"{column} 的日期 {given} 还没有到", f"{column}: {given} is in the future")
            )
    names = list(dict.fromkeys(_sites(cell["sites"])))
    for site in names:
        if sites is not None and site not in sites:
            known = "、".join(sorted(sites)) or "无"
            known_en = ", ".join(sorted(sites)) or "none"
            faults.append(
                Note(
                    f"未知地点“{site}”（已有：{known}）",
                    f"unknown site: {site} (known: {known_en})",
                )
            )
    try:
        roster = msgspec.convert(
            {
                "official": official,
                **{key: cell[key] for key in ("name", "title", "phone", "work_group")},
                "sites": names,
            },
            wire.RosterRow,
        )
    except msgspec.ValidationError as error:
        if not faults:
            faults.append(_field_fault(str(error)))
        return BadRow(line, official, tuple(faults))
    if faults:
        return BadRow(line, official, tuple(faults))
    pin = cell["pin"] or None
    return Row(
        line,
        roster,
        dates["consented_on"],
        pin,
        dates["portrait_consented_on"],
        tuple(_notes(pin, card)),
        card,
    )


def _sites(text: str) -> list[str]:
    # A Chinese keyboard gives the full-width semicolon.
    return [part.strip() for part in re.split("[;；]", text) if part.strip()]


def _field_fault(what: str) -> Note:
    field = re.search(r"\$\.(\w+)", what)
    name = field[1] if field else "?"
    return Note(f"列 {name} 为空或太长", f"the column {name} is empty or too long")


def _notes(pin: str | None, card: str | None) -> list[Note]:
    if pin is None and card is not None:
        return [Note("没有 PIN：忘带卡时没有其他方式", "no PIN: nothing else without the card")]
    if pin is None:
        return [Note("没有 PIN：人脸之外没有其他签到方式", "no PIN: a face is the only way in")]
    if is_weak(pin):
        return [Note("PIN 太容易猜到，建议更换", "the PIN is easy to guess: ask for another one")]
    return []


def is_weak(pin: str) -> bool:
    """Whether six digits are among the first that anybody tries: one digit, a run, a repetition."""
    return bool(_WEAK.fullmatch(pin)) or any(pin in run for run in _RUNS)


def parse_date(text: str) -> date | None:
    """A date as offices write it (2026-11-21, 2026/11/21, 2026.11.21, 2026年11月21日), None for
    nothing. Raises ValueError."""
    text = unicodedata.normalize("NFKC", text).strip()
    if not text:
        return None
    found = _DATE.fullmatch(text)
    if found:
        return date(int(found[1]), int(found[3]), int(found[4]))
    found = _DATE_ZH.fullmatch(text)
    if found:
        return date(int(found[1]), int(found[2]), int(found[3]))
    raise ValueError(f"{text!r} is not a date")

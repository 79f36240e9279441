"""A table out of an XLSX file that somebody sent: bounded before it is unpacked, never calculated.

Only the first sheet is read. A cell that holds a formula is known for one, and its row is refused:
what a formula shows depends on who opens the file.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from xml.etree.ElementTree import ParseError  # nosec B405 # only the error

from attendance.i18n import say
from server.errors import InputInvalid
from server.services.township.townships import clean

#: Bytes of the largest file, and of all that is in it when unpacked.
MAX_BYTES = 4 << 20
MAX_UNPACKED = 48 << 20
#: A part that unpacks to more times its size than this is no table (text: 10 to 40 times).
MAX_RATIO = 200
MAX_PARTS = 200
MAX_ROWS = 5_000
MAX_COLUMNS = 40
#: Rows of the sheet that are looked at, blank ones included.
MAX_LOOKED = 100_000
MAX_TEXT = 500
#: What openpyxl lets through of a file that is broken.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError,
    OSError, ParseError, RecursionError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Formula:
    """Stands in a cell that holds a formula."""


Cell = str | date | Formula


@dataclass(frozen=True)
class Line:
    """One row: its number in the sheet, and its cells by column."""

    number: int
    cells: Mapping[str, Cell]

    def text(self, column: str) -> str:
        """The cell as text, "" where there is none."""
        found = self.cells.get(column, "")
        if isinstance(found, Formula):
            return ""
        return found.isoformat() if isinstance(found, date) else found

    def has_formula(self) -> bool:
        """Whether any cell holds a formula."""
        return any(isinstance(cell, Formula) for cell in self.cells.values())


@dataclass(frozen=True)
class Table:
    """The columns that were found, and the rows that are not blank."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def read_table(body: bytes, columns: Mapping[str, Sequence[str]], needed: Sequence[str]) -> Table:
    """The table in an XLSX file. `columns` are the headings by which each column may go.

    Raises InputInvalid: `table_file` (no XLSX, broken, or out of bounds), `table_columns` (a
    `needed` column lacks or one comes twice), `table_rows` (none, or too many).
    """
    _check_zip(body)
    names = {_plain(head): column for column, heads in columns.items() for head in heads}
    try:
        rows = _rows(body)
        found: dict[int, str] = {}
        for _, cells in rows:  # the first row that names a column is the head
            found = {
                n: names[_plain(str(cell))]
                for n, cell in enumerate(cells)
                if _plain(str(cell)) in names
            }
            if found:
                break
        if len(set(found.values())) != len(found) or any(n not in found.values() for n in needed):
            raise InputInvalid(
                "table_columns", say("表头缺少栏目或有重复", "columns lack or come twice"), "file"
            )
        lines: list[Line] = []
        for number, cells in rows:
            line = {found[n]: cell for n, cell in enumerate(cells) if n in found}
            if not any(line.values()):
                continue
            if len(lines) == MAX_ROWS:
                raise _rows_wrong()
            lines.append(Line(number, line))
    except InputInvalid:
        raise
    except _BROKEN as error:
        raise _unreadable(type(error).__name__) from None
    if not lines:
        raise _rows_wrong()
    return Table(tuple(found.values()), tuple(lines))


def _rows(body: bytes) -> Iterator[tuple[int, list[Cell]]]:
    import openpyxl  # 0.1 s, and most processes never ask

    book = openpyxl.load_workbook(
        io.BytesIO(body), read_only=True, data_only=False, keep_links=False
    )
    try:
        sheets = book.worksheets
        if not sheets:
            raise _unreadable("no sheet")
        for number, row in enumerate(
            sheets[0].iter_rows(max_row=MAX_LOOKED, max_col=MAX_COLUMNS), 1
        ):
            yield number, [_cell(cell) for cell in row]
    finally:
        book.close()


def _cell(cell: object) -> Cell:
    value = getattr(cell, "value", None)
    if value is None:
        return ""
    if getattr(cell, "data_type", "") == "f":
        return Formula()
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # telephone numbers are typed as numbers
    return clean(str(value), MAX_TEXT)


def _plain(head: str) -> str:
    return "".join(head.split()).casefold().strip("*＊")


def _check_zip(body: bytes) -> None:
    """Raises InputInvalid for what is no zip of documents, or unpacks beyond the bounds."""
    if len(body) > MAX_BYTES:
        raise _unreadable("too large")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS or sum(p.file_size for p in parts) > MAX_UNPACKED:
                raise _unreadable("unpacks to too much")
            for part in parts:
                if part.file_size > 4096 and part.file_size > MAX_RATIO * part.compress_size:
                    raise _unreadable("unpacks to too much")
                if part.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(part):
                    raise _unreadable("declares a document type")
    except InputInvalid:
        raise
    except (*_BROKEN, RuntimeError) as error:
        raise _unreadable(type(error).__name__) from None


def _unreadable(why: str) -> InputInvalid:
    return InputInvalid(
        "table_file", say(f"无法读取该 XLSX 文件（{why}）", f"no readable XLSX: {why}"), "file"
    )


def _rows_wrong() -> InputInvalid:
    return InputInvalid(
        "table_rows",
        say(f"表中没有数据，或超过 {MAX_ROWS} 行", f"no rows, or more than {MAX_ROWS}"),
        "file",
    )


def date_of(cell: Cell) -> date | None:
    """A date as offices type it: a date cell, 2026-11-25, 2026/11/25, 2026.11.25, 20261125 or
    2026年11月25日; None for anything else."""
    if isinstance(cell, Formula):
        return None
    if isinstance(cell, date):
        return cell if 2000 <= cell.year <= 2199 else None
    text = cell.strip().rstrip("日")
    for mark in ("年", "月", "/", "."):
        text = text.replace(mark, "-")
    parts = text.split("-")
    if len(parts) == 1 and len(text) == 8 and text.isdigit():
        parts = [text[:4], text[4:6], text[6:]]
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) <= 4 for p in parts):
        return None
    try:
        found = date(*(int(p) for p in parts))
    except ValueError:
        return None
    return found if 2000 <= found.year <= 2199 else None

"""Tables for spreadsheets: text stays text, A4 when printed, a line for each signature."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import xlsxwriter

from server.csvs import neutral

MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: Everything written is what it is given for: no text becomes a formula, a link or a number.
_OPTIONS = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
#: What a spreadsheet takes for a cell's text.
MAX_TEXT = 32_000


@dataclass(frozen=True)
class Mark:
    """A cell with a shape: the word for it is what stands in a CSV, `kind` a style class."""

    glyph: str
    kind: str
    word: str

    def __str__(self) -> str:
        return self.word


@dataclass
class Sheet:
    """One sheet. `widths` are in characters; `above` stands over the head, `below` under the rows,
    `signatures` are whose lines follow; `colours` are ground and ink of marks by kind."""

    name: str
    header: Sequence[str]
    rows: Iterable[Sequence[object]]
    widths: Sequence[float] = ()
    above: Sequence[str] = ()
    below: Sequence[Sequence[object]] = ()
    signatures: Sequence[str] = ()
    landscape: bool = False
    frozen: int = 1
    colours: dict[str, tuple[str, str]] = field(default_factory=dict)


def workbook(sheets: Sequence[Sheet]) -> bytes:
    """The sheets as an XLSX file."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, _OPTIONS)
    base = {"font_name": "Noto Sans CJK SC", "font_size": 10, "valign": "top"}
    formats = {
        "plain": book.add_format({**base, "border": 1, "text_wrap": True}),
        "head": book.add_format({**base, "border": 1, "bold": True, "bg_color": "#E4ECF4",
                                 "text_wrap": True}),
        "centre": book.add_format({**base, "border": 1, "align": "center"}),
        "money": book.add_format({**base, "border": 1, "num_format": "0.00"}),
        "title": book.add_format({**base, "bold": True, "font_size": 14}),
        "note": book.add_format(base),
        "line": book.add_format({**base, "bottom": 1}),
        "total": book.add_format({**base, "border": 1, "bold": True}),
    }  # fmt: skip
    for sheet in sheets:
        _write(book, sheet, formats, base)
    book.close()
    return out.getvalue()


def _write(book: object, sheet: Sheet, formats: dict, base: dict) -> None:  # type: ignore[type-arg]
    page = book.add_worksheet(sheet.name[:31])  # type: ignore[attr-defined]
    page.set_paper(9)  # A4
    page.set_margins(0.5, 0.5, 0.6, 0.6)
    page.fit_to_pages(1, 0)
    page.set_footer("&C&P / &N")
    if sheet.landscape:
        page.set_landscape()
    for column, width in enumerate(sheet.widths):
        page.set_column(column, column, width)
    row = 0
    for text in sheet.above:
        page.write_string(row, 0, neutral(text), formats["title" if row == 0 else "note"])
        row += 1
    for column, text in enumerate(sheet.header):
        page.write_string(row, column, neutral(text), formats["head"])
    page.repeat_rows(row)
    page.freeze_panes(row + 1, sheet.frozen)
    coloured = {
        kind: book.add_format(  # type: ignore[attr-defined]
            {**base, "border": 1, "align": "center", "bg_color": ground, "font_color": ink}
        )
        for kind, (ground, ink) in sheet.colours.items()
    }
    for cells in sheet.rows:
        row += 1
        for column, cell in enumerate(cells):
            kept = formats["plain"]
            if isinstance(cell, Mark):
                kept, cell = coloured.get(cell.kind, formats["centre"]), cell.glyph
            elif isinstance(cell, float):
                kept = formats["money"]
            _cell(page, row, column, cell, kept)
    for cells in sheet.below:
        row += 1
        for column, cell in enumerate(cells):
            _cell(page, row, column, cell, formats["total"])
    row += 2
    for name in sheet.signatures:
        page.write_string(row, 0, neutral(name), formats["note"])
        page.write_blank(row, 1, None, formats["line"])
        page.write_blank(row, 2, None, formats["line"])
        row += 2


def _cell(page: object, row: int, column: int, cell: object, kept: object) -> None:
    if cell is None or cell == "":
        page.write_blank(row, column, None, kept)  # type: ignore[attr-defined]
    elif isinstance(cell, bool | date):
        page.write_string(row, column, str(cell), kept)  # type: ignore[attr-defined]
    elif isinstance(cell, int | float):
        page.write_number(row, column, cell, kept)  # type: ignore[attr-defined]
    else:
        text = neutral(cell)[:MAX_TEXT]
        page.write_string(row, column, text, kept)  # type: ignore[attr-defined]

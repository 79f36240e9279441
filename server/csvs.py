"""Tables for Excel: UTF-8 with a mark, and nothing in a cell that Excel would execute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

#: Characters with which a cell would be taken for a formula (OWASP, "CSV Injection"), the
#: full-width twins included since Excel in Chinese takes them for the same.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


#: Tells Excel that the text is UTF-8.
BOM = "\ufeff"


def neutral(cell: object) -> str:
    """The cell as text that stays text: an apostrophe before what begins like a formula.

    Numbers stay numbers; one with a fraction is an amount of money, as in `server.xlsx`, and has
    two decimals.
    """
    if isinstance(cell, float):
        return f"{cell:.2f}"
    if isinstance(cell, int):
        return str(cell)
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table, lines ended as Excel and RFC 4180 want them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([neutral(cell) for cell in header])
    writer.writerows([neutral(cell) for cell in row] for row in rows)
    return out.getvalue()

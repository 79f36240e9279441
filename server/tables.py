"""A table that another process writes: how it is handed over, and how it is written.

A month of 1,000 officials keeps a worker busy for a second and more on a small machine, and says
nothing meanwhile; `server.printing` writes it beside the worker and counts its rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.csvs import BOM, csv_text
from server.xlsx import Mark, Sheet, workbook

#: Rows between two counts.
STEP = 50


@dataclass(frozen=True)
class Tables:
    """What is written: `kind` is `xlsx` (all sheets) or `csv` (the first)."""

    kind: str
    sheets: Sequence[Sheet]


def packed(tables: Tables) -> str:
    """The tables as text to hand over."""
    return json.dumps(
        {"kind": tables.kind, "sheets": [_plain(sheet) for sheet in tables.sheets]},
        ensure_ascii=False,
    )


def _plain(sheet: Sheet) -> dict[str, Any]:
    made = dict(vars(sheet))
    for part in ("rows", "below"):
        made[part] = [[_cell(cell) for cell in row] for row in made[part]]
    return made


def _cell(cell: object) -> object:
    if isinstance(cell, Mark):
        return [cell.glyph, cell.kind, cell.word]
    return cell if cell is None or isinstance(cell, int | float) else str(cell)


def unpacked(text: str) -> Tables:
    """What `packed` made of it."""
    read = json.loads(text)
    sheets = [
        Sheet(
            **{
                **each,
                "rows": [_row(row) for row in each["rows"]],
                "below": [_row(row) for row in each["below"]],
                "colours": {kind: (two[0], two[1]) for kind, two in each["colours"].items()},
            }
        )
        for each in read["sheets"]
    ]
    return Tables(str(read["kind"]), sheets)


def _row(cells: list[Any]) -> list[object]:
    return [Mark(*cell) if isinstance(cell, list) else cell for cell in cells]


def rows_of(sheets: Sequence[Sheet]) -> int:
    """How many rows there are to write."""
    return sum(len(list(sheet.rows)) for sheet in sheets)


def written(tables: Tables, count: Callable[[int], None]) -> bytes:
    """The file's bytes; `count` hears now and then how many rows are done."""
    done = 0

    def counted(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[object]]:
        nonlocal done
        for row in rows:
            yield row
            done += 1
            if done % STEP == 0:
                count(done)

    if tables.kind == "csv":
        first = tables.sheets[0]
        text = csv_text(first.header, counted([*first.rows, *first.below]))
        return (BOM + text).encode("utf-8")
    for sheet in tables.sheets:
        sheet.rows = counted(list(sheet.rows))
    return workbook(tables.sheets)


def write(folder: Path, count: Callable[[int], None]) -> None:
    """Writes `folder`/out.xlsx or out.csv of `folder`/in.json."""
    tables = unpacked((folder / "in.json").read_text(encoding="utf-8"))
    part = folder / "out.part"
    part.write_bytes(written(tables, count))
    part.replace(folder / f"out.{tables.kind}")

"""Spreadsheets as downloads."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from server.xlsx import MIME, Mark, Sheet, workbook

__all__ = ["MIME", "Mark", "Sheet", "xlsx_file"]


def xlsx_file(name: str, sheets: Sequence[Sheet]) -> Response:
    """The workbook as a download. `name` is ASCII, without suffix."""
    answer = Response(workbook(sheets), mimetype=MIME)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.xlsx"'
    return answer

"""Tables for Excel as downloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask import Response

from server.csvs import BOM, csv_text


def csv_file(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """The table as a download. `name` is ASCII, without suffix."""
    body = BOM + csv_text(header, rows)
    answer = Response(body.encode("utf-8"), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer

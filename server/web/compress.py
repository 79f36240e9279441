"""Public pages and their assets as gzip: a village's line is thin, a cheap telephone's too.

Nothing is compressed for who is signed in: where somebody can choose a part of a page and see its
length, compression tells of the rest of it (BREACH).
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response, current_app, g, request, session

#: Shorter ones are not worth it.
LEAST = 1_000
LEVEL = 5
KINDS = frozenset({"text/html", "text/css", "text/javascript", "application/javascript",
                   "application/json", "image/svg+xml"})  # fmt: skip
#: Pages that everybody sees alike; the board's live part is among them, its stream is not.
PUBLIC = frozenset({"board.page", "board.screen", "board.screen_rows", "board.rows", "board.json",
                    "duty.notice", "person.page", "static"})  # fmt: skip


@lru_cache(maxsize=32)
def _asset(path: Path, _changed_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)


def register(app: Flask) -> None:
    """Compresses what is public, for who takes it."""

    @app.after_request
    def squeeze(response: Response) -> Response:
        if (
            request.endpoint not in PUBLIC
            or response.status_code != 200
            or response.mimetype not in KINDS
            or "Content-Encoding" in response.headers
        ):
            return response
        response.vary.add("Accept-Encoding")
        if not request.accept_encodings["gzip"] or request.method == "HEAD":
            return response
        if request.endpoint == "static":
            if "Range" in request.headers or "v" not in request.args:
                return response
            folder = Path(current_app.static_folder or "")
            path = folder / (request.view_args or {})["filename"]
            response.direct_passthrough = False
            return _put(response, _asset(path, path.stat().st_mtime_ns))
        if g.get("quxiang_user") is not None or session or response.is_streamed:
            return response
        plain = response.get_data()
        if len(plain) < LEAST:
            return response
        return _put(response, gzip.compress(plain, LEVEL, mtime=0))


def _put(response: Response, body: bytes) -> Response:
    response.set_data(body)
    response.headers["Content-Encoding"] = "gzip"
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)  # the same page, not the same bytes
    return response

"""What the server writes down of its own work: one line a request, without what is anybody's.

A line names the route, not the address: neither query strings nor ids, names, tokens, PINs or faces
stand in it. Of a fault it keeps the kind and the places in the code, not the message, in which a
database likes to quote rows.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from flask import Flask, Response, g, request

from server.proxy import ENVIRON_ID

FORMATS = ("text", "json")
HEADER = "X-Request-Id"
requests = logging.getLogger("quxiang.request")
faults = logging.getLogger("quxiang.fault")
_HERE = Path(__file__).resolve().parents[1]
_QUERY = re.compile(r"\?\S*")


class Application(Flask):
    """Flask that names the route of a failed view, not its address."""

    def log_exception(
        self,
        exc_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None],
        /,
        *_: Any,
    ) -> None:
        """As Flask's, but for the address."""
        faults.error("%s %s failed (%s)", request.method, route(), request_id(), exc_info=exc_info)


def route() -> str:
    """The rule that this request's address fits, `-` where none does."""
    return request.url_rule.rule if request.url_rule is not None else "-"


def request_id() -> str:
    """The id of this request: the proxy's where we stand behind one, else our own."""
    found: str | None = g.get("quxiang_request_id")
    if found is None:
        found = g.quxiang_request_id = request.environ.get(ENVIRON_ID) or uuid.uuid4().hex[:16]
    return found


def about(township_id: int) -> None:
    """Says which township this request is about, for its line."""
    g.quxiang_about = township_id


def refused(why: str) -> None:
    """Says which guard refused this request, for its line: `csrf`, `host`, `access`, `rate`,
    `size`, `login`, `value`, or a word of the wire's such as `signature`."""
    g.quxiang_refused = why


def register(app: Flask) -> None:
    """Gives each request an id and writes its line; register first, so that nothing is missed."""

    @app.before_request
    def begin() -> None:
        g.quxiang_began = monotonic()
        request_id()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = request_id()
        if requests.isEnabledFor(logging.INFO):
            user = g.get("quxiang_user")
            told = {
                "id": request_id(),
                "method": request.method,
                "route": route(),
                "status": response.status_code,
                "ms": round((monotonic() - g.get("quxiang_began", monotonic())) * 1000, 1),
                "township": user.township_id if user is not None else g.get("quxiang_about"),
            }
            if (why := g.get("quxiang_refused")) is not None:
                told["refused"] = why
            requests.info("request", extra={"quxiang": told})
        return response


class Lines(logging.Formatter):
    """A record as one line of JSON: `at`, `level`, `logger`, and what there is to say."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name}
        told = getattr(record, "quxiang", None)
        if told is None:
            line["message"] = _QUERY.sub("?...", record.getMessage())
        else:
            line.update(told)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["where"] = [
                f"{_short(frame.filename)}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ][-12:]
        return json.dumps(line)  # ASCII: no line end of any alphabet, nothing for a terminal


def _short(name: str) -> str:
    path = Path(name)
    return str(path.relative_to(_HERE)) if path.is_relative_to(_HERE) else path.name


def settings() -> dict[str, Any]:
    """What `logging.config.dictConfig` and gunicorn want for lines of JSON on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "server.logs.Lines"}},
        "handlers": {
            "lines": {"class": "logging.StreamHandler", "formatter": "lines",
                      "stream": "ext://sys.stderr"},
        },
        "root": {"level": "WARNING", "handlers": ["lines"]},
        "loggers": {
            "quxiang.request": {"level": "INFO"},
            "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        },
    }  # fmt: skip

"""Values that no request may bring: NUL, which PostgreSQL stores in no text, and what fits no
column. Both are the asker's mistake, 400, and no fault of the server."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from flask import Flask, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DataError
from werkzeug.exceptions import BadRequest

from server import db, logs

#: What PostgreSQL says of a text that is too long or has a byte that is none, of a number or a
#: moment beyond its column. Others of its data errors are ours, such as a division by zero.
_STATES = frozenset({"22001", "22003", "22007", "22008", "22021", "22P02", "22P05"})
_LIBRARY = Path(sqlalchemy.__file__).parent


def in_address() -> bool:
    """Whether NUL stands in the path or query of this request."""
    query = request.query_string
    return "\0" in request.path or b"%00" in query or b"\0" in query


def in_form() -> bool:
    """Whether NUL stands in a field of this request's form or in the name of a file. Reads the
    form, unless nothing is changed by the method: its limits are set before."""
    if request.method in db.SAFE_METHODS:
        return False
    fields = (text for pair in request.form.items(multi=True) for text in pair)
    files = (f"{name}{file.filename}" for name, file in request.files.items(multi=True))
    return any("\0" in text for text in (*fields, *files))


def misfits(error: BaseException) -> bool:
    """Whether the database refused a value of the request, not a statement of ours.

    SQLite's driver says OverflowError; one that was raised anywhere else is a fault.
    """
    if isinstance(error, DataError):
        state = getattr(error.orig, "sqlstate", None)  # none: the driver itself refused it
        return state is None or state in _STATES
    trace = error.__traceback__
    if not isinstance(error, OverflowError) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).is_relative_to(_LIBRARY)


def note(error: BaseException) -> None:
    """Writes down where a value did not fit, so that the place can be made to refuse it itself."""
    logs.refused("value")
    text = "%s %s brought a value that fits no column (%s)"
    logs.faults.warning(text, request.method, logs.route(), logs.request_id(), exc_info=error)


def register(app: Flask) -> None:
    """Answers 400 to what did not fit on a page; `server.api.answers` does so for devices."""

    def refuse(error: Exception) -> ResponseReturnValue:
        if not misfits(error):
            raise error
        note(error)
        db.undo()
        return app.handle_http_exception(BadRequest())

    app.register_error_handler(DataError, refuse)
    app.register_error_handler(OverflowError, refuse)

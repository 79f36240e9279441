"""`/api/v1/release`: updates for kiosks, in pieces that a bad line can carry."""

from __future__ import annotations

import threading

from flask import Blueprint, Response, request

from attendance import wire
from server.api.answers import answer, ask, spoken, whole
from server.context import context
from server.errors import ApiProblem, InputInvalid, NotFound
from server.services.paired import releases

blueprint = Blueprint("api_release", __name__)

_carrying = threading.BoundedSemaphore(2)
"""Pieces that a process reads at once: check-ins and pages keep the other threads."""
RETRY_S = 20


@blueprint.get(wire.RELEASE)
@spoken
def offered() -> Response:
    """`GET /release?machine=M&python=P&above=N`: the newest one's head, 204 where there is none."""
    ask("kiosk").fresh()
    above = whole("above", "above is the newest number that ran at the kiosk")
    head = releases.newest(
        context().config,
        request.args.get("machine", ""),
        request.args.get("python", ""),
        above,
    )
    if head is None:
        return answer(None, 204)
    return _bytes(head.text, 200)


@blueprint.get(f"{wire.RELEASE}/<number>")
@spoken
def piece(number: str) -> Response:
    """`GET /release/N?machine=M` with `Range: bytes=FIRST-LAST`."""
    ask("kiosk").fresh()
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise ApiProblem(404, "not_found", "there is no such release here")
    if not _carrying.acquire(blocking=False):
        raise ApiProblem(503, "busy", "others fetch at the moment", retry_after_s=RETRY_S)
    try:
        machine, span = request.args.get("machine", ""), request.headers.get("Range", "")
        data = releases.piece(context().config, int(number), machine, span)
    except NotFound as error:
        raise ApiProblem(404, "not_found", str(error)) from None
    except InputInvalid as error:
        raise ApiProblem(416, "malformed", str(error)) from None
    finally:
        _carrying.release()
    return _bytes(data, 206)


def _bytes(data: bytes, status: int) -> Response:
    response = answer(data, status)
    response.content_type = "application/octet-stream"
    return response

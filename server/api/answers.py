"""Asking and answering by the rules of the wire: bounded, signed, and one form of error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import msgspec
from flask import Flask, Response, abort, request
from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from attendance import wire
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.records import MAX_INT
from attendance.signing import sign, to_text
from server import db, values
from server.context import Known, context, now
from server.errors import ApiProblem
from server.logs import about, refused, route
from server.models import Device

log = logging.getLogger(__name__)

#: Seconds after which a device may ask again when the database was busy for too long.
BUSY_RETRY_S = 5
_RESERVED, _GATHERED = "quxiang-reserved", "quxiang-gathered"
P = ParamSpec("P")
_WORDS = {400: "malformed", 404: "not_found", 405: "not_found", 413: "too_large"}


_ALL = select(Device.id, Device.kind, Device.township_id, Device.sign_key)
_KNOWN = _ALL.where(Device.id == bindparam("device"))
#: Devices that a process reads at once, the last paired first; others it asks for one by one.
MANY = 20_000
_MANY = _ALL.order_by(Device.paired_ms.desc()).limit(MANY)
_reading = threading.Lock()
_THOSE = (
    select(Device).where(Device.id.in_(bindparam("devices", expanding=True))).order_by(Device.id)
)
_RESERVE = _THOSE.with_for_update(of=Device)


@dataclass(frozen=True)
class Asked:
    """A request whose signature holds; `fresh` is the device's row."""

    device: Known
    body: bytes
    revoked: bool

    def message(self, kind: type[wire.M], limit: int = wire.MAX_JSON) -> wire.M:
        """The body as a message. Raises ApiProblem `malformed`."""
        return message(self.body, kind, limit)

    def fresh(self, session: Session | None = None) -> Device:
        """The device's row, locked where the database can, in that session or the request's own.

        Raises ApiProblem `revoked` unless the request is open to revoked devices too.
        """
        held = session or db.session()
        if self.device.id in held.info.get(_RESERVED, ()):
            device = held.get(Device, self.device.id)
        else:
            device = held.get(Device, self.device.id, with_for_update={"of": Device})
        if device is None:
            raise ApiProblem(401, "unknown_device", "this device is not paired with this server")
        if device.revoked_ms is not None and not self.revoked:
            raise ApiProblem(403, "revoked", "this device is revoked")
        return device


def gather(session: Session, devices: list[str]) -> None:
    """Reads those devices' rows in one question: `session.get` has them then."""
    rows = session.scalars(_THOSE, {"devices": devices}).unique().all()
    session.info[_GATHERED] = rows  # a session forgets what nobody holds


def reserve(session: Session, devices: list[str]) -> None:
    """Reads and locks those devices' rows, in one question and one order, for `Asked.fresh`."""
    rows = session.scalars(_RESERVE, {"devices": devices}).unique().all()
    session.info[_RESERVED] = {device.id: device for device in rows}


def message(body: bytes, kind: type[wire.M], limit: int = wire.MAX_JSON) -> wire.M:
    """A message from bytes. Raises ApiProblem `malformed`."""
    try:
        return wire.decode(body, kind, limit)
    except WireInvalid as error:
        raise ApiProblem(400, "malformed", str(error)) from None


def read_body(limit: int) -> bytes:
    """The request's body, never more than `limit` bytes of it, chunked or not.

    Raises ApiProblem `too_large`, and `malformed` for one that breaks off.
    """
    # One more than allowed: at the limit itself, and at none at all, werkzeug calls the end of a
    # stream without a stated length "too large".
    request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise ApiProblem(413, "too_large", f"at most {limit} bytes are read here") from None
    except ClientDisconnected:
        raise ApiProblem(400, "malformed", "the body breaks off") from None
    if len(body) > limit:
        raise ApiProblem(413, "too_large", f"at most {limit} bytes are read here")
    return body


def whole(name: str, why: str) -> int:
    """A number of the query, 0 where it is left out. Raises ApiProblem `malformed`, saying `why`,
    for anything that is none or has more digits than the largest."""
    text = request.args.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INT))):
        raise ApiProblem(400, "malformed", why)
    if int(text) > MAX_INT:
        raise ApiProblem(400, "malformed", why)
    return int(text)


def target() -> str:
    """Path and query, as the device signed them."""
    query = request.query_string.decode("latin-1")
    return f"{request.path}?{query}" if query else request.path


def ask(kind: str, limit: int = 0, revoked: bool = False) -> Asked:
    """Who asks, and what. `kind` is kiosk or desk; `revoked` lets a revoked device ask too.

    The device is looked up and its signature checked before a writing transaction begins, so that
    nobody who is not paired can keep others waiting. Raises ApiProblem.
    """
    device = _known(request.headers.get(wire.HEADER_DEVICE, ""))
    if device is None:  # whose body need not be waited for
        raise ApiProblem(401, "unknown_device", "this device is not paired with this server")
    body = read_body(limit)
    signature = request.headers.get(wire.HEADER_SIGNATURE, "")
    try:
        wire.check_request(device.sign_key, signature, request.method, target(), body)
    except SignatureInvalid as error:
        raise ApiProblem(401, "signature", str(error)) from None
    if device.kind != kind:
        raise ApiProblem(403, "wrong_kind", f"this is for a {kind}, this device is a {device.kind}")
    about(device.township_id)
    return Asked(device, body, revoked)


def _known(device_id: str) -> Known | None:
    """The device with its key, from memory after the first time: a storm of kiosks reads less.

    All that are paired are read at the first question: else each of a new worker's threads would
    open a connection of its own to ask for one of them.
    """
    seen, database = context().devices, context().database
    if not seen:
        with _reading, database.session() as session:
            if not seen:
                rows = session.connection().execute(_MANY)
                seen.update({row.id: Known(*row) for row in rows})
    device = seen.get(device_id)
    if device is None:
        with database.session() as session:
            row = session.connection().execute(_KNOWN, {"device": device_id}).first()
        if row is not None:
            device = seen[device_id] = Known(*row)
    return device


def answer(body: Any, status: int = 200) -> Response:
    """A signed answer; `body` is a message, a list of messages, exact JSON bytes or None."""
    data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    response = Response(data, status, content_type="application/json")
    asked = request.headers.get(wire.HEADER_SIGNATURE, "")
    claim = wire.reply_claim(asked, status, data)
    response.headers[wire.HEADER_SIGNATURE] = to_text(
        sign(context().keys.sign_seed, wire.REPLY_DOMAIN, claim)
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def problem(found: ApiProblem) -> Response:
    """The signed answer to a refusal."""
    refused(found.error)
    response = answer(
        wire.Problem(error=found.error, message=str(found), wanted=found.wanted), found.status
    )
    if found.retry_after_s is not None:
        response.headers["Retry-After"] = str(found.retry_after_s)
    return response


def _busy() -> Response:
    return problem(
        ApiProblem(503, "busy", "the server is busy: ask again", retry_after_s=BUSY_RETRY_S)
    )


def spoken(view: Callable[P, Response]) -> Callable[P, Response]:
    """Wraps a view of the interface: every way out is a signed answer, none tells of the inside."""

    @wraps(view)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except ApiProblem as found:
            if found.keep:
                try:
                    db.session().commit()
                except DBAPIError:
                    log.exception("a refusal could not be noted")
                    return _busy()
            return problem(found)
        except OperationalError:
            log.warning("the database did not answer in time")
            return _busy()
        except Exception as error:
            if values.misfits(error):
                values.note(error)
                return problem(ApiProblem(400, "malformed", "a value is too long or too large"))
            log.exception("%s %s failed at %s", request.method, route(), now())
            return problem(ApiProblem(500, "fault", "the server failed; nothing was stored"))

    return wrapped


def register(app: Flask) -> None:
    """Answers what no view of the interface took (404, 405, 413) in its own form, and NUL in any
    address."""

    @app.before_request
    def refuse_unknown() -> Response | None:
        ours = request.path.startswith(wire.PREFIX + "/")
        if values.in_address():
            if not request.path.startswith("/api/"):
                refused("value")
                abort(400)
            return problem(ApiProblem(400, "malformed", "no address has a NUL in it"))
        failed = request.routing_exception
        return _refusal(failed) if failed is not None and ours else None


def _refusal(failed: HTTPException) -> Response:
    status = failed.code or 404
    if status < 400:  # a redirect to the same path with a slash is no answer for a device
        status = 404
    word = _WORDS.get(status, "malformed")
    return problem(ApiProblem(status, word, failed.name))

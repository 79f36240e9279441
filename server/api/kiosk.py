"""What kiosks ask."""

from __future__ import annotations

import threading

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from attendance import wire
from server import db
from server.api.answers import answer, ask, gather, reserve, spoken, whole
from server.context import context, now
from server.gate import gate
from server.services.paired import desk
from server.services.public import portraits
from server.services.records import cursors, intake, uploads
from server.services.records.arrivals import Arrivals, foresee
from server.services.township import whereabouts

blueprint = Blueprint("api_kiosk", __name__)

#: A `CursorRequest` with its health report has below 1 kB.
_MAX_CURSOR = 8192
#: Batches that a process decodes at once: more would only take turns at the interpreter.
_decoding = threading.BoundedSemaphore(2)


@blueprint.post(wire.CURSOR)
@spoken
def cursor() -> Response:
    """`POST /cursor`; a revoked kiosk is told so."""
    asked = ask("kiosk", _MAX_CURSOR, revoked=True)
    where = asked.message(wire.CursorRequest)
    here = context()

    def work(session: Session) -> wire.CursorReply:
        return cursors.cursor(session, asked.fresh(session), where, now(), secret=here.keys.secret)

    return answer(here.database.commits.do(asked.device.id, work, reserve=reserve))


@blueprint.post(wire.RECORDS)
@spoken
def records() -> Response:
    """`POST /records`: decoded before the database is locked; a revoked kiosk's are kept aside."""
    asked = ask("kiosk", wire.MAX_COMPRESSED, revoked=True)
    with _decoding:
        gate.give_way()
        upload = uploads.read_batch(asked.device.id, asked.device.sign_key, asked.body)
    foreseen: list[Arrivals | None] = [None]
    here = context()
    secret = here.keys.secret

    def before(session: Session) -> None:
        foreseen[0] = foresee(session, asked.device.id, upload, now(), secret)

    def work(session: Session) -> wire.BatchReply:
        return intake.store(session, asked.fresh(session), upload, now(), foreseen[0], secret)

    commits = here.database.commits
    reply = commits.do(asked.device.id, work, before=before, gather=gather, reserve=reserve)
    if request.query_string.decode("latin-1") == wire.BRIEF:
        reply = wire.brief(reply, upload.batch)
    return answer(reply)


@blueprint.get(wire.WHEREABOUTS)
@spoken
def whereabouts_now() -> Response:
    """`GET /whereabouts`."""
    asked = ask("kiosk")
    return answer(whereabouts.snapshot_for(db.session(), asked.fresh(), now()))


@blueprint.get(f"{wire.PORTRAITS}/<token>")
@spoken
def portrait(token: str) -> Response:
    """`GET /portraits/TOKEN`, for the board on a television."""
    asked = ask("kiosk")
    jpeg = portraits.shown_to(db.session(), asked.fresh(), token, context().config)
    response = answer(jpeg)
    response.content_type = "image/jpeg"
    return response


@blueprint.get(wire.GALLERY)
@spoken
def gallery() -> Response:
    """`GET /gallery?have=N`."""
    asked = ask("kiosk")
    have = whole("have", "have is the version that the kiosk holds")
    package = desk.gallery_for(db.session(), asked.fresh(), have)
    return answer(package, 204 if package is None else 200)

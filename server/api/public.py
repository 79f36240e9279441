"""What needs no pairing: pairing itself, and whether the server is well."""

from __future__ import annotations

from flask import Blueprint, Response, request
from sqlalchemy import text

from attendance import wire
from server import db
from server.api.answers import answer, message, read_body, spoken
from server.context import context, now
from server.migrate import at_head
from server.services.paired import pairing
from server.services.programs import readiness

blueprint = Blueprint("api_public", __name__)

#: A `PairRequest` has about 250 bytes.
_MAX_PAIR = 4096


@blueprint.get(wire.PAIR)
@spoken
def hint() -> Response:
    """`GET /pair`."""
    certificate = pairing.kept_certificate(context().config)
    return answer(pairing.hint(db.session(), context().keys, certificate))


@blueprint.post(wire.PAIR)
@spoken
def pair() -> Response:
    """`POST /pair`."""
    asked = message(read_body(_MAX_PAIR), wire.PairRequest)
    session = db.session()
    reply = pairing.pair(session, asked, now(), context().keys, request.remote_addr or "")
    session.commit()
    return answer(reply)


@blueprint.get("/healthz")
@spoken
def healthz() -> Response:
    """Whether the process and its database answer."""
    db.session().execute(text("SELECT 1"))
    return answer({"ok": True})


@blueprint.get("/readyz")
@spoken
def readyz() -> Response:
    """Whether the server can do its work: 200, else 503, and which part is well."""
    here = context()
    found = readiness.checks(here.database.session, at_head, here.config.data, here.now())
    ready = all(found.values())
    return answer({"ready": ready, "checks": found}, 200 if ready else 503)

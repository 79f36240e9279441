"""Proposals of template pictures: left by kiosks, taken by the desk, read by neither of us."""

from __future__ import annotations

from flask import Blueprint, Response

from attendance import proposals as told
from attendance import wire
from server import db
from server.api.answers import answer, ask, spoken
from server.context import now
from server.services.paired import proposals

blueprint = Blueprint("api_proposals", __name__)


@blueprint.put(told.KIOSK_PROPOSALS)
@spoken
def propose() -> Response:
    """`PUT /proposals`."""
    asked = ask("kiosk", told.MAX_PACKAGE)
    package = asked.message(told.ProposalPackage)
    session = db.session()
    proposals.store(session, asked.fresh(), package, asked.body, now())
    session.commit()
    return answer(None, 204)


@blueprint.get(told.DESK_PROPOSALS)
@spoken
def waiting() -> Response:
    """`GET /desk/proposals`."""
    asked = ask("desk")
    session = db.session()
    rows = proposals.rows(session, asked.fresh(), now())
    session.commit()
    return answer(rows)


@blueprint.get(f"{told.DESK_PROPOSALS}/<ident>")
@spoken
def one(ident: str) -> Response:
    """`GET /desk/proposals/ID`."""
    asked = ask("desk")
    return answer(proposals.package_of(db.session(), asked.fresh(), ident))


@blueprint.delete(f"{told.DESK_PROPOSALS}/<ident>")
@spoken
def taken(ident: str) -> Response:
    """`DELETE /desk/proposals/ID`."""
    asked = ask("desk")
    session = db.session()
    proposals.taken(session, asked.fresh(), ident)
    session.commit()
    return answer(None, 204)


@blueprint.post(told.DESK_DECISIONS)
@spoken
def decided() -> Response:
    """`POST /desk/decisions`."""
    asked = ask("desk", wire.MAX_JSON)
    decision = asked.message(told.Decision)
    session = db.session()
    proposals.decide(session, asked.fresh(), decision, now())
    session.commit()
    return answer(None, 204)

"""What the enrolment desk asks."""

from __future__ import annotations

from flask import Blueprint, Response

from attendance import reenrol, wire
from server import db
from server.api.answers import answer, ask, spoken
from server.context import context, now
from server.services.paired import desk, expected, reenrolments
from server.services.public import portraits
from server.services.township.townships import touch_roster

blueprint = Blueprint("api_desk", __name__)


@blueprint.get(wire.DESK_SITES)
@spoken
def sites() -> Response:
    """`GET /desk/sites`."""
    asked = ask("desk")
    return answer(desk.site_rows(db.session(), asked.fresh()))


@blueprint.get(wire.DESK_EXPECTED)
@spoken
def expected_people() -> Response:
    """`GET /desk/expected`."""
    asked = ask("desk")
    return answer(expected.rows(db.session(), asked.fresh(), now()))


@blueprint.get(wire.DESK_KIOSKS)
@spoken
def kiosks() -> Response:
    """`GET /desk/kiosks`."""
    asked = ask("desk")
    return answer(desk.kiosk_rows(db.session(), asked.fresh()))


@blueprint.put(wire.DESK_ROSTER)
@spoken
def roster() -> Response:
    """`PUT /desk/roster`."""
    asked = ask("desk", wire.MAX_JSON)
    people = asked.message(wire.Roster)
    session = db.session()
    reply = desk.store_roster(session, asked.fresh(), people, now())
    session.commit()
    return answer(reply)


@blueprint.put(f"{wire.DESK_PORTRAITS}/<official>")
@spoken
def portrait(official: str) -> Response:
    """`PUT /desk/portraits/OFFICIAL`: decoded before the database is locked."""
    asked = ask("desk", wire.MAX_PORTRAIT)
    config = context().config
    jpeg = portraits.reencode(asked.body)
    session = db.session()
    person = desk.official_of(session, asked.fresh(), official)
    old, person.portrait = person.portrait, portraits.save(config, jpeg)
    touch_roster(session, person.township_id)
    session.commit()
    portraits.forget(config, old)
    return answer(None, 204)


@blueprint.put(f"{wire.DESK_GALLERIES}/<device>")
@spoken
def gallery(device: str) -> Response:
    """`PUT /desk/galleries/DEVICE`."""
    asked = ask("desk", wire.MAX_GALLERY)
    session = db.session()
    desk.store_gallery(session, asked.fresh(), device, asked.body, now())
    session.commit()
    return answer(None, 204)


@blueprint.post(wire.DESK_WITHDRAWALS)
@spoken
def withdrawals() -> Response:
    """`POST /desk/withdrawals`."""
    asked = ask("desk", wire.MAX_JSON)
    wanted = asked.message(wire.Withdrawal)
    session = db.session()
    token = desk.withdraw(session, asked.fresh(), wanted, now())
    session.commit()
    portraits.forget(context().config, token)
    return answer(None, 204)


@blueprint.get(wire.DESK_WITHDRAWALS)
@spoken
def withdrawn() -> Response:
    """`GET /desk/withdrawals`."""
    asked = ask("desk")
    return answer(desk.withdrawn(db.session(), asked.fresh()))


@blueprint.get(reenrol.DESK_REENROLMENTS)
@spoken
def reenrolments_asked() -> Response:
    """`GET /desk/reenrolments`."""
    asked = ask("desk")
    return answer(reenrolments.rows(db.session(), asked.fresh()))


@blueprint.post(reenrol.DESK_REENROLMENTS)
@spoken
def reenrolled() -> Response:
    """`POST /desk/reenrolments`."""
    asked = ask("desk", wire.MAX_JSON)
    told = asked.message(reenrol.Reenrolled)
    session = db.session()
    reenrolments.done(session, asked.fresh(), told, now())
    session.commit()
    return answer(None, 204)


@blueprint.get(wire.DESK_ERASURES)
@spoken
def erasures() -> Response:
    """`GET /desk/erasures`."""
    asked = ask("desk")
    return answer(desk.erasure_rows(db.session(), asked.fresh()))

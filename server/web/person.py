"""An official's public page, which the code on their plate leads to."""

from __future__ import annotations

import re

from flask import Blueprint, Response, abort, g, render_template
from sqlalchemy import select

from server import db
from server.context import now
from server.models import Official, Township
from server.services.public.publicboard import public_rows
from server.web.board import tell
from server.web.near import admit
from server.web.shown import shown

_TOKEN = re.compile(r"[0-9A-Z]{12}")

blueprint = Blueprint("person", __name__)


@blueprint.get("/o/<token>")
def page(token: str) -> Response:
    """One person as the board shows them, on a page that a telephone's camera opens."""
    session = db.session()
    found = None
    if _TOKEN.fullmatch(token):
        found = session.scalar(
            select(Official.township_id).where(Official.page == token, Official.active)
        )
    if found is None:
        abort(404)
    township = session.get_one(Township, found)
    g.quxiang_township = township.name
    admit(session, township.id)
    present = now()
    row = next((row for row in public_rows(session, township, present) if row.page == token), None)
    if row is None:
        abort(404)
    html = render_template(
        "person.html", row=shown(row, present), group=row.work_group, slug=township.slug
    )
    return tell(Response(html), token)

"""The county auditor: chooses a township, reads all of it, changes nothing.

The account is above townships. For the length of a request it is shown to the views as one of the
township that its session looks at; the object is cut off from the database first, so that nothing
of this can be written.
"""

from __future__ import annotations

from flask import Blueprint, Flask, abort, g, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm.attributes import set_committed_value
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.models import LoginSession, Role, Township
from server.services.evidence import audit
from server.services.township import townships
from server.web import auth

blueprint = Blueprint("county", __name__)
READS = frozenset({Role.AUDITOR})
#: What an auditor may send: about the own account and session alone.
OWN = frozenset({
    "auth.login", "auth.logout", "auth.password", "second.code", "second.begin", "second.confirm",
    "second.recovery", "second.off", "account.end", "account.end_others", "county.choose",
})  # fmt: skip
_SAFE = ("GET", "HEAD", "OPTIONS")


def confine() -> None:
    """Before each request of an auditor: refuses what would change something, sets the scope."""
    user = auth.current()
    if user is None or user.role != Role.AUDITOR:
        return
    if request.method not in _SAFE and request.endpoint not in OWN:
        abort(403)
    session = db.session()
    row = session.get_one(LoginSession, auth.login_now())
    chosen = row.looks_at
    session.expunge_all()
    place = None if chosen is None else session.get(Township, chosen)
    if place is None:
        g.quxiang_unscoped = True
        return
    set_committed_value(user, "township_id", place.id)
    set_committed_value(user, "township", place)


def settled() -> bool:
    """Whether it is clear of which township this request is: not before an auditor chose one."""
    return not g.get("quxiang_unscoped")


@blueprint.get("/county")
@auth.needs(READS, before_second=True)
def page() -> str:
    """The townships of this server."""
    user = auth.user_now()
    return render_template(
        "county.html",
        townships=db.session().scalars(select(Township).order_by(Township.id)).all(),
        chosen=user.township_id if settled() else None,
    )


@blueprint.post("/county")
@auth.needs(READS, before_second=True)
def choose() -> Response:
    """Looks at a township from now on; its trail says so."""
    session, typed = db.session(), request.form.get("township", "")
    number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 19 else 0
    place = townships.of_number(session, number)
    if place is None:
        abort(404)
    session.get_one(LoginSession, auth.login_now()).looks_at = place.id
    user = auth.user_now()
    audit.note_for(session, place.id, user.name, "county_look", "", now(), auth.remote())
    session.commit()
    return redirect(url_for("supervise.day"), 303)


def register(app: Flask) -> None:
    """Adds the page, and the confinement behind the reading of the account."""
    app.register_blueprint(blueprint)
    app.before_request(confine)

"""Where an administrator gives tokens to other programs and takes them back."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from attendance.days import from_ms
from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Role
from server.services.access import tokens
from server.services.evidence import audit
from server.web import auth
from server.web.language import clock_words
from server.web.say import _l, gettext

GIVES = frozenset({Role.ADMIN})
SCOPE_WORDS = {
    "whereabouts": _l("Whereabouts"),
    "officials": _l("Officials"),
    "records": _l("Records"),
    "days": _l("Day sheets"),
    "findings": _l("Findings"),
}
STATE_WORDS = {"valid": _l("valid"), "expired": _l("expired"), "revoked": _l("revoked")}
USUAL_DAYS = 90

blueprint = Blueprint("tokens", __name__)


@blueprint.get("/tokens")
@auth.needs(GIVES)
def page() -> str:
    """All tokens, and the form for a new one."""
    return _page()


def _page(refused: str = "", fresh: str = "") -> str:
    return render_template(
        "tokens.html",
        tokens=tokens.listing(db.session(), auth.user_now().township),
        state=lambda row: tokens.state(row, now()),
        state_words=STATE_WORDS,
        scope_words=SCOPE_WORDS,
        when=lambda ms: clock_words(ms) if ms else "",
        day=lambda ms: from_ms(ms).date().isoformat(),
        most=tokens.MAX_DAYS,
        usual=USUAL_DAYS,
        refused=refused,
        fresh=fresh,
    )


@blueprint.post("/tokens")
@auth.needs(GIVES)
def make() -> str | tuple[str, int]:
    """Makes one and shows it, this once."""
    session, user, present = db.session(), auth.user_now(), now()
    text = request.form.get("days", "")
    try:
        days = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
        made = tokens.make(
            session, user.township, request.form.get("name", ""),
            request.form.getlist("scope"), days, user, present,
        )  # fmt: skip
    except NotAllowed:
        abort(403)
    except InputInvalid:
        session.rollback()
        why = gettext("Say which program it is for, what it may read, and for how many days.")
        return _page(why), 400
    audit.note(session, user, "make_token", f"{made.row.name}: {made.row.scopes}", present,
               auth.remote())  # fmt: skip
    session.commit()
    return _page(fresh=made.text)


@blueprint.post("/tokens/<int(max=9223372036854775807):number>/revoke")
@auth.needs(GIVES)
def revoke(number: int) -> Answer:
    """Ends one at once."""
    session, user = db.session(), auth.user_now()
    try:
        name = tokens.revoke(session, user.township, number, user, now())
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    audit.note(session, user, "revoke_token", name, now(), auth.remote())
    session.commit()
    flash(gettext("Revoked: %(name)s", name=name), "good")
    return redirect(url_for("tokens.page"), 303)

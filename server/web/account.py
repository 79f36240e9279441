"""The own page of whoever is signed in: where that is, and ending it elsewhere."""

from __future__ import annotations

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask import session as cookie
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.errors import NotFound
from server.models import LoginSession
from server.services.access import accounts, sessions
from server.services.evidence import audit
from server.web import account_words, auth
from server.web.say import gettext

blueprint = Blueprint("account", __name__)
Answer = Response | tuple[str, int]


@blueprint.get("/account")
@auth.needs(auth.STAFF)
def page() -> str:
    """The account, its password, where it is signed in."""
    return _page()


def _page(refused: str = "") -> str:
    session, user = db.session(), auth.user_now()
    return render_template(
        "account.html",
        sessions=sessions.listing(session, user, now()),
        here=auth.login_now(),
        second_on=accounts.has_second(session, user),
        refused=refused,
    )


def _refused() -> tuple[str, int] | None:
    """What to answer unless the present password came too: who found a browser that somebody left
    open does not sign the owner out. Wrong ones count as at signing in."""
    session, user = db.session(), auth.user_now()
    typed = request.form.get("current", "")
    if accounts.authenticate(session, user.name, typed, now(), auth.remote()):
        return None
    auth.note_failure(session, user.name, "end_session")
    session.commit()
    until = accounts.locked_until(session, user.name, now())
    if until is not None:
        return _page(auth.locked_words(until)), 429
    return _page(gettext("The present password is wrong.")), 403


@blueprint.post("/account/sessions/<int(max=9223372036854775807):number>/end")
@auth.needs(auth.STAFF)
def end(number: int) -> Answer:
    """Ends one of the own sessions, this one or another, against the password."""
    if (refused := _refused()) is not None:
        return refused
    session, user = db.session(), auth.user_now()
    try:
        row = sessions.end(session, user, number)
    except NotFound:
        abort(404)
    audit.note(session, user, "end_session", where(row), now(), auth.remote())
    session.commit()
    if number == auth.login_now():
        cookie.clear()
        g.pop("quxiang_user", None)
        return redirect(url_for("auth.login"), 303)
    flash(gettext("Signed out there."), "good")
    return redirect(url_for("account.page"), 303)


@blueprint.post("/account/sessions/end")
@auth.needs(auth.STAFF)
def end_others() -> Answer:
    """Ends every own session but this one, against the password."""
    if (refused := _refused()) is not None:
        return refused
    session, user = db.session(), auth.user_now()
    count = sessions.end_all(session, user, but=auth.login_now())
    audit.note(session, user, "end_sessions", str(count), now(), auth.remote())
    session.commit()
    flash(gettext("Signed out everywhere else."), "good")
    return redirect(url_for("account.page"), 303)


def where(row: LoginSession) -> str:
    """A session in the audit trail: from where, with what."""
    return " · ".join(part for part in (row.remote, row.agent) if part)


account_words.register()

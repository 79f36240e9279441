"""The administrator's page of accounts: who has one, with which role, signed in where."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, abort, flash, render_template, request, url_for
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import TOWNSHIP_ROLES, User
from server.services.access import accounts, sessions, staff
from server.services.access.permissions import Act
from server.services.evidence import audit
from server.web import account, auth, forms, ruling_words
from server.web.language import clock_words
from server.web.say import gettext

blueprint = Blueprint("staff", __name__)
MANAGES = auth.roles_of(Act.MANAGE_ACCOUNTS)


@blueprint.get("/accounts")
@auth.needs(MANAGES)
def page() -> str:
    """All accounts of the township, and the form for a new one."""
    return _page()


def _page(refused: str = "", fresh: tuple[str, str] | None = None) -> str:
    auth.note_redrawn("view_accounts")
    session, user = db.session(), auth.user_now()
    return render_template(
        "accounts.html",
        accounts=staff.listing(session, user.township, now()),
        roles=TOWNSHIP_ROLES,
        when=lambda ms: clock_words(ms) if ms else "",
        refused=refused,
        fresh=fresh,
        typed=request.form if refused else {},
    )


@blueprint.post("/accounts")
@auth.needs(MANAGES)
def add() -> str | tuple[str, int]:
    """Makes an account and shows its one-time password, this once."""
    session, by = db.session(), auth.user_now()
    name, role = forms.text_of("name"), forms.text_of("role")
    official = forms.text_of("official") or None
    try:
        user, password = staff.add(session, by.township, name, role, official, by, now())
    except NotAllowed:
        abort(403)
    except (InputInvalid, NotFound) as error:
        session.rollback()
        return _page(ruling_words.refusal_words(getattr(error, "key", "no_official"))), 400
    said = f"{user.name}: {user.role}" + (f" ({official})" if official else "")
    audit.note(session, by, "add_user", said, now(), auth.remote())
    session.commit()
    return _page(fresh=(user.name, password))


def _asked(number: int) -> User:
    try:
        return staff.one(db.session(), auth.user_now().township, number)
    except NotFound:
        abort(404)


@blueprint.get("/accounts/<int(max=9223372036854775807):number>")
@auth.needs(MANAGES)
def one(number: int) -> str:
    """One account: what can be done about it, and where it is signed in."""
    return _one(number)


def _one(number: int, fresh: str = "") -> str:
    auth.note_redrawn("view_account", _asked(number).name)
    session, by, user = db.session(), auth.user_now(), _asked(number)
    return render_template(
        "account_of.html",
        account=user,
        own=user.id == by.id or (user.official is not None and user.official == by.official),
        second_on=accounts.has_second(session, user),
        sessions=sessions.listing(session, user, now()),
        here=0,
        roles=TOWNSHIP_ROLES,
        fresh=fresh,
    )


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/role")
@auth.needs(MANAGES)
def role(number: int) -> Response:
    """Gives another role; the account signs in anew."""
    user, wanted = _asked(number), forms.text_of("role")

    def work() -> str:
        before = staff.set_role(db.session(), user, wanted, auth.user_now())
        return f"{user.name}: {before} → {wanted}"

    return _done("account_role", number, gettext("Changed."), work)


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/active")
@auth.needs(MANAGES)
def active(number: int) -> Response:
    """Takes an account out of force, or back."""
    user, on = _asked(number), forms.text_of("active") == "1"

    def work() -> str:
        staff.set_active(db.session(), user, on, auth.user_now())
        return user.name

    said = gettext("In force again.") if on else gettext("Out of force, and signed out.")
    return _done("account_on" if on else "account_off", number, said, work)


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/second")
@auth.needs(MANAGES)
def second_step(number: int) -> Response:
    """Takes the second step of a lost telephone away."""
    user = _asked(number)

    def work() -> str:
        staff.reset_second(db.session(), user, auth.user_now())
        return user.name

    return _done("account_second", number, gettext("The second step is reset."), work)


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/sessions/end")
@auth.needs(MANAGES)
def end_all(number: int) -> Response:
    """Signs the account out everywhere."""
    user = _asked(number)

    def work() -> str:
        return f"{user.name}: {staff.end_sessions(db.session(), user, auth.user_now())}"

    return _done("account_sign_out", number, gettext("Signed out everywhere."), work)


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/sessions"
                "/<int(max=9223372036854775807):which>/end")  # fmt: skip
@auth.needs(MANAGES)
def end_one(number: int, which: int) -> Response:
    """Signs the account out in one place."""
    user = _asked(number)

    def work() -> str:
        row = staff.end_session(db.session(), user, which, auth.user_now())
        return f"{user.name}: {account.where(row)}"

    return _done("account_sign_out", number, gettext("Signed out there."), work)


@blueprint.post("/accounts/<int(max=9223372036854775807):number>/password")
@auth.needs(MANAGES)
def password(number: int) -> str | tuple[str, int]:
    """Makes a one-time password and shows it, this once."""
    session, by, user = db.session(), auth.user_now(), _asked(number)
    try:
        fresh = staff.reset_password(session, user, by, now())
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        flash(ruling_words.refusal_words(error.key), "bad")
        return _one(number), 400
    audit.note(session, by, "account_password", user.name, now(), auth.remote())
    session.commit()
    return _one(number, fresh)


def _done(what: str, number: int, said: str, work: Callable[[], str]) -> Response:
    return forms.carried_out(what, url_for("staff.one", number=number), said, work)

"""Signing in and out, passwords, and who may open which page."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Blueprint, Flask, abort, flash, g, redirect, render_template, request, url_for
from flask import session as cookie
from werkzeug.wrappers import Response

from attendance.days import to_ms
from server import db
from server.context import context, now
from server.errors import InputInvalid
from server.models import Role, User
from server.services import accounts, audit
from server.services.permissions import MAY, Act
from server.web.language import clock_words
from server.web.say import gettext
from server.web.security import is_machine, safe_next

#: Who may see personal data: everybody with an account.
STAFF = MAY[Act.READ]
#: Who may enter leave; `services.leave.ask` has the last word.
ENTERS_LEAVE = frozenset({Role.ADMIN, Role.CLERK})
#: Who may read the audit trail.
TRAIL = MAY[Act.READ_TRAIL]
#: A session ends after a working day, milliseconds.
SESSION_MS = 12 * 3_600_000
#: Pages that are drawn again by POST when something in them was refused.
FORMS = ("auth.login", "auth.password", "leave.ask")


def roles_of(act: Act) -> frozenset[Role]:
    """The roles that may do it (`server.services.permissions`), for `needs`."""
    return MAY[act]


blueprint = Blueprint("auth", __name__)
P = ParamSpec("P")
R = TypeVar("R")


def current() -> User | None:
    """Who is signed in, as far as this request has asked."""
    found: User | None = g.get("quxiang_user")
    return found


def user_now() -> User:
    """Who is signed in; 403 where nobody is. For views behind `needs`."""
    user = current()
    if user is None:
        abort(403)
    return user


def load_user() -> None:
    """Reads the account of this request's cookie, where it is one of this server and still good."""
    if is_machine(request.path) or request.endpoint in ("static", "board.portrait", "board.events"):
        return
    number, stamp, at = cookie.get("uid"), cookie.get("stamp"), cookie.get("at")
    if not isinstance(number, int) or not isinstance(stamp, str) or not isinstance(at, int):
        return
    user = db.session().get(User, number)
    age = to_ms(now()) - at
    if (
        user is None
        or not user.active
        or not 0 <= age < SESSION_MS
        or not hmac.compare_digest(user.stamp, stamp)
    ):
        cookie.clear()
        return
    g.quxiang_user = user


def begin(user: User) -> None:
    """A new session for `user`; nothing of the one before is kept."""
    cookie.clear()
    cookie.update(uid=user.id, stamp=user.stamp, at=to_ms(now()))
    g.quxiang_user = user


def needs(roles: frozenset[Role]) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """A view for these roles: others get 403, strangers the login page."""

    def wrap(view: Callable[P, R]) -> Callable[P, R | Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            user = current()
            if user is None:
                back = request.full_path.rstrip("?") if request.method == "GET" else None
                return redirect(url_for("auth.login", next=back), 303)
            if user.must_change:
                return redirect(url_for("auth.password"), 303)
            if user.role not in roles:
                abort(403)
            return view(*args, **kwargs)

        return guarded

    return wrap


def note(what: str, target: str = "") -> None:
    """Notes in the audit trail, durably, that this request's user looks at something.

    Called before the looking: the note is a transaction of its own, which could not end while this
    request's reading session is open, so that is closed first.
    """
    user = user_now()
    db.close_session()
    with context().database.transaction() as session:
        audit.note(session, user, what, target, now(), remote())


def remote() -> str:
    """The address that asked."""
    return request.remote_addr or ""


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Signs in. An unknown name, a wrong password and a locked name get the same sentence."""
    target = safe_next(request.values.get("next"))
    if request.method == "GET":
        if current() is not None:
            return redirect(target or url_for("supervise.day"), 303)
        return render_template("login.html", next=target)
    name = request.form.get("name", "").strip()
    session = db.session()
    user = accounts.authenticate(session, name, request.form.get("password", ""), now(), remote())
    until = None if user else accounts.locked_until(session, name, now())
    if user is not None:
        audit.note(session, user, "login", "", now(), remote())
    session.commit()
    if user is None:
        if until is None:
            refused, status = gettext("Account or password is wrong."), 403
        else:
            at = clock_words(to_ms(until) + 59_999, None)
            refused = gettext(
                "Too many wrong attempts. This account is locked until %(at)s.", at=at
            )
            status = 429
        page = render_template("login.html", next=target, name=name[:64], refused=refused)
        return page, status
    begin(user)
    if user.must_change:
        return redirect(url_for("auth.password"), 303)
    return redirect(target or url_for("supervise.day"), 303)


@blueprint.post("/logout")
def logout() -> Response:
    """Ends the session."""
    user = current()
    if user is not None:
        audit.note(db.session(), user, "logout", "", now(), remote())
        db.session().commit()
    cookie.clear()
    return redirect("/", 303)


@blueprint.route("/password", methods=["GET", "POST"])
def password() -> str | Response | tuple[str, int]:
    """Changes the own password; every other session of the account ends."""
    user = current()
    if user is None:
        return redirect(url_for("auth.login", next=url_for("auth.password")), 303)
    if request.method == "GET":
        return render_template("password.html", minimum=accounts.MIN_PASSWORD)
    session = db.session()
    new = request.form.get("new", "")
    refused = ""
    if not accounts.authenticate(
        session, user.name, request.form.get("current", ""), now(), remote()
    ):
        refused = gettext("The present password is wrong.")
        session.commit()  # the failure counts
    elif not hmac.compare_digest(new.encode(), request.form.get("again", "").encode()):
        refused = gettext("The two new passwords differ.")
    else:
        try:
            accounts.change_password(session, user, new)
        except InputInvalid as error:
            refused = _why(error)
    if refused:
        page = render_template("password.html", minimum=accounts.MIN_PASSWORD, refused=refused)
        return page, 400
    audit.note(session, user, "change_password", "", now(), remote())
    session.commit()
    begin(user)
    flash(gettext("The password is changed."), "good")
    return redirect(url_for("supervise.day"), 303)


def _why(error: InputInvalid) -> str:
    if error.key == "password_same":
        return gettext("The new password is the old one.")
    return gettext(
        "A password has %(low)s to %(high)s characters.",
        low=accounts.MIN_PASSWORD,
        high=accounts.MAX_PASSWORD,
    )


def register(app: Flask) -> None:
    """Adds the pages and reads the account before each request."""
    app.register_blueprint(blueprint)
    app.before_request(load_user)

"""Signing in and out, passwords, and who may open which page."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Blueprint, Flask, abort, flash, g, redirect, render_template, request, url_for
from flask import session as cookie
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from attendance.days import day_of, to_ms
from server import db, logs
from server.context import context, now
from server.errors import InputInvalid
from server.models import Role, User
from server.services.access import accounts, limits, passwords, second, sessions
from server.services.access.permissions import MAY, Act
from server.services.evidence import audit
from server.web.language import clock_words, short_day
from server.web.say import gettext
from server.web.security import is_machine, safe_next

#: Who may see personal data: everybody with an account.
STAFF = MAY[Act.READ]
#: Who may read the audit trail.
TRAIL = MAY[Act.READ_TRAIL]
#: What the cookie's token is called.
COOKIE_FIELD = "sid"
#: Wrong passwords and codes of one address, whatever the name, and in how many seconds: a whole
#: office may share the address, somebody who tries one password with many names gets nowhere.
MISSES, MISS_SECONDS = 60, 600
#: Refused pages of one account that stand in the trail, and in how many seconds.
REFUSALS, REFUSAL_SECONDS = 20, 3600
#: Pages that are drawn again by POST when something in them was refused.
FORMS = ("auth.login", "auth.password", "leave.ask", "second.code")


def roles_of(act: Act) -> frozenset[Role]:
    """The roles that may do it (`server.services.access.permissions`), for `needs`."""
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
    token = cookie.get(COOKIE_FIELD)
    if not isinstance(token, str):
        return
    row = sessions.find(db.session(), token, now())
    if row is None:
        cookie.clear()
        return
    g.quxiang_login, g.quxiang_stage = row.id, row.stage
    if row.stage == sessions.WAITING:
        g.quxiang_waiting = row.user
        return
    g.quxiang_user = row.user
    if not sessions.seen_again(row, now(), remote()):
        return
    if request.method in ("GET", "HEAD", "OPTIONS"):
        db.close_session()  # as for `note`
        with context().database.transaction() as session:
            sessions.note_seen(session, row, now(), remote())
    else:
        sessions.note_seen(db.session(), row, now(), remote())
        db.session().commit()


def login_now() -> int:
    """The number of this request's session; 403 where nobody is signed in."""
    found: int | None = g.get("quxiang_login")
    if found is None:
        abort(403)
    return found


def waiting() -> User | None:
    """Whose password was right and whose code is still to come."""
    found: User | None = g.get("quxiang_waiting")
    return found


def begin(session: Session, user: User, stage: str = sessions.PASSWORD) -> None:
    """A new session for `user`, committed; nothing of the one before is kept."""
    before: int | None = g.pop("quxiang_login", None)
    if before is not None:
        sessions.drop(session, before)
    token = sessions.begin(session, user, now(), remote(), request.user_agent.string, stage)
    session.commit()
    cookie.clear()
    cookie[COOKIE_FIELD] = token
    g.pop("quxiang_waiting", None)
    if stage != sessions.WAITING:
        g.quxiang_user = user


def needs(
    roles: frozenset[Role], *, before_second: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """A view for these roles: others get 403, strangers the login page.

    Whoever still has a password to change or a second step to set up is sent there first, the
    latter but for pages that are `before_second`.
    """

    def wrap(view: Callable[P, R]) -> Callable[P, R | Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            user = current()
            if user is None:
                back = request.full_path.rstrip("?") if request.method == "GET" else None
                return redirect(url_for("auth.login", next=back), 303)
            if user.must_change:
                return redirect(url_for("auth.password"), 303)
            if not before_second and owes_second(user):
                return redirect(url_for("second.page"), 303)
            if g.get("quxiang_unscoped") and not before_second:
                return redirect(url_for("county.page"), 303)
            if user.role not in roles:
                note_refused(user)
                abort(403)
            return view(*args, **kwargs)

        return guarded

    return wrap


def owes_second(user: User) -> bool:
    """Whether this session may go on only after a second step was set up."""
    if g.get("quxiang_stage") == sessions.CODE:
        return False
    return second.overdue(db.session(), user, now())


def note(what: str, target: str = "") -> None:
    """Notes in the audit trail, durably, that this request's user looks at something.

    Called before the looking: the note is a transaction of its own, which could not end while this
    request's reading session is open, so that is closed first.
    """
    user = user_now()
    db.close_session()
    with context().database.transaction() as session:
        audit.note(session, user, what, target, now(), remote())


def note_redrawn(what: str, target: str = "") -> None:
    """The same where a form's answer is a page that names people: what the form left of its session
    is dropped, so commit before what is to stay, and the account is read anew."""
    db.close_session()
    load_user()
    note(what, target)


def note_refused(user: User) -> None:
    """Notes in the trail that a page was not for this account: some of them, not thousands."""
    who = f"refused:{user.id}"
    if not limits.allow(context().config.data, who, REFUSALS, REFUSAL_SECONDS, now()):
        return
    db.close_session()  # as for `note`; what it held is dropped
    with context().database.transaction() as session:
        said = f"{request.method} {request.path}"
        audit.note(session, user, "refused", said, now(), remote())


def remote() -> str:
    """The address that asked."""
    return request.remote_addr or ""


def too_many_misses() -> bool:
    """Whether this address was wrong too often, at any worker, with whatever names."""
    where = f"login:{limits.place(remote())}"
    return limits.used_up(context().config.data, where, MISSES, MISS_SECONDS, now())


def address_words() -> str:
    """What whoever asks from such an address is told."""
    return gettext("Too many wrong attempts from this address. Try again in ten minutes.")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Signs in. An unknown name, a wrong password and a locked name get the same sentence."""
    target = safe_next(request.values.get("next"))
    if request.method == "GET":
        if current() is not None:
            return redirect(target or url_for("supervise.day"), 303)
        return render_template("login.html", next=target)
    name = request.form.get("name", "").strip()
    if too_many_misses():  # before a hash is computed
        logs.refused("rate")
        page = render_template("login.html", next=target, name=name[:64], refused=address_words())
        return page, 429
    session = db.session()
    user = accounts.authenticate(session, name, request.form.get("password", ""), now(), remote())
    until = None if user else accounts.locked_until(session, name, now())
    if user is None:
        note_failure(session, name)
        session.commit()  # the failure counts
        refused, status = gettext("Account or password is wrong."), 403
        if until is not None:
            refused, status = locked_words(until), 429
        page = render_template("login.html", next=target, name=name[:64], refused=refused)
        return page, status
    if accounts.ran_out(user, now()):
        session.commit()
        refused = gettext(
            "This one-time password has run out. Ask the administrator for another one."
        )
        return render_template("login.html", next=target, name=name[:64], refused=refused), 403
    if accounts.has_second(session, user):
        begin(session, user, sessions.WAITING)
        return redirect(url_for("second.code", next=target), 303)
    return signed_in(session, user, target)


def signed_in(session: Session, user: User, target: str | None, how: str = "") -> Response:
    """Begins the session of somebody who proved who they are, and leads them on.

    `how` is what the trail says beside: with a code, with a recovery code.
    """
    audit.note(session, user, "login", how, now(), remote())
    begin(session, user, sessions.CODE if how else sessions.PASSWORD)
    if user.must_change:
        return redirect(url_for("auth.password"), 303)
    if not how:
        day = second.required_from(session, user, now())
        if day is not None and day > day_of(to_ms(now())):
            said = gettext("From %(day)s on you sign in with a code as well: see My account.",
                           day=short_day(day))  # fmt: skip
            flash(said, "warn")
    return redirect(target or url_for("supervise.day"), 303)


def locked_words(until: datetime) -> str:
    """Until when an account is locked."""
    at = clock_words(to_ms(until) + 59_999, None)
    return gettext("Too many wrong attempts. This account is locked until %(at)s.", at=at)


def note_failure(session: Session, name: str, what: str = "") -> None:
    """A try at an account that exists stands in its township's trail; the lock bounds how many."""
    logs.refused("login")
    where = f"login:{limits.place(remote())}"
    limits.allow(context().config.data, where, MISSES, MISS_SECONDS, now())
    known = accounts.named(session, name)
    if known is not None and accounts.locked_until(session, name, now()) is None:
        audit.note_for(session, known.township_id, name, "login_failed", what, now(), remote())


@blueprint.post("/logout")
def logout() -> Response:
    """Ends the session."""
    user = current()
    if user is not None:
        audit.note(db.session(), user, "logout", "", now(), remote())
        sessions.drop(db.session(), login_now())
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
        return render_template("password.html", minimum=passwords.MIN_PASSWORD)
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
        user = session.get_one(User, user.id)  # an auditor's is cut off (`web.county`)
        try:
            accounts.change_password(session, user, new, context().config.breached)
        except InputInvalid as error:
            refused = _why(error)
    if refused:
        page = render_template("password.html", minimum=passwords.MIN_PASSWORD, refused=refused)
        return page, 400
    audit.note(session, user, "change_password", "", now(), remote())
    stage: str = g.get("quxiang_stage", sessions.PASSWORD)
    sessions.end_all(session, user)
    begin(session, user, stage)
    flash(gettext("The password is changed."), "good")
    return redirect(url_for("supervise.day"), 303)


def _why(error: InputInvalid) -> str:
    if error.key == "password_same":
        return gettext("The new password is the old one.")
    if error.key == "password_easy":
        return gettext(
            "Too easy to guess: beside the names of account and township, frequent words and runs "
            "of keys a password has five different characters at least."
        )
    if error.key == "password_frequent":
        return gettext("Made up of passwords, words or dates that many people use: soon guessed.")
    if error.key == "password_stolen":
        return gettext("This password stands in the list of stolen ones. Choose another.")
    return gettext(
        "A password has %(low)s to %(high)s characters.",
        low=passwords.MIN_PASSWORD,
        high=passwords.MAX_PASSWORD,
    )


def register(app: Flask) -> None:
    """Adds the pages and reads the account before each request."""
    app.register_blueprint(blueprint)
    app.before_request(load_user)

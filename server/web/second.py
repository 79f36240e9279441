"""The second step: its code at sign-in, setting it up, recovery codes."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from attendance.days import day_of, to_ms
from server import db, logs
from server.context import context, now
from server.errors import InputInvalid, NotAllowed
from server.models import SecondFactor
from server.services.access import accounts, second, sessions
from server.services.evidence import audit
from server.web import auth
from server.web.language import clock_words
from server.web.say import gettext
from server.web.security import safe_next

blueprint = Blueprint("second", __name__)
Page = str | Response | tuple[str, int]


@blueprint.route("/login/code", methods=["GET", "POST"])
def code() -> Page:
    """Takes the code after the password. A wrong one counts as a wrong password does."""
    target, user = safe_next(request.values.get("next")), auth.waiting()
    if user is None:
        return redirect(url_for("auth.login", next=target), 303)
    if request.method == "GET":
        return render_template("login_code.html", next=target)
    if auth.too_many_misses():
        logs.refused("rate")
        page = render_template("login_code.html", next=target, refused=auth.address_words())
        return page, 429
    session, typed = db.session(), _typed()
    before = second.recovery_left(session, user)
    if not second.check(session, user, typed, context().keys, now()):
        refused, status = _refused(user.name)
        return render_template("login_code.html", next=target, refused=refused), status
    left = second.recovery_left(session, user)
    if left == before:
        return auth.signed_in(session, user, target, "code")
    flash(gettext("That recovery code is used up. Recovery codes left: %(n)s.", n=left), "warn")
    return auth.signed_in(session, user, target, f"recovery code, {left} left")


def _typed() -> str:
    return request.form.get("code", "").strip() or request.form.get("recovery", "").strip()


def _refused(name: str) -> tuple[str, int]:
    """Why a code was not taken, in words and as a status; what was counted is committed."""
    session = db.session()
    until = accounts.locked_until(session, name, now())
    auth.note_failure(session, name, "code")
    session.commit()
    if until is not None:
        return auth.locked_words(until), 429
    return gettext("The code is wrong, or was used already. Wait for the next one."), 403


@blueprint.get("/account/second")
@auth.needs(auth.STAFF, before_second=True)
def page() -> str:
    """Whether there is a second step, and what can be done about it."""
    return _page()


def _page(refused: str = "", recovery: list[str] | None = None) -> str:
    session, user, keys = db.session(), auth.user_now(), context().keys
    row = session.get(SecondFactor, user.id)
    secret = second.fresh_secret(session, user, keys, now())
    day = second.required_from(session, user, now())
    return render_template(
        "second.html",
        since=clock_words(row.since_ms) if row is not None and row.since_ms else "",
        secret=[secret[i : i + 4] for i in range(0, len(secret), 4)] if secret else [],
        picture=Markup(second.picture(second.address(user, secret))) if secret else "",  # noqa: S704  # nosec B704 # drawn by segno
        left=second.recovery_left(session, user),
        required=day,
        owed=day is not None and day <= day_of(to_ms(now())),
        refused=refused,
        recovery=recovery or [],
    )


@blueprint.post("/account/second/begin")
@auth.needs(auth.STAFF, before_second=True)
def begin() -> Page:
    """Makes a fresh secret and shows it; where one is in force, only against its code."""
    session, user = db.session(), auth.user_now()
    if accounts.has_second(session, user) and not second.check(
        session, user, _typed(), context().keys, now()
    ):
        refused, status = _refused(user.name)
        return _page(refused), status
    second.prepare(session, user, context().keys, now())
    session.commit()
    return redirect(url_for("second.page"), 303)


@blueprint.post("/account/second/confirm")
@auth.needs(auth.STAFF, before_second=True)
def confirm() -> Page:
    """Puts the fresh secret in force and shows the recovery codes, this once."""
    session, user = db.session(), auth.user_now()
    try:
        recovery = second.confirm(session, user, _typed(), context().keys, now())
    except InputInvalid:
        refused, status = _refused(user.name)
        return _page(refused), status
    audit.note(session, user, "second_set", "", now(), auth.remote())
    sessions.end_all(session, user)
    auth.begin(session, user, sessions.CODE)
    return _page(recovery=recovery)


@blueprint.post("/account/second/recovery")
@auth.needs(auth.STAFF)
def recovery() -> Page:
    """Makes other recovery codes, against a code, and shows them this once."""
    session, user = db.session(), auth.user_now()
    if not accounts.has_second(session, user):
        abort(404)
    if not second.check(session, user, _typed(), context().keys, now()):
        refused, status = _refused(user.name)
        return _page(refused), status
    made = second.new_recovery(session, user, context().keys)
    audit.note(session, user, "second_recovery", "", now(), auth.remote())
    session.commit()
    return _page(recovery=made)


@blueprint.post("/account/second/off")
@auth.needs(auth.STAFF)
def off() -> Page:
    """Takes the own second step away, against a code, where the township allows that."""
    session, user = db.session(), auth.user_now()
    try:
        second.switch_off(session, user, _typed(), context().keys, now())
    except NotAllowed:
        abort(403)
    except InputInvalid:
        refused, status = _refused(user.name)
        return _page(refused), status
    audit.note(session, user, "second_off", "", now(), auth.remote())
    sessions.end_all(session, user)
    auth.begin(session, user)
    flash(gettext("The second step is switched off."), "good")
    return redirect(url_for("account.page"), 303)

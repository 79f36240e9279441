"""Where an administrator or a leader says to which programs the server sends what happens."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from server import db
from server.context import context, now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Webhook
from server.services.access import limits
from server.services.evidence import audit
from server.services.programs import delivery, webhooks
from server.web import auth
from server.web.language import clock_words
from server.web.say import _l, gettext

TOPIC_WORDS = {"records": _l("Check-ins"), "findings": _l("Findings")}
SENT_WORDS = {**TOPIC_WORDS, "steps": _l("Steps of findings"), "test": _l("Test")}
STATE_WORDS = {"works": _l("works"), "failing": _l("failing"), "stopped": _l("stopped")}
TROUBLE_WORDS = {
    "name": _l("no such host"),
    "refused": _l("this address is not allowed"),
    "plain": _l("public addresses need https"),
    "connect": _l("no connection"),
    "tls": _l("its certificate is not trusted"),
    "timeout": _l("took too long"),
    "redirect": _l("answered with a redirect"),
    "status": _l("refused it"),
    "answer": _l("no proper answer"),
    "secret": _l("the secret cannot be read: make a new one"),
}
REFUSALS = {
    "name": _l("Say which program it is for."),
    "topics": _l("Choose what is sent."),
    "url": _l("The address is written like https://HOST/PATH, without a name or password in it."),
    "many": _l("These are as many as there can be: remove one first."),
}
#: Trials of one account in a minute: each holds a page's thread for ten seconds at the worst.
TRIALS = 6

blueprint = Blueprint("webhooks", __name__)
_NUMBER = "/webhooks/<int(max=9223372036854775807):number>"


@blueprint.get("/webhooks")
@auth.needs(webhooks.MAKERS)
def page() -> str:
    """All webhooks with their last deliveries, and the form for a new one."""
    return _page()


def _page(refused: str = "", fresh: str = "") -> str:
    session, township = db.session(), auth.user_now().township
    rows = webhooks.listing(session, township)
    return render_template(
        "webhooks.html",
        hooks=[(row, webhooks.state(row), webhooks.deliveries(session, township, row.id))
               for row in rows],
        state_words=STATE_WORDS,
        topic_words=TOPIC_WORDS,
        sent_words=SENT_WORDS,
        trouble_words=TROUBLE_WORDS,
        networks=[str(network) for network in context().config.webhook_networks],
        when=lambda ms: clock_words(ms) if ms else "",
        refused=refused,
        fresh=fresh,
    )  # fmt: skip


@blueprint.post("/webhooks")
@auth.needs(webhooks.MAKERS)
def make() -> str | tuple[str, int]:
    """Makes one and shows its secret, this once."""
    session, user = db.session(), auth.user_now()
    try:
        made = webhooks.make(
            session, user.township, request.form.get("name", ""), request.form.get("url", ""),
            request.form.getlist("topic"), user, now(), context().keys.secret,
        )  # fmt: skip
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        return _page(str(REFUSALS[error.key])), 400
    _note("make_webhook", made.row, made.row.topics)
    session.commit()
    return _page(fresh=made.text)


@blueprint.post(f"{_NUMBER}/secret")
@auth.needs(webhooks.MAKERS)
def renew(number: int) -> str:
    """Another secret, shown this once."""
    session, user = db.session(), auth.user_now()
    try:
        made = webhooks.renew(session, user.township, number, user, context().keys.secret)
    except NotFound:
        abort(404)
    _note("renew_webhook", made.row)
    session.commit()
    return _page(fresh=made.text)


@blueprint.post(f"{_NUMBER}/resume")
@auth.needs(webhooks.MAKERS)
def resume(number: int) -> Answer:
    """Goes on from where it stopped."""
    session, user = db.session(), auth.user_now()
    try:
        row = webhooks.resume(session, user.township, number, user)
    except NotFound:
        abort(404)
    _note("resume_webhook", row)
    session.commit()
    return _back(gettext("Tried again at once: %(name)s", name=row.name))


@blueprint.post(f"{_NUMBER}/remove")
@auth.needs(webhooks.MAKERS)
def remove(number: int) -> Answer:
    """Ends one."""
    session, user = db.session(), auth.user_now()
    try:
        row = webhooks.one(session, user.township, number, user)
        _note("remove_webhook", row)
        name = webhooks.remove(session, user.township, number, user)
    except NotFound:
        abort(404)
    session.commit()
    return _back(gettext("Removed: %(name)s", name=name))


@blueprint.post(f"{_NUMBER}/test")
@auth.needs(webhooks.MAKERS)
def test(number: int) -> Answer:
    """Sends an empty message now and says what came of it."""
    session, user, here = db.session(), auth.user_now(), context()
    if not limits.allow(here.config.data, f"webhook:{user.id}", TRIALS, 60, now()):
        abort(429)
    try:
        row = webhooks.one(session, user.township, number, user)
    except NotFound:
        abort(404)
    parcel = delivery.trial(row, user.township, now())
    _note("test_webhook", row)
    session.commit()
    db.close_session()  # nobody waits for the database while the receiver thinks
    outcome = delivery.send(parcel, here.keys.secret, here.config.webhook_networks, now())
    delivery.note(db.session(), parcel, outcome, now(), 0.5)
    db.session().commit()
    if outcome.ok:
        return _back(gettext("The test was taken: %(status)d", status=outcome.status or 0))
    why = str(TROUBLE_WORDS[outcome.trouble])
    if outcome.status is not None:
        why += f" ({outcome.status})"
    return _back(gettext("The test failed: %(why)s", why=why), "bad")


def _note(what: str, row: Webhook, more: str = "") -> None:
    # The host alone: a path or a query may be what lets one in there.
    target = f"{row.name} → {urlsplit(row.url).hostname} {more}".rstrip()
    audit.note(db.session(), auth.user_now(), what, target, now(), auth.remote())


def _back(message: str, kind: str = "good") -> Answer:
    flash(message, kind)
    return redirect(url_for("webhooks.page"), 303)

"""The duty notice (当日接访), its roster, and the visits that the receptionists log."""

from __future__ import annotations

from datetime import date, timedelta

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from attendance.days import day_of
from server import db
from server.context import context, now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Role
from server.services.access import limits
from server.services.evidence import audit
from server.services.public import duty, visits
from server.services.public.publication import publication
from server.services.township.townships import officials
from server.web import auth
from server.web.board import find
from server.web.language import clock_words, short_day
from server.web.picks import date_asked, today
from server.web.say import _l, gettext

#: Who keeps the roster and logs visits.
RECEIVES = frozenset({Role.CLERK, Role.LEADER, Role.ADMIN})
POST_WORDS = {
    "leader": _l("Leader on duty"),
    "first": _l("First receptionist"),
    "second": _l("Second receptionist"),
}
STATE_WORDS = {
    "open": _l("received"),
    "working": _l("being looked into"),
    "passed_on": _l("passed on to whoever is responsible"),
    "done": _l("done"),
}
#: Numbers that one address may ask for, and in how many seconds.
ASKS, ASK_SECONDS = 20, 600

blueprint = Blueprint("duty", __name__)


@blueprint.get("/duty")
@blueprint.get("/t/<slug>/duty", endpoint="notice")
def notice(slug: str | None = None) -> Response:
    """Who receives visitors today, and what became of a visit whose number is given."""
    township = find(slug)
    session, present = db.session(), now()
    number, answer, refused = request.args.get("number", "").strip()[:40], None, ""
    status = 200
    if number:
        who = f"visit:{limits.place(auth.remote())}"
        if not limits.allow(context().config.data, who, ASKS, ASK_SECONDS, present):
            refused = gettext("Too many questions. Try again in ten minutes.")
            status = 429
        else:
            answer = visits.ask(session, township, number, present)
            if answer is None:
                refused = gettext("There is no visit with this number. Check it on your slip.")
    fields = publication(session, township.id).fields
    html = render_template(
        "duty.html",
        posts=duty.on_duty(session, township, today()),
        post_words=POST_WORDS,
        state_words=STATE_WORDS,
        fields=fields,
        today=today(),
        number=number,
        answer=answer,
        refused=refused,
        short_day=short_day,
        here=request.path,
    )
    response = Response(html, status)
    response.headers["Cache-Control"] = "no-cache" if not number else "no-store"
    return response


@blueprint.get("/duty/roster")
@auth.needs(auth.STAFF)
def roster() -> str:
    """Two weeks of the duty roster."""
    first = date_asked("first", today())
    days = duty.span(first)
    auth.note("view_duty", first.isoformat())
    session, user = db.session(), auth.user_now()
    return render_template(
        "duty_roster.html",
        days=days,
        held=duty.duties(session, user.township, days[0], days[-1]),
        people=[p for p in officials(session, user.township) if p.active],
        posts=duty.POSTS,
        post_words=POST_WORDS,
        may=user.role in RECEIVES,
        before=first - timedelta(duty.SPAN),
        after=first + timedelta(duty.SPAN),
        today=today(),
    )


@blueprint.post("/duty/roster")
@auth.needs(RECEIVES)
def assign() -> Answer:
    """Writes one day of the roster."""
    try:
        day = date.fromisoformat(request.form.get("day", ""))
    except ValueError:
        abort(400)
    posts = {post: request.form.get(post, "")[:32] or None for post in duty.POSTS}
    session, user = db.session(), auth.user_now()
    try:
        changed = duty.assign(session, user.township, day, posts, user, now())
    except InputInvalid:
        flash(gettext("Nobody holds two posts on one day."), "bad")
        return redirect(url_for("duty.roster", first=request.form.get("first") or None), 303)
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    if changed:
        said = " ".join(f"{post}={code or '-'}" for post, code in posts.items())
        audit.note(session, user, "duty_roster", f"{day} {said}", now(), auth.remote())
    session.commit()
    flash(gettext("Saved: %(day)s.", day=short_day(day)), "good")
    return redirect(url_for("duty.roster", first=request.form.get("first") or None), 303)


@blueprint.get("/visits")
@auth.needs(auth.STAFF)
def log() -> str:
    """The visits, newest first, and the form for a new one."""
    auth.note("view_visits")
    return _visits(step=request.args.get("step", 0, type=int))


def _visits(
    refused: str = "",
    typed: dict[str, str] | None = None,
    step: int = 0,
    given: dict[str, str] | None = None,
) -> str:
    """The page; `step` is the visit whose form is open: each holds everybody's name."""
    session, user = db.session(), auth.user_now()
    return render_template(
        "visits.html",
        visits=visits.received(session, user.township),
        people=[p for p in officials(session, user.township) if p.active],
        may=user.role in RECEIVES,
        state_words=STATE_WORDS,
        states=visits.STATES,
        today=today(),
        usual=today() + timedelta(visits.USUAL_DAYS),
        latest=today() + timedelta(visits.MAX_DAYS),
        day_of=day_of,
        clock_words=clock_words,
        short_day=lambda text: short_day(date.fromisoformat(text)),
        refused=refused,
        typed=typed or {},
        step=step,
        given=given or {},
    )


@blueprint.post("/visits")
@auth.needs(RECEIVES)
def receive() -> Answer | tuple[str, int]:
    """Logs a visit and shows the number for the visitor's slip."""
    typed = {name: request.form.get(name, "")[:1000] for name in ("visitor", "phone", "matter")}
    session, user, present = db.session(), auth.user_now(), now()
    try:
        due = request.form.get("due", "")
        made = visits.log_visit(
            session,
            user.township,
            typed["visitor"],
            typed["phone"],
            typed["matter"],
            date.fromisoformat(due) if due else None,
            user,
            present,
        )
    except NotAllowed:
        abort(403)
    except (InputInvalid, ValueError):
        why = gettext("Give the visitor's name, the matter, and a deadline within half a year.")
        auth.note_redrawn("view_visits")
        return _visits(why, typed), 400
    audit.note(session, user, "log_visit", made.number, present, auth.remote())
    session.commit()
    flash(gettext("Logged. Number for the visitor: %(number)s", number=made.number), "good")
    return redirect(url_for("duty.log"), 303)


@blueprint.post("/visits/<int(max=9223372036854775807):visit_id>")
@auth.needs(RECEIVES)
def proceed(visit_id: int) -> Answer | tuple[str, int]:
    """Notes what was done about a visit."""
    session, user, present = db.session(), auth.user_now(), now()
    given = {name: request.form.get(name, "")[:1000] for name in ("state", "answer", "note")}
    try:
        visits.step(
            session,
            user.township,
            visit_id,
            given["state"],
            request.form.get("official", "")[:32] or None,
            given["answer"],
            given["note"],
            user,
            present,
        )
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        if error.key != "answer":
            abort(400)
        why = gettext("What is done needs an outcome that the visitor may read.")
        given["official"] = request.form.get("official", "")[:32]
        auth.note_redrawn("view_visits")
        return _visits(why, step=visit_id, given=given), 400
    audit.note(session, user, "visit_step", f"{visit_id} {given['state']}", present, auth.remote())
    session.commit()
    flash(gettext("Noted."), "good")
    return redirect(url_for("duty.log"), 303)

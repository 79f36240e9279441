"""Corrections: proposed with a reason and an attachment, decided by another person."""

from __future__ import annotations

import re
from datetime import date

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.rules.corrections import KINDS, OF_RECORDS
from server.services.access.permissions import Act, may
from server.services.evidence import audit
from server.services.paired import reenrolments
from server.services.rulings import attachments, corrections
from server.services.rulings.corrections import Draft, Ruled
from server.services.sheets import daysheet
from server.services.township.townships import officials, sites
from server.web import auth, forms, ruling_words, security, sheets
from server.web.language import clock_words, short_day
from server.web.picks import PAGE, date_asked, page_asked, pages_of, today
from server.web.say import gettext

blueprint = Blueprint("corrections", __name__)
security.UPLOADS["corrections.propose"] = attachments.MAX_BYTES + security.MAX_FORM


def what_words(one: Ruled) -> str:
    """What a correction says, in one line."""
    parts = [ruling_words.correction_word(one.kind)]
    if one.site:
        parts.append(one.site)
    if one.start_ms is not None:
        parts.append(clock_words(one.start_ms, one.day))
    if one.end_ms is not None:
        parts.append(f"–{clock_words(one.end_ms, one.day)}")
    if one.really and one.undoes is None:
        parts.append(gettext("is really %(who)s", who=one.really))
    if one.undoes is not None:
        parts.append(f"№ {one.undoes}")
    return " · ".join(parts)


@blueprint.get("/corrections")
@auth.needs(auth.STAFF)
def page() -> str:
    """Corrections, newest first, of a state or all."""
    state = request.args.get("state", "")
    if state not in ("", *ruling_words.CORRECTION_STATES):
        abort(400)
    auth.note("view_corrections", state)
    user, session, page = auth.user_now(), db.session(), page_asked()
    return render_template(
        "corrections.html",
        listed=corrections.listing(
            session, user.township, state, limit=PAGE, first=(page - 1) * PAGE
        ),
        page=page,
        pages=pages_of(corrections.number(session, user.township, state)),
        page_link=lambda n: url_for("corrections.page", state=state or None, page=n),
        state=state,
        states=list(ruling_words.CORRECTION_STATES),
        state_word=ruling_words.correction_state_word,
        what_words=what_words,
        may_decide=lambda one: decidable(one),
        may_propose=may(user, Act.PROPOSE),
    )


def decidable(one: Ruled) -> bool:
    """Whether this request's user may decide about it; the service has the last word."""
    user = auth.user_now()
    own = user.official is not None and user.official in (
        one.official, one.really, one.by_official,
    )  # fmt: skip
    return one.state == "proposed" and may(user, Act.DECIDE) and not own and user.name != one.by


def _form(official: str, day: date, typed: dict[str, str], refused: str = "") -> str:
    user, session = auth.user_now(), db.session()
    try:
        history = daysheet.official_history(session, user.township, official, day, day, now())
    except NotFound:
        abort(404)
    row = history.days[0].row
    return render_template(
        "correct.html",
        history=history,
        row=row,
        day=day,
        typed=typed,
        refused=refused,
        kinds=[k for k in KINDS if k != "undo"],
        of_records=OF_RECORDS,
        kind_word=ruling_words.correction_word,
        sites=[s.name for s in sites(session, user.township)],
        people=[p for p in officials(session, user.township) if p.official != official],
        past=corrections.listing(session, user.township, official=official, day=day),
        what_words=what_words,
        state_word=ruling_words.correction_state_word,
        decidable=decidable,
        may_propose=may(user, Act.PROPOSE) and user.official != official,
        sheets=sheets,
        again=reenrolments.asked(session, user.township, official, both=True),
        megabytes=attachments.MAX_BYTES >> 20,
    )


@blueprint.get("/corrections/<code>")
@auth.needs(auth.STAFF)
def one_day(code: str) -> str:
    """One official's day: the records, what was decided about them, and the form to propose."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", code):
        abort(404)
    day = date_asked("date", today())
    auth.note("view_day_of", f"{code} {day.isoformat()}")
    typed = {k: request.args.get(k, "") for k in ("kind", "record_id")}
    return _form(code, day, typed)


@blueprint.post("/corrections/<code>")
@auth.needs(frozenset(auth.roles_of(Act.PROPOSE)))
def propose(code: str) -> Answer | tuple[str, int]:
    """Proposes; what was refused is said, with what was typed kept."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", code):
        abort(404)
    day = date_asked("date", today())
    user, session = auth.user_now(), db.session()
    typed = {
        k: request.form.get(k, "").strip()[:500]
        for k in ("kind", "record_id", "site", "start", "end", "really", "reason", "undoes")
    }
    try:
        undoes = int(typed["undoes"]) if typed["undoes"] else None
        draft = Draft(
            code, day, typed["kind"], typed["reason"], typed["record_id"] or None, typed["site"],
            forms.moment(day, typed["start"]), forms.moment(day, typed["end"]),
            typed["really"] or None, undoes,
        )  # fmt: skip
        made = corrections.propose(session, user.township, draft, user, now(), forms.attached())
    except NotAllowed as error:
        if not error.key:
            abort(403)
        session.rollback()
        back = url_for("corrections.one_day", code=code, date=day.isoformat())
        return forms.again(back, ruling_words.refusal_words(error.key), 403)
    except (InputInvalid, NotFound, ValueError, OverflowError) as error:
        key = getattr(error, "key", "not_found")
        auth.note_redrawn("view_day_of", f"{code} {day.isoformat()}")
        return _form(code, day, typed, ruling_words.refusal_words(key)), 400
    audit.note(session, user, "propose_correction", f"{made.id} {code} {day.isoformat()}", now(),
               auth.remote())  # fmt: skip
    session.commit()
    flash(gettext("Proposed. Another person decides."), "good")
    return redirect(url_for("corrections.one_day", code=code, date=day.isoformat()), 303)


@blueprint.post("/corrections/<int(max=9223372036854775807):number>/decide")
@auth.needs(frozenset(auth.roles_of(Act.DECIDE)))
def decide(number: int) -> Answer:
    """Approves or refuses a proposal of somebody else about somebody else."""
    answer, user = forms.answer_of(), auth.user_now()

    def work() -> str:
        note = request.form.get("note", "")
        corrections.decide(db.session(), number, answer == "approve", note, user, now())
        return str(number)

    said = gettext("Approved.") if answer == "approve" else gettext("Refused.")
    back = url_for("corrections.page", state="proposed")
    return forms.carried_out(f"{answer}_correction", back, said, work)


@blueprint.get("/attachments/<int(max=9223372036854775807):number>")
@auth.needs(auth.STAFF)
def attachment(number: int) -> Response:
    """A picture to look at, or a PDF to keep."""
    auth.note("view_attachment", str(number))
    try:
        held = attachments.load(db.session(), auth.user_now().township, number)
    except NotFound:
        abort(404)
    answer = Response(held.content, mimetype=held.mime)
    kind = "inline" if held.mime == "image/jpeg" else "attachment"
    suffix = "jpg" if held.mime == "image/jpeg" else "pdf"
    answer.headers["Content-Disposition"] = f'{kind}; filename="attachment-{number}.{suffix}"'
    return answer


def day_label(one: Ruled) -> str:
    """The day of a correction as lists say it."""
    return short_day(one.day)

"""Leave and trips: entered, and decided by a leader who did not enter them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from attendance.days import day_end_ms, day_of, day_start_ms, from_ms, to_ms
from attendance.statuses import REASONS, Status
from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import User
from server.services.access.permissions import Act, may
from server.services.evidence import audit
from server.services.township import leave
from server.services.township.deciders import Deciders, deciders
from server.services.township.townships import officials
from server.web import auth, badges, forms, ruling_words
from server.web.language import clock_words, lang, short_day
from server.web.leave_words import entering_words, waits_words
from server.web.picks import PAGE, page_asked, pages_of
from server.web.say import gettext

blueprint = Blueprint("leave", __name__)


@dataclass(frozen=True)
class Form:
    """What was typed, drawn again where it was refused."""

    official: str = ""
    status: str = "on_leave"
    first: str = ""
    last: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Line:
    """One request on the page; where the reader may not, `waits` says who may decide it, `kept` who
    may withdraw it, `of_county` who may enter the county's answer."""

    leave: leave.Leave
    days: str
    asked: str
    decided: str
    waits: str = ""
    may_decide: bool = False
    may_step: bool = False
    kept: str = ""
    of_county: str = ""


def days_words(start: datetime, end: datetime) -> str:
    """From when until when, as dates where both are midnights."""
    first, last = to_ms(start), to_ms(end)
    if first == day_start_ms(day_of(first)) and last == day_start_ms(day_of(last)):
        one, two = day_of(first), day_of(last - 1)
        if one == two:
            return short_day(one)
        return gettext("%(first)s to %(last)s", first=short_day(one), last=short_day(two, one))
    return gettext("%(first)s to %(last)s", first=clock_words(first), last=clock_words(last))


def _line(item: leave.Leave, user: User, eyes: Deciders) -> Line:
    waits = waits_words(eyes, item, user) if item.state == "pending" else ""
    kept = leave.why_not_withdrawn(item, user, eyes, now())
    of_county = leave.why_not_county(item, user, eyes) if item.state == "county" else ""
    return Line(
        item,
        days_words(item.start, item.end),
        clock_words(to_ms(item.asked)),
        clock_words(to_ms(item.decided)) if item.decided else "",
        waits,
        item.state == "pending" and not waits,
        may(user, Act.ENTER_LEAVE) and (user.official is None or user.official != item.official),
        ruling_words.refusal_words(kept) if kept else "",
        ruling_words.refusal_words(of_county) if of_county else "",
    )


def _state_asked() -> str:
    """`pending` for those that a leader has to decide, "" for all; 400 for anything else."""
    state = request.args.get("state", "")
    if state not in ("", "pending"):
        abort(400)
    return state


def _page(form: Form, refused: str = "") -> str:
    user, session = auth.user_now(), db.session()
    may_ask, page, state = may(user, Act.ENTER_LEAVE), page_asked(), _state_asked()
    eyes = deciders(session, user.township)
    return render_template(
        "leave.html",
        lines=[
            _line(item, user, eyes)
            for item in leave.listing(
                session, user.township, None, PAGE, (page - 1) * PAGE, bool(state)
            )
        ],
        state=state,
        waiting=leave.number(session, user.township, undecided=True),
        page=page,
        pages=pages_of(leave.number(session, user.township, bool(state))),
        page_link=lambda n: url_for("leave.page", state=state or None, page=n),
        people=[p for p in officials(session, user.township) if p.active] if may_ask else [],
        may_ask=may_ask,
        warned=entering_words(eyes, user) if may_ask else "",
        form=form,
        refused=refused,
        leave_state_word=ruling_words.leave_state_word,
        status_badge=badges.status_badge,
        reasons=[zh if lang() == "zh" else en for _, zh, en in REASONS],
    )


@blueprint.get("/leave")
@auth.needs(auth.STAFF)
def page() -> str:
    """All requests, newest first, and the form for a new one."""
    auth.note("view_leave")
    return _page(Form())


def _again(form: Form, refused: str) -> str:
    auth.note_redrawn("view_leave")
    return _page(form, refused)


@blueprint.post("/leave")
@auth.needs(auth.roles_of(Act.ENTER_LEAVE))
def ask() -> Response | tuple[str, int]:
    """Enters a request; refused fields are said on the page, with what was typed kept."""
    form = Form(*(request.form.get(f, "").strip()[:200] for f in Form.__dataclass_fields__))
    user, session = auth.user_now(), db.session()
    try:
        start = from_ms(day_start_ms(date.fromisoformat(form.first)))
        end = from_ms(day_end_ms(date.fromisoformat(form.last)))
        leave.ask(
            session,
            user.township,
            form.official,
            Status(form.status),
            start.astimezone(UTC),
            end.astimezone(UTC),
            form.reason,
            user,
            now(),
        )
    except NotFound:
        return _again(form, gettext("Choose an official.")), 400
    except NotAllowed:
        abort(403)
    except (InputInvalid, ValueError, OverflowError):
        said = gettext(
            "Give two dates: the last day is not before the first, and at most %(n)s days.",
            n=leave.MAX_DAYS,
        )
        return _again(form, said), 400
    span = f"{form.official} {form.status} {form.first}..{form.last}"
    audit.note(session, user, "ask_leave", span, now(), auth.remote())
    session.commit()
    flash(gettext("Entered. A leader decides."), "good")
    return redirect(url_for("leave.page"), 303)


@blueprint.post("/leave/<int(max=9223372036854775807):leave_id>/decide")
@auth.needs(auth.roles_of(Act.DECIDE_LEAVE))
def decide(leave_id: int) -> Response:
    """Approves or refuses; never one's own, nor what one entered."""
    answer, user = forms.answer_of(), auth.user_now()

    def work() -> str:
        leave.decide(db.session(), leave_id, answer == "approve", user, now())
        return str(leave_id)

    said = gettext("Approved.") if answer == "approve" else gettext("Refused.")
    back = url_for("leave.page", state=_state_asked() or None)
    return forms.carried_out(f"{answer}_leave", back, said, work)


@blueprint.post("/leave/<int(max=9223372036854775807):leave_id>/step")
@auth.needs(auth.roles_of(Act.ENTER_LEAVE))
def step(leave_id: int) -> Response:
    """Enters the county's answer, or that leave is not taken."""
    what, user = request.form.get("step", ""), auth.user_now()

    def work() -> str:
        reference = request.form.get("reference", "")
        leave.step(db.session(), leave_id, what, reference, user, now())
        return f"{leave_id} {what}"

    act = "withdraw_leave" if what == "withdrawn" else "county_leave"
    return forms.carried_out(act, url_for("leave.page"), gettext("Recorded."), work)

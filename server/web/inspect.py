"""What an inspection group does: discrepancies by kind, spot checks, findings."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from attendance.days import to_ms
from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.rules.calendar import days_between
from server.rules.findings import KINDS, NEXT, STATES
from server.rules.flags import DAY_KINDS, RECORD_FLAGS, SUPERSEDED
from server.services import audit
from server.services.permissions import Act, may
from server.services.rulings import attachments, findings, spotchecks
from server.services.rulings.findings import Found
from server.services.sheets.days import PersonDay, days_of
from server.services.sheets.entries import Entry, entries_by_id
from server.services.sheets.roster import roster_of
from server.web import auth, ruling_words, security, sheets, words
from server.web.corrections import attached, moment
from server.web.picks import PAGE, Chosen, date_asked, today
from server.web.say import gettext

blueprint = Blueprint("inspect", __name__)
for _name in ("inspect.record", "inspect.step"):
    security.UPLOADS[_name] = attachments.MAX_BYTES + security.MAX_FORM
#: Days of discrepancies on one page.
MAX_DAYS = 31


@dataclass(frozen=True)
class Item:
    """One discrepancy of one official's day, with its evidence."""

    one: PersonDay
    day: date
    kind: str
    site: str
    entry: Entry | None


@blueprint.get("/discrepancies")
@auth.needs(auth.STAFF)
def discrepancies() -> str:
    """What is to be looked into, by kind, with the evidence beside each."""
    last = date_asked("last", today())
    first = date_asked("first", last - timedelta(6))
    if not timedelta(0) <= last - first < timedelta(MAX_DAYS):
        abort(400)
    chosen, kind = Chosen.asked(), request.args.get("kind", "")
    auth.note("view_discrepancies", f"{first.isoformat()}..{last.isoformat()} {kind}")
    user, session = auth.user_now(), db.session()
    roster, judged = days_of(session, user.township, days_between(first, last), now())
    counts: dict[str, int] = {}
    items: list[tuple[PersonDay, date, str, str, str | None]] = []
    for day in judged:
        for one in day.people.values():
            if not chosen.fits_day(one):
                continue
            found = {(d.kind, d.site or "", d.record_id) for d in one.judged.found}
            if one.judged.verdict in ("late", "early", "absent", "unverified_only"):
                found.add((one.judged.verdict, "", None))
            for what, site, record_id in sorted(found, key=lambda f: (f[0], f[1], f[2] or "")):
                counts[what] = counts.get(what, 0) + 1
                if not kind or what == kind:
                    items.append((one, day.day, what, site, record_id))
    page = items[chosen.first : chosen.first + PAGE]
    held = entries_by_id(session, user.township, _evidence(page))
    shown = [
        Item(one, day, what, site, held.get(record_id or next(iter(one.records), "")))
        for one, day, what, site, record_id in page
    ]
    base = {"first": first.isoformat(), "last": last.isoformat()}
    order = ("absent", "unverified_only", "late", "early", *RECORD_FLAGS, *DAY_KINDS)
    return render_template(
        "discrepancies.html",
        items=shown,
        counts=[(k, counts[k]) for k in dict.fromkeys(order) if k in counts and k != SUPERSEDED],
        all=len(items),
        kind=kind,
        first=first,
        last=last,
        chosen=chosen,
        pages=chosen.pages(len(items)),
        page_link=lambda n: chosen.link(
            "inspect.discrepancies", {**base, "kind": kind}, page=str(n)
        ),
        kind_link=lambda k: chosen.link("inspect.discrepancies", base, kind=k),
        kind_words=kind_words,
        choices={
            "groups": tuple(dict.fromkeys(p.group for p in roster.people if p.group)),
            "sites": tuple(roster.site_kinds),
        },
        sheets=sheets,
        may_open=may(user, Act.INSPECT),
        longest=MAX_DAYS,
    )


def _evidence(page: Sequence[tuple[PersonDay, date, str, str, str | None]]) -> list[str]:
    return [r for one, _, _, _, rid in page if (r := rid or next(iter(one.records), ""))]


def kind_words(kind: str) -> str:
    """A kind of discrepancy in words: a verdict, or a flag."""
    return words.verdict_word(kind) if kind in words.VERDICTS else sheets.flag_words(kind).word


@blueprint.get("/spotchecks")
@auth.needs(auth.STAFF)
def draws() -> str:
    """All draws, and the form for a new one."""
    auth.note("view_spotchecks")
    user = auth.user_now()
    return render_template(
        "spotchecks.html",
        draws=spotchecks.listing(db.session(), user.township),
        today=today(),
        may_draw=may(user, Act.INSPECT),
    )


@blueprint.post("/spotchecks")
@auth.needs(frozenset(auth.roles_of(Act.INSPECT)))
def draw() -> Response:
    """Draws with a fresh seed, which is logged."""
    user, session = auth.user_now(), db.session()
    try:
        row = spotchecks.make_draw(
            session,
            user.township,
            date.fromisoformat(request.form.get("date", "")),
            int(request.form.get("sites", "")),
            int(request.form.get("people", "")),
            secrets.token_hex(16),
            user,
            now(),
        )
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(url_for("inspect.draws"), 303)
    except ValueError:
        abort(400)
    audit.note(session, user, "draw_spotcheck", f"{row.id} {row.seed}", now(), auth.remote())
    session.commit()
    return redirect(url_for("inspect.one_draw", number=row.id), 303)


@blueprint.get("/spotchecks/<int(max=9223372036854775807):number>")
@auth.needs(auth.STAFF)
def one_draw(number: int) -> str:
    """One draw: who was drawn, what was seen, and what the records say of that moment."""
    auth.note("view_spotcheck", str(number))
    user, session = auth.user_now(), db.session()
    try:
        made = spotchecks.one(session, user.township, number)
    except NotFound:
        abort(404)
    roster = roster_of(session, user.township)
    said = {
        look.id: spotchecks.where_was(
            session, user.township, look.official, to_ms(look.seen_at), now()
        )
        for look in made.looked
        if look.official in roster.by_code
    }
    return render_template(
        "spotcheck.html",
        draw=made,
        name=lambda code: roster.by_code[code].name if code in roster.by_code else code,
        phone=lambda code: roster.by_code[code].phone if code in roster.by_code else "",
        looked=lambda code: [look for look in made.looked if look.official == code],
        said=said,
        seen=spotchecks.SEEN,
        seen_word=ruling_words.seen_word,
        sure_word=ruling_words.sure_word,
        may_record=lambda code: may(user, Act.INSPECT) and user.official != code,
    )


@blueprint.post("/spotchecks/<int(max=9223372036854775807):number>")
@auth.needs(frozenset(auth.roles_of(Act.INSPECT)))
def record(number: int) -> Response:
    """What the inspector saw; a finding is opened where it was asked for."""
    user, session = auth.user_now(), db.session()
    form = request.form
    try:
        made = spotchecks.one(session, user.township, number)
        seen_ms = moment(made.day, form.get("time", ""))
        if seen_ms is None:
            seen_ms = to_ms(now())
        official, text = form.get("official", ""), form.get("text", "")
        check = spotchecks.record(
            session, user.township, number, official, form.get("seen", ""), seen_ms, text, user,
            now(), attached(),
        )  # fmt: skip
        if form.get("finding"):
            findings.open_finding(
                session, user.township, "absent", made.day, text, user, now(), official,
                spot_check_id=check.id,
            )  # fmt: skip
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    except (InputInvalid, ValueError) as error:
        session.rollback()
        flash(ruling_words.refusal_words(getattr(error, "key", "seen")), "bad")
        return redirect(url_for("inspect.one_draw", number=number), 303)
    audit.note(session, user, "record_spotcheck", f"{number} {official}", now(), auth.remote())
    session.commit()
    flash(gettext("Recorded."), "good")
    return redirect(url_for("inspect.one_draw", number=number), 303)


@blueprint.get("/findings")
@auth.needs(auth.STAFF)
def listing() -> str:
    """Findings, newest first, and the form for a new one."""
    state = request.args.get("state", "")
    if state not in ("", *STATES):
        abort(400)
    auth.note("view_findings", state)
    user, session = auth.user_now(), db.session()
    roster = roster_of(session, user.township)
    return render_template(
        "findings.html",
        found=findings.listing(session, user.township, state),
        state=state,
        states=STATES,
        kinds=KINDS,
        state_word=ruling_words.finding_state_word,
        kind_word=ruling_words.finding_kind_word,
        event_word=ruling_words.finding_event_word,
        steps_for=_steps_for,
        people=[p for p in roster.people if p.active and p.official != user.official],
        sites=list(roster.site_kinds),
        today=today(),
        may_open=may(user, Act.INSPECT),
        typed={k: request.args.get(k, "") for k in ("official", "record_id", "date")},
    )


def _steps_for(found: Found) -> list[str]:
    user = auth.user_now()
    if not may(user, Act.ANSWER):
        return []
    own = user.official is not None and user.official == found.official
    closes = (may(user, Act.INSPECT) or may(user, Act.DECIDE)) and not own
    return [what for what in NEXT[found.state] if closes or what not in ("closed", "reopened")]


@blueprint.post("/findings")
@auth.needs(frozenset(auth.roles_of(Act.INSPECT)))
def open_one() -> Response:
    """Opens a finding."""
    user, session, form = auth.user_now(), db.session(), request.form
    try:
        row = findings.open_finding(
            session, user.township, form.get("kind", ""),
            date.fromisoformat(form.get("date", "")), form.get("text", ""), user, now(),
            form.get("official") or None, form.get("site", ""), form.get("record_id") or None,
        )  # fmt: skip
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(url_for("inspect.listing"), 303)
    except ValueError:
        abort(400)
    audit.note(session, user, "open_finding", str(row.id), now(), auth.remote())
    session.commit()
    flash(gettext("The finding is open."), "good")
    return redirect(url_for("inspect.listing"), 303)


@blueprint.post("/findings/<int(max=9223372036854775807):number>")
@auth.needs(frozenset(auth.roles_of(Act.ANSWER)))
def step(number: int) -> Response:
    """Answers, closes, reopens or notes."""
    user, session = auth.user_now(), db.session()
    what, text = request.form.get("what", ""), request.form.get("text", "")
    try:
        findings.add_event(session, user.township, number, what, text, user, now(), attached())
    except NotFound:
        abort(404)
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(url_for("inspect.listing"), 303)
    audit.note(session, user, f"finding_{what}", str(number), now(), auth.remote())
    session.commit()
    flash(gettext("Recorded."), "good")
    return redirect(url_for("inspect.listing"), 303)

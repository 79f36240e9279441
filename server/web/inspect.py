"""What an inspection group does: discrepancies by kind, spot checks, findings."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, abort, render_template, request, url_for
from werkzeug.wrappers import Response

from attendance.days import to_ms
from server import db
from server.context import now
from server.errors import NotFound
from server.rules.calendar import days_between
from server.rules.findings import KINDS, NEXT, STATES
from server.rules.flags import DAY_KINDS, RECORD_FLAGS, SUPERSEDED, UNKNOWN_OFFICIAL
from server.services.access.permissions import Act, may
from server.services.rulings import attachments, findings, spotchecks
from server.services.rulings.findings import Found
from server.services.sheets.days import Look, PersonDay
from server.services.sheets.entries import Entry, entries_by_id
from server.services.sheets.roster import roster_of
from server.web import auth, forms, ruling_words, security, sheets, words
from server.web.picks import PAGE, Chosen, date_asked, page_asked, pages_of, today
from server.web.say import gettext

blueprint = Blueprint("inspect", __name__)
for _name in ("inspect.record", "inspect.step"):
    security.UPLOADS[_name] = attachments.MAX_BYTES + security.MAX_FORM
#: Whose day (None: of somebody no roster knows), the day, the kind, the site, the record's id.
_Found = tuple[PersonDay | None, date, str, str, str | None]
#: Days of discrepancies on one page.
MAX_DAYS = 31


@dataclass(frozen=True)
class Item:
    """One discrepancy of one official's day, with its evidence; `one` is None where no roster knows
    the official of the record."""

    one: PersonDay | None
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
    look = Look(session, user.township, days_between(first, last), now())
    roster, judged = look.roster, look.days()
    quiet = look.silence(judged)
    counts: dict[str, int] = {}
    items: list[_Found] = []
    for day in judged:
        for one in day.people.values():
            if not chosen.fits_day(one):
                continue
            seen = (*one.judged.found, *quiet.get((one.person.official, day.day), ()))
            found = {(d.kind, d.site or "", d.record_id) for d in seen}
            if one.judged.verdict in ("late", "early", "absent", "unverified_only"):
                found.add((one.judged.verdict, "", None))
            for what, site, record_id in sorted(found, key=lambda f: (f[0], f[1], f[2] or "")):
                counts[what] = counts.get(what, 0) + 1
                if not kind or what == kind:
                    items.append((one, day.day, what, site, record_id))
        if day.unknown and not (chosen.group or chosen.site or chosen.q):
            counts[UNKNOWN_OFFICIAL] = counts.get(UNKNOWN_OFFICIAL, 0) + len(day.unknown)
            if kind in ("", UNKNOWN_OFFICIAL):
                items += [(None, day.day, UNKNOWN_OFFICIAL, "", rid) for rid in day.unknown]
    page = items[chosen.first : chosen.first + PAGE]
    held = entries_by_id(session, user.township, look.roster.places, _evidence(page))
    shown = [
        Item(one, day, what, site, held.get(_record_of(one, record_id)))
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


def _record_of(one: PersonDay | None, record_id: str | None) -> str:
    """The record that is the evidence: the discrepancy's own, else the day's first, or ""."""
    return record_id or next(iter(() if one is None else one.records), "")


def _evidence(page: Sequence[_Found]) -> list[str]:
    return [r for one, _, _, _, rid in page if (r := _record_of(one, rid))]


def kind_words(kind: str) -> str:
    """A kind of discrepancy in words: a verdict, or a flag."""
    return words.verdict_word(kind) if kind in words.VERDICTS else sheets.flag_words(kind).word


@blueprint.get("/spotchecks")
@auth.needs(auth.STAFF)
def draws() -> str:
    """All draws, and the form for a new one."""
    auth.note("view_spotchecks")
    user, session, page = auth.user_now(), db.session(), page_asked()
    return render_template(
        "spotchecks.html",
        draws=spotchecks.listing(session, user.township, PAGE, (page - 1) * PAGE),
        page=page,
        pages=pages_of(spotchecks.number(session, user.township)),
        page_link=lambda n: url_for("inspect.draws", page=n),
        today=today(),
        may_draw=may(user, Act.INSPECT),
    )


@blueprint.post("/spotchecks")
@auth.needs(frozenset(auth.roles_of(Act.INSPECT)))
def draw() -> Response:
    """Draws with a fresh seed, which is logged."""
    user, made = auth.user_now(), []

    def work() -> str:
        row = spotchecks.make_draw(
            db.session(), user.township, forms.day_of_form("date"), forms.number_of("sites"),
            forms.number_of("people"), secrets.token_hex(16), user, now(),
        )  # fmt: skip
        made.append(row.id)
        return f"{row.id} {row.seed}"

    return forms.carried_out(
        "draw_spotcheck", lambda: url_for("inspect.one_draw", number=made[0]), "", work
    )


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
    said = spotchecks.where_all_were(session, user.township, made.looked, now())
    return render_template(
        "spotcheck.html",
        draw=made,
        name=lambda code: roster.by_code[code].name if code in roster.by_code else code,
        phone=lambda code: roster.by_code[code].phone if code in roster.by_code else "",
        looked=lambda code, site: _looked(made, code, site),
        said=said,
        seen=spotchecks.SEEN,
        today=today(),
        seen_word=ruling_words.seen_word,
        sure_word=ruling_words.sure_word,
        may_record=lambda code: may(user, Act.INSPECT) and user.official != code,
    )


def _looked(made: spotchecks.Draw, code: str, site: str) -> list[spotchecks.Looked]:
    """What was seen of somebody at one of the sites where they were drawn; what names none of them,
    since a site was renamed, stands at the first."""
    drawn_at = [s for s, codes in made.drawn.people.items() if code in codes]
    return [
        look for look in made.looked
        if look.official == code
        and (look.site == site or (look.site not in drawn_at and site == drawn_at[0]))
    ]  # fmt: skip


@blueprint.post("/spotchecks/<int(max=9223372036854775807):number>")
@auth.needs(frozenset(auth.roles_of(Act.INSPECT)))
def record(number: int) -> Response:
    """What the inspector saw; a finding is opened where it was asked for."""
    user, session, form = auth.user_now(), db.session(), request.form

    def work() -> str:
        made = spotchecks.one(session, user.township, number)
        official, text = form.get("official", ""), form.get("text", "")
        seen_ms, site = forms.moment(made.day, form.get("time", "")), form.get("site") or None
        if seen_ms is None:
            seen_ms = to_ms(now())
        else:
            seen_ms = spotchecks.typed_at(
                session, user.township, official, made.day, seen_ms, now()
            )
        check = spotchecks.record(
            session, user.township, number, official, form.get("seen", ""), seen_ms, text, user,
            now(), forms.attached(), site,
        )  # fmt: skip
        if form.get("finding"):
            findings.open_finding(
                session, user.township, "absent", made.day, text, user, now(), official,
                spot_check_id=check.id,
            )  # fmt: skip
        return f"{number} {official}"

    back = url_for("inspect.one_draw", number=number)
    return forms.carried_out("record_spotcheck", back, gettext("Recorded."), work)


@blueprint.get("/findings")
@auth.needs(auth.STAFF)
def listing() -> str:
    """Findings, newest first, and the form for a new one; the page that holds the one whose number
    `finding` is, where that is asked for."""
    state, asked = _state_asked(), request.args.get("finding", "")
    if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 19):
        abort(400)
    page = page_asked()
    auth.note("view_findings", state)
    user, session = auth.user_now(), db.session()
    if asked:
        page = findings.number(session, user.township, state, int(asked)) // PAGE + 1
    roster = roster_of(session, user.township)
    return render_template(
        "findings.html",
        found=findings.listing(session, user.township, state, limit=PAGE, first=(page - 1) * PAGE),
        state=state,
        page=page,
        pages=pages_of(findings.number(session, user.township, state)),
        page_link=lambda n: url_for("inspect.listing", state=state or None, page=n),
        states=STATES,
        kinds=KINDS,
        state_word=ruling_words.finding_state_word,
        kind_word=ruling_words.finding_kind_word,
        event_word=ruling_words.finding_event_word,
        done_word=ruling_words.finding_done_word,
        finding_text=ruling_words.finding_text,
        who_words=words.who_words,
        steps_for=_steps_for,
        people=[p for p in roster.people if p.active and p.official != user.official],
        sites=list(roster.site_kinds),
        today=today(),
        may_open=may(user, Act.INSPECT),
        typed={k: request.args.get(k, "") for k in ("official", "record_id", "date")},
    )


def _state_asked() -> str:
    """A state of findings, "" for all; 400 for anything else."""
    state = request.args.get("state", "")
    if state not in ("", *STATES):
        abort(400)
    return state


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
    user, form = auth.user_now(), request.form

    def work() -> str:
        row = findings.open_finding(
            db.session(), user.township, form.get("kind", ""), forms.day_of_form("date"),
            form.get("text", ""), user, now(), form.get("official") or None, form.get("site", ""),
            form.get("record_id") or None,
        )  # fmt: skip
        return str(row.id)

    back = url_for("inspect.listing")
    return forms.carried_out("open_finding", back, gettext("The finding is open."), work)


@blueprint.post("/findings/<int(max=9223372036854775807):number>")
@auth.needs(frozenset(auth.roles_of(Act.ANSWER)))
def step(number: int) -> Response:
    """Answers, closes, reopens or notes."""
    user, what = auth.user_now(), request.form.get("what", "")

    def work() -> str:
        text = request.form.get("text", "")
        findings.add_event(
            db.session(), user.township, number, what, text, user, now(), forms.attached()
        )
        return str(number)

    back = url_for("inspect.listing", state=_state_asked() or None, finding=number)
    return forms.carried_out(f"finding_{what}", back, gettext("Recorded."), work)

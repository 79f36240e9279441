"""Who is expected where: weekly patterns, dated exceptions, and an official's particulars."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, abort, request, url_for
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.errors import InputInvalid, NotFound
from server.rules.calendar import days_between
from server.services.access.permissions import Act, may
from server.services.sheets.roster import Person, Roster, roster_of
from server.services.township import rosters, settings
from server.services.township.settings import CODE, Particulars
from server.web import auth, forms, ruling_words
from server.web.picks import PAGE, Chosen, date_asked, today
from server.web.say import gettext
from server.web.settings import EDITS, clock_of, draw, weekday_words

blueprint = Blueprint("planning", __name__)
#: Days that one form of exceptions covers, and that one page shows.
MAX_DAYS = 92


@blueprint.get("/settings/roster")
@auth.needs(auth.STAFF)
def patterns() -> str:
    """Everybody with the weekly patterns in force and to come."""
    chosen = Chosen.asked()
    auth.note("view_roster", chosen.q)
    roster = roster_of(db.session(), auth.user_now().township)
    fitting = [
        p for p in roster.people
        if chosen.fits_person(p)
        and (not chosen.site or any(q.place.name == chosen.site for q in current(p)))
    ]  # fmt: skip
    return draw(
        "settings_roster.html", "planning.patterns",
        people=fitting[chosen.first : chosen.first + PAGE], fitting=len(fitting),
        pages=chosen.pages(len(fitting)), chosen=chosen, current=current,
        page_link=lambda n: chosen.link("planning.patterns", {}, page=str(n)),
        choices=choices_of(roster), weekday_words=weekday_words, groups=roster.groups,
    )  # fmt: skip


def current(person: Person) -> list:  # type: ignore[type-arg]
    """The patterns of an official that have not ended."""
    return [p for p in person.patterns if p.last is None or p.last >= today()]


def choices_of(roster: Roster) -> dict[str, object]:
    """What the sheets' form of choices offers."""
    return {
        "groups": tuple(dict.fromkeys(p.group for p in roster.people if p.group)),
        "sites": tuple(place.name for place in roster.places.values()),
    }


@blueprint.post("/settings/roster")
@auth.needs(EDITS)
def add_official() -> Response:
    """Enters a new official."""
    user, code = auth.user_now(), forms.text_of("official")

    def work() -> str:
        settings.add_official(db.session(), user.township, code, _typed(), user, now())
        return f"{code} {forms.text_of('name')}"

    back = url_for("planning.patterns")
    said = gettext("Entered. Consent and face are taken at the enrolment desk.")
    return forms.carried_out("add_official", back, said, work)


def _typed() -> Particulars:
    houses = forms.text_of("households")
    return Particulars(
        forms.text_of("name"), forms.text_of("title"), forms.text_of("phone"),
        forms.text_of("duties"), forms.number_of("households") if houses else None,
        forms.text_of("work_group"),
    )  # fmt: skip


@blueprint.get("/settings/roster/<code>")
@auth.needs(auth.STAFF)
def one(code: str) -> str:
    """One official: particulars, patterns, exceptions."""
    if not CODE.fullmatch(code):
        abort(404)
    auth.note("view_particulars", code)
    user, session = auth.user_now(), db.session()
    roster = roster_of(session, user.township)
    person = roster.by_code.get(code)
    if person is None:
        abort(404)
    first = today() - timedelta(31)
    return draw(
        "settings_official.html", "planning.patterns",
        person=person, current=current(person),
        past=[p for p in person.patterns if p.last is not None and p.last < today()][-20:],
        dated=sorted(
            ((day, d) for day, d in person.dated.items() if day >= first and d.what != "pattern"),
            key=lambda found: found[0],
        ),
        expected=[
            (day, roster.expected(person, day))
            for day in days_between(today(), today() + timedelta(13))
        ],
        groups=roster.groups, places=list(roster.places.values()),
        shifts=list(roster.shifts.values()), weekday_words=weekday_words, clock=clock_of,
        own=user.official == code,
        may_propose=may(user, Act.PROPOSE) and user.official != code,
    )  # fmt: skip


def _back(code: str) -> str:
    """The page of an official of this township; 404 for anybody else, whatever the form holds."""
    if not CODE.fullmatch(code):
        abort(404)
    try:
        rosters.official_of(db.session(), auth.user_now().township, code)
    except NotFound:
        abort(404)
    return url_for("planning.one", code=code)


@blueprint.post("/settings/roster/<code>")
@auth.needs(EDITS)
def edit(code: str) -> Response:
    """Changes an official's particulars."""
    user = auth.user_now()

    def work() -> str:
        return settings.edit_official(db.session(), user.township, code, _typed(), user, now())

    return forms.carried_out("edit_official", _back(code), gettext("Changed."), work)


@blueprint.post("/settings/roster/<code>/active")
@auth.needs(EDITS)
def active(code: str) -> Response:
    """Takes an official off the roster, or puts them on it again."""
    user, on = auth.user_now(), request.form.get("active") == "1"

    def work() -> str:
        return settings.set_active(db.session(), user.township, code, on, user, now())

    return forms.carried_out("set_active", _back(code), gettext("Changed."), work)


@blueprint.post("/settings/roster/<code>/pattern")
@auth.needs(EDITS)
def set_pattern(code: str) -> Response:
    """From a day on the official is expected at a site on these weekdays; none ends it."""
    user = auth.user_now()

    def work() -> str:
        days = request.form.getlist("weekday")
        if request.form.get("end"):
            days = []
        elif not days:
            raise InputInvalid("weekdays", "choose days of the week", "weekday")
        if any(d not in "0123456" or len(d) != 1 for d in days):
            raise InputInvalid("weekdays", "no such weekday", "weekday")
        mask = sum(1 << int(d) for d in set(days))
        site, first = forms.text_of("site"), forms.day_of_form("first")
        shift = forms.number_of("shift", 0) or None
        rosters.set_pattern(
            db.session(), user.township, code, site, mask, shift, first, user, now()
        )
        return f"{code} {site} {mask:07b} {shift or '–'} {first}"

    return forms.carried_out("set_pattern", _back(code), gettext("Changed."), work)


@blueprint.get("/settings/exceptions")
@auth.needs(auth.STAFF)
def exceptions() -> str:
    """Dated exceptions of some weeks, and the form to enter one."""
    first = date_asked("first", today())
    last = date_asked("last", first + timedelta(30))
    if not timedelta(0) <= last - first < timedelta(MAX_DAYS):
        abort(400)
    auth.note("view_exceptions", f"{first}..{last}")
    user, session = auth.user_now(), db.session()
    roster = roster_of(session, user.township)
    return draw(
        "settings_exceptions.html", "planning.exceptions",
        rows=rosters.exceptions(session, user.township, first, last), first=first, last=last,
        people=[p for p in roster.people if p.active and p.official != user.official],
        by_id={p.id: p for p in roster.people}, places=roster.places, shifts=roster.shifts,
        longest=MAX_DAYS, what_word=ruling_words.exception_word, whats=ruling_words.EXCEPTIONS,
    )  # fmt: skip


@blueprint.post("/settings/exceptions")
@auth.needs(EDITS)
def set_days() -> Response:
    """Enters one official's exception for some days, or takes it back."""
    user, code = auth.user_now(), forms.text_of("official")

    def work() -> str:
        first = forms.day_of_form("first")
        last = forms.day_of_form("last") if forms.text_of("last") else first
        if not timedelta(0) <= last - first < timedelta(MAX_DAYS):
            raise InputInvalid("days", "too many days", "last")
        what, site = forms.text_of("what"), forms.text_of("site")
        rosters.official_of(db.session(), user.township, code)
        for day in days_between(first, last):
            rosters.set_day(
                db.session(), user.township, code, day, what, user, now(), site,
                forms.number_of("shift", 0) or None, forms.text_of("reason"),
            )  # fmt: skip
        return f"{code} {first}..{last} {what} {site}".strip()

    back = url_for("planning.exceptions", first=forms.text_of("first") or None)
    if request.form.get("back") == "one" and CODE.fullmatch(code):
        back = url_for("planning.one", code=code)
    return forms.carried_out("set_exception", back, gettext("Entered."), work)

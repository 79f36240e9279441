"""Settings of a township: shifts, holidays, rules by date, work groups, sites."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.errors import InputInvalid
from server.models import CalendarDay, Shift
from server.rules import terms
from server.rules.calendar import Calendar, days_between, holiday_name
from server.rules.terms import Allowance, LeaveTerms, MonthDays, SecondStep, TermValue, UsualShifts
from server.services.access.permissions import Act, may
from server.services.sheets.roster import Person, roster_of
from server.services.township import rosters, settings
from server.web import auth, forms, words
from server.web.language import lang
from server.web.picks import today
from server.web.say import Later, _l, gettext

blueprint = Blueprint("settings", __name__)

#: The parts of the settings, in the order of their tabs.
TABS: tuple[tuple[str, Later], ...] = (
    ("settings.shifts", _l("Shifts")),
    ("planning.patterns", _l("Who is expected where")),
    ("planning.exceptions", _l("Dated exceptions")),
    ("settings.holidays", _l("Holidays")),
    ("settings.rules", _l("Rules")),
    ("settings.groups", _l("Work groups")),
    ("settings.places", _l("Sites")),
    ("imports.page", _l("Import")),
)
TERMS: dict[str, Later] = {
    "allowance": _l("Allowance"),
    "month_days": _l("Days a month in the village"),
    "leave": _l("Who approves leave"),
    "usual_shifts": _l("Usual hours"),
    "second_step": _l("Second step at sign-in"),
}
EDITS = frozenset(auth.roles_of(Act.EDIT_ROSTER))
PROPOSES = frozenset(auth.roles_of(Act.PROPOSE_TERMS))
DECIDES = frozenset(auth.roles_of(Act.EDIT_TERMS))


def draw(template: str, endpoint: str, **values: object) -> str:
    """A page of the settings, with its tabs."""
    user = auth.user_now()
    tabs = [(url_for(name), word, name == endpoint) for name, word in TABS]
    may_edit = may(user, Act.EDIT_ROSTER)
    return render_template(template, tabs=tabs, may_edit=may_edit, today=today(), **values)


def clock_of(minutes: int) -> str:
    """Minutes from midnight on the clock; beyond the first midnight that is said."""
    said = f"{minutes // 60 % 24:02}:{minutes % 60:02}"
    return gettext("%(at)s of the next day", at=said) if minutes >= 1440 else said


def hours_of(shift: Shift) -> str:
    """From when until when a shift reaches."""
    return f"{clock_of(shift.start_min)}–{clock_of(shift.end_min)}"


def weekday_words(mask: int) -> str:
    """The weekdays of a mask."""
    if mask == 0b0011111:
        return gettext("working days")
    if mask == 0b1111111:
        return gettext("every day")
    days = [n for n in range(7) if mask >> n & 1]
    if lang() == "zh":
        return "周" + "".join("一二三四五六日"[n] for n in days)
    return " ".join(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[n] for n in days)


@blueprint.get("/settings")
@auth.needs(auth.STAFF)
def page() -> Response:
    """The first of the settings."""
    return redirect(url_for("settings.shifts"), 303)


@blueprint.get("/settings/shifts")
@auth.needs(auth.STAFF)
def shifts() -> str:
    """Every shift, and the form for a new one."""
    user, session = auth.user_now(), db.session()
    listed = rosters.shifts(session, user.township)
    usual = terms.in_force(roster_of(session, user.township).terms, UsualShifts, today())
    like = next((s for s in listed if str(s.id) == request.args.get("like")), None)
    return draw("settings_shifts.html", "settings.shifts", shifts=listed, usual=usual, like=like,
                hours=hours_of, clock=clock_of)  # fmt: skip


@blueprint.post("/settings/shifts")
@auth.needs(EDITS)
def add_shift() -> Response:
    """Makes a shift."""
    user = auth.user_now()

    def work() -> str:
        made = rosters.add_shift(
            db.session(), user.township, forms.text_of("name"), forms.minutes_of("start"),
            forms.minutes_of("end"), user, now(), forms.number_of("late", 0),
            forms.number_of("early", 0), forms.number_of("visits", 1),
        )  # fmt: skip
        return f"{made.id} {made.name} {made.start_min}-{made.end_min}"

    said = gettext("The shift is there. Patterns and exceptions can name it now.")
    return forms.carried_out("add_shift", url_for("settings.shifts"), said, work)


@dataclass(frozen=True)
class HolidayLine:
    """A day that is not what its weekday says, or that the clerk entered."""

    day: date
    working: bool
    name: str
    entry: CalendarDay | None


@blueprint.get("/settings/holidays")
@auth.needs(auth.STAFF)
def holidays() -> str:
    """Holidays and make-up working days of a year, with the clerk's entries over them."""
    asked = request.args.get("year", str(today().year))
    if not (asked.isascii() and asked.isdigit() and 2004 <= int(asked) <= 2199):
        abort(400)
    year = int(asked)
    user, session = auth.user_now(), db.session()
    entries = {
        date.fromisoformat(row.day): row
        for row in rosters.calendar_entries(session, user.township)
        if row.day[:4] == asked
    }
    calendar = Calendar({day: bool(row.working) for day, row in entries.items()})
    lines = [
        HolidayLine(day, calendar.is_working(day), _holiday_words(day, entry), entry)
        for day in days_between(date(year, 1, 1), date(year, 12, 31))
        if (entry := entries.get(day)) is not None
        or calendar.is_working(day) != (day.weekday() < 5)
        or holiday_name(day)
    ]
    return draw("settings_holidays.html", "settings.holidays", lines=lines, year=year,
                known=calendar.known(date(year, 7, 1)))  # fmt: skip


def _holiday_words(day: date, entry: CalendarDay | None) -> str:
    if entry is not None:
        return entry.name
    found = holiday_name(day)
    return words.holiday_word(found) if found else ""


@blueprint.post("/settings/holidays")
@auth.needs(EDITS)
def set_holidays() -> Response:
    """Enters some days as holidays or as working days, or takes an entry back."""
    user = auth.user_now()
    what = request.form.get("what", "")
    if what not in ("holiday", "working", "back"):
        abort(400)

    def work() -> str:
        first = forms.day_of_form("first")
        last = forms.day_of_form("last") if forms.text_of("last") else first
        if not timedelta(0) <= last - first <= timedelta(31):
            raise InputInvalid("days", "from the first to the last day, at most 32", "last")
        working = {"holiday": False, "working": True, "back": None}[what]
        for day in days_between(first, last):
            rosters.set_calendar(
                db.session(), user.township, day, working, forms.text_of("name"), user, now()
            )
        return f"{first}..{last} {what} {forms.text_of('name')}"

    back = url_for("settings.holidays", year=forms.text_of("first")[:4] or None)
    return forms.carried_out("set_holiday", back, gettext("Entered."), work)


@blueprint.get("/settings/rules")
@auth.needs(auth.STAFF)
def rules() -> str:
    """The rules in force, those to come and before, and what was proposed."""
    user, session = auth.user_now(), db.session()
    roster = roster_of(session, user.township)
    held = {
        "allowance": terms.in_force(roster.terms, Allowance, today()),
        "month_days": terms.in_force(roster.terms, MonthDays, today()),
        "leave": terms.in_force(roster.terms, LeaveTerms, today()),
        "usual_shifts": terms.in_force(roster.terms, UsualShifts, today()),
        "second_step": terms.in_force(roster.terms, SecondStep, today()),
    }
    proposed = settings.proposals(session, user.township)
    return draw(
        "settings_rules.html", "settings.rules",
        held=held, shifts=list(roster.shifts.values()), proposed=proposed,
        entries=rosters.rule_entries(session, user.township),
        said=lambda value: rule_words(value, {n: s.name for n, s in roster.shifts.items()}),
        read=lambda row: terms.read(row.kind, row.value),
        term_word=lambda value: str(TERMS[terms.word_of(type(value))]),
        kinds=TERMS, may_set=may(user, Act.EDIT_TERMS), may_propose=may(user, Act.PROPOSE_TERMS),
        decidable=lambda one: one.state == "proposed" and may(user, Act.EDIT_TERMS)
        and one.by != user.name and (user.official is None or one.by_official != user.official),
    )  # fmt: skip


def rule_words(value: TermValue, shifts: dict[int, str]) -> str:
    """A rule of the township in one sentence."""
    if isinstance(value, Allowance):
        parts = [gettext("%(yuan)s yuan a day", yuan=f"{value.fen / 100:.2f}")]
        kinds = " / ".join(words.site_kind_word(kind) for kind in value.site_kinds)
        parts.append(gettext("at: %(kinds)s", kinds=kinds))
        if value.min_minutes:
            parts.append(gettext("there for at least %(n)s minutes", n=value.min_minutes))
        if not value.late_counts:
            parts.append(gettext("not for a day that began late"))
        parts.append(gettext("clock classes %(classes)s", classes=", ".join(value.classes)))
        return ("；" if lang() == "zh" else "; ").join(parts)
    if isinstance(value, MonthDays):
        if not value.days:
            return gettext("no minimum")
        return gettext("at least %(n)s days", n=value.days)
    if isinstance(value, LeaveTerms):
        return gettext(
            "up to %(n)s working days the township, longer the county", n=value.township_days
        )
    if isinstance(value, SecondStep):
        if value.required:
            return gettext("leaders and administrators sign in with a code as well")
        return gettext("the password is enough; whoever wants to uses a code as well")
    any_time = gettext("any time")
    return gettext(
        "office: %(office)s; villages: %(village)s",
        office=shifts.get(value.office or 0, any_time),
        village=shifts.get(value.village or 0, any_time),
    )


def _term() -> TermValue:
    """The rule in the form. Raises InputInvalid."""
    kind = forms.text_of("kind")
    if kind == "allowance":
        yuan = forms.text_of("yuan").replace("。", ".")
        whole, _, part = yuan.partition(".")
        if not (whole.isascii() and whole.isdigit() and len(whole) <= 5 and len(part) <= 2
                and (not part or (part.isascii() and part.isdigit()))):  # fmt: skip
            raise InputInvalid("rule", "an amount such as 35 or 35.50", "yuan")
        held = terms.in_force(
            roster_of(db.session(), auth.user_now().township).terms, Allowance, today()
        )
        kinds = tuple(k for k in ("village", "office") if request.form.get(f"at_{k}"))
        if not kinds:
            raise InputInvalid("rule", "a kind of site at least", "at_village")
        return msgspec.structs.replace(
            held, fen=int(whole) * 100 + int(part.ljust(2, "0") or 0), site_kinds=kinds,
            min_minutes=forms.number_of("minutes", 0),
            late_counts=bool(request.form.get("late_counts")),
        )  # fmt: skip
    if kind == "month_days":
        return MonthDays(forms.number_of("days"))
    if kind == "leave":
        return LeaveTerms(forms.number_of("days"))
    if kind == "usual_shifts":
        office, village = (forms.number_of(name, 0) or None for name in ("office", "village"))
        return UsualShifts(office, village)
    if kind == "second_step":
        return SecondStep(forms.text_of("required") == "1")
    raise InputInvalid("rule", "no such rule", "kind")


@blueprint.post("/settings/rules")
@auth.needs(PROPOSES)
def set_rule() -> Response:
    """Proposes a rule, or sets it where the role may."""
    user, session = auth.user_now(), db.session()
    sets = may(user, Act.EDIT_TERMS)

    def work() -> str:
        value, first, note = _term(), forms.day_of_form("first"), forms.text_of("note")
        enter = rosters.set_rule if sets else settings.propose_term
        made = enter(session, user.township, value, first, note, user, now())
        return f"{made.id} {made.kind} {made.first_day} {made.value}"

    act = "set_rule" if sets else "propose_rule"
    said = gettext("In force from that day on.") if sets else gettext("Proposed. A leader decides.")
    return forms.carried_out(act, url_for("settings.rules"), said, work)


@blueprint.post("/settings/rules/<int(max=9223372036854775807):number>/decide")
@auth.needs(DECIDES)
def decide_rule(number: int) -> Response:
    """Approves or refuses somebody else's proposal."""
    answer, user = forms.answer_of(), auth.user_now()

    def work() -> str:
        settings.decide_term(db.session(), user.township, number, answer == "approve", user, now())
        return str(number)

    said = gettext("Approved.") if answer == "approve" else gettext("Refused.")
    return forms.carried_out(f"{answer}_rule", url_for("settings.rules"), said, work)


@blueprint.get("/settings/groups")
@auth.needs(auth.STAFF)
def groups() -> str:
    """Work groups with leader, deputy, members and sites; one of them to be changed."""
    auth.note("view_groups")
    roster = roster_of(db.session(), auth.user_now().township)
    members: dict[str, list[Person]] = {}
    for person in roster.people:
        if person.active:
            members.setdefault(person.group, []).append(person)
    edited = next((g for g in roster.groups if str(g.id) == request.args.get("edit")), None)
    return draw(
        "settings_groups.html", "settings.groups",
        groups=roster.groups, members=members, by_code=roster.by_code, edited=edited,
        places=list(roster.places.values()), alone=members.get("", []),
        others=[p for p in roster.people if p.active and edited and p.group != edited.name],
        names=lambda ids: [roster.places[n].name for n in sorted(ids) if n in roster.places],
    )  # fmt: skip


@blueprint.post("/settings/groups")
@auth.needs(EDITS)
def add_group() -> Response:
    """Makes a work group."""
    user = auth.user_now()

    def work() -> str:
        return settings.add_group(db.session(), user.township, forms.text_of("name"), user).name

    return forms.carried_out("add_group", url_for("settings.groups"), gettext("Entered."), work)


@blueprint.post("/settings/groups/<int(max=9223372036854775807):number>")
@auth.needs(EDITS)
def set_group(number: int) -> Response:
    """Name, leader, deputy, sites of a work group, and how many must be there."""
    user, session = auth.user_now(), db.session()

    def work() -> str:
        name = settings.rename_group(session, user.township, number, forms.text_of("name"), user)
        row = rosters.set_group(
            session, user.township, number, forms.text_of("leader") or None,
            forms.text_of("deputy") or None, forms.number_of("at_least", 0),
            request.form.getlist("sites"), user,
        )  # fmt: skip
        sites = "、".join(request.form.getlist("sites"))
        return f"{number} {name}: {row.leader or '–'}, {row.deputy or '–'}, {row.at_least}, {sites}"

    return forms.carried_out("set_group", url_for("settings.groups"), gettext("Changed."), work)


@blueprint.post("/settings/groups/<int(max=9223372036854775807):number>/member")
@auth.needs(EDITS)
def add_member(number: int) -> Response:
    """Puts an official into a work group."""
    user = auth.user_now()

    def work() -> str:
        code = forms.text_of("official")
        return settings.move_member(db.session(), user.township, code, number, user, now())

    back = url_for("settings.groups", edit=number)
    return forms.carried_out("move_member", back, gettext("Changed."), work)


@blueprint.get("/settings/sites")
@auth.needs(auth.STAFF)
def places() -> str:
    """The sites of the township, and the forms to add and to rename one."""
    roster = roster_of(db.session(), auth.user_now().township)
    by_site = {
        place.id: [g.name for g in roster.groups if place.id in g.sites]
        for place in roster.places.values()
    }
    edited = next((p for n, p in roster.places.items() if str(n) == request.args.get("edit")), None)
    return draw("settings_sites.html", "settings.places", places=list(roster.places.values()),
                groups_at=by_site, edited=edited)  # fmt: skip


@blueprint.post("/settings/sites")
@auth.needs(EDITS)
def add_place() -> Response:
    """Makes a site."""
    user = auth.user_now()

    def work() -> str:
        name, kind = forms.text_of("name"), forms.text_of("kind")
        return settings.add_site(db.session(), user.township, name, kind, user)

    said = gettext("Entered. A kiosk can be paired for it now.")
    return forms.carried_out("add_site", url_for("settings.places"), said, work)


@blueprint.post("/settings/sites/<int(max=9223372036854775807):number>")
@auth.needs(EDITS)
def rename_place(number: int) -> Response:
    """Renames a site."""
    user = auth.user_now()

    def work() -> str:
        name = forms.text_of("name")
        return settings.rename_site(db.session(), user.township, number, name, user)

    return forms.carried_out("rename_site", url_for("settings.places"), gettext("Changed."), work)

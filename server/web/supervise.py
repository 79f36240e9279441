"""The supervisors' pages: day sheet, sites, audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from flask import Blueprint, Response, abort, render_template, request, url_for

from attendance.days import day_of, to_ms
from attendance.whereabouts import STALE_AFTER_MS
from server import db
from server.context import now
from server.services import audit, daysheet, townships
from server.services.daysheet import DayRow, DaySheet, SiteState
from server.web import auth, sheets, words
from server.web.csvs import csv_file
from server.web.language import clock_words, lang
from server.web.say import gettext

#: Entries of the audit trail on one page.
TRAIL_LENGTH = 500

blueprint = Blueprint("supervise", __name__)


@dataclass(frozen=True)
class Chosen:
    """What the reader filters by; "" for everything."""

    group: str
    site: str
    verdict: str

    def fits_place(self, row: DayRow) -> bool:
        """Whether the row is of the chosen group and site."""
        here = not self.site or self.site in row.expected_sites
        here = here or any(entry.site == self.site for entry in row.entries)
        return here and (not self.group or row.work_group == self.group)


@dataclass(frozen=True)
class SiteLine:
    """A site of the strip in words."""

    name: str
    kind: str
    complete: bool
    complete_words: str
    contact_words: str


def today() -> date:
    """The present day in Asia/Shanghai."""
    return day_of(to_ms(now()))


def date_asked(name: str, default: date) -> date:
    """A date of the query; 400 where it is none, or outside of the years that can be shown."""
    text = request.args.get(name, "")
    if not text:
        return default
    try:
        found = date.fromisoformat(text)
    except ValueError:
        abort(400)
    if not date(2000, 1, 1) <= found <= date(2199, 12, 31):
        abort(400)
    return found


def moment_words(moment: datetime | None, day: date | None = None) -> str:
    """A moment on the clock, "" for never."""
    return "" if moment is None else clock_words(to_ms(moment), day)


def _site_line(site: SiteState) -> SiteLine:
    present = today()
    return SiteLine(
        site.name,
        site.kind,
        site.complete,
        moment_words(site.complete_until, present),
        moment_words(site.last_contact, present),
    )


def _read(what: str) -> tuple[DaySheet, Chosen, list[DayRow]]:
    day = date_asked("date", today())
    chosen = Chosen(*(request.args.get(name, "") for name in ("group", "site", "verdict")))
    auth.note(what, day.isoformat())
    sheet = daysheet.day_sheet(db.session(), auth.user_now().township, day, now())
    return sheet, chosen, [row for row in sheet.rows if chosen.fits_place(row)]


@blueprint.get("/day")
@auth.needs(auth.STAFF)
def day() -> str:
    """Who should have come, who came, when, how, and how sure that is."""
    sheet, chosen, rows = _read("view_day")
    shown = [row for row in rows if not chosen.verdict or row.verdict == chosen.verdict]
    kept = {k: v for k, v in vars(chosen).items() if v}

    def link(view: str = "supervise.day", **changed: str) -> str:
        return url_for(view, **{"date": sheet.day.isoformat(), **kept, **changed})

    links = {
        "before": link(date=(sheet.day - timedelta(1)).isoformat()),
        "after": link(date=(sheet.day + timedelta(1)).isoformat()) if sheet.day < today() else "",
        "csv": link("supervise.day_csv"),
        "verdict": lambda verdict: link(verdict="" if chosen.verdict == verdict else verdict),
    }
    counts = [(key, sum(row.verdict == key for row in rows)) for key in words.VERDICTS]
    sites = [_site_line(site) for site in sheet.sites]
    return render_template(
        "day.html",
        sheet=sheet,
        groups=[(k, list(g)) for k, g in groupby(shown, key=lambda row: row.work_group)],
        shown=len(shown),
        counts=[(key, number) for key, number in counts if number],
        doubtful=sum(row.doubtful for row in rows),
        sites=sites,
        whole_sites=sum(site.complete for site in sites),
        links=links,
        chosen=chosen,
        choices={
            "groups": list(dict.fromkeys(row.work_group for row in sheet.rows if row.work_group)),
            "sites": [site.name for site in sheet.sites],
            "verdicts": list(words.VERDICTS),
        },
        as_of=clock_words(to_ms(now()), sheet.day),
        sheets=sheets,
    )


def record_header() -> list[str]:
    """The columns that day and history CSV share, from the verdict on."""
    return [
        gettext("Verdict"),
        gettext("Time"),
        gettext("Earliest"),
        gettext("Latest"),
        gettext("Clock class"),
        gettext("Site"),
        gettext("Record"),
        gettext("Status"),
        gettext("Method"),
        gettext("Reason"),
        gettext("Likeness"),
        gettext("Kiosk"),
        gettext("Number"),
        gettext("Marks"),
        gettext("To look into"),
    ]


def record_lines(row: DayRow, day: date) -> Iterable[list[object]]:
    """A line for each record of a row, or one without where there is none."""
    between = "；" if lang() == "zh" else "; "
    found = between.join(words_.word for words_ in sheets.row_findings(row))
    verdict = words.verdict_word(row.verdict)
    for entry in row.entries:
        yield [
            verdict,
            sheets.entry_time(entry, day),
            clock_words(entry.earliest_ms),
            clock_words(entry.latest_ms),
            entry.cls,
            entry.site,
            words.kind_word(entry.kind),
            words.status_word(entry.status),
            words.method_word(entry.method),
            words.reason_words(entry.reason),
            None if entry.score is None else f"{entry.score:.3f}",
            entry.device,
            f"{entry.epoch}/{entry.seq}",
            between.join(flag.word for flag in sheets.entry_flags(entry)),
            found,
        ]
    if not row.entries:
        yield [verdict, *[None] * 13, found]


@blueprint.get("/day.csv")
@auth.needs(auth.STAFF)
def day_csv() -> Response:
    """The day sheet as a table, a line for each record, filtered as on the page."""
    sheet, chosen, rows = _read("csv_day")
    between = "；" if lang() == "zh" else "; "
    header = [
        gettext("Day"),
        gettext("Work group"),
        gettext("Official"),
        gettext("Title"),
        gettext("Id"),
        gettext("Expected at"),
        *record_header(),
    ]
    lines = [
        [
            sheet.day.isoformat(),
            row.work_group,
            row.name,
            row.title,
            row.official,
            between.join(row.expected_sites),
            *line,
        ]
        for row in rows
        if not chosen.verdict or row.verdict == chosen.verdict
        for line in record_lines(row, sheet.day)
    ]
    return csv_file(f"day-{sheet.day.isoformat()}", header, lines)


@blueprint.get("/sites")
@auth.needs(auth.STAFF)
def sites() -> str:
    """Every site and its kiosks: when last heard, how complete, what was set aside."""
    session, township, day = db.session(), auth.user_now().township, today()
    kiosks = townships.kiosks(session, township)
    paired = {kiosk.site for kiosk in kiosks}
    return render_template(
        "sites.html",
        kiosks=kiosks,
        empty=[site for site in townships.sites(session, township) if site.name not in paired],
        moment=lambda moment: moment_words(moment, day),
        silent=lambda moment: moment is None or to_ms(now()) - to_ms(moment) > STALE_AFTER_MS,
        state_word=words.device_state_word,
        health_words=words.health_words,
    )


@blueprint.get("/audit")
@auth.needs(auth.TRAIL)
def trail() -> str:
    """Who looked at or changed what."""
    auth.note("view_audit")
    entries = audit.recent(db.session(), auth.user_now().township, TRAIL_LENGTH)
    return render_template(
        "audit.html",
        entries=entries,
        longest=TRAIL_LENGTH,
        act_word=words.act_word,
        who_words=words.who_words,
    )

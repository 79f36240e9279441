"""The supervisors' pages: day sheet, sites, audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from flask import Blueprint, Response, render_template, request

from attendance.days import day_of, to_ms
from attendance.whereabouts import STALE_AFTER_MS
from server import db
from server.context import now
from server.services.access.permissions import Act, may
from server.services.paired import erasures, proposals, reenrolments
from server.services.rulings import corrections
from server.services.sheets import daysheet
from server.services.sheets.daysheet import DayRow, DaySheet, SiteState
from server.services.township import townships
from server.web import auth, sheets, words
from server.web.csvs import csv_file
from server.web.language import clock_words, lang, short_day
from server.web.picks import PAGE, Chosen, date_asked, today
from server.web.say import _l, gettext

# A hundred sites stand on every day sheet: each sentence is looked up once.
_COMPLETE, _NOT_COMPLETE = _l("records complete up to %(at)s"), _l("no complete records yet")
_HEARD, _NOT_HEARD = _l("last contact %(at)s"), _l("never heard from")

blueprint = Blueprint("supervise", __name__)


@dataclass(frozen=True)
class SiteLine:
    """A site of the strip in words."""

    name: str
    kind: str
    complete: bool
    complete_words: str
    contact_words: str


def moment_words(moment: datetime | None, day: date | None = None) -> str:
    """A moment on the clock, "" for never."""
    return "" if moment is None else clock_words(to_ms(moment), day)


def _site_line(site: SiteState, present: date) -> SiteLine:
    complete, heard = site.complete_until, site.last_contact
    return SiteLine(
        site.name,
        site.kind,
        site.complete,
        str(_NOT_COMPLETE) if complete is None
        else str(_COMPLETE) % {"at": moment_words(complete, present)},
        str(_NOT_HEARD) if heard is None else str(_HEARD) % {"at": moment_words(heard, present)},
    )  # fmt: skip


def _read(what: str, page: bool) -> tuple[DaySheet, Chosen]:
    day, chosen = date_asked("date", today()), Chosen.asked()
    auth.note(what, day.isoformat())
    whole = not page or request.args.get("all") == "1"
    sheet = daysheet.day_sheet(
        db.session(),
        auth.user_now().township,
        day,
        now(),
        chosen.fits_day,
        chosen.verdict,
        0 if whole else chosen.first,
        None if whole else PAGE,
    )
    return sheet, chosen


@blueprint.get("/day")
@auth.needs(auth.STAFF)
def day() -> str:
    """Who should have come, who came, when, how, and how sure that is."""
    sheet, chosen = _read("view_day", page=True)
    user = auth.user_now()
    base = {"date": sheet.day.isoformat()}

    def link(view: str = "supervise.day", **changed: str) -> str:
        return chosen.link(view, base, **changed)

    links = {
        "before": link(date=(sheet.day - timedelta(1)).isoformat()),
        "after": link(date=(sheet.day + timedelta(1)).isoformat()) if sheet.day < today() else "",
        "csv": link("supervise.day_csv"),
        "all": link(all="1"),
        "week": link("grids.week"),
        "verdict": lambda verdict: link(verdict="" if chosen.verdict == verdict else verdict),
        "page": lambda number: link(page=str(number)),
    }
    present = today()
    sites = [_site_line(site, present) for site in sheet.sites]
    decided = corrections.of_days(
        db.session(), user.township, sheet.day, sheet.day, [r.official for r in sheet.rows]
    )
    return render_template(
        "day.html",
        sheet=sheet,
        groups=[(k, list(g)) for k, g in groupby(sheet.rows, key=lambda row: row.work_group)],
        shown=sheet.fitting,
        counts=[(key, sheet.counts[key]) for key in words.VERDICTS if sheet.counts.get(key)],
        doubtful=sheet.doubtful,
        sites=sites,
        whole_sites=sum(site.complete for site in sites),
        links=links,
        chosen=chosen,
        pages=chosen.pages(sheet.fitting) if request.args.get("all") != "1" else [1],
        decided=lambda row: decided.get((row.official, sheet.day), []),
        may_propose=may(user, Act.PROPOSE),
        choices={
            "groups": sheet.groups,
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
    sheet, _ = _read("csv_day", page=False)
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
        for row in sheet.rows
        for line in record_lines(row, sheet.day)
    ]
    return csv_file(f"day-{sheet.day.isoformat()}", header, lines)


@blueprint.get("/sites")
@auth.needs(auth.STAFF)
def sites() -> str:
    """Every site and its kiosks: when last heard, how complete, what was set aside; who withdrew a
    consent, is to be enrolled again, or has pictures that wait, which is a look at them."""
    session, township = db.session(), auth.user_now().township
    waiting = proposals.pending(session, township, now())
    gone, again = erasures.withdrawals(session, township), reenrolments.asked(session, township)
    named = {one.official for listed in (waiting, gone, again) for one in listed}
    if named:
        auth.note("view_sites", " ".join(sorted(named)))
    session, township, day = db.session(), auth.user_now().township, today()
    kiosks = townships.kiosks(session, township, now())
    paired = {kiosk.site for kiosk in kiosks}
    return render_template(
        "sites.html",
        kiosks=kiosks,
        empty=[site for site in townships.sites(session, township) if site.name not in paired],
        moment=lambda moment: moment_words(moment, day),
        day_words=lambda moment: short_day(day_of(to_ms(moment))),
        silent=lambda moment: moment is None or to_ms(now()) - to_ms(moment) > STALE_AFTER_MS,
        state_word=words.device_state_word,
        health_words=words.health_words,
        withdrawals=gone,
        proposals=waiting,
        again=again,
        at=lambda at_ms: clock_words(at_ms, day),
    )

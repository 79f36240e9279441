"""The list of officials, and one official's history."""

from __future__ import annotations

import re
from datetime import date, timedelta

from flask import Blueprint, Response, abort, render_template, request, url_for

from server import db
from server.context import now
from server.errors import InputInvalid, NotFound
from server.services.paired import reenrolments
from server.services.sheets import daysheet
from server.services.sheets.daysheet import History
from server.services.township.townships import officials
from server.web import auth, sheets
from server.web.csvs import csv_file
from server.web.language import short_day
from server.web.picks import date_asked, page_asked, pages_of, part, today
from server.web.say import gettext
from server.web.supervise import record_header, record_lines

#: Days that a history shows unless asked otherwise.
USUAL_DAYS = 31

#: `attendance.records.OfficialId`.
_CODE = re.compile(r"[A-Za-z0-9-]{1,32}")

blueprint = Blueprint("officials", __name__)


@blueprint.get("/officials")
@auth.needs(auth.STAFF)
def people() -> str:
    """Everybody of the township, searched by name, telephone or id."""
    query = request.args.get("q", "").strip()[:40]
    auth.note("view_officials", query)
    found = officials(db.session(), auth.user_now().township, query)
    page = page_asked()
    return render_template(
        "officials.html",
        people=part(found, page),
        number=len(found),
        query=query,
        page=page,
        pages=pages_of(len(found)),
        page_link=lambda n: url_for("officials.people", q=query or None, page=n),
    )


def _read(what: str, code: str) -> tuple[History, date, date]:
    if not _CODE.fullmatch(code):
        abort(404)
    last = date_asked("last", today())
    first = date_asked("first", last - timedelta(USUAL_DAYS - 1))
    if not timedelta(0) <= last - first < timedelta(daysheet.MAX_DAYS):
        abort(400)
    auth.note(what, f"{code} {first.isoformat()}..{last.isoformat()}")
    try:
        history = daysheet.official_history(
            db.session(), auth.user_now().township, code, first, last, now()
        )
    except NotFound:
        abort(404)
    except InputInvalid:
        abort(400)
    return history, first, last


@blueprint.get("/officials/<code>")
@auth.needs(auth.STAFF)
def history(code: str) -> str:
    """One official's days, newest first."""
    found, first, last = _read("view_history", code)
    return render_template(
        "history.html",
        history=found,
        first=first,
        last=last,
        longest=daysheet.MAX_DAYS,
        sheets=sheets,
        again=reenrolments.asked(db.session(), auth.user_now().township, code),
        short_day=short_day,
    )


@blueprint.get("/officials/<code>.csv")
@auth.needs(auth.STAFF)
def history_csv(code: str) -> Response:
    """The history as a table, a line for each record."""
    found, first, last = _read("csv_history", code)
    header = [gettext("Day"), gettext("Official"), gettext("Id"), *record_header()]
    lines = [
        [one.day.isoformat(), found.name, found.official, *line]
        for one in found.days
        for line in record_lines(one.row, one.day)
    ]
    return csv_file(f"official-{code}-{first.isoformat()}-{last.isoformat()}", header, lines)

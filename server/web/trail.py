"""The audit trail: who looked at or changed what, when, from where; found, and saved as a table."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, Response, abort, render_template, request, url_for

from server import db
from server.services.evidence import audit
from server.services.evidence.audit import Wanted
from server.web import auth, words
from server.web.csvs import csv_file
from server.web.language import clock_words
from server.web.say import gettext

#: Entries on one page, and in one table.
LENGTH = 200
MOST = 20_000

blueprint = Blueprint("trail", __name__)


def _day(name: str) -> date | None:
    text = request.args.get(name, "")
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        abort(400)
    if day is not None and not 2000 <= day.year <= 2199:
        abort(400)
    return day


def _wanted() -> Wanted:
    who, what, text, remote = (
        request.args.get(name, "").strip()[:100] for name in ("who", "what", "text", "remote")
    )
    return Wanted(who, what, text, remote, _day("first"), _day("last"))


def _asked(wanted: Wanted) -> dict[str, str]:
    """The filters in force, for links and for the trail itself."""
    fields = ("who", "what", "text", "remote", "first", "last")
    held = {name: getattr(wanted, name) for name in fields}
    return {name: str(value) for name, value in held.items() if value}


def _noted(wanted: Wanted) -> str:
    return " ".join(f"{name}={value}" for name, value in _asked(wanted).items())


@blueprint.get("/audit")
@auth.needs(auth.TRAIL)
def page() -> str:
    """The newest entries that are asked for; a look at them is one itself."""
    wanted, before = _wanted(), request.args.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        abort(400)
    auth.note("view_audit", _noted(wanted))
    entries = audit.recent(
        db.session(), auth.user_now().township, LENGTH + 1, wanted, int(before) if before else None
    )
    asked = _asked(wanted)
    older = asked | {"before": str(entries[LENGTH - 1].id)} if len(entries) > LENGTH else None
    return render_template(
        "audit.html",
        entries=entries[:LENGTH],
        wanted=wanted,
        asked=asked,
        older=url_for("trail.page", **older) if older else "",  # type: ignore[arg-type]
        newest=url_for("trail.page", **asked) if before else "",  # type: ignore[arg-type]
        table=url_for("trail.table", **asked),  # type: ignore[arg-type]
        acts=sorted((str(word), act) for act, word in words.ACTS.items()),
        act_word=words.act_word,
        who_words=words.who_words,
        most=MOST,
    )


@blueprint.get("/audit.csv")
@auth.needs(auth.TRAIL)
def table() -> Response:
    """What is asked for as a table, the newest entries first."""
    wanted = _wanted()
    auth.note("csv_audit", _noted(wanted))
    entries = audit.recent(db.session(), auth.user_now().township, MOST, wanted)
    header = [gettext("Number"), gettext("When"), gettext("Who"), gettext("What"),
              gettext("Word"), gettext("Of what"), gettext("From where")]  # fmt: skip
    lines = (
        [e.id, clock_words(e.at_ms), words.who_words(e.who), words.act_word(e.what), e.what,
         e.target, e.remote]
        for e in entries
    )  # fmt: skip
    return csv_file("audit", header, lines)

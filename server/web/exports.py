"""Papers to keep and to sign: XLSX, CSV and PDF of month sheet, allowance statement, findings."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from werkzeug.wrappers import Response as Answer

from server import db, printing, tables
from server.context import now
from server.errors import InputInvalid, NotFound
from server.rules.calendar import month_days
from server.rules.findings import STATES
from server.services.rulings import findings, statements
from server.services.sheets.months import grid
from server.services.sheets.roster import roster_of
from server.web import auth, jobs, papers, ruling_words, xlsx
from server.web.csvs import csv_file
from server.web.papers import Paper
from server.web.picks import Chosen, month_after, month_asked, today
from server.web.say import gettext

blueprint = Blueprint("exports", __name__)
#: Cells from which on a table is written beside the worker, with a page that says how far it is: a
#: month of 250 officials.
LONG = 10_000
_MIMES = {"pdf": "application/pdf", "xlsx": xlsx.MIME, "csv": "text/csv"}


@lru_cache(maxsize=4)
def _css(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def answer(paper: Paper, kind: str) -> Response | Answer:
    """The paper as a file, or as the page that says how far a PDF or a long table is."""
    if kind != "pdf" and cells_of(paper) < LONG:
        if kind == "xlsx":
            return xlsx.xlsx_file(paper.name, paper.sheets)
        first = paper.sheets[0]
        return csv_file(paper.name, first.header, [*first.rows, *first.below])
    if kind == "pdf":
        css = _css(Path(current_app.static_folder or "") / "paper.css")
        content, size = papers.html_of(paper, css), papers.pages_of(paper)
    else:
        written = paper.sheets if kind == "xlsx" else paper.sheets[:1]
        content, size = tables.packed(tables.Tables(kind, written)), tables.rows_of(written)
    try:
        made = jobs.start(auth.user_now(), paper.name, paper.title, content, size, kind, back())
    except InputInvalid as error:
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(back(), 303)
    if made.file is not None:
        return _file(made)
    return redirect(url_for("exports.progress", token=made.token), 303)


def cells_of(paper: Paper) -> int:
    """How many cells its tables have."""
    return sum(len(list(sheet.rows)) * len(sheet.header) for sheet in paper.sheets)


def back() -> str:
    """The page that the paper was asked for on, with its choices."""
    view = {"exports.month": "grids.month", "exports.allowance": "allowance.page",
            "exports.listing": "inspect.listing"}  # fmt: skip
    asked: dict[str, str] = {k: v for k, v in request.args.items() if k.isidentifier()}
    return url_for(view.get(request.endpoint or "", "grids.month"), **asked)  # type: ignore[arg-type]


def _file(made: jobs.Job) -> Response:
    if made.file is None:
        abort(404)
    return send_file(
        made.file.resolve(), mimetype=_MIMES[made.meta.kind], as_attachment=True,
        download_name=f"{made.meta.name}.{made.meta.kind}", max_age=0,
    )  # fmt: skip


@blueprint.get("/month.<any(xlsx, csv, pdf):kind>")
@auth.needs(auth.STAFF)
def month(kind: str) -> Response | Answer:
    """The month sheet of everybody who fits."""
    asked, chosen = month_asked(today().isoformat()[:7]), Chosen.asked()
    auth.note(f"{kind}_month", asked)
    township = auth.user_now().township
    made = grid(db.session(), township, month_days(asked), now(), chosen.fits_person, chosen.where)
    return answer(papers.month_paper(made, asked, township.name), kind)


@blueprint.get("/allowance.<any(xlsx, csv, pdf):kind>")
@auth.needs(auth.STAFF)
def allowance(kind: str) -> Response | Answer:
    """The statement as it was signed, or as it stands now; of a CSV, which has one table alone, its
    lines where `lines=1` asks for them."""
    asked, chosen = month_asked(month_after(today().isoformat()[:7], -1)), Chosen.asked()
    auth.note(f"{kind}_allowance", asked)
    township, session = auth.user_now().township, db.session()
    signed = statements.signature_of(session, township, asked)
    made = (
        statements.statement_of(session, township, asked, now())
        if signed is None
        else statements.signed_statement(session, township, asked)
    )
    roster = roster_of(session, township)
    people = [
        p for p in made.people
        if chosen.fits_stated(roster, p.official, p.name, p.group)
    ]  # fmt: skip
    paper = papers.allowance_paper(made, signed, people)
    if kind == "csv" and request.args.get("lines") == "1":
        paper = replace(paper, name=f"{paper.name}-lines", sheets=paper.sheets[-1:])
    return answer(paper, kind)


@blueprint.get("/findings.<any(xlsx, csv, pdf):kind>")
@auth.needs(auth.STAFF)
def listing(kind: str) -> Response | Answer:
    """Findings in a state, or all."""
    state = request.args.get("state", "")
    if state not in ("", *STATES):
        abort(400)
    auth.note(f"{kind}_findings", state)
    township = auth.user_now().township
    found = findings.listing(db.session(), township, state)
    return answer(papers.findings_paper(found, state, township.name), kind)


@blueprint.get("/exports/<token>")
@auth.needs(auth.STAFF)
def progress(token: str) -> str:
    """How far a paper is; the page asks again by itself."""
    try:
        made = jobs.job(auth.user_now(), token)
    except NotFound:
        abort(404)
    said = ""
    if made.error == printing.LIBRARIES:
        said = gettext(
            "This server cannot make PDFs: libpango-1.0-0, libpangoft2-1.0-0 and "
            "libharfbuzz-subset0 are missing. Print the page from the browser instead."
        )
    elif made.error and made.meta.kind == "pdf":
        said = gettext("The PDF could not be made. Choose fewer people, or save as XLSX.")
    elif made.error:
        said = gettext("The table could not be made. Choose fewer people.")
    return render_template(
        "export.html", job=made, said=said, back=made.meta.back,
        pages=max(made.meta.pages, made.page + 1),
    )  # fmt: skip


@blueprint.get("/exports/<token>/file")
@auth.needs(auth.STAFF)
def file(token: str) -> Response:
    """The finished paper."""
    try:
        made = jobs.job(auth.user_now(), token)
    except NotFound:
        abort(404)
    if made.file is not None:
        auth.note("view_export", f"{made.meta.name}.{made.meta.kind}")
    return _file(made)

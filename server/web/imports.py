"""Bulk import: a template, a preview with every row's fate, one transaction, and undoing."""

from __future__ import annotations

import hashlib
import re

from flask import Blueprint, abort, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.services.access.permissions import may
from server.services.evidence import audit
from server.services.imports import batches, undoing
from server.services.imports.plans import COLUMNS, FATES, NEEDED, plan
from server.services.imports.tables import MAX_BYTES, MAX_ROWS
from server.services.sheets.roster import roster_of
from server.services.township.deciders import deciders
from server.web import auth, forms, ruling_words, security, xlsx
from server.web.language import lang
from server.web.leave_words import entering_words
from server.web.picks import PAGE, Chosen
from server.web.say import Later, _l, gettext
from server.web.settings import draw

blueprint = Blueprint("imports", __name__)
security.UPLOADS["imports.send"] = MAX_BYTES + security.MAX_FORM

KINDS: dict[str, Later] = {
    "officials": _l("Officials"),
    "rosters": _l("Rosters"),
    "leave": _l("Leave and trips"),
}
ABOUT: dict[str, Later] = {
    "officials": _l("New officials, and changes to those that are there. A column that is missing "
                    "changes nothing; an empty cell empties the field."),
    "rosters": _l("Exceptions by date (expected at a site, not expected, as the pattern says), and "
                  "weekly patterns that begin on a day."),
    "leave": _l("Leave and trips, to be decided by a leader other than who imports them."),
}  # fmt: skip
FATE_WORDS: dict[str, tuple[Later, str]] = {
    "new": (_l("will be entered"), "v-came"),
    "changed": (_l("will be changed"), "v-trip"),
    "same": (_l("is so already"), "v-not_expected"),
    "refused": (_l("is left out"), "v-leave"),
    "back": (_l("taken back"), "v-came"),
    "kept": (_l("changed since, left as it is"), "v-late"),
    "begun": (_l("approved and begun, left as it is"), "v-late"),
}
DONE_WORDS: dict[str, Later] = {"new": _l("entered"), "changed": _l("changed")}
#: Why a row is refused (`server.services.imports.plans`).
WHY: dict[str, Later] = {
    "formula": _l("a cell holds a formula: paste it as a value"),
    "official_code": _l("the id is missing or has other characters"),
    "unknown_official": _l("the roster has no such id"),
    "other_name": _l("the id belongs to another name: %(about)s"),
    "twice": _l("the same comes twice in the table"),
    "inactive": _l("no longer on the roster"),
    "own": _l("nobody changes their own"),
    "households": _l("a number of households is 0 to 10,000"),
    "name": _l("the name is missing"),
    "unknown_site": _l("there is no site %(about)s"),
    "unknown_shift": _l("there is no shift %(about)s"),
    "what": _l("what is to hold cannot be understood: %(about)s"),
    "status": _l("leave or trip? %(about)s"),
    "date": _l("this is no date: %(about)s"),
    "order": _l("the last day is before the first"),
    "weekdays": _l("the weekdays cannot be understood: %(about)s"),
    "past": _l("a pattern changes from today on"),
    "over": _l("that day is over: enter leave or a trip, or propose a correction"),
    "too_many_days": _l("too many days"),
    "overlaps": _l("overlaps leave or a trip that is there"),
}
EXAMPLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "officials": (
        ("QS-101", "王建国", "驻村干部", "13800000000", "低保、医保", "64", "杏树村组", "杏树村"),
    ),
    "rosters": (
        ("QS-101", "王建国", "2026-12-01", "2026-12-03", "到站点", "石桥村", "", "", "防汛"),
        ("QS-101", "王建国", "2026-12-05", "", "不安排", "", "", "", "轮休"),
        ("QS-101", "王建国", "2026-12-08", "", "每周", "杏树村", "一三五", "日班", ""),
    ),
    "leave": (("QS-101", "王建国", "请休假", "2026-12-01", "2026-12-02", "年休假"),
              ("QS-101", "王建国", "出差", "2026-12-09", "2026-12-09", "县里培训")),
}  # fmt: skip


def may_import(kind: str) -> bool:
    """Whether this request's user may import that kind of table."""
    return may(auth.user_now(), batches.NEEDS[kind])


@blueprint.get("/settings/import")
@auth.needs(auth.STAFF)
def page() -> str:
    """What can be imported, and what was."""
    listed = batches.batches(db.session(), auth.user_now().township)
    return draw(
        "settings_import.html", "imports.page",
        kinds=[k for k in KINDS if may_import(k)], kind_words=KINDS, about=ABOUT, batches=listed,
        megabytes=MAX_BYTES >> 20, most=MAX_ROWS,
    )  # fmt: skip


@blueprint.get("/settings/import/<any(officials, rosters, leave):kind>.xlsx")
@auth.needs(auth.STAFF)
def template(kind: str) -> Response:
    """The table to fill in: officials as they are, the others empty."""
    header = [heads[0 if lang() == "zh" else 1] for heads in COLUMNS[kind].values()]
    rows: list[list[object]] = []
    if kind == "officials":
        auth.note("template_officials")
        rows = [
            [p.official, p.name, p.title, p.phone, p.duties, p.households, p.group,
             "；".join(q.place.name for q in p.patterns if q.last is None)]
            for p in roster_of(db.session(), auth.user_now().township).people
            if p.active
        ]  # fmt: skip
    needed = "、".join(header[list(COLUMNS[kind]).index(name)] for name in NEEDED[kind])
    notes = xlsx.Sheet(
        gettext("Notes"), header, EXAMPLES[kind], [14] * len(header),
        above=(str(KINDS[kind]), str(ABOUT[kind]),
               gettext("Needed: %(columns)s. Only the first sheet is read.", columns=needed),
               gettext("Dates: 2026-11-25, 2026/11/25 or 2026年11月25日. Examples:")),
    )  # fmt: skip
    return xlsx.xlsx_file(
        f"quxiang-{kind}", [xlsx.Sheet(str(KINDS[kind]), header, rows, [14] * len(header)), notes]
    )


@blueprint.post("/settings/import")
@auth.needs(auth.STAFF)
def send() -> Response:
    """Takes a table and shows what it would do."""
    user, session = auth.user_now(), db.session()
    file, kind = request.files.get("file"), request.form.get("kind", "")
    if kind not in KINDS:
        abort(400)
    body = b"" if file is None else file.stream.read(MAX_BYTES + 1)
    name = "" if file is None else file.filename or ""
    try:
        draft = batches.keep_draft(session, user.township, kind, name, body, user, now())
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(url_for("imports.page"), 303)
    said = f"{kind} {draft.name} {hashlib.sha256(body).hexdigest()}"
    audit.note(session, user, "import_draft", said, now(), auth.remote())
    session.commit()
    return redirect(url_for("imports.preview", token=draft.token), 303)


def why_words(why: str, about: str) -> str:
    """Why a row is refused, in words."""
    said = str(WHY.get(why, why))
    return said % {"about": about} if "%(about)s" in said else said


def about_words(kind: str, about: str) -> str:
    """What a row changes, its fields named as the table's heads name them."""
    number = 0 if lang() == "zh" else 1

    def head(found: re.Match[str]) -> str:
        heads = COLUMNS[kind].get(found[2])
        return found[0] if heads is None else f"{found[1]}{heads[number]}: "

    return re.sub(r"(^|; )(\w+): ", head, about)


@blueprint.get("/settings/import/draft/<token>")
@auth.needs(auth.STAFF)
def preview(token: str) -> str:
    """Every row's fate, with what the roster holds now beside it; nothing is written."""
    chosen, fate = Chosen.asked(), request.args.get("fate", "")
    if fate not in ("", *FATES):
        abort(400)
    user = auth.user_now()
    try:
        asked = batches.draft_of(db.session(), user.township, token, user)
    except NotFound:
        abort(404)
    auth.note("view_preview", f"{asked.kind} {asked.name}")
    session = db.session()
    try:
        draft = batches.draft_of(session, user.township, token, user)
        made = plan(session, user.township, draft.kind, draft.content, user, now())
    except (NotFound, InputInvalid):
        abort(404)
    shown = [row for row in made.fates if not fate or row.fate == fate]
    of_leave = draft.kind == "leave"

    def link(page: int = 1, **changed: str) -> str:
        asked = {"fate": fate, **changed}
        return url_for("imports.preview", token=token, page=page, **asked)  # type: ignore[arg-type]

    return draw(
        "settings_preview.html", "imports.page",
        draft=draft, plan=made, rows=shown[chosen.first : chosen.first + PAGE], fate=fate,
        pages=chosen.pages(len(shown)), page=chosen.page, link=link, fate_words=FATE_WORDS,
        why_words=why_words, about_words=about_words, kind_word=KINDS[draft.kind],
        writes=sum(row.act is not None for row in made.fates),
        warned=entering_words(deciders(session, user.township), user) if of_leave else "",
    )  # fmt: skip


@blueprint.post("/settings/import/draft/<token>")
@auth.needs(auth.STAFF)
def apply(token: str) -> Response:
    """Writes what was shown, in one transaction."""
    user, made = auth.user_now(), []

    def work() -> str:
        seen = forms.text_of("seen")
        batch = batches.apply_draft(db.session(), user.township, token, seen, user, now())
        made.append(batch.id)
        return f"{batch.id} {batch.kind} {batch.name} {batch.rows} {batch.sha256}"

    said = gettext("Imported.")
    return forms.carried_out("import", lambda: url_for("imports.one", number=made[0]), said, work)


@blueprint.get("/settings/import/<int(max=9223372036854775807):number>")
@auth.needs(auth.STAFF)
def one(number: int) -> str:
    """What an import wrote, or what its undoing took back."""
    auth.note("view_import", str(number))
    session, township = db.session(), auth.user_now().township
    chosen = Chosen.asked()
    try:
        batch = batches.batch_of(session, township, number)
    except NotFound:
        abort(404)
    read = batches.written_of if batch.undoes is None else undoing.undone_of
    rows = read(session, township, number)
    return draw(
        "settings_batch.html", "imports.page",
        batch=batch, rows=rows[chosen.first : chosen.first + PAGE], pages=chosen.pages(len(rows)),
        page=chosen.page, link=lambda n: url_for("imports.one", number=number, page=n),
        fate_words=FATE_WORDS, done_words=DONE_WORDS, kind_word=KINDS[batch.kind],
        may_undo=may_import(batch.kind) and batch.undoes is None and batch.undone is None,
        kept=batch.undoes is not None and any(row.fate == "kept" for row in rows),
        begun=sum(row.fate == "begun" for row in rows),
    )  # fmt: skip


@blueprint.post("/settings/import/<int(max=9223372036854775807):number>/undo")
@auth.needs(auth.STAFF)
def undo(number: int) -> Response:
    """Takes an import back."""
    user, made = auth.user_now(), []

    def work() -> str:
        row = undoing.undo(db.session(), user.township, number, user, now())
        made.append(row.id)
        return f"{number} → {row.id}"

    def back() -> str:
        return url_for("imports.one", number=made[0])

    if not request.form.get("sure"):
        abort(400)
    return forms.carried_out("undo_import", back, gettext("Taken back."), work)

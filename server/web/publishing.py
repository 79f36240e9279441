"""What the township shows to everybody, decided on a page; plates for doors and desks."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from server import db, paper
from server.context import context, now
from server.errors import InputInvalid, NotAllowed, PaperMissing
from server.models import TOWNSHIP_ROLES, Role
from server.services.evidence import audit
from server.services.public import plates, publication
from server.services.rulings import attachments
from server.services.township.townships import officials
from server.web import auth, platefit, security
from server.web.duty import RECEIVES
from server.web.forms import attached
from server.web.language import clock_words
from server.web.picks import today
from server.web.say import _l, gettext

DECIDES = frozenset({Role.LEADER, Role.ADMIN})
#: Who prints plates: the township's own people.
PRINTS = frozenset(TOWNSHIP_ROLES)
FIELD_WORDS = {
    "portrait": _l("Photograph (the consented portrait)"),
    "title": _l("Title"),
    "phone": _l("Telephone"),
    "duties": _l("Duties"),
    "work_group": _l("Work group"),
    "until": _l("Expected return"),
    "since": _l("Since when the status holds"),
    "village": _l("Which village or office"),
    "reason": _l("Reason for being away (never of a leave)"),
}
REFUSALS = {
    "unknown_field": _l("There is no such field."),
    "assessment": _l(
        "Showing the board beyond your own network needs the signed impact assessment: attach it "
        "and say who signed it."
    ),
    "day": _l("Give the day of the signature; it is not in the future."),
    "attachment": _l("The paper is a picture or a PDF of at most 2 MB."),
    "nobody": _l("Choose at least one person."),
    "too_many": _l("Too many people for one PDF: make it in parts."),
    "address": _l("Give the server's address, such as https://quxiang.example.cn"),
}
KINDS = {"door": _l("Door plates (two on a sheet)"), "desk": _l("Desk plates (to be folded)")}

blueprint = Blueprint("publishing", __name__)
security.UPLOADS["publishing.decide"] = attachments.MAX_BYTES + security.MAX_FORM


@blueprint.get("/publication")
@auth.needs(auth.STAFF)
def page() -> str:
    """What is public now, who decided it, and the form for whoever may."""
    return _page()


def _page(refused: str = "", typed: publication.Publication | None = None) -> str:
    user = auth.user_now()
    held = publication.publication(db.session(), user.township_id)
    return render_template(
        "publication.html",
        held=held,
        shown=typed or held,
        fields=publication.FIELDS,
        field_words=FIELD_WORDS,
        may=user.role in DECIDES,
        today=today(),
        clock_words=clock_words,
        refused=refused,
    )


@blueprint.post("/publication")
@auth.needs(DECIDES)
def decide() -> Answer | tuple[str, int]:
    """Appends what was decided; it holds from the next look at the board."""
    session, user, present = db.session(), auth.user_now(), now()
    fields = request.form.getlist("field")
    beyond = request.form.get("beyond") == "yes"
    signer, signed = request.form.get("signer", "")[:60], request.form.get("signed_day", "")
    try:
        day = date.fromisoformat(signed) if signed else None
        file = attached("assessment")
        made = publication.choose(
            session,
            user.township,
            fields,
            beyond,
            user,
            present,
            assessment=None if file is None else file.id,
            signer=signer,
            signed_day=day,
        )
    except NotAllowed:
        abort(403)
    except (InputInvalid, ValueError) as error:
        session.rollback()
        key = getattr(error, "key", "day")
        asked = publication.Publication(frozenset(fields), beyond, signer, signed or None)
        return _page(str(REFUSALS.get(key, REFUSALS["day"])), asked), 400
    said = f"{' '.join(sorted(made.fields))} beyond={'yes' if made.beyond else 'no'}"
    audit.note(session, user, "publish", said, present, auth.remote())
    session.commit()
    flash(gettext("Saved. The boards show it from now on."), "good")
    return redirect(url_for("publishing.page"), 303)


@blueprint.get("/plates")
@auth.needs(PRINTS)
def choose() -> str:
    """Whose plates, of which kind, and the address in their codes."""
    auth.note("view_plates")
    return _choose()


def _choose(refused: str = "", chosen: list[str] | None = None) -> str:
    user = auth.user_now()
    people = [p for p in officials(db.session(), user.township) if p.active]
    return render_template(
        "plates.html",
        people=people,
        chosen=chosen,
        kinds=KINDS,
        may=user.role in RECEIVES,
        address=request.form.get("address", request.host_url.rstrip("/"))[: plates.MAX_ADDRESS],
        most=plates.MAX_PLATES,
        refused=refused,
    )


def sheets(found: list[plates.Plate], kind: str, place: str) -> str:
    """The plates of a `kind` as the HTML that becomes the PDF, every text as large as it fits."""

    def responsible(plate: plates.Plate) -> str:
        return str(gettext("Responsible for: %(what)s", what=plate.duties)) if plate.duties else ""

    def telephone(plate: plates.Plate) -> str:
        return f"{gettext('Telephone')} {plate.phone}" if plate.phone else ""

    return render_template(
        "_plates.html",
        plates=found,
        kind=kind,
        place=place,
        fit=platefit.fit,
        responsible=responsible,
        telephone=telephone,
    )


@blueprint.post("/plates")
@auth.needs(RECEIVES)
def make() -> Response | tuple[str, int]:
    """The plates as a PDF."""
    kind = request.form.get("kind", "door")
    if kind not in KINDS:
        abort(400)
    session, user = db.session(), auth.user_now()
    chosen = [code[:32] for code in request.form.getlist("official")]
    try:
        found = plates.plates(
            session, user.township, context().config, chosen, request.form.get("address", "")
        )
        made = paper.pdf(sheets(found, kind, user.township.name))
    except InputInvalid as error:
        auth.note_redrawn("view_plates")
        return _choose(str(REFUSALS[error.key]), chosen), 400
    except PaperMissing as error:
        auth.note_redrawn("view_plates")
        return _choose(str(error), chosen), 503
    audit.note(session, user, "make_plates", f"{kind} {len(found)}", now(), auth.remote())
    session.commit()
    response = Response(made, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'inline; filename="plates-{kind}.pdf"'
    return response

"""The allowance of a month: line by line, signed by a leader, frozen from then on."""

from __future__ import annotations

import hashlib

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from attendance.days import day_of, to_ms
from server import db
from server.context import now
from server.errors import InputInvalid, NotAllowed
from server.rules.calendar import month_days
from server.services.access.permissions import Act, may
from server.services.evidence import audit
from server.services.rulings import statements
from server.services.sheets.roster import roster_of
from server.web import auth, ruling_words
from server.web.papers import month_words
from server.web.picks import PAGE, Chosen, month_after, month_asked, today
from server.web.say import gettext

blueprint = Blueprint("allowance", __name__)


def yuan(fen: int) -> str:
    """An amount in yuan, two decimals."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02}"


@blueprint.get("/allowance")
@auth.needs(auth.STAFF)
def page() -> str:
    """The statement as it was signed, or as it stands now."""
    month, chosen = month_asked(month_after(today().isoformat()[:7], -1)), Chosen.asked()
    auth.note("view_allowance", month)
    user, session = auth.user_now(), db.session()
    signed = statements.signature_of(session, user.township, month)
    if signed is None:
        made = statements.statement_of(session, user.township, month, now())
    else:
        made = statements.signed_statement(session, user.township, month)
    roster = roster_of(session, user.township)
    fitting = [
        p
        for p in made.people
        if chosen.fits_stated(roster, p.official, p.name, p.group)
    ]
    over = day_of(to_ms(now())) > month_days(month)[-1]
    return render_template(
        "allowance.html",
        month=month,
        title=month_words(month),
        statement=made,
        signed=signed,
        sha256=hashlib.sha256(statements.encode(made)).hexdigest(),
        people=fitting[chosen.first : chosen.first + PAGE],
        pages=chosen.pages(len(fitting)),
        chosen=chosen,
        saved={"month": month, **chosen.kept()},
        choices={"groups": sorted({p.group for p in made.people if p.group}), "sites": ()},
        page_link=lambda n: chosen.link("allowance.page", {"month": month}, page=str(n)),
        before=chosen.link("allowance.page", {"month": month_after(month, -1)}),
        after=chosen.link("allowance.page", {"month": month_after(month, 1)})
        if month < today().isoformat()[:7]
        else "",
        over=over,
        may_sign=over and signed is None and may(user, Act.SIGN),
        own=user.official is not None
        and any(p.official == user.official and p.fen for p in made.people),
        yuan=yuan,
        why_word=ruling_words.why_word,
        signatures=statements.signatures(session, user.township),
    )


@blueprint.post("/allowance/<month>/sign")
@auth.needs(frozenset(auth.roles_of(Act.SIGN)))
def sign(month: str) -> Response:
    """Signs the statement that was shown, and no other."""
    user, session = auth.user_now(), db.session()
    seen = request.form.get("sha256", "")
    try:
        statements.sign(session, user.township, month, user, now(), seen)
    except NotAllowed:
        abort(403)
    except InputInvalid as error:
        session.rollback()
        if error.key == "month":
            abort(404)
        flash(ruling_words.refusal_words(error.key), "bad")
        return redirect(url_for("allowance.page", month=month), 303)
    audit.note(session, user, "sign_month", f"{month} {seen}", now(), auth.remote())
    session.commit()
    flash(gettext("Signed. What is corrected from now on appears in a later month."), "good")
    return redirect(url_for("allowance.page", month=month), 303)

"""What was set aside of a kiosk: looked at, and reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import groupby

from flask import Blueprint, abort, render_template, request, url_for
from werkzeug.wrappers import Response

from attendance.clock import WALL_TOLERANCE_MS
from attendance.days import day_of
from attendance.statuses import Kind, Method, Status
from server import db
from server.context import now
from server.errors import InputInvalid, NotFound
from server.services.access.permissions import Act, may
from server.services.records import apart
from server.services.records.apart import Apart
from server.services.sheets.roster import roster_of
from server.web import auth, forms, words
from server.web.language import clock_words, lang
from server.web.say import gettext

blueprint = Blueprint("apart", __name__)
#: Records on one page.
LENGTH = 100


@dataclass(frozen=True)
class Batch:
    """Records of this page that came together, and how many of them wait in all."""

    received_ms: int
    rows: list[Apart]
    waiting: int


def why_words(one: Apart) -> str:
    """Why it was set aside; what exactly was wrong with bytes is told in the language of logs."""
    if one.lost:
        return gettext("what was recorded before is lost at the kiosk and at the server")
    if not one.unreadable:
        if one.why == "revoked":
            return gettext("sent after the kiosk was revoked")
        return gettext("of another history than the one that is counted")
    if one.why.startswith("not a record"):
        return gettext("cannot be read as a record")
    if one.why.startswith("the record id"):
        return gettext("its id was used before")
    if one.why.startswith("the record names"):
        return gettext("names another kiosk or another place in the chain")
    return gettext("contradicts itself")


def said_words(one: Apart) -> str:
    """What it claims happened: kind, status and method, as far as they can be read."""
    claim = one.claim
    parts = [
        words.kind_word(claim.kind) if claim.kind in list(Kind) else claim.kind,
        words.status_word(claim.status) if claim.status in list(Status) else claim.status,
        words.method_word(claim.method) if claim.method in list(Method) else claim.method,
    ]
    return ("，" if lang() == "zh" else ", ").join(part for part in parts if part)


def day_for(one: Apart, paired_ms: int) -> date:
    """The day for which a correction would be proposed: its own clock's, where that can be."""
    wall_ms = one.claim.wall_ms
    if wall_ms is not None and paired_ms <= wall_ms <= one.received_ms + WALL_TOLERANCE_MS:
        return day_of(wall_ms)
    return day_of(one.received_ms)


@blueprint.get("/sites/<device>/apart")
@auth.needs(auth.STAFF)
def page(device: str) -> str:
    """Everything that was set aside of a kiosk, or what waits for a review; newest first."""
    every, number = request.args.get("all") == "1", request.args.get("page", "1")
    if not (number.isascii() and number.isdigit() and 0 < int(number[:7]) < 100_000):
        abort(400)
    user = auth.user_now()
    try:
        apart.kiosk_of(db.session(), user.township, device)
    except NotFound:
        abort(404)
    auth.note("view_apart", device)
    session, first = db.session(), (int(number[:7]) - 1) * LENGTH
    kiosk = apart.kiosk_of(session, user.township, device)
    rows = apart.listing(session, kiosk, waiting=not every, first=first, limit=LENGTH + 1)
    waiting = apart.counts(session, kiosk, waiting=True)
    roster = roster_of(session, user.township)
    together = groupby(rows[:LENGTH], key=lambda one: one.received_ms)
    at, more = int(number[:7]), "1" if every else None
    return render_template(
        "apart.html",
        kiosk=kiosk,
        batches=[Batch(ms, list(listed), waiting.get(ms, 0)) for ms, listed in together],
        waiting=sum(waiting.values()),
        every=every,
        newer=url_for("apart.page", device=device, all=more, page=at - 1) if at > 1 else "",
        older=url_for("apart.page", device=device, all=more, page=at + 1)
        if len(rows) > LENGTH
        else "",
        held_from=None if kiosk.apart_from_ms is None else day_of(kiosk.apart_from_ms),
        person=lambda code: roster.by_code.get(code),
        said=said_words,
        why=why_words,
        day_for=lambda one: day_for(one, kiosk.paired_ms).isoformat(),
        at=clock_words,
        may_review=may(user, Act.REVIEW),
        own=user.official,
    )


@blueprint.post("/sites/<device>/apart")
@auth.needs(frozenset(auth.roles_of(Act.REVIEW)))
def review(device: str) -> Response:
    """Notes that somebody looked at the records that were ticked, or at all of a batch."""
    user, form = auth.user_now(), request.form

    def work() -> str:
        batch = None
        if form.get("which") == "batch":
            text = form.get("batch", "")
            if not (text.isascii() and text.isdigit() and len(text) < 16):
                raise InputInvalid("apart", "no batch", "batch")
            batch = int(text)
        number = apart.review(
            db.session(), user.township, device, form.get("note", ""), user, now(),
            form.getlist("one"), batch,
        )  # fmt: skip
        return f"{device} {number}"

    said = gettext(
        "Reviewed. Where one of them is to count, propose a correction for that official and day: "
        "the link is beside it."
    )
    return forms.carried_out(
        "review_apart", lambda: url_for("apart.page", device=device, all="1"), said, work
    )

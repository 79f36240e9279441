"""What the forms of the desk share: the fields they send, and doing what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any
from urllib.parse import parse_qsl

from flask import abort, current_app, flash, redirect, request
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from attendance.days import SHANGHAI, to_ms
from server import db, logs
from server.context import now
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Attachment
from server.services.evidence import audit
from server.services.rulings import attachments
from server.web import auth, refill, ruling_words


def carried_out(
    what: str, back: str | Callable[[], str], said: str, work: Callable[[], str]
) -> Response:
    """Does `work`, notes it in the trail as `what`, says `said`, and goes `back`.

    `work` returns what the note names; it is asked before `back`. What is refused changes nothing
    and is said on the page that the form is on, with what was typed kept; so is why this account
    may not, where that has words (403 all the same). What does not exist is no page, 404.
    """
    session = db.session()
    try:
        target = work()
    except NotFound:
        abort(404)
    except (NotAllowed, InputInvalid, ValueError, OverflowError) as error:
        status = 403 if isinstance(error, NotAllowed) else 400
        key = getattr(error, "key", "unreadable")
        if not key:
            abort(status)
        session.rollback()
        if status == 403:
            logs.refused("access")
        page = back if isinstance(back, str) else request.path.removesuffix("/undo")
        return again(page, ruling_words.refusal_words(key), status)
    audit.note(session, auth.user_now(), what, target, now(), auth.remote())
    session.commit()
    if said:
        flash(said, "good")
    return redirect(back if isinstance(back, str) else back(), 303)


def again(back: str, said: str, status: int = 400) -> Response:
    """The page `back` (an address of ours) with `said` and with what was typed; a redirection to it
    where the page cannot be drawn from here."""
    path, _, query = back.partition("?")
    try:
        endpoint, values = current_app.url_map.bind_to_environ(request.environ).match(
            path, method="GET"
        )
    except (HTTPException, RequestRedirect):
        flash(said, "bad")
        return redirect(back, 303)
    typed = refill.kept(request.form.lists())
    db.close_session()
    auth.load_user()  # what was read before the refusal is rolled back
    request.args = ImmutableMultiDict(parse_qsl(query))  # the page's own, not the form's
    drawn: Any = current_app.view_functions[endpoint](**values)
    made = current_app.make_response(drawn)
    if made.mimetype != "text/html" or made.status_code != 200:
        flash(said, "bad")
        return redirect(back, 303)
    made.set_data(refill.refilled(made.get_data(as_text=True), path, request.path, typed, said))
    made.status_code = status
    return made


def answer_of(name: str = "answer") -> str:
    """What was pressed: `approve` or `refuse`; 400 for anything else."""
    answer = request.form.get(name, "")
    if answer not in ("approve", "refuse"):
        abort(400)
    return answer


def attached(field: str = "attachment") -> Attachment | None:
    """The file of this request, stored; None without one. Raises InputInvalid."""
    file = request.files.get(field)
    if file is None or not file.filename:
        return None
    body = file.stream.read(attachments.MAX_BYTES + 1)
    user = auth.user_now()
    return attachments.store(db.session(), user.township, file.filename, body, user, now())


def moment(day: date, text: str) -> int | None:
    """A time of day such as `08:30` on a day; None where nothing was typed. Raises ValueError."""
    if not text:
        return None
    return to_ms(datetime.combine(day, time.fromisoformat(text), SHANGHAI))


def text_of(name: str) -> str:
    """A field as it was typed, without the spaces around it, at most 500 characters."""
    return request.form.get(name, "").strip()[:500]


def number_of(name: str, default: int | None = None) -> int:
    """A whole number of at most nine digits. Raises InputInvalid, also for nothing typed where
    there is no `default`."""
    text = text_of(name)
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputInvalid("number", f"{name} is no whole number", name)
    return int(text)


def day_of_form(name: str) -> date:
    """A date from 2000 to 2199. Raises InputInvalid."""
    try:
        found = date.fromisoformat(text_of(name))
    except ValueError:
        raise InputInvalid("day_typed", f"{name} is no date", name) from None
    if not 2000 <= found.year <= 2199:
        raise InputInvalid("day_typed", f"{name} is out of range", name)
    return found


def minutes_of(name: str) -> int:
    """A time of day such as `08:30` in minutes from midnight. Raises InputInvalid."""
    try:
        found = time.fromisoformat(text_of(name))
    except ValueError:
        raise InputInvalid("time_typed", f"{name} is no time", name) from None
    return found.hour * 60 + found.minute

"""The public board: for villagers, without an account, live."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import msgspec
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    render_template,
    request,
    send_file,
    url_for,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import SHANGHAI, day_of, local, to_ms
from attendance.statuses import LOOKS, Status
from server import db
from server.context import Clock, context, now
from server.models import Official, Township
from server.services import portraits
from server.services.matters import MAX_QUERY
from server.services.publication import publication
from server.services.publicboard import PublicRow, public_rows, public_version, silent_sites
from server.services.townships import only_township
from server.web import words
from server.web.language import clock_words, short_day
from server.web.near import admit
from server.web.say import gettext
from server.web.watcher import Stream, Watcher

#: Seconds between two beats of a stream; `board.js` waits for two and a half before it doubts.
BEAT = 10.0
#: Streams that one worker holds: half of its threads (`server.serve`), the others answer pages.
STREAMS = 8
#: What a page that got no stream is told to wait, seconds; it polls `/board.json` meanwhile.
RETRY_AFTER = 60
#: Statuses in the order of the legend.
LEGEND = tuple(status for status in LOOKS if status is not Status.STALE)
PORTRAIT_SECONDS = 3600
_KEY = "quxiang-watcher"

blueprint = Blueprint("board", __name__)


@dataclass(frozen=True)
class ShownRow:
    """A `PublicRow` with its times in words and the addresses of its picture and page."""

    name: str
    title: str
    phone: str
    status: str
    duties: str
    notes: list[str]
    heard_words: str
    portrait_url: str | None
    page_url: str | None


def find(slug: str | None) -> Township:
    session = db.session()
    if slug is None:
        found: Township | None = only_township(session)
    else:
        found = session.scalar(select(Township).where(Township.slug == slug))
    if found is None:
        abort(404)
    g.quxiang_township = found.name
    admit(session, found.id)
    return found


def township_shown() -> str:
    """The name of the township whose board this request shows, "" on pages of none."""
    return str(g.get("quxiang_township", ""))


def address(slug: str | None, page: str = "page") -> str:
    """Where a township's board is; the server's first township without a slug."""
    return url_for(f"board.{page}", slug=slug) if slug else url_for(f"board.{page}")


def until_words(until: datetime | None, present: datetime) -> str:
    """A stated return in words. Midnight is the end of the day before, not a time to be back."""
    if until is None:
        return ""
    ms, today = to_ms(until), day_of(to_ms(present))
    if local(ms).strftime("%H:%M") == "00:00":
        return gettext("through %(day)s", day=short_day(day_of(ms - 1), today))
    return gettext("back about %(at)s", at=clock_words(ms, today))


def _version(township: Township, session: Session, present: datetime) -> str:
    """The board's version, hashed: how many records and leaves there are is nobody's business."""
    return hashlib.sha256(public_version(session, township, present).encode()).hexdigest()[:16]


def shown(row: PublicRow, present: datetime) -> ShownRow:
    """A row as the templates want it."""
    today = day_of(to_ms(present))
    notes = [until_words(row.until, present)]
    if row.since is not None:
        notes.append(gettext("since %(at)s", at=clock_words(to_ms(row.since), today)))
    notes += [row.village, words.reason_words(row.reason)]
    heard = ""
    if row.heard is not None:
        heard = gettext("last heard at %(at)s", at=clock_words(to_ms(row.heard), today))
    return ShownRow(
        row.name,
        row.title,
        row.phone,
        row.status,
        row.duties,
        [note for note in notes if note],
        heard,
        url_for("board.portrait", token=row.portrait) if row.portrait else None,
        url_for("person.page", token=row.page) if row.page else None,
    )


def _groups(rows: Iterable[PublicRow], present: datetime) -> list[tuple[str, list[ShownRow]]]:
    return [
        (group, [shown(row, present) for row in people])
        for group, people in groupby(rows, key=lambda row: row.work_group)
    ]


def drawn(township: Township, query: str = "") -> dict[str, object]:
    """What both a page and its live part show. The version is read first, so that a change in
    between is drawn twice rather than never."""
    present, session = now(), db.session()
    version = _version(township, session, present)
    rows = public_rows(session, township, present, query)
    today = day_of(to_ms(present))
    return {
        "version": version,
        "query": query,
        "groups": _groups(rows, present),
        "counts": [(str(s), sum(row.status == s for row in rows)) for s in LEGEND],
        "silent": _silent(township, present),
        "clock": clock_words(to_ms(present), today),
        "today": today,
    }


def _silent(township: Township, present: datetime) -> list[tuple[str, str]]:
    """What is cut off, and when it was last heard, "" for never.

    Sites are named only where the township shows villages: beside somebody's own "last heard" a
    name would tell where they are expected.
    """
    session, today = db.session(), day_of(to_ms(present))
    sites = silent_sites(session, township, present)
    if "village" in publication(session, township.id).fields:
        return [
            (site.name, "" if site.heard is None else clock_words(to_ms(site.heard), today))
            for site in sites
        ]
    heard = [site.heard for site in sites if site.heard is not None]
    if not sites:
        return []
    first = clock_words(to_ms(min(heard)), today) if heard else ""
    return [(gettext("%(n)s sites", n=len(sites)), first)]


def asked() -> str:
    """What this request searches for."""
    return " ".join(request.args.get("q", "").split())[:MAX_QUERY]


def tell(response: Response, version: str) -> Response:
    """Adds what `board.js` reads: the version and the time."""
    present = to_ms(now())
    response.headers["Quxiang-Version"] = version
    response.headers["Quxiang-Clock"] = clock_words(present, day_of(present))
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/")
@blueprint.get("/t/<slug>/", endpoint="page")
def page(slug: str | None = None) -> Response:
    """The board. Without JavaScript it loads itself again every minute."""
    seen = drawn(find(slug), asked())
    urls = {name: address(slug, name) for name in ("page", "rows", "json", "events", "screen")}
    urls["duty"] = url_for("duty.notice", slug=slug) if slug else url_for("duty.notice")
    response = Response(render_template("board.html", urls=urls, **seen))
    return tell(response, str(seen["version"]))


@blueprint.get("/tv", endpoint="screen")
@blueprint.get("/t/<slug>/tv", endpoint="screen")
def screen(slug: str | None = None) -> Response:
    """The board on a television: the whole screen, page after page where people do not fit."""
    seen = drawn(find(slug))
    urls = {name: address(slug, name) for name in ("rows", "json", "events")}
    urls["rows"] = address(slug, "screen_rows")
    response = Response(render_template("tv.html", urls=urls, **seen))
    return tell(response, str(seen["version"]))


@blueprint.get("/tv/rows", endpoint="screen_rows")
@blueprint.get("/t/<slug>/tv/rows", endpoint="screen_rows")
def screen_rows(slug: str | None = None) -> Response:
    """The part of the television's page that changes."""
    seen = drawn(find(slug))
    return tell(Response(render_template("_tv.html", **seen)), str(seen["version"]))


@blueprint.get("/board/rows")
@blueprint.get("/t/<slug>/board/rows", endpoint="rows")
def rows(slug: str | None = None) -> Response:
    """The part of the board that changes, drawn by the same template as the page."""
    seen = drawn(find(slug), asked())
    return tell(Response(render_template("_board.html", **seen)), str(seen["version"]))


@blueprint.get("/board.json", endpoint="json")
@blueprint.get("/t/<slug>/board.json", endpoint="json")
def board_json(slug: str | None = None) -> Response:
    """The board for other programs (commands.md). The ETag changes with the rows alone."""
    township, present, session = find(slug), now(), db.session()
    version = _version(township, session, present)
    listed = [
        {
            "name": row.name,
            "title": row.title,
            "phone": row.phone,
            "status": row.status,
            "colour": row.colour,
            "shape": row.shape,
            "until": row.until and row.until.astimezone(SHANGHAI).isoformat(timespec="seconds"),
        }
        for row in public_rows(session, township, present)
    ]
    as_of = present.astimezone(SHANGHAI).isoformat(timespec="seconds")
    body = msgspec.json.encode({"as_of": as_of, "rows": listed})
    response = Response(body, mimetype="application/json")
    tag = hashlib.sha256(msgspec.json.encode(listed)).hexdigest()[:24]
    response.set_etag(tag, weak=True)
    tell(response, version)
    return response.make_conditional(request)  # type: ignore[return-value]


@blueprint.get("/board/events")
@blueprint.get("/t/<slug>/board/events", endpoint="events")
def events(slug: str | None = None) -> Response:
    """Server-sent events: `board` with the new version, `beat` with the time while nothing changes.

    A worker holds only so many; beyond them 503 with Retry-After, and the page polls.
    """
    township = find(slug)
    stream = watcher(current_app).open(township.id)
    db.close_session()
    if stream is None:
        full = Response("busy\n", 503, mimetype="text/plain")
        full.headers["Retry-After"] = str(RETRY_AFTER)
        return full
    response = Response(_beats(stream, context().now), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(stream.close)
    return response


def _beats(stream: Stream, clock: Clock) -> Iterator[str]:
    seen: str | None = None
    yield ": quxiang\nretry: 3000\n\n"
    while not stream.ended:
        version = stream.next(seen, BEAT)
        if stream.ended:
            return
        if version is not None:
            seen = version
            yield f"event: board\ndata: {version}\n\n"
        if stream.fresh:
            yield f"event: beat\ndata: {local(to_ms(clock())):%H:%M}\n\n"
        else:
            yield ": the database does not answer\n\n"


@blueprint.get("/portraits/<token>.jpg")
def portrait(token: str) -> Response:
    """A public picture, by its unguessable name."""
    path = portraits.path_of(context().config, token)
    if path is None:
        abort(404)
    owner = db.session().scalar(select(Official.township_id).where(Official.portrait == token))
    if owner is None:
        abort(404)
    admit(db.session(), owner)
    response = send_file(path.absolute(), mimetype="image/jpeg")
    # Short, since a withdrawn picture must vanish from browsers too.
    response.headers["Cache-Control"] = f"public, max-age={PORTRAIT_SECONDS}"
    return response


def watcher(app: Flask) -> Watcher:
    """The application's watcher in this process."""
    found: Watcher = app.extensions[_KEY]
    return found


def register(app: Flask) -> None:
    """Adds the pages and the watcher (which starts with its first reader, so after any fork)."""

    def read(keys: Iterable[int]) -> Mapping[int, str]:
        held = app.extensions["quxiang"]
        with held.database.session() as session:
            return {
                key: _version(session.get_one(Township, key), session, held.now()) for key in keys
            }

    app.extensions[_KEY] = Watcher(read, limit=int(app.config.get("BOARD_STREAMS", STREAMS)))
    app.register_blueprint(blueprint)

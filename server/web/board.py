"""The public board: for villagers, without an account, live."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

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
from flask import session as cookie
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import SHANGHAI, day_of, to_ms
from server import db
from server.context import Clock, context, now
from server.logs import about
from server.models import Official, Township
from server.services.access import limits
from server.services.public import portraits
from server.services.public.matters import MAX_QUERY
from server.services.public.publicboard import (
    public_rows,
    public_version,
)
from server.services.township.townships import only_township
from server.web import drawings as kept_drawings
from server.web import pieces as kept_pieces
from server.web.drawings import Drawing, drawings
from server.web.language import clock_words, lang
from server.web.near import admit
from server.web.news import KINDS, Reporter
from server.web.shown import drawn
from server.web.streams import BEAT, FIRST, LOST, Handover, Hub, beat_event, board_event
from server.web.watcher import Stream, Watcher

#: Streams that wait in threads, where the server is not ours: half of such a server's.
STREAMS = 8
#: What a page that got no stream is told to wait, seconds; it polls `/board.json` meanwhile.
RETRY_AFTER = 60
PORTRAIT_SECONDS = 3600
#: Searches of one address, and in how many seconds: each is drawn for whoever asks. Telephones
#: share addresses by the dozen.
SEARCHES, SEARCH_SECONDS = 240, 60
_KEY = "quxiang-watcher"
_HUB = "quxiang-hub"

blueprint = Blueprint("board", __name__)


def find(slug: str | None) -> Township:
    session = db.session()
    if slug is None:
        found: Township | None = only_township(session)
    else:
        found = session.scalar(select(Township).where(Township.slug == slug))
    if found is None:
        abort(404)
    g.quxiang_township = found.name
    about(found.id)
    admit(session, found.id)
    return found


def township_shown() -> str:
    """The name of the township whose board this request shows, "" on pages of none."""
    return str(g.get("quxiang_township", ""))


def address(slug: str | None, page: str = "page") -> str:
    """Where a township's board is; the server's first township without a slug."""
    return url_for(f"board.{page}", slug=slug) if slug else url_for(f"board.{page}")


def _version(township: Township, session: Session, present: datetime) -> str:
    """The board's version, hashed: how many records and leaves there are is nobody's business."""
    said = f"{township.name}\n{public_version(session, township, present)}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


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


Make = Callable[[Township, Session, datetime], tuple[bytes, str]]


def _kept(kind: str, slug: str | None, make: Make) -> Drawing:
    """The newest drawing of one public page of a township, in this request's language."""
    township = find(slug)
    held, key = drawings(), (kind, township.id, slug is None, lang())
    hurried = held.in_a_storm(key)
    if hurried is not None:
        return hurried
    database = context().database

    def look() -> tuple[str, datetime]:
        # A session of its own: this request's may have begun to read before.
        with database.session() as session:
            present = now()
            return _version(township, session, present), present

    def draw() -> tuple[bytes, str]:
        # Begun after the version was read: what comes in between is drawn twice rather than never.
        with database.snapshot() as session:
            return make(township, session, present)

    version, present = held.versions.do(township.id, look)
    # The minute too: pages say it, and a return that has passed changes no version.
    return held.get(key, f"{version} {to_ms(present) // 60_000}", version, draw)


def _html(template: str, piece: str, **more: object) -> Make:
    def make(township: Township, session: Session, present: datetime) -> tuple[bytes, str]:
        seen = drawn(township, session, present, piece)
        return render_template(template, **more, **seen).encode(), "text/html"

    return make


def _found(slug: str | None, query: str) -> dict[str, object]:
    """The board of those who answer a question; it is made for whoever asks."""
    township, present = find(slug), now()
    who = f"search:{limits.place(request.remote_addr or '')}"
    if not limits.allow(context().config.data, who, SEARCHES, SEARCH_SECONDS, present):
        abort(429)
    with context().database.snapshot() as session:
        version = _version(township, session, present)
        seen = drawn(township, session, present, "person", query)
    live = Markup(render_template("_board.html", **seen))  # noqa: S704  # nosec B704 # a template's
    return {"version": version, "live": live, "query": query}


def _live(drawing: Drawing) -> Markup:
    return Markup(drawing.body.decode())  # noqa: S704  # nosec B704 # a template's


def _rows(slug: str | None) -> Drawing:
    return _kept("rows", slug, _html("_board.html", "person"))


@blueprint.get("/")
@blueprint.get("/t/<slug>/", endpoint="page")
def page(slug: str | None = None) -> Response:
    """The board. Without JavaScript it loads itself again every minute."""
    urls = {name: address(slug, name) for name in ("page", "rows", "json", "events", "screen")}
    urls["duty"] = url_for("duty.notice", slug=slug) if slug else url_for("duty.notice")
    query = asked()
    if query:
        seen = _found(slug, query)
        html = render_template("board.html", urls=urls, **seen)
        return tell(Response(html), str(seen["version"]))
    rows = _rows(slug)

    def make() -> tuple[bytes, str]:
        return render_template(
            "board.html", urls=urls, query="", live=_live(rows), version=rows.version
        ).encode(), "text/html"

    if cookie or request.query_string:  # somebody's own: a name, a token, a message, an address
        response = tell(Response(make()[0]), rows.version)
        if cookie:
            response.headers["Cache-Control"] = "no-store"
        return response
    stamp = f"{rows.etag} {rows.version}"
    kept = drawings().get(("page", slug, lang()), stamp, rows.version, make)
    return tell(kept.answer(), rows.version)


@blueprint.get("/tv", endpoint="screen")
@blueprint.get("/t/<slug>/tv", endpoint="screen")
def screen(slug: str | None = None) -> Response:
    """The board on a television: the whole screen, page after page where people do not fit."""
    rows, present = _screen_rows(slug), now()
    urls = {name: address(slug, name) for name in ("json", "events")}
    urls["rows"] = address(slug, "screen_rows")
    today = day_of(to_ms(present))
    clock = clock_words(to_ms(present), today)

    def make() -> tuple[bytes, str]:
        return render_template(
            "tv.html", urls=urls, live=_live(rows), version=rows.version, today=today, clock=clock
        ).encode(), "text/html"

    stamp = f"{rows.etag} {rows.version} {today} {clock}"
    kept = drawings().get(("tv", slug, lang()), stamp, rows.version, make)
    return tell(kept.answer(), rows.version)


def _screen_rows(slug: str | None) -> Drawing:
    return _kept("screen", slug, _html("_tv.html", "tv_person"))


@blueprint.get("/tv/rows", endpoint="screen_rows")
@blueprint.get("/t/<slug>/tv/rows", endpoint="screen_rows")
def screen_rows(slug: str | None = None) -> Response:
    """The part of the television's page that changes."""
    rows = _screen_rows(slug)
    return tell(rows.answer(), rows.version)


@blueprint.get("/board/rows")
@blueprint.get("/t/<slug>/board/rows", endpoint="rows")
def rows(slug: str | None = None) -> Response:
    """The part of the board that changes, drawn by the same template as the page."""
    query = asked()
    if query:
        seen = _found(slug, query)
        return tell(Response(str(seen["live"])), str(seen["version"]))
    found = _rows(slug)
    return tell(found.answer(), found.version)


def _json(township: Township, session: Session, present: datetime) -> tuple[bytes, str]:
    rows = [
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
    return msgspec.json.encode(rows), "application/json"


@blueprint.get("/board.json", endpoint="json")
@blueprint.get("/t/<slug>/board.json", endpoint="json")
def board_json(slug: str | None = None) -> Response:
    """The board for other programs (commands.md). The ETag changes with the rows alone."""
    rows = _kept("json", slug, _json)
    as_of = now().astimezone(SHANGHAI).isoformat(timespec="seconds")
    response = rows.answer(
        lambda body: msgspec.json.encode({"as_of": as_of, "rows": msgspec.Raw(body)})
    )
    return tell(response, rows.version)


@blueprint.get("/board/events")
@blueprint.get("/t/<slug>/board/events", endpoint="events")
def events(slug: str | None = None) -> Response:
    """Server-sent events: `board` with the new version, `beat` with the time; with `show=rows` or
    `screen` before a version `news` with what of that page changed since the one before.

    A worker holds only so many; beyond them 503 with Retry-After, and the page polls.
    """
    township = find(slug)
    db.close_session()
    held, address = hub(current_app), limits.place(request.remote_addr or "")
    stream = None
    if request.method == "HEAD":
        response = Response()
    elif held.running and not held.full(address):
        chunked = request.environ.get("SERVER_PROTOCOL") != "HTTP/1.0"
        wanted = request.args.get("show", "")
        view = (township.id, wanted if wanted in KINDS else "", lang())
        response = Response(direct_passthrough=True)
        response.response = Handover(lambda sock: held.take(sock, view, address, chunked=chunked))
    elif not held.running and (stream := watcher(current_app).open(township.id)) is not None:
        response = Response(_beats(stream, context().now))
        response.call_on_close(stream.close)
    else:
        full = Response("busy\n", 503, mimetype="text/plain")
        full.headers["Retry-After"] = str(RETRY_AFTER)
        return full
    response.mimetype = "text/event-stream"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _beats(stream: Stream, clock: Clock) -> Iterator[bytes]:
    """As the hub does it, in a thread of its own: for servers that let no connection go."""
    seen: str | None = None
    yield FIRST
    while not stream.ended:
        version = stream.next(seen, BEAT)
        if stream.ended:
            return
        if version is not None:
            seen = version
            yield board_event(version)
        yield beat_event(clock) if stream.fresh else LOST


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


def hub(app: Flask) -> Hub:
    """The application's open boards in this process; a worker starts it."""
    found: Hub = app.extensions[_HUB]
    return found


def register(app: Flask) -> None:
    """Adds the pages and the watcher (which starts with its first reader, so after any fork)."""

    def read(keys: Iterable[int]) -> Mapping[int, str]:
        held = app.extensions["quxiang"]
        with held.database.session() as session:
            return {
                key: _version(session.get_one(Township, key), session, held.now()) for key in keys
            }

    kept_drawings.register(app)
    kept_pieces.register(app)
    watching = Watcher(read, limit=STREAMS)
    held_open = Hub(app.extensions["quxiang"].now, lambda: watching.fresh, watching.wake)
    reporter = Reporter(app, drawn, _version)

    def tell_all(versions: Mapping[int, str]) -> None:
        held_open.told(*reporter.news(versions, held_open.views()))

    watching.serve(held_open.keys, tell_all)
    app.extensions[_KEY], app.extensions[_HUB] = watching, held_open
    app.register_blueprint(blueprint)

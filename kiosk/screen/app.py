"""The kiosk's page over HTTP: Flask on 127.0.0.1 only, served by waitress in threads of its own."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from flask import Flask, Response, abort, jsonify, render_template, request

from attendance.statuses import CHOOSABLE, LOOKS, OFFERED, REASONS
from kiosk.portraits import Portraits
from kiosk.screen.feed import ScreenFeed
from kiosk.screen.notice import NOTICE
from kiosk.screen.web import HOST as HOST
from kiosk.screen.web import PortTaken as PortTaken
from kiosk.screen.web import Server, body_of, guarded
from kiosk.screen.words import WORDS, word

PICTURE_S = 0.1
"""Least time between two pictures to one browser: 10 a second."""
EVENT_SEATS, PICTURE_SEATS = 6, 4
"""Streams at once. One screen uses one of each; the rest is for pages that are being reloaded."""
THREADS = EVENT_SEATS + PICTURE_SEATS + 4
HEARTBEAT_S = 3.0


@dataclass(frozen=True)
class Answer:
    """What became of a touch: whether it was recorded, a sentence, and the greeting to show."""

    ok: bool
    zh: str
    en: str
    greeting: dict[str, Any] | None = field(default=None)
    wait_s: int = 0
    """Seconds after which the page sends the same again by itself; 0: nothing to send."""
    ask: dict[str, Any] | None = field(default=None)
    """The event `ask_pin`, where a PIN has to follow."""


class Actions(Protocol):
    """What a person can do on the screen; the kiosk's loop does it."""

    def pin(self, official: str, pin: str, ticket: str | None) -> Answer:
        """Check in by official id (or chosen name) and PIN; `ticket` of an `ask_pin` event."""
        ...

    def card(self, number: str) -> Answer:
        """Check in by a card whose number a reader typed."""
        ...

    def choose(
        self, record_id: str, status: str, reason: str | None, until_ms: int | None
    ) -> Answer:
        """Change what a record of a moment ago says."""
        ...


def create_app(
    feed: ScreenFeed,
    actions: Actions,
    port: int,
    metrics: Callable[[], bytes] | None = None,
    portraits: Portraits | None = None,
) -> Flask:
    """The page's WSGI application. POSTs need the token that the page carries (one per start).

    `metrics` gives what `/metrics` answers, Prometheus's text format 0.0.4; `portraits` those of
    the board on a television (`/tv`).
    """
    app, token, start = guarded("kiosk.screen", port)

    @app.get("/")
    def page() -> str:
        lang = "en" if request.cookies.get("lang") == "en" else "zh"
        return render_template(
            "screen.html",
            lang=lang,
            token=token,
            start=start,
            notice=NOTICE,
            w=lambda key: word(key, lang),
        )

    @app.get("/tv")
    def television() -> str:
        chosen = request.args.get("lang") or request.cookies.get("lang")
        lang = "en" if chosen == "en" else "zh"
        return render_template("tv.html", lang=lang, start=start, w=lambda key: word(key, lang))

    @app.get("/portraits/<token>.jpg")
    def portrait(token: str) -> Response:
        path = portraits.path(token) if portraits is not None else None
        if path is None:
            abort(404)
        return Response(path.read_bytes(), content_type="image/jpeg")

    @app.get("/words.json")
    def words() -> Response:
        return jsonify(
            words=WORDS,
            looks={
                status: {
                    "zh": look.zh,
                    "en": look.en,
                    "colour": look.colour,
                    "shape": look.shape,
                    "css": look.css,
                    "ink": look.ink,
                }
                for status, look in LOOKS.items()
            },
            choosable=list(CHOOSABLE),
            reasons=REASONS,
            offered=OFFERED,
        )

    @app.get("/metrics")
    def told() -> Response:
        if metrics is None:
            abort(404)
        return Response(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/events")
    def events() -> Response:
        return _stream(_events(feed, start), "text/event-stream", feed, "events", EVENT_SEATS)

    @app.get("/picture")
    def picture() -> Response:
        kind = "multipart/x-mixed-replace; boundary=frame"
        return _stream(_pictures(feed), kind, feed, "picture", PICTURE_SEATS)

    @app.post("/pin")
    def pin() -> Response:
        body = body_of(official=(str, 64), pin=(str, 32))
        ticket = body.get("ticket")
        if ticket is not None and not (isinstance(ticket, str) and 0 < len(ticket) <= 64):
            abort(400)
        return _answered(actions.pin(body["official"].strip(), body["pin"], ticket))

    @app.post("/card")
    def card() -> Response:
        return _answered(actions.card(body_of(number=(str, 64))["number"]))

    @app.post("/choose")
    def choose() -> Response:
        body = body_of(record_id=(str, 36), status=(str, 32))
        reason, until = body.get("reason"), body.get("until_ms")
        if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= 40):
            abort(400)
        if until is not None and (not isinstance(until, int) or isinstance(until, bool)):
            abort(400)
        if body["status"] not in list(CHOOSABLE):
            abort(400)
        return _answered(actions.choose(body["record_id"], body["status"], reason, until))

    return app


def _answered(answer: Answer) -> Response:
    return jsonify(asdict(answer))


def _stream(
    chunks: Iterator[bytes], kind: str, feed: ScreenFeed, name: str, seats: int
) -> Response:
    stack = contextlib.ExitStack()
    if not stack.enter_context(feed.seat(name, seats)):
        stack.close()
        return Response("busy", 503, {"Retry-After": "3"})
    gone = request.environ.get("waitress.client_disconnected", lambda: False)

    def body() -> Iterator[bytes]:
        with stack:
            for chunk in chunks:
                if gone():
                    return
                yield chunk

    response = Response(body(), content_type=kind)
    # Where the browser leaves before the first chunk, the generator never runs: free the seat.
    response.call_on_close(stack.close)
    return response


def _events(feed: ScreenFeed, start: str) -> Iterator[bytes]:
    yield f"retry: 1000\nevent: hello\ndata: {json.dumps(start)}\n\n".encode()
    version = 0
    while not feed.closed:
        version, state, event = feed.changes(version, HEARTBEAT_S)
        if state:
            yield f"event: state\ndata: {json.dumps(state)}\n\n".encode()
        if event:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        if not state and not event:
            yield b": still here\n\n"


def _pictures(feed: ScreenFeed) -> Iterator[bytes]:
    # The boundary follows each picture at once: a browser shows a part when it sees its end.
    yield b"--frame\r\n"
    serial, last = 0, b""
    while not feed.closed:
        began = time.monotonic()
        newest = feed.jpeg(serial, HEARTBEAT_S)
        if newest is not None:
            serial, last = newest
        # With nothing new the last one again: only writing shows that the browser is still there.
        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(last)
        yield head + last + b"\r\n--frame\r\n"
        time.sleep(max(0.0, PICTURE_S - (time.monotonic() - began)))


class Screen(Server):
    """Serves the page until closed. A context manager; `port` is the real one where 0 was asked."""

    def __init__(
        self,
        feed: ScreenFeed,
        actions: Actions,
        port: int,
        metrics: Callable[[], bytes] | None = None,
        portraits: Portraits | None = None,
    ) -> None:
        """Listens at once. Raises PortTaken."""
        self.feed = feed
        super().__init__(
            lambda real: create_app(feed, actions, real, metrics, portraits), port, THREADS
        )

    def close(self) -> None:
        """Stop serving and let the port go."""
        self.feed.close()
        super().close()

"""The kiosk's page over HTTP: Flask on 127.0.0.1 only, served by waitress in threads of its own."""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from flask import Flask, Response, abort, jsonify, render_template, request

from attendance.statuses import CHOOSABLE, LOOKS, REASONS
from kiosk.errors import KioskError
from kiosk.portraits import Portraits
from kiosk.screen.feed import ScreenFeed
from kiosk.screen.notice import NOTICE
from kiosk.screen.words import WORDS, word

HOST = "127.0.0.1"
PICTURE_S = 0.1
"""Least time between two pictures to one browser: 10 a second."""
EVENT_SEATS, PICTURE_SEATS = 6, 4
"""Streams at once. One screen uses one of each; the rest is for pages that are being reloaded."""
THREADS = EVENT_SEATS + PICTURE_SEATS + 4
HEARTBEAT_S = 3.0
MAX_BODY = 4096

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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


class PortTaken(KioskError, OSError):
    """Another program listens on the screen's port, or it may not be used."""


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
    root = Path(__file__).resolve().parents[1]
    app = Flask(
        "kiosk.screen", template_folder=str(root / "templates"), static_folder=str(root / "static")
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    token = secrets.token_urlsafe(24)
    start = secrets.token_hex(4)
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    if port == 80:
        hosts |= {HOST, "localhost"}

    @app.before_request
    def guard() -> None:
        # A page of another origin must neither read nor act, whatever name it gives this machine.
        if request.host not in hosts:
            abort(421)
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            abort(403)
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            abort(403)
        if request.method not in ("GET", "HEAD"):
            given = request.headers.get("X-Screen-Token", "")
            if not hmac.compare_digest(given.encode(), token.encode()) or not request.is_json:
                abort(403)

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response

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
        body = _body(official=(str, 64), pin=(str, 32))
        ticket = body.get("ticket")
        if ticket is not None and not (isinstance(ticket, str) and 0 < len(ticket) <= 64):
            abort(400)
        return _answered(actions.pin(body["official"].strip(), body["pin"], ticket))

    @app.post("/card")
    def card() -> Response:
        return _answered(actions.card(_body(number=(str, 64))["number"]))

    @app.post("/choose")
    def choose() -> Response:
        body = _body(record_id=(str, 36), status=(str, 32))
        reason, until = body.get("reason"), body.get("until_ms")
        if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= 40):
            abort(400)
        if until is not None and (not isinstance(until, int) or isinstance(until, bool)):
            abort(400)
        if body["status"] not in list(CHOOSABLE):
            abort(400)
        return _answered(actions.choose(body["record_id"], body["status"], reason, until))

    return app


def _body(**wanted: tuple[type, int]) -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        abort(400)
    for key, (kind, longest) in wanted.items():
        value = body.get(key)
        if not isinstance(value, kind) or not 0 < len(value) <= longest:  # type: ignore[arg-type]
            abort(400)
    return body


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


class Screen:
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
        from waitress.server import create_server

        self.feed = feed
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
        except OSError as error:
            listener.close()
            raise _port_fault(error, port) from error
        self.port = int(listener.getsockname()[1])
        self._server: Any = create_server(
            create_app(feed, actions, self.port, metrics, portraits),
            sockets=[listener],
            threads=THREADS,
            connection_limit=64,
            # A browser that does not read holds two pictures, not sixteen megabytes.
            outbuf_high_watermark=100_000,
            channel_request_lookahead=1,
            max_request_body_size=MAX_BODY,
            max_request_header_size=16_384,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._closed = False
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/"

    def _run(self) -> None:
        # Closing from another thread ends waitress's select loop by an error about its sockets.
        with contextlib.suppress(OSError, ValueError):
            self._server.run()

    def close(self) -> None:
        """Stop serving and let the port go."""
        if self._closed:
            return
        self._closed = True
        self.feed.close()
        # In the serving thread itself: sockets closed under a running select are not noticed.
        with contextlib.suppress(OSError):  # woken for another reason, it may be done already
            self._server.trigger.pull_trigger(self._stop)
        self._thread.join(2)
        self._server.task_dispatcher.shutdown(timeout=1)

    def _stop(self) -> None:
        from waitress import wasyncore

        wasyncore.close_all(self._server._map, ignore_all=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _port_fault(error: OSError, port: int) -> PortTaken:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"端口 {port} 已被占用：请用 --screen 换一个端口，或先关闭占用它的程序",
            f"port {port} is taken: choose another with --screen, or stop the program that uses it",
        )
    return PortTaken(
        f"无法使用端口 {port}：请换一个 1024 以上的端口",
        f"port {port} may not be used: choose one above 1024",
    )

"""What every page of the kiosk is served by: loopback only, guarded, in waitress's threads."""

from __future__ import annotations

import contextlib
import errno
import hmac
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from flask import Flask, Response, abort, request

from kiosk.errors import KioskError

HOST = "127.0.0.1"
MAX_BODY = 4096

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PortTaken(KioskError, OSError):
    """Another program listens on the screen's port, or it may not be used."""


def guarded(name: str, port: int) -> tuple[Flask, str, str]:
    """An application that answers this machine's own pages only, the token that their POSTs carry
    (one per start), and a word that tells one start from another."""
    root = Path(__file__).resolve().parents[1]
    app = Flask(name, template_folder=str(root / "templates"), static_folder=str(root / "static"))
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

    return app, token, start


def body_of(**wanted: tuple[type, int]) -> dict[str, Any]:
    """The request's JSON object, each key of that kind and at most so long, else 400."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        abort(400)
    for key, (kind, longest) in wanted.items():
        value = body.get(key)
        if not isinstance(value, kind) or not 0 < len(value) <= longest:  # type: ignore[arg-type]
            abort(400)
    return body


class Server:
    """Serves an application on loopback until closed. A context manager; `port` is the real one
    where 0 was asked."""

    def __init__(self, make: Callable[[int], Flask], port: int, threads: int) -> None:
        """Listens at once. Raises PortTaken."""
        from waitress.server import create_server

        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
        except OSError as error:
            listener.close()
            raise _port_fault(error, port) from error
        self.port = int(listener.getsockname()[1])
        self._server: Any = create_server(
            make(self.port),
            sockets=[listener],
            threads=threads,
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
        """Stop serving and let the port go; may be called again."""
        if self._closed:
            return
        self._closed = True
        # Whoever still answers first: at the end of an answer it wakes the serving thread, and a
        # trigger that is closed by then would be told with a traceback.
        self._server.task_dispatcher.shutdown(timeout=1)
        # In the serving thread itself: sockets closed under a running select are not noticed.
        with contextlib.suppress(OSError):  # woken for another reason, it may be done already
            self._server.trigger.pull_trigger(self._stop)
        self._thread.join(2)

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

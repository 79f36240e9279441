"""What every page has against misuse: host check, CSRF, headers, bounded forms, quiet errors."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Flask, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException, InternalServerError

from server import logs, values

#: Bytes of the largest form of any page: a leave's reason and a few short fields.
MAX_FORM = 64 * 1024
#: Everything from here, nothing inline. `img-src` has no data: either, nothing needs it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Endpoints that take a file, and the bytes of the largest request to each.
UPLOADS: dict[str, int] = {}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: Paths of machines: their own blueprint checks signatures and answers in JSON.
MACHINE_PATHS = ("/api/", "/healthz", "/readyz")

#: What refused a page that ends so, in the line of the log.
_GUARDS = {403: "access", 413: "size", 429: "rate"}

csrf = CSRFProtect()


def is_machine(path: str) -> bool:
    """Whether a device or a monitor asks, not a browser."""
    return path.startswith(MACHINE_PATHS)


def safe_next(target: str | None) -> str | None:
    """`target` where it is a path on this server, else None.

    Browsers take a backslash for a slash and drop tabs and line ends, so those are refused before
    the address is read.
    """
    if not target or not target.startswith("/") or len(target) > 500:
        return None
    if target.startswith("//") or "\\" in target or any(ord(c) < 0x21 for c in target):
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; '' where malformed."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return ""
    return (name or "").rstrip(".")


def _own_address(name: str) -> bool:
    """Whether `name` is the very address at which this connection came in.

    A township's PC is often reached by its number alone. An attacker's page cannot make a browser
    send that number as Host unless it already talks to this address.
    """
    sock = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    try:
        return sock is not None and ipaddress.ip_address(name) == ipaddress.ip_address(
            sock.getsockname()[0]
        )
    except (ValueError, OSError, IndexError):
        return False


def own_names() -> frozenset[str]:
    """What this machine calls itself, alone and as multicast DNS spells it."""
    name = socket.gethostname().lower()
    return frozenset({name, f"{name}.local"}) if name else frozenset()


def host_allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this server: loopback, a known name, or its own address."""
    name = _host_name(host)
    return bool(name) and (name in LOOPBACK or name in names or _own_address(name))


def register(app: Flask, hosts: Iterable[str], *, secure: bool) -> None:
    """Registers the guards. `hosts` are names by which people reach the server, beside its own."""
    names = frozenset(host.lower().rstrip(".") for host in hosts) | own_names()
    app.config.setdefault("WTF_CSRF_TIME_LIMIT", None)  # as long as the session lives
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # `guard` below asks, so that devices are spared
    app.config.update(
        # The prefix keeps cookies of other hosts of the same domain out; it wants TLS.
        SESSION_COOKIE_NAME="__Host-quxiang_session" if secure else "quxiang_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
    )
    csrf.init_app(app)

    @app.before_request
    def guard() -> None:
        if is_machine(request.path):
            return
        if not host_allowed(request.host, names):
            logs.refused("host")
            abort(400)
        request.max_content_length = UPLOADS.get(request.endpoint or "", MAX_FORM)
        csrf.protect()
        if values.in_form():
            logs.refused("value")
            abort(400)

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("X-Frame-Options", "DENY")
        # Not no-referrer: CSRF protection over TLS compares the referrer with the host.
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), microphone=(), geolocation=()"
        )
        if secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.endpoint == "auth.logout":
            # Not cookies: whoever shares the browser keeps the language.
            response.headers["Clear-Site-Data"] = '"cache", "storage"'
        if request.endpoint == "static":
            if "v" in request.args:
                response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        elif not is_machine(request.path):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> ResponseReturnValue:
        if is_machine(request.path) or error.response is not None:
            return error
        code = error.code or 500
        if isinstance(error, CSRFError):
            logs.refused("csrf")
        elif code in _GUARDS:
            logs.refused(_GUARDS[code])
        if 300 <= code < 400:
            return error
        headers = [(k, v) for k, v in error.get_headers() if k in ("Retry-After", "Allow")]
        return render_template("error.html", code=code), code, headers

    @app.errorhandler(InternalServerError)
    def broken(error: InternalServerError) -> ResponseReturnValue:
        if is_machine(request.path):
            return error
        return render_template("error.html", code=500, bare=True), 500

"""`GET /metrics` for Prometheus: this machine asks freely, any other with the token."""

from __future__ import annotations

import hmac
import ipaddress

from flask import Blueprint, Response, abort, request

from server import db
from server.config import ServerConfig
from server.context import context, now
from server.services.programs.metrics import exposition

blueprint = Blueprint("api_metrics", __name__)

#: A token shorter than this is none.
LEAST_TOKEN = 20
#: What a proxy adds: behind one, everybody seems to ask from this machine.
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Text format 0.0.4; 404 for whoever may not ask, as if there were nothing."""
    config = context().config
    if not (_is_here() or _has_token(config)):
        abort(404)
    body = exposition(db.session(), config.data, now())
    answer = Response(body, content_type="text/plain; version=0.0.4; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _is_here() -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _has_token(config: ServerConfig) -> bool:
    """Whether the request bears what stands in DIR/metrics.token, where that file was made."""
    try:
        wanted = config.metrics_token.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if len(wanted) < LEAST_TOKEN:
        return False
    return hmac.compare_digest(given.encode(), wanted.encode())

"""Behind a proxy: its word about the client is taken, from its address, for one hop, alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

#: Where the request's id stands that the proxy gave it.
ENVIRON_ID = "quxiang.request_id"
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_CLAIMS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST",
           "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_REAL_IP", "HTTP_FORWARDED",
           "HTTP_X_REQUEST_ID")  # fmt: skip
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class BehindProxy:
    """Takes the last hop of X-Forwarded-For, and X-Forwarded-Proto, from `address` alone.

    Whoever else speaks to the server directly claims nothing. Hosts are checked as ever: the proxy
    passes `Host` on.
    """

    def __init__(self, application: Wsgi, address: str) -> None:
        self._application = application
        self._proxy = _address(address)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """As WSGI says."""
        if _address(environ.get("REMOTE_ADDR", "")) == self._proxy:
            hop = environ.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", 1)[-1].strip()
            if (client := _address(hop)) is not None:
                environ["REMOTE_ADDR"] = str(client)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "")
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            given = environ.get("HTTP_X_REQUEST_ID", "")
            if _ID.fullmatch(given):
                environ[ENVIRON_ID] = given
        else:
            for name in _CLAIMS:
                environ.pop(name, None)
        return self._application(environ, start)

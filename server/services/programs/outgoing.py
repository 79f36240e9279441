"""The only way out of the server: one POST to an address that it may speak to.

A name is resolved once and the connection goes to that very address, so that no second answer of a
name server leads elsewhere. Redirects are not followed, no proxy of the environment is used.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from attendance.errors import QuxiangError
from attendance.i18n import say
from server.errors import InputInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_URL = 300
#: Bytes of the largest body that is sent.
MAX_BODY = 1 << 20
#: Seconds for connecting, and for everything.
CONNECT_S, ALL_S = 5.0, 10.0
#: Where machines in a cloud tell their secrets: never, whatever the operator allowed.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
)
#: Addresses that stand for others: an address of one's own network may hide in them.
_TRANSLATED = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
                                            "2001::/32")
)  # fmt: skip
#: What may go wrong, as words.
TROUBLES = ("name", "refused", "plain", "connect", "tls", "timeout", "redirect", "status", "answer",
            "secret")  # fmt: skip


class Unreachable(QuxiangError, ConnectionError):
    """Nothing was sent, or no answer came; `word` is one of TROUBLES."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


@dataclass(frozen=True)
class Outcome:
    """What came of one POST: the receiver's status, a word of TROUBLES or "", milliseconds."""

    status: int | None
    trouble: str
    took_ms: int

    @property
    def ok(self) -> bool:
        """Whether the receiver took it: any 2xx."""
        return not self.trouble


def checked_url(text: str) -> str:
    """An address to send to, as it was typed. Raises InputInvalid (`url`)."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    plain = text.isascii() and all(0x21 <= ord(c) < 0x7F for c in text) and "\\" not in text
    if (
        not plain
        or len(text) > MAX_URL
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.fragment
        or port == 0
    ):
        raise InputInvalid(
            "url",
            say("请填写 http(s)://主机/路径", "write an address like https://HOST/PATH"),
            "url",
        )
    return text


def may_reach(address: Address, networks: Iterable[Network], encrypted: bool) -> str:
    """"" where the server may speak to it, else why not: `refused`, or `plain` without TLS.

    `networks` are what whoever runs the server allowed beside public addresses. Link-local
    addresses, multicast and metadata services are refused even so.
    """
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if (
        address in METADATA
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or any(address in network for network in _TRANSLATED if network.version == address.version)
    ):
        return "refused"
    if any(address in network for network in networks if network.version == address.version):
        return ""
    if not address.is_global or address.is_reserved:
        return "refused"
    return "" if encrypted else "plain"


def resolve(host: str, port: int, networks: Iterable[Network], encrypted: bool) -> str:
    """The first address of `host` that may be spoken to. Raises Unreachable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("name") from None
    allowed, why = tuple(networks), "name"
    for *_, where in found:
        text = str(where[0])
        if "%" in text:  # a link-local one with its interface
            why = "refused"
            continue
        why = may_reach(ipaddress.ip_address(text), allowed, encrypted)
        if not why:
            return text
    raise Unreachable(why)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    networks: Iterable[Network],
    limit_s: float = ALL_S,
) -> Outcome:
    """Sends `body` once; never raises for what a receiver or the network does.

    Takes `limit_s` seconds at the most, after the name was resolved. Of the answer only
    the head is read.
    """
    if len(body) > MAX_BODY:
        raise ValueError(f"a body of {len(body)} bytes")
    began = monotonic()
    status: int | None = None
    trouble = ""
    try:
        status = _status_of(url, body, headers, networks, limit_s)
    except Unreachable as error:
        trouble = error.word
    if status is not None and not 200 <= status < 300:
        trouble = "redirect" if 300 <= status < 400 else "status"
    return Outcome(status, trouble, int((monotonic() - began) * 1000))


def _status_of(
    url: str, body: bytes, headers: Mapping[str, str], networks: Iterable[Network], limit_s: float
) -> int:
    parts = urlsplit(url)
    encrypted = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if encrypted else 80)
    address = resolve(host, port, networks, encrypted)
    until = monotonic() + limit_s
    try:
        sock: socket.socket = socket.create_connection((address, port), min(CONNECT_S, limit_s))
    except TimeoutError:
        raise Unreachable("timeout") from None
    except OSError:
        raise Unreachable("connect") from None
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # A receiver that sends a byte now and then would outlast any timeout of a socket.
    timer = threading.Timer(max(0.0, until - monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        sock.settimeout(limit_s)
        if encrypted:
            safe = ssl.create_default_context()
            sock = safe.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            sock.do_handshake()  # now that `end` knows the socket
        return _ask(sock, parts, body, headers)
    except (TimeoutError, OSError, http.client.HTTPException, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            word = "timeout"
        else:
            word = "tls" if isinstance(error, ssl.SSLError) else "answer"
        raise Unreachable(word) from None
    finally:
        timer.cancel()
        sock.close()


def _ask(sock: socket.socket, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.sock = sock  # already where it belongs: nothing is resolved again
    connection.auto_open = 0
    connection.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
    for name, value in {
        "Host": parts.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers,
    }.items():  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders(body)
    return connection.getresponse().status

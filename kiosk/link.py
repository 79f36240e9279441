"""One signed request and its signed answer, bounded in size and in time."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from attendance.errors import SignatureInvalid, WireInvalid
from attendance.signing import DeviceKeys
from attendance.wire import (
    HEADER_SIGNATURE,
    MAX_JSON,
    PAIR,
    PairHint,
    Problem,
    check_reply,
    decode,
    sign_request,
)
from kiosk.config import KioskConfig
from kiosk.errors import ServerRefused, ServerUnreachable

CONNECT_S = 5.0
#: Between two pieces of an answer.
READ_S = 30.0
#: For a whole answer: a gallery of a few MB over 64 kbit/s.
WHOLE_S = 900.0
#: Retry-After beyond this is not believed (evidence.md: at most 15 minutes).
LONGEST_WAIT_S = 900.0
_LOOPBACK = ("localhost", "::1")


@dataclass(frozen=True)
class Answer:
    """A reply whose signature was checked."""

    status: int
    body: bytes


def is_loopback(host: str | None) -> bool:
    """Whether that host is this machine: 127.0.0.0/8, ::1 or localhost."""
    return host is not None and (host in _LOOPBACK or _is_127(host))


def _is_127(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(p.isdigit() and len(p) < 4 for p in parts)


class _Pinned(HTTPAdapter):
    """TLS to exactly one certificate, whoever signed it and whatever name it bears."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._digest)


def new_session(ca: str | None = None, pin: str | None = None) -> requests.Session:
    """A session that asks no proxy of the environment: the township's server is near.

    `ca` is a certificate file to check TLS against; `pin` the SHA-256 (hexadecimal) of the one
    certificate that is taken.
    """
    session = requests.Session()
    session.trust_env = False
    if pin is not None:
        session.verify = False  # the fingerprint is the check: see `_Pinned`
        session.mount("https://", _Pinned(pin))
    elif ca is not None:
        session.verify = ca
    return session


def presented(url: str) -> bytes:
    """SHA-256 of the certificate that TLS presents there, unchecked, 32 bytes.

    Raises ServerUnreachable.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), CONNECT_S) as raw,
            context.wrap_socket(raw, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError as error:
        raise _unreachable(url, error) from error
    return hashlib.sha256(certificate or b"").digest()


def exchange(
    session: requests.Session,
    url: str,
    method: str,
    body: bytes,
    headers: Mapping[str, str],
    limit: int = MAX_JSON,
) -> tuple[int, Mapping[str, str], bytes]:
    """One HTTP exchange: status, headers, at most `limit` bytes. Raises ServerUnreachable."""
    started = time.monotonic()
    try:
        with session.request(
            method,
            url,
            data=body or None,
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=(CONNECT_S, READ_S),
            allow_redirects=False,
            stream=True,
        ) as response:
            pieces = bytearray()
            # Undecoded: what would unpack to more than it says must not be unpacked at all.
            for piece in response.raw.stream(65_536, decode_content=False):
                pieces += piece
                if len(pieces) > limit or time.monotonic() - started > WHOLE_S:
                    raise ServerUnreachable(
                        "服务器的回答太长或太慢。", "the server's answer is too long or too slow"
                    )
            return response.status_code, response.headers, bytes(pieces)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        away = _unreachable(url, error)
        away.cut = _broke_off(error)
        raise away from error


def _broke_off(error: Exception) -> bool:
    """Whether somebody had taken the connection, and then it ended."""
    if isinstance(error, requests.ConnectionError) and error.args:
        error = error.args[0]
    return isinstance(error, urllib3.exceptions.ProtocolError)


def _unreachable(url: str, error: Exception) -> ServerUnreachable:
    return ServerUnreachable(
        f"连不上服务器 {_origin(url)}：记录已保存在本机，稍后自动上传。",
        f"the server {_origin(url)} was not reached ({_cause(error)}): "
        "records stay here and are sent later",
    )


class Link:
    """This kiosk's line to its township's server."""

    def __init__(
        self,
        config: KioskConfig,
        keys: DeviceKeys,
        session: requests.Session | None = None,
        on_renewed: Callable[[str], None] | None = None,
    ) -> None:
        """`on_renewed` is told the fingerprint of a renewed certificate that our server signed."""
        self._config = config
        self._keys = keys
        self._pin = config.pin
        self._session = session or new_session(config.ca, config.pin)
        self._on_renewed = on_renewed
        #: Good answers until now.
        self.answers = 0

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        limit: int = MAX_JSON,
        span: tuple[int, int] | None = None,
    ) -> Answer:
        """Asks and checks who answered.

        `target` is path and query, `span` the first and last byte for a Range.

        Raises ServerUnreachable (also for 429 and 5xx, with what
        Retry-After said) and ServerRefused (any other error of the server, or an answer that is
        not signed by it).
        """
        headers = sign_request(self._keys, self._config.device, method, target, body)
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1]}"
        url = self._config.server.rstrip("/") + target
        try:
            status, got, data = exchange(self._session, url, method, body, headers, limit)
        except ServerUnreachable as error:
            if not (isinstance(error.__cause__, requests.exceptions.SSLError) and self._renewed()):
                raise
            status, got, data = exchange(self._session, url, method, body, headers, limit)
        try:
            check_reply(
                self._config.server_public,
                got.get(HEADER_SIGNATURE),
                headers[HEADER_SIGNATURE],
                status,
                data,
            )
        except SignatureInvalid as error:
            if status >= 500 or status == 429:  # a proxy or a dying worker may answer unsigned
                raise _busy(status, got) from error
            raise ServerRefused(
                "signature",
                f"{_origin(url)} 的回答不是本镇服务器签发的：请检查地址。",
                f"{_origin(url)} does not answer with our server's key: check the address",
            ) from error
        if status >= 500 or status == 429:
            raise _busy(status, got)
        if status >= 400:
            raise refusal(status, data)
        self.answers += 1
        return Answer(status, data)

    def _renewed(self) -> bool:
        """Whether TLS presents another certificate than the pinned one, and our server signed it.

        The pin guards what is said from being read; who speaks is proved by the server's own key,
        which therefore may name its next certificate.
        """
        if self._pin is None:
            return False
        server = self._config.server.rstrip("/")
        digest = presented(server).hex()
        session = new_session(pin=digest)
        status, got, data = exchange(session, server + PAIR, "GET", b"", {})
        try:
            signature = got.get(HEADER_SIGNATURE)
            check_reply(self._config.server_public, signature, "", status, data)
            named = decode(data, PairHint).certificate
        except (SignatureInvalid, WireInvalid):
            named = None
        if status != 200 or named != digest:
            session.close()
            return False
        self._session.close()
        self._session, self._pin = session, digest
        if self._on_renewed is not None:
            self._on_renewed(digest)
        return True

    def close(self) -> None:
        """Lets connections go."""
        self._session.close()


class Gap(ServerRefused):
    """409: the server lacks earlier records. `wanted` is the next it takes."""

    def __init__(self, wanted: int) -> None:
        super().__init__("gap", "服务器缺少更早的记录。", "the server lacks earlier records")
        self.wanted = wanted


def refusal(status: int, body: bytes) -> ServerRefused:
    """The server's problem as our fault."""
    try:
        problem = decode(body, Problem)
    except WireInvalid:
        problem = Problem(error=str(status), message="")
    if problem.error == "gap" and problem.wanted is not None and problem.wanted >= 1:
        return Gap(problem.wanted)
    zh = _WORDS_ZH.get(problem.error, "服务器拒绝了请求")
    en = _WORDS_EN.get(problem.error) or problem.message[:200] or problem.error
    return ServerRefused(problem.error, f"{zh}（{problem.error}）。", f"the server refused: {en}")


_WORDS_ZH = {
    "code": "配对码不对、已用过或已过期：请在服务器上重新生成",
    "slow_down": "尝试太多：请十分钟后再试",
    "unknown_device": "服务器不认识本终端（可能恢复了旧备份），登记照常，记录都在："
    "请在服务器上为本站点生成配对码，在本机运行 quxiang-kiosk pair --again",
    "known_device": "服务器认识本终端，不必重新配对：请运行 quxiang-kiosk sync",
    "signature": "服务器不接受本终端的签名：请重新配对",
    "revoked": "本终端已被停用：记录仍会送交审核",
    "wrong_kind": "这个配对码不是给终端的",
    "fork": "本终端的记录与服务器上的不一致，已隔离：请联系管理员",
    "too_large": "请求太大",
    "malformed": "服务器看不懂请求：请升级本程序",
}
_WORDS_EN = {
    "code": "the pairing code is wrong, spent or expired: make a new one on the server",
    "fork": "other records have the same numbers, they are set apart: call the administrator",
    "slow_down": "too many tries, wait ten minutes",
    "unknown_device": "it does not know this kiosk (perhaps an older backup was restored); "
    "recording goes on: make a code for this site there and run quxiang-kiosk pair --again here",
    "known_device": "it knows this kiosk, which need not be paired again: run quxiang-kiosk sync",
    "revoked": "this kiosk was revoked",
}


def _busy(status: int, headers: Mapping[str, str]) -> ServerUnreachable:
    text = headers.get("Retry-After", "")
    wait = min(float(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() else None
    return ServerUnreachable(
        f"服务器忙（{status}）：稍后自动重试。",
        f"the server is busy or broken ({status}): tried again later",
        wait,
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _cause(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
    return "no answer in time" if late else "no connection"

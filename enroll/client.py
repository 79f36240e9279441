"""The desk's side of docs/wire.md: signed questions, answers checked against the pinned key."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter

from attendance import wire
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.proposals import (
    DESK_DECISIONS,
    DESK_PROPOSALS,
    Decision,
    ProposalPackage,
    ProposalRow,
)
from attendance.reenrol import DESK_REENROLMENTS, Reenrolled, Reenrolment
from attendance.signing import DeviceKeys
from enroll.config import DeskConfig
from enroll.errors import PairingRefused, ServerForeign, ServerRefused, ServerUnreachable

TIMEOUT_S = (5.0, 30.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""
MAX_ANSWER = 8 << 20
"""Largest answer that is read: erasure receipts and kiosks of a county fit many times."""

M = TypeVar("M")


def check_url(server: str) -> str:
    """The server's address without a trailing slash. Raises PairingRefused where it is none, or
    plain http:// anywhere but on this machine."""
    url = server.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise PairingRefused(
            f"“{server}”不是服务器地址，应为 https://主机",
            f"{server!r} is not a server's address: it looks like https://HOST",
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise PairingRefused(
            f"不能用不加密的 http:// 连接 {host}：请用 https://",
            f"plain http:// to {host} is refused: use https://",
        )
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Pinned(HTTPAdapter):
    """TLS to exactly one certificate, whoever signed it and whatever name it bears."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._digest)


def presented(server: str) -> bytes:
    """SHA-256 of the certificate that TLS presents there, unchecked, 32 bytes.

    Raises ServerUnreachable.
    """
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or 443
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S[0]) as raw,
            context.wrap_socket(raw, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError:
        raise _unreachable(server) from None
    return hashlib.sha256(certificate or b"").digest()


def _unreachable(server: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"连不上服务器 {server}：请检查网络和服务器",
        f"the server {server} cannot be reached: check the network and the server",
    )


class Link:
    """HTTP to one address: bounded answers, no redirects, no proxy of the environment.

    `ca` is a certificate file to check TLS against, `pin` the SHA-256 (hexadecimal) of the one
    certificate that is taken.
    """

    def __init__(self, server: str, ca: str | None = None, pin: str | None = None) -> None:
        self.server = server
        self.base = urlsplit(server).path
        self.session = requests.Session()
        self.session.trust_env = False
        if pin is not None:
            self.session.verify = False  # the fingerprint is the check: see `_Pinned`
            self.session.mount("https://", _Pinned(pin))
        elif ca is not None:
            self.session.verify = ca

    def send(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, requests.structures.CaseInsensitiveDict[str]]:
        """Status, body and headers of the answer. Raises ServerUnreachable."""
        try:
            with self.session.request(
                method,
                self.server + target,
                data=body,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                data = bytearray()
                for chunk in answer.iter_content(1 << 16):
                    data += chunk
                    if len(data) > MAX_ANSWER:
                        raise ServerForeign(
                            f"{self.server} 的回答过大", f"the answer of {self.server} is too large"
                        )
                return answer.status_code, bytes(data), answer.headers
        except requests.exceptions.SSLError:
            raise ServerForeign(
                f"{self.server} 的证书不可信：请检查地址和证书",
                f"the certificate of {self.server} is not trusted: check address and certificate",
            ) from None
        except (requests.RequestException, OSError):
            raise _unreachable(self.server) from None

    def close(self) -> None:
        """Let the connections go."""
        self.session.close()


class Client:
    """A paired desk's questions. Every method raises ServerUnreachable, ServerForeign (an answer
    that the pinned key did not sign) or ServerRefused."""

    def __init__(
        self,
        config: DeskConfig,
        keys: DeviceKeys,
        save: Callable[[DeskConfig], None] | None = None,
    ) -> None:
        """`save` keeps a configuration that learned of a renewed certificate."""
        self.config = config
        self._keys = keys
        self._save = save
        self._link = Link(config.server, config.ca, config.pin)

    def sites(self) -> list[wire.SiteRow]:
        """The township's sites."""
        found: list[wire.SiteRow] = self._ask("GET", wire.DESK_SITES, b"", list[wire.SiteRow])
        return found

    def expected(self) -> list[wire.ExpectedRow] | None:
        """Whom the server expects at which village; None of a server of before, which does not
        say."""
        try:
            found: list[wire.ExpectedRow] = self._ask(
                "GET", wire.DESK_EXPECTED, b"", list[wire.ExpectedRow]
            )
        except ServerRefused as error:
            if error.word != "not_found":
                raise
            return None
        return found

    def kiosks(self) -> list[wire.KioskRow]:
        """The paired kiosks."""
        found: list[wire.KioskRow] = self._ask("GET", wire.DESK_KIOSKS, b"", list[wire.KioskRow])
        return found

    def put_roster(self, rows: list[wire.RosterRow]) -> wire.RosterReply:
        """Add or update officials."""
        body = wire.encode(wire.Roster(officials=rows))
        reply: wire.RosterReply = self._ask("PUT", wire.DESK_ROSTER, body, wire.RosterReply)
        return reply

    def put_portrait(self, official: str, jpeg: bytes) -> None:
        """Send a portrait, at most 1 MiB."""
        self._ask("PUT", f"{wire.DESK_PORTRAITS}/{official}", jpeg, None)

    def put_gallery(self, device: str, package: wire.GalleryPackage) -> None:
        """Leave a sealed gallery for a kiosk."""
        self._ask("PUT", f"{wire.DESK_GALLERIES}/{device}", wire.encode(package), None)

    def withdraw(self, official: str, at_ms: int) -> None:
        """Tell of a withdrawal."""
        body = wire.encode(wire.Withdrawal(official=official, at_ms=at_ms))
        self._ask("POST", wire.DESK_WITHDRAWALS, body, None)

    def withdrawn(self) -> set[tuple[str, int]] | None:
        """The withdrawals that the server knows of, as (official, Unix ms); None of a server of
        before, which does not say."""
        try:
            found: list[wire.Withdrawn] = self._ask(
                "GET", wire.DESK_WITHDRAWALS, b"", list[wire.Withdrawn]
            )
        except ServerRefused as error:
            if error.word != "not_found":
                raise
            return None
        return {(row.official, row.at_ms) for row in found}

    def erasures(self) -> list[wire.ErasureRow]:
        """The kiosks' receipts."""
        found: list[wire.ErasureRow] = self._ask(
            "GET", wire.DESK_ERASURES, b"", list[wire.ErasureRow]
        )
        return found

    def reenrolments(self) -> list[Reenrolment]:
        """Who is to be enrolled again."""
        found: list[Reenrolment] = self._ask("GET", DESK_REENROLMENTS, b"", list[Reenrolment])
        return found

    def reenrolled(self, told: Reenrolled) -> None:
        """Tell that somebody is."""
        self._ask("POST", DESK_REENROLMENTS, wire.encode(told), None)

    def proposals(self) -> list[ProposalRow]:
        """The proposed pictures that wait."""
        found: list[ProposalRow] = self._ask("GET", DESK_PROPOSALS, b"", list[ProposalRow])
        return found

    def proposal(self, ident: str) -> ProposalPackage | None:
        """One of them, None where it is gone or is not what was asked for."""
        try:
            found: ProposalPackage = self._ask(
                "GET", f"{DESK_PROPOSALS}/{quote(ident, safe='')}", b"", ProposalPackage
            )
        except ServerRefused as error:
            if error.status not in (0, 404):
                raise
            return None
        return found if found.id == ident else None

    def proposal_taken(self, ident: str) -> None:
        """The desk has it: the server may erase it."""
        self._ask("DELETE", f"{DESK_PROPOSALS}/{quote(ident, safe='')}", b"", None)

    def proposal_decided(self, decision: Decision) -> None:
        """Tell what became of a proposal, and who decided."""
        self._ask("POST", DESK_DECISIONS, wire.encode(decision), None)

    def _ask(self, method: str, path: str, body: bytes, kind: Any) -> Any:
        target = self._link.base + path
        headers = wire.sign_request(self._keys, self.config.device, method, target, body)
        signature = headers[wire.HEADER_SIGNATURE]
        if body:
            headers["Content-Type"] = (
                "image/jpeg" if body[:2] == b"\xff\xd8" else "application/json"
            )
        try:
            status, data, got = self._link.send(method, path, body, headers)
        except ServerForeign:
            if not self._renewed():
                raise
            status, data, got = self._link.send(method, path, body, headers)
        try:
            wire.check_reply(
                self.config.server_key, got.get(wire.HEADER_SIGNATURE), signature, status, data
            )
        except SignatureInvalid:
            if status >= 500:  # a proxy or a broken worker, not an impostor
                raise ServerUnreachable(
                    f"服务器 {self.config.server} 出错（{status}）：请稍后再试",
                    f"the server {self.config.server} failed ({status}): try again later",
                ) from None
            raise ServerForeign(
                f"{self.config.server} 不是配对时的服务器（签名不符）：请检查地址；"
                "若确已更换，须重新配对",
                f"{self.config.server} is not the server that this desk was paired with (its "
                "signature does not fit): check the address; if it was replaced, pair again",
            ) from None
        if status >= 400 or not 200 <= status < 300:
            raise refusal(status, data, got.get("Retry-After"))
        return None if kind is None else _decode(data, kind)

    def _renewed(self) -> bool:
        """Whether TLS presents another certificate than the pinned one, and the pinned key of our
        server signed it."""
        if self.config.pin is None:
            return False
        digest = presented(self.config.server).hex()
        link = Link(self.config.server, pin=digest)
        status, data, got = link.send("GET", wire.PAIR, b"", {})
        try:
            signature = got.get(wire.HEADER_SIGNATURE)
            wire.check_reply(self.config.server_key, signature, "", status, data)
            named = wire.decode(data, wire.PairHint).certificate
        except (SignatureInvalid, WireInvalid):
            named = None
        if status != 200 or named != digest:
            link.close()
            return False
        self._link.close()
        self._link = link
        self.config = msgspec.structs.replace(self.config, pin=digest)
        if self._save is not None:
            self._save(self.config)
        return True

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


def _decode(data: bytes, kind: type[M]) -> M:
    try:
        return wire.decode(data, kind, MAX_ANSWER)
    except WireInvalid as error:
        raise ServerRefused(
            f"服务器的回答无法理解：{error}", f"the server's answer: {error}"
        ) from None


_WORDS = {
    "revoked": (
        "本登记台已被服务器停用：请向管理员要新的配对码",
        "this desk was revoked at the server: ask its administrator for a new pairing code",
    ),
    "unknown_device": (
        "服务器不认识本登记台：请重新配对",
        "the server does not know this desk: pair it again",
    ),
    "wrong_kind": (
        "本机不是作为登记台配对的：请用 --kind desk 的配对码",
        "this machine is not paired as a desk: use a code made with --kind desk",
    ),
    "code": (
        "配对码不对、已用过或已过期：请在服务器上重新生成",
        "the pairing code is wrong, used or too old: make a new one on the server",
    ),
    "slow_down": ("尝试过多：请十分钟后再试", "too many tries: wait ten minutes"),
    "busy": ("服务器正忙：请稍后再试", "the server is busy: try again later"),
}


def refusal(status: int, data: bytes, retry_after: str | None) -> ServerRefused:
    """The server's error in words."""
    try:
        problem = wire.decode(data, wire.Problem)
    except WireInvalid:
        problem = wire.Problem(error="", message=f"HTTP {status}")
    zh, en = _WORDS.get(
        problem.error, (f"服务器拒绝：{problem.message}", f"the server refused: {problem.message}")
    )
    retry = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return ServerRefused(zh, en, status=status, word=problem.error, retry_s=retry)

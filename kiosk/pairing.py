"""Pairing: a one-time code makes this folder a site's kiosk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import requests

from attendance.errors import SignatureInvalid, WireInvalid
from attendance.pairing import (
    CERTIFICATE,
    MAX_DESKS,
    PairingCode,
    Vouched,
    check_certificate,
)
from attendance.signing import KEY_BYTES, DeviceKeys, from_text, to_text
from attendance.wire import (
    HEADER_SIGNATURE,
    PAIR,
    PairHint,
    PairReply,
    PairRequest,
    check_reply,
    decode,
    encode,
)
from kiosk.aside import remains, set_aside, told_aside
from kiosk.config import (
    KioskConfig,
    copy_of,
    is_paired,
    keys_of,
    load_config,
    load_keys,
    run_lock,
    save_config,
    save_keys,
    write_atomically,
)
from kiosk.errors import (
    ConfigInvalid,
    KioskError,
    NotPaired,
    PairingRefused,
    ServerRefused,
    StoreUnusable,
)
from kiosk.link import exchange, is_loopback, new_session, presented, refusal
from kiosk.site import Site

#: What a server says of the code or of who shows it; anything else is a fault of the line.
_PAIRING = ("code", "slow_down", "wrong_kind", "known_device")

NEXT_KEYS = "device.key.next"
"""The keys of a new kiosk, until what an earlier one left in the folder has been set aside."""


class AddressRefused(KioskError, ValueError):
    """A server address that cannot be used, or not safely."""


def check_address(text: str) -> str:
    """The server's address without a path; plain http only on this machine.

    Raises AddressRefused.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise AddressRefused(
            f"服务器地址 {text} 不对：应像 https://192.168.1.10:8443。",
            f"{text} is no server address: write it like https://192.168.1.10:8443",
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise AddressRefused(
            "http 只能用于本机：请用 https 地址。",
            "http is for this machine only: use the server's https address",
        )
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def keep_certificate(data_dir: Path, given: Path) -> str:
    """Keeps a copy of the certificate that the server's TLS is to be checked against; its path.

    Raises PairingRefused where the file is not a certificate.
    """
    try:
        data = given.read_bytes()
        check_certificate(data)
    except (OSError, WireInvalid):
        raise PairingRefused(
            f"{given} 不是 PEM 格式的证书：请用服务器证书的副本。",
            f"{given} is not a certificate in PEM form: use a copy of the server's",
        ) from None
    kept = (data_dir / CERTIFICATE).absolute()
    write_atomically(kept, data)
    return str(kept)


def pair(
    data_dir: Path,
    server_url: str,
    code_text: str,
    session: requests.Session | None = None,
    ca: Path | None = None,
    *,
    again: bool = False,
    held: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> KioskConfig:
    """Pairs this folder with a server and writes its configuration.

    A folder whose configuration, keys or database cannot be used is paired as a new kiosk, with
    new keys; what lay there is set aside (`kiosk.aside`), of which `tell` gets a sentence. `held`:
    the caller holds the folder's run lock.

    `again`: the folder's kiosk, which the server does not know any more (an older backup was
    restored), is admitted by a fresh code as the one that it was: its id, its keys, the server's
    and the desk's stay, and so do its records.

    `ca` is a certificate file to check the server's TLS against, for a server with one of its own;
    a copy is kept. The keys are made once: a try that failed half-way is repeated with the same.
    Raises AddressRefused, PairingRefused (this folder is paired already; the code is mistyped,
    wrong or spent; another server answered; with `again`: the server knows it) and
    ServerUnreachable, with `again` also NotPaired and ConfigInvalid, else AlreadyRunning where
    files would have to be set aside under a running kiosk.
    """
    server = check_address(server_url)
    before = load_config(data_dir) if again else None
    if before is None and is_paired(data_dir) and not _damaged(data_dir):
        site = load_config(data_dir).site
        raise PairingRefused(
            f"{data_dir} 已配对为“{site}”的终端：请换一个 --data 目录。",
            f"{data_dir} is paired already, as the kiosk of {site}: use another --data folder",
        )
    try:
        code = PairingCode.parse(code_text)
    except WireInvalid:
        raise PairingRefused(
            "配对码应有 20 个字母和数字：请核对后重新输入。",
            "a pairing code has 20 letters and digits: check it and type it again",
        ) from None
    with contextlib.ExitStack() as stack:
        if before is None and not held and _left_over(data_dir):
            stack.enter_context(run_lock(data_dir))
        return _pair(data_dir, server, code, session, ca, before, tell)


def _damaged(folder: Path) -> bool:
    """Whether its records cannot be read any more, so that it can only be a new kiosk's."""
    try:
        Site(folder).close()
    except StoreUnusable as error:
        return error.what == "corrupt"
    except KioskError:
        pass
    return False


def _left_over(folder: Path) -> bool:
    """Whether what lies here has to go before the folder can be a new kiosk's."""
    try:
        load_keys(folder)
    except ConfigInvalid:
        return True
    except NotPaired:
        pass
    return remains(folder)


def pairing_keys(folder: Path) -> DeviceKeys:
    """The keys that an unpaired folder is to be paired with, made once: a try that failed half-way
    is repeated with the same. An earlier kiosk's stay with its records."""
    if not _left_over(folder):
        return keys_of(folder)
    try:
        return keys_of(folder, NEXT_KEYS)
    except ConfigInvalid:  # nobody knows them yet
        save_keys(folder, DeviceKeys.generate(), NEXT_KEYS)
        return load_keys(folder, NEXT_KEYS)


def _pair(
    data_dir: Path,
    server: str,
    code: PairingCode,
    session: requests.Session | None,
    ca: Path | None,
    before: KioskConfig | None,
    tell: Callable[[str], None],
) -> KioskConfig:
    renewed = before is None and _left_over(data_dir)
    keys = pairing_keys(data_dir) if before is None else load_keys(data_dir)
    certificate = None if ca is None else keep_certificate(data_dir, ca)
    line = _Line(server, certificate, session)
    try:
        hint, vouched = line.check(code)
        request = PairRequest(
            code=code.secret,
            kind="kiosk",
            sign_key=to_text(keys.sign_public),
            box_key=to_text(keys.box_public),
            device=msgspec.UNSET if before is None else before.device,
        )
        if before is not None and hint.server_key != before.server_key:
            raise _another_server()
        reply = line.pair(encode(request))
    finally:
        line.close()
    named = vouched.desk_key
    if reply.server_key != hint.server_key or (
        named is not None and reply.desk_key != to_text(named)
    ):
        raise _another_server()
    if reply.site is None or reply.site_kind is None:
        raise PairingRefused(
            "这个配对码不是给终端的：请用 quxiang-server code --kind kiosk 生成。",
            "this code is not for a kiosk: make one with quxiang-server code --kind kiosk",
        )
    if before is not None and reply.device != before.device:
        raise _another_server()
    config = KioskConfig(
        server=server,
        device=reply.device,
        township=reply.township,
        site=reply.site,
        site_kind=reply.site_kind,
        server_key=reply.server_key,
        desk_key=reply.desk_key if before is None or before.desk_key is None else before.desk_key,
        ca=certificate,
        pin=line.pin,
    )
    kept = set_aside(data_dir) if renewed else None
    if renewed:
        save_keys(data_dir, keys)
    for path in (data_dir / NEXT_KEYS, copy_of(data_dir / NEXT_KEYS)):
        path.unlink(missing_ok=True)
    save_config(data_dir, config)
    if kept is not None:
        tell(told_aside(kept, config))
    return config


class _Line:
    """The unpaired device's line to what calls itself the township's server.

    Before the code's secret is told to anybody, keys and certificate are compared with its mark:
    who sits in between has another certificate, and learns nothing that would pair a device.
    """

    def __init__(self, server: str, ca: str | None, session: requests.Session | None) -> None:
        self._server = server
        self._given = session is not None
        self._ca = ca
        self._digest = presented(server) if server.startswith("https:") else None
        pin = self._digest.hex() if self._digest is not None and ca is None else None
        self._session = session or new_session(ca, pin)
        #: The fingerprint to pin, None where TLS is checked otherwise or not used.
        self.pin: str | None = None

    def check(self, code: PairingCode) -> tuple[PairHint, Vouched]:
        """Raises PairingRefused where the code was not made by this server."""
        status, got, body = exchange(self._session, self._server + PAIR, "GET", b"", {})
        if status != 200:
            raise refusal(status, body)
        try:
            hint = decode(body, PairHint)
            server_key = from_text(hint.server_key, KEY_BYTES)
            desks = [from_text(key, KEY_BYTES) for key in hint.desk_keys[:MAX_DESKS]]
            digest = self._digest
            if digest is None and hint.certificate is not None:
                # On this machine, without TLS: there is no certificate to compare.
                digest = bytes.fromhex(hint.certificate)
            check_reply(server_key, got.get(HEADER_SIGNATURE), "", status, body)
        except (SignatureInvalid, WireInvalid, ValueError):
            raise _another_server() from None
        vouched = code.vouches_for(server_key, desks, digest)
        if vouched is None:
            raise _another_server()
        if self._digest is not None and self._ca is None:
            if vouched.certificate:
                self.pin = self._digest.hex()
            elif not self._given:
                # Made where no certificate was known: then a known authority must vouch for it.
                self._session.close()
                self._session = new_session()
        return hint, vouched

    def pair(self, request: bytes) -> PairReply:
        """Tells the secret; the answer, signed by the key that it names."""
        headers = {"Content-Type": "application/json"}
        status, got, body = exchange(self._session, self._server + PAIR, "POST", request, headers)
        if status != 200:
            fault = refusal(status, body)
            raise _refused(fault) if fault.word in _PAIRING else fault
        try:
            reply = decode(body, PairReply)
            server_key = from_text(reply.server_key, KEY_BYTES)
            check_reply(server_key, got.get(HEADER_SIGNATURE), "", status, body)
        except (SignatureInvalid, WireInvalid):
            raise _another_server() from None
        return reply

    def close(self) -> None:
        """Lets the connection go."""
        if not self._given:
            self._session.close()


def _another_server() -> PairingRefused:
    return PairingRefused(
        "回答的不是生成配对码的服务器（密钥或证书不符）：请检查地址和网络，不要继续。",
        "another server answered than the one that made the code (its keys or certificate differ): "
        "check address and network, and do not go on",
    )


def _refused(fault: ServerRefused) -> PairingRefused:
    return PairingRefused(fault.zh, fault.en)

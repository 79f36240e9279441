"""Pairing: a one-time code makes this machine the township's enrolment desk."""

from __future__ import annotations

from pathlib import Path

from attendance import wire
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.pairing import CERTIFICATE, MAX_DESKS, PairingCode, check_certificate
from attendance.signing import from_text, to_text
from enroll.client import Link, check_url, presented, refusal
from enroll.config import DeskConfig, config_path, load_config, load_keys, save_config
from enroll.errors import NotPaired, PairingRefused
from enroll.files import write_private


def keep_certificate(data: Path, given: Path) -> str:
    """Keep a copy of the certificate that the server's TLS is to be checked against; its path.

    Raises PairingRefused where the file is not a certificate.
    """
    try:
        pem = given.read_bytes()
        check_certificate(pem)
    except (OSError, WireInvalid):
        raise PairingRefused(
            f"{given} 不是 PEM 格式的证书：请用服务器证书的副本",
            f"{given} is not a certificate in PEM form: use a copy of the server's",
        ) from None
    kept = (data / CERTIFICATE).absolute()
    write_private(kept, pem)
    return str(kept)


def pair(
    data: Path, server: str, code: str, *, again: bool = False, ca: Path | None = None
) -> tuple[DeskConfig, bool]:
    """Pair; returns the configuration kept, and whether it is another server than before.

    again: replace a pairing that exists. ca: a certificate to check the server's TLS against, for
    a server with one of its own; a copy is kept. The keys are made once and kept, so that a lost
    answer does no harm. Raises PairingRefused, ServerUnreachable, ServerRefused or DeskUnusable.
    """
    old: DeskConfig | None = None
    if config_path(data).exists():
        try:
            old = load_config(data)
        except NotPaired:
            old = None
        if not again and old is not None:
            raise PairingRefused(
                f"本机已与 {old.server} 配对：要重新配对请加 --again，或换一个 --data",
                f"this desk is already paired with {old.server}: use --again to pair it anew, "
                "or another --data",
            )
    url = check_url(server)
    try:
        parsed = PairingCode.parse(code)
    except WireInvalid:
        raise PairingRefused(
            "配对码应为 20 个字母和数字", "a pairing code has 20 letters and digits"
        ) from None
    keys = load_keys(data, create=True)
    certificate = None if ca is None else keep_certificate(data, ca)
    link, named_key, pin = _checked(url, parsed, certificate)
    request = wire.PairRequest(
        code=parsed.secret,
        kind="desk",
        sign_key=to_text(keys.sign_public),
        box_key=to_text(keys.box_public),
    )
    try:
        json = {"Content-Type": "application/json"}
        status, body, headers = link.send("POST", wire.PAIR, wire.encode(request), json)
    finally:
        link.close()
    if not 200 <= status < 300:
        raise refusal(status, body, headers.get("Retry-After"))
    try:
        reply = wire.decode(body, wire.PairReply)
        server_key = from_text(reply.server_key, 32)
        signature = headers.get(wire.HEADER_SIGNATURE)
        wire.check_reply(server_key, signature, "", status, body)
    except (WireInvalid, SignatureInvalid):
        raise _another_server(url) from None
    if server_key != named_key:
        raise _another_server(url)
    config = DeskConfig(
        server=url,
        device=reply.device,
        township=reply.township,
        server_key=server_key,
        paired_ms=reply.server_ms,
        ca=certificate,
        pin=pin,
    )
    save_config(data, config)
    return config, old is not None and old.server_key != server_key


def _checked(url: str, code: PairingCode, ca: str | None) -> tuple[Link, bytes, str | None]:
    """A line to the server that the code was made by, its key, and the certificate to pin.

    Keys and certificate are compared with the code's mark before its secret is told to anybody.
    Raises PairingRefused and ServerUnreachable.
    """
    digest = presented(url) if url.startswith("https:") else None
    link = Link(url, ca, digest.hex() if digest is not None and ca is None else None)
    try:
        status, body, headers = link.send("GET", wire.PAIR, b"", {})
        if status != 200:
            raise refusal(status, body, headers.get("Retry-After"))
        hint = wire.decode(body, wire.PairHint)
        server_key = from_text(hint.server_key, 32)
        desks = [from_text(key, 32) for key in hint.desk_keys[:MAX_DESKS]]
        shown = digest
        if shown is None and hint.certificate is not None:
            shown = bytes.fromhex(hint.certificate)  # on this machine, without TLS
        wire.check_reply(server_key, headers.get(wire.HEADER_SIGNATURE), "", status, body)
        vouched = code.vouches_for(server_key, desks, shown)
        if vouched is None:
            raise SignatureInvalid
    except (WireInvalid, SignatureInvalid, ValueError):
        link.close()
        raise _another_server(url) from None
    except BaseException:
        link.close()
        raise
    if digest is None or ca is not None:
        return link, server_key, None
    if vouched.certificate:
        return link, server_key, digest.hex()
    # Made where no certificate was known: then a known authority must vouch for it.
    link.close()
    return Link(url), server_key, None


def _another_server(url: str) -> PairingRefused:
    return PairingRefused(
        f"{url} 不是生成此配对码的服务器（密钥或证书不符）：请核对地址、网络和配对码",
        f"{url} is not the server that made this code (its keys or certificate differ): check "
        "address, network and code",
    )

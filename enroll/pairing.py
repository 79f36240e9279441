"""Pairing: a one-time code makes this machine the township's enrolment desk."""

from __future__ import annotations

from pathlib import Path

from attendance import wire
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.pairing import CERTIFICATE, PairingCode, check_certificate
from attendance.signing import from_text, to_text
from enroll.client import Link, check_url, refusal
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
            "配对码应为 16 或 24 个字母和数字", "a pairing code has 16 or 24 letters and digits"
        ) from None
    keys = load_keys(data, create=True)
    request = wire.encode(
        wire.PairRequest(
            code=str(parsed),
            kind="desk",
            sign_key=to_text(keys.sign_public),
            box_key=to_text(keys.box_public),
        )
    )
    certificate = None if ca is None else keep_certificate(data, ca)
    link = Link(url, certificate)
    try:
        status, body, headers = link.send(
            "POST", wire.PAIR, request, {"Content-Type": "application/json"}
        )
    finally:
        link.close()
    if not 200 <= status < 300:
        raise refusal(status, body, headers.get("Retry-After"))
    try:
        reply = wire.decode(body, wire.PairReply)
        server_key = from_text(reply.server_key, 32)
        # The fingerprint of an earlier desk, which such a code may carry too, is no concern here.
        if not PairingCode(parsed.secret, parsed.server).vouches_for(server_key, None):
            raise SignatureInvalid
        wire.check_reply(server_key, headers.get(wire.HEADER_SIGNATURE), "", status, body)
    except (WireInvalid, SignatureInvalid):
        raise PairingRefused(
            f"{url} 不是生成此配对码的服务器：请核对地址和配对码",
            f"{url} is not the server that made this code: check the address and the code",
        ) from None
    config = DeskConfig(
        server=url,
        device=reply.device,
        township=reply.township,
        server_key=server_key,
        paired_ms=reply.server_ms,
        ca=certificate,
    )
    save_config(data, config)
    return config, old is not None and old.server_key != server_key

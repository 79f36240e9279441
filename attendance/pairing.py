"""The one-time pairing code: a secret for the server, and a mark by which the device knows it."""

from __future__ import annotations

import hashlib
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from attendance.chain import crockford
from attendance.errors import WireInvalid

_SECRET = 8
_MARK = 12
_LENGTH = _SECRET + _MARK
_DOMAIN = b"quxiang/code/2\n"
#: File, beside a device's configuration, that keeps the server's own certificate.
CERTIFICATE = "server.crt"
#: Desk keys of one server that are tried: a county's, many times.
MAX_DESKS = 1000


def check_certificate(data: bytes) -> None:
    """Raises WireInvalid unless `data` is at least one certificate in PEM form."""
    try:
        ssl.create_default_context(cadata=data.decode("ascii"))
    except (UnicodeDecodeError, ValueError, ssl.SSLError):
        raise WireInvalid("this is not a certificate in PEM form") from None


def certificate_digest(pem: bytes) -> bytes:
    """SHA-256 of the first certificate in a PEM file (what TLS presents), 32 bytes.

    Raises WireInvalid.
    """
    check_certificate(pem)
    end = "-----END CERTIFICATE-----"
    text = pem.decode("ascii")
    first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()


@dataclass(frozen=True)
class Vouched:
    """What a code was made for: `desk_key` where a desk was paired, `certificate` where TLS was."""

    desk_key: bytes | None
    certificate: bool


@dataclass(frozen=True)
class PairingCode:
    """A code as a technician types it: twenty characters in groups of four.

    `secret` is what the server recognises (40 bits, few tries, short life); `mark` (60 bits of a
    hash) covers the server's key, the desk's and the server's TLS certificate, so that a device
    knows all three before it tells the secret to anybody.
    """

    secret: str
    mark: str

    @classmethod
    def make(
        cls, server_key: bytes, desk_key: bytes | None, certificate: bytes | None = None
    ) -> PairingCode:
        """A fresh code for a server with these public keys and this certificate's SHA-256.

        `desk_key` is None where no desk is paired yet, `certificate` where there is no TLS.
        """
        mark = _mark(server_key, desk_key, certificate)
        return cls(crockford(secrets.token_bytes(5)), mark)

    @classmethod
    def parse(cls, text: str) -> PairingCode:
        """A code as typed: any case, any spaces and dashes, O for 0 and I or L for 1 forgiven.

        Raises WireInvalid where it cannot be one.
        """
        plain = "".join(text.upper().split()).replace("-", "")
        plain = plain.replace("O", "0").replace("I", "1").replace("L", "1")
        if len(plain) != _LENGTH or not plain.isascii() or not plain.isalnum():
            raise WireInvalid(f"a pairing code has {_LENGTH} letters and digits")
        return cls(plain[:_SECRET], plain[_SECRET:])

    def __str__(self) -> str:
        plain = self.secret + self.mark
        return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))

    def vouches_for(
        self, server_key: bytes, desk_keys: Iterable[bytes] = (), certificate: bytes | None = None
    ) -> Vouched | None:
        """What the code was made for, if this is the server that it was made on; else None.

        `desk_keys` are the desks that the server names, `certificate` is the SHA-256 of what TLS
        presented. A desk paired after the code was made cannot be in it, and is taken at first
        use; a code made where there was no TLS vouches for no certificate.
        """
        desks = [*list(desk_keys)[:MAX_DESKS], None]
        for digest in (None,) if certificate is None else (certificate, None):
            for desk in desks:
                if secrets.compare_digest(_mark(server_key, desk, digest), self.mark):
                    return Vouched(desk, digest is not None)
        return None


def _mark(server_key: bytes, desk_key: bytes | None, certificate: bytes | None) -> str:
    parts = (server_key, desk_key or b"", certificate or b"")
    text = b"".join(hashlib.sha256(part).digest() for part in parts)
    return crockford(hashlib.sha256(_DOMAIN + text).digest()[:10])[:_MARK]

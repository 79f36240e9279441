"""The one-time pairing code: a secret for the server, and fingerprints that the device checks."""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass

from attendance.chain import crockford
from attendance.errors import WireInvalid
from attendance.signing import fingerprint

_GROUP = 8
#: File, beside a device's configuration, that keeps the server's own certificate.
CERTIFICATE = "server.crt"


def check_certificate(data: bytes) -> None:
    """Raises WireInvalid unless `data` is at least one certificate in PEM form."""
    try:
        ssl.create_default_context(cadata=data.decode("ascii"))
    except (UnicodeDecodeError, ValueError, ssl.SSLError):
        raise WireInvalid("this is not a certificate in PEM form") from None


@dataclass(frozen=True)
class PairingCode:
    """A code as a technician types it, in groups of four characters.

    `secret` is what the server recognises (40 bits, few tries, short life); `server` and `desk` are
    fingerprints of the keys that the device must be answered with, `desk` empty where no desk was
    paired yet.
    """

    secret: str
    server: str
    desk: str = ""

    @classmethod
    def make(cls, server_key: bytes, desk_key: bytes | None) -> PairingCode:
        """A fresh code for a server with these public keys."""
        return cls(
            crockford(secrets.token_bytes(5)),
            fingerprint(server_key),
            "" if desk_key is None else fingerprint(desk_key),
        )

    @classmethod
    def parse(cls, text: str) -> PairingCode:
        """A code as typed: any case, any spaces and dashes, O for 0 and I or L for 1 forgiven.

        Raises WireInvalid where it cannot be one.
        """
        plain = "".join(text.upper().split()).replace("-", "")
        plain = plain.replace("O", "0").replace("I", "1").replace("L", "1")
        if len(plain) not in (2 * _GROUP, 3 * _GROUP) or not plain.isascii() or not plain.isalnum():
            raise WireInvalid("a pairing code has 16 or 24 letters and digits")
        return cls(plain[:_GROUP], plain[_GROUP : 2 * _GROUP], plain[2 * _GROUP :])

    def __str__(self) -> str:
        plain = self.secret + self.server + self.desk
        return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))

    def vouches_for(self, server_key: bytes, desk_key: bytes | None) -> bool:
        """Whether the keys that answered are the ones that the code was made for.

        A desk paired after the code was made cannot be in it, and is taken at first use.
        """
        if fingerprint(server_key) != self.server:
            return False
        return not self.desk or (desk_key is not None and fingerprint(desk_key) == self.desk)

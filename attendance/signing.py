"""Keys, signatures and seals of the wire: Ed25519 and sealed boxes of libsodium, by PyNaCl."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from attendance.chain import crockford
from attendance.errors import SignatureInvalid

KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class DeviceKeys:
    """The two secret keys of a kiosk or desk: one signs, one opens seals. Never printed.

    `sign_seed` and `box_seed` are 32 random bytes each.
    """

    sign_seed: bytes
    box_seed: bytes

    @classmethod
    def generate(cls) -> DeviceKeys:
        """New keys from the system's random source."""
        return cls(bytes(SigningKey.generate()), bytes(PrivateKey.generate()))

    @property
    def sign_public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return bytes(SigningKey(self.sign_seed).verify_key)

    @property
    def box_public(self) -> bytes:
        """The X25519 public key, 32 bytes."""
        return bytes(PrivateKey(self.box_seed).public_key)

    def sign(self, domain: str, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes, over the domain, a line feed and the message."""
        return sign(self.sign_seed, domain, message)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed to this device. Raises SignatureInvalid."""
        try:
            return SealedBox(PrivateKey(self.box_seed)).decrypt(sealed)
        except (CryptoError, ValueError):
            raise SignatureInvalid("this was not sealed for this device") from None

    def __repr__(self) -> str:
        return f"DeviceKeys({fingerprint(self.sign_public)})"


#: Deriving a key from its seed takes as long as signing with it.
_signing_key = lru_cache(8)(SigningKey)


def sign(seed: bytes, domain: str, message: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes, of `domain`, a line feed and `message`."""
    return _signing_key(seed).sign(domain.encode() + b"\n" + message).signature


def check(public: bytes, domain: str, message: bytes, signature: bytes) -> None:
    """Raises SignatureInvalid unless `signature` is of this key, domain and message."""
    try:
        VerifyKey(public).verify(domain.encode() + b"\n" + message, signature)
    except (CryptoError, ValueError, TypeError):
        raise SignatureInvalid("the signature does not fit the key and the message") from None


def seal(box_public: bytes, message: bytes) -> bytes:
    """`message` so that only the device with this X25519 key can read it."""
    return SealedBox(PublicKey(box_public)).encrypt(message)


def fingerprint(public: bytes) -> str:
    """Eight characters of a public key (40 bits of its SHA-256), to read aloud and compare."""
    return crockford(hashlib.sha256(public).digest()[:5])


def key_mark(public: bytes) -> str:
    """Sixteen characters of a public key in fours (80 bits of its SHA-256), `fingerprint` first.

    For a key that is taken by them alone: with the eight of `fingerprint` somebody with time and
    machines could find a key of his own that has the same.
    """
    plain = crockford(hashlib.sha256(public).digest()[:10])
    return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))


def read_mark(text: str) -> str:
    """A `key_mark` as somebody typed it: any case, O for 0, I and L for 1, spaces and dashes.

    Raises ValueError unless it has sixteen characters.
    """
    plain = "".join(text.upper().translate(str.maketrans("OIL", "011", "-")).split())
    if len(plain) != 16 or not plain.isascii() or not plain.isalnum():
        raise ValueError("a key's mark has sixteen letters and digits")
    return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))


def to_text(data: bytes) -> str:
    """Bytes as base64 for JSON."""
    return base64.b64encode(data).decode()


def from_text(text: str, length: int | None = None) -> bytes:
    """Base64 back to bytes, of exactly `length` where given. Raises SignatureInvalid."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureInvalid("not base64") from None
    if length is not None and len(data) != length:
        raise SignatureInvalid(f"{length} bytes expected, {len(data)} found")
    return data

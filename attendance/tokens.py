"""Cards and badges: how a number or a code becomes what a kiosk keeps of it.

A kiosk must find the official of a card among many, so the mark has no salt of its own; the key of
the kiosk's gallery takes its place. A card number often has only 32 bits, hence argon2id: whoever
reads the key from a stolen memory card needs 2 CPU years to try them all at 15 ms each.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Literal

from nacl.pwhash import argon2id

from attendance.chain import crockford
from attendance.errors import TokenInvalid

Kind = Literal["card", "badge"]

MARK_BYTES = 32
#: As for PINs (OWASP Password Storage Cheat Sheet): 19 MiB, 2 passes; libsodium has one lane.
PASSES, MEMORY_BYTES = 2, 19_456 * 1024
BADGE_PREFIX = "QX1:"
"""What a badge's QR code begins with, so that other codes before the camera are nobody's badge."""
_BADGE = re.compile(r"QX1:[0-9A-HJKMNP-TV-Z]{24}")
_CARD = re.compile(r"[0-9A-Z]{6,40}")


def card_number(text: str) -> str:
    """A card's number as readers type it: capitals, no separators, no leading zeros of a decimal.

    Spreadsheets and some readers drop those zeros. Raises TokenInvalid where it cannot be one.
    """
    plain = re.sub(r"[\s:-]", "", text).upper()
    if not _CARD.fullmatch(plain):
        raise TokenInvalid("a card number has 6 to 40 digits or letters: let the reader type it")
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain


def new_badge() -> str:
    """The text of a fresh badge's QR code: 120 random bits, which say nothing of anybody."""
    return BADGE_PREFIX + crockford(secrets.token_bytes(15))


def is_badge(text: str) -> bool:
    """Whether a code read by a camera is one of ours."""
    return _BADGE.fullmatch(text) is not None


def mark(key: bytes, kind: Kind, token: str) -> bytes:
    """What a kiosk keeps of a card or badge: argon2id, 32 bytes. `key` is its gallery's `pin_key`.

    Some 15 ms on a PC, 60 ms on a Raspberry Pi 4.
    """
    salt = hmac.digest(key, b"quxiang/token/1", "sha256")[: argon2id.SALTBYTES]
    keyed = hmac.digest(key, f"{kind}\n{token}".encode(), "sha256")
    return argon2id.kdf(MARK_BYTES, keyed, salt, opslimit=PASSES, memlimit=MEMORY_BYTES)

"""The hash chain of one kiosk: each head vouches for every record before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from attendance.errors import ChainBroken

HEAD_BYTES = 32


def genesis(device: str, epoch: int, cites: bytes = b"") -> bytes:
    """The head before the first record of an epoch, 32 bytes.

    `cites` is the server's head that a later epoch continues from (`evidence.md`, "Server ahead"),
    empty for the first epoch.
    """
    return hashlib.sha256(b"quxiang/chain/1\n%s\n%d\n" % (device.encode(), epoch) + cites).digest()


def next_head(previous: bytes, payload: bytes | memoryview) -> bytes:
    """`SHA-256(previous head || exact bytes of the record)`, 32 bytes."""
    return hashlib.sha256(previous + payload).digest()


def heads_of(head: bytes, payloads: Iterable[bytes | memoryview]) -> list[bytes]:
    """The head after each of `payloads`, starting from `head`."""
    sha, heads = hashlib.sha256, []
    for payload in payloads:
        head = sha(head + payload).digest()
        heads.append(head)
    return heads


def run_chain(head: bytes, payloads: Iterable[bytes | memoryview]) -> bytes:
    """The head after all `payloads`, starting from `head`."""
    for payload in payloads:
        head = next_head(head, payload)
    return head


def verify_chain(head: bytes, links: Iterable[tuple[int, bytes, bytes]], first: int = 1) -> bytes:
    """Checks `(seq, payload, head)` links that follow `head`; returns the last head.

    Raises ChainBroken, whose `seq` is the first bad one: a hole in the numbering, or a head that
    does not follow.
    """
    wanted = first
    for seq, payload, stated in links:
        if seq != wanted:
            raise ChainBroken(wanted, f"record {wanted} is missing: {seq} follows {wanted - 1}")
        head = next_head(head, payload)
        if head != stated:
            raise ChainBroken(seq, f"record {seq} was changed: its head does not follow")
        wanted += 1
    return head


def head_code(head: bytes) -> str:
    """Eight characters to write in the village's paper log (40 bits of the head, Crockford)."""
    return crockford(head[:5])


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def crockford(data: bytes) -> str:
    """Crockford base32 of bytes, their number a multiple of five: no I, L, O, U to misread."""
    if len(data) % 5:
        raise ValueError("whole groups of five bytes only")
    number = int.from_bytes(data)
    count = len(data) * 8 // 5
    return "".join(_CROCKFORD[number >> 5 * i & 31] for i in reversed(range(count)))


def uncrockford(text: str) -> bytes:
    """The bytes again, as somebody wrote them: any case, O for 0, I and L for 1, spaces, hyphens.

    Raises ValueError for anything but eight characters.
    """
    plain = text.upper().translate(str.maketrans("OIL", "011", " -"))
    if len(plain) != 8:
        raise ValueError("eight characters only")
    number = 0
    for letter in plain:
        number = number << 5 | _CROCKFORD.index(letter)
    return number.to_bytes(5)

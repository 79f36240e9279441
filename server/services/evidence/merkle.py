"""A growing Merkle tree as in RFC 6962, section 2.1: SHA-256, leaves and nodes told apart.

The root over n leaves is that of the RFC; only the roots of perfect subtrees are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf, 32 bytes."""
    return hashlib.sha256(LEAF + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


class Tree:
    """A tree of which only the frontier is held: 32 bytes for each bit set in `size`."""

    def __init__(self, size: int = 0, frontier: bytes = b"") -> None:
        """Goes on from a frontier. Raises ValueError where it does not fit the size."""
        if size < 0 or len(frontier) != size.bit_count() * HASH_BYTES:
            raise ValueError("the frontier does not fit the size")
        self.size = size
        self._roots = [frontier[i : i + HASH_BYTES] for i in range(0, len(frontier), HASH_BYTES)]

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Appends leaves, by their hashes of 32 bytes each, in order."""
        sha = hashlib.sha256
        row, level = list(hashes), 0
        before, count = self.size, len(row)
        kept: list[bytes] = []  # perfect subtrees left over at the right, smallest first
        while row:
            if before >> level & 1:
                row.insert(0, self._roots.pop())
            if len(row) & 1:
                kept.append(row.pop())
            pairs = zip(row[::2], row[1::2], strict=True)
            row = [sha(_NODE + left + right).digest() for left, right in pairs]
            level += 1
        self._roots += reversed(kept)
        self.size = before + count

    @property
    def root(self) -> bytes:
        """The root; of an empty tree the hash of nothing."""
        if not self._roots:
            return hashlib.sha256().digest()
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = _node(left, root)
        return root

    @property
    def frontier(self) -> bytes:
        """What `Tree(size, frontier)` goes on from."""
        return b"".join(self._roots)

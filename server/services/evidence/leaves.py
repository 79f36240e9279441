"""The leaves that checkpoints keep of a table, in the order of its rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from sqlalchemy import LargeBinary, cast, select
from sqlalchemy.orm import Session

from server.models import CheckpointLeaves
from server.services.evidence.merkle import HASH_BYTES

#: Row id and hash.
SIZE = 8 + HASH_BYTES
pack = Struct(f">q{HASH_BYTES}s").pack


class Leaf(NamedTuple):
    """A row's hash, and the number of the checkpoint that closed it."""

    rowid: int
    digest: bytes
    number: int


class Leaves:
    """A table's leaves, those above the row `after` and up to `until`, from the first on.

    A blob of them has SIZE bytes for each, as `pack` makes them.
    """

    def __init__(self, session: Session, table: str, after: int | None, until: int | None) -> None:
        self._more = _blobs(session, table, after, until)
        self._held: deque[tuple[int, bytes]] = deque()
        self._at = 0

    def peek(self) -> Leaf | None:
        """The next one, None where there is none any more."""
        if not self._held and not self._load():
            return None
        number, blob = self._held[0]
        rowid = int.from_bytes(blob[self._at : self._at + 8], signed=True)
        return Leaf(rowid, blob[self._at + 8 : self._at + SIZE], number)

    def drop(self) -> None:
        """Goes on to the one after it."""
        self._go_on(SIZE)

    def take(self, wanted: bytes) -> bool:
        """Goes on past these, where they are exactly the next ones; else stays."""
        place, at, left = 0, self._at, len(wanted)
        done = 0
        while left:
            if place == len(self._held) and not self._load():
                return False
            blob = self._held[place][1]
            part = min(left, len(blob) - at)
            if blob[at : at + part] != wanted[done : done + part]:
                return False
            done, left = done + part, left - part
            place, at = place + 1, 0
        self._go_on(len(wanted))
        return True

    def _go_on(self, count: int) -> None:
        self._at += count
        while self._held and self._at >= len(self._held[0][1]):
            self._at -= len(self._held.popleft()[1])

    def _load(self) -> bool:
        found = next(self._more, None)
        if found is not None:
            self._held.append(found)
        return found is not None


def _blobs(
    session: Session, table: str, after: int | None, until: int | None
) -> Iterator[tuple[int, bytes]]:
    query = (
        select(CheckpointLeaves.checkpoint_id, cast(CheckpointLeaves.leaves, LargeBinary))
        .where(CheckpointLeaves.table_name == table)
        .order_by(CheckpointLeaves.id)
        .execution_options(yield_per=10)
    )
    for number, leaves in session.execute(query):
        blob = leaves[: len(leaves) // SIZE * SIZE]
        if after is not None or until is not None:
            blob = _within(blob, after, until)
        if blob:
            yield number, blob


def _within(blob: bytes, after: int | None, until: int | None) -> bytes:
    kept = []
    for i in range(0, len(blob), SIZE):
        rowid = int.from_bytes(blob[i : i + 8], signed=True)
        if (after is None or rowid > after) and (until is None or rowid <= until):
            kept.append(blob[i : i + SIZE])
    return b"".join(kept)

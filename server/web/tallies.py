"""How many boards each address has open, over all workers: a small table in memory they share."""

from __future__ import annotations

import hashlib
import mmap

#: Counters of a worker. Addresses that fall on the same one are counted together: with a thousand
#: boards open that is rare, and a board that is refused for it asks every five seconds instead.
COLUMNS = 8192


class Tallies:
    """A row of counters for each worker, made before they are forked.

    A worker writes its own row alone, so that nobody waits for anybody; whoever forks a worker
    clears the row that it will have.
    """

    def __init__(self, rows: int = 1) -> None:
        self.rows = rows
        self._memory = mmap.mmap(-1, rows * COLUMNS * 2)
        self._cells = memoryview(self._memory).cast("H")

    def clear(self, row: int) -> None:
        """Forgets what a worker that ended had counted."""
        self._cells[row * COLUMNS : (row + 1) * COLUMNS] = memoryview(bytes(2 * COLUMNS)).cast("H")

    def add(self, row: int, column: int, more: int) -> None:
        """Counts so many more in a row, fewer where negative; not below zero."""
        at = row * COLUMNS + column
        self._cells[at] = min(max(self._cells[at] + more, 0), 0xFFFF)

    def sum(self, column: int) -> int:
        """What all workers counted there."""
        return sum(self._cells[column :: COLUMNS])


class Tally:
    """That of one worker, who sees the others' too."""

    def __init__(self, tallies: Tallies | None = None, row: int = 0) -> None:
        self._tallies = tallies or Tallies()
        self._row = row

    def add(self, address: str, more: int) -> None:
        """So many more boards of an address are open here; fewer where negative."""
        self._tallies.add(self._row, _column(address), more)

    def of(self, address: str) -> int:
        """How many boards of an address are open at any worker."""
        return self._tallies.sum(_column(address))


def _column(address: str) -> int:
    digest = hashlib.blake2b(address.encode("utf-8", "replace"), digest_size=4).digest()
    return int.from_bytes(digest) % COLUMNS

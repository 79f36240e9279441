"""How many connections each worker has, in a small table of memory that they share.

Whoever wakes first takes a connection: after a power cut, one worker had 650 of a thousand kiosks,
and was still at work when the other one had nothing left to do.
"""

from __future__ import annotations

import mmap


class Shares:
    """One number a worker, made before they are forked; each writes its own alone."""

    def __init__(self, rows: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, rows * 4)).cast("I")

    def set(self, row: int, connections: int) -> None:
        """What a worker has now."""
        self._cells[row] = connections + 1

    def clear(self, row: int) -> None:
        """The worker is gone: nobody leaves anything to it."""
        self._cells[row] = 0

    def fewer(self, row: int) -> bool:
        """Whether another worker has at least two connections fewer than this one."""
        mine = self._cells[row]
        return any(0 < count < mine - 1 for count in self._cells)


class Share:
    """That of one worker."""

    def __init__(self, shares: Shares | None = None, row: int = 0) -> None:
        self._shares = shares or Shares(1)
        self._row = row

    def set(self, connections: int) -> None:
        """What this worker has now."""
        self._shares.set(self._row, connections)

    def fewer(self) -> bool:
        """Whether the next connection is another one's."""
        return self._shares.fewer(self._row)

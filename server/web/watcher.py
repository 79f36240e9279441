"""One thread in each worker process that asks whether a board changed, for however many streams.

It tells the hub of the open boards (`server.web.streams`); under another server than ours, which
lets no connection go, streams wait in their threads on a condition. None of them touches the
database. The thread lives only while somebody listens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

#: Seconds between two looks at the database: a check-in must show on an open board within one.
EVERY = 0.5
#: A version not confirmed for this many seconds is no longer called heard.
FRESH = 5.0

log = logging.getLogger(__name__)


class Stream:
    """One open board. `close()` may be called any number of times, from any thread."""

    def __init__(self, watcher: Watcher, key: int) -> None:
        self._watcher = watcher
        self.key = key

    def next(self, seen: str | None, timeout: float) -> str | None:
        """The board's version as soon as it differs from `seen`; None after `timeout` seconds."""
        return self._watcher.wait(self, seen, timeout)

    @property
    def ended(self) -> bool:
        """Whether the stream was closed, by its reader or by the server's end."""
        return self not in self._watcher.streams

    @property
    def fresh(self) -> bool:
        """Whether the version was read within the last few seconds."""
        return self._watcher.fresh

    def close(self) -> None:
        """Gives the place to somebody else."""
        self._watcher.drop(self)


class Watcher:
    """Asks `read(keys)` for the version of each board that anybody watches.

    `limit` waiting streams at the most: each holds a thread. `alive` says whether the process is to
    go on (a worker that was told to end must not wait for its readers).
    """

    def __init__(
        self,
        read: Callable[[Iterable[int]], Mapping[int, str]],
        *,
        limit: int,
        every: float = EVERY,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read = read
        self.limit = limit
        self._every = every
        self.alive = alive
        self.streams: set[Stream] = set()
        self._versions: dict[int, str] = {}
        self._read_at = float("-inf")
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._others: Callable[[], set[int]] = set
        self._tell: Callable[[Mapping[int, str]], None] = lambda versions: None

    def serve(
        self, keys: Callable[[], set[int]], tell: Callable[[Mapping[int, str]], None]
    ) -> None:
        """Reads for those boards too, and tells their versions after every look."""
        self._others, self._tell = keys, tell

    def wake(self, *, now: bool) -> None:
        """Goes on looking after somebody came, at once where it is to be `now`."""
        with self._condition:
            self._begin()
        if now:
            self._wake.set()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="board", daemon=True)
            self._thread.start()

    @property
    def fresh(self) -> bool:
        """Whether the last look succeeded, and lately."""
        return monotonic() - self._read_at < FRESH

    def open(self, key: int) -> Stream | None:
        """A stream for board `key`, or None where all places are taken."""
        with self._condition:
            if len(self.streams) >= self.limit:
                return None
            stream = Stream(self, key)
            self.streams.add(stream)
            self._begin()
        self._wake.set()
        return stream

    def wait(self, stream: Stream, seen: str | None, timeout: float) -> str | None:
        """See `Stream.next`."""

        def ready() -> bool:
            version = self._versions.get(stream.key)
            return stream not in self.streams or (version is not None and version != seen)

        with self._condition:
            if not self._condition.wait_for(ready, timeout) or stream not in self.streams:
                return None
            return self._versions[stream.key]

    def drop(self, stream: Stream) -> None:
        """See `Stream.close`."""
        with self._condition:
            self.streams.discard(stream)
            self._condition.notify_all()
        self._wake.set()

    def close(self) -> None:
        """Ends every stream. Idempotent."""
        with self._condition:
            self.streams.clear()
            self._condition.notify_all()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            with self._condition:
                if not self.alive():
                    self.streams.clear()
                    self._condition.notify_all()
                keys = {stream.key for stream in self.streams} | self._others()
                if not keys or not self.alive():
                    self._thread = None
                    self._versions.clear()
                    self._tell({})
                    return
            try:
                versions = dict(self._read(keys))
            except Exception:  # a database that is away for a moment must not end the boards
                log.warning("the board's version could not be read; trying again", exc_info=True)
            else:
                with self._condition:
                    self._versions = versions
                    self._read_at = monotonic()
                    self._condition.notify_all()
                self._tell(versions)
            self._wake.wait(self._every)

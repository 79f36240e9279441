"""Open public boards without a thread each: one loop in each worker holds all their connections.

A view answers and lets the connection go (`Handover`); the worker gives it to the `Hub`, which
writes the versions that the watcher reads, and beats, and sees who is gone. Nothing here touches
the database or waits for anybody.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import NamedTuple

from attendance.days import local, to_ms
from server.context import Clock
from server.web.tallies import Tally

#: Seconds between two beats of a stream; `board.js` waits for two and a half before it doubts.
BEAT = 10.0
#: Streams of one worker, and of one address at all of them: a telephone company's subscribers share
#: one.
LIMIT = 1000
PER_ADDRESS = 200
#: Bytes that wait for somebody who does not take them: some minutes' beats and news.
UNSENT = 64 << 10
#: Seconds after which what a client does not acknowledge ends its connection.
SILENT_S = 30
FIRST = b": quxiang\nretry: 3000\n\n"
LOST = b": the database does not answer\n\n"
_TICK_S = 0.5
_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

log = logging.getLogger(__name__)

#: A township's number, the kind of page ("" for whoever wants versions alone), its language.
View = tuple[int, str, str]


class News(NamedTuple):
    """What changed after version `since`, as JSON in one line."""

    since: str
    text: bytes


def board_event(version: str) -> bytes:
    """Tells of a new version."""
    return f"event: board\ndata: {version}\n\n".encode()


def news_event(news: News) -> bytes:
    """Tells what changed; it goes before its version, so that nobody asks for it."""
    return b"event: news\ndata: " + news.text + b"\n\n"


def beat_event(clock: Clock) -> bytes:
    """Tells the time while nothing changes."""
    return f"event: beat\ndata: {local(to_ms(clock())):%H:%M}\n\n".encode()


class HandedOver(ConnectionError):
    """Ends gunicorn's part in a connection; no fault."""

    def __init__(self, handover: Handover) -> None:
        super().__init__("handed over")
        self.handover = handover


class Handover:
    """The body of an answer that goes on elsewhere: its beginning, then `HandedOver`."""

    def __init__(self, take: Callable[[socket.socket], None]) -> None:
        self.take = take

    def __iter__(self) -> Iterator[bytes]:
        yield FIRST
        raise HandedOver(self)


class _Open:
    """One board's connection."""

    def __init__(self, sock: socket.socket, view: View, address: str, chunked: bool) -> None:
        self.sock, self.view, self.address, self.chunked = sock, view, address, chunked
        self.version: str | None = None
        self.due = 0.0
        self.unsent = bytearray()

    def framed(self, text: bytes) -> bytes:
        """As its protocol wants it; HTTP/1.0 reads until the end."""
        return b"%x\r\n%b\r\n" % (len(text), text) if self.chunked else text


class Hub:
    """One a process. `start` and `close` belong to the worker, `take` to any thread.

    `wake(now=)` has the watcher look, at once for a board that nobody had open; `fresh` says
    whether versions were read lately, `alive` whether the process is to go on.
    """

    def __init__(
        self,
        clock: Clock,
        fresh: Callable[[], bool],
        wake: Callable[..., None],
        *,
        alive: Callable[[], bool] = lambda: True,
        limit: int = LIMIT,
        per_address: int = PER_ADDRESS,
        beat: float = BEAT,
    ) -> None:
        self._beat = beat
        self._clock, self._fresh, self._wake_watcher = clock, fresh, wake
        self.alive, self._limit, self._per_address = alive, limit, per_address
        self._open: set[_Open] = set()
        #: Of all workers, where whoever started this one shares it.
        self.tally = Tally()
        self._versions: Mapping[int, str] = {}
        self._news: queue.SimpleQueue[tuple[Mapping[int, str], Mapping[View, News]]] = (
            queue.SimpleQueue()
        )
        self._new: queue.SimpleQueue[_Open] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        # Made by `start`: two processes that share a selector would hear each other's connections.
        self._selector: selectors.BaseSelector
        self._bell: socket.socket
        self._ring: socket.socket | None = None

    @property
    def running(self) -> bool:
        """Whether connections are handed over here."""
        return self._thread is not None

    @property
    def streams(self) -> int:
        """How many boards are open."""
        return len(self._open) + self._new.qsize()

    def keys(self) -> set[int]:
        """The boards that somebody has open; for the watcher."""
        return {stream.view[0] for stream in list(self._open)}

    def views(self) -> set[View]:
        """What is to be drawn of them."""
        return {stream.view for stream in list(self._open) if stream.view[1]}

    def full(self, address: str) -> bool:
        """Whether nobody else, or nobody else of this address, can be taken."""
        many = self.streams >= self._limit or self.tally.of(address) >= self._per_address
        return many or self._ending.is_set()

    def start(self) -> None:
        """Begins to serve, after any fork."""
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def take(self, sock: socket.socket, view: View, address: str, *, chunked: bool) -> None:
        """A connection whose answer was begun; it is the hub's from now on."""
        if self._ending.is_set():
            sock.close()
            return
        with contextlib.suppress(OSError):
            # Somebody who went without a word: else the kernel would try for a quarter of an hour.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_S * 1000)
        sock.setblocking(False)
        self._new.put(_Open(sock, view, address, chunked))
        self._call()

    def told(self, versions: Mapping[int, str], news: Mapping[View, News]) -> None:
        """The newest versions, by board, and what came with them."""
        self._news.put((versions, news))
        self._call()

    def close(self) -> None:
        """Ends every stream properly, so that boards come back at once. Idempotent."""
        self._ending.set()
        self._call()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2)

    def _call(self) -> None:
        if self._ring is not None:
            with contextlib.suppress(OSError):  # rung already, or over
                self._ring.send(b"\0")

    def _run(self) -> None:
        while self.alive() and not self._ending.is_set():
            try:
                self._round()
            except Exception:  # boards come back by themselves; a loop that ended would not
                log.exception("the open boards were let go")
                self._versions = {}
                self._let_go()
        self._ending.set()
        self._let_go()
        self._selector.close()
        self._bell.close()
        if self._ring is not None:
            self._ring.close()

    def _round(self) -> None:
        for key, events in self._selector.select(_TICK_S):
            stream = key.data
            if stream is None:
                with contextlib.suppress(OSError):
                    self._bell.recv(4096)
            elif events & selectors.EVENT_READ and self._gone(stream):
                self._drop(stream)
            elif events & selectors.EVENT_WRITE:
                self._send(stream, b"")
        self._admit()
        # One after the other: on a busy machine two come at once, and who is told of the second
        # alone could not do without the whole page.
        while not self._news.empty():
            self._versions, news = self._news.get()
            self._tell(news)
        self._tell({})

    def _admit(self) -> None:
        came = False
        unknown = False
        while not self._new.empty():
            stream = self._new.get()
            stream.due = monotonic() + self._beat
            self._open.add(stream)
            self.tally.add(stream.address, 1)
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
            came, unknown = True, unknown or stream.view[0] not in self._versions
        if came:
            self._wake_watcher(now=unknown)

    def _tell(self, news: Mapping[View, News]) -> None:
        now, versions = monotonic(), self._versions
        beat = b""
        for stream in list(self._open):
            version = versions.get(stream.view[0])
            if version is not None and version != stream.version:
                new = news.get(stream.view)
                text = news_event(new) if new is not None and new.since == stream.version else b""
                text += board_event(version)
                stream.version = version
            elif now >= stream.due:
                text = b""
            else:
                continue
            beat = beat or (beat_event(self._clock) if self._fresh() else LOST)
            stream.due = now + self._beat
            self._send(stream, stream.framed(text + beat))

    def _send(self, stream: _Open, text: bytes) -> None:
        stream.unsent += text
        waited = len(stream.unsent) > len(text)
        try:
            while stream.unsent:
                del stream.unsent[: stream.sock.send(stream.unsent)]
        except _AGAIN:
            if len(stream.unsent) > UNSENT:
                self._drop(stream)
            elif not waited:
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(stream.sock, both, stream)
        except OSError:
            self._drop(stream)
        else:
            if waited or not text:
                self._selector.modify(stream.sock, selectors.EVENT_READ, stream)

    def _gone(self, stream: _Open) -> bool:
        """Whether the client hung up, or says something, which no board does."""
        try:
            stream.sock.recv(4096)
        except _AGAIN:
            return False
        except OSError:
            return True
        return True

    def _drop(self, stream: _Open) -> None:
        if stream not in self._open:
            return
        self._open.discard(stream)
        self.tally.add(stream.address, -1)
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._selector.unregister(stream.sock)
        with contextlib.suppress(OSError):
            stream.sock.close()

    def _let_go(self) -> None:
        while not self._new.empty():
            stream = self._new.get()
            self._open.add(stream)
            self.tally.add(stream.address, 1)
        for stream in list(self._open):
            with contextlib.suppress(OSError):
                if stream.chunked and not stream.unsent:
                    stream.sock.send(b"0\r\n\r\n")
            self._drop(stream)

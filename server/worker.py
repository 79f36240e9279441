"""Gunicorn's threaded worker, which lets nobody keep a thread by sending slowly.

Gunicorn waits without end for the rest of a request of which one byte has come: sixteen half
requests a worker, and the township's server answers nobody. Here a watch over the reading threads
ends what is too slow.
"""

from __future__ import annotations

import contextlib
import socket
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]
from werkzeug.exceptions import ClientDisconnected

from attendance.wire import PREFIX
from server.lanes import Lanes
from server.shares import Share
from server.web.streams import HandedOver

#: Seconds for the handshake of TLS and the head of a request.
HEAD_S = 10.0
#: Seconds for a body, and bytes a second on top: half of what the thinnest line of a village
#: carries (64 kbit/s).
BODY_S = 20.0
BODY_RATE = 4_000
#: A body whose length is not stated may be as long as the longest that pages take.
UNSTATED = 1 << 20
#: Seconds after which somebody counts as slow; half of the threads may serve slow ones.
SLOW_S = 2.0
#: Seconds that a worker leaves a connection to others who have fewer, and how often.
SHY_S, SHY_TIMES = 0.001, 5
#: Seconds, and bytes, for what a request refused early had still to say.
LEAVE_S = 1.0
LEAVE_BYTES = 8 << 20


@dataclass
class _Reading:
    """One connection's reading: since when a thread waits for it, None while none does.

    `spent` are seconds that its body has taken before, `allowed` those it may take.
    """

    since: float | None
    allowed: float
    spent: float = 0.0

    def waited(self, now: float) -> float:
        return 0.0 if self.since is None else self.spent + now - self.since


class _Body:
    """A request's body that notes when it is waited for, and ends in one kind of fault."""

    def __init__(self, body: Any, reading: _Reading) -> None:
        self._body = body
        self._reading = reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def read(self, size: int | None = None) -> bytes:
        return self._wait(self._body.read, size)

    def readline(self, size: int | None = None) -> bytes:
        return self._wait(self._body.readline, size)

    def readlines(self, size: int | None = None) -> list[bytes]:
        return self.read().splitlines(keepends=True)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _wait(self, read: Any, size: int | None) -> bytes:
        """Raises ClientDisconnected where the rest does not come, or is no body at all."""
        reading = self._reading
        reading.since = monotonic()
        try:
            return bytes(read(size))
        except (OSError, ParseException) as error:
            raise ClientDisconnected from error
        finally:
            reading.spent, reading.since = reading.waited(monotonic()), None


def _take_leave(sock: socket.socket) -> None:
    """Takes what is still on its way, so that the answer is not lost to a reset.

    Gunicorn would do so in the one thread that accepts, two seconds for each who does not hang up.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        until, left = monotonic() + LEAVE_S, LEAVE_BYTES
        while left > 0 and (rest := until - monotonic()) > 0:
            sock.settimeout(rest)
            data = sock.recv(1 << 16)
            if not data:
                break
            left -= len(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def _has_said(conn: Any) -> bool:
    """Whether bytes wait that no thread has come to read: then it is we who are slow."""
    try:
        flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
        return bool(socket.socket.recv(conn.sock, 1, flags))
    except (OSError, ValueError):
        return False


def _is_gone(conn: Any) -> bool:
    """Whether somebody else took the connection."""
    return bool(getattr(conn, "quxiang_gone", False))


class Worker(ThreadWorker):  # type: ignore[misc]
    """Ends connections that send too slowly: after a while, and sooner when they are many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._readings: dict[Any, _Reading] = {}
        # A listing may collect garbage in its middle, and let the other threads write meanwhile.
        self._listing = Lock()
        #: Set by whoever forks it.
        self.share = Share()
        self._left = 0

    def get_thread_pool(self) -> Executor:
        """Gunicorn asks for it once a process."""
        # Most of the devices' threads wait for what is written together: the more of them, the more
        # is written at once.
        return Lanes(self.cfg.threads, 2 * self.cfg.threads)

    def accept(self, listener: Any) -> None:
        """One connection, or none where another worker has fewer: it has woken, too."""
        if self._left < SHY_TIMES and self.share.fewer():
            self._left += 1
            time.sleep(SHY_S)
            return
        self._left = 0
        super().accept(listener)
        self.share.set(self.nr_conns)

    def handle(self, conn: Any) -> Any:
        """One request of a connection, in a thread of the pool."""
        with self._listing:
            self._readings[conn] = _Reading(monotonic(), HEAD_S)
        try:
            kept = super().handle(conn)
        finally:
            with self._listing:
                self._readings.pop(conn, None)
        if not kept and not _is_gone(conn):
            _take_leave(conn.sock)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The head is here; the body is read by the application."""
        conn.quxiang_device = req.path.startswith(f"{PREFIX}/")
        stated = dict(req.headers).get("CONTENT-LENGTH", "")
        length = int(stated) if stated.isdigit() else UNSTATED
        reading = _Reading(None, BODY_S + length / BODY_RATE)
        with self._listing:
            self._readings[conn] = reading
        req.body = _Body(req.body, reading)
        try:
            return super().handle_request(req, conn)
        except HandedOver as over:
            conn.quxiang_gone = True
            over.handover.take(conn.sock)
            return False

    def finish_request(self, conn: Any, fs: Any) -> None:
        """In the main thread, after `handle`."""
        if _is_gone(conn):
            self.nr_conns -= 1  # neither kept nor closed: it is no connection of gunicorn's
        else:
            super().finish_request(conn, fs)
        self.share.set(self.nr_conns)

    def murder_pending(self) -> None:
        """Called about once a second by the main thread, which never reads requests."""
        super().murder_pending()
        self.share.set(self.nr_conns)  # those that idled for too long are closed
        now = monotonic()
        with self._listing:
            readings = list(self._readings.items())
        waiting = [(r.waited(now), r.allowed, c) for c, r in readings]
        late = (w for w in waiting if w[0] > SLOW_S and not _has_said(w[2]))
        slow = sorted(late, key=lambda w: -w[0])
        many = max(0, len(slow) - self.cfg.threads // 2)
        for number, (waited, allowed, conn) in enumerate(slow):
            if number < many or waited > allowed:
                self.log.info("ending a connection that sends too slowly: %s", conn.client)
                # The thread that waits reads an end; an answer can still go out.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(conn.sock, socket.SHUT_RD)

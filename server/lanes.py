"""Two lanes in each worker: devices wait for each other, and people do not wait for devices.

A thousand kiosks that reconnect at once ask for more than a worker's threads can do in some
seconds. In one line a villager's page would come after all of them. What a request wants is seen
before a thread takes it, where its first bytes can be seen; behind TLS it is known from the second
request of a connection on.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from attendance.wire import PREFIX
from server.gate import gate

#: What a page's thread waits for the first bytes of a new connection, seconds; then gunicorn waits.
_FIRST_BYTES_S = 1.0
#: One of so many requests is a newcomer's while others are in the middle.
FRESH_EVERY = 8
_METHODS = (b"POST", b"GET", b"PUT", b"DELETE")


class _Job:
    def __init__(self, work: Callable[..., Any], conn: Any) -> None:
        self.work = work
        self.conn = conn
        self.future: Future[Any] = Future()


class _Devices:
    """Devices that were answered on their connection before come first.

    Taken by turns, all of a thousand kiosks would be half done for as long as the last one takes,
    and a worker that falls would have all of them ask anew. One of `FRESH_EVERY` is a newcomer, so
    that kiosks with months to tell keep nobody out.
    """

    def __init__(self) -> None:
        self._begun: deque[_Job | None] = deque()
        self._fresh: deque[_Job | None] = deque()
        self._taken = 0
        self._any = threading.Condition()

    def put(self, job: _Job | None) -> None:
        """None ends one thread, after those that wait."""
        begun = job is not None and getattr(job.conn, "quxiang_device", False)
        with self._any:
            (self._begun if begun else self._fresh).append(job)
            self._any.notify()

    def get(self) -> _Job | None:
        with self._any:
            self._any.wait_for(lambda: self._begun or self._fresh)
            self._taken += 1
            fresh = self._fresh and (not self._begun or self._taken % FRESH_EVERY == 0)
            return (self._fresh if fresh else self._begun).popleft()


class Lanes(Executor):
    """Gunicorn's thread pool, in two: so many threads for pages, so many for devices."""

    def __init__(self, pages: int, devices: int) -> None:
        self._page_threads = pages
        self._device_threads = devices
        self._pages: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._devices = _Devices()
        self._started = False

    def _start(self) -> None:
        pages = [("page", self._serve_pages)] * self._page_threads
        devices = [("device", self._serve_devices)] * self._device_threads
        for number, (name, work) in enumerate(pages + devices):
            thread = threading.Thread(target=work, name=f"{name}-{number}", daemon=True)
            thread.start()
        self._started = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """Gunicorn's `handle` and its connection."""
        if not self._started:
            self._start()
        job = _Job(fn, args[0])
        if is_device(job.conn):
            self._put_device(job)
        else:
            self._pages.put(job)
        return job.future

    def _put_device(self, job: _Job) -> None:
        gate.device(+1)
        self._devices.put(job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Lets the threads end after what they are at."""
        for _ in range(self._page_threads):
            self._pages.put(None)
        for _ in range(self._device_threads):
            self._devices.put(None)

    def _serve_devices(self) -> None:
        while (job := self._devices.get()) is not None:
            _run(job)
            gate.device(-1)

    def _serve_pages(self) -> None:
        while (job := self._pages.get()) is not None:
            conn = job.conn
            if is_device(conn) is None and not conn.initialized:
                conn.wait_for_data(_FIRST_BYTES_S)
            if is_device(conn):
                self._put_device(job)
            else:
                _run(job)


def _run(job: _Job) -> None:
    try:
        result = job.work(job.conn)
    except BaseException as error:  # noqa: BLE001 - as an executor: whoever asks for it gets it
        job.future.set_exception(error)
    else:
        job.future.set_result(result)


def is_device(conn: Any) -> bool | None:
    """Whether a device speaks on this connection, None where that cannot be seen (yet)."""
    if getattr(conn, "quxiang_device", False):
        return True
    try:
        seen = conn.sock.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (OSError, ValueError):  # nothing there yet, or TLS
        return None
    method, _, target = seen.partition(b" ")
    if method not in _METHODS:
        return None
    return bool(target.startswith(f"{PREFIX}/".encode()))

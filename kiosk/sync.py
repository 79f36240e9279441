"""The thread that keeps a kiosk and its server together."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Protocol

from attendance.errors import QuxiangError
from kiosk.edge import Edge
from kiosk.errors import KioskError, ServerUnreachable
from kiosk.exchange import SyncClient, SyncReport, last_contact, last_snapshot

__all__ = ["Pace", "SyncClient", "SyncLoop", "SyncReport", "last_contact", "last_snapshot"]

INTERVAL_S = 15.0
#: evidence.md, "Upload": full jitter, at most 15 minutes.
LONGEST_BACKOFF_S = 900.0
#: Ceiling of the first wait: a worker that fell is back in a second, and nobody should wait half a
#: minute for that; a thousand kiosks still come spread out.
FIRST_BACKOFF_S = 4.0
#: So many times in a row is a connection that the server had taken and that was cut made anew after
#: at most a second: a worker fell, and the next one is there. A line that cuts them all day is paid
#: for by the byte, and gets the longer waits.
CUTS = 9
CUT_BACKOFF_S = 1.0


class Pace:
    """When the next exchange is due. Times are seconds of any clock that never steps."""

    def __init__(self, interval_s: float = INTERVAL_S, rng: random.Random | None = None) -> None:
        self._interval = interval_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads kiosks out, guards nothing  # nosec B311
        self._failures = 0
        self._last = float("-inf")
        self._held = False
        self.due = float("-inf")

    def succeeded(self, now: float) -> None:
        """The exchange that ended now went well."""
        self._failures, self._held, self._last = 0, False, now
        self.due = now + self._interval

    def failed(
        self,
        now: float,
        retry_after_s: float | None = None,
        *,
        heard: bool = False,
        cut: bool = False,
    ) -> None:
        """It failed: full jitter under a ceiling that doubles, and never before Retry-After.

        A server that had `heard` us and answered is there: what broke off since counts as a first
        failure, however many came before. One that took the connection, which was then `cut`, lost
        a worker: the ceiling stays low for `CUTS` times, and doubles from there.
        """
        self._failures = 1 if heard else self._failures + 1
        first, doublings = FIRST_BACKOFF_S, self._failures - 1
        if cut:
            first, doublings = CUT_BACKOFF_S, max(0, self._failures - CUTS)
        ceiling = min(LONGEST_BACKOFF_S, first * 2 ** min(doublings, 16))
        delay = self._rng.uniform(0, ceiling)
        self._held, self._last = retry_after_s is not None, now
        self.due = now + min(LONGEST_BACKOFF_S, (retry_after_s or 0.0) + delay)

    def poked(self, now: float) -> None:
        """A record waits: at once where all is well, else not sooner than the usual interval.

        What the server asked by Retry-After stands.
        """
        if self._failures == 0:
            self.due = now
        elif not self._held:
            self.due = min(self.due, max(now, self._last + self._interval))


class _Exchanges(Protocol):
    def exchange(self) -> SyncReport: ...


class SyncLoop:
    """Repeats `SyncClient.exchange` in a thread of its own; nothing else waits for the network.

    `on_report` and `on_fault` are called in that thread. `edge` says what time it is, and waits.
    """

    def __init__(
        self,
        client: _Exchanges,
        on_report: Callable[[SyncReport], None],
        on_fault: Callable[[QuxiangError], None],
        interval_s: float = INTERVAL_S,
        *,
        edge: Edge | None = None,
    ) -> None:
        self._edge = edge or Edge()
        self._client = client
        self._on_report = on_report
        self._on_fault = on_fault
        self._pace = Pace(interval_s)
        self._wake = threading.Condition()
        self._poked = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first exchange is at once."""
        self._thread.start()

    def poke(self) -> None:
        """There is something to send. Never blocks for the network."""
        with self._wake:
            self._poked = True
            self._wake.notify()

    def stop(self, timeout_s: float | None = 5.0) -> None:
        """Ends the thread after the exchange that is under way; may be called again."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait():
            try:
                report = self._client.exchange()
                self._pace.succeeded(self._edge.mono())
                self._on_report(report)
            except QuxiangError as error:
                away = error if isinstance(error, ServerUnreachable) else None
                retry = None if away is None else away.retry_after_s
                heard, cut = (False, False) if away is None else (away.heard, away.cut)
                self._pace.failed(self._edge.mono(), retry, heard=heard, cut=cut)
                self._tell(error)
            except Exception as error:  # noqa: BLE001 - a dead thread would sync no more, unseen
                self._pace.failed(self._edge.mono())
                self._tell(
                    KioskError(
                        f"同步时发生内部错误：{error!r}。",
                        f"internal fault while syncing: {error!r}",
                    )
                )

    def _tell(self, error: QuxiangError) -> None:
        with contextlib.suppress(Exception):  # as above; there is nobody left to tell
            self._on_fault(error)

    def _wait(self) -> bool:
        """Sleeps until an exchange is due; False when stopping."""
        with self._wake:
            while not self._stopping:
                now = self._edge.mono()
                if self._poked:
                    self._poked = False
                    self._pace.poked(now)
                if now >= self._pace.due:
                    return True
                self._edge.pause(self._wake, self._pace.due - now)
            return False

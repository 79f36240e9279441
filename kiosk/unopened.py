"""A kiosk whose folder cannot be opened now: a card that is full, read-only or failing, a damaged
file. Its page says so and what to do, nobody is told that anything was recorded, and it is tried
again until it opens; then the kiosk goes on as if it had just been started."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from attendance.i18n import say
from hardware.drivers import open_lamps
from hardware.errors import HardwareError
from kiosk.commands import driver_of, wiring_of
from kiosk.condition import Condition, exposition
from kiosk.config import load_config
from kiosk.edge import Edge
from kiosk.errors import (
    AlreadyRunning,
    ConfigInvalid,
    KioskError,
    NotPaired,
    StoreNewer,
    StoreUnusable,
)
from kiosk.events import EventLog
from kiosk.notify import Notifier
from kiosk.screen.app import Answer, Screen
from kiosk.screen.feed import ScreenFeed
from kiosk.troubles import Trouble, Troubles
from kiosk.upkeep import STORE

RETRY_S = 3.0
"""Between two tries to open the folder."""
TURN_S = 0.5
"""Between two words to systemd's watchdog."""
LONGEST_S = 240.0
"""A try that lasts longer hangs, and is to be ended by the watchdog."""
FAULTS = (StoreUnusable, StoreNewer, ConfigInvalid, NotPaired)
"""What may pass, or is at least to be read on the screen of a kiosk that nobody visits."""
T = TypeVar("T")


class Closed:
    """Whoever touches the screen is told why nothing is recorded; `kiosk.screen.app.Actions`."""

    def __init__(self, fault: KioskError) -> None:
        self.fault = fault

    def pin(self, official: str, pin: str, ticket: str | None) -> Answer:
        """Nothing is recorded."""
        return self._cannot()

    def card(self, number: str) -> Answer:
        """Nothing is recorded."""
        return self._cannot()

    def choose(
        self, record_id: str, status: str, reason: str | None, until_ms: int | None
    ) -> Answer:
        """Nothing is recorded."""
        return self._cannot()

    def _cannot(self) -> Answer:
        return Answer(False, self.fault.words("zh"), self.fault.words("en"))


def opened(
    attempt: Callable[[], T],
    folder: Path,
    port: int,
    stop: threading.Event,
    tell: Callable[[str], None],
    *,
    edge: Edge,
    lamps: str | None = None,
    notifier: Notifier | None = None,
    trial: bool = False,
) -> T | None:
    """What `attempt` returns, tried until it raises none of `FAULTS`; None where `stop` was set.

    Meanwhile the page on `port` says what is wrong and the lamps are dark (`lamps` as the option
    of `run`). trial: this release has not proved itself yet, so that it must not call itself ready
    before it can record; any other tells systemd that it lives. Raises PortTaken.
    """
    try:
        return attempt()
    except FAULTS as error:
        fault: KioskError = error
    alive = notifier or Notifier()
    _darken(folder, lamps)
    feed, closed = ScreenFeed(), Closed(fault)
    troubles = Troubles(feed, EventLog(None))
    with contextlib.suppress(*FAULTS):
        feed.update(site=load_config(folder).site)
    logging.getLogger("waitress").setLevel(logging.ERROR)

    def metrics() -> bytes:
        now_ms = edge.clock.read().wall_ms
        return exposition(
            Condition(now_ms, free_mb=edge.free_mb(folder), camera="starting", troubles=("store",))
        )

    with Screen(feed, closed, port, metrics) as screen:
        told = ""
        retry_at = edge.mono() + RETRY_S
        while True:
            _show(feed, troubles, fault, edge.clock.read().wall_ms, edge.free_mb(folder))
            closed.fault = fault
            if str(fault) != told:
                told = str(fault)
                tell(fault.words())
                tell(
                    say(
                        f"正在自动重试；屏幕：{screen.url}",
                        f"tried again every few seconds; screen: {screen.url}",
                    )
                )
            if not trial:
                alive.ready()
            alive.beat()
            edge.pause(stop, TURN_S)
            if stop.is_set():
                return None
            if edge.mono() < retry_at:
                continue
            try:
                with _beating(alive):
                    return attempt()
            except FAULTS as error:
                fault = error
            except AlreadyRunning:
                pass  # somebody pairs the folder anew beside
            retry_at = edge.mono() + RETRY_S


@contextlib.contextmanager
def _beating(alive: Notifier) -> Iterator[None]:
    """Tells the watchdog that this lives while a try waits for the server, but not for ever."""
    done = threading.Event()

    def beat() -> None:
        for _ in range(round(LONGEST_S / TURN_S)):
            if done.wait(TURN_S):
                return
            alive.beat()

    beater = threading.Thread(target=beat, name="beat", daemon=True)
    beater.start()
    try:
        yield
    finally:
        done.set()
        beater.join()


def _show(
    feed: ScreenFeed, troubles: Troubles, fault: KioskError, now_ms: int, free_mb: int | None
) -> None:
    words = fault.words("zh"), fault.words("en")
    feed.fault("store", {"zh": words[0], "en": words[1]})
    troubles.set("store", Trouble("store", STORE, words))
    feed.update(clock={"now_ms": now_ms, "sure": False}, condition={"free_mb": free_mb})


def _darken(folder: Path, asked: str | None) -> None:
    """Chips behind the pins keep what a killed process showed last, which may not be so now."""
    with contextlib.suppress(HardwareError, OSError):
        wiring = wiring_of(folder)
        if wiring is not None and asked != "screen":
            open_lamps(asked or driver_of(wiring), [*wiring.lamps, *wiring.pixels], wiring).close()

"""What the server does without being asked: one thread in each worker, one of all at work.

Whoever holds the lease in the database works; where its process ends, another one takes over.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable

from server.config import ServerConfig, ServerKeys
from server.context import Clock, Context
from server.db import Database
from server.services.programs import delivery, leases
from server.services.programs.readiness import BACKGROUND as LEASE

log = logging.getLogger(__name__)

#: Seconds between two looks at what is owed.
EVERY_S = 2.0
#: Parcels of one webhook before the next one has its turn.
TURN = 10


class Loop:
    """One a process; `tick` is one round of it, for tests too."""

    def __init__(
        self,
        database: Database,
        config: ServerConfig,
        keys: ServerKeys,
        now: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._config = config
        self._keys = keys
        self._now = now
        self._chance = chance
        self.holder = uuid.uuid4().hex

    def tick(self) -> bool:
        """One round; True where more waits already. Raises what the database raises."""
        if not self._leads():
            return False
        with self._database.session() as session:
            numbers = delivery.due(session, self._now())
        more = False
        for number in numbers:
            more = self._turn(number) or more
        return more

    def _leads(self) -> bool:
        with self._database.session() as session:
            held = leases.held(session, LEASE, self.holder, self._now())
        if held is None:
            with self._database.transaction() as session:
                held = leases.take(session, LEASE, self.holder, self._now())
        return held

    def _turn(self, number: int) -> bool:
        """True where the webhook is owed more still."""
        for _ in range(TURN):
            if not self._leads():
                return False
            with self._database.session() as session:
                parcel = delivery.owed(session, number, self._now())
            if parcel is None:
                return False
            outcome = delivery.send(
                parcel, self._keys.secret, self._config.webhook_networks, self._now()
            )
            with self._database.transaction() as session:
                moved = delivery.note(session, parcel, outcome, self._now(), self._chance())
            if not outcome.ok:
                log.warning("webhook %d failed: %s", number, outcome.trouble)
            if not moved:
                return False
        return True

    def run(self, alive: Callable[[], bool], stop: threading.Event) -> None:
        """Rounds until the process is to end."""
        while alive() and not stop.is_set():
            more = False
            try:
                more = self.tick()
            except Exception:  # a database that is away for a moment must not end the thread
                log.warning("the work in the background failed; trying again", exc_info=True)
            if not more:
                stop.wait(EVERY_S)
        try:
            with self._database.transaction() as session:
                leases.give_back(session, LEASE, self.holder)
        except Exception:  # the lease ends by itself
            log.info("the lease could not be given back", exc_info=True)


def start(held: Context, alive: Callable[[], bool]) -> Callable[[float], None]:
    """Starts the thread of this process; what is returned ends it and waits so many seconds."""
    loop = Loop(held.database, held.config, held.keys, held.now)
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(alive, stop), name="background", daemon=True)
    thread.start()

    def end(seconds: float) -> None:
        stop.set()
        thread.join(seconds)

    return end

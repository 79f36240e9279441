"""The real server on loopback in this process, by a clock of its own, and kiosks of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from werkzeug.serving import make_server

from kiosk.clock import Clock
from kiosk.exchange import SyncReport
from kiosk.pairing import pair
from kiosk.site import Site
from server.app import create_app
from server.config import ServerConfig, make_keys
from server.db import Database
from server.migrate import migrate
from server.models import Township as TownshipRow
from server.services.paired import devices, pairing
from server.services.township.townships import create_township, only_township


def wall() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


class Township:
    """A township, its records in SQLite or at `url`, its time from `clock`."""

    def __init__(
        self, data: Path, url: str | None = None, clock: Callable[[], datetime] = wall
    ) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request says nothing
        self.config = ServerConfig(data, url)
        self.clock = clock
        self.keys = make_keys(self.config)
        migrate(self.config)
        self.database = Database(self.config)
        app = create_app(self.config, clock=clock)
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        serve = self.server.serve_forever
        threading.Thread(target=serve, args=(0.05,), daemon=True).start()
        with self.database.transaction() as session:
            create_township(session, "云溪镇", clock())

    def row(self, session: object) -> TownshipRow:
        return only_township(session)  # type: ignore[arg-type]

    def kiosk(self, folder: Path, site: str) -> None:
        """A kiosk of that village, paired in `folder`."""
        with self.database.transaction() as session:
            code = pairing.make_code(
                session, only_township(session), "kiosk", self.clock(), self.keys, site, "village"
            )
        pair(folder, self.url, str(code))

    def settle(self, device: str) -> None:
        with self.database.transaction() as session:
            devices.settle(session, device, self.clock())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.database.close()


def exchange(site: Site, clock: Clock) -> SyncReport:
    """One exchange of a kiosk with its server."""
    client = site.client(clock)
    try:
        return client.exchange()
    finally:
        client.close()

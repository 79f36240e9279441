"""A township, its desk and its kiosks in one process, over real HTTP; its server can lie.

Between the real server and the wire sits `Liar`, who holds the server's signing key and signs every
altered answer anew. Without the key he is a man in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from attendance import signing, wire
from attendance.signing import to_text
from attendance.statuses import SiteKind
from enroll.desk import Desk
from enroll.enrol import grant_consent
from enroll.pairing import pair as pair_desk
from enroll.sync import SyncOutcome, sync_once
from kiosk.clock import SystemClock
from kiosk.exchange import SyncReport
from kiosk.pairing import pair as pair_kiosk
from kiosk.site import Site
from server.app import create_app
from server.config import ServerConfig, load_keys, make_keys
from server.context import Context
from server.migrate import migrate
from server.models import Device
from server.services.paired.desk import gallery_for
from server.services.paired.pairing import make_code
from server.services.township.townships import create_township, only_township

CLOCK = SystemClock()
#: An answer's body, altered; None leaves it.
Lie = Callable[[bytes], bytes | None]


class Liar:
    """The server, but for the answers at the paths of `lies`; `seed` signs those, None nobody."""

    def __init__(self, app: Any, seed: bytes) -> None:
        self.app = app
        self.seed: bytes | None = seed
        self.lies: dict[str, Lie] = {}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        parts, status, headers = run_wsgi_app(self.app, environ, buffered=True)
        body = b"".join(parts)
        path = environ["PATH_INFO"]
        lie = self.lies.get(path)
        said = None if lie is None else lie(body)
        if said is not None:
            body, status = said, "200 OK"
            if self.seed is not None:
                about = environ.get("HTTP_QUXIANG_SIGNATURE", "")
                claim = wire.reply_claim(about, 200, body)
                signature = to_text(signing.sign(self.seed, wire.REPLY_DOMAIN, claim))
                headers[wire.HEADER_SIGNATURE] = signature
            headers["Content-Length"] = str(len(body))
        start(status, list(headers))
        return [body]


class Town:
    """A server behind a liar, its desk, and kiosks."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.port = 0
        config = ServerConfig(folder / "server", database)
        config.portraits.mkdir(parents=True)
        make_keys(config)
        migrate(config)
        self.serve(config)
        with self.context.database.transaction() as session:
            create_township(session, "青山乡", datetime.now(UTC))
        self.url = f"http://127.0.0.1:{self.port}"
        self.desk = Desk(folder / "desk", lambda: datetime.now(UTC))
        pair_desk(self.desk.data, self.url, self.code("desk"))
        self.sites: list[Site] = []

    def serve(self, config: ServerConfig) -> None:
        """Serves that folder, at the same port as before."""
        self.config = config
        app = create_app(config)
        self.context: Context = app.extensions["quxiang"]
        self.liar = Liar(app, load_keys(config).sign_seed)
        self.server = make_server("127.0.0.1", self.port, self.liar, threaded=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Nobody answers any more."""
        self.server.shutdown()
        self.server.server_close()
        self.context.database.close()

    def code(self, kind: str, site: str | None = None, site_kind: str | None = None) -> str:
        with self.context.database.transaction() as session:
            place, keys = only_township(session), load_keys(self.config)
            now = datetime.now(UTC)
            return str(make_code(session, place, kind, now, keys, site, site_kind))

    def kiosk(self, name: str, kind: SiteKind = SiteKind.VILLAGE) -> Site:
        folder = self.folder / f"kiosk{len(self.sites)}"
        pair_kiosk(folder, self.url, self.code("kiosk", name, str(kind)))
        self.sites.append(Site(folder))
        return self.sites[-1]

    def enrol(self, official: str, *places: str) -> None:
        self.desk.store.put_official(
            wire.RosterRow(
                official=official, name="张三", title="", phone="", work_group="一组",
                sites=list(places),
            )
        )  # fmt: skip
        face = np.random.default_rng(len(official)).normal(size=(1, 128)).astype(np.float32)
        now_ms = self.desk.now_ms()
        grant_consent(self.desk.store, official, datetime.now(UTC).date(), now_ms, renewed=True)
        with self.desk.store.transaction():
            self.desk.store.set_face(official, face / np.linalg.norm(face), "m")
        for key, value in (("model", "m"), ("engine", "sface"), ("dimension", "128")):
            self.desk.store.set_meta(key, value)

    def sync(self) -> SyncOutcome:
        client = self.desk.client()
        try:
            return sync_once(self.desk, client)
        finally:
            client.close()

    def held(self, site: Site) -> bytes:
        """The package that the server holds for a kiosk."""
        with self.context.database.session() as session:
            device = session.get_one(Device, site.config.device)
            package = gallery_for(session, device, 0)
        assert package is not None
        return package

    def close(self) -> None:
        self.stop()
        self.desk.close()
        for site in self.sites:
            site.close()


def exchange(site: Site) -> SyncReport:
    client = site.client(CLOCK)
    try:
        return client.exchange()
    finally:
        client.close()

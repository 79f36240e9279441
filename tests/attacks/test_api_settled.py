"""A real kiosk whose card was put back to an earlier day, and the way out of it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from attendance.statuses import Kind, Method, Status
from kiosk.clock import SystemClock
from kiosk.errors import ServerRefused
from kiosk.exchange import SyncReport
from kiosk.pairing import pair
from kiosk.site import Site
from kiosk.store import Draft
from server.app import create_app
from server.config import ServerConfig, load_keys, make_keys
from server.db import Database, migrate
from server.models import EpochRow, Quarantined, RecordRow
from server.services import devices, pairing
from server.services.townships import create_township
from server.services.verify import verify

CLOCK = SystemClock()


class Township:
    """The real server on loopback."""

    def __init__(self, data: Path) -> None:
        self.config = ServerConfig(data)
        self.keys = make_keys(self.config)
        migrate(self.config)
        self.database = Database(self.config)
        self.server = make_server("127.0.0.1", 0, create_app(self.config), threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def code(self) -> str:
        now = datetime.now(UTC)
        with self.database.transaction() as session:
            place = create_township(session, "云溪镇", now)
            keys = load_keys(self.config)
            return str(pairing.make_code(session, place, "kiosk", now, keys, "石桥村", "village"))

    def settle(self, device: str) -> None:
        with self.database.transaction() as session:
            devices.settle(session, device, datetime.now(UTC))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.database.close()


@pytest.fixture
def township(tmp_path: Path) -> Iterator[Township]:
    opened = Township(tmp_path / "server")
    yield opened
    opened.close()


def record(site: Site, count: int, official: str) -> None:
    for _ in range(count):
        site.store.record(
            Draft(
                kind=Kind.CHECKIN, official=official, status=Status.IN_VILLAGE, method=Method.PIN
            ),
            CLOCK.read(),
        )


def exchange(site: Site) -> SyncReport:
    client = site.client(CLOCK)
    try:
        return client.exchange()
    finally:
        client.close()


@pytest.mark.parametrize("other", [2, 9], ids=["shorter", "longer"])
def test_an_old_card_is_noticed_settled_and_loses_nothing(
    township: Township, tmp_path: Path, other: int
) -> None:
    folder, image = tmp_path / "kiosk", tmp_path / "image"
    pair(folder, township.url, township.code())
    with Site(folder) as site:
        record(site, 3, "A-1")
        assert exchange(site).pending == 0
    shutil.copytree(folder, image)
    with Site(folder) as site:
        record(site, 4, "A-2")
        assert exchange(site).stored == 4
    shutil.rmtree(folder)
    shutil.copytree(image, folder)
    with Site(folder) as site:
        device = site.config.device
        record(site, other, "B-1")
        for _ in range(2):
            with pytest.raises(ServerRefused):
                exchange(site)
        assert site.store.pending() == other
        township.settle(device)
        record(site, 1, "B-2")
        report = exchange(site)
        assert report.pending == 0
        assert len(site.store.rejected()) == other + 1
        record(site, 2, "B-3")
        report = exchange(site)
        assert (report.stored, report.rejected, report.pending) == (2, 0, 0)
        site.store.verify()
    with township.database.session() as session:
        rows = session.query(RecordRow).order_by(RecordRow.id)
        assert [(r.epoch, r.official) for r in rows] == (
            [(1, "A-1")] * 3 + [(1, "A-2")] * 4 + [(2, None)] + [(2, "B-3")] * 2
        )
        apart = session.query(Quarantined).order_by(Quarantined.seq)
        assert [q.seq for q in apart] == list(range(4, 5 + other))
        assert all(e.follows for e in session.query(EpochRow))
        assert list(verify(session, township.keys.sign_public)) == []

"""The kiosk against the real server, over real HTTP: the same histories as with the fake."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from werkzeug.serving import make_server

from attendance.statuses import Kind, Method, Status
from kiosk.clock import SystemClock
from kiosk.errors import PairingRefused, ServerRefused
from kiosk.exchange import SyncReport
from kiosk.mending import mend
from kiosk.pairing import pair
from kiosk.site import Site
from kiosk.store import Draft
from server.app import create_app
from server.config import ServerConfig
from tests.kiosk.doctored import spoil

CLOCK = SystemClock()


class Township:
    """`quxiang-server` on loopback, and its command line."""

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self.data, self.environ = data, environ
        self.command("init", "--township", "云溪镇")
        self.app = create_app(ServerConfig(data))
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def command(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "server.cli", *words, "--data", str(self.data)],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        # By the server's own library: two of them in one process take each other's locks away.
        with self.app.extensions["quxiang"].database.session() as session:
            return [tuple(row) for row in session.execute(text(query))]


@pytest.fixture(scope="module")
def township(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Township]:
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    opened = Township(tmp_path_factory.mktemp("server"), {**kept, "QUXIANG_LANG": "en"})
    yield opened
    opened.server.shutdown()


@pytest.fixture
def site(township: Township, tmp_path: Path) -> Iterator[Site]:
    code = township.command("code", "--kind", "kiosk", "--site", "石桥村", "--site-kind", "village")
    pair(tmp_path / "k", township.url, code)
    with pytest.raises(PairingRefused):
        pair(tmp_path / "second", township.url, code)
    with Site(tmp_path / "k") as opened:
        yield opened


def record(site: Site, count: int = 1, official: str = "A-1") -> None:
    draft = Draft(kind=Kind.CHECKIN, official=official, status=Status.IN_VILLAGE, method=Method.PIN)
    for _ in range(count):
        site.store.record(draft, CLOCK.read())


def exchange(site: Site) -> SyncReport:
    client = site.client(CLOCK)
    try:
        return client.exchange()
    finally:
        client.close()


def stored(township: Township, site: Site) -> list[tuple[object, ...]]:
    query = "SELECT epoch, seq, kind, cls FROM record WHERE device_id = '{}' ORDER BY epoch, seq"
    return township.rows(query.format(site.config.device))


def test_records_up_and_acks_down(township: Township, site: Site) -> None:
    assert exchange(site).pending == 0
    record(site, 3)
    report = exchange(site)
    assert (report.sent, report.stored, report.pending) == (3, 3, 0)
    assert [row[:3] for row in stored(township, site)] == [(1, n, "checkin") for n in (1, 2, 3)]
    assert {row[3] for row in stored(township, site)} == {"A"}
    assert abs(report.wall_off_ms) < 5000
    record(site, 1)
    with site.store.transaction() as db:  # an ack that was lost
        db.execute("INSERT INTO outbox VALUES (1, 2)")
    report = exchange(site)
    assert (report.stored, report.duplicate, report.pending) == (1, 2, 0)


def lose_tail(site: Site, count: int) -> None:
    with site.store.transaction() as db:
        last = db.execute("SELECT max(seq) FROM records").fetchone()[0]
        db.execute("DELETE FROM records WHERE seq > ?", (last - count,))


def test_a_lost_tail_opens_an_epoch(township: Township, site: Site) -> None:
    record(site, 5)
    exchange(site)
    lose_tail(site, 2)
    report = exchange(site)
    assert (report.stored, report.pending) == (1, 0)
    record(site)
    exchange(site)
    assert [row[:3] for row in stored(township, site)][5:] == [(2, 1, "fault"), (2, 2, "checkin")]


def test_a_damaged_database_sends_what_waited_and_opens_an_epoch(
    township: Township, site: Site
) -> None:
    record(site, 60)
    exchange(site)
    record(site, 3)
    site.close()
    spoil(site.folder, 10)
    mend(site.folder, CLOCK)
    with Site(site.folder) as anew:
        record(anew)
        assert exchange(anew).pending == 0
        rows = [row[:3] for row in stored(township, anew)]
    assert rows == [
        *((1, seq, "checkin") for seq in range(1, 64)),
        (2, 1, "fault"), (2, 2, "fault"), (2, 3, "checkin"),
    ]  # fmt: skip
    query = "SELECT what, target FROM audit_entry WHERE who = 'device:{}'"
    told = dict(township.rows(query.format(site.config.device)))
    assert told["card_lost"] == "1/1 - 1/63", "and a finding says so"
    assert "fork" not in told


def test_a_fork_is_kept_for_review(township: Township, site: Site) -> None:
    record(site, 5)
    exchange(site)
    lose_tail(site, 2)
    record(site, 3, "A-7")
    for _ in range(2):
        with pytest.raises(ServerRefused) as caught:
            exchange(site)
        assert caught.value.word == "fork"
    assert len(stored(township, site)) == 5
    query = "SELECT count(*) FROM quarantined WHERE device_id = '{}'"
    assert township.rows(query.format(site.config.device)) == [(3,)]
    record(site)
    assert site.store.pending() == 4

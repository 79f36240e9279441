"""The desk between the real server and the real kiosk, over real HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from attendance.days import day_of, day_start_ms, from_ms, to_ms
from enroll.desk import Desk
from enroll.enrol import LIKENESS
from enroll.importer import import_folder
from enroll.pairing import pair as pair_desk
from enroll.sync import SyncOutcome, sync_once
from enroll.withdraw import withdraw_consent
from kiosk.clock import SystemClock
from kiosk.pairing import pair as pair_kiosk
from kiosk.pins import Pins, Verdict
from kiosk.site import Site
from server.app import create_app
from server.config import ServerConfig
from server.models import AuditEntry, Proposal
from server.services.access import accounts
from server.services.township import rosters
from server.services.township.townships import only_township


class RealTownship:
    """`quxiang-server` on loopback, and its command line. `ahead` of the time by so much."""

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self.data, self.environ = data, environ
        self.ahead = timedelta()
        self.command("init", "--township", "云溪镇")
        self.app = create_app(ServerConfig(data), clock=self.now)
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def command(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "server.cli", *args, "--data", str(self.data)],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def noon(self, days: int) -> None:
        """It is noon, so many days from now: no midnight comes between two steps of a test."""
        day = day_of(to_ms(datetime.now(UTC))) + timedelta(days)
        self.ahead = from_ms(day_start_ms(day)) + timedelta(hours=12) - datetime.now(UTC)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def send(self, official: str, site: str) -> None:
        """A clerk enters that somebody is sent to a village today."""
        with self.app.extensions["quxiang"].database.transaction() as session:
            township = only_township(session)
            clerk = accounts.add_user(
                session, township, "wenshu", "clerk", "correct horse battery", self.now()
            )
            today = day_of(to_ms(self.now()))
            rosters.set_day(session, township, official, today, "at", clerk, self.now(), site)

    def code(self, *args: str) -> str:
        return self.command("code", *args)

    def trail(self) -> list[tuple[str, str]]:
        """Who decided what about proposed pictures."""
        with self.app.extensions["quxiang"].database.session() as session:
            found = session.scalars(select(AuditEntry).where(AuditEntry.what.like("proposal_%")))
            return [(entry.who, entry.what) for entry in found]

    def waiting(self) -> int:
        """Rows about proposed pictures that the server holds."""
        with self.app.extensions["quxiang"].database.session() as session:
            return len(session.scalars(select(Proposal)).all())


@pytest.fixture
def real(tmp_path: Path, environ: dict[str, str]) -> Iterator[RealTownship]:
    township = RealTownship(tmp_path / "server", environ)
    yield township
    township.server.shutdown()


def sync(desk: Desk) -> SyncOutcome:
    client = desk.client()
    try:
        return sync_once(desk, client)
    finally:
        client.close()


def exchange(site: Site):
    client = site.client(SystemClock())
    try:
        return client.exchange()
    finally:
        client.close()


def test_from_photographs_to_the_kiosk_and_back_to_an_erasure_receipt(
    tmp_path: Path, real: RealTownship, folder, engine, faces: Callable[[int], list[Path]]
) -> None:
    with Desk(tmp_path / "desk", lambda: datetime.now(UTC)) as desk:
        pair_desk(desk.data, real.url, real.code("--kind", "desk"))
        code = real.code("--kind", "kiosk", "--site", "杏树村", "--site-kind", "village")
        pair_kiosk(tmp_path / "kiosk", real.url, code)
        with Site(tmp_path / "kiosk") as site:
            assert exchange(site).gallery_version == 0
            for n in range(3):
                folder.add(f"g{n}", faces(n)[:3])
            place = folder.add("far", faces(4)[:3], sites="", portrait="2026-03-01")
            (place / "portrait.jpg").write_bytes(faces(4)[0].read_bytes())
            folder.change("2026-11-01", "2026-03-01")
            import_folder(desk, folder.path, lambda: engine, sites=["杏树村"])
            done = sync(desk)
            assert (done.refused, done.problems) == ({}, [])
            assert done.roster == ["far", "g0", "g1", "g2"]
            assert done.portraits == ["far"]
            report = exchange(site)
            assert report.gallery_fault is None
            assert report.gallery_installed
            people = site.people()
            assert [p.official for p in people.all if p.expected] == ["g0", "g1", "g2"]
            assert people.model == engine.model_id
            entries = dict(people.gallery_entries())
            frame = cv2.imread(str(faces(1)[3]))
            probe = engine.embed(frame, engine.detect(frame, thorough=True)[0])
            scores = {who: float((block @ probe).max()) for who, block in entries.items()}
            assert max(scores, key=scores.__getitem__) == "g1"
            assert scores["g1"] > LIKENESS["sface"].same_person
            pins = Pins(site.store, people, SystemClock())
            assert pins.verify("g0", "482913").verdict is Verdict.OK
            assert pins.verify("g0", "482914").verdict is Verdict.WRONG

            withdraw_consent(desk, "g1")
            assert len(sync(desk).owed) == 1
            assert exchange(site).gallery_installed
            assert "g1" not in dict(site.people().gallery_entries())
            assert site.people().get("g1").has_pin
            exchange(site)
            done = sync(desk)
            assert [(r.official, r.site) for r in done.receipts] == [("g1", "杏树村")]
            assert done.owed == []


def test_who_is_sent_to_another_village_is_known_there_on_that_day_and_gone_after_it(
    tmp_path: Path, real: RealTownship, folder, engine, faces: Callable[[int], list[Path]]
) -> None:
    with Desk(tmp_path / "desk", real.now) as desk:
        pair_desk(desk.data, real.url, real.code("--kind", "desk"))
        for village in ("杏树村", "桃花村"):
            code = real.code("--kind", "kiosk", "--site", village, "--site-kind", "village")
            pair_kiosk(tmp_path / village, real.url, code)
        for n in range(2):
            folder.add(f"g{n}", faces(n)[:3])
        real.noon(1)
        import_folder(desk, folder.path, lambda: engine, sites=["杏树村", "桃花村"])
        assert len(sync(desk).sealed) == 2
        with Site(tmp_path / "桃花村") as site:
            assert exchange(site).gallery_installed
            assert site.people().all == ()
            real.send("g1", "桃花村")
            assert [each.kiosk.site for each in sync(desk).sealed] == ["桃花村"]
            assert exchange(site).gallery_installed
            people = site.people()
            assert [p.official for p in people.all if p.expected] == ["g1"]
            frame = cv2.imread(str(faces(1)[3]))
            probe = engine.embed(frame, engine.detect(frame, thorough=True)[0])
            (block,) = dict(people.gallery_entries()).values()
            assert float((block @ probe).max()) > LIKENESS["sface"].same_person
            pins = Pins(site.store, people, SystemClock())
            assert pins.verify("g1", "482913").verdict is Verdict.OK

            real.noon(2)
            assert [each.kiosk.site for each in sync(desk).sealed] == ["桃花村"]
            assert exchange(site).gallery_installed
            assert site.people().all == ()
            assert dict(site.people().gallery_entries()) == {}
            exchange(site)
            done = sync(desk)
            assert (done.sealed, done.receipts, done.owed) == ([], [], []), "nobody withdrew"


def test_a_township_of_pins_only_is_served(tmp_path: Path, real: RealTownship, folder) -> None:
    with Desk(tmp_path / "desk", lambda: datetime.now(UTC)) as desk:
        pair_desk(desk.data, real.url, real.code("--kind", "desk"))
        code = real.code("--kind", "kiosk", "--site", "镇政府", "--site-kind", "office")
        pair_kiosk(tmp_path / "kiosk", real.url, code)
        folder.add("a", consented="", sites="镇政府")
        import_folder(desk, folder.path, lambda: pytest.fail("no face, no engine"), sites=None)
        sync(desk)
        with Site(tmp_path / "kiosk") as site:
            report = exchange(site)
            assert report.gallery_fault is None
            assert report.gallery_version > 0
            assert site.people().get("a").has_pin
            # Nobody's face was sealed, and yet the server dropped what a withdrawal may concern.
            withdraw_consent(desk, "a", leaving=True)
            (again,) = sync(desk).sealed
            assert again.version > report.gallery_version
            exchange(site)
            assert [p.official for p in site.people().all if p.expected] == []


def test_a_stick_from_the_desk_is_taken_by_the_kiosk_and_by_no_other(
    tmp_path: Path, real: RealTownship, folder, environ: dict[str, str], command
) -> None:
    desk = tmp_path / "desk"
    command("pair", "--data", desk, "--server", real.url, "--code", real.code("--kind", "desk"))
    for name in ("one", "two"):
        code = real.code("--kind", "kiosk", "--site", "杏树村", "--site-kind", "village")
        pair_kiosk(tmp_path / name, real.url, code)
    folder.add("a", consented="")
    assert command("import", folder.path, "--data", desk).returncode == 0
    real.server.shutdown()
    real.server.server_close()
    usb = tmp_path / "usb.json"
    done = command("export", usb, "--data", desk)
    assert done.returncode == 0, done.stderr

    def take(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kiosk.cli", "import", str(usb), "--data", str(tmp_path / name)],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    done = take("one")
    assert done.returncode == 0, done.stderr
    with Site(tmp_path / "one") as site:
        assert site.people().get("a").has_pin
    assert take("one").returncode == 1, "the same version again is refused"

"""A real kiosk whose card was put back to an earlier day, and the way out of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.chain import head_code
from attendance.statuses import Kind, Method, Status
from kiosk.clock import SystemClock
from kiosk.errors import ServerRefused
from kiosk.site import Site
from kiosk.store import Draft
from server.errors import InputInvalid
from server.models import EpochRow, Quarantined, RecordRow
from server.services.evidence.verify import verify
from server.services.paired import devices
from tests.faults.township import Township, exchange

CLOCK = SystemClock()


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


@pytest.mark.parametrize("other", [2, 9], ids=["shorter", "longer"])
def test_an_old_card_is_noticed_settled_and_loses_nothing(
    township: Township, tmp_path: Path, other: int
) -> None:
    folder, image = tmp_path / "kiosk", tmp_path / "image"
    township.kiosk(folder, "石桥村")
    with Site(folder) as site:
        record(site, 3, "A-1")
        assert exchange(site, CLOCK).pending == 0
    shutil.copytree(folder, image)
    with Site(folder) as site:
        record(site, 4, "A-2")
        assert exchange(site, CLOCK).stored == 4
    shutil.rmtree(folder)
    shutil.copytree(image, folder)
    with Site(folder) as site:
        device = site.config.device
        record(site, other, "B-1")
        for _ in range(2):
            with pytest.raises(ServerRefused):
                exchange(site, CLOCK)
        assert site.store.pending() == other
        township.settle(device)
        record(site, 1, "B-2")
        report = exchange(site, CLOCK)
        assert report.pending == 0
        assert len(site.store.rejected()) == other + 1
        record(site, 2, "B-3")
        report = exchange(site, CLOCK)
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


def test_the_code_on_paper_is_found_unless_the_history_was_written_anew(
    township: Township, tmp_path: Path
) -> None:
    folder, image = tmp_path / "kiosk", tmp_path / "image"
    township.kiosk(folder, "石桥村")

    def look(code: str) -> devices.Place | None:
        with township.database.session() as session:
            return devices.place_of(session, device, code)

    with Site(folder) as site:
        device = site.config.device
        blank = head_code(site.store.head().head)
        record(site, 2, "A-1")
        sent = head_code(site.store.head().head)
        exchange(site, CLOCK)
    shutil.copytree(folder, image)
    with Site(folder) as site:
        record(site, 2, "A-2")
        written = head_code(site.store.head().head)
        assert look(written) is None  # not uploaded yet
    shutil.rmtree(folder)
    shutil.copytree(image, folder)  # root takes the two away, and invents two others
    with Site(folder) as site:
        record(site, 2, "B-1")
        invented = head_code(site.store.head().head)
        exchange(site, CLOCK)
    assert look(written) is None
    for code, seq in ((blank, 0), (sent, 2), (invented, 4)):
        for spelled in (
            code,
            f" {code[:4].lower()}-{code[4:].replace('0', 'o').replace('1', 'L')}",
        ):
            place = look(spelled)
            assert place is not None
            assert (place.epoch, place.seq, place.apart) == (1, seq, False)
    for nonsense in ("", "1234567", "123456789", "????????", "ÅÅÅÅÅÅÅÅ"):
        with pytest.raises(InputInvalid):
            look(nonsense)

"""Card and server were both put back: what neither has any more makes nobody absent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from attendance import wire
from server.app import create_app
from server.backup import backup, restore
from server.config import ServerConfig
from server.models import AuditEntry, Device, EpochRow
from server.services.evidence.verify import verify
from server.services.records import apart
from server.services.records.intake import MAX_SKIPPED
from server.services.rulings import findings
from server.services.township.townships import only_township
from tests.conftest import NewDatabase

from .conftest import MORNING, Kiosk, Machine, Office
from .test_apart import browser, held, review, verdict
from .web_seed import token_of

DAY = MORNING.date() + timedelta(1)


def restored(office: Office, source: Path, config: ServerConfig, *kiosks: Machine) -> Office:
    """The server is gone; that backup of it serves from now on."""
    office.context.database.close()
    restore(config, source, office.clock())
    made = Office(config, create_app(config, clock=office.clock), office.clock)
    for kiosk in kiosks:
        kiosk.client = made.client()
    return made


def card_back(kiosk: Kiosk, image: list[bytes]) -> None:
    """Its card is put back to an image of epoch 1; it goes on after the server's head."""
    kiosk.epoch, kiosk.cites, kiosk.payloads = 1, None, list(image)
    kiosk.reboot()
    reply = kiosk.cursor()
    assert reply.state == "ahead"
    kiosk.epoch, kiosk.cites, kiosk.payloads = reply.epoch + 1, bytes.fromhex(reply.head), []


def sync(kiosk: Kiosk) -> None:
    """A kiosk in a later epoch sends what the server lacks of it."""
    reply = kiosk.cursor(pending=1)
    first = reply.seq + 1 if reply.epoch == kiosk.epoch else 1
    if first <= len(kiosk.payloads):
        answer = kiosk.upload(first)
        assert answer.status_code == 200, answer.data
    kiosk.cursor(pending=0)


def told(office: Office) -> list[str]:
    with office.context.database.session() as session:
        return list(
            session.scalars(select(AuditEntry.target).where(AuditEntry.what == "head_unknown"))
        )


def epochs(office: Office, kiosk: Kiosk) -> list[tuple[int, bool]]:
    with office.context.database.session() as session:
        assert list(verify(session, office.context.keys.sign_public)) == []
        mine = select(EpochRow).where(EpochRow.device_id == kiosk.device)
        return [(e.epoch, e.follows) for e in session.scalars(mine.order_by(EpochRow.epoch))]


@pytest.fixture
def lost(
    office: Office, desk: Machine, village: Kiosk, tmp_path: Path, new_database: NewDatabase
) -> Office:
    """zhang-3's check-in on DAY was accepted; then the card went back, and the server after it."""
    for name, role in (("shen", "clerk"), ("du", "inspector")):
        office.user(name, role)
    village.record("li-4")
    village.sync()
    backup(office.config, tmp_path / "b.tar")
    office.clock.step(hours=23)
    village.sync()
    village.record()
    village.sync()
    office.clock.step(hours=10)
    card_back(village, village.payloads[:1])
    village.record("li-4")
    sync(village)
    assert verdict(office, DAY) == "came"
    assert office.device(village.device).apart_from_ms is None, "the server had the cited head"
    config = ServerConfig(tmp_path / "old", new_database())
    return restored(office, tmp_path / "b.tar", config, village)


def test_nobody_is_absent_for_what_card_and_server_lost(lost: Office, village: Kiosk) -> None:
    sync(village)
    lost.clock.step(hours=12)
    sync(village)
    assert epochs(lost, village) == [(1, True), (2, False)]
    assert verdict(lost, DAY) == "not_known"
    assert told(lost) == ["1/2 - 2/1"]
    with lost.context.database.session() as session:
        (one,) = findings.listing(session, only_township(session))
    assert (one.kind, one.state, one.by) == ("device", "open", f"device:{village.device}")
    for line in one.text.splitlines():
        assert " 1/2 " in line
        assert village.device in line
    lost.clock.step(hours=1)
    sync(village)
    assert len(told(lost)) == 1, "told once"


def test_the_days_close_once_an_inspector_has_reviewed_it(lost: Office, village: Kiosk) -> None:
    sync(village)
    lost.clock.step(hours=12)
    sync(village)
    page = browser(lost, "shen").get("/sites").text
    assert f"/sites/{village.device}/apart" in page, "the clerk sees that something waits"
    desk = browser(lost, "du")
    page = desk.get(f"/sites/{village.device}/apart").text
    assert "is lost at the kiosk and at the server" in page
    assert "not legible" not in page
    (one,) = held(lost, village.device)
    assert (one.epoch, one.seq, one.lost, one.waits) == (2, 0, True, True)
    answer = desk.post(
        f"/sites/{village.device}/apart",
        data={"csrf_token": token_of(page), "one": one.key, "note": "查过纸质记录"},
    )
    assert answer.status_code == 303
    assert lost.device(village.device).apart_from_ms is None
    assert not held(lost, village.device)[0].waits
    assert verdict(lost, DAY) == "absent", "a person decided"
    assert epochs(lost, village) == [(1, True), (2, False)]


def test_what_else_was_set_aside_keeps_its_own_days(lost: Office, village: Kiosk) -> None:
    sync(village)
    inspector = lost.user("second", "inspector")
    first = lost.device(village.device).apart_from_ms or 0
    lost.clock.step(hours=30)
    village.payloads.append(b'{"not":"a record"}')
    sync(village)
    assert lost.device(village.device).apart_from_ms == first
    keys = [one.key for one in held(lost, village.device) if one.lost]
    assert review(lost, village.device, inspector, keys) == 1
    assert (lost.device(village.device).apart_from_ms or 0) > first
    with lost.context.database.transaction() as session:
        apart.look_again(session, session.get_one(Device, village.device))
    assert (lost.device(village.device).apart_from_ms or 0) > first


def test_epochs_that_a_kiosk_never_had_are_opened_empty(
    office: Office, desk: Machine, village: Kiosk, tmp_path: Path, new_database: NewDatabase
) -> None:
    """The card went back to the same image twice; the restored server knows of neither."""
    for _ in range(2):
        village.record("li-4")
        village.sync()
    image = village.payloads[:1]
    backup(office.config, tmp_path / "b.tar")
    for _ in range(2):
        office.clock.step(hours=5)
        card_back(village, image)
        village.record("li-4")
        sync(village)
    assert village.epoch == 3
    config = ServerConfig(tmp_path / "old", new_database())
    office = restored(office, tmp_path / "b.tar", config, village)
    village.record("li-4")
    assert village.cursor(pending=1).epoch == 1
    answer = village.upload()
    assert answer.status_code == 200, answer.data
    ack = wire.decode(answer.data, wire.BatchReply)
    assert [r.result for r in ack.results] == ["stored", "stored"]
    assert epochs(office, village) == [(1, True), (2, True), (3, False)]
    assert told(office) == ["1/3 - 3/1"]
    assert village.cursor().state == "ok"
    device = office.device(village.device)
    assert (device.epoch, device.seq, device.fork_ms) == (3, 2, None)
    assert device.apart_from_ms is not None


def test_an_epoch_too_far_ahead_is_a_gap(office: Office, village: Kiosk) -> None:
    village.epoch, village.cites = 2 + MAX_SKIPPED, b"\1" * 32
    village.record()
    answer = village.upload()
    assert wire.decode(answer.data, wire.Problem).error == "gap"
    village.epoch, village.payloads = 1 + MAX_SKIPPED, []
    village.record()
    assert village.upload().status_code == 200
    assert epochs(office, village)[-2:] == [(MAX_SKIPPED, True), (1 + MAX_SKIPPED, False)]

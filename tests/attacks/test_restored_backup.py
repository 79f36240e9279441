"""A server put back to an older backup is healed by a real kiosk, and says what happened."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from attendance.statuses import Kind, Method, Status
from enroll.desk import Desk
from enroll.withdraw import withdraw_consent
from kiosk.errors import PairingRefused, ServerRefused
from kiosk.pairing import pair as pair_kiosk
from kiosk.site import Site
from kiosk.store import Draft
from server.backup import backup, restore
from server.config import ServerConfig, load_keys
from server.models import AuditEntry, Device, Official, RecordRow, WithdrawalRow
from server.services.evidence import checkpoints, verify
from server.services.paired.devices import revoke
from tests.attacks.test_nothing_to_steal import portrait
from tests.attacks.town import CLOCK, Town, exchange
from tests.conftest import NewDatabase


@pytest.fixture
def town(tmp_path: Path, new_database: NewDatabase) -> Iterator[Town]:
    made = Town(tmp_path, new_database())
    yield made
    made.close()


def put_back(town: Town, source: Path, config: ServerConfig) -> None:
    """The server is gone; that backup of it serves from now on."""
    town.stop()
    restore(config, source, datetime.now(UTC))
    town.serve(config)


def record(town: Town, count: int) -> None:
    draft = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.IN_VILLAGE, method=Method.PIN)
    for _ in range(count):
        town.sites[0].store.record(draft, CLOCK.read())


def stored(town: Town) -> list[int]:
    with town.context.database.session() as session:
        return list(session.scalars(select(RecordRow.seq).order_by(RecordRow.seq)))


def checkpoint(town: Town, hours: int) -> int:
    now = datetime.now(UTC) + timedelta(hours=hours)
    with town.context.database.transaction() as session:
        made = checkpoints.make(session, load_keys(town.config).sign_seed, now)
        assert made is not None
        return made.id


def bad_rows(town: Town, witness: Path | None = None) -> list[str]:
    seen = None if witness is None else checkpoints.read_witness(witness)
    with town.context.database.session() as session:
        key = load_keys(town.config).sign_public
        return [str(bad) for bad in verify.verify(session, key, seen)]


def test_a_restored_older_backup_heals_itself(
    town: Town, tmp_path: Path, new_database: NewDatabase
) -> None:
    site = town.kiosk("石桥村")
    record(town, 50)
    assert exchange(site).stored == 50
    kept = checkpoint(town, 0)
    backup(town.config, tmp_path / "b.tar")
    record(town, 50)
    assert exchange(site).stored == 50
    lost = checkpoint(town, 1)
    assert lost == kept + 1
    witness = tmp_path / "witness.json"
    with town.context.database.session() as session:
        checkpoints.write_witness(session, load_keys(town.config).sign_public, witness)
    assert bad_rows(town, witness) == []

    put_back(town, tmp_path / "b.tar", ServerConfig(tmp_path / "old", new_database()))
    assert stored(town) == list(range(1, 51))
    assert bad_rows(town) == []
    (missing,) = bad_rows(town, witness)
    assert missing.startswith(f"checkpoint {lost} the witness holds it, this database does not")

    report = exchange(site)
    assert (report.sent, report.stored, report.rejected, report.pending) == (50, 50, 0, 0)
    assert stored(town) == list(range(1, 101)), "every one, in its place, once"
    with town.context.database.session() as session:
        device = session.get_one(Device, site.config.device)
        assert (device.fork_ms, device.seq) == (None, 100)
        assert session.scalar(select(func.count(func.distinct(RecordRow.record_id)))) == 100
        told = session.scalars(select(AuditEntry.target).where(AuditEntry.what == "restore")).all()
    (said,) = told
    assert said.startswith(f"checkpoint {kept}, up to "), "the trail says from where it went on"
    assert bad_rows(town) == []
    assert checkpoint(town, 2) == lost
    assert bad_rows(town) == []
    (rewritten,) = bad_rows(town, witness)
    assert rewritten.startswith(f"checkpoint {lost} the witness holds another root")
    assert "a backup was restored" in rewritten
    assert exchange(site).sent == 0


def test_a_card_put_back_twice_and_a_restored_server_go_on_together(
    town: Town, tmp_path: Path, new_database: NewDatabase
) -> None:
    site = town.kiosk("石桥村")
    record(town, 2)
    exchange(site)
    site.close()
    shutil.copytree(site.folder, tmp_path / "image")
    site = town.sites[0] = Site(site.folder)
    record(town, 3)
    exchange(site)
    backup(town.config, tmp_path / "b.tar")
    for _ in range(2):
        site.close()
        shutil.rmtree(site.folder)
        shutil.copytree(tmp_path / "image", site.folder)
        site = town.sites[0] = Site(site.folder)
        exchange(site)
        record(town, 2)
        exchange(site)
    put_back(town, tmp_path / "b.tar", ServerConfig(tmp_path / "old", new_database()))
    record(town, 1)
    report = exchange(site)
    assert (site.store.head().epoch, report.rejected, report.pending) == (3, 0, 0)
    assert bad_rows(town) == []
    with town.context.database.session() as session:
        device = session.get_one(Device, site.config.device)
        assert (device.epoch, device.seq, device.fork_ms) == (3, 4, None)
        assert device.apart_from_ms is not None, "what epoch 2 held is nowhere any more"


def test_a_kiosk_paired_since_the_backup_is_admitted_again_with_all_that_it_recorded(
    town: Town, tmp_path: Path, new_database: NewDatabase
) -> None:
    backup(town.config, tmp_path / "b.tar")
    site = town.kiosk("桃村")
    town.enrol("peach", "桃村")
    town.sync()
    record(town, 3)
    assert exchange(site).pending == 0
    before = exchange(site).gallery_version
    device, keys = site.config.device, site.keys
    put_back(town, tmp_path / "b.tar", ServerConfig(tmp_path / "old", new_database()))
    record(town, 1)
    with pytest.raises(ServerRefused) as caught:
        exchange(site)
    assert caught.value.word == "unknown_device"
    for lang in ("zh", "en"):
        assert "quxiang-kiosk pair --again" in caught.value.words(lang)

    code = town.code("kiosk", "桃村", "village")
    with pytest.raises(PairingRefused, match="paired already"):
        pair_kiosk(site.folder, town.url, code)
    config = pair_kiosk(site.folder, town.url, code, again=True)
    assert config == site.config, "the kiosk that it was"
    with Site(site.folder) as again:
        report = exchange(again)
        assert (report.sent, report.stored, report.pending) == (4, 4, 0)
        assert stored(town) == [1, 2, 3, 4]
        assert bad_rows(town) == []
        withdraw_consent(town.desk, "peach")
        done = town.sync()
        assert (done.pinned, done.changed) == ([], []), "the desk finds the kiosk that it knows"
        assert exchange(again).gallery_version > before > 0
        town.sync()
        assert town.desk.ledger.owed() == []
    with town.context.database.session() as session:
        row = session.get_one(Device, device)
        assert (row.sign_key, row.box_key) == (keys.sign_public, keys.box_public)
        trail = select(AuditEntry.target).where(AuditEntry.what == "pair")
        assert session.scalars(trail.order_by(AuditEntry.id)).all()[-1] == "kiosk again"


def test_an_id_that_is_known_is_given_to_nobody(town: Town, tmp_path: Path) -> None:
    site, other = town.kiosk("桃村"), town.kiosk("李村")
    with town.context.database.transaction() as session:
        revoke(session, site.config.device, datetime.now(UTC))
    code = town.code("kiosk", "桃村", "village")
    before = (site.folder / "kiosk.json").read_bytes()
    thief = tmp_path / "thief"  # another's id, keys of his own
    thief.mkdir()
    shutil.copy(other.folder / "kiosk.json", thief)
    shutil.copy(site.folder / "device.key", thief)
    for folder in (site.folder, other.folder, thief):
        with pytest.raises(PairingRefused) as caught:
            pair_kiosk(folder, town.url, code, again=True)
        assert "need not be paired again" in caught.value.words("en")
        assert "不必重新配对" in caught.value.words("zh")
    assert (site.folder / "kiosk.json").read_bytes() == before
    with pytest.raises(ServerRefused) as refused:
        exchange(site)
    assert refused.value.word == "revoked", "a code lets no revoked kiosk in again"
    assert pair_kiosk(tmp_path / "new", town.url, code).site == "桃村", "the code stayed good"


def test_a_restored_server_learns_of_withdrawals_at_the_next_sync(
    town: Town, tmp_path: Path, new_database: NewDatabase
) -> None:
    site = town.kiosk("杏村")
    town.enrol("plum", "杏村")
    town.desk.store.set_portrait("plum", portrait())
    town.sync()
    exchange(site)
    backup(town.config, tmp_path / "b.tar")
    withdraw_consent(town.desk, "plum")
    town.sync()
    exchange(site)
    town.sync()

    def held() -> tuple[str | None, list[str]]:
        with town.context.database.session() as session:
            token = session.scalars(select(Official.portrait)).one()
            return token, list(session.scalars(select(WithdrawalRow.official)))

    assert held() == (None, ["plum"])
    put_back(town, tmp_path / "b.tar", ServerConfig(tmp_path / "old", new_database()))
    assert held()[0] is not None
    assert list(town.config.portraits.iterdir()) != []
    assert town.sync().withdrawals == ["plum"]
    assert held() == (None, ["plum"])
    assert list(town.config.portraits.iterdir()) == []
    assert exchange(site).gallery_fault is None
    assert town.sync().withdrawals == []
    assert town.desk.ledger.owed() == []


def test_a_desk_and_a_server_from_older_backups_count_on_from_what_the_kiosk_took(
    town: Town, tmp_path: Path, new_database: NewDatabase
) -> None:
    site = town.kiosk("石桥村")
    town.enrol("plum", "石桥村")
    town.sync()
    exchange(site)
    backup(town.config, tmp_path / "b.tar")
    town.desk.close()
    shutil.copytree(town.desk.data, tmp_path / "desk-then")
    town.desk = Desk(town.desk.data, lambda: datetime.now(UTC))
    for number in range(3):
        town.enrol(f"new-{number}", "石桥村")
        town.sync()
        assert exchange(site).gallery_installed
    before = site.vault.version

    put_back(town, tmp_path / "b.tar", ServerConfig(tmp_path / "old", new_database()))
    town.desk.close()
    town.desk = Desk(tmp_path / "desk-then", lambda: datetime.now(UTC))
    withdraw_consent(town.desk, "plum")
    exchange(site)  # says which gallery it took last
    town.sync()
    report = exchange(site)
    assert (report.gallery_fault, report.gallery_version > before) == (None, True)
    contents = site.vault.contents()
    assert contents is not None
    assert not any(person.templates for person in contents.people)
    town.sync()
    assert town.desk.ledger.owed() == []

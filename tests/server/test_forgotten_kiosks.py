"""A server put back to an older backup: the times of what its kiosks send again, and the days of
a kiosk that it had paired since and forgot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from attendance import wire
from attendance.days import to_ms
from attendance.signing import to_text
from server.backup import backup
from server.config import ServerConfig
from server.models import AuditEntry, RecordRow
from server.services.paired.pairing import _unknown_since
from server.services.records.anchors import offer
from server.services.township.townships import only_township
from tests.conftest import NewDatabase

from .conftest import MORNING, Kiosk, Machine, Office, ms
from .test_apart import verdict
from .test_lost_epochs import restored

DAYS = tuple(MORNING.date() + timedelta(day) for day in range(4))


def rows(office: Office, kiosk: Kiosk) -> Sequence[RecordRow]:
    with office.context.database.session() as session:
        mine = select(RecordRow).where(RecordRow.device_id == kiosk.device)
        return session.scalars(mine.order_by(RecordRow.seq)).all()


def again(office: Office, kiosk: Kiosk, site: str) -> None:
    """`quxiang-kiosk pair --again`."""
    asked = wire.PairRequest(
        code=office.code("kiosk", site, "village"), kind="kiosk", device=kiosk.device,
        sign_key=to_text(kiosk.keys.sign_public), box_key=to_text(kiosk.keys.box_public),
    )  # fmt: skip
    assert office.client().post(wire.PAIR, data=wire.encode(asked)).status_code == 200


def morning(office: Office, kiosk: Kiosk) -> int:
    """A boot with a contact, a check-in that names its anchor, and the day goes on."""
    kiosk.reboot()
    kiosk.cursor()
    office.clock.step(minutes=1)
    at = ms(office.clock.now)
    kiosk.record(anchor=kiosk.anchor)
    kiosk.sync()
    office.clock.step(hours=23, minutes=59)
    return at


def verdicts(office: Office, days: Sequence[date] = DAYS) -> list[str]:
    return [verdict(office, day) for day in days]


@pytest.fixture
def new(tmp_path: Path, new_database: NewDatabase) -> ServerConfig:
    return ServerConfig(tmp_path / "old", new_database())


def test_what_is_sent_again_is_proved_by_the_anchors_that_it_names(
    office: Office, desk: Machine, village: Kiosk, tmp_path: Path, new: ServerConfig
) -> None:
    village.sync()
    backup(office.config, tmp_path / "b.tar")
    true = [morning(office, village) for _ in range(2)]
    office = restored(office, tmp_path / "b.tar", new, village)
    village.reboot()
    village.sync()
    stored = rows(office, village)
    assert [(row.cls, row.flags) for row in stored] == [("A", None)] * 2
    for row, at in zip(stored, true, strict=True):
        assert row.earliest_ms <= at <= row.latest_ms
        assert row.latest_ms - row.earliest_ms < 60_000


def test_only_this_servers_anchors_of_that_kiosk_and_boot_prove_anything(
    office: Office, desk: Machine, village: Kiosk, tmp_path: Path, new: ServerConfig
) -> None:
    village.sync()
    other = office.kiosk("柳林村")
    backup(office.config, tmp_path / "b.tar")
    village.reboot()
    secret, at, clock = office.context.keys.secret, office.clock.now, village.boottime_ns
    made = (
        offer(b"x" * 32, village.device, village.boot_id, clock, at).id,
        offer(secret, other.device, village.boot_id, clock, at).id,
        offer(secret, village.device, other.boot_id, clock, at).id,
        "no anchor",
    )
    for name in made:
        village.record(anchor=name)
    office = restored(office, tmp_path / "b.tar", new, village)
    office.clock.step(hours=1)
    village.reboot()
    village.sync()
    assert [row.cls for row in rows(office, village)] == ["B"] * 4


def test_a_forgotten_kiosk_brings_its_days_back(
    office: Office, desk: Machine, tmp_path: Path, new: ServerConfig
) -> None:
    """It was paired after the backup, the only one where zhang-3 is expected too."""
    backup(office.config, tmp_path / "b.tar")
    village = office.kiosk("桃村", "village")
    body = wire.encode(
        wire.Roster(
            officials=[
                wire.RosterRow(
                    official="zhang-3", name="张三", title="科员", phone="13800000000",
                    work_group="第一工作组", sites=["桃村"],
                )
            ]
        )
    )  # fmt: skip
    assert desk.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    office.clock.step(days=1)
    true = [morning(office, village)]
    office.clock.step(days=1)
    village.sync()
    before = rows(office, village)
    assert verdicts(office, DAYS[1:3]) == ["came", "absent"]
    office = restored(office, tmp_path / "b.tar", new, village, desk)
    office.clock.step(hours=2)
    village.reboot()
    again(office, village, "桃村")
    assert desk.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    village.sync()
    for _ in range(2):
        office.clock.step(days=1)
        village.sync()
    after = rows(office, village)
    assert [row.payload for row in after] == [row.payload for row in before]
    assert [row.cls for row in after] == ["A"]
    assert after[0].earliest_ms <= true[0] <= after[0].latest_ms
    assert verdicts(office, DAYS[1:3]) == ["came", "not_known"], "absent only since it is back"


def test_at_a_site_with_two_kiosks_the_forgotten_one_keeps_its_days_open(
    office: Office, desk: Machine, village: Kiosk, tmp_path: Path, new: ServerConfig
) -> None:
    village.sync()
    backup(office.config, tmp_path / "b.tar")
    second = office.kiosk("杏树村")
    office.clock.step(hours=20)
    for _ in range(2):
        morning(office, second)
        village.sync()
    assert verdicts(office, DAYS[1:3]) == ["came", "came"]
    office = restored(office, tmp_path / "b.tar", new, village, second)
    village.sync()
    again(office, second, "杏树村")
    village.sync()
    assert verdicts(office, DAYS[1:3]) == ["not_known"] * 2, "its records are not here yet"
    second.reboot()
    second.sync()
    assert verdicts(office, DAYS[1:3]) == ["came", "came"]
    assert verdict(office, DAYS[1], "li-4") == "not_known"
    office.clock.step(days=3)
    for kiosk in (village, second):
        kiosk.sync()
    assert verdict(office, MORNING.date() + timedelta(5), "li-4") == "absent", "as ever since"


def test_since_when_a_kiosk_may_have_stood_there(
    office: Office, village: Kiosk, tmp_path: Path, new: ServerConfig
) -> None:
    village.sync()
    ends = ms(office.clock.now)
    backup(office.config, tmp_path / "b.tar")
    office.clock.step(days=3)
    office = restored(office, tmp_path / "b.tar", new, village)
    now_ms = to_ms(office.clock())
    with office.context.database.session() as session:
        place = only_township(session)
        target = select(AuditEntry.target).where(AuditEntry.what == "restore")
        (said,) = set(session.scalars(target))
        assert said.endswith(f"up to {MORNING.isoformat()}"), "the trail says where the backup ends"
        assert _unknown_since(session, place.id, now_ms) == ends
        assert _unknown_since(session, place.id, ends - 5) == ends - 5, "never later than now"
    third = office.kiosk("别处", township="白水乡")
    assert office.device(third.device).paired_ms == now_ms, "one that is new stood nowhere before"


def test_without_a_word_of_a_restore_it_may_have_stood_there_always(
    office: Office, village: Kiosk
) -> None:
    office.clock.step(days=3)
    with office.context.database.session() as session:
        place = only_township(session)
        since = _unknown_since(session, place.id, to_ms(office.clock()))
    assert since == place.created_ms == ms(MORNING)

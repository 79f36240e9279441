"""Who a kiosk is and where its chain stands is signed: what is changed past the server is named."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from attendance.chain import genesis, next_head
from attendance.records import decode_record, encode_record
from server.models import Device, EpochRow
from server.services.paired import devices
from tests.server.test_seals import by_hand, close, found
from tests.server.test_seals import worked as worked

from .conftest import Kiosk, Machine, Office, ms


def forge(office: Office, village: Kiosk, cursor: str | None) -> int:
    """A record behind the newest one, whose head follows, and the cursor moved to it."""
    hand = by_hand(office.config)
    last = hand.one("SELECT * FROM record ORDER BY id DESC LIMIT 1")
    payload = encode_record(
        msgspec.structs.replace(
            decode_record(last.payload), seq=last.seq + 1, record_id=str(uuid.uuid4()),
            official="wang-5",
        )
    )  # fmt: skip
    changed = {
        "id": last.id + 1, "seq": last.seq + 1, "payload": payload, "official": "wang-5",
        "record_id": decode_record(payload).record_id, "head": next_head(last.head, payload),
    }  # fmt: skip
    row = {**last._mapping, **changed}
    columns, values = ",".join(row), ",".join(f":{name}" for name in row)
    hand.do(f"INSERT INTO record ({columns}) VALUES ({values})", **row)  # noqa: S608
    if cursor is not None:
        hand.do(
            f"UPDATE device SET seq = :seq, head = :head{cursor} WHERE id = :device",  # noqa: S608
            seq=row["seq"], head=row["head"], device=village.device,
        )  # fmt: skip
    return int(row["id"])


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_a_record_put_behind_the_newest_is_named(
    worked: Office, village: Kiosk, closed: bool
) -> None:
    if closed:
        close(worked.config)
    rowid = forge(worked, village, "")
    wanted = [
        f"device {village.device} its cursor is not where this server left it",
        f"record {rowid} it was not received by this server",
    ]
    assert found(worked.config) == wanted
    close(worked.config)
    assert found(worked.config) == wanted


def test_a_record_put_there_without_its_cursor_is_named(worked: Office, village: Kiosk) -> None:
    rowid = forge(worked, village, None)
    assert f"record {rowid} it was not received by this server" in found(worked.config)


def test_the_sealed_place_cannot_be_moved_along(worked: Office, village: Kiosk) -> None:
    rowid = forge(worked, village, ", sealed_seq = :seq")
    wanted = f"record {rowid} it is not what this server received"
    assert wanted in found(worked.config)
    by_hand(worked.config).do("UPDATE device SET seal = NULL WHERE kind = 'kiosk'")
    assert f"device {village.device} it was not paired by this server" in found(worked.config)


def test_what_a_kiosk_sends_next_does_not_vouch_for_it(worked: Office, village: Kiosk) -> None:
    """It finds the server ahead of it and goes on in a new epoch, which cites the server's head."""
    rowid = forge(worked, village, "")
    worked.clock.step(minutes=5)
    reply = village.cursor()
    assert reply.state == "ahead"
    village.epoch, village.cites = reply.epoch + 1, bytes.fromhex(reply.head)
    village.payloads.clear()
    village.record("li-4")
    assert village.upload().status_code == 200
    close(worked.config)
    assert f"record {rowid} it was not received by this server" in found(worked.config)


def test_the_newest_record_cannot_be_written_anew(worked: Office, village: Kiosk) -> None:
    hand = by_hand(worked.config)
    last = hand.one("SELECT * FROM record ORDER BY id DESC LIMIT 1")
    before = hand.one("SELECT head FROM record ORDER BY id DESC LIMIT 1 OFFSET 1")
    payload = encode_record(msgspec.structs.replace(decode_record(last.payload), official="wang-5"))
    given = {"payload": payload, "head": next_head(before.head, payload), "id": last.id}
    hand.do(
        "UPDATE record SET payload = :payload, head = :head, official = 'wang-5' WHERE id = :id",
        **given,
    )
    hand.do("UPDATE device SET head = :head WHERE kind = 'kiosk'", head=given["head"])
    assert f"record {last.id} it is not what this server received" in found(worked.config)


def test_what_else_is_put_at_the_end_of_a_chain_is_named(worked: Office, village: Kiosk) -> None:
    place = {"place": worked.township().id, "device": village.device, "head": b"x" * 32}
    by_hand(worked.config).do(
        "INSERT INTO epoch (id, township_id, device_id, epoch, cites, follows, opened_ms) VALUES "
        "(80, :place, :device, 2, :head, true, 1773800000000)",
        "INSERT INTO rejected_record (id, township_id, device_id, epoch, seq, payload, head, why, "
        "received_ms) VALUES (81, :place, :device, 2, 1, :head, :head, 'x', 1773800000000)",
        **place,
    )
    said = found(worked.config)
    assert "epoch 80 it was not received by this server" in said
    assert "rejected_record 81 it was not received by this server" in said


def test_a_kiosk_that_was_never_paired_is_named(worked: Office) -> None:
    hand = by_hand(worked.config)
    row = {**hand.one("SELECT * FROM device WHERE kind = 'kiosk'")._mapping}
    row |= {"id": "forged", "health": None, "seal": None}
    columns, values = ",".join(row), ",".join(f":{name}" for name in row)
    hand.do(f"INSERT INTO device ({columns}) VALUES ({values})", **row)  # noqa: S608
    assert "device forged it was not paired by this server" in found(worked.config)


CHANGED = "its keys, site or marks are not what this server wrote"


@pytest.mark.parametrize(
    "change",
    [
        "complete_until_ms = complete_until_ms + 86400000", "apart_from_ms = 1",
        "sign_key = box_key", "site_id = NULL", "revoked_ms = 1", "paired_ms = paired_ms - 1",
    ],
)  # fmt: skip
def test_who_a_kiosk_is_and_how_far_it_is_complete_cannot_be_changed_unseen(
    worked: Office, village: Kiosk, change: str
) -> None:
    """What it sends next is not vouched for either."""
    hand = by_hand(worked.config)
    before = hand.one("SELECT sign_key, site_id, revoked_ms FROM device WHERE kind = 'kiosk'")
    hand.do(f"UPDATE device SET {change} WHERE kind = 'kiosk'")  # noqa: S608
    wanted = f"device {village.device} {CHANGED}"
    assert found(worked.config) == [wanted]
    if before != hand.one("SELECT sign_key, site_id, revoked_ms FROM device WHERE kind = 'kiosk'"):
        return
    worked.clock.step(minutes=5)
    village.record("li-4")
    village.sync()
    assert wanted in found(worked.config)


def test_what_the_server_itself_changes_of_a_device_is_sealed(
    worked: Office, village: Kiosk, desk: Machine
) -> None:
    hand = by_hand(worked.config)
    for act in (devices.revoke, devices.settle, devices.revoke, devices.settle):
        with worked.context.database.transaction() as session:
            act(session, village.device, worked.clock())
        assert found(worked.config) == []
    with worked.context.database.transaction() as session:
        devices.revoke(session, desk.device, worked.clock())
    assert found(worked.config) == []
    hand.do("UPDATE device SET revoked_ms = NULL WHERE kind = 'desk'")
    assert found(worked.config) == [f"device {desk.device} {CHANGED}"]


def test_a_device_that_is_made_and_changed_at_once_is_sealed_as_it_ends(office: Office) -> None:
    with office.context.database.transaction() as session:
        made = Device(
            id="kkkkkkkk", township_id=office.township().id, kind="kiosk", sign_key=b"s" * 32,
            box_key=b"b" * 32, paired_ms=ms(office.clock()), head=genesis("kkkkkkkk", 1),
        )  # fmt: skip
        session.add(made)
        session.flush()
        made.complete_until_ms = made.apart_from_ms = 1
        session.add(
            EpochRow(
                township_id=made.township_id, device_id=made.id, epoch=1, cites=b"", follows=True,
                opened_ms=1,
            )
        )  # fmt: skip
    assert found(office.config) == []

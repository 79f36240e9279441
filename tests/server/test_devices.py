"""A way out for a kiosk that was set apart: its outbox empties, and nothing is thrown away."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import func, select

from attendance import wire
from server.errors import InputInvalid, NotFound
from server.models import AuditEntry, EpochRow, Quarantined, RecordRow
from server.services.evidence.verify import verify
from server.services.paired import devices
from server.services.records.intake import MOST_EPOCHS

from .conftest import Kiosk, Machine, Office


def change(office: Office, what: str, device: str) -> None:
    with office.context.database.transaction() as session:
        getattr(devices, what)(session, device, office.clock())


def acks(village: Kiosk, first: int) -> list[str]:
    answer = village.upload(first)
    assert answer.status_code == 200, answer.data
    return [r.result for r in wire.decode(answer.data, wire.BatchReply).results]


def forked(village: Kiosk, kept: int, lost: int, other: int) -> list[bytes]:
    """The card of an earlier day is put back, and other things are recorded; the lost history."""
    for _ in range(kept + lost):
        village.record()
    village.upload()
    gone = village.payloads[kept:]
    del village.payloads[kept:]
    for _ in range(other):
        village.record("li-4")
    assert village.upload().status_code == 409
    assert village.cursor(pending=other).state == "fork"
    return gone


@pytest.mark.parametrize("other", [2, 3, 5], ids=["behind", "level", "ahead"])
def test_a_forked_kiosk_goes_on_in_a_new_epoch(
    office: Office, desk: Machine, village: Kiosk, other: int
) -> None:
    forked(village, kept=2, lost=3, other=other)
    apart = list(village.payloads[2:])
    change(office, "settle", village.device)
    village.record("wang-5")  # while nobody told it yet
    apart.append(village.payloads[-1])
    reply = village.cursor(pending=other + 1)
    assert (reply.state, reply.epoch, reply.seq) == ("ahead", 1, 5)
    assert acks(village, 3) == ["rejected"] * (other + 1)
    assert acks(village, 1)[:2] == ["duplicate"] * 2
    # What the kiosk does next (kiosk.exchange): an epoch that cites the server's head.
    village.epoch, village.cites, village.payloads = 2, bytes.fromhex(reply.head), []
    village.record()
    assert village.cursor(pending=1).state == "ok"
    assert acks(village, 1) == ["stored"]
    assert village.cursor().state == "ok"
    with office.context.database.session() as session:
        assert list(verify(session, office.context.keys.sign_public)) == []
        held = session.scalars(select(Quarantined).order_by(Quarantined.seq)).all()
        assert [q.payload for q in held] == apart
        said = [(e.who, e.what) for e in session.scalars(select(AuditEntry))]
        assert (f"device:{village.device}", "fork") in said
        assert ("command", "settle") in said
        assert len(session.scalars(select(RecordRow)).all()) == 6


def test_epochs_that_only_the_kiosk_opened_are_skipped(office: Office, village: Kiosk) -> None:
    forked(village, kept=1, lost=1, other=1)
    village.epoch, village.cites, village.payloads = 2, b"\1" * 32, []
    village.record()
    assert village.upload().status_code == 409
    change(office, "settle", village.device)
    reply = village.cursor(pending=1)
    assert (reply.state, reply.epoch, reply.seq) == ("ahead", 2, 0)
    assert acks(village, 1) == ["rejected"]
    village.epoch, village.cites, village.payloads = 3, bytes.fromhex(reply.head), []
    village.record()
    assert acks(village, 1) == ["stored"]
    with office.context.database.session() as session:
        assert list(verify(session, office.context.keys.sign_public)) == []


@pytest.mark.parametrize("epoch", [MOST_EPOCHS + 2, 2**63 - 1])
def test_an_epoch_far_ahead_is_no_kiosk_s(office: Office, village: Kiosk, epoch: int) -> None:
    """Else to settle it would open as many."""
    forked(village, kept=1, lost=1, other=1)
    village.epoch, village.cites, village.payloads = epoch, b"\1" * 32, []
    village.record()
    assert village.upload().status_code == 400
    change(office, "settle", village.device)
    with office.context.database.session() as session:
        assert session.scalar(select(func.count()).select_from(EpochRow)) == 1


def test_a_later_fork_is_a_new_finding(office: Office, village: Kiosk) -> None:
    forked(village, kept=1, lost=1, other=1)
    change(office, "settle", village.device)
    head = village.cursor(pending=1).head
    village.epoch, village.cites, village.payloads = 2, bytes.fromhex(head), []
    village.record()
    assert acks(village, 1) == ["stored"]
    del village.payloads[0]
    village.record("li-4")
    assert village.upload().status_code == 409
    assert village.cursor(pending=1).state == "fork"


def test_a_revoked_kiosk_is_let_in_again_with_what_it_recorded(
    office: Office, village: Kiosk
) -> None:
    village.record()
    village.upload()
    change(office, "revoke", village.device)
    village.record()
    assert village.upload(2).status_code == 403
    change(office, "settle", village.device)
    assert village.cursor(pending=1).state == "ok"
    assert acks(village, 2) == ["stored"]


def test_what_needs_nothing_or_is_not_there_is_said(office: Office, village: Kiosk) -> None:
    for what, device, error in (
        ("settle", village.device, InputInvalid),
        ("settle", "nobody00", NotFound),
        ("revoke", str(uuid.uuid4())[:8], NotFound),
    ):
        with pytest.raises(error):
            change(office, what, device)
    change(office, "revoke", village.device)
    with pytest.raises(InputInvalid):
        change(office, "revoke", village.device)
    with office.context.database.session() as session:
        assert [(d.id, d.kind, d.state) for d in devices.states(session)] == [
            (village.device, "kiosk", "revoked")
        ]

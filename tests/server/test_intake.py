"""Intake: every record once, whatever the order, the splitting and the repetitions."""

from __future__ import annotations

import tempfile
import uuid
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from attendance import wire
from attendance.chain import genesis
from attendance.statuses import Kind, Method, Status
from server.app import create_app
from server.config import ServerConfig
from server.models import Device, EpochRow, Quarantined, RecordRow, RejectedRecord
from server.services.sheets.entries import entries_by_id
from server.services.sheets.roster import roster_of
from server.services.township.townships import create_township, only_township
from tests.conftest import NewDatabase

from .conftest import MORNING, FakeClock, Kiosk, Machine, Office, copy_of, ms


def rows(office: Office, kiosk: Kiosk) -> list[RecordRow]:
    with office.context.database.session() as session:
        return list(
            session.scalars(
                select(RecordRow)
                .where(RecordRow.device_id == kiosk.device)
                .order_by(RecordRow.epoch, RecordRow.seq)
            )
        )


def results(answer: object) -> list[str]:
    return [r.result for r in wire.decode(answer.data, wire.BatchReply).results]  # type: ignore[attr-defined]


def test_records_are_stored_once_with_their_bytes(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    for _ in range(3):
        village.record()
    assert results(village.upload()) == ["stored"] * 3
    assert results(village.upload()) == ["duplicate"] * 3
    assert results(village.upload(2)) == ["duplicate"] * 2
    stored = rows(office, village)
    assert [row.payload for row in stored] == village.payloads
    assert stored[-1].head == village.head()
    device = office.device(village.device)
    assert (device.epoch, device.seq, device.head) == (1, 3, village.head())


def test_a_batch_that_overlaps_is_stored_from_where_it_is_new(
    office: Office, village: Kiosk
) -> None:
    for _ in range(5):
        village.record()
    assert results(village.upload(1, 3)) == ["stored"] * 3
    assert results(village.upload(2, 5)) == ["duplicate", "duplicate", "stored", "stored"]


def test_a_gap_names_the_record_that_is_wanted(office: Office, village: Kiosk) -> None:
    for _ in range(4):
        village.record()
    answer = village.upload(3)
    problem = wire.decode(answer.data, wire.Problem)
    assert (answer.status_code, problem.error, problem.wanted) == (409, "gap", 1)
    assert rows(office, village) == []


def test_a_fork_keeps_both_sides_and_marks_the_device(office: Office, village: Kiosk) -> None:
    village.record()
    village.record("li-4")
    village.upload()
    kept = list(village.payloads)
    del village.payloads[1]
    village.record("wang-5")
    answer = village.upload()
    assert answer.status_code == 409
    assert wire.decode(answer.data, wire.Problem).error == "fork"
    assert [row.payload for row in rows(office, village)] == kept
    with office.context.database.session() as session:
        other = session.scalars(select(Quarantined)).all()
    assert [(q.seq, q.payload, q.why) for q in other] == [(2, village.payloads[1], "fork")]
    village.upload()  # again: nothing more is kept
    village.record()
    assert village.upload(3).status_code == 409  # both histories are doubtful from now on
    with office.context.database.session() as session:
        assert session.scalar(select(func.count(Quarantined.id))) == 2
    assert village.cursor().state == "fork"


def test_a_fork_shows_in_the_cursor_alone(office: Office, village: Kiosk) -> None:
    village.record()
    village.upload()
    village.payloads.clear()
    village.record("li-4")
    assert village.cursor().state == "fork"
    assert office.device(village.device).fork_ms == ms(MORNING)


def test_another_history_before_the_cursor_is_a_fork(office: Office, village: Kiosk) -> None:
    village.record()
    village.record()
    village.upload()
    village.payloads[0] = village.payloads[0].replace(b"0.71", b"0.72")
    village.record()
    assert village.upload(3).status_code == 409
    assert len(rows(office, village)) == 2


def test_what_is_no_record_goes_on_the_pile_and_blocks_nobody(
    office: Office, village: Kiosk
) -> None:
    village.record()
    village.payloads.append(b'{"not":"a record"}')
    first = village.record()
    village.payloads.append(village.payloads[0])  # names another place in the chain
    village.record(record_id=first.record_id)  # an id twice
    village.record()
    assert results(village.upload()) == [
        "stored", "rejected", "stored", "rejected", "rejected", "stored",
    ]  # fmt: skip
    assert results(village.upload()) == [
        "duplicate", "rejected", "duplicate", "rejected", "rejected", "duplicate",
    ]  # fmt: skip
    with office.context.database.session() as session:
        pile = session.scalars(select(RejectedRecord).order_by(RejectedRecord.seq)).all()
    assert [(p.seq, p.payload) for p in pile] == [
        (2, village.payloads[1]), (4, village.payloads[3]), (5, village.payloads[4]),
    ]  # fmt: skip
    assert all(p.why for p in pile)
    village.record()
    assert results(village.upload(7)) == ["stored"]


def test_an_id_that_the_kiosk_used_before_is_rejected(office: Office, village: Kiosk) -> None:
    taken = village.record()
    village.upload()
    village.record()
    village.record(record_id=taken.record_id)
    village.record()
    assert results(village.upload()) == ["duplicate", "stored", "rejected", "stored"]
    assert results(village.upload()) == ["duplicate", "duplicate", "rejected", "duplicate"]


def test_nobody_takes_an_id_away_from_another_kiosks_record(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    other = office.kiosk("柳林村")
    taken = village.record("zhang-3")
    other.record("li-4", record_id=taken.record_id)
    assert results(other.upload()) == ["stored"], "whoever comes first"
    assert results(village.upload()) == ["stored"], "keeps nobody out"
    with office.context.database.session() as session:
        township = only_township(session)
        places = roster_of(session, township).places
        entries = entries_by_id(session, township, places, [taken.record_id])
    assert [entry.official for entry in entries.values()] == ["li-4"], "and is not hidden"


def test_unknown_people_are_stored_and_flagged(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record("nobody-1", verified=False, method=Method.PIN)
    village.record("wang-5")
    village.record("zhang-3", liveness="off")
    village.record("zhang-3")
    assert results(village.upload()) == ["stored"] * 4
    assert [row.flags for row in rows(office, village)] == [
        ["unverified", "unknown_official"], ["unexpected_site"], ["liveness_off"], None,
    ]  # fmt: skip


def test_a_late_amend_is_flagged(office: Office, desk: Machine, village: Kiosk) -> None:
    first = village.record()
    village.clock.step(seconds=8)
    amend = {"kind": Kind.AMEND, "status": Status.BUSINESS_TRIP}
    second = village.record(**amend, supersedes=first.record_id)
    village.upload()
    village.clock.step(minutes=5)
    village.record(**amend, supersedes=second.record_id)
    village.record(**amend, supersedes=str(uuid.uuid4()))
    village.upload(3)
    assert [row.flags for row in rows(office, village)] == [
        None, None, ["late_amend"], ["late_amend"],
    ]  # fmt: skip


def test_a_revoked_device_is_heard_but_not_counted(office: Office, village: Kiosk) -> None:
    village.record()
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).revoked_ms = ms(MORNING)
    answer = village.upload()
    assert answer.status_code == 403
    assert wire.decode(answer.data, wire.Problem).error == "revoked"
    assert rows(office, village) == []
    with office.context.database.session() as session:
        kept = session.scalars(select(Quarantined)).all()
    assert [(q.payload, q.why) for q in kept] == [(village.payloads[0], "revoked")]
    assert village.cursor().state == "revoked"
    assert village.send("GET", wire.WHEREABOUTS).status_code == 403


def test_a_kiosk_that_lost_its_tail_opens_an_epoch(office: Office, village: Kiosk) -> None:
    for _ in range(3):
        village.record()
    village.sync()
    ours = village.head()
    del village.payloads[1:]
    reply = village.cursor()
    assert (reply.state, reply.epoch, reply.seq) == ("ahead", 1, 3)
    village.epoch, village.cites, village.payloads = 2, bytes.fromhex(reply.head), []
    village.clock.step(minutes=1)
    village.record("li-4")
    assert village.cursor().state == "ok"
    assert results(village.upload()) == ["stored"]
    stored = rows(office, village)
    assert [(row.epoch, row.seq) for row in stored] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert stored[-1].head == village.head() != ours
    with office.context.database.session() as session:
        epochs = session.scalars(select(EpochRow).order_by(EpochRow.epoch)).all()
    assert [(e.epoch, e.cites, e.follows) for e in epochs] == [(1, b"", True), (2, ours, True)]


def test_an_epoch_that_begins_later_or_lacks_its_genesis_is_refused(
    office: Office, village: Kiosk
) -> None:
    village.record()
    village.sync()
    head = village.head()
    village.payloads, village.epoch, village.cites = [], 3, head
    for _ in range(2):
        village.record()
    problem = wire.decode(village.upload(2).data, wire.Problem)
    assert (problem.error, problem.wanted) == ("gap", 1)
    village.payloads, village.epoch = [], 2
    village.record()
    body = wire.encode_batch(
        village.keys, village.device, 2, 1, genesis(village.device, 2), village.payloads, head
    )
    assert village.send("POST", wire.RECORDS, body).status_code == 400
    assert office.device(village.device).epoch == 1


def test_times_are_proved_by_anchors_and_contacts(office: Office, village: Kiosk) -> None:
    village.wall_off = timedelta(days=-20 * 365)  # the clock battery is dead
    village.cursor()
    office.clock.step(minutes=30)
    true = ms(office.clock.now)
    village.record()
    office.clock.step(hours=2)
    village.sync()
    row = rows(office, village)[0]
    assert row.cls == "A"
    assert row.earliest_ms <= true <= row.latest_ms
    assert row.latest_ms - row.earliest_ms < 2_000
    assert "wall_off" in (row.flags or [])


def test_a_boot_without_contact_is_bracketed(office: Office, village: Kiosk) -> None:
    village.sync()
    office.clock.step(hours=1)
    village.reboot()
    office.clock.step(minutes=5)
    true = ms(office.clock.now)
    village.record()
    office.clock.step(hours=1)
    village.reboot()
    village.sync()
    row = rows(office, village)[0]
    assert (row.cls, row.at_ms) == ("B", true)
    assert row.earliest_ms == ms(MORNING)
    assert row.latest_ms == ms(office.clock.now)


def test_a_wrong_wall_clock_in_a_lost_boot_is_doubtful(office: Office, village: Kiosk) -> None:
    village.sync()
    office.clock.step(hours=1)
    village.reboot()
    village.wall_off = timedelta(days=-3)
    village.record()
    office.clock.step(hours=1)
    village.reboot()
    village.sync()
    row = rows(office, village)[0]
    assert row.cls == "C"
    assert row.earliest_ms <= row.at_ms <= row.latest_ms


def test_a_repeated_request_proves_nothing(office: Office, village: Kiosk) -> None:
    body = wire.encode(village.cursor_request(0))
    village.send("POST", wire.CURSOR, body)
    village.cursor()
    village.record()
    true = ms(office.clock.now)
    office.clock.step(hours=3)
    village.reboot()
    village.cursor(pending=1)
    village.send("POST", wire.CURSOR, body)  # recorded on the cable, sent again
    assert office.device(village.device).complete_until_ms == ms(MORNING) - 35_000
    village.upload()
    row = rows(office, village)[0]
    assert row.earliest_ms <= true <= row.latest_ms


def test_completeness_needs_the_very_same_chain(office: Office, village: Kiosk) -> None:
    village.record()
    village.cursor(pending=0)  # says nothing pends, yet the server has not got it
    assert office.device(village.device).complete_until_ms is None
    village.sync()
    assert office.device(village.device).complete_until_ms == ms(MORNING) - 35_000


def test_a_server_restored_from_a_backup_gets_everything_again(
    office: Office, village: Kiosk, new_database: NewDatabase, tmp_path: Path
) -> None:
    from server.backup import backup, restore

    village.record()
    village.sync()
    backup(office.config, tmp_path / "b.tar")
    village.record()
    village.sync()
    office.context.database.close()
    old = ServerConfig(tmp_path / "old", new_database())
    restore(old, tmp_path / "b.tar", office.clock())
    app = create_app(old, clock=office.clock)
    village.client = app.test_client()
    ack = village.sync()
    assert ack is not None
    assert (ack.seq, [r.result for r in ack.results]) == (2, ["stored"])
    app.extensions["quxiang"].database.close()


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_splitting_order_and_repetition_ends_the_same(
    migrated: ServerConfig, new_database: NewDatabase, data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp(dir=migrated.data))
    office = copy_of(migrated, new_database, folder / "server", FakeClock(MORNING))
    with office.context.database.transaction() as session:
        create_township(session, "青山乡", office.clock())
    kiosks = [office.kiosk("杏树村"), office.kiosk("柳林村")]
    for kiosk in kiosks:
        for n in range(12):
            if n % 5 == 3:
                kiosk.payloads.append(b'{"n":%d}' % n)
            else:
                kiosk.record(f"p-{n}")
        kiosk.cursor(pending=12)
    turns = data.draw(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12), st.integers(0, 11)), max_size=25)
    )
    for who, first, more in turns:
        answer = kiosks[who].upload(first, first + more)
        assert answer.status_code in (200, 409)
        assert office.device(kiosks[who].device).fork_ms is None
    for kiosk in kiosks:
        wanted = office.device(kiosk.device).seq + 1
        if wanted <= 12:
            assert kiosk.upload(wanted).status_code == 200
        stored = rows(office, kiosk)
        with office.context.database.session() as session:
            pile = session.scalars(
                select(RejectedRecord).where(RejectedRecord.device_id == kiosk.device)
            ).all()
        both = sorted([(r.seq, r.payload, r.head) for r in (*stored, *pile)])
        assert both == [(n + 1, p, kiosk.head(n + 1)) for n, p in enumerate(kiosk.payloads)]
        assert {(r.cls, r.at_ms, r.earliest_ms, r.latest_ms) for r in stored} == {
            (r.cls, r.at_ms, r.earliest_ms, r.latest_ms) for r in stored[:1]
        }
    office.context.database.close()


def test_a_request_repeated_in_the_same_boot_proves_nothing(office: Office, village: Kiosk) -> None:
    body = wire.encode(village.cursor_request(0))
    office.clock.step(minutes=1)
    village.cursor()
    office.clock.step(hours=3)
    village.send("POST", wire.CURSOR, body)
    assert office.device(village.device).complete_until_ms == ms(MORNING) + 25_000

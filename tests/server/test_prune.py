"""Old records go up to a signed point; what is left still verifies, and nobody else may remove."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from attendance import wire
from attendance.days import day_of
from server.app import create_app
from server.backup import backup, restore
from server.config import ServerConfig, load_keys
from server.db import Database
from server.errors import InputInvalid
from server.models import Base, CheckpointLeaves, Quarantined, RecordRow, WithdrawalRow
from server.services.evidence import checkpoints, retention
from server.services.evidence.prune import prune
from server.services.evidence.retention import PRUNED
from server.services.evidence.verify import verify
from server.services.rulings import corrections, statements
from server.services.rulings.changes import Change
from server.services.rulings.corrections import Draft
from server.services.sheets import daysheet
from server.services.township.townships import only_township
from tests.conftest import NewDatabase
from tests.server.test_append_only import attack, by_hand

from .conftest import MORNING, Kiosk, Machine, Office, ms


def found(office: Office, witness: Path | None = None) -> list[str]:
    seen = None if witness is None else checkpoints.read_witness(witness)
    with office.context.database.session() as session:
        return [str(bad) for bad in verify(session, office.context.keys.sign_public, seen)]


def counts(office: Office) -> dict[str, int]:
    with office.context.database.session() as session:
        return {
            table: session.scalar(select(func.count()).select_from(Base.metadata.tables[table]))
            or 0
            for table in (*PRUNED, "withdrawal", "epoch", "checkpoint", "checkpoint_leaves")
        }


def checkpoint(office: Office) -> None:
    with office.context.database.transaction() as session:
        checkpoints.make_all(session, office.context.keys.sign_seed, office.clock())


@pytest.fixture
def old(office: Office, desk: Machine, village: Kiosk) -> Office:
    """Five records and a withdrawal of 500 days ago, five of today; checkpoints after both."""
    asked = wire.Withdrawal(official="li-4", at_ms=ms(office.clock()))
    assert desk.send("POST", wire.DESK_WITHDRAWALS, wire.encode(asked)).status_code == 204
    for _ in range(5):
        village.record()
        office.clock.step(minutes=1)
    village.sync()
    office.clock.step(hours=1)
    checkpoint(office)
    office.clock.step(days=500)
    village.reboot()
    for _ in range(5):
        village.record()
        office.clock.step(minutes=1)
    village.sync()
    office.clock.step(hours=1)
    checkpoint(office)
    return office


def run(office: Office, keep_days: int = 400) -> int:
    return prune(office.context.database, office.context.keys, office.clock(), keep_days).rows


def test_what_was_paid_for_days_whose_records_went_is_not_kept_back(old: Office) -> None:
    leader = old.user("wu", "leader")
    with old.context.database.transaction() as session:
        township = only_township(session)
        shown = statements.statement_of(session, township, "2026-03", old.clock())
        assert shown.fen > 0
        seen = hashlib.sha256(statements.encode(shown)).hexdigest()
        statements.sign(session, township, "2026-03", leader, old.clock(), seen)
    month = day_of(ms(old.clock())).isoformat()[:7]

    def changes() -> list[Change]:
        with old.context.database.session() as session:
            return statements.statement_of(
                session, only_township(session), month, old.clock()
            ).changes

    assert changes() == []
    run(old)
    assert changes() == [], "nobody can say any more that they were not there"
    clerk, day = old.user("wen", "clerk"), day_of(ms(MORNING))
    with old.context.database.transaction() as session:
        draft = Draft("zhang-3", day, "absent", "没有来")
        made = corrections.propose(session, only_township(session), draft, clerk, old.clock())
        corrections.decide(session, made.id, True, "", leader, old.clock())
    assert changes() == [], "nor does a correction that came too late"


def test_what_is_old_goes_and_what_is_left_verifies(
    old: Office, village: Kiosk, tmp_path: Path, new_database: NewDatabase
) -> None:
    witness = tmp_path / "witness.json"
    with old.context.database.session() as session:
        checkpoints.write_witness(session, old.context.keys.sign_public, witness)
    before = counts(old)
    gone = run(old)
    after = counts(old)
    assert gone == sum(before[t] - after[t] for t in PRUNED) + 2, "two entries of the trail came"
    assert (before["record"], after["record"]) == (10, 5)
    assert after["contact"] < before["contact"]
    for table in ("withdrawal", "epoch", "checkpoint"):
        assert after[table] == before[table], "decisions, consent and signatures stay"
    assert after["checkpoint_leaves"] < before["checkpoint_leaves"]
    assert found(old) == []
    assert found(old, witness) == [], "a witness of before still agrees"
    with old.context.database.session() as session:
        checkpoints.write_witness(session, old.context.keys.sign_public, witness)
        assert list(session.scalars(select(RecordRow.seq))) == [6, 7, 8, 9, 10]
        assert session.scalar(select(func.count()).select_from(WithdrawalRow)) == 1
    assert run(old) == 0, "there is nothing more to remove"

    village.record()
    village.sync()
    checkpoint(old)
    assert found(old, witness) == []

    # The copy of it, in a backup, is the same.
    from server.backup import backup, restore

    backup(old.config, tmp_path / "b.tar")
    other = ServerConfig(tmp_path / "other", new_database())
    restore(other, tmp_path / "b.tar", old.clock())
    database = Database(other)
    with database.session() as session:
        assert list(verify(session, load_keys(other).sign_public)) == []
    database.close()

    # And again, 500 days later.
    old.clock.step(days=500)
    village.reboot()
    village.record()
    village.sync()
    checkpoint(old)
    run(old)
    with old.context.database.session() as session:
        assert list(session.scalars(select(RecordRow.seq))) == [12]
    assert found(old, witness) == []


def test_a_kiosk_that_sends_removed_records_again_is_answered_as_before(
    old: Office, village: Kiosk
) -> None:
    run(old)
    for first, last in ((1, 3), (1, 5), (3, 8), (1, 10)):
        answer = village.upload(first, last)
        assert answer.status_code == 200, answer.data
        reply = wire.decode(answer.data, wire.BatchReply)
        assert [r.result for r in reply.results] == ["duplicate"] * (last - first + 1)
        assert reply.seq == 10
    assert counts(old)["record"] == 5, "and nothing of it is kept again"
    reply = village.cursor(seq=5, head=village.head(5).hex())
    assert reply.state == "ahead", "an old card goes on in a new epoch, as ever"
    assert village.cursor(seq=5, head="0" * 64).state == "fork"


def test_another_history_before_the_point_is_a_fork(old: Office, village: Kiosk) -> None:
    run(old)
    village.payloads[1] = village.payloads[1].replace(b"zhang-3", b"zhang-9")
    answer = village.upload(1, 5)
    assert answer.status_code == 409
    assert wire.decode(answer.data, wire.Problem).error == "fork"
    assert counts(old)["quarantined"] == 1, "what follows the place where it was noticed"


def test_an_old_question_played_again_proves_nothing(old: Office, village: Kiosk) -> None:
    run(old)
    before = counts(old)["contact"]
    reply = village.cursor(seq=2, head=village.head(2).hex(), boot_id=str(_BOOT))
    assert reply.state == "ahead"
    assert counts(old)["contact"] == before


_BOOT = "0b1f6d0e-0000-4000-8000-000000000000"


def test_a_removed_day_is_not_known_and_nobody_was_absent(old: Office) -> None:
    day = MORNING.date()
    for removed in (False, True):
        if removed:
            run(old)
        with old.context.database.session() as session:
            sheet = daysheet.day_sheet(session, old.township(), day, old.clock())
        verdicts = {row.official: row.verdict for row in sheet.rows}
        assert verdicts["li-4"] == ("not_known" if removed else "absent"), removed
        assert ("zhang-3", "absent") not in verdicts.items()


def test_only_a_signed_point_lets_rows_go(old: Office) -> None:
    first = "(SELECT min(id) FROM record)"
    old.context.database.close()
    with by_hand(old.config) as raw, pytest.raises(DatabaseError, match="append-only"):
        raw.exec_driver_sql(f"DELETE FROM record WHERE id = {first}")  # noqa: S608
    run(old)
    old.context.database.close()
    for table in ("record", "contact", "audit_entry", "checkpoint_leaves"):
        with by_hand(old.config) as raw, pytest.raises(DatabaseError, match="append-only"):
            raw.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
    # Somebody with SQL access makes a limit up: the triggers let him, verify names it.
    old.context.database.close()  # two SQLite libraries of one process do not see each other
    with by_hand(old.config) as raw:
        raw.exec_driver_sql(
            "INSERT INTO prune_limit (id, point_id, table_name, last_id) "
            "SELECT 99, max(id), 'record', 999 FROM prune_point"
        )
        raw.exec_driver_sql("DELETE FROM record WHERE seq = 7")
    said = found(old)
    assert "prune_limit 99 no signed prune point says so" in said
    assert any("it was deleted after checkpoint" in line for line in said)
    assert any("record 7 of" in line for line in said)


def test_a_point_that_was_edited_or_taken_away_is_named(old: Office) -> None:
    run(old)
    attack(old.config, "UPDATE prune_point SET body = replace(body, '\"size\":', '\"size\": ')")
    assert found(old)[0] == "prune_point 1 its signature is not this server's"
    attack(old.config, "DELETE FROM prune_limit", "DELETE FROM prune_point")
    said = found(old)
    assert any(line.startswith("checkpoint ") and "root" in line for line in said)
    assert any("is missing before it" in line for line in said)


def test_a_command_that_was_stopped_half_way_is_finished_by_the_next(
    old: Office, village: Kiosk
) -> None:
    from server.services.evidence import prune as service

    with old.context.database.transaction() as session:
        number = service._closed_before(session, old.clock(), 400)
        assert number is not None
        service._announce(session, old.context.keys, number, old.clock())
    assert found(old) == [], "the point stands, every row is still there"
    with old.context.database.session() as session:
        point = retention.last(session)
        assert point is not None
        limits = retention.parse(point.body).limits
    with by_hand(old.config) as raw:
        raw.exec_driver_sql(f"DELETE FROM record WHERE id <= {limits['record'] - 2}")  # noqa: S608
    assert found(old) == []
    village.record()
    village.sync()
    assert run(old) > 0
    assert counts(old)["record"] == 6
    assert found(old) == []
    with old.context.database.session() as session:
        left = session.scalars(select(CheckpointLeaves.last_id).where(
            CheckpointLeaves.table_name == "record"
        )).all()  # fmt: skip
    assert min(left) > limits["record"]


def test_nothing_goes_while_something_is_wrong(old: Office) -> None:
    with pytest.raises(InputInvalid, match="400"):
        run(old, 399)
    now = old.clock.now
    old.clock.now = now + timedelta(days=2000)
    with pytest.raises(InputInvalid, match="clock"):
        run(old)
    old.clock.now = now
    attack(old.config, "UPDATE audit_entry SET target = 'x' WHERE id = 1")
    with pytest.raises(InputInvalid, match="audit_entry 1 it was changed"):
        run(old)
    assert counts(old)["record"] == 10


def test_no_kiosk_bears_out_a_server_that_is_years_ahead(old: Office, village: Kiosk) -> None:
    """It was set ahead, and somebody let a kiosk sync, whose own clock is right."""
    old.clock.step(days=1500)
    village.reboot()
    village.wall_off = -timedelta(days=1500)
    village.record()
    village.sync()
    checkpoint(old)
    with pytest.raises(InputInvalid, match="agrees with the server's"):
        run(old)
    assert counts(old)["record"] == 11
    village.wall_off = timedelta()
    village.record()
    village.sync()
    assert run(old) > 0, "a kiosk says that it is that late"


def aside(office: Office, other: Kiosk) -> list[int]:
    """A second history of another kiosk is set aside; the numbers of the rows that hold it."""
    other.payloads.clear()
    other.record("li-4")
    other.record("wang-5")
    assert other.upload(1, 2).status_code == 409
    with office.context.database.session() as session:
        return list(session.scalars(select(Quarantined.id).order_by(Quarantined.id)))


@pytest.mark.parametrize("moved", [False, True], ids=["here", "restored"])
def test_numbers_of_what_is_set_aside_do_not_come_again(
    old: Office, village: Kiosk, tmp_path: Path, new_database: NewDatabase, moved: bool
) -> None:
    """Else they would lie below the limit that was signed: deleted with the next pruning, or by
    anybody."""
    other = old.kiosk("石桥村", "village")
    other.record()
    other.record()
    other.sync()
    first = aside(old, other)
    assert first
    checkpoint(old)
    old.clock.step(days=500)
    village.reboot()
    village.record()
    village.sync()
    old.clock.step(hours=1)
    checkpoint(old)
    run(old)
    assert counts(old)["quarantined"] == 0
    assert found(old) == []
    office = old
    if moved:
        backup(old.config, tmp_path / "b.tar")
        config = ServerConfig(tmp_path / "again", new_database())
        restore(config, tmp_path / "b.tar", old.clock())
        office = Office(config, create_app(config, clock=old.clock), old.clock)
        other.client = office.client()
        other.cursor()
    second = aside(office, other)
    assert min(second) > max(first)
    checkpoint(office)
    with pytest.raises(DatabaseError, match="append-only"), by_hand(office.config) as raw:
        raw.exec_driver_sql("DELETE FROM quarantined")
    assert run(office) == 0
    assert counts(office)["quarantined"] == len(second)
    assert found(office) == []

"""What was written past the server has no seal of it, before a checkpoint and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import (
    Boolean,
    Connection,
    Engine,
    LargeBinary,
    NullPool,
    String,
    Text,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError

from server.backup import backup, restore
from server.config import ServerConfig, load_keys, make_keys
from server.db import Database
from server.demo import make_demo
from server.errors import AlreadyInitialised, DatabaseUnusable, NotInitialised
from server.migrate import alembic_of, migrate
from server.models import Base, RowSeal
from server.services.evidence import audit, checkpoints
from server.services.evidence.halves import middle
from server.services.evidence.seals import SEALED
from server.services.evidence.verify import Rest, verify, verify_above
from server.sqlite import LIBRARY
from server.transfer import need_empty
from tests.conftest import NewDatabase

from .conftest import MORNING, Kiosk, Machine, Office, approve

HERE = "it was not written by this server"


def found(config: ServerConfig) -> list[str]:
    """The lines of `verify`, the same where the records are read in two halves."""
    key, database = load_keys(config).sign_public, Database(config)
    try:
        with database.session() as session:
            whole = [str(bad) for bad in verify(session, key)]
        with database.session() as session, database.session() as other:
            above = middle(session, 0)
            if above is not None:
                rest = Rest(above, lambda: verify_above(other, key, above))
                assert sorted(map(str, verify(session, key, None, rest))) == sorted(whole)
        return whole
    finally:
        database.close()


def close(config: ServerConfig) -> None:
    """A checkpoint over everything there is."""
    database = Database(config)
    with database.transaction() as session:
        checkpoints.make_all(session, load_keys(config).sign_seed, MORNING)
    database.close()


@dataclass
class ByHand:
    """Somebody with the database's own client, whose guards are cut."""

    engine: Engine
    sqlite: bool

    def do(self, *statements: str, **given: Any) -> None:
        with self.engine.begin() as raw:
            if not self.sqlite:
                raw.exec_driver_sql("SET session_replication_role = replica")
            guards = self._cut(raw)
            for statement in statements:
                assert raw.execute(text(statement), given).rowcount > 0, statement
            for guard in guards:
                raw.exec_driver_sql(guard)

    def _cut(self, raw: Connection) -> list[str]:
        if not self.sqlite:
            return []
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        guards = list(raw.exec_driver_sql(query))
        for name, _ in guards:
            raw.exec_driver_sql(f"DROP TRIGGER {name}")
        return [sql for _, sql in guards]

    def one(self, query: str) -> Any:
        with self.engine.connect() as raw:
            return raw.execute(text(query)).one()


def by_hand(config: ServerConfig) -> ByHand:
    # Two libraries in one process would take each other's locks away.
    ours = {"module": LIBRARY.module} if config.is_sqlite else {}
    return ByHand(create_engine(config.url, poolclass=NullPool, **ours), config.is_sqlite)


@pytest.fixture
def worked(office: Office, village: Kiosk, desk: Machine) -> Office:
    """A morning: two check-ins and approved leave; nothing of it is closed by a checkpoint."""
    village.record("li-4")
    office.clock.step(minutes=1)
    village.record("zhang-3")
    village.sync()
    approve(office, "wang-5")
    assert found(office.config) == []
    return office


def correct(office: Office) -> None:
    """A correction that nobody asked for, approved by nobody."""
    place = office.township().id
    by_hand(office.config).do(
        "INSERT INTO correction (id, township_id, official, day, kind, reason, by, at_ms) VALUES "
        "(70, :place, 'zhang-3', '2026-03-18', 'excuse', 'x', 'shen', 1773800000000)",
        "INSERT INTO correction_decision (id, township_id, correction_id, approved, note, by, "
        "at_ms) VALUES (71, :place, 70, true, '', 'wu', 1773800000001)",
        place=place,
    )


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_a_decision_put_behind_the_newest_is_named(worked: Office, closed: bool) -> None:
    if closed:
        close(worked.config)
    correct(worked)
    wanted = [f"correction 70 {HERE}", f"correction_decision 71 {HERE}"]
    assert found(worked.config) == wanted
    close(worked.config)
    assert found(worked.config) == wanted


def test_a_seal_of_another_row_does_not_pass(worked: Office) -> None:
    correct(worked)
    hand = by_hand(worked.config)
    seal = hand.one("SELECT seal FROM row_seal WHERE table_name = 'leave'").seal
    hand.do("INSERT INTO row_seal VALUES ('correction', 70, :seal)", seal=seal)
    hand.do("INSERT INTO row_seal VALUES ('correction_decision', 71, :seal)", seal=b"short")
    hand.do("INSERT INTO row_seal VALUES ('record', 1, :seal)", seal=seal)
    assert found(worked.config) == [
        "row_seal record/1 rows of that table have no seal",
        "correction 70 it is not what this server wrote",
        "correction_decision 71 it is not what this server wrote",
    ]


def test_newest_rows_changed_or_deleted_are_named_at_once(worked: Office) -> None:
    leave = by_hand(worked.config).one("SELECT max(id) AS id FROM leave").id
    hand = by_hand(worked.config)
    hand.do("UPDATE leave SET official = 'zhang-3' WHERE id = :leave", leave=leave)
    assert found(worked.config) == [f"leave {leave} it is not what this server wrote"]
    both = "DELETE FROM leave_decision WHERE leave_id = :id", "DELETE FROM leave WHERE id = :id"
    hand.do(*both, id=leave)
    gone = found(worked.config)
    assert f"leave {leave} it was deleted: only its seal is there" in gone
    assert any(line.startswith("leave_decision") for line in gone)


#: Rows that nobody sent, looked at or set aside, and what their tables are given for it.
PASSED = {
    "contact": "INSERT INTO contact (id, township_id, device_id, server_ms, boot_id, boottime_ns, "
    "epoch, seq, pending) VALUES (90, :place, :device, 1773800000000, 'b', 1, 1, 1, 0)",
    "quarantined": "INSERT INTO quarantined (id, township_id, device_id, epoch, seq, payload, "
    "head, why, received_ms) VALUES (90, :place, :device, 1, 9, :head, :head, 'fork', "
    "1773800000000)",
    "audit_entry": "INSERT INTO audit_entry (id, township_id, at_ms, who, what, target, remote) "
    "VALUES (90, :place, 1773800000000, 'wu', 'view_day', 'x', '')",
}


def look(office: Office) -> None:
    """Somebody looks at a page."""
    with office.context.database.transaction() as session:
        audit.note_for(session, office.township().id, "wu", "view_day", "y", office.clock())


def put_passing(office: Office, device: str, *tables: str) -> None:
    by_hand(office.config).do(
        *(PASSED[table] for table in tables),
        place=office.township().id, device=device, head=b"x" * 32,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_a_contact_a_look_or_what_was_set_aside_is_named_where_nobody_wrote_it(
    worked: Office, village: Kiosk, closed: bool
) -> None:
    """Neither a checkpoint nor what comes after it ever vouches for it."""
    if closed:
        close(worked.config)
    put_passing(worked, village.device, *PASSED)
    wanted = sorted(f"{table} 90 {HERE}" for table in PASSED)
    assert sorted(found(worked.config)) == wanted
    close(worked.config)
    assert sorted(found(worked.config)) == wanted
    worked.clock.step(minutes=30)
    village.record("li-4")
    village.sync()
    look(worked)
    assert sorted(found(worked.config)) == wanted
    close(worked.config)
    # On SQLite newer rows have higher numbers, and are closed.
    between = "it was inserted among rows that a checkpoint had closed"
    said = [line.replace(between, HERE) for line in found(worked.config)]
    assert sorted(said) == wanted


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_the_newest_contact_or_look_changed_or_deleted_is_named(
    worked: Office, village: Kiosk, closed: bool
) -> None:
    hand = by_hand(worked.config)
    last = {t: hand.one(f"SELECT max(id) AS id FROM {t}").id for t in ("contact", "audit_entry")}  # noqa: S608
    hand.do("UPDATE contact SET seq = seq + 1 WHERE id = :id", id=last["contact"])
    hand.do("DELETE FROM audit_entry WHERE id = :id", id=last["audit_entry"])
    wanted = [
        f"audit_entry {last['audit_entry']} it was deleted: only its seal is there",
        f"contact {last['contact']} it is not what this server wrote",
    ]
    if closed:
        close(worked.config)
    assert sorted(found(worked.config)) == wanted


def test_the_seal_of_another_contact_does_not_pass(worked: Office, village: Kiosk) -> None:
    put_passing(worked, village.device, "contact")
    hand = by_hand(worked.config)
    seal = hand.one("SELECT seal FROM row_seal WHERE table_name = 'contact' LIMIT 1").seal
    hand.do("INSERT INTO row_seal VALUES ('contact', 90, :seal)", seal=seal)
    assert found(worked.config) == ["contact 90 it is not what this server wrote"]
    close(worked.config)
    assert found(worked.config) == ["contact 90 it is not what this server wrote"]


def test_seals_of_contacts_and_looks_go_with_the_checkpoint_and_not_before(
    worked: Office, village: Kiosk
) -> None:
    hand = by_hand(worked.config)
    many = "SELECT count(*) AS many FROM row_seal WHERE table_name IN ('contact', 'audit_entry')"
    assert hand.one(many).many > 0
    away = "DELETE FROM row_seal WHERE table_name = 'audit_entry'"
    with hand.engine.connect() as raw, pytest.raises(DatabaseError, match="append-only"):
        raw.execute(text(away))
    close(worked.config)
    assert hand.one(many).many == 0
    others = "SELECT count(*) AS many FROM row_seal"
    assert hand.one(others).many > 0
    assert found(worked.config) == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> ServerConfig:
    config = ServerConfig(tmp_path_factory.mktemp("sealed") / "server", new_database())
    list(make_demo(config, 6, 2, 3, MORNING))
    return config


def test_every_sealed_table_is_sealed_as_it_is_written(
    demo: ServerConfig, tmp_path: Path, new_database: NewDatabase
) -> None:
    """Rows that the demo has, and one of each table made here, however it was typed."""
    assert found(demo) == []
    database = Database(demo)
    classes = {mapper.local_table.name: mapper.class_ for mapper in Base.registry.mappers}
    kinds: dict[type, object] = {String: "甲", Text: "{}", LargeBinary: b"\0\1", Boolean: True}
    with database.transaction() as session:
        for table in Base.metadata.sorted_tables:
            if table.name not in SEALED:
                continue
            made: dict[str, Any] = {}
            for column in table.columns:
                if column.name == "id":
                    continue
                value: Any = kinds.get(type(column.type), 1)
                for key in column.foreign_keys:
                    value = session.scalar(select(func.max(key.column)))
                made[column.name] = [1] if column.type.python_type in (dict, list) else value
            session.add(classes[table.name](**made))
            session.flush()
        number = session.scalar(select(func.count(func.distinct(RowSeal.table_name))))
    database.close()
    assert number == len(SEALED)
    assert found(demo) == []


def rows_of(config: ServerConfig) -> int:
    database = Database(config)
    try:
        with database.session() as session:
            return session.scalar(select(func.count()).select_from(RowSeal)) or 0
    finally:
        database.close()


def put_back(config: ServerConfig, until: str = "0090") -> None:
    """The database, and the folder, as the release before seals left it."""
    config.sealed.unlink(missing_ok=True)
    database = Database(config)
    with database.writer.connect() as connection, connection.begin():
        command.downgrade(alembic_of(connection), until)
    database.close()


def revision(config: ServerConfig) -> str:
    return str(by_hand(config).one("SELECT version_num FROM alembic_version")[0])


def test_what_is_there_is_sealed_once_as_a_release_with_seals_comes(worked: Office) -> None:
    config = worked.config
    before = rows_of(config)
    put_back(config)
    (config.data / "server.key").rename(config.data / "away")
    with pytest.raises(NotInitialised):
        migrate(config)
    assert revision(config) == "0090", "nothing was done by halves"
    (config.data / "away").rename(config.data / "server.key")
    migrate(config)
    assert rows_of(config) == before > 0
    assert found(config) == []
    correct(worked)
    migrate(config)
    assert found(config) == [f"correction 70 {HERE}", f"correction_decision 71 {HERE}"]


def test_contacts_and_looks_that_no_checkpoint_closed_are_sealed_once(worked: Office) -> None:
    config = worked.config
    close(config)
    put_back(config, "0091")
    before = rows_of(config)
    look(worked)
    by_hand(config).do("DELETE FROM row_seal WHERE table_name = 'audit_entry'")
    migrate(config)
    assert rows_of(config) == before + 1
    assert found(config) == []


def test_a_database_that_was_set_back_is_not_sealed_again(worked: Office) -> None:
    """Somebody who has the database, and not the server's folder, put a correction in."""
    config = worked.config
    migrate(config)  # as each start does
    since = config.sealed.read_text("ascii")
    correct(worked)
    put_back(config)
    config.sealed.write_text(since, "ascii")
    with pytest.raises(DatabaseUnusable, match="set it back"):
        migrate(config)
    assert revision(config) == "0090"


def test_another_servers_database_is_not_sealed_with_the_wrong_key(
    worked: Office, tmp_path: Path
) -> None:
    if worked.config.is_sqlite:
        pytest.skip("a file lies beside its keys")
    put_back(worked.config)
    other = ServerConfig(tmp_path / "other", worked.config.database_url)
    make_keys(other)
    with pytest.raises(AlreadyInitialised):
        need_empty(other)
    assert revision(worked.config) == "0090"
    migrate(worked.config)
    assert found(worked.config) == []


def test_an_older_backup_is_sealed_as_it_is_restored(
    worked: Office, tmp_path: Path, new_database: NewDatabase
) -> None:
    if not worked.config.is_sqlite:
        pytest.skip("a backup is a SQLite file, whatever it was made of")
    put_back(worked.config)
    backup(worked.config, tmp_path / "old.tar")
    again = ServerConfig(tmp_path / "again")
    restore(again, tmp_path / "old.tar", MORNING)
    assert rows_of(again) > 0
    assert found(again) == []

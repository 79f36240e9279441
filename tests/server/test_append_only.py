"""What was stored stays as it was: refused by the database, and found where its guards were cut."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import (
    Boolean,
    Connection,
    LargeBinary,
    NullPool,
    String,
    Text,
    create_engine,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError, IntegrityError

from server.config import ServerConfig, load_keys, make_keys
from server.db import Database
from server.demo import make_demo
from server.migrate import migrate
from server.models import Base
from server.services.evidence import checkpoints, seals
from server.services.evidence.halves import middle
from server.services.evidence.protected import COLUMNS, PROTECTED
from server.services.evidence.verify import Bad, Rest, verify, verify_above
from tests.conftest import NewDatabase

from .conftest import MORNING


@dataclass
class Copies:
    """A township that ends on a checkpoint, and as many copies of it as are to be spoiled."""

    config: ServerConfig
    new_database: NewDatabase

    def copy(self, folder: Path) -> ServerConfig:
        shutil.copytree(self.config.data, folder)
        return ServerConfig(folder, self.new_database(self.config.database_url))


@pytest.fixture(scope="module")
def township(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Copies:
    """A demo township with a row in every protected table."""
    config = ServerConfig(tmp_path_factory.mktemp("township") / "server", new_database())
    list(make_demo(config, 9, 4, 5, MORNING))
    with by_hand(config) as raw:
        device, mine = raw.exec_driver_sql(
            "SELECT id, township_id FROM device ORDER BY kind, id LIMIT 1"
        ).one()
        for table in ("rejected_record", "quarantined"):
            raw.execute(
                text(
                    f"INSERT INTO {table} (township_id, device_id, epoch, seq, payload, head, "  # noqa: S608
                    "why, received_ms) VALUES (:mine, :device, 1, 1, :zero, :zero, 'x', 1)"
                ),
                {"mine": mine, "device": device, "zero": b"\0"},
            )
        raw.execute(
            text(
                "INSERT INTO withdrawal (township_id, official, at_ms, device_id, received_ms) "
                "VALUES (:mine, 'QS-001', 1, :device, 1)"
            ),
            {"mine": mine, "device": device},
        )
        if not config.is_sqlite:
            raw.exec_driver_sql("SET session_replication_role = replica")
        _fill(raw)
    database = Database(config)
    with database.transaction() as session:
        for late in (seals.seal_all, seals.seal_passing):  # what was put there by hand
            late(session, load_keys(config).sign_seed)
        checkpoints.make_all(session, load_keys(config).sign_seed, MORNING)
    database.close()
    return Copies(config, new_database)


def _fill(raw: Connection) -> None:
    """A row, of whatever fits, in every table that the demo left empty."""
    for name in COLUMNS:
        table = Base.metadata.tables[name]
        if raw.scalar(select(func.count()).select_from(table)):
            continue
        kinds: dict[type, object] = {String: "x", Text: "{}", LargeBinary: b"\0", Boolean: True}
        made_up = {c.name: kinds.get(type(c.type), 1) for c in table.columns}
        raw.execute(table.insert(), made_up)


@pytest.fixture
def copy(township: Copies, tmp_path: Path) -> ServerConfig:
    """The township again, to be spoiled."""
    return township.copy(tmp_path / "server")


@pytest.fixture
def file(copy: ServerConfig) -> ServerConfig:
    """The same where it is a SQLite file: PostgreSQL lets no value of another type in."""
    if not copy.is_sqlite:
        pytest.skip("PostgreSQL's columns have types that nobody gets round")
    return copy


#: What is said of the rest of a chain after a row that was spoiled: of that rest, each half has its
#: own view.
FOLLOWS = re.compile(
    "was never opened|lies before that|missing before it|the chain ends at|"
    "has no first epoch|cited head"
)


def found(config: ServerConfig, witness: Path | None = None) -> list[Bad]:
    """What `verify` finds, which is the same where the records are read in two halves."""
    seen = None if witness is None else checkpoints.read_witness(witness)
    key = load_keys(config).sign_public
    database = Database(config)
    try:
        with database.session() as session:
            whole = list(verify(session, key, seen))
        with database.session() as session, database.session() as other:
            above = middle(session, 0) or 0
            rest = Rest(above, lambda: verify_above(other, key, above))
            halves = list(verify(session, key, seen, rest))
        apart = [bad for bad in (*whole, *halves) if (bad in whole) != (bad in halves)]
        if not any(bad.table.startswith("checkpoint") for bad in halves):
            assert [bad for bad in apart if not FOLLOWS.search(bad.reason)] == []
        assert bool(halves) == bool(whole)
        return whole
    finally:
        database.close()


@contextmanager
def by_hand(config: ServerConfig) -> Iterator[Connection]:
    """A plain connection, as somebody with the database's own client has one; commits."""
    engine = create_engine(config.url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
        connection.commit()


def attack(config: ServerConfig, *statements: str) -> None:
    """SQL by somebody who can write the file: cuts the guards, does it, puts the guards back."""
    with by_hand(config) as raw:
        guards = []
        if config.is_sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            guards = list(raw.exec_driver_sql(query))
            for name, _ in guards:
                raw.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            raw.exec_driver_sql("SET session_replication_role = replica")
        for statement in statements:
            assert raw.exec_driver_sql(statement).rowcount > 0, statement
        for _, sql in guards:
            raw.exec_driver_sql(sql)


def newest(config: ServerConfig, table: str) -> int:
    with by_hand(config) as raw:
        return int(raw.exec_driver_sql(f"SELECT max(id) FROM {table}").scalar_one())  # noqa: S608


def test_the_database_refuses_to_change_or_delete(copy: ServerConfig) -> None:
    zero = "zeroblob(64)" if copy.is_sqlite else "decode(repeat('00', 64), 'hex')"
    with by_hand(copy) as raw:
        raw.exec_driver_sql(f"INSERT INTO prune_point VALUES (1, 1, 1, '', {zero})")  # noqa: S608
        raw.exec_driver_sql("INSERT INTO prune_limit VALUES (1, 1, 'leave', -9)")
    with by_hand(copy) as raw:
        for table in PROTECTED:
            assert raw.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() > 0, table  # noqa: S608
            raw.rollback()
            for statement in (f"UPDATE {table} SET id = id", f"DELETE FROM {table}"):  # noqa: S608
                with pytest.raises(DatabaseError, match=f"{table} is append-only"):
                    raw.exec_driver_sql(statement)
                raw.rollback()


def test_what_empties_or_replaces_is_refused_on_our_own_connections(copy: ServerConfig) -> None:
    statement = "TRUNCATE leave CASCADE"
    if copy.is_sqlite:
        statement = "REPLACE INTO leave SELECT * FROM leave"
    database = Database(copy)
    with database.session(write=True) as session, pytest.raises(Exception, match="append-only"):
        session.connection().exec_driver_sql(statement)
    database.close()


@pytest.mark.parametrize("tables", [("record",), tuple(COLUMNS)], ids=["one", "all"])
def test_verify_names_the_row_that_was_updated_inserted_or_deleted(
    copy: ServerConfig, tables: tuple[str, ...]
) -> None:
    """In this order: each is found beside what was done before it, in one table or in all."""
    last = {table: newest(copy, table) for table in tables}
    attack(copy, *(f"UPDATE {t} SET {_time(t)} = {_time(t)} + 1 WHERE id = {last[t]}"  # noqa: S608
                   for t in tables))  # fmt: skip
    rest = [bad for bad in found(copy) if not _made_up(bad)]
    assert sorted((bad.table, bad.rowid) for bad in rest) == sorted(last.items())
    assert all("changed after checkpoint" in bad.reason for bad in rest)
    # The one way in between: below the lowest id, since above the highest is what is new.
    attack(copy, *map(_between, tables))
    inserted = {(b.table, b.rowid) for b in found(copy) if "inserted" in b.reason}
    assert {(table, -5) for table in tables} <= inserted
    attack(copy, *(f"DELETE FROM {t} WHERE id = {last[t]}" for t in tables))  # noqa: S608
    deleted = {(b.table, b.rowid) for b in found(copy) if "deleted" in b.reason}
    assert set(last.items()) <= deleted


def _time(table: str) -> str:
    """A column of the table that holds a time or a count."""
    usual = "received_ms" if "received_ms" in COLUMNS[table] else "at_ms"
    return {"epoch": "opened_ms", "leave": "asked_ms", "contact": "pending"}.get(table, usual)


def _between(table: str) -> str:
    """SQL that copies a row to a number below all others."""
    names = [n for n in COLUMNS[table] if n != "id"]
    fresh = {"seq": "seq + 999999", "record_id": "'00000000-0000-4000-8000-000000000000'",
             "epoch": "epoch + {bump}", "month": "'1999-01'", "number": "'0'",
             "correction_id": "correction_id + 999999",
             "proposal_id": "proposal_id + 999999"}  # fmt: skip
    bump = 7 if table == "epoch" else 0
    values = ",".join(fresh.get(n, f'"{n}"').format(bump=bump) for n in names)
    columns = ",".join(f'"{n}"' for n in names)
    return f"INSERT INTO {table} (id, {columns}) SELECT -5, {values} FROM {table} LIMIT 1"  # noqa: S608


def _made_up(bad: Bad) -> bool:
    """What the fixture's own made-up rows are known for."""
    return bad.table == "rejected_record" and ("kiosk" in bad.reason or "chain" in bad.reason)


def test_what_is_no_text_at_all_does_not_blind_verify(file: ServerConfig) -> None:
    copy = file
    for table, column in (("record", "official"), ("audit_entry", "target")):
        good = copy.database_file.read_bytes()
        for value in ("CAST(x'ff00fe' AS TEXT)", "zeroblob(9)", "1e400", "NULL"):
            with contextlib.suppress(IntegrityError):  # of NOT NULL
                attack(copy, f"UPDATE {table} SET {column} = {value} WHERE id = 3")  # noqa: S608
                assert (table, 3) in [(bad.table, bad.rowid) for bad in found(copy)], value
            copy.database_file.write_bytes(good)


def test_values_of_another_type_are_named_and_stop_nothing(file: ServerConfig) -> None:
    copy = file
    odd = ("'text'", "x'ff'", "1.5", "-9223372036854775808")
    columns = (
        ("epoch", "epoch"), ("epoch", "cites"), ("epoch", "device_id"), ("rejected_record", "seq"),
        ("rejected_record", "head"), ("record", "seq"), ("record", "payload"), ("record", "head"),
        ("record", "at_ms"), ("record", "flags"), ("checkpoint", "root"), ("checkpoint", "at_ms"),
        ("checkpoint", "signature"), ("checkpoint_leaves", "leaves"), ("contact", "server_ms"),
        ("checkpoint_leaves", "table_name"), ("checkpoint_leaves", "last_id"),
    )  # fmt: skip
    for turn, (table, column) in enumerate(columns):
        good = copy.database_file.read_bytes()
        rowid = 1
        for value in odd[turn % 2 :: 2]:
            attack(copy, f"UPDATE {table} SET {column} = {value} WHERE id = {rowid}")  # noqa: S608
            named = [(bad.table, bad.rowid) for bad in found(copy)]
            # Of other leaves the root no longer fits.
            culprit = "checkpoint" if column == "leaves" else table
            assert (culprit, rowid) in named, (table, column, value)
            copy.database_file.write_bytes(good)


def test_two_processes_name_the_row_in_either_half(copy: ServerConfig) -> None:
    last = newest(copy, "record")
    attack(copy, *(f"UPDATE record SET at_ms = at_ms + 1 WHERE id = {n}" for n in (1, last)))  # noqa: S608
    program = (
        "from pathlib import Path\n"
        "from server.config import ServerConfig, load_keys\n"
        "from server.services.evidence.halves import verify_in_two\n"
        f"config = ServerConfig(Path({str(copy.data)!r}), {copy.database_url!r})\n"
        "key = load_keys(config).sign_public\n"
        "for bad in verify_in_two(config, key, worth_it=0):\n"
        "    print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = [line.split() for line in done.stdout.splitlines() if "changed after" in line]
    named = [rowid for table, rowid, *_ in said if table == "record"]
    assert named == ["1", str(last)], done.stderr


def test_guards_that_were_cut_are_named(copy: ServerConfig) -> None:
    with by_hand(copy) as raw:
        if copy.is_sqlite:
            raw.exec_driver_sql("DROP TRIGGER contact_no_delete")
            raw.exec_driver_sql("DROP TRIGGER leave_no_update")
            raw.exec_driver_sql(
                "CREATE TRIGGER leave_no_update BEFORE UPDATE ON leave WHEN 0 "
                "BEGIN SELECT RAISE(ABORT, 'leave is append-only'); END"
            )
        else:
            raw.exec_driver_sql("ALTER TABLE contact DISABLE TRIGGER contact_no_change")
            raw.exec_driver_sql("DROP TRIGGER leave_no_change ON leave")
            raw.exec_driver_sql(
                "CREATE TRIGGER leave_no_change BEFORE UPDATE OR DELETE ON leave FOR EACH ROW "
                "WHEN (false) EXECUTE FUNCTION quxiang_append_only()"
            )
    cut = [bad.table for bad in found(copy) if bad.rowid == "-"]
    assert cut == ["contact", "leave"]


def test_a_guard_that_was_hollowed_out_is_named(copy: ServerConfig) -> None:
    if copy.is_sqlite:
        pytest.skip("SQLite's triggers call no function")
    with by_hand(copy) as raw:
        raw.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION quxiang_append_only() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NEW; END $$"
        )
    assert {bad.table for bad in found(copy) if bad.rowid == "-"} == set(PROTECTED)


def test_leaves_and_checkpoints_vouch_for_themselves(township: Copies, tmp_path: Path) -> None:
    zeros = {32: "zeroblob(32)", 0: "zeroblob(length(leaves))"}
    if not township.config.is_sqlite:
        zeros = {n: "decode(repeat('00', %s), 'hex')" % (n or "length(leaves)") for n in zeros}
    number = newest(township.config, "checkpoint")
    for turn, (statement, word) in enumerate(
        (
            (f"UPDATE checkpoint_leaves SET leaves = {zeros[0]} WHERE id = 1", "root"),  # noqa: S608
            (f"UPDATE checkpoint SET root = {zeros[32]} WHERE id = {number}", "signature"),  # noqa: S608
            (f"UPDATE checkpoint SET at_ms = at_ms + 1 WHERE id = {number}", "signature"),  # noqa: S608
            ("DELETE FROM checkpoint WHERE id = 1", "missing"),
        )
    ):
        copy = township.copy(tmp_path / str(turn))
        attack(copy, statement)
        bad = [b.reason for b in found(copy) if b.table == "checkpoint"]
        assert any(word in reason for reason in bad), (statement, bad)


def test_a_witness_sees_what_the_servers_own_key_can_hide(
    copy: ServerConfig, tmp_path: Path
) -> None:
    keys, file = load_keys(copy), tmp_path / "witness.json"
    database = Database(copy)
    with database.session() as session:
        checkpoints.write_witness(session, keys.sign_public, file)
    database.close()
    assert [b for b in found(copy, file) if not _made_up(b)] == []
    # Root with the key deletes an entry and signs everything anew.
    rowid = newest(copy, "audit_entry")
    attack(copy, f"DELETE FROM audit_entry WHERE id = {rowid}", "DELETE FROM checkpoint_leaves",  # noqa: S608
           "DELETE FROM checkpoint")  # fmt: skip
    database = Database(copy)
    with database.transaction() as session:
        seals.seal_passing(session, keys.sign_seed)
        checkpoints.make_all(session, keys.sign_seed, MORNING)
        # A witness that knows better is not overwritten.
        with pytest.raises(ValueError, match="not overwritten"):
            checkpoints.write_witness(session, keys.sign_public, file)
    database.close()
    assert [b for b in found(copy) if not _made_up(b)] == []
    said = [b.reason for b in found(copy, file) if b.table == "checkpoint"]
    assert said
    assert all("the witness holds" in reason for reason in said)


def test_a_batch_longer_than_one_checkpoint_takes_several(copy: ServerConfig) -> None:
    attack(copy, "DELETE FROM checkpoint_leaves", "DELETE FROM checkpoint")
    database, keys = Database(copy), load_keys(copy)
    with database.transaction() as session:
        seals.seal_passing(session, keys.sign_seed)
        sizes = []
        while (made := checkpoints.make(session, keys.sign_seed, MORNING, most=50)) is not None:
            sizes.append(made.size)
    database.close()
    assert len(sizes) > 2
    assert sizes[:-1] == [50 * n for n in range(1, len(sizes))]
    assert [b for b in found(copy) if not _made_up(b)] == []


def test_every_column_is_vouched_for() -> None:
    for table, columns in COLUMNS.items():
        assert set(columns) == set(Base.metadata.tables[table].columns.keys()), table


def test_the_revision_guards_every_protected_table_and_can_be_undone(
    tmp_path: Path, new_database: NewDatabase
) -> None:
    from alembic import command

    from server.migrate import alembic_of

    config = ServerConfig(tmp_path / "server", new_database())
    make_keys(config)
    migrate(config)
    assert found(config) == []
    database = Database(config)
    with database.engine.connect() as connection, connection.begin():
        command.downgrade(alembic_of(connection), "0001")
        assert "checkpoint" not in inspect(connection).get_table_names()
    database.close()
    config.sealed.unlink()
    migrate(config)
    assert found(config) == []


def test_what_records_refer_to_is_there_and_stays(copy: ServerConfig) -> None:
    columns = ", ".join(c.name for c in Base.metadata.tables["record"].columns if c.name != "id")
    database = Database(copy)

    def refused(statement: str) -> None:
        with pytest.raises(IntegrityError), database.engine.begin() as raw:
            raw.exec_driver_sql(statement)

    for column, wrong in (("device_id", "'nobody'"), ("site_id", "987"), ("township_id", "987")):
        # Another record beside the last one, and in it one reference to what is not there.
        given = re.sub(rf"\b{column}\b", wrong, columns)
        given = re.sub(r"\bseq\b", "seq + 100000", given)
        given = re.sub(r"\brecord_id\b", "'another'", given)
        refused(
            f"INSERT INTO record ({columns}) SELECT {given} FROM record "  # noqa: S608
            "WHERE id = (SELECT max(id) FROM record)"
        )
    # What has records and nothing else would be let go, were it not for them.
    with by_hand(copy) as raw:
        mine = raw.exec_driver_sql("SELECT max(township_id) FROM record").scalar_one()
        raw.execute(text("INSERT INTO site (id, township_id, name, kind) VALUES (7070, :mine, "
                         "'x', 'village')"), {"mine": mine})  # fmt: skip
        given = re.sub(r"\bsite_id\b", "7070", columns)
        given = re.sub(r"\bseq\b", "seq + 100000", given)
        given = re.sub(r"\brecord_id\b", "'another'", given)
        raw.exec_driver_sql(
            f"INSERT INTO record ({columns}) SELECT {given} FROM record "  # noqa: S608
            "WHERE id = (SELECT max(id) FROM record)"
        )
    refused("DELETE FROM site WHERE id = 7070")
    refused("UPDATE site SET id = 7071 WHERE id = 7070")
    with database.engine.begin() as raw:
        raw.exec_driver_sql("UPDATE site SET name = 'y', id = 7070 WHERE id = 7070")
        raw.execute(text("INSERT INTO site (id, township_id, name, kind) VALUES (7072, :mine, "
                         "'z', 'village')"), {"mine": mine})  # fmt: skip
        raw.exec_driver_sql("DELETE FROM site WHERE id = 7072")
    database.close()

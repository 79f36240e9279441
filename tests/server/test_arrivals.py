"""What is made of records before they are written, and how a day's are found again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import literal_column, select, text

from attendance.days import DAY_MS, MAX_MS, MIN_MS
from server.models import Device, RecordRow, Site
from server.models.evidence import DAY_NUMBER
from server.services.records import intake, uploads
from server.services.records.arrivals import Arrivals, fits, foresee
from server.services.records.recordrows import _day_number, between, day_number
from server.services.township.townships import only_township
from server.services.township.whereabouts import board_version

from .conftest import Kiosk, Machine, Office, ms

MOMENTS = (MIN_MS, -28_800_001, -28_800_000, -1, 0, 57_599_999, 57_600_000, MAX_MS)


@pytest.mark.parametrize("at_ms", MOMENTS)
def test_both_databases_put_a_moment_on_the_day_that_is_asked_for(
    office: Office, at_ms: int
) -> None:
    said = DAY_NUMBER.replace("at_ms", f"CAST({at_ms} AS BIGINT)")
    query = between(at_ms, at_ms + 5).compile(compile_kwargs={"literal_binds": True})
    first = str(query).partition("BETWEEN ")[2].partition(" ")[0]
    with office.context.database.session() as session:
        assert session.scalar(select(literal_column(said))) == int(first)


@given(st.integers(-3 * DAY_MS, 3 * DAY_MS), st.integers(0, 2 * DAY_MS), st.integers(0, 2 * DAY_MS))
def test_whatever_lies_between_lies_on_these_days(first: int, width: int, at: int) -> None:
    inside = first + min(at, width)
    assert _day_number(first) <= _day_number(inside) <= _day_number(first + width)


def plan(office: Office, query: str) -> str:
    """How the database goes about it, were the table large."""
    with office.context.database.session() as session:
        if office.config.is_sqlite:
            rows = session.execute(text(f"EXPLAIN QUERY PLAN {query}"))
            return "\n".join(str(row[3]) for row in rows)
        session.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(row[0] for row in session.execute(text(f"EXPLAIN {query}")))


def test_days_and_what_is_ahead_are_found_by_their_indexes(office: Office) -> None:
    day = between(0, 5).compile(compile_kwargs={"literal_binds": True})
    asked = f"SELECT id FROM record WHERE township_id = 1 AND {day}"  # noqa: S608 - ours
    assert "ix_record_day" in plan(office, asked)
    ahead = "township_id = 1 AND record.at_ms > record.received_ms AND at_ms BETWEEN 1 AND 5"
    ahead = f"SELECT max(at_ms) FROM record WHERE {ahead}"  # noqa: S608
    assert "ix_record_ahead" in plan(office, ahead)
    who = "township_id = 1 AND official = 'a' AND at_ms BETWEEN 1 AND 5"
    newest = f"SELECT at_ms FROM record WHERE {who} ORDER BY at_ms DESC LIMIT 1"  # noqa: S608
    assert "ix_record_who" in plan(office, newest)


def test_what_days_hold_is_counted_as_the_index_has_it(office: Office) -> None:
    made = day_number().compile()
    assert not made.params, "an index over an expression is found by its exact words"
    day = str(made)
    days = f"township_id = 1 AND {day} BETWEEN 20605 AND 20635"
    asked = f"SELECT {day}, count(*) FROM record WHERE {days} GROUP BY {day}"  # noqa: S608 - ours
    said = plan(office, asked)
    assert "ix_record_day" in said
    assert "TEMP B-TREE" not in said, "in the order of the index"
    if not office.config.is_sqlite:
        with office.context.database.session() as session:
            names = ("jit", "max_parallel_workers_per_gather", "work_mem")
            held = [session.scalar(text(f"SHOW {name}")) for name in names]
        assert held == ["off", "0", "32MB"], "no page waits for a process or a compiler"


def test_a_record_ahead_of_its_time_changes_the_board_when_it_comes(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    def version() -> str:
        with office.context.database.session() as session:
            return board_version(session, only_township(session, "青山乡"), office.clock())

    village.record()
    village.upload()
    with office.context.database.transaction() as session:
        # As a clock that contradicts its contacts leaves it: the wall's word, an hour ahead.
        row = session.execute(select(RecordRow.__table__)).mappings().one()
        later = {name: row[name] + 3_600_000 for name in ("at_ms", "latest_ms")}
        copy = {**row, **later, "id": row["id"] + 1, "seq": 2, "record_id": "another"}
        session.execute(RecordRow.__table__.insert().values(copy))
    before = version()
    office.clock.now += timedelta(minutes=30)
    assert version() == before
    office.clock.now += timedelta(minutes=40)
    assert version() != before


def foreseen(office: Office, village: Kiosk, first: int = 1) -> tuple[uploads.Upload, Arrivals]:
    device = office.device(village.device)
    upload = uploads.read_batch(device.id, device.sign_key, village.batch(first))
    with office.context.database.session() as session:
        found = foresee(session, device.id, upload, office.clock())
    assert found is not None
    return upload, found


def test_what_was_foreseen_is_stored_with_the_time_of_storing(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record()
    upload, found = foreseen(office, village)
    office.clock.now += timedelta(seconds=3)
    with office.context.database.transaction() as session:
        device = session.get_one(Device, village.device)
        assert fits(found, device, 0)
        reply = intake.store(session, device, upload, office.clock(), found)
    assert [result.result for result in reply.results] == ["stored"]
    with office.context.database.session() as session:
        row = session.scalars(select(RecordRow)).one()
        assert row.received_ms == ms(office.clock.now)
        assert row.latest_ms <= row.received_ms


def test_a_kiosk_that_was_moved_meanwhile_is_looked_at_again(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record()
    upload, found = foreseen(office, village)
    with office.context.database.transaction() as session:
        device = session.get_one(Device, village.device)
        site = Site(township_id=device.township_id, name="别处", kind="office")
        session.add(site)
        session.flush()
        device.site_id = site.id
        assert not fits(found, device, 0)
        intake.store(session, device, upload, office.clock(), found)
        moved = site.id
    with office.context.database.session() as session:
        assert session.scalars(select(RecordRow.site_id)).one() == moved


def test_only_what_follows_is_foreseen(office: Office, desk: Machine, village: Kiosk) -> None:
    for _ in range(3):
        village.record()
    device = office.device(village.device)
    late = uploads.read_batch(device.id, device.sign_key, village.batch(2))
    with office.context.database.session() as session:
        assert foresee(session, device.id, late, office.clock()) is None
    assert foreseen(office, village)[1].start == 0
    village.upload()
    again = uploads.read_batch(device.id, device.sign_key, village.batch(1))
    with office.context.database.session() as session:
        assert foresee(session, device.id, again, office.clock()) is None

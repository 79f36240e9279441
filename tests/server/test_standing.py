"""Where everybody is, as the board and the kiosks are told, and the leave that bears on it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from attendance import wire
from attendance.days import day_start_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import FUTURE_TOLERANCE_MS, whereabouts
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Device, LeaveRow, RecordRow, User
from server.services.public.publicboard import public_rows
from server.services.township import leave
from server.services.township.newest import fact_of_row
from server.services.township.townships import officials, only_township
from server.services.township.whereabouts import board_version, whereabouts_at

from .conftest import MORNING, Kiosk, Machine, Office, approve, ms

TODAY = date(2026, 3, 18)


def test_the_public_row_is_too_narrow_to_leak(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record(reason="sick", until_ms=ms(MORNING) + 3_600_000)
    village.sync()
    with office.context.database.session() as session:
        row = public_rows(session, only_township(session), office.clock())[0]
    assert (row.name, row.status, row.colour, row.shape) == (
        "张三",
        "in_village",
        "yellow",
        "square",
    )
    assert row.until == MORNING + timedelta(hours=1)
    words = str(row)
    assert not any(secret in words for secret in ("zhang-3", "杏树村", "sick", str(ms(MORNING))))


def test_the_board_s_version_changes_with_the_board(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    def version() -> str:
        with office.context.database.session() as session:
            return board_version(session, only_township(session), office.clock())

    seen = [version()]
    assert version() == seen[0]
    village.record()
    village.sync()
    seen.append(version())
    approve(office, "li-4", start=MORNING + timedelta(hours=1))
    seen.append(version())
    office.clock.step(hours=1)  # the leave begins
    seen.append(version())
    with office.context.database.transaction() as session:
        leader = session.query(User).filter_by(role="leader").one()
        number = session.query(LeaveRow).one().id
        leave.step(session, number, "withdrawn", "", leader, office.clock())
    seen.append(version())
    office.clock.step(hours=9)  # and is over
    seen.append(version())
    office.clock.step(hours=9)  # another day
    seen.append(version())
    assert len(set(seen)) == len(seen)


def test_leave_is_found_without_reading_the_townships_years_of_it(
    office: Office, desk: Machine
) -> None:
    database = office.context.database
    if database.engine.dialect.name != "sqlite":
        pytest.skip("the plan of an empty PostgreSQL says nothing")
    approve(office, "li-4", start=MORNING)
    plans: list[str] = []

    def seen(connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[3] for row in rows)

    event.listen(database.engine, "before_cursor_execute", seen)
    try:
        with database.session() as session:
            place = only_township(session)
            board_version(session, place, office.clock())
            leave.absences(session, place, ms(MORNING), ms(MORNING) + 1000)
    finally:
        event.remove(database.engine, "before_cursor_execute", seen)
    of_leave = [plan for plan in plans if " leave" in plan and "ROWID" not in plan.upper()]
    assert len(of_leave) >= 6
    for plan in of_leave:
        assert not plan.startswith("SCAN"), plan
        assert not plan.endswith("(township_id=?)"), plan


def test_leave_is_asked_by_clerks_and_decided_by_other_leaders(
    office: Office, desk: Machine
) -> None:
    clerk, inspector = office.user("wenshu", "clerk"), office.user("dudao", "inspector")
    leader, other = office.user("wang", "leader", "wang-5"), office.user("lingdao", "leader")
    day = timedelta(days=1)
    now = office.clock()
    with office.context.database.transaction() as session:
        place = only_township(session)

        def ask(code: str = "wang-5", by: User = clerk, status: Status = Status.ON_LEAVE,
                length: timedelta = day) -> int:  # fmt: skip
            return leave.ask(session, place, code, status, now, now + length, "r", by, now).id

        with pytest.raises(NotAllowed):
            ask(by=inspector)
        with pytest.raises(NotFound):
            ask(code="nobody")
        for bad in ({"status": Status.ON_DUTY}, {"length": -day}, {"length": timedelta(0)}):
            with pytest.raises(InputInvalid):
                ask(**bad)  # type: ignore[arg-type]
        asked = ask()
        for nobody in (clerk, inspector, leader):
            with pytest.raises(NotAllowed):
                leave.decide(session, asked, True, nobody, now)
        leave.decide(session, asked, True, other, now)
        leave.decide(session, asked, False, other, now)
        found = leave.listing(session, place)
        assert [(f.state, f.decided_by) for f in found] == [("refused", "lingdao")]
        assert [one.void for one in leave.absences(session, place, ms(now), ms(now))] == [True]


@pytest.mark.parametrize("by", ["a leader", "the county"])
def test_what_was_declared_and_refused_shows_nowhere(
    office: Office, desk: Machine, village: Kiosk, by: str
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    village.cursor()
    village.record("li-4", status=Status.IN_VILLAGE)
    office.clock.step(minutes=5)
    village.record("li-4", kind=Kind.DECLARE, status=Status.ON_LEAVE)
    village.record("zhang-3", kind=Kind.DECLARE, status=Status.ON_LEAVE)
    village.sync()

    def shown() -> dict[str, tuple[Status, bool]]:
        answer = village.send("GET", wire.WHEREABOUTS)
        rows = wire.decode(answer.data, wire.Snapshot).rows
        with office.context.database.snapshot() as session:
            place, now = only_township(session), office.clock()
            everybody = {w.official: w.where for w in whereabouts_at(session, place, now)}
        for row in rows:
            where = everybody[row.official]
            assert (row.status, row.pending) == (where.status, where.pending)
            assert row.void == list(where.void)
        return {row.official: (row.status, row.pending) for row in rows}

    declared = (Status.ON_LEAVE, True)
    assert shown() == {"li-4": declared, "zhang-3": declared}
    now, tonight = office.clock(), MORNING + timedelta(hours=9)
    with office.context.database.transaction() as session:
        place = only_township(session)
        # It begins in the evening, and the refusal is of the day for all that.
        until = tonight + timedelta(days=9 if by == "the county" else 0, hours=1)
        asked = leave.ask(
            session, place, "li-4", Status.ON_LEAVE, tonight, until, "", clerk, now
        ).id
    assert shown()["li-4"] == declared, "nobody has decided"
    with office.context.database.transaction() as session:
        leave.decide(session, asked, by == "the county", leader, now)
        if by == "the county":
            leave.step(session, asked, "county_refused", "县字 1 号", clerk, now)
    assert shown() == {"li-4": (Status.IN_VILLAGE, False), "zhang-3": declared}
    office.clock.step(minutes=5)
    village.record("li-4", kind=Kind.DECLARE, status=Status.BUSINESS_TRIP)
    village.sync()
    assert shown()["li-4"] == (Status.BUSINESS_TRIP, True), "another kind waits for its own answer"


@given(
    st.lists(
        st.tuples(
            st.integers(-3, 9), st.sampled_from("AABC"), st.booleans(), st.sampled_from(("a", "b")),
            st.sampled_from(("ontime", "left", "trip", "fault")), st.integers(0, 9),
        ),
        max_size=9,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_few_facts_that_decide_say_what_all_of_them_say(
    office: Office, desk: Machine, made: list[tuple[int, str, bool, str, str, int]]
) -> None:
    """Hours, class, verified, device, what, and which earlier record it replaces (0 none)."""
    now, rows = office.clock(), []
    with office.context.database.session(write=True) as session:
        place = only_township(session)
        people = [p.official for p in officials(session, place)][:2]
        for name in ("a", "b"):
            session.add(
                Device(
                    id=name * 8, township_id=place.id, kind="kiosk", sign_key=b"k" * 32,
                    box_key=b"k" * 32, paired_ms=0, head=b"h" * 32,
                )
            )  # fmt: skip
        session.flush()
        for number, (hour, cls, verified, device, what, before) in enumerate(made, 1):
            at = ms(MORNING) + (hour - 4) * 3_600_000
            replaces = rows[before - 1].record_id if 0 < before < number else None
            status = {"ontime": "in_village", "left": "left", "trip": "business_trip"}.get(what)
            kind = {"left": "checkout", "trip": "declare", "fault": "fault"}.get(what, "checkin")
            rows.append(
                RecordRow(
                    township_id=place.id, device_id=device * 8, epoch=1, seq=number,
                    record_id=f"r{number}", payload=b"", head=b"", official=people[number % 2],
                    kind="amend" if replaces and kind != "fault" else kind, status=status,
                    verified=verified, wall_ms=at, earliest_ms=at, latest_ms=at, at_ms=at, cls=cls,
                    supersedes=replaces if kind != "fault" else None, received_ms=at,
                )
            )  # fmt: skip
        session.add_all(rows)
        session.flush()
        facts = [fact_of_row(row) for row in rows if row.kind != "fault"]
        start = day_start_ms(TODAY)
        today = [f for f in facts if start <= f.when.at_ms <= ms(now) + FUTURE_TOLERANCE_MS]
        for person in whereabouts_at(session, place, now):
            assert person.where == whereabouts(person.official, today, (), ms(now))
        session.rollback()

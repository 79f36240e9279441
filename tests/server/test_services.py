"""The rules: day sheets, whereabouts, leave, accounts, working days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from attendance.days import SHANGHAI, day_start_ms
from attendance.statuses import Kind, Method, Status
from attendance.whereabouts import FUTURE_TOLERANCE_MS, whereabouts
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import AuditEntry, Device, LeaveRow, RecordRow, User
from server.rules.calendar import Calendar
from server.services import accounts, audit, leave
from server.services.daysheet import DayRow, day_sheet, official_history
from server.services.publicboard import public_rows
from server.services.townships import kiosks, officials, only_township
from server.services.whereabouts import board_version, fact_of_row, whereabouts_at

from .conftest import MORNING, PASSWORD, Kiosk, Machine, Office, ms

TODAY = date(2026, 3, 18)


def row_of(office: Office, code: str, day: date = TODAY) -> DayRow:
    with office.context.database.session() as session:
        sheet = day_sheet(session, only_township(session), day, office.clock())
    return next(row for row in sheet.rows if row.official == code)


def kinds(row: DayRow) -> list[str]:
    return [d.kind for d in row.discrepancies]


def to_tomorrow(office: Office) -> None:
    office.clock.now = datetime(2026, 3, 19, 9, tzinfo=SHANGHAI)


def approve(
    office: Office, code: str, status: Status = Status.ON_LEAVE, start: datetime = MORNING
) -> None:
    with office.context.database.transaction() as session:
        place = only_township(session)
        mine = User.township_id == place.id
        clerk = session.scalars(select(User).where(mine, User.role == "clerk")).first()
        leader = session.scalars(select(User).where(mine, User.role == "leader")).first()
        now = office.clock()
        clerk = clerk or accounts.add_user(session, place, "wenshu", "clerk", PASSWORD, now)
        leader = leader or accounts.add_user(session, place, "lingdao", "leader", PASSWORD, now)
        end = start + timedelta(hours=8)
        row = leave.ask(session, place, code, status, start, end, "", clerk, now)
        leave.decide(session, row.id, True, leader, now)


def test_nobody_is_absent_before_the_day_is_over_and_the_records_are_here(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record()
    village.sync()
    assert row_of(office, "zhang-3").verdict == "came"
    assert row_of(office, "li-4").verdict == "not_yet"
    assert row_of(office, "wang-5").verdict == "not_expected"
    to_tomorrow(office)
    assert row_of(office, "li-4").verdict == "not_known"  # the kiosk has not been heard since
    village.record("wang-5")
    village.cursor(pending=1)
    assert row_of(office, "li-4").verdict == "not_known"  # something still waits at the kiosk
    village.sync()
    assert row_of(office, "li-4").verdict == "absent"
    assert row_of(office, "zhang-3").verdict == "came"


def test_every_kiosk_of_the_site_counts(office: Office, desk: Machine, village: Kiosk) -> None:
    second = office.kiosk("杏树村")
    to_tomorrow(office)
    village.sync()
    assert row_of(office, "li-4").verdict == "not_known"
    second.sync()
    row = row_of(office, "li-4")
    assert (row.verdict, kinds(row)) == ("absent", ["kiosk_silent"])


def test_a_kiosk_paired_later_says_nothing_of_the_day(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).paired_ms = ms(MORNING) + 86_400_000
    office.clock.step(days=2)
    village.sync()
    row = row_of(office, "li-4")
    assert (row.verdict, kinds(row)) == ("not_known", ["no_kiosk"])


def test_a_revoked_kiosk_that_never_told_keeps_the_day_open(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.cursor()
    office.clock.step(hours=2)
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).revoked_ms = ms(office.clock())
    second = office.kiosk("杏树村")
    to_tomorrow(office)
    second.sync()
    assert row_of(office, "li-4").verdict == "not_known"


def test_a_doubtful_clock_neither_convicts_nor_acquits(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.sync()
    office.clock.step(hours=1)
    village.reboot()  # a boot without contact, its clock three days back
    village.wall_off = timedelta(days=-3)
    village.record("li-4")
    village.wall_off = timedelta()
    office.clock.step(hours=1)
    village.reboot()
    village.record("zhang-3")
    village.sync()
    row = row_of(office, "li-4")
    assert row.verdict == "came"
    assert row.doubtful
    assert "doubtful" in kinds(row)
    assert row.entries[0].certainty == "doubtful"
    sure = row_of(office, "zhang-3")
    assert (sure.verdict, sure.doubtful, sure.entries[0].certainty) == ("came", False, "sure")


def test_a_doubtful_record_that_may_be_of_that_day_keeps_absence_back(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.sync()
    village.reboot()
    village.wall_off = timedelta(days=-30)
    office.clock.step(days=2)  # Friday, says nobody but the server
    village.record("li-4")
    village.wall_off = timedelta()
    office.clock.step(days=3)
    village.reboot()
    village.sync()
    office.clock.step(days=2)
    village.sync()
    verdicts = {day: row_of(office, "li-4", TODAY + timedelta(day)) for day in (0, 1, 2, 5, 6)}
    assert verdicts[0].verdict == "came"  # where the estimate had to put it
    assert verdicts[0].doubtful
    assert {verdicts[d].verdict for d in (1, 2, 5)} == {"not_known"}
    assert kinds(verdicts[1]) == ["doubtful_record"]
    assert verdicts[6].verdict == "absent"


def test_leave_stands_on_the_sheet_and_presence_on_the_board(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    approve(office, "zhang-3")
    village.record()
    village.sync()
    row = row_of(office, "zhang-3")
    assert row.verdict == "leave"
    assert "leave_clash" in kinds(row)
    with office.context.database.session() as session:
        shown = {
            w.official: w.where
            for w in whereabouts_at(session, only_township(session), office.clock())
        }
    assert shown["zhang-3"].status is Status.IN_VILLAGE
    assert shown["zhang-3"].clash


def test_a_declared_trip_is_pending_until_approved(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record(kind=Kind.DECLARE, status=Status.BUSINESS_TRIP, reason="meeting")
    village.sync()
    row = row_of(office, "zhang-3")
    assert (row.verdict, row.pending, kinds(row)) == ("trip", True, ["pending"])
    approve(office, "zhang-3", Status.BUSINESS_TRIP)
    row = row_of(office, "zhang-3")
    assert (row.verdict, row.pending) == ("trip", False)


def test_unverified_and_misplaced_people_are_told_apart(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record("li-4", method=Method.PIN, verified=False)
    other = office.kiosk("柳林村")
    other.record("zhang-3")
    village.record("ghost-9")
    village.sync()
    other.sync()
    row = row_of(office, "li-4")
    assert (row.verdict, kinds(row)) == ("unverified_only", ["unverified"])
    row = row_of(office, "zhang-3")
    assert (row.verdict, kinds(row)) == ("came", ["elsewhere", "unexpected_site"])
    with office.context.database.session() as session:
        sheet = day_sheet(session, only_township(session), TODAY, office.clock())
    assert [(e.official, e.flags) for e in sheet.unknown] == [("ghost-9", ("unknown_official",))]


def test_an_amend_replaces_what_it_names(office: Office, desk: Machine, village: Kiosk) -> None:
    first = village.record()
    office.clock.step(seconds=5)
    village.record(kind=Kind.AMEND, status=Status.ON_LEAVE, supersedes=first.record_id)
    village.sync()
    row = row_of(office, "zhang-3")
    assert (row.verdict, row.pending) == ("leave", True)
    assert [e.flags for e in row.entries] == [("superseded",), ()]


def test_the_sheet_takes_the_same_queries_for_any_number(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    from sqlalchemy import event

    def count() -> int:
        seen = []
        engine = office.context.database.engine
        listener = lambda *args: seen.append(args[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        row_of(office, "zhang-3")
        event.remove(engine, "before_cursor_execute", listener)
        return len(seen)

    count()
    kept = count()
    seen = []
    for times in (1, 5):  # a record that arrives has its day judged again
        for code in ("zhang-3", "li-4", "wang-5") * times:
            village.record(code)
        village.sync()
        seen.append(count())
        assert count() == kept
    assert seen[0] == seen[1] > kept


def test_a_history_holds_the_rows_of_the_sheets(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.record("li-4")
    village.sync()
    to_tomorrow(office)
    village.sync()
    with office.context.database.session() as session:
        place = only_township(session)
        history = official_history(
            session, place, "li-4", TODAY - timedelta(3), TODAY + timedelta(1), office.clock()
        )
    assert [d.row.verdict for d in history.days] == [
        "not_yet", "came", "not_expected", "not_expected", "not_expected",
    ]  # fmt: skip
    assert history.days[1].row == row_of(office, "li-4")


def test_the_next_township_sees_nothing(office: Office, desk: Machine, village: Kiosk) -> None:
    village.record()
    village.sync()
    with office.context.database.session() as session:
        place = only_township(session, "白水乡")
        now = office.clock()
        sheet = day_sheet(session, place, TODAY, now)
        assert (sheet.rows, sheet.sites, sheet.unknown) == ([], [], [])
        assert public_rows(session, place, now) == []
        assert officials(session, place) == []
        assert kiosks(session, place) == []
        assert leave.listing(session, place) == []
        with pytest.raises(NotFound):
            official_history(session, place, "zhang-3", TODAY, TODAY, now)
    leader = office.user("waiguan", "leader", township="白水乡")
    approve(office, "zhang-3")
    with office.context.database.session() as session, pytest.raises(NotFound):
        leave.decide(session, 1, False, leader, office.clock())


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
        clerk = session.query(User).filter_by(role="clerk").one()
        number = session.query(LeaveRow).one().id
        leave.step(session, number, "withdrawn", "", clerk, office.clock())
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
        assert leave.absences(session, place, ms(now), ms(now)) == []


def login(office: Office, name: str, password: str) -> str | None:
    with office.context.database.transaction() as session:
        user = accounts.authenticate(session, name, password, office.clock(), "127.0.0.1")
        return None if user is None else user.name


def test_a_name_is_locked_after_five_wrong_passwords_known_or_not(office: Office) -> None:
    office.user("wenshu", "clerk")
    assert login(office, "wenshu", PASSWORD) == "wenshu"
    for name in ("wenshu", "nobody"):
        for _ in range(5):
            assert login(office, name, "wrong wrong wrong") is None
        with office.context.database.session() as session:
            until = accounts.locked_until(session, name, office.clock())
        assert until == MORNING + timedelta(minutes=1)
    assert login(office, "wenshu", PASSWORD) is None
    office.clock.step(seconds=61)
    assert login(office, "wenshu", "wrong wrong wrong") is None
    office.clock.step(seconds=100)
    assert login(office, "wenshu", PASSWORD) is None  # two minutes now
    office.clock.step(seconds=60)
    assert login(office, "wenshu", PASSWORD) == "wenshu"


def test_accounts_need_proper_names_roles_and_passwords(office: Office) -> None:
    with office.context.database.session(write=True) as session:
        place = only_township(session)
        for name, role, password in (
            ("", "clerk", PASSWORD), ("a b", "clerk", PASSWORD), ("x", "king", PASSWORD),
            ("x", "clerk", "short"), ("x", "clerk", "l" * 257),
        ):  # fmt: skip
            with pytest.raises(InputInvalid):
                accounts.add_user(session, place, name, role, password, MORNING)
        user = accounts.add_user(session, place, "x", "clerk", PASSWORD, MORNING)
        with pytest.raises(InputInvalid):
            accounts.add_user(session, place, "x", "clerk", PASSWORD, MORNING)
        with pytest.raises(InputInvalid):
            accounts.change_password(session, user, PASSWORD)
        accounts.change_password(session, user, PASSWORD + "!")
        assert not user.must_change


@pytest.mark.parametrize(
    "easy",
    ["123456789012", "aaaaaaaaaaaa", "password1234", "Quxiang-2026", "qwertyuiop12", "abcdefghijkl",
     "admin1234567", "去向去向去向去向去向去向", "wangmishu-123", "WANGMISHU2026",
     "青山乡青山乡青山乡2026", "1qaz2wsx3edc", "987654321098", "zxcvbnm,zxcvbnm", "woaini1314520"],
)  # fmt: skip
def test_what_anybody_would_try_is_no_password(office: Office, easy: str) -> None:
    with office.context.database.session(write=True) as session:
        place = only_township(session)
        with pytest.raises(InputInvalid) as refused:
            accounts.add_user(session, place, "wangmishu", "clerk", easy, MORNING)
        assert refused.value.key == "password_easy"
        user = accounts.add_user(session, place, "wangmishu", "clerk", PASSWORD, MORNING)
        for change in (
            lambda: accounts.change_password(session, user, easy),
            lambda: accounts.set_password(session, user, easy, must_change=False),
        ):
            with pytest.raises(InputInvalid):
                change()


def test_a_sentence_of_one_s_own_is_a_password() -> None:
    for good in ("correct horse battery", "a long enough passphrase 7",
                 "我家门前有两棵枣树都结了果", "7X2Q-W6TE-QWFZ-5Q6T",
                 "quxiang maple 71"):  # fmt: skip
        accounts.check_password(good, "wangmishu", "青山乡")
    for _ in range(200):
        accounts.check_password(accounts.new_password(), "wangmishu", "青山乡")


def test_the_trail_is_the_township_s_own(office: Office) -> None:
    user = office.user("dudao", "inspector")
    with office.context.database.transaction() as session:
        audit.note(session, user, "view_day", "2026-03-18", MORNING, "127.0.0.1")
    with office.context.database.session() as session:
        mine = audit.recent(session, only_township(session))
        assert [(e.who, e.what, e.target) for e in mine] == [("dudao", "view_day", "2026-03-18")]
        assert audit.recent(session, only_township(session, "白水乡")) == []
        assert len(session.scalars(select(AuditEntry)).all()) == 1


@pytest.mark.parametrize(
    ("day", "working"),
    [
        *((date(2026, *d), True) for d in ((1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10))),
        (date(2026, 1, 1), False),
        (date(2026, 2, 17), False),
        (date(2026, 10, 1), False),
        (date(2026, 3, 18), True),
        (date(2026, 3, 21), False),
    ],
)
def test_working_days_of_2026(day: date, working: bool) -> None:
    assert Calendar().known(day)
    assert Calendar().is_working(day) is working
    assert Calendar().is_expected(0b0011111, day) is working


def test_years_not_known_yet_are_monday_to_friday() -> None:
    assert not Calendar().known(date(2049, 1, 1))
    assert Calendar().is_working(date(2049, 1, 1))  # a Friday
    assert not Calendar().is_working(date(2049, 1, 2))


def test_masks_of_single_days() -> None:
    saturdays = 1 << 5
    assert Calendar().is_expected(saturdays, date(2026, 3, 21))
    assert not Calendar().is_expected(saturdays, date(2026, 10, 3))  # the national holiday
    assert not Calendar().is_expected(saturdays, date(2026, 9, 20))  # a Sunday that is worked
    assert Calendar().is_expected(1 << 6, date(2026, 9, 20))
    assert datetime(2026, 9, 20, tzinfo=UTC).weekday() == 6


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

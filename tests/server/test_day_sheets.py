"""The day sheet and the history: absent, late, not yet known, away, and what keeps each back."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from attendance.days import SHANGHAI
from attendance.statuses import Kind, Method, Status
from server.errors import NotFound
from server.models import Device
from server.services.public.publicboard import public_rows
from server.services.sheets.daysheet import DayRow, day_sheet, official_history
from server.services.township import leave
from server.services.township.townships import kiosks, officials, only_township
from server.services.township.whereabouts import whereabouts_at

from .conftest import MORNING, Kiosk, Machine, Office, approve, ms

TODAY = date(2026, 3, 18)


def row_of(office: Office, code: str, day: date = TODAY) -> DayRow:
    with office.context.database.session() as session:
        sheet = day_sheet(session, only_township(session), day, office.clock())
    return next(row for row in sheet.rows if row.official == code)


def kinds(row: DayRow) -> list[str]:
    return [d.kind for d in row.discrepancies]


def to_tomorrow(office: Office) -> None:
    office.clock.now = datetime(2026, 3, 19, 9, tzinfo=SHANGHAI)


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
    assert seen == [kept, kept], "the day's records are read once: to judge them, or to show them"


def test_a_day_that_was_judged_before_shows_the_same_records(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    first = village.record()
    office.clock.step(seconds=5)
    village.record(kind=Kind.AMEND, status=Status.ON_LEAVE, supersedes=first.record_id)
    village.record("li-4", method=Method.PIN, score=None)
    other = office.kiosk("柳林村")
    other.record("li-4", record_id=first.record_id)
    village.sync()
    other.sync()
    with office.context.database.session() as session:
        looks = [
            day_sheet(session, only_township(session), TODAY, office.clock(), fits, most=most)
            for fits in (None, lambda one: one.person.official == "zhang-3")
            for most in (None, 1, 1)
        ]
    assert [look.rows for look in looks[1:3]] == [looks[0].rows[:1]] * 2
    assert looks[3].rows == looks[4].rows
    (judged,) = (row for row in looks[0].rows if row.official == "zhang-3")
    assert looks[3].rows == [judged]
    assert [e.flags for e in judged.entries] == [("superseded",), ()]


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


def test_leave_declared_at_a_kiosk_stands_until_somebody_decides(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    village.cursor()
    declared = village.record("li-4", kind=Kind.DECLARE, status=Status.ON_LEAVE)
    village.sync()
    to_tomorrow(office)
    village.sync()
    now, day = office.clock(), timedelta(days=1)
    assert row_of(office, "li-4").verdict == "leave"

    def ask(status: Status = Status.ON_LEAVE, start: datetime = MORNING, days: int = 1) -> int:
        with office.context.database.transaction() as session:
            place = only_township(session)
            made = leave.ask(
                session, place, "li-4", status, start, start + days * day, "", clerk, now
            )
            return made.id

    def decide(number: int, approve: bool) -> None:
        with office.context.database.transaction() as session:
            leave.decide(session, number, approve, leader, now)

    def step(number: int, what: str) -> None:
        with office.context.database.transaction() as session:
            leave.step(session, number, what, "1", clerk, now)

    decide(ask(Status.BUSINESS_TRIP), False)
    decide(ask(start=MORNING + 2 * day), False)
    assert row_of(office, "li-4").verdict == "leave", "of another kind, and of another day"
    first = ask()
    assert row_of(office, "li-4").verdict == "leave"
    decide(first, False)
    row = row_of(office, "li-4")
    assert row.verdict == "absent"
    assert [e.record_id for e in row.entries] == [declared.record_id], "it stays to be seen"
    again = ask()
    assert (row_of(office, "li-4").verdict, row_of(office, "li-4").pending) == ("leave", True)
    step(again, "withdrawn")
    assert row_of(office, "li-4").verdict == "absent"
    decide(first, True)
    assert row_of(office, "li-4").verdict == "leave"
    decide(first, False)
    assert row_of(office, "li-4").verdict == "absent"


def test_what_is_withdrawn_undecided_leaves_a_declaration_as_it_was(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    village.cursor()
    village.record("li-4", kind=Kind.DECLARE, status=Status.ON_LEAVE)
    village.sync()

    def ask() -> int:
        with office.context.database.transaction() as session:
            until = MORNING + timedelta(days=1)
            return leave.ask(
                session, only_township(session), "li-4", Status.ON_LEAVE, MORNING, until, "",
                clerk, office.clock(),
            ).id  # fmt: skip

    def stands() -> bool:
        with office.context.database.session() as session:
            place, now = only_township(session), office.clock()
            shown = {w.official: w.where for w in whereabouts_at(session, place, now)}["li-4"]
        row = row_of(office, "li-4")
        assert row.pending is shown.pending
        return (row.verdict, shown.status) == ("leave", Status.ON_LEAVE)

    late, refused, one_by_one, imported = ask(), ask(), ask(), ask()
    with office.context.database.transaction() as session:
        place, now = only_township(session), office.clock()
        leave.step(session, one_by_one, "withdrawn", "", clerk, now)
        assert leave.withdraw(session, place, [imported], "", clerk, now) == {imported: ""}
        leave.step(session, late, "withdrawn", "", clerk, now)
    assert stands()
    office.clock.step(minutes=1)
    with office.context.database.transaction() as session:
        leave.decide(session, late, True, leader, office.clock())  # on a page from before
    assert stands()
    with office.context.database.transaction() as session:
        leave.decide(session, refused, False, leader, office.clock())
    assert not stands()
    with office.context.database.transaction() as session:
        leave.step(session, refused, "withdrawn", "", clerk, office.clock())
    assert not stands(), "what was refused is not undone by withdrawing it"


@pytest.mark.parametrize("how", ["refused by the county", "withdrawn once approved"])
def test_what_else_takes_back_a_declaration(
    office: Office, desk: Machine, village: Kiosk, how: str
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    village.cursor()
    village.record("li-4", kind=Kind.DECLARE, status=Status.ON_LEAVE)
    village.sync()
    to_tomorrow(office)
    village.sync()
    now = office.clock()
    with office.context.database.transaction() as session:
        days = timedelta(days=9 if "county" in how else 1)
        place = only_township(session)
        made = leave.ask(
            session, place, "li-4", Status.ON_LEAVE, MORNING, MORNING + days, "", clerk, now
        )
        leave.decide(session, made.id, True, leader, now)
    assert row_of(office, "li-4").verdict == "leave"
    with office.context.database.transaction() as session:
        what = "county_refused" if "county" in how else "withdrawn"
        by = leader if "once" in how else clerk
        leave.step(session, made.id, what, "县字 1 号", by, now)
    assert row_of(office, "li-4").verdict == "absent"


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
        assert kiosks(session, place, now) == []
        assert leave.listing(session, place) == []
        with pytest.raises(NotFound):
            official_history(session, place, "zhang-3", TODAY, TODAY, now)
    leader = office.user("waiguan", "leader", township="白水乡")
    approve(office, "zhang-3")
    with office.context.database.session() as session, pytest.raises(NotFound):
        leave.decide(session, 1, False, leader, office.clock())

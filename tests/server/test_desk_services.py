"""Corrections, leave of the county, rosters and what they do to a day."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, date, timedelta

import pytest
from PIL import Image
from sqlalchemy.orm import Session

from attendance.days import day_end_ms, day_start_ms, from_ms, to_ms
from attendance.statuses import Kind, Status
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import Official, Township, User
from server.rules.terms import LeaveTerms, MonthDays, UsualShifts
from server.services.rulings import attachments, corrections, findings, spotchecks
from server.services.rulings.corrections import Draft
from server.services.sheets import daysheet
from server.services.township import leave, rosters
from server.services.township.townships import only_township, touch_roster

from .conftest import Kiosk, Office
from .desk_people import NINE, TODAY, at, board, come, next_day, verdict


def test_a_correction_counts_once_another_person_approved_it(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    record = come(office, village)
    next_day(office, village)
    now = office.clock()
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        assert verdict(session, township, "zhang-3", TODAY, now) == "came"
        draft = Draft("zhang-3", TODAY, "void", "误刷", record_id=record)
        made = corrections.propose(session, township, draft, people["clerk"], now)
        assert verdict(session, township, "zhang-3", TODAY, now) == "came", "only proposed"
        for wrong in ("clerk", "inspector", "admin"):
            with pytest.raises(NotAllowed):
                corrections.decide(session, made.id, True, "", people[wrong], now)
        with pytest.raises(NotAllowed, match=r"own|本人"):
            corrections.decide(session, made.id, True, "", people["own"], now)
        corrections.decide(session, made.id, True, "查实", people["leader"], now)
        assert verdict(session, township, "zhang-3", TODAY, now) == "absent"
        with pytest.raises(InputInvalid):
            corrections.decide(session, made.id, False, "", people["second"], now)
        (shown,) = corrections.listing(session, township, official="zhang-3")
        assert (shown.state, shown.by, shown.decided_by) == ("approved", "clerk", "leader")
        sheet = daysheet.day_sheet(session, township, TODAY, now)
        row = next(r for r in sheet.rows if r.official == "zhang-3")
        assert [e.record_id for e in row.entries] == [record], "the original stays for ever"
        assert row.corrected == (made.id,)
        undo = Draft("zhang-3", TODAY, "undo", "查错了", undoes=made.id)
        back = corrections.propose(session, township, undo, people["clerk"], now)
        corrections.decide(session, back.id, True, "", people["leader"], now)
        assert verdict(session, township, "zhang-3", TODAY, now) == "came"
        assert corrections.by_ids(session, township, [made.id])[made.id].state == "undone"
        with pytest.raises(InputInvalid):
            corrections.propose(session, township, undo, people["clerk"], now)


def test_nobody_corrects_or_approves_their_own(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    record = come(office, village, "li-4")
    now = office.clock()
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        own = Draft("zhang-3", TODAY, "presence", "在", site="杏树村", start_ms=NINE)
        with pytest.raises(NotAllowed):
            corrections.propose(session, township, own, people["own"], now)
        for_me = Draft("li-4", TODAY, "mistaken", "是我", record_id=record, really="zhang-3")
        with pytest.raises(NotAllowed):
            corrections.propose(session, township, for_me, people["own"], now)
        before = board(session, township, now)
        made = corrections.propose(session, township, for_me, people["leader"], now)
        for wrong in ("own", "leader"):
            with pytest.raises(NotAllowed):
                corrections.decide(session, made.id, True, "", people[wrong], now)
        corrections.decide(session, made.id, True, "", people["second"], now)
        assert verdict(session, township, "zhang-3", TODAY, now) == "came"
        assert verdict(session, township, "li-4", TODAY, now) == "not_yet"
        # Boards and spot checks go by what was decided, not by what was found to be another's.
        shown = board(session, township, now)
        assert before[0]["li-4"] is shown[0]["zhang-3"] is Status.IN_VILLAGE
        assert before[0]["zhang-3"] is shown[0]["li-4"] is Status.UNKNOWN
        assert before[1] != shown[1], "boards that wait for a change are told"
        later = to_ms(now)
        was = {c: spotchecks.where_was(session, township, c, later, now) for c in before[0]}
        assert (was["zhang-3"].where.status, was["li-4"].where.status) == (
            Status.IN_VILLAGE, Status.UNKNOWN
        )  # fmt: skip
        (finding,) = findings.listing(session, township)
        assert (finding.kind, finding.official, finding.state) == ("mistaken", "li-4", "open")


def test_an_undo_concerns_whom_that_concerned_which_it_takes_back(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    """A record of li-4 that is really zhang-3's, taken back, and that taken back again."""
    record = come(office, village, "li-4")
    now = office.clock()
    with office.context.database.session(write=True) as session:
        township = only_township(session)

        def said() -> tuple[str, str]:
            history = daysheet.official_history(session, township, "zhang-3", TODAY, TODAY, now)
            on_sheet = verdict(session, township, "zhang-3", TODAY, now)
            return on_sheet, history.days[0].row.verdict

        def take(draft: Draft) -> int:
            with pytest.raises(NotAllowed):
                corrections.propose(session, township, draft, people["own"], now)
            made = corrections.propose(session, township, draft, people["clerk"], now)
            with pytest.raises(NotAllowed):
                corrections.decide(session, made.id, True, "", people["own"], now)
            corrections.decide(session, made.id, True, "", people["leader"], now)
            return made.id

        first = take(Draft("li-4", TODAY, "mistaken", "是他", record_id=record, really="zhang-3"))
        assert said() == ("came", "came")
        second = take(Draft("li-4", TODAY, "undo", "不是他", undoes=first))
        assert said() == ("not_yet", "not_yet")
        take(Draft("li-4", TODAY, "undo", "还是他", undoes=second))
        assert said() == ("came", "came")


def test_a_day_that_only_a_correction_tells_of_stays_when_the_official_goes(
    office: Office, village: Kiosk, people: dict[str, User], session: Session, township: Township
) -> None:
    now = office.clock()
    draft = Draft("li-4", TODAY, "presence", "停电", site="杏树村", start_ms=NINE)
    made = corrections.propose(session, township, draft, people["clerk"], now)
    corrections.decide(session, made.id, True, "", people["leader"], now)
    before = verdict(session, township, "li-4", TODAY, now)
    for gone in session.query(Official).filter(Official.official == "li-4"):
        gone.active = False
    touch_roster(session, township.id)
    assert before == verdict(session, township, "li-4", TODAY, now) == "came"


def test_leave_of_the_next_day_takes_nothing_from_the_night_before(
    office: Office, village: Kiosk, people: dict[str, User], session: Session, township: Township
) -> None:
    now, after = office.clock(), TODAY + timedelta(1)
    night = rosters.add_shift(session, township, "夜班", 20 * 60, 8 * 60, people["clerk"], now)
    rosters.set_rule(session, township, UsualShifts(None, night.id), date(2026, 1, 1), "",
                     people["leader"], now)  # fmt: skip
    for one in session.query(Official):
        one.created_ms = day_start_ms(date(2026, 1, 1))
    touch_roster(session, township.id)
    session.commit()
    village.cursor()
    for hour, kind, status in ((19.9, Kind.CHECKIN, Status.IN_VILLAGE),
                               (32.1, Kind.CHECKOUT, Status.LEFT)):  # fmt: skip
        office.clock.now = at(TODAY, hour).astimezone(UTC)
        village.record("li-4", kind=kind, status=status)
        village.sync()
    asked = leave.ask(session, township, "li-4", Status.ON_LEAVE, at(after, 0), at(after, 24), "",
                      people["clerk"], now)  # fmt: skip
    leave.decide(session, asked.id, True, people["leader"], now)
    session.commit()
    office.clock.now = at(TODAY + timedelta(3), 10).astimezone(UTC)
    village.sync()
    with office.context.database.session() as reading:
        found = [verdict(reading, township, "li-4", day, office.clock()) for day in (TODAY, after)]
    assert found == ["came", "leave"]


def test_presence_of_a_night_ends_on_the_next_morning(
    office: Office, village: Kiosk, people: dict[str, User], session: Session, township: Township
) -> None:
    now = office.clock()
    night = rosters.add_shift(session, township, "夜班", 20 * 60, 8 * 60, people["clerk"], now)
    rosters.set_rule(session, township, UsualShifts(None, night.id), date(2026, 1, 1), "",
                     people["leader"], now)  # fmt: skip
    for one in session.query(Official):
        one.created_ms = day_start_ms(date(2026, 1, 1))
    touch_roster(session, township.id)
    day, later = TODAY - timedelta(1), TODAY
    typed = Draft("li-4", day, "presence", "停电", site="杏树村", start_ms=to_ms(at(day, 20)),
                  end_ms=to_ms(at(day, 8)))  # fmt: skip
    made = corrections.propose(session, township, typed, people["clerk"], now)
    assert (made.start_ms, made.end_ms) == (to_ms(at(day, 20)), to_ms(at(later, 8)))
    small = replace(typed, start_ms=to_ms(at(day, 2)), end_ms=None)
    made = corrections.propose(session, township, small, people["clerk"], now)
    assert made.start_ms == to_ms(at(later, 2)), "two o'clock of that night"
    wrong = replace(typed, start_ms=to_ms(at(day, 21)), end_ms=to_ms(at(day, 20.5)))
    with pytest.raises(InputInvalid):
        corrections.propose(session, township, wrong, people["clerk"], now)


def test_days_that_are_over_keep_what_was_the_roster(
    session: Session, township: Township, people: dict[str, User], office: Office
) -> None:
    now, clerk, over = office.clock(), people["clerk"], TODAY - timedelta(1)
    with pytest.raises(InputInvalid) as day:
        rosters.set_day(session, township, "li-4", over, "off", clerk, now)
    with pytest.raises(InputInvalid) as everybody:
        rosters.set_calendar(session, township, over, False, "庙会", clerk, now)
    assert day.value.key == everybody.value.key == "over"


def test_what_a_proposal_must_say(office: Office, village: Kiosk, people: dict[str, User]) -> None:
    record = come(office, village)
    now, clerk = office.clock(), people["clerk"]
    good = Draft("zhang-3", TODAY, "void", "误刷", record_id=record)
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        for draft, error in (
            (replace(good, reason=" "), InputInvalid),
            (replace(good, kind="delete"), InputInvalid),
            (replace(good, day=TODAY + timedelta(1)), InputInvalid),
            (replace(good, official="nobody"), NotFound),
            (replace(good, record_id="r"), NotFound),
            (replace(good, official="li-4"), NotFound),
            (replace(good, day=TODAY - timedelta(1)), NotFound),
            (replace(good, kind="presence", site="月球", start_ms=NINE), NotFound),
            (replace(good, kind="presence", site="杏树村"), InputInvalid),
            (
                replace(good, kind="presence", site="杏树村", start_ms=NINE + 3_600_000),
                InputInvalid,
            ),
            (replace(good, kind="time", start_ms=NINE - 86_400_000), InputInvalid),
            (replace(good, kind="mistaken", really="zhang-3"), InputInvalid),
            (replace(good, kind="undo", undoes=77), NotFound),
        ):
            with pytest.raises(error):
                corrections.propose(session, township, draft, clerk, now)
        with pytest.raises(NotAllowed):
            corrections.propose(session, township, good, people["inspector"], now)
        stranger = only_township(session, "白水乡")
        with pytest.raises(NotAllowed):
            corrections.propose(session, stranger, good, clerk, now)


def test_attachments_are_pictures_or_pdfs_whatever_their_names_say(
    session: Session, township: Township, people: dict[str, User], office: Office
) -> None:
    def keep(body: bytes, name: str = "照片.exe"):  # type: ignore[no-untyped-def]
        return attachments.store(session, township, name, body, people["clerk"], office.clock())

    pytest.importorskip("weasyprint", exc_type=OSError)  # it takes what is cut off, once loaded
    out = io.BytesIO()
    picture = Image.new("RGB", (3000, 200), "red")
    picture.save(out, "PNG", pnginfo=None)
    row = keep(out.getvalue())
    held = attachments.load(session, township, row.id)
    assert (held.mime, held.name) == ("image/jpeg", "照片.jpg")
    assert max(Image.open(io.BytesIO(held.content)).size) == 1800
    assert keep(b"%PDF-1.7 x", "a/b/批文.pdf").name == "批文.pdf"
    assert keep(b"") is None
    for bad in (b"MZ\x90", b"<svg/>", b"GIF89a", out.getvalue()[:60], b"%PDF-" + b"x" * (3 << 20),
                b"\xff\xd8" + b"x" * (9 << 20)):  # fmt: skip
        with pytest.raises(InputInvalid):
            keep(bad)
    with pytest.raises(NotFound):
        attachments.load(session, only_township(session, "白水乡"), row.id)


def test_long_leave_waits_for_the_county(
    session: Session, township: Township, people: dict[str, User], office: Office
) -> None:
    now = office.clock()

    def asked(days: int, status: Status = Status.ON_LEAVE):  # type: ignore[no-untyped-def]
        return leave.ask(session, township, "zhang-3", status, from_ms(day_start_ms(TODAY)),
                         from_ms(day_end_ms(TODAY + timedelta(days - 1))), "事假",
                         people["clerk"], now)  # fmt: skip

    short, long = asked(3), asked(6)  # Wednesday to Friday, Wednesday to Monday
    for row in (short, long):
        leave.decide(session, row.id, True, people["leader"], now)
    states = {one.id: one.state for one in leave.listing(session, township)}
    assert states == {short.id: "approved", long.id: "county"}
    assert {one.approved for one in leave.absences(session, township, NINE, NINE)} == {True, False}
    with pytest.raises(InputInvalid):
        leave.step(session, long.id, "county_approved", " ", people["clerk"], now)
    with pytest.raises(NotAllowed):
        leave.step(session, long.id, "county_approved", "1 号", people["own"], now)
    with pytest.raises(NotAllowed):
        leave.step(session, long.id, "county_approved", "1 号", people["inspector"], now)
    leave.step(session, long.id, "county_approved", "县字 1 号", people["clerk"], now)
    view = leave.listing(session, township)[0]
    assert (view.state, view.reference, view.days) == ("approved", "县字 1 号", 4)
    leave.step(session, long.id, "withdrawn", "", people["leader"], now)
    assert leave.listing(session, township)[0].state == "withdrawn"
    assert {one.approved for one in leave.absences(session, township, NINE, NINE)} == {True, None}
    rosters.set_rule(session, township, LeaveTerms(10), TODAY, "", people["leader"], now)
    again = asked(6)
    leave.decide(session, again.id, True, people["leader"], now)
    assert leave.listing(session, township)[0].state == "approved", "the rule of that day"
    trip = asked(9, Status.BUSINESS_TRIP)
    leave.decide(session, trip.id, True, people["leader"], now)
    assert leave.listing(session, township)[0].state == "approved"


def test_who_is_expected_nowhere_may_be_on_leave_or_have_come_all_the_same(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    village.cursor()
    sunday = TODAY + timedelta(4)
    office.clock.now = at(sunday + timedelta(1), 10).astimezone(UTC)
    village.sync()
    now = office.clock()
    with office.context.database.session(write=True) as session:
        township = only_township(session)

        def said() -> dict[str, str]:
            rows = daysheet.day_sheet(session, township, sunday, now).rows
            return {row.official: row.verdict for row in rows}

        assert set(said().values()) == {"not_expected"}
        row = leave.ask(session, township, "li-4", Status.ON_LEAVE, at(sunday, 0), at(sunday, 24),
                        "事假", people["clerk"], now)  # fmt: skip
        assert said()["li-4"] == "leave"
        leave.decide(session, row.id, True, people["leader"], now)
        draft = Draft("zhang-3", sunday, "presence", "防汛", site="杏树村",
                      start_ms=to_ms(at(sunday, 9)))  # fmt: skip
        made = corrections.propose(session, township, draft, people["clerk"], now)
        corrections.decide(session, made.id, True, "", people["leader"], now)
        verdicts = said()
        assert (verdicts.pop("li-4"), verdicts.pop("zhang-3")) == ("leave", "came")
        assert set(verdicts.values()) == {"not_expected"}


def test_a_pattern_changes_from_today_on_and_the_past_keeps_its_own(
    session: Session, township: Township, people: dict[str, User], office: Office
) -> None:
    now, clerk = office.clock(), people["clerk"]
    shift = rosters.add_shift(session, township, "夜班", 22 * 60, 6 * 60, clerk, now, late_min=5)
    assert shift.end_min == 30 * 60
    for wrong in ((60, 61, 40, 40), (60, 50 * 60, 0, 0), (-1, 60, 0, 0)):
        with pytest.raises(InputInvalid):
            rosters.add_shift(session, township, "x", wrong[0], wrong[1], clerk, now, *wrong[2:])
    with pytest.raises(InputInvalid):
        rosters.set_pattern(session, township, "zhang-3", "杏树村", 31, None,
                            TODAY - timedelta(1), clerk, now)  # fmt: skip
    tomorrow = TODAY + timedelta(1)
    rosters.set_pattern(session, township, "zhang-3", "杏树村", 0, None, tomorrow, clerk, now)
    rosters.set_day(session, township, "wang-5", TODAY, "at", clerk, now, "杏树村")

    def expected(code: str, day: date) -> tuple[str, ...]:
        sheet = daysheet.day_sheet(session, township, day, now)
        return next(r.expected_sites for r in sheet.rows if r.official == code)

    assert expected("zhang-3", TODAY) == ("杏树村",)
    assert expected("zhang-3", tomorrow) == ()
    assert expected("wang-5", TODAY) == ("杏树村",)
    rosters.set_day(session, township, "wang-5", TODAY, "pattern", clerk, now)
    assert expected("wang-5", TODAY) == ()
    rosters.set_calendar(session, township, TODAY, False, "庙会", clerk, now)
    assert expected("li-4", TODAY) == ()
    rosters.set_calendar(session, township, TODAY, None, "", clerk, now)
    assert expected("li-4", TODAY) == ("杏树村",)
    with pytest.raises(NotAllowed):
        rosters.set_rule(session, township, MonthDays(20), TODAY, "", clerk, now)


def test_a_check_out_alone_and_a_kept_day_that_hears_of_news(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    village.record("zhang-3", kind=Kind.CHECKOUT, status=Status.LEFT)
    village.sync()
    seen = []
    for _ in range(2):
        with office.context.database.session() as session:
            sheet = daysheet.day_sheet(session, only_township(session), TODAY, office.clock())
            seen.append({r.official: r.verdict for r in sheet.rows})
        village.record("li-4")
        village.sync()
    assert [s["li-4"] for s in seen] == ["not_yet", "came"]
    assert seen[0]["zhang-3"] == "came"

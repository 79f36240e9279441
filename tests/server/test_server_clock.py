"""What becomes of the times of records where the server's own clock was wrong for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from attendance import wire
from server.models import RecordRow
from server.services.records.timeline import _rising
from server.services.sheets import daysheet
from server.services.township.townships import only_township

from .conftest import MORNING, FakeClock, Kiosk, Machine, Office, ms

AHEAD = timedelta(days=30)
BEHIND = timedelta(days=-6 * 365)


def rows(office: Office, kiosk: Kiosk) -> Sequence[RecordRow]:
    with office.context.database.session() as session:
        return session.scalars(
            select(RecordRow)
            .where(RecordRow.device_id == kiosk.device)
            .order_by(RecordRow.epoch, RecordRow.seq)
        ).all()


class Both:
    """A kiosk whose clocks are right, whatever the server's does."""

    def __init__(self, office: Office, kiosk: Kiosk) -> None:
        self.office, self.kiosk = office, kiosk
        kiosk.clock = FakeClock(office.clock.now)

    def step(self, **kwargs: float) -> datetime:
        self.office.clock.step(**kwargs)
        return self.kiosk.clock.step(**kwargs)

    def wrong(self, by: timedelta, pending: int = 0) -> None:
        """One question is answered while the server's clock is off, and then it is put right."""
        self.office.clock.now += by
        self.kiosk.cursor(pending=pending)
        self.office.clock.now -= by


@pytest.fixture
def both(office: Office, desk: Machine, village: Kiosk) -> Both:
    return Both(office, village)


def proved(office: Office, kiosk: Kiosk, true: list[int]) -> None:
    """Every record has its proof: class A, around the moment in which it was made."""
    stored = rows(office, kiosk)
    assert [row.cls for row in stored] == ["A"] * len(true)
    assert [row.flags for row in stored] == [None] * len(true)
    for row, at in zip(stored, true, strict=True):
        assert row.earliest_ms <= at <= row.latest_ms
        assert row.latest_ms - row.earliest_ms < 60_000


@pytest.mark.parametrize("by", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_later_records_keep_their_class_once_the_servers_clock_is_put_right(
    office: Office, both: Both, by: timedelta
) -> None:
    village, true = both.kiosk, []
    village.sync()
    both.step(hours=1)
    village.reboot()
    both.wrong(by)
    both.step(hours=20)
    for _ in range(3):
        village.reboot()
        village.cursor()
        true.append(ms(both.step(minutes=1)))
        village.record()
        village.sync()
        both.step(hours=24)
    proved(office, village, true)


@pytest.mark.parametrize("by", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_of_one_boots_proofs_those_that_agree_with_the_contacts_count(
    office: Office, both: Both, by: timedelta
) -> None:
    village = both.kiosk
    village.cursor()
    true = [ms(both.step(hours=1))]
    village.record()
    both.step(seconds=1)
    both.wrong(by, pending=1)  # the line broke before the upload
    both.step(minutes=5)
    village.sync()
    true.append(ms(both.step(minutes=5)))
    village.record()
    both.step(minutes=5)
    village.sync()
    proved(office, village, true)


def test_of_a_boot_that_began_with_a_wrong_proof_the_next_one_counts(
    office: Office, both: Both
) -> None:
    village = both.kiosk
    village.cursor()
    both.step(hours=1)
    village.reboot()
    true = [ms(both.kiosk.clock.now)]
    village.record()
    both.wrong(AHEAD, pending=1)
    both.step(minutes=5)
    true.append(ms(both.kiosk.clock.now))
    village.record()
    village.sync()
    proved(office, village, true)


def test_an_unproved_record_is_bracketed_by_contacts_that_agree(office: Office, both: Both) -> None:
    village = both.kiosk
    before = ms(both.kiosk.clock.now)
    village.sync()
    both.step(hours=1)
    village.reboot()  # else the server sees by its older anchor that its clock is off
    both.wrong(AHEAD)
    both.step(hours=1)
    village.reboot()
    true = ms(both.kiosk.clock.now)
    village.record()  # in a boot without a contact
    both.step(hours=1)
    village.reboot()
    village.sync()
    (row,) = rows(office, village)
    assert (row.cls, row.at_ms) == ("B", true)
    assert row.earliest_ms == before
    assert row.latest_ms == ms(both.kiosk.clock.now)


def test_while_the_servers_clock_is_behind_the_receipt_is_what_is_doubted(
    office: Office, both: Both
) -> None:
    village = both.kiosk
    for _ in range(5):
        village.sync()
        both.step(hours=1)
    village.reboot()
    true = ms(both.kiosk.clock.now)
    village.record()
    office.clock.now += timedelta(hours=-30)
    for _ in range(2):
        both.step(minutes=1)
        village.sync()
    (row,) = rows(office, village)
    assert row.cls == "C"
    assert row.earliest_ms <= true <= row.latest_ms, "its day is not called over without it"
    assert (row.flags or []) == ["clock_contradiction"]


def test_an_old_question_sent_again_ages_no_record(office: Office, both: Both) -> None:
    """Where contacts contradict each other, one played again is weighed with the others."""
    village = both.kiosk
    body = wire.encode(village.cursor_request(0))
    village.send("POST", wire.CURSOR, body)
    village.cursor()
    both.step(minutes=5)
    both.wrong(AHEAD)
    village.reboot()
    village.cursor()
    true = ms(both.step(hours=1))
    village.record()
    both.step(hours=3)
    village.send("POST", wire.CURSOR, body)
    village.cursor(pending=1)
    village.send("POST", wire.CURSOR, body)
    village.upload()
    proved(office, village, [true])


TOMORROW = MORNING.date() + timedelta(1)


@pytest.mark.parametrize("first", ["record", "question"])
def test_a_server_a_day_ahead_makes_nobody_absent_on_the_true_day(
    office: Office, both: Both, first: str
) -> None:
    village = both.kiosk
    village.sync()
    both.step(hours=22, minutes=30)
    village.reboot()  # and the server with it: its clock comes back a day ahead
    office.clock.now += timedelta(days=1)
    if first == "question":
        village.cursor()
    both.step(minutes=1)
    village.record()
    for _ in range(2):
        village.sync()
    office.clock.now -= timedelta(days=1)
    for _ in range(24):
        both.step(hours=1)
        village.sync()
    both.step(days=2)
    village.sync()
    row = verdict(office, TOMORROW)
    assert row.verdict == "not_known"
    assert [d.kind for d in row.discrepancies] == ["doubtful_record"]
    row = verdict(office, TOMORROW + timedelta(1))
    assert (row.verdict, row.doubtful) == ("came", True), "neither late nor sure"
    assert verdict(office, TOMORROW, "li-4").verdict == "absent", "nobody else waits for it"


@pytest.mark.parametrize("off", [timedelta(days=-20 * 365), timedelta(days=-2)])
def test_a_wall_clock_that_is_always_wrong_makes_no_day_unknown(
    office: Office, both: Both, off: timedelta
) -> None:
    village = both.kiosk
    village.wall_off = off
    both.step(hours=22, minutes=30)
    for day in range(4):
        village.reboot()
        village.cursor()
        both.step(minutes=1)
        if day != 1:
            village.record()
        village.sync()
        both.step(hours=9)
        village.sync()
        both.step(hours=14, minutes=59)
    village.sync()
    said = [verdict(office, TOMORROW + timedelta(day)) for day in range(3)]
    assert [(row.verdict, row.doubtful) for row in said] == [
        ("came", False), ("absent", False), ("came", False),
    ]  # fmt: skip


def test_a_wall_clock_hours_off_on_the_same_day_leaves_the_proof_alone(
    office: Office, both: Both
) -> None:
    village = both.kiosk
    village.cursor()
    village.wall_off = timedelta(hours=-3)
    both.step(hours=4)
    village.record()
    village.sync()
    (row,) = rows(office, village)
    assert (row.cls, row.flags) == ("A", ["wall_off"])


def verdict(office: Office, day: date, official: str = "zhang-3") -> daysheet.DayRow:
    with office.context.database.session() as session:
        sheet = daysheet.day_sheet(session, only_township(session), day, office.clock())
    return next(row for row in sheet.rows if row.official == official)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_the_longest_series_that_rises_is_found(values: list[int]) -> None:
    found = _rising(values)
    chosen = [values[i] for i in sorted(found)]
    assert chosen == sorted(chosen)
    most = [0] * len(values)
    for i, value in enumerate(values):
        most[i] = 1 + max((most[j] for j in range(i) if values[j] <= value), default=0)
    assert len(found) == max(most)

"""Up to when a kiosk's records are complete: by when it asked, not by when it was heard."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from attendance import wire
from attendance.days import DAY_MS, day_end_ms, day_of, from_ms
from server.models import Contact, Device
from server.services.records.cursors import IN_FLIGHT_MS
from server.services.sheets.daysheet import day_sheet
from server.services.township.townships import kiosks, only_township

from .conftest import MORNING, Kiosk, Machine, Office, ms

#: A question by a fresh proof is placed that narrowly, milliseconds.
NARROW_MS = 500


def until(office: Office, kiosk: Kiosk) -> int | None:
    return office.device(kiosk.device).complete_until_ms


def late(office: Office, kiosk: Kiosk, **minutes: float) -> int:
    """A question that says that nothing waits, and comes so much later; when it was asked."""
    asked, body = ms(office.clock.now), wire.encode(kiosk.cursor_request(0))
    office.clock.step(**minutes)
    assert kiosk.send("POST", wire.CURSOR, body).status_code == 200
    return asked


def test_a_question_that_was_long_on_its_way_says_nothing_of_that_time(
    office: Office, village: Kiosk
) -> None:
    village.cursor()
    office.clock.step(minutes=10)
    asked = late(office, village, minutes=5)
    assert asked - NARROW_MS < (until(office, village) or 0) < asked


def test_a_question_in_time_leaves_what_may_be_on_its_way(office: Office, village: Kiosk) -> None:
    village.cursor()
    office.clock.step(minutes=10)
    late(office, village, seconds=3)
    assert until(office, village) == ms(office.clock.now) - IN_FLIGHT_MS


def test_the_first_question_of_a_boot_is_placed_by_the_wall_clock(
    office: Office, village: Kiosk
) -> None:
    village.cursor()
    before = until(office, village)
    office.clock.step(minutes=10)
    village.reboot()
    asked = late(office, village, minutes=5)
    assert until(office, village) == asked
    office.clock.step(minutes=10)
    village.reboot()
    village.wall_off = timedelta(days=-3)  # a clock that stood still while the power was off
    late(office, village)
    assert until(office, village) == asked != before
    village.cursor()
    office.clock.step(minutes=1)
    village.cursor()  # reports the proof that the one before brought
    assert asked < (until(office, village) or 0) <= ms(office.clock.now)


def test_without_a_report_the_last_contact_of_the_boot_is_the_proof(
    office: Office, village: Kiosk
) -> None:
    village.wall_off = timedelta(days=3)  # says nothing
    late(office, village)
    office.clock.step(minutes=10)
    asked = late(office, village, minutes=5)
    assert asked - IN_FLIGHT_MS - NARROW_MS < (until(office, village) or 0) < asked


def test_a_clock_from_before_the_pairing_marks_nothing(office: Office, village: Kiosk) -> None:
    village.wall_off = timedelta(days=-20 * 365)
    late(office, village)
    assert until(office, village) is None


@pytest.mark.parametrize("proved", [True, False])
def test_the_newest_question_sent_again_moves_nothing(
    office: Office, village: Kiosk, proved: bool
) -> None:
    if proved:
        village.cursor()
        office.clock.step(minutes=1)
    else:
        village.wall_off = timedelta(days=3)
    body = wire.encode(village.cursor_request(0))
    village.send("POST", wire.CURSOR, body)
    before = office.device(village.device)
    for hours in (0.1, 3):
        office.clock.step(hours=hours)
        assert village.send("POST", wire.CURSOR, body).status_code == 200
        after = office.device(village.device)
        assert after.complete_until_ms == before.complete_until_ms
        assert after.last_contact_ms == before.last_contact_ms


def test_one_of_many_quiet_questions_sent_again_completes_nothing(
    office: Office, village: Kiosk
) -> None:
    village.cursor()
    for _ in range(3):
        office.clock.step(minutes=1)
        village.cursor()
    body = wire.encode(village.cursor_request(0))
    village.send("POST", wire.CURSOR, body)  # not kept as a contact: it said nothing new
    before = until(office, village)
    office.clock.step(hours=3)
    assert village.send("POST", wire.CURSOR, body).status_code == 200
    assert (until(office, village) or 0) - (before or 0) <= IN_FLIGHT_MS


def test_a_servers_clock_that_was_ahead_does_not_stick(office: Office, village: Kiosk) -> None:
    village.cursor()
    office.clock.step(minutes=1)
    true, ahead = ms(office.clock.now), timedelta(days=400)

    def server(change: timedelta) -> None:  # the kiosk's own clocks go on as they were
        office.clock.now += change
        village.booted += change
        village.wall_off -= change

    server(ahead)
    village.cursor()
    assert (until(office, village) or 0) <= true, "its proof is from before"
    office.clock.step(minutes=1)
    village.cursor()
    assert (until(office, village) or 0) > ms(MORNING + ahead) - IN_FLIGHT_MS
    server(-ahead)
    for _ in range(2):
        office.clock.step(minutes=1)
        village.cursor()
        assert until(office, village) == ms(office.clock.now) - IN_FLIGHT_MS
    with office.context.database.session() as session:
        newest = select(Contact.server_ms).order_by(Contact.id.desc()).limit(1)
        assert abs((session.scalar(newest) or 0) - true) < 600_000, "contacts are kept again"
    office.clock.step(hours=1)
    village.cursor(pending=1)
    assert (until(office, village) or 0) < ms(office.clock.now) - 3_600_000


def verdict(office: Office, code: str = "li-4") -> str:
    """What the sheet of 18 March says of somebody who never came, and that pages agree."""
    now = office.clock()
    with office.context.database.session() as session:
        place = only_township(session)
        sheet = day_sheet(session, place, day_of(ms(MORNING)), now)
        known = {k.device: k.complete_until for k in kiosks(session, place, now)}
        for site in sheet.sites:
            if site.complete_until is not None:
                assert site.complete_until == min(known[d] or now for d in site.kiosks) <= now
        assert all(until is None or until <= now for until in known.values())
    return next(row.verdict for row in sheet.rows if row.official == code)


@pytest.mark.parametrize("contact", ["none", "with records that wait"])
def test_nobody_is_absent_by_a_mark_that_lies_ahead(
    office: Office, desk: Machine, village: Kiosk, contact: str
) -> None:
    other = office.kiosk("柳林村", "village")
    true = office.clock.now
    for kiosk in (village, other):
        kiosk.wall_off = timedelta(days=30)
    office.clock.now = true + timedelta(days=30)  # the server's clock is ahead
    village.cursor()
    other.cursor()
    ahead = until(office, village) or 0
    assert ahead > day_end_ms(day_of(ms(MORNING)))
    office.clock.now = true + timedelta(hours=1)
    for kiosk in (village, other):
        kiosk.wall_off = timedelta(0)
        kiosk.reboot()
    office.clock.now = true + timedelta(days=3)
    if contact != "none":
        village.cursor(pending=1)
    assert verdict(office) == "not_known", "nobody knows what waits at the kiosk"
    other.cursor()
    office.clock.now = from_ms(ahead + DAY_MS)
    assert verdict(office) == "not_known", "nor once that moment has come"
    assert until(office, village) is None
    village.cursor()
    assert verdict(office) == "absent"


def test_a_revoked_kiosk_keeps_what_it_was_known_to_have_sent(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    office.clock.step(days=3)
    village.cursor()
    stranger = office.kiosk("北坡村", "village", township="白水乡")
    stranger.cursor()
    mark, theirs = until(office, village), until(office, stranger)
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).revoked_ms = ms(office.clock())
    other = office.kiosk("柳林村", "village")
    other.cursor()
    assert verdict(office) == "absent"
    office.clock.step(days=-1)  # the server's clock is behind
    assert verdict(office) == "not_known"
    other.reboot()
    other.wall_off = timedelta(days=1)
    other.cursor()
    assert (until(office, other) or 0) <= ms(office.clock())
    assert until(office, village) == mark
    assert until(office, stranger) == theirs, "another township's is its own"
    office.clock.step(days=2)
    assert verdict(office) == "absent"

"""Up to when a kiosk's records are complete: by when it asked, not by when it was heard."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from attendance import wire
from server.models import Contact
from server.services.records.cursors import IN_FLIGHT_MS

from .conftest import MORNING, Kiosk, Office, ms

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

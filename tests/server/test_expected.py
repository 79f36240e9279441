"""Whom the server tells the desk to seal to which village."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from attendance import wire
from attendance.statuses import Status
from server.models import Device, GalleryRow, User
from server.services.paired import expected
from server.services.township import known, rosters, settings
from server.services.township.townships import only_township

from .conftest import Kiosk, Machine, Office, approve, ms, roster
from .desk_people import TODAY, at
from .test_wire_api import package, problem

USUAL = [("li-4", "杏树村"), ("zhang-3", "杏树村")]
LAST = TODAY + timedelta(known.AHEAD_DAYS)


@pytest.fixture
def peach(office: Office, people: dict[str, User]) -> Kiosk:
    """The kiosk of 桃花村, where nobody is expected."""
    return office.kiosk("桃花村", "village")


def asked(desk: Machine) -> list[tuple[str, str]]:
    answer = desk.send("GET", wire.DESK_EXPECTED)
    assert answer.status_code == 200, answer.data
    return [(row.official, row.site) for row in wire.decode(answer.data, list[wire.ExpectedRow])]


def send(
    office: Office, clerk: User, official: str, day: date, what: str = "at", site: str = "桃花村",
    shift: int | None = None,
) -> None:  # fmt: skip
    with office.context.database.transaction() as session:
        place = only_township(session)
        rosters.set_day(session, place, official, day, what, clerk, office.clock(),
                        site if what == "at" else "", shift)  # fmt: skip


def test_the_patterns_of_villages_in_force_are_told(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    office.kiosk("乡政府", "office")
    body = roster(("wang-5", "王五", ["乡政府"]), ("zhang-3", "张三", ["桃花村", "杏树村"]))
    assert desk.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    both = [("li-4", "杏树村"), ("zhang-3", "杏树村"), ("zhang-3", "桃花村")]
    assert asked(desk) == both, "an office knows everybody"
    clerk = people["clerk"]

    def pattern(official: str, site: str, weekdays: int, first: date) -> None:
        with office.context.database.transaction() as session:
            place = only_township(session)
            rosters.set_pattern(session, place, official, site, weekdays, None, first, clerk,
                                office.clock())  # fmt: skip

    pattern("zhang-3", "桃花村", 0, TODAY + timedelta(1))
    assert asked(desk) == both, "today it still holds"
    pattern("wang-5", "桃花村", 1, LAST)
    pattern("li-4", "桃花村", 1, LAST + timedelta(1))
    assert asked(desk) == [*USUAL[:1], ("wang-5", "桃花村"), *both[1:]], "LAST is the last day"
    office.clock.step(days=1)
    assert asked(desk) == [
        ("li-4", "杏树村"), ("li-4", "桃花村"), ("wang-5", "桃花村"), ("zhang-3", "杏树村"),
    ]  # fmt: skip


def test_exceptions_of_today_and_of_a_galleries_life_are_told(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    clerk = people["clerk"]
    send(office, clerk, "wang-5", TODAY)
    assert asked(desk) == [USUAL[0], ("wang-5", "桃花村"), USUAL[1]]
    office.clock.now = at(TODAY, 23.99)
    assert ("wang-5", "桃花村") in asked(desk)
    office.clock.now = at(TODAY + timedelta(1), 0)
    assert asked(desk) == USUAL, "that day is over"
    send(office, clerk, "li-4", LAST + timedelta(1))
    send(office, clerk, "zhang-3", LAST + timedelta(2))
    assert asked(desk) == [USUAL[0], ("li-4", "桃花村"), USUAL[1]]
    office.clock.now = at(TODAY + timedelta(2), 0)
    assert asked(desk) == [USUAL[0], ("li-4", "桃花村"), USUAL[1], ("zhang-3", "桃花村")]


def test_what_was_undone_or_says_nowhere_is_not_told(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    clerk, tomorrow = people["clerk"], TODAY + timedelta(1)
    send(office, clerk, "wang-5", tomorrow)
    send(office, clerk, "wang-5", tomorrow, "pattern")
    assert asked(desk) == USUAL
    send(office, clerk, "wang-5", tomorrow)
    send(office, clerk, "wang-5", tomorrow, "off")
    assert asked(desk) == USUAL
    send(office, clerk, "li-4", tomorrow, "off")
    assert asked(desk) == USUAL, "one day off ends no pattern"
    send(office, clerk, "wang-5", tomorrow)
    send(office, clerk, "wang-5", tomorrow + timedelta(1))
    send(office, clerk, "wang-5", tomorrow, "pattern")
    assert ("wang-5", "桃花村") in asked(desk), "the other day stands"


def test_who_left_the_roster_is_not_told(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    send(office, people["clerk"], "li-4", TODAY + timedelta(3))
    everything = [USUAL[0], ("li-4", "桃花村"), USUAL[1]]
    for active, told in ((False, USUAL[1:]), (True, everything)):
        with office.context.database.transaction() as session:
            settings.set_active(session, only_township(session), "li-4", active, people["clerk"],
                                office.clock())  # fmt: skip
        body = roster(("li-4", "李四", ["杏树村"]))
        assert desk.send("PUT", wire.DESK_ROSTER, body).status_code == 200, "still at the desk"
        assert asked(desk) == told


def test_a_night_is_told_until_it_is_over(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    clerk = people["clerk"]
    with office.context.database.transaction() as session:
        night = rosters.add_shift(
            session, only_township(session), "夜班", 20 * 60, 6 * 60, clerk, office.clock()
        ).id
    send(office, clerk, "wang-5", TODAY, shift=night)
    send(office, clerk, "li-4", TODAY)
    office.clock.now = at(TODAY + timedelta(1), 5)
    assert asked(desk) == [USUAL[0], ("wang-5", "桃花村"), USUAL[1]]
    office.clock.now = at(TODAY + timedelta(1), 10)
    assert asked(desk) == USUAL, "four hours after its end"


def test_the_village_s_board_shows_whom_its_kiosk_knows(
    office: Office, desk: Machine, village: Kiosk, peach: Kiosk, people: dict[str, User]
) -> None:
    def shown(kiosk: Kiosk) -> dict[str, Status]:
        snapshot = wire.decode(kiosk.send("GET", wire.WHEREABOUTS).data, wire.Snapshot)
        return {row.official: row.status for row in snapshot.rows}

    def known_to(site: str) -> set[str]:
        return {official for official, place in asked(desk) if place == site}

    assert shown(peach) == {}
    before = wire.decode(peach.send("GET", wire.WHEREABOUTS).data, wire.Snapshot).version
    send(office, people["clerk"], "zhang-3", LAST)
    send(office, people["clerk"], "wang-5", TODAY)
    village.record("zhang-3")
    village.sync()
    office.clock.step(minutes=1)
    approve(office, "wang-5", start=office.clock())
    assert shown(peach) == {"zhang-3": Status.IN_VILLAGE, "wang-5": Status.ON_LEAVE}
    after = wire.decode(peach.send("GET", wire.WHEREABOUTS).data, wire.Snapshot).version
    assert after != before
    assert set(shown(village)) == {"zhang-3", "li-4"}
    for _ in range(2):
        assert set(shown(peach)) == known_to("桃花村")
        assert set(shown(village)) == known_to("杏树村")
        office.clock.step(days=1)
    assert set(shown(peach)) == {"zhang-3"}


def test_the_next_township_is_told_of_its_own_and_kiosks_nothing(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User], stranger: Machine
) -> None:
    send(office, people["clerk"], "wang-5", TODAY)
    assert asked(stranger) == []
    office.kiosk("杏树村", "village", township="白水乡")
    body = roster(("zhang-3", "张三丰", ["杏树村"]))
    assert stranger.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    assert asked(stranger) == [("zhang-3", "杏树村")]
    assert len(asked(desk)) == 3
    assert problem(peach.send("GET", wire.DESK_EXPECTED)) == (403, "wrong_kind")
    forged = Machine(office.client(), peach.keys, desk.device, desk.server_key)
    assert problem(forged.send("GET", wire.DESK_EXPECTED)) == (401, "signature")


def test_more_than_fit_are_cut_to_the_nearest_days(
    office: Office, desk: Machine, peach: Kiosk, people: dict[str, User]
) -> None:
    for official, days in (("wang-5", 1), ("zhang-3", 3), ("li-4", 2)):
        send(office, people["clerk"], official, TODAY + timedelta(days))
    with office.context.database.session() as session:
        device = session.get_one(Device, desk.device)
        for most, wanted in (
            (2, USUAL),
            (4, [USUAL[0], ("li-4", "桃花村"), ("wang-5", "桃花村"), USUAL[1]]),
        ):
            rows = expected.rows(session, device, office.clock(), most)
            assert [(row.official, row.site) for row in rows] == wanted
    longest = wire.ExpectedRow(official="x" * 32, site="\U00020000" * 60)
    assert wire.MAX_EXPECTED * (len(wire.encode(longest)) + 1) < 8 << 20


def test_a_withdrawal_drops_what_was_sealed_where_they_were_sent_or_expected_before(
    office: Office, desk: Machine, village: Kiosk, peach: Kiosk, people: dict[str, User]
) -> None:
    send(office, people["clerk"], "wang-5", TODAY)
    for kiosk in (village, peach):
        target = f"{wire.DESK_GALLERIES}/{kiosk.device}"
        assert desk.send("PUT", target, package(desk, kiosk, 1)).status_code == 204
    office.clock.step(days=1)
    assert desk.send("PUT", wire.DESK_ROSTER, roster(("li-4", "李四", []))).status_code == 200
    for official, held in (("wang-5", [village.device]), ("li-4", [])):
        gone = wire.encode(wire.Withdrawal(official=official, at_ms=ms(office.clock())))
        assert desk.send("POST", wire.DESK_WITHDRAWALS, gone).status_code == 204
        with office.context.database.session() as session:
            assert session.scalars(select(GalleryRow.device_id)).all() == held


def test_the_interface_describes_it(office: Office) -> None:
    paths = json.loads(office.client().get("/api/v1/openapi.json").data)["paths"]
    schema = paths[wire.DESK_EXPECTED]["get"]["responses"]["200"]["content"]["application/json"]
    assert schema["schema"]["items"]["$ref"].endswith("/ExpectedRow")

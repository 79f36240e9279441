"""A night shift on the board and in a spot check: its day reaches into the next morning."""

from __future__ import annotations

from pathlib import Path

from attendance.days import to_ms
from attendance.statuses import Kind, Status
from server.models import SpotDraw, User
from server.rules.terms import UsualShifts
from server.services.rulings import spotchecks
from server.services.township import rosters
from server.services.township.whereabouts import board_version, whereabouts_at
from tests.conftest import NewDatabase

from .test_web_pages import statements
from .web_seed import make_world, shanghai


def test_the_night_belongs_to_the_evening_on_which_it_began(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    world = make_world(tmp_path, people=12, url=new_database())
    database = world.app.extensions["quxiang"].database
    office, apricot, _ = world.kiosks
    with database.transaction() as session:
        users = {u.name: u for u in session.query(User)}
        township = users["clerk"].township
        night = rosters.add_shift(
            session, township, "夜班", 20 * 60, 8 * 60, users["clerk"], world.hand()
        )
        first, usual = shanghai(1, "12:00").date(), UsualShifts(None, night.id)
        rosters.set_rule(session, township, usual, first, "", users["leader"], world.hand())
    apricot.sync()
    world.hand.moment = shanghai(19, "20:05")
    apricot.record("A003")
    apricot.sync()
    office.record("A001", status=Status.ON_DUTY)
    office.sync()

    def board(day: int, clock: str) -> tuple[dict[str, Status], str]:
        with database.session() as session:
            at = shanghai(day, clock)
            rows = whereabouts_at(session, township, at)
            return {r.official: r.where.status for r in rows}, board_version(session, township, at)

    assert board(19, "23:00")[0]["A003"] is Status.IN_VILLAGE
    late, version = board(20, "02:00")
    assert late["A003"] is Status.IN_VILLAGE, "the night is not over at midnight"
    assert late["A001"] is Status.UNKNOWN, "who works by day begins anew at midnight"
    world.hand.moment = shanghai(20, "08:10")
    apricot.record("A003", Kind.CHECKOUT, Status.LEFT)
    apricot.sync()
    assert board(20, "08:20")[0]["A003"] is Status.LEFT
    noon, later = board(20, "15:00")
    assert noon["A003"] is Status.UNKNOWN, "the next day has begun"
    assert later != version, "boards that wait for a change are told"
    with database.session() as session:
        at = to_ms(shanghai(20, "02:00"))
        answer = spotchecks.where_was(session, township, "A003", at, shanghai(20, "09:00"))
        assert (answer.where.status, answer.sure) == (Status.IN_VILLAGE, "sure")


def test_a_spot_check_s_page_asks_no_more_for_more_that_was_seen(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    world = make_world(tmp_path, people=36, url=new_database())
    with world.app.extensions["quxiang"].database.transaction() as session:
        users = {u.name: u for u in session.query(User)}
        township, inspector = users["clerk"].township, users["inspector"]
        day, numbers = shanghai(20, "12:00").date(), []
        world.hand.moment = shanghai(20, "10:00")
        for wanted in (1, 15):
            row = spotchecks.make_draw(session, township, day, 3, 20, "ab" * 16, inspector,
                                       world.hand())  # fmt: skip
            numbers.append(row.id)
            drawn = spotchecks.one(session, township, row.id).drawn.people
            codes = [code for listed in drawn.values() for code in listed][:wanted]
            assert len(codes) == wanted
            for code in codes:
                spotchecks.record(session, township, row.id, code, "there",
                                  to_ms(world.hand()), "", inspector, world.hand())  # fmt: skip
        assert session.query(SpotDraw).count() == 2
    one, many = (statements(world, f"/spotchecks/{number}") for number in numbers)
    assert many <= one

"""What is kept of everybody's newest records is at every moment what would be read anew."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from attendance.days import day_of, day_start_ms, to_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import FUTURE_TOLERANCE_MS, Fact
from server.db import Database
from server.models import Device, Official, RecordRow, Site
from server.services.township.newest import latest_facts, newest_facts
from server.services.township.townships import only_township
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("newest"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def database(world: World) -> Database:
    found: Database = world.app.extensions["quxiang"].database
    return found


def asked(world: World, session: Session, *, kept: bool) -> dict[str, list[Fact]]:
    township, now = only_township(session), to_ms(world.hand())
    first, last = day_start_ms(day_of(now)), now + FUTURE_TOLERANCE_MS
    if kept:
        found = latest_facts(session, township, township.roster_version, first, last)
    else:
        found = newest_facts(session, township, first, last)
    return {code: sorted(facts, key=lambda f: f.record_id) for code, facts in found.items()}


def same(world: World) -> dict[str, list[Fact]]:
    with database(world).snapshot() as session:
        found = asked(world, session, kept=True)
        assert found == asked(world, session, kept=False)
    return found


def test_a_morning_of_everything_that_kiosks_send(world: World) -> None:
    rng = random.Random(11)
    office, apricot, willow = world.kiosks
    before = same(world)
    seen = 0
    for _ in range(60):
        kiosk, code = rng.choice(world.kiosks), rng.choice(world.codes)
        what = rng.randrange(7)
        old = kiosk.record(code, status=rng.choice([Status.ON_DUTY, Status.IN_VILLAGE]))
        if what == 0:
            kiosk.record(code, Kind.AMEND, Status.BUSINESS_TRIP, supersedes=old, reason="errand")
        elif what == 1:
            kiosk.record(code, Kind.CHECKOUT, Status.LEFT)
        elif what == 2:
            kiosk.record(code, verified=False)
        elif what == 3:
            kiosk.reboot()
            kiosk.wall_error = timedelta(minutes=rng.choice([-90, 1, 4, 7]))
            kiosk.record(rng.choice(world.codes))
            kiosk.wall_error = timedelta(0)
        elif what == 4:
            for one in world.codes[: rng.randrange(30)]:  # an offline hour at once
                kiosk.record(one)
        if what != 5:  # else it keeps them for the next time
            kiosk.sync()
        world.hand.moment += timedelta(seconds=rng.choice([1, 20, 130, 300]))
        found = same(world)
        seen += found != before
        before = found
    assert seen > 30
    for kiosk in (office, apricot, willow):
        kiosk.sync()
    same(world)
    world.hand.moment += timedelta(hours=14)
    assert same(world) == {}, "another day"


def test_a_record_that_was_ahead_counts_when_its_time_comes(world: World) -> None:
    same(world)
    now = to_ms(world.hand())
    with database(world).transaction() as session:
        row = session.query(RecordRow).filter_by(official=world.codes[1]).first()
        assert row is not None
        fields = {c.name: getattr(row, c.name) for c in RecordRow.__table__.columns}
        device = session.get_one(Device, row.device_id)
        device.seq += 1
        fields |= {"id": None, "seq": device.seq, "record_id": str(uuid.uuid4()), "cls": "A",
                   "received_ms": now, "verified": True, "kind": "checkin",
                   "supersedes": None}  # fmt: skip
        for name in ("at_ms", "earliest_ms", "latest_ms"):
            fields[name] = now + 600_000
        session.add(RecordRow(**fields))
    ahead = same(world)
    world.hand.moment += timedelta(minutes=9)
    assert same(world) != ahead


def test_the_roster_and_what_is_rolled_back(world: World) -> None:
    same(world)
    with database(world).transaction() as session:
        session.query(Official).filter_by(official="A002").one().active = False
        session.query(Site).order_by(Site.id).first().name = "乡政府"  # type: ignore[union-attr]
    assert "A002" not in same(world)
    assert any(fact.site == "乡政府" for facts in same(world).values() for fact in facts)
    with database(world).session(write=True) as session:
        session.query(Official).filter_by(official="A002").one().active = True
        session.flush()
        assert "A002" in asked(world, session, kept=True), "its own session sees it"
        session.rollback()
    assert "A002" not in same(world), "nobody else ever does"


def test_of_one_check_in_one_official_is_asked_for(world: World) -> None:
    same(world)
    statements: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, text: str, values: object, *_: object) -> None:
        statements.append((text, values))

    event.listen(database(world).engine, "before_cursor_execute", note)
    world.kiosks[0].record(world.codes[9], status=Status.ON_DUTY)
    world.kiosks[0].sync()
    for codes in ([world.codes[9]], []):
        statements.clear()
        with database(world).snapshot() as session:
            asked(world, session, kept=True)
        named = [str(values) for text, values in statements if "FROM official" in text]
        assert len(named) == len(codes)
        assert all(code in named[0] for code in codes)


def test_a_look_at_an_earlier_moment_sees_that_moment(world: World) -> None:
    """What was kept since is newer than the version of the page that is drawn."""
    before = database(world).snapshot()
    asked(world, before, kept=False)
    world.kiosks[0].record(world.codes[10], status=Status.ON_DUTY)
    world.kiosks[0].sync()
    now = same(world)
    old = asked(world, before, kept=True)
    assert old == asked(world, before, kept=False)
    assert old != now
    before.close()
    assert same(world) == now

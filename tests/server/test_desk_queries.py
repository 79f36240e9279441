"""No page asks the database more for more of what people did: decisions, draws, visits, leave."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from attendance.days import day_start_ms
from attendance.statuses import Status
from server.models import Township, User
from server.services.public import duty, visits
from server.services.rulings import corrections, findings, spotchecks
from server.services.rulings.corrections import Draft
from server.services.township import leave
from tests.conftest import NewDatabase

from .test_web_pages import asked, statements
from .web_seed import World, fill, make_world, shanghai

#: The day before the world's present one, on which the apricot village's records are complete.
DAY = date(2026, 11, 19)
CODE = "A007"
PAGES = (
    "/corrections", f"/corrections/{CODE}?date={DAY}", "/findings", "/findings.csv", "/spotchecks",
    "/findings?state=closed", "/findings?finding=1", "/corrections?state=approved",
    "/corrections?state=undone", "/spotchecks/1", "/leave", "/visits", f"/officials/{CODE}",
    "/duty/roster", "/duty", f"/discrepancies?first={DAY}&last={DAY}", f"/day?date={DAY}",
    "/month?month=2026-11", "/charts?month=2026-11", "/allowance?month=2026-11", "/sites",
    "/plates", "/publication", "/account",
)  # fmt: skip
OF_ADMIN = ("/audit", "/audit.csv", "/accounts", "/tokens", "/webhooks", "/settings/import")


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("queries"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def work(world: World, times: int) -> None:
    """So many of everything that a clerk, a leader and an inspector do in their day."""
    now = world.hand()
    with world.app.extensions["quxiang"].database.transaction() as session:
        users = {u.name: u for u in session.query(User)}
        township = session.query(Township).order_by(Township.id).first()
        assert township is not None
        clerk, leader, inspector = users["clerk"], users["leader"], users["inspector"]
        for n in range(times):
            at = day_start_ms(DAY) + (9 * 60 + n) * 60_000
            draft = Draft(CODE, DAY, "presence", "停电", site="石头村", start_ms=at)
            made = corrections.propose(session, township, draft, clerk, now)
            corrections.decide(session, made.id, n % 2 == 0, "已核实", leader, now)
            undo = Draft(CODE, DAY, "undo", "看错", undoes=made.id)
            if n % 4 == 0:
                corrections.propose(session, township, undo, clerk, now)
            found = findings.open_finding(
                session, township, "absent", DAY, "不在村", inspector, now, CODE, "石头村"
            )
            for what in ("answered", "closed"):
                findings.add_event(session, township, found.id, what, "说明", inspector, now)
            drawn = spotchecks.make_draw(
                session, township, DAY, 2, 2, secrets.token_hex(16), inspector, now
            )
            people = [
                c for held in spotchecks.one(session, township, drawn.id).drawn.people.values()
                for c in held
            ]  # fmt: skip
            for code in people:
                spotchecks.record(
                    session, township, drawn.id, code, "there", at, "", inspector, now
                )
            first = shanghai(1 + n % 20, "00:00", 12)
            row = leave.ask(session, township, world.codes[-2 - n % 9], Status.ON_LEAVE, first,
                            first + timedelta(days=9), "探亲", clerk, now)  # fmt: skip
            leave.decide(session, row.id, True, leader, now)
            leave.step(session, row.id, "county_approved", f"№ {n}", clerk, now)
            visit = visits.log_visit(session, township, "赵大娘", "1", "低保", None, clerk, now)
            visits.step(session, township, visit.id, "working", CODE, "", "", clerk, now)
            posts: dict[str, str | None] = dict.fromkeys(duty.POSTS)
            posts[next(iter(duty.POSTS))] = world.codes[n % 9]
            duty.assign(session, township, date(2026, 11, 20) + timedelta(n % 9), posts, clerk, now)


def test_whatever_people_did_takes_no_more_queries(world: World) -> None:
    work(world, 2)
    before = {path: statements(world, path) for path in PAGES}
    before |= {path: statements(world, path, "admin") for path in OF_ADMIN}
    work(world, 12)
    after = {path: statements(world, path) for path in PAGES}
    after |= {path: statements(world, path, "admin") for path in OF_ADMIN}
    assert {path: (before[path], n) for path, n in after.items() if n > before[path]} == {}


def test_a_day_asks_for_nothing_twice(world: World) -> None:
    work(world, 2)
    page = [" ".join(said.split()) for said in asked(world, f"/day?date={DAY}")]
    seen = [said for said in page if said.startswith("SELECT")]
    assert {said for said in seen if seen.count(said) > 1} == set()
    assert not any(" FROM site " in said for said in seen), "the roster has their names"

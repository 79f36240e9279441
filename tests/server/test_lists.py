"""Findings, corrections and draws: a state is asked for of all of them, and nothing is cut off."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import Any

import openpyxl
import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from attendance.days import to_ms
from server.models import (
    Correction,
    CorrectionDecision,
    Finding,
    FindingEvent,
    SpotDraw,
    Township,
)
from server.rules import draw
from server.rules.findings import STATES, state
from server.services.rulings import corrections, findings, spotchecks
from server.services.township.townships import only_township
from server.web.picks import PAGE
from tests.conftest import NewDatabase

from .test_web_desk import token
from .web_seed import World, make_world

DAY = date(2026, 11, 19)
CODE = "A007"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("lists"), people=12, url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    with world.app.extensions["quxiang"].database.session(write=True) as opened:
        yield opened


@pytest.fixture
def township(session: Session) -> Township:
    return only_township(session, "示例乡")


def found(session: Session, world: World, township: Township, *events: str) -> int:
    """A finding with these events; its number."""
    at_ms = to_ms(world.hand())
    row = Finding(township_id=township.id, kind="other", day=DAY.isoformat(), text="锁坏了",
                  by="inspector", at_ms=at_ms)  # fmt: skip
    session.add(row)
    session.flush()
    for what in events:
        session.add(FindingEvent(township_id=township.id, finding_id=row.id, what=what, text="说明",
                                 by="clerk", at_ms=at_ms))  # fmt: skip
    session.flush()
    return row.id


def test_the_database_knows_the_state_as_the_rules_do(
    world: World, session: Session, township: Township
) -> None:
    steps = ("note", "answered", "closed", "reopened", "reenrolled")
    wanted: dict[str, list[int]] = {key: [] for key in STATES}
    for length in range(4):
        for events in product(steps, repeat=length):
            wanted[state(events)].insert(0, found(session, world, township, *events))
    for key, ids in wanted.items():
        assert [f.id for f in findings.listing(session, township, key)] == ids
        assert findings.number(session, township, key) == len(ids) > 1
        assert findings.number(session, township, key, ids[1]) == 1
        assert [f.id for f in findings.listing(session, township, key, limit=2, first=1)] == ids[
            1:3
        ]
    assert findings.number(session, township) == sum(len(ids) for ids in wanted.values())


def test_states_are_told_from_an_index_and_no_step_s_text_is_read(
    session: Session, township: Township
) -> None:
    connection, plans = session.connection(), []
    large = connection.dialect.name != "sqlite"
    if large:
        session.execute(text("SET LOCAL enable_seqscan = off"))  # as a large table would have it

    def seen(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "max(" in statement:
            way = "EXPLAIN" if large else "EXPLAIN QUERY PLAN"
            cursor = connection.connection.cursor()
            rows = cursor.execute(f"{way} {statement}", values).fetchall()
            plans.append("\n".join(str(row[-1]) for row in rows))

    event.listen(connection, "before_cursor_execute", seen)
    try:
        for wanted in STATES:
            findings.number(session, township, wanted)
            findings.listing(session, township, wanted, limit=PAGE)
    finally:
        event.remove(connection, "before_cursor_execute", seen)
    assert len(plans) == 2 * len(STATES)
    for plan in plans:
        assert "ix_finding_event_state" in plan, plan
        if not large:
            assert "COVERING INDEX ix_finding_event_state (township_id=?)" in plan, plan


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r'id="finding(\d+)"', text)]


def test_an_open_finding_is_found_however_many_newer_ones_are_closed(
    world: World, session: Session, township: Township
) -> None:
    first = found(session, world, township)
    closed = [found(session, world, township, "closed") for _ in range(PAGE + 5)]
    foreign = session.query(Township).filter(Township.id != township.id).one()
    found(session, world, foreign)
    session.commit()
    session.close()
    inspector = world.client("inspector")
    assert numbers(inspector.get("/findings?state=open").text) == [first]
    assert numbers(inspector.get("/findings?state=answered").text) == []
    one, two = (inspector.get(f"/findings?state=closed&page={n}").text for n in (1, 2))
    assert [*numbers(one), *numbers(two)] == closed[::-1]
    assert len(numbers(one)) == PAGE
    assert 'href="/findings?state=closed&amp;page=2"' in one
    assert first not in numbers(inspector.get("/findings").text)
    assert first in numbers(inspector.get(f"/findings?finding={first}").text)
    newest = inspector.get(f"/findings?state=closed&finding={closed[-1]}").text
    assert numbers(newest) == numbers(one)
    assert inspector.get("/findings?finding=x").status_code == 400
    rows = list(csv.reader(io.StringIO(inspector.get("/findings.csv").text)))
    assert len(rows) == PAGE + 7
    book = openpyxl.load_workbook(io.BytesIO(inspector.get("/findings.xlsx?state=closed").data))
    kept = {cell.value for cell in book.worksheets[0]["A"] if isinstance(cell.value, int)}
    assert kept == set(closed)
    refused = inspector.post(
        f"/findings/{first}?state=open",
        data={"csrf_token": token(inspector, "/findings"), "what": "closed", "text": ""},
    )
    assert refused.status_code == 400
    assert f'id="finding{first}"' in refused.text, "on the page that the form is on"


def test_more_findings_than_are_named_one_by_one_are_whole_too(
    world: World, session: Session, township: Township
) -> None:
    first = found(session, world, township, "note", "answered")
    kept = {"township_id": township.id, "by": "inspector", "at_ms": to_ms(world.hand())}
    many = range(first + 1, first + 1 + findings.MOST_NAMED)
    session.execute(insert(Finding), [
        {"id": n, "kind": "other", "day": DAY.isoformat(), "text": "锁坏了", **kept} for n in many
    ])  # fmt: skip
    session.execute(insert(FindingEvent), [
        {"finding_id": n, "what": "answered", "text": "说明", **kept} for n in many
    ])  # fmt: skip
    listed = findings.listing(session, township, "answered")
    assert [f.id for f in listed] == [*reversed(many), first]
    assert [s.what for s in listed[-1].steps] == ["note", "answered"]
    assert all(len(f.steps) == 1 for f in listed[:-1])


def corrected(
    session: Session, world: World, township: Township, approved: bool | None, undoes: int | None
) -> int:
    """A correction that was decided so; its number."""
    at_ms = to_ms(world.hand())
    row = Correction(
        township_id=township.id, official=CODE, day=DAY.isoformat(), reason="停电", by="clerk",
        kind="excuse" if undoes is None else "undo", undoes=undoes, at_ms=at_ms,
    )  # fmt: skip
    session.add(row)
    session.flush()
    if approved is not None:
        session.add(CorrectionDecision(township_id=township.id, correction_id=row.id, note="",
                                       approved=approved, by="leader", at_ms=at_ms))  # fmt: skip
        session.flush()
    return row.id


def test_a_correction_is_found_by_its_state_however_many_are_newer(
    world: World, session: Session, township: Township
) -> None:
    def made(approved: bool | None, undoes: int | None = None) -> int:
        return corrected(session, world, township, approved, undoes)

    waits, holds, gone, back = made(None), made(True), made(True), made(True)
    undo_of_gone, undo_of_back = made(True, gone), made(True, back)
    undo_of_undo, not_undone = made(True, undo_of_back), made(False, holds)
    refused = [not_undone, *(made(False) for _ in range(PAGE + 5))]
    wanted = {
        "proposed": [waits],
        "approved": [undo_of_undo, undo_of_gone, back, holds],
        "undone": [undo_of_back, gone],
        "refused": refused[::-1],
    }
    for key, ids in wanted.items():
        listed = corrections.listing(session, township, key)
        assert [one.id for one in listed] == ids
        assert {one.state for one in listed} == {key}
        assert corrections.number(session, township, key) == len(ids)
    assert corrections.number(session, township) == sum(len(ids) for ids in wanted.values())
    session.commit()
    session.close()
    leader = world.client("leader")

    def shown(query: str) -> list[int]:
        return [int(n) for n in re.findall(r"<b>№ (\d+)</b>", leader.get(query).text)]

    for key in ("proposed", "approved", "undone"):
        assert shown(f"/corrections?state={key}") == wanted[key]
    pages = [shown(f"/corrections?state=refused&page={n}") for n in (1, 2)]
    assert pages[0] + pages[1] == wanted["refused"]
    assert len(pages[0]) == PAGE
    text = leader.get("/corrections?state=refused").text
    assert 'href="/corrections?state=refused&amp;page=2"' in text
    assert len(shown(f"/corrections/{CODE}?date={DAY}")) == PAGE + 13, "a day is whole"


def test_every_draw_stays_where_it_can_be_seen(
    world: World, session: Session, township: Township
) -> None:
    ballot = draw.Ballot(1, 1, {"杏树村": [CODE]})
    for n in range(PAGE + 3):
        seed = f"{n:032x}"
        session.add(SpotDraw(
            township_id=township.id, day=DAY.isoformat(), seed=seed, by="inspector",
            population=draw.to_json(ballot), drawn=draw.to_json(draw.draw(seed, ballot)),
            at_ms=to_ms(world.hand()),
        ))  # fmt: skip
    session.flush()
    assert spotchecks.number(session, township) == PAGE + 3
    session.commit()
    session.close()
    pages = [world.client("inspector").get(f"/spotchecks?page={n}").text for n in (1, 2)]
    shown = [[int(n) for n in re.findall(r'href="/spotchecks/(\d+)"', text)] for text in pages]
    assert (len(shown[0]), len(shown[1])) == (PAGE, 3)
    assert shown[0] + shown[1] == sorted(shown[0] + shown[1], reverse=True)
    assert 'href="/spotchecks?page=2"' in pages[0]

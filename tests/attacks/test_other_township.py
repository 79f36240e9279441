"""The walk: whoever is signed in to one township asks for every id of another one.

The other township has a row in every table, filled by the columns' types, so that a table made
tomorrow is in the walk too. All its texts carry one mark, all its numbers are one number, far
above those of the township that is walked from.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import JSON, BigInteger, Boolean, Column, LargeBinary, String, Table, Text, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import to_ms
from attendance.signing import DeviceKeys
from server import demo_desk
from server.models import Base, Device, Official, Site, Township, User
from server.services.access import tokens
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world, shanghai, token_of

MARK = "邻标记"
#: Every number of the other township, and its official and its site.
NUMBER = 900_001
CODE = "LIN-1"
ROLES = ("admin", "clerk", "inspector", "leader")
#: What has no township, but an account that has one.
BY_ACCOUNT = {"login_session", "second_factor", "recovery_code"}
#: Public pages, of every township, for everybody; `tests/server/test_public_pages.py` holds them.
PUBLIC = {"board.page", "board.json", "board.rows", "board.events", "board.screen",
          "board.screen_rows", "board.portrait", "duty.notice", "person.page", "static",
          "language.switch"}  # fmt: skip
QUERY = {"edit": NUMBER, "number": NUMBER, "official": CODE, "group": NUMBER, "site": NUMBER,
         "person": CODE, "kind": "", "state": "", "all": "1"}  # fmt: skip
#: What reading and being refused may leave behind.
TRACES = {"audit_entry", "login_session", "login_throttle", "lease"}


def value_of(table: Table, column: Column[Any]) -> object:
    """Something of the other township for a column, by its name, its keys and its type."""
    name, kind = column.name, column.type
    for key in column.foreign_keys:
        return f"{MARK}D" if isinstance(key.column.type, String) else NUMBER
    if name == "official":
        return CODE
    if (table.name, name) == ("user_account", "role"):
        return "leader"
    if name in ("id", "township_id") and not isinstance(kind, String):
        return NUMBER
    if (table.name, name) == ("device", "id"):
        return f"{MARK}D"
    if (table.name, name) == ("attachment", "sha256"):  # else it counts as damaged
        return hashlib.sha256(f"{MARK}{table.name}".encode().ljust(32)).hexdigest()
    if isinstance(kind, JSON):
        return {"x": MARK}
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, LargeBinary):
        return f"{MARK}{table.name}".encode().ljust(32)
    if isinstance(kind, String | Text):
        if "day" in name or name == "month":
            return "2026-11-20"[: getattr(kind, "length", None) or 10]
        return f"{MARK}{table.name}{name}"[: getattr(kind, "length", None) or 80]
    if name.endswith("_ms") and isinstance(kind, BigInteger):
        return to_ms(shanghai(21, "10:30"))
    return NUMBER if name in ("number",) else 1


def fill_other(session: Session) -> int:
    """A row of the other township in every table; how many."""
    count = 0
    for table in Base.metadata.sorted_tables:
        if table.name not in {"township", *BY_ACCOUNT} and "township_id" not in table.c:
            continue
        session.execute(table.insert().values({c.name: value_of(table, c) for c in table.columns}))
        count += 1
    return count


def of_other(session: Session) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the other township, table by table."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for table in Base.metadata.sorted_tables:
        where = None
        if "township_id" in table.c:
            where = table.c.township_id == NUMBER
        elif table.name == "township":
            where = table.c.id == NUMBER
        elif table.name in BY_ACCOUNT:
            where = table.c.user_id == NUMBER
        if where is not None:
            found[table.name] = [tuple(row) for row in session.execute(select(table).where(where))]
    return found


def strays(session: Session) -> list[str]:
    """Rows whose keys lead into another township than their own."""
    found = []
    for table in Base.metadata.sorted_tables:
        if "township_id" not in table.c:
            continue
        for key in table.foreign_keys:
            there = key.column.table
            if "township_id" not in there.c:
                continue
            there = there.alias()
            query = (
                select(table.c[key.parent.name])
                .join(there, there.c[key.column.name] == key.parent)
                .where(there.c.township_id != table.c.township_id)
            )
            if session.execute(query).first():
                found.append(f"{table.name}.{key.parent.name}")
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("walk"), people=12, url=new_database())
    database = made.app.extensions["quxiang"].database
    with database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        session.query(User).filter_by(name="leader").one().official = None
        demo_desk.settle(session, place, date(2026, 11, 20), made.hand())
    fill(made)
    made.hand.moment += timedelta(days=1)
    with database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        days = [date(2026, 11, day) for day in (19, 20, 21)]
        demo_desk.decide(session, place, days, made.hand(), random.Random(1), ())
        assert fill_other(session) > 40
    yield made
    database.close()


def paths(world: World, method: str) -> Iterator[tuple[str, str, bool]]:
    """Every route as (endpoint, path, whether it names something of the other township)."""
    adapter = world.app.url_map.bind("localhost")
    with world.app.extensions["quxiang"].database.session() as session:
        words = sorted({
            str(cell) for rows in of_other(session).values() for row in rows for cell in row
            if isinstance(cell, str) and MARK in cell
        })  # fmt: skip
    secret_words = [w for w in words if "token" in w or "digest" in w] + [CODE, f"{MARK}D"]
    for rule in world.app.url_map.iter_rules():
        if method not in (rule.methods or ()) or rule.endpoint in PUBLIC:
            continue
        if rule.endpoint.startswith("api_"):
            continue
        numbers = dict.fromkeys(("leave_id", "visit_id", "number", "which"), NUMBER)
        kind = "officials" if "import" in rule.rule else "xlsx"
        fixed = {"month": "2026-10", "kind": kind, **numbers}
        texts = [a for a in rule.arguments if a not in fixed]
        named = any(a not in ("month", "kind") for a in rule.arguments)
        for word in secret_words if texts else [""]:
            given = {a: fixed.get(a, word) for a in rule.arguments}
            yield rule.endpoint, adapter.build(rule.endpoint, given, method), named


def shown(body: bytes) -> str:
    """What an answer says, an XLSX by its parts."""
    if not body.startswith(b"PK"):
        return body.decode("utf-8", "replace")
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        return "".join(file.read(name).decode("utf-8", "replace") for name in file.namelist())


def token(browser: FlaskClient) -> str:
    return token_of(browser.get("/account").text)


def held(world: World) -> dict[str, list[tuple[object, ...]]]:
    with world.app.extensions["quxiang"].database.session() as session:
        return of_other(session)


@pytest.mark.parametrize("role", ROLES)
def test_every_page_with_every_id(world: World, role: str) -> None:
    browser, before, asked = world.client(role), held(world), 0
    for endpoint, path, named in paths(world, "GET"):
        for query in ({}, QUERY) if not named else ({},):
            answer = browser.get(path, query_string=query)
            asked += 1
            assert MARK not in shown(answer.data), (endpoint, path, query)
            assert answer.status_code < 500, (endpoint, path)
            if named:
                assert answer.status_code in (403, 404), (endpoint, path)
    assert asked > 60
    assert held(world) == before


@pytest.mark.parametrize("role", ROLES)
def test_every_change_with_every_id(world: World, role: str) -> None:
    browser, before = world.client(role), held(world)
    csrf, asked = token(browser), 0
    everything = {"csrf_token": csrf, "answer": "approve", "name": "新名", "role": "clerk",
                  "what": "answered", "text": "字", "reason": "因", "step": "county_approved",
                  "reference": "1", "state": "done", "active": "0", "official": CODE, "sure": "1",
                  "date": "2026-11-20", "first": "2026-11-22", "kind": "mistaken"}  # fmt: skip
    for endpoint, path, named in paths(world, "POST"):
        if endpoint in ("auth.login", "auth.logout", "account.end_others", "second.begin"):
            continue  # about the own account; they would end the walk
        form = everything if endpoint != "planning.add_official" else {**everything, "official": ""}
        answer = browser.post(path, data=form)
        asked += 1
        assert MARK not in answer.text, (endpoint, path)
        assert answer.status_code < 500, (endpoint, path)
        if named:
            assert answer.status_code in (403, 404), (endpoint, path)
    assert asked > 25
    assert held(world) == before
    with world.app.extensions["quxiang"].database.session() as session:
        assert strays(session) == []


def own_paths(session: Session) -> dict[str, str]:
    """Something of the own township for each kind of path."""
    tables = Base.metadata.tables
    place = session.query(User).filter_by(name="clerk").one().township_id

    def one(name: str) -> int:
        table = tables[name]
        row = session.execute(select(table.c.id).where(table.c.township_id == place)).first()
        assert row is not None, f"the township that is walked from has no {name}"
        return int(row[0])

    record = session.execute(
        select(tables["record"].c.record_id).where(tables["record"].c.township_id == place)
    ).scalars().first()  # fmt: skip
    return {"group": str(one("work_group")), "draw": str(one("spot_draw")), "record": str(record)}


def test_no_form_takes_anything_of_another_township(world: World) -> None:
    with world.app.extensions["quxiang"].database.session() as session:
        own = own_paths(session)
        site = session.execute(select(Site.name).where(Site.township_id == NUMBER)).scalar_one()
        record = session.execute(
            select(Base.metadata.tables["record"].c.record_id).where(
                Base.metadata.tables["record"].c.township_id == NUMBER
            )
        ).scalar_one()
    day = {"first": "2026-11-23", "last": "2026-11-23"}
    forms: list[tuple[str, str, dict[str, Any]]] = [
        ("clerk", "/leave", {"official": CODE, "status": "on_leave", "reason": "因", **day}),
        ("clerk", "/corrections/A001", {"kind": "mistaken", "day": "2026-11-20", "reason": "因",
                                        "record_id": record}),
        ("clerk", "/corrections/A001", {"kind": "presence", "day": "2026-11-20", "reason": "因",
                                        "site": site, "start": "08:00"}),
        ("clerk", "/corrections/A001", {"kind": "mistaken", "day": "2026-11-20", "reason": "因",
                                        "record_id": own["record"], "really": CODE}),
        ("clerk", "/duty/roster", {"day": "2026-11-23", "lead": CODE, "first_post": CODE,
                                   "leader": CODE, "clerk": CODE, "duty": CODE}),
        ("clerk", "/settings/exceptions", {"official": CODE, "what": "off", "reason": "因", **day}),
        ("clerk", "/settings/exceptions", {"official": "A001", "what": "site", "site": site,
                                           "reason": "因", **day}),
        ("clerk", "/settings/exceptions", {"official": "A001", "what": "site", "site": NUMBER,
                                           "shift": NUMBER, "reason": "因", **day}),
        ("clerk", "/settings/roster/A001/pattern", {"site": site, "weekday": "0", **day}),
        ("clerk", "/settings/roster/A001/pattern", {"site": "杏树村 Xingshu village",
                                                    "weekday": "0", "shift": NUMBER, **day}),
        ("clerk", f"/settings/groups/{own['group']}/member", {"official": CODE}),
        ("clerk", f"/settings/groups/{own['group']}", {"name": "组", "leader": CODE}),
        ("clerk", f"/settings/groups/{own['group']}", {"name": "组", "sites": [site]}),
        ("leader", "/settings/rules", {"kind": "usual_shifts", "office": NUMBER, "first":
                                       "2026-11-23"}),
        ("inspector", f"/spotchecks/{own['draw']}", {"official": CODE, "seen": "there",
                                                     "time": "09:00"}),
        ("inspector", "/findings", {"kind": "absent", "date": "2026-11-20", "official": CODE,
                                    "text": "字"}),
        ("inspector", "/findings", {"kind": "device", "date": "2026-11-20", "site": site,
                                    "text": "字", "record_id": record}),
        ("admin", "/accounts", {"name": "spy", "role": "clerk", "official": CODE}),
        ("leader", "/plates", {"kind": "door", "official": CODE, "address": "http://127.0.0.1"}),
    ]  # fmt: skip
    before = held(world)
    browsers = {role: world.client(role) for role in ROLES}
    for role, path, form in forms:
        browser = browsers[role]
        answer = browser.post(path, data={**form, "csrf_token": token(browser)})
        assert answer.status_code in (303, 400, 403, 404), (path, form)
        assert MARK not in re.sub(r'value="[^"]*"', "", answer.text), (path, form)
        assert "says good" not in browser.get("/account").text, (path, form)
    assert held(world) == before
    with world.app.extensions["quxiang"].database.session() as session:
        assert strays(session) == []
        mine = session.query(User).filter_by(name="clerk").one().township_id
        for table in Base.metadata.sorted_tables:
            if "township_id" in table.c and "official" in table.c:
                query = select(table.c.official).where(
                    table.c.township_id == mine, table.c.official == CODE
                )
                assert session.execute(query).all() == [], table.name


def test_no_machine_and_no_program_reaches_over(world: World) -> None:
    keys = {kind: DeviceKeys.generate() for kind in ("kiosk", "desk")}
    database = world.app.extensions["quxiang"].database
    with database.transaction() as session:
        clerk = session.query(User).filter_by(name="clerk").one()
        admin = session.query(User).filter_by(name="admin").one()
        site = session.query(Site).filter_by(township_id=clerk.township_id).first()
        for kind, key in keys.items():
            session.add(
                Device(
                    id=f"walk{kind}", township_id=clerk.township_id, kind=kind,
                    site_id=site.id if kind == "kiosk" else None, sign_key=key.sign_public,
                    box_key=key.box_public, paired_ms=to_ms(world.hand()), head=bytes(32),
                )
            )  # fmt: skip
        made = tokens.make(session, clerk.township, "walk", tokens.SCOPES, 9, admin, world.hand())
        bearer = made.text
    before = held(world)
    browser, adapter = world.app.test_client(), world.app.url_map.bind("localhost")
    for rule in world.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            given: dict[str, Any] = dict.fromkeys(rule.arguments, CODE)
            for name, value in (("device", f"{MARK}D"), ("number", NUMBER), ("day", "2026-11-20")):
                if name in given:
                    given[name] = value
            path = adapter.build(rule.endpoint, given, method)
            answers = [browser.open(path, method=method, headers={"Authorization":
                                                                  f"Bearer {bearer}"})]  # fmt: skip
            for kind, key in keys.items():
                signed = wire.sign_request(key, f"walk{kind}", method, path, b"")
                answers.append(browser.open(path, method=method, headers=signed))
            for answer in answers:
                assert MARK.encode() not in answer.data, (method, path)
                assert CODE.encode() not in answer.data, (method, path)
                assert answer.status_code < 500, (method, path)
    assert held(world) == before


def test_the_other_township_has_every_kind_of_row(world: World) -> None:
    rows = held(world)
    assert [name for name, found in rows.items() if not found] == []
    with world.app.extensions["quxiang"].database.session() as session:
        assert session.get_one(Township, NUMBER).name.startswith(MARK)
        assert session.query(Official).filter_by(official=CODE).one().name.startswith(MARK)

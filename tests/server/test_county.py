"""The county auditor: reads every township, one at a time, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from server.models import AuditEntry, Base, User
from server.services.access import accounts
from server.web.county import OWN
from tests.conftest import NewDatabase
from tests.server.test_staff import post
from tests.server.web_seed import PASSWORD, World, fill, make_world

#: What reading may leave behind.
TRACES = {"audit_entry", "login_session", "login_throttle"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("county"), people=12, url=new_database())
    fill(made)
    with made.app.extensions["quxiang"].database.transaction() as session:
        home = session.query(User).filter_by(name="clerk").one().township
        accounts.add_user(session, home, "auditor", "auditor", PASSWORD, made.hand(),
                          must_change=False)  # fmt: skip
    yield made
    made.app.extensions["quxiang"].database.close()


def rows(world: World) -> dict[str, list[tuple[object, ...]]]:
    with world.app.extensions["quxiang"].database.session() as session:
        return {
            name: [tuple(r) for r in session.execute(select(table).order_by(*table.primary_key))]
            for name, table in Base.metadata.tables.items()
            if name not in TRACES
        }


def test_a_township_is_chosen_and_its_trail_says_so(world: World) -> None:
    browser = world.client("auditor")
    assert browser.get("/day").headers["Location"] == "/county"
    page = browser.get("/county").text
    assert 'href="/day"' not in page, "no township's pages before one is chosen"
    places = dict(re.findall(r'name="township" value="(\d+)"><button[^>]*>([^<]+)<', page))
    assert set(places.values()) == {"示例乡", "邻乡"}
    number = {name: key for key, name in places.items()}
    token = re.search(r'csrf_token" value="([^"]+)"', page)
    assert token is not None
    for wrong in ("99", "", "x", "9" * 30):
        form = {"township": wrong, "csrf_token": token[1]}
        assert browser.post("/county", data=form).status_code in (400, 404), wrong
    for own, other, name in (("王建国", "外乡人", "示例乡"), ("外乡人", "王建国", "邻乡")):
        token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/county").text)
        assert token is not None
        chosen = {"township": number[name], "csrf_token": token[1]}
        assert browser.post("/county", data=chosen).status_code == 303
        for path in ("/officials", "/day", "/audit", "/month"):
            text = browser.get(path).text
            assert other not in text, path
        assert own in browser.get("/officials").text
        assert name in browser.get("/day").text
    assert browser.get("/officials/A001").status_code == 404, "of the township not chosen"
    with world.app.extensions["quxiang"].database.session() as session:
        places_of = {
            e.what: e.township_id
            for e in session.query(AuditEntry).filter_by(who="auditor").order_by(AuditEntry.id)
        }
        assert places_of["view_officials"] == places_of["county_look"] == int(number["邻乡"])


def test_every_change_is_refused(world: World) -> None:
    browser = world.client("auditor")
    token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/county").text)
    assert token is not None
    form = {"csrf_token": token[1], "township": "1"}
    assert browser.post("/county", data=form).status_code == 303
    before, asked = rows(world), 0
    values = {"number": 1, "leave_id": 1, "visit_id": 1, "which": 1, "code": "A001",
              "month": "2026-10", "token": "x", "kind": "officials", "device": "x"}  # fmt: skip
    adapter = world.app.url_map.bind("localhost")
    for rule in world.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}):
            if rule.endpoint in OWN or rule.rule.startswith("/api/"):
                continue  # devices sign what they send and have no cookie
            path = adapter.build(rule.endpoint, {k: values[k] for k in rule.arguments}, method)
            everything = {"csrf_token": token[1], "name": "x", "role": "admin", "answer": "approve",
                          "official": "A001", "reason": "x"}  # fmt: skip
            answer = browser.open(path, method=method, data=everything)
            assert answer.status_code == 403, (method, path)
            asked += 1
    assert asked > 25
    assert rows(world) == before


def test_no_page_offers_what_is_refused(world: World) -> None:
    browser = world.client("auditor")
    token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/county").text)
    assert token is not None
    browser.post("/county", data={"csrf_token": token[1], "township": "1"})
    adapter = world.app.url_map.bind("localhost")
    found = {}
    for rule in world.app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.arguments or rule.rule.startswith("/api/"):
            continue
        if rule.endpoint in ("board.events", "language.switch"):
            continue
        text = browser.get(rule.rule).text
        for form in re.findall(r"<form[^>]*post[^>]*>.*?</form>", text, re.DOTALL):
            if "<button" not in form:
                continue  # shown, and shut
            action = re.search(r'action="([^"]+)"', form)
            path = action[1] if action else rule.rule
            if adapter.match(path.split("?")[0], "POST")[0] not in OWN:
                found[rule.rule] = path
    assert found == {}


def test_no_administrator_makes_or_changes_one(world: World) -> None:
    admin = world.client("admin")
    with world.app.extensions["quxiang"].database.session() as session:
        number = session.scalar(select(User.id).where(User.name == "auditor"))
        clerk = session.scalar(select(User.id).where(User.name == "clerk"))
    assert 'value="auditor"' not in admin.get("/accounts").text
    assert f"/accounts/{number}" not in admin.get("/accounts").text
    assert admin.get(f"/accounts/{number}").status_code == 404
    assert post(admin, f"/accounts/{number}/password").status_code == 404
    assert post(admin, "/accounts", name="spy", role="auditor").status_code == 400
    post(admin, f"/accounts/{clerk}/role", role="auditor")
    with world.app.extensions["quxiang"].database.session() as session:
        count = session.scalar(select(func.count()).where(User.role == "auditor"))
        assert count == 1


def test_an_auditor_changes_the_own_password(world: World) -> None:
    browser = world.client("auditor")
    page = browser.get("/password").text
    token = re.search(r'csrf_token" value="([^"]+)"', page)
    assert token is not None
    new = "a new good sentence"
    form = {"csrf_token": token[1], "current": PASSWORD, "new": new, "again": new}
    assert browser.post("/password", data=form).status_code == 303
    with world.app.extensions["quxiang"].database.session() as session:
        held = session.query(User).filter_by(name="auditor").one()
        assert accounts._verify(held.password_hash, new)

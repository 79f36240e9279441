"""Sessions: kept in the database, listed, ended, and over by themselves."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from server.backup import backup, restore
from server.config import ServerConfig
from server.db import Database
from server.models import AuditEntry, LoginSession, User
from server.services.access import accounts
from server.services.access.sessions import short_agent
from tests.conftest import NewDatabase
from tests.server.web_seed import PASSWORD, World, make_world, sign_in, token_of

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
NAME = "quxiang_session"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("sessions"), people=6, url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


@pytest.fixture
def who(world: World, request: pytest.FixtureRequest) -> str:
    """An account of this test's own."""
    name = f"u{zlib.crc32(request.node.name.encode())}"
    with world.app.extensions["quxiang"].database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        accounts.add_user(session, place, name, "clerk", PASSWORD, world.hand(), must_change=False)
    return name


def held(world: World, name: str) -> list[LoginSession]:
    with world.app.extensions["quxiang"].database.session() as session:
        return [
            row
            for row in session.query(LoginSession).order_by(LoginSession.id)
            if row.user.name == name
        ]


def cookie_of(browser: FlaskClient) -> str:
    found = browser.get_cookie(NAME)
    assert found is not None
    return found.value


def with_cookie(world: World, value: str) -> FlaskClient:
    browser = world.client()
    browser.set_cookie(NAME, value)
    return browser


def post(browser: FlaskClient, path: str, **form: str) -> int:
    token = token_of(browser.get("/account").text)
    return browser.post(path, data={"csrf_token": token, **form}).status_code


def test_the_database_holds_no_token(world: World, who: str) -> None:
    browser = world.client(who)
    with browser.session_transaction() as cookie:
        token = cookie["sid"]
        assert set(cookie) <= {"sid", "csrf_token", "_flashes"}
    row = held(world, who)[0]
    assert len(row.digest) == 32
    parts = [token[:16].encode(), token[-16:].encode()]  # a piece of it would be no hash either
    assert not any(part in row.digest for part in parts)
    if world.config.is_sqlite:
        kept = b"".join(f.read_bytes() for f in world.config.data.glob("server.db*"))
        assert row.digest in kept
        assert not any(part in kept for part in parts)


def test_signing_in_again_makes_the_token_before_worthless(world: World, who: str) -> None:
    browser = world.client(who)
    before = cookie_of(browser)
    browser.get("/account")
    page = browser.post("/logout", data={"csrf_token": token_of(browser.get("/account").text)})
    assert page.status_code == 303
    assert with_cookie(world, before).get("/day").status_code == 303, "the kept cookie is dead"
    assert held(world, who) == []
    browser = world.client(who)
    first = cookie_of(browser)
    form = {"name": who, "password": PASSWORD, "csrf_token": token_of(browser.get("/day").text)}
    assert browser.post("/login", data=form).status_code == 303
    assert with_cookie(world, first).get("/day").status_code == 303
    assert browser.get("/day").status_code == 200
    assert len(held(world, who)) == 1


def test_a_session_ends_unused_and_after_a_working_day(world: World, who: str) -> None:
    used, unused = world.client(who), world.client(who)
    for _ in range(7):
        world.hand.moment += timedelta(minutes=100)
        assert used.get("/account").status_code == 200
    assert unused.get("/account").status_code == 303
    world.hand.moment += timedelta(minutes=19)
    assert used.get("/account").status_code == 200
    world.hand.moment += timedelta(minutes=1)
    assert used.get("/account").status_code == 303, "twelve hours are over"
    world.client("leader")
    assert held(world, who) == [], "swept away"


def test_the_page_lists_them_and_ends_one(world: World, who: str) -> None:
    here, there, other = world.client(who), world.client(), world.client("leader")
    there.environ_base["HTTP_USER_AGENT"] = WINDOWS
    there.environ_base["REMOTE_ADDR"] = "10.0.0.7"
    assert sign_in(there, who).status_code == 303
    text = here.get("/account").text
    assert text.count("/account/sessions/") == 3, "two sessions, and all others"
    assert "Firefox 140 · Windows" in text
    assert "10.0.0.7" in text
    mine, second = (row.id for row in held(world, who))
    stranger = held(world, "leader")[0].id
    assert post(here, f"/account/sessions/{stranger}/end", current=PASSWORD) == 404
    assert other.get("/day").status_code == 200
    assert here.post(f"/account/sessions/{second}/end").status_code == 400, "no CSRF token"
    for wrong in ({}, {"current": "not the password"}):
        assert post(here, f"/account/sessions/{second}/end", **wrong) == 403
        assert post(here, "/account/sessions/end", **wrong) == 403
    assert there.get("/account").status_code == 200, "who found the browser open ends nothing"
    assert post(here, f"/account/sessions/{second}/end", current=PASSWORD) == 303
    assert there.get("/account").status_code == 303
    assert here.get("/account").status_code == 200
    with world.app.extensions["quxiang"].database.session() as session:
        noted = session.query(AuditEntry).filter_by(what="end_session", who=who).first()
        assert noted is not None
        assert noted.target == "10.0.0.7 · Firefox 140 · Windows"
    assert post(here, f"/account/sessions/{mine}/end", current=PASSWORD) == 303
    assert here.get("/account").status_code == 303


def test_all_others_end_at_once_and_with_the_password(world: World, who: str) -> None:
    here, there, third = (world.client(who) for _ in range(3))
    assert post(here, "/account/sessions/end", current=PASSWORD) == 303
    assert [b.get("/account").status_code for b in (here, there, third)] == [200, 303, 303]
    there, before = world.client(who), cookie_of(here)
    new = "another good sentence"
    assert post(here, "/password", current=PASSWORD, new=new, again=new) == 303
    assert [b.get("/account").status_code for b in (here, there)] == [200, 303]
    assert with_cookie(world, before).get("/account").status_code == 303


def test_when_and_from_where_is_written_once_a_minute(world: World, who: str) -> None:
    browser = world.client(who)
    first = held(world, who)[0]
    world.hand.moment += timedelta(seconds=59)
    browser.get("/account")
    assert held(world, who)[0].seen_ms == first.seen_ms
    world.hand.moment += timedelta(seconds=1)
    browser.get("/account")
    assert held(world, who)[0].seen_ms == first.seen_ms + 60_000
    browser.environ_base["REMOTE_ADDR"] = "10.0.0.9"
    browser.get("/account")
    assert held(world, who)[0].remote == "10.0.0.9"


def test_an_account_out_of_force_is_signed_out(world: World, who: str) -> None:
    browser = world.client(who)
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.query(User).filter_by(name=who).one().active = False
    assert browser.get("/day").status_code == 303


def test_failures_stand_in_the_trail_until_the_name_is_locked(world: World, who: str) -> None:
    browser = world.client()
    for n in range(8):
        sign_in(browser, who, f"wrong password {n}")
        sign_in(browser, "nobody", f"wrong password {n}")
    with world.app.extensions["quxiang"].database.session() as session:
        noted = [entry.who for entry in session.query(AuditEntry).filter_by(what="login_failed")]
    assert noted.count(who) == 4
    assert "nobody" not in noted


def test_nobody_is_signed_in_after_a_restore(tmp_path: Path) -> None:
    world = make_world(tmp_path / "server", people=6)
    world.client("clerk")
    backup(world.config, tmp_path / "file")
    again = ServerConfig(tmp_path / "again")
    restore(again, tmp_path / "file", world.hand())
    database = Database(again)
    with database.session() as session:
        assert session.query(LoginSession).count() == 0
        assert session.query(User).count() == 5
    database.close()


@pytest.mark.parametrize(
    ("agent", "short"),
    [
        (WINDOWS, "Firefox 140 · Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 "
         "Safari/537.36 Edg/139.0.0.0", "Edge 139 · Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "Safari 18 · iPhone"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36 "
         "MicroMessenger/8.0.50", "WeChat 8 · Android"),
        ("curl/8.14.1", "curl/8.14.1"),
        ("\x1b[31m\u7ea2" + "x" * 500, "[31m" + "x" * 36),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_two_words(agent: str, short: str) -> None:
    assert short_agent(agent) == short

"""The second step: codes by RFC 6238, each once; recovery codes; who must, and from when."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from alembic import command
from flask.testing import FlaskClient
from sqlalchemy import text

from server.config import ServerConfig, make_keys
from server.db import Database
from server.migrate import alembic_of
from server.models import AuditEntry, LoginThrottle, SecondFactor, TownshipRule, User
from server.rules.terms import SecondStep
from server.services.access import accounts, second
from server.services.township import rosters
from tests.conftest import NewDatabase
from tests.server.web_seed import PASSWORD, World, make_world, sign_in, token_of

#: RFC 6238, appendix B, SHA-1; the last six of eight digits.
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
RFC = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924",
       2000000000: "279037", 20000000000: "353130"}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("second"), people=6, url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


def account(world: World, name: str, role: str = "leader") -> str:
    with world.app.extensions["quxiang"].database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        accounts.add_user(session, place, name, role, PASSWORD, world.hand(), must_change=False)
    return name


def rule(world: World, required: bool, days: int = 0) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        leader = session.query(User).filter_by(name="leader").one()
        first = (world.hand() + timedelta(hours=8, days=days)).date()
        rosters.set_rule(session, leader.township, SecondStep(required), first, "", leader,
                         world.hand())  # fmt: skip


def post(browser: FlaskClient, path: str, page: str = "/account/second", **form: str):  # type: ignore[no-untyped-def]
    token = token_of(browser.get(page).text)
    return browser.post(path, data={"csrf_token": token, **form})


def set_up(world: World, browser: FlaskClient) -> tuple[str, list[str]]:
    """Sets a second step up as a person does; the secret and the recovery codes."""
    assert post(browser, "/account/second/begin").status_code == 303
    page = browser.get("/account/second").text
    secret = re.search(r'class="secret">([A-Z2-7 ]+)<', page)
    assert secret is not None
    plain = secret[1].replace(" ", "")
    assert "<svg" in page
    done = post(browser, "/account/second/confirm", code=code_at(world, plain))
    assert done.status_code == 200
    codes = re.findall(r"<li><code>([0-9A-Z-]{29})</code>", done.text)
    assert len(set(codes)) == second.RECOVERY_CODES
    return plain, codes


def code_at(world: World, secret: str, steps: int = 0) -> str:
    at = world.hand() + timedelta(seconds=30 * steps)
    return pyotp.HOTP(secret).at(int(at.timestamp()) // 30)


def alert(text: str) -> str:
    return text.split('role="alert">', 1)[1].split("<", 1)[0]


@pytest.mark.parametrize("at", RFC)
def test_codes_are_those_of_the_rfc(at: int) -> None:
    moment = datetime.fromtimestamp(at, UTC)
    step = at // 30
    assert second._step_of(RFC_SECRET, RFC[at], moment) == step
    for off, found in ((-2, None), (-1, step), (1, step), (2, None)):
        shifted = moment + timedelta(seconds=30 * off)
        assert second._step_of(RFC_SECRET, RFC[at], shifted) == found, off
    for wrong in ("", "28708", RFC[at] + "0", "一二三四五六", "\ud800", "0" * 1000):
        assert second._step_of(RFC_SECRET, wrong, moment) is None
    assert second._step_of(RFC_SECRET, f" {RFC[at][:3]} {RFC[at][3:]}", moment) == step


def test_signing_in_takes_a_code_that_works_once(world: World) -> None:
    name, browser = account(world, "twostep"), world.client("leader")
    browser = world.client(name)
    secret, _ = set_up(world, browser)
    assert browser.get("/day").status_code == 200, "the session goes on"
    if world.config.is_sqlite:
        raw = world.config.database_file.read_bytes()
        assert secret.encode() not in raw
        assert base64.b32decode(secret) not in raw
    there = world.client()
    answer = sign_in(there, name)
    assert answer.headers["Location"] == "/login/code"
    for path in ("/day", "/account", "/account/second", "/audit", "/password"):
        assert there.get(path).headers["Location"].startswith("/login"), path
    reply = post(there, "/login/code", "/login/code", code=code_at(world, secret))
    assert reply.status_code == 403, "the code of setting up was used"
    assert "已用过" in alert(reply.text)
    world.hand.moment += timedelta(seconds=30)
    good = code_at(world, secret)
    assert post(there, "/login/code", "/login/code", code=good).headers["Location"] == "/day"
    assert there.get("/day").status_code == 200
    again = world.client()
    sign_in(again, name)
    assert post(again, "/login/code", "/login/code", code=good).status_code == 403, "replayed"
    late = code_at(world, secret, -1)
    assert post(again, "/login/code", "/login/code", code=late).status_code == 403, "before it"
    ahead = code_at(world, secret, 1)
    assert post(again, "/login/code", "/login/code", code=ahead).status_code == 303
    with world.app.extensions["quxiang"].database.session() as session:
        noted = [(e.what, e.target) for e in session.query(AuditEntry).filter_by(who=name)]
    assert noted.count(("login", "code")) == 2
    assert ("login_failed", "code") in noted
    assert ("second_set", "") in noted


def test_wrong_codes_lock_the_name_and_the_password_does_not_unlock_it(world: World) -> None:
    name = account(world, "guessed")
    secret, codes = set_up(world, world.client(name))
    thief = world.client()
    for n in range(accounts.FREE_TRIES):
        assert sign_in(thief, name).headers["Location"] == "/login/code"
        answer = post(thief, "/login/code", "/login/code", code=f"{n:06}")
        assert answer.status_code == (403 if n < accounts.FREE_TRIES - 1 else 429), n
    world.hand.moment += timedelta(seconds=40)
    good = code_at(world, secret)
    assert post(thief, "/login/code", "/login/code", code=good).status_code == 429, "locked"
    assert post(thief, "/login/code", "/login/code", recovery=codes[0]).status_code == 429
    assert sign_in(world.client(), name).status_code == 429
    world.hand.moment += timedelta(minutes=1)
    owner = world.client()
    sign_in(owner, name)
    assert post(owner, "/login/code", "/login/code", code=code_at(world, secret)).status_code == 303
    with world.app.extensions["quxiang"].database.session() as session:
        assert session.get_one(LoginThrottle, accounts._name_key(name)).failed == 0


def test_the_password_alone_waits_ten_minutes(world: World) -> None:
    name = account(world, "slow")
    set_up(world, world.client(name))
    browser = world.client()
    sign_in(browser, name)
    world.hand.moment += timedelta(minutes=10)
    answer = browser.get("/login/code")
    assert answer.headers["Location"] == "/login"


def test_each_recovery_code_works_once_however_it_is_written(world: World) -> None:
    name = account(world, "lost")
    _, codes = set_up(world, world.client(name))
    written = codes[0].lower().replace("-", " ").replace("0", "o").replace("1", "l")
    for status in (303, 403):
        browser = world.client()
        sign_in(browser, name)
        answer = post(browser, "/login/code", "/login/code", recovery=written)
        assert answer.status_code == status
    assert sign_in(browser, name).status_code == 303
    assert post(browser, "/login/code", "/login/code", recovery=codes[1]).status_code == 303
    assert "还剩 6 个" in browser.get("/account/second").text
    assert post(browser, "/account/second/recovery", code="000000").status_code == 403
    made = post(browser, "/account/second/recovery", code=codes[2])
    other = re.findall(r"<li><code>([0-9A-Z-]{29})</code>", made.text)
    assert len(other) == 8
    browser = world.client()
    sign_in(browser, name)
    assert post(browser, "/login/code", "/login/code", recovery=codes[3]).status_code == 403
    assert post(browser, "/login/code", "/login/code", recovery=other[0]).status_code == 303


def test_nobody_changes_a_second_step_without_its_code(world: World) -> None:
    name = account(world, "steady")
    browser = world.client(name)
    secret, _ = set_up(world, browser)
    for path in ("begin", "recovery", "off"):
        assert post(browser, f"/account/second/{path}", code="123456").status_code == 403
    world.hand.moment += timedelta(minutes=2)
    assert post(browser, "/account/second/off", code=code_at(world, secret)).status_code == 303
    assert sign_in(world.client(), name).headers["Location"] == "/day"


def test_one_account_s_secret_opens_no_other(world: World) -> None:
    name, other = account(world, "mine"), account(world, "hers")
    secret, codes = set_up(world, world.client(name))
    set_up(world, world.client(other))
    with world.app.extensions["quxiang"].database.transaction() as session:
        ids = {u.name: u.id for u in session.query(User)}
        mine = session.get_one(SecondFactor, ids[name])
        session.get_one(SecondFactor, ids[other]).sealed = mine.sealed
        session.flush()
        keys = world.app.extensions["quxiang"].keys
        her = session.get_one(User, ids[other])
        at = world.hand() + timedelta(minutes=5)
        code = pyotp.HOTP(secret).at(int(at.timestamp()) // 30)
        assert not second.check(session, her, code, keys, at)
        assert not second.check(session, her, codes[0], keys, at)


def test_those_who_approve_must_from_the_day_that_the_township_sets(world: World) -> None:
    rule(world, True, days=3)
    leader, clerk = world.client("leader"), world.client("clerk")
    assert "还须输入动态码" in leader.get("/day").text, "told beforehand"
    world.hand.moment += timedelta(days=3)
    leader, clerk, admin = world.client("leader"), world.client("clerk"), world.client("admin")
    assert clerk.get("/day").status_code == 200
    for browser in (leader, admin):
        for path in ("/day", "/account", "/audit"):
            assert browser.get(path).headers["Location"] == "/account/second", path
        assert post(browser, "/settings/rules", kind="allowance").status_code == 303
        assert browser.get("/account/second").status_code == 200
        assert browser.get("/").status_code == 200, "the public board is everybody's"
    secret, _ = set_up(world, leader)
    assert leader.get("/day").status_code == 200
    world.hand.moment += timedelta(minutes=2)
    answer = post(leader, "/account/second/off", code=code_at(world, secret))
    assert answer.status_code == 403, "not while the township asks for it"
    rule(world, False)
    assert admin.get("/day").status_code == 200


def test_an_existing_township_gets_thirty_days(tmp_path: Path, new_database: NewDatabase) -> None:
    config = ServerConfig(tmp_path, new_database())
    make_keys(config)
    database = Database(config)
    with database.writer.connect() as connection, connection.begin():
        command.upgrade(alembic_of(connection), "0061")
        connection.execute(
            text("INSERT INTO township (name, slug, roster_version, created_ms) "
                 "VALUES ('青山乡', 't1', 0, 0)")
        )  # fmt: skip
        command.upgrade(alembic_of(connection), "head")
    with database.session() as session:
        row = session.query(TownshipRule).one()
        assert row.kind == "second_step"
        first = datetime.fromisoformat(row.first_day).date()
        assert 29 <= (first - datetime.now(UTC).date()).days <= 31
        clock = datetime.now(UTC)
        user = User(township_id=1, role="leader", name="x")
        assert second.required_from(session, user, clock) == first
        assert not second.overdue(session, user, clock)
        user.role = "clerk"
        assert second.required_from(session, user, clock) is None
    database.close()

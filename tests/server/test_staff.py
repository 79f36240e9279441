"""The administrator's accounts: made, changed, put out of force; nobody lifts themselves up."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from server.errors import InputInvalid
from server.models import AuditEntry, User
from server.services.access import accounts, staff
from tests.conftest import NewDatabase
from tests.server.web_seed import PASSWORD, World, make_world, sign_in, token_of

ONE_TIME = re.compile(r'<code class="token">([0-9A-Z-]{19})</code>')


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("staff"), people=6, url=new_database())
    with made.app.extensions["quxiang"].database.transaction() as session:
        for user in session.query(User).filter_by(name="admin"):
            user.official = "A002"
    yield made
    made.app.extensions["quxiang"].database.close()


@pytest.fixture(scope="module")
def admin(world: World) -> FlaskClient:
    return world.client("admin")


def post(browser: FlaskClient, path: str, **form: str) -> TestResponse:
    token = token_of(browser.get("/account").text)
    return browser.post(path, data={"csrf_token": token, **form})


def number(world: World, name: str) -> int:
    with world.app.extensions["quxiang"].database.session() as session:
        return int(session.query(User).filter_by(name=name).one().id)


def user(world: World, name: str) -> User:
    with world.app.extensions["quxiang"].database.session() as session:
        found: User = session.query(User).filter_by(name=name).one()
        return found


def make(world: World, name: str, role: str = "clerk") -> int:
    with world.app.extensions["quxiang"].database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        made = accounts.add_user(session, place, name, role, PASSWORD, world.hand(),
                                 must_change=False)  # fmt: skip
        return made.id


def trail(world: World, what: str) -> list[str]:
    with world.app.extensions["quxiang"].database.session() as session:
        return [e.target for e in session.query(AuditEntry).filter_by(what=what, who="admin")]


def test_only_an_administrator_comes_here(world: World) -> None:
    target = number(world, "inspector")
    for role in ("clerk", "inspector", "leader"):
        browser = world.client(role)
        assert browser.get("/accounts").status_code == 403
        assert browser.get(f"/accounts/{target}").status_code == 403
        assert 'href="/accounts"' not in browser.get("/account").text
        form = {"name": "mine", "role": "admin"}
        assert post(browser, "/accounts", **form).status_code == 403
        for act in ("role", "active", "password", "second", "sessions/end", "sessions/1/end"):
            answer = post(browser, f"/accounts/{target}/{act}", role="admin", active="0")
            assert answer.status_code == 403, act
    assert user(world, "inspector").role == "inspector"


def test_an_account_is_made_and_its_password_shown_once(world: World, admin: FlaskClient) -> None:
    answer = post(admin, "/accounts", name="xin.ren", role="leader", official="A003")
    found = ONE_TIME.search(answer.text)
    assert found is not None
    assert found[1] not in admin.get("/accounts").text
    assert "xin.ren" in admin.get("/accounts").text
    assert "xin.ren: leader (A003)" in trail(world, "add_user")
    browser = world.client()
    assert sign_in(browser, "xin.ren", found[1]).headers["Location"] == "/password"
    for wrong in ({"name": "xin.ren"}, {"name": "stranger"}, {"name": "a b"}, {"role": "king"},
                  {"official": "Q9"}, {"official": "B001"}, {"official": "A002"}):  # fmt: skip
        refused = post(admin, "/accounts", **{"name": "other", "role": "clerk", **wrong})
        assert refused.status_code == 400, wrong
        assert 'role="alert"' in refused.text
        assert ONE_TIME.search(refused.text) is None
    with world.app.extensions["quxiang"].database.session() as session:
        assert session.query(User).filter_by(name="other").count() == 0


def test_role_state_and_password_end_what_was_signed_in(world: World, admin: FlaskClient) -> None:
    which = make(world, "worker")
    for path, form, after in (
        ("role", {"role": "inspector"}, ("inspector", True)),
        ("active", {"active": "0"}, ("inspector", False)),
    ):
        browser = world.client("worker")
        assert post(admin, f"/accounts/{which}/{path}", **form).status_code == 303
        assert browser.get("/day").status_code == 303, path
        held = user(world, "worker")
        assert (held.role, held.active) == after
    assert sign_in(world.client(), "worker").status_code == 403, "out of force"
    assert post(admin, f"/accounts/{which}/active", active="1").status_code == 303
    browser, wrong = world.client("worker"), world.client()
    for n in range(accounts.FREE_TRIES):
        sign_in(wrong, "worker", f"wrong password {n}")
    found = ONE_TIME.search(post(admin, f"/accounts/{which}/password").text)
    assert found is not None
    assert browser.get("/day").status_code == 303
    assert sign_in(world.client(), "worker").status_code == 403, "the old one"
    assert sign_in(world.client(), "worker", found[1]).headers["Location"] == "/password"
    assert "worker: clerk → inspector" in trail(world, "account_role")
    assert trail(world, "account_off") == trail(world, "account_password") == ["worker"]


def test_sessions_of_another_are_listed_and_ended(world: World, admin: FlaskClient) -> None:
    which, other = make(world, "roamer"), make(world, "settler")
    one, two, apart = world.client("roamer"), world.client("roamer"), world.client("settler")
    listed = re.findall(
        rf"/accounts/{which}/sessions/(\d+)/end", admin.get(f"/accounts/{which}").text
    )
    assert len(listed) == 2
    answer = post(admin, f"/accounts/{other}/sessions/{listed[0]}/end")
    assert answer.status_code == 404, "a session belongs to its account"
    assert post(admin, f"/accounts/{which}/sessions/{listed[0]}/end").status_code == 303
    assert sorted(b.get("/account").status_code for b in (one, two)) == [200, 303]
    assert post(admin, f"/accounts/{which}/sessions/end").status_code == 303
    assert [b.get("/account").status_code for b in (one, two, apart)] == [303, 303, 200]


def test_nobody_lifts_themselves_up(world: World, admin: FlaskClient) -> None:
    own, twin = number(world, "admin"), make(world, "twin")
    with world.app.extensions["quxiang"].database.transaction() as session:
        session.get_one(User, twin).official = "A002"
    for which in (own, twin):
        before = user(world, "admin" if which == own else "twin")
        for act, form in (
            ("role", {"role": "leader"}), ("active", {"active": "0"}), ("password", {}),
            ("second", {}), ("sessions/end", {}),
        ):  # fmt: skip
            answer = post(admin, f"/accounts/{which}/{act}", **form)
            assert answer.status_code in (303, 400), act
            assert "本人" in admin.get("/account").text or "本人" in answer.text
        after = user(world, before.name)
        assert (after.role, after.active, after.password_hash) == (
            before.role, before.active, before.password_hash
        )  # fmt: skip
    assert admin.get("/account").status_code == 200


def test_an_administrator_always_remains(world: World) -> None:
    second = make(world, "second.admin", "admin")
    with world.app.extensions["quxiang"].database.session(write=True) as session:
        first = session.query(User).filter_by(name="admin").one()
        other = session.get_one(User, second)
        staff.set_active(session, other, False, first)
        for refused in (
            lambda: staff.set_active(session, first, False, None),
            lambda: staff.set_role(session, first, "clerk", None),
        ):
            with pytest.raises(InputInvalid) as caught:
                refused()
            assert caught.value.key == "last_admin"
        assert first.active


def test_the_second_step_of_a_lost_telephone_is_reset(world: World, admin: FlaskClient) -> None:
    from tests.server.test_second_step import set_up

    which = make(world, "telephone", "leader")
    set_up(world, world.client("telephone"))
    assert sign_in(world.client(), "telephone").headers["Location"] == "/login/code"
    assert post(admin, f"/accounts/{which}/second").status_code == 303
    assert sign_in(world.client(), "telephone").headers["Location"] == "/day"
    assert trail(world, "account_second") == ["telephone"]

"""Signing in and out, CSRF, the headers, the host check, and who may open what."""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from attendance.statuses import Status
from server.models import AuditEntry, LeaveRow, User
from server.services.access import accounts
from server.web import auth
from server.web.security import safe_next
from tests.conftest import NewDatabase
from tests.server.web_seed import PASSWORD, World, fill, make_world, sign_in, token_of

PRIVATE = ("/day", "/day.csv", "/officials", "/officials/A001", "/officials/A001.csv", "/leave",
           "/sites", "/audit")  # fmt: skip
ROLES = ("admin", "clerk", "inspector", "leader")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("login"), url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


def refused(browser: FlaskClient, user: str, password: str) -> TestResponse:
    answer = sign_in(browser, user, password)
    assert answer.status_code in (403, 429)
    return answer


def notice(page: TestResponse) -> str:
    return page.text.split('role="alert">', 1)[1].split("<", 1)[0]


def test_a_stranger_is_sent_to_the_login_page_and_comes_back(world: World) -> None:
    browser = world.client()
    for path in PRIVATE:
        answer = browser.get(path)
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"/login?next={path}"
    page = browser.get("/login?next=/sites")
    form = {"name": "clerk", "password": PASSWORD, "csrf_token": token_of(page.text)}
    answer = browser.post("/login", data={**form, "next": "/sites"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sites")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_its_pages_and_no_other(world: World, role: str) -> None:
    browser = world.client(role)
    for path in PRIVATE:
        allowed = path != "/audit" or role in ("admin", "leader")
        answer = browser.get(path)
        assert answer.status_code == (200 if allowed else 403), path
        assert answer.headers["Cache-Control"] == "no-store"
    assert ('href="/audit"' in browser.get("/day").text) == (role in ("admin", "leader"))


def test_the_next_township_sees_nothing(world: World) -> None:
    browser = world.client("stranger")
    page = browser.get("/day").text
    assert "外乡人" in page
    own = re.search(r'<li><a href="(/t/\w+/)">去向公示', page)
    assert own is not None
    assert "外乡人" in browser.get(own[1]).text
    assert "王建国" not in browser.get(own[1]).text
    for path in ("/day", "/day.csv", "/officials", "/leave", "/sites", "/audit"):
        text = browser.get(path).text
        for private in ("王建国", "杏树村", "A001", "kiosk1aa", "年休假"):
            assert private not in text, (path, private)
    assert browser.get("/officials/A001").status_code == 404
    assert browser.get("/officials/A001.csv").status_code == 404
    token = token_of(browser.get("/leave").text)
    with world.app.extensions["quxiang"].database.session() as session:
        numbers = [row.id for row in session.query(LeaveRow)]
    assert numbers
    for number in numbers:
        answer = browser.post(
            f"/leave/{number}/decide", data={"answer": "approve", "csrf_token": token}
        )
        assert answer.status_code == 404


def test_nothing_changes_without_the_token(world: World) -> None:
    browser = world.client("leader")
    for path in ("/login", "/logout", "/password", "/leave", "/leave/1/decide"):
        for data in ({}, {"csrf_token": "forged"}):
            answer = browser.post(path, data=data)
            assert answer.status_code == 400, path
            assert "无法处理这个请求" in answer.text
    assert browser.get("/day").status_code == 200, "still signed in"


def test_devices_need_no_token(world: World) -> None:
    assert world.client().post("/api/v1/cursor", data=b"{}").status_code == 401


def test_unknown_names_get_the_same_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = make_world(tmp_path_factory.mktemp("same"), people=6)
    browser = world.client()
    known = [refused(browser, "clerk", f"wrong password {n}") for n in range(7)]
    ghost = [refused(browser, "nobody", f"wrong password {n}") for n in range(7)]
    assert [a.status_code for a in known] == [a.status_code for a in ghost]
    assert [notice(a) for a in known] == [notice(a) for a in ghost]
    assert known[-1].status_code == 429
    assert "锁定至" in notice(known[-1])
    refused(browser, "clerk", PASSWORD)  # the right one, while locked
    world.hand.moment += timedelta(minutes=20)
    assert sign_in(browser, "clerk").status_code == 303


def test_the_session_is_new_after_login_and_ends_with_the_day(world: World) -> None:
    browser = world.client()
    before = token_of(browser.get("/login").text)
    assert sign_in(browser, "clerk").status_code == 303
    after = token_of(browser.get("/day").text)
    assert browser.post("/logout", data={"csrf_token": before}).status_code == 400
    world.hand.moment += timedelta(hours=12)
    assert browser.get("/day").status_code == 303
    world.hand.moment -= timedelta(hours=12)
    assert after


def test_signing_out_ends_the_session(world: World) -> None:
    browser = world.client("clerk")
    answer = browser.post("/logout", data={"csrf_token": token_of(browser.get("/day").text)})
    assert answer.status_code == 303
    assert browser.get("/day").status_code == 303


def test_cookies_are_closed(world: World) -> None:
    browser = world.client()
    cookie = sign_in(browser, "clerk").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # plain HTTP on loopback; `secure_cookies` elsewhere


def test_a_one_time_password_must_be_changed_first(world: World) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        clerk = session.query(User).filter_by(name="clerk").one()
        accounts.add_user(session, clerk.township, "new.one", "clerk", PASSWORD, world.hand())
    browser, elsewhere = world.client("new.one"), world.client("new.one")
    assert browser.get("/day").headers["Location"] == "/password"
    page = browser.get("/password").text
    assert "一次性密码" in page

    def change(current: str, new: str, again: str) -> TestResponse:
        token = token_of(browser.get("/password").text)
        data = {"current": current, "new": new, "again": again, "csrf_token": token}
        return browser.post("/password", data=data)

    assert "当前密码不正确" in notice(
        change("wrong password", "a new password!", "a new password!")
    )
    assert "不一致" in notice(change(PASSWORD, "a new password!", "another password"))
    assert "12" in notice(change(PASSWORD, "short", "short"))
    assert "不能与旧密码相同" in notice(change(PASSWORD, PASSWORD, PASSWORD))
    done = change(PASSWORD, "a new password!", "a new password!")
    assert done.status_code == 303
    assert "密码已修改" in browser.get("/day").text
    assert elsewhere.get("/password").status_code == 303, "other sessions ended"
    assert sign_in(world.client(), "new.one", "a new password!").status_code == 303


def test_a_one_time_password_runs_out_after_a_week(world: World) -> None:
    began = world.hand.moment
    with world.app.extensions["quxiang"].database.transaction() as session:
        clerk = session.query(User).filter_by(name="clerk").one()
        for name in ("late.one", "own.one"):
            accounts.add_user(session, clerk.township, name, "clerk", PASSWORD, began, None,
                              name == "late.one")  # fmt: skip
    world.hand.moment = began + timedelta(days=7)
    assert sign_in(world.client(), "late.one").status_code == 303
    world.hand.moment += timedelta(seconds=1)
    answer = refused(world.client(), "late.one", PASSWORD)
    assert "已过期" in notice(answer)
    assert "已过期" not in notice(refused(world.client(), "late.one", "wrong password")), (
        "who does not know it learns nothing"
    )
    assert sign_in(world.client(), "own.one").status_code == 303
    with world.app.extensions["quxiang"].database.transaction() as session:
        late = session.query(User).filter_by(name="late.one").one()
        accounts.set_password(session, late, PASSWORD + "!", True, world.hand())
    assert sign_in(world.client(), "late.one", PASSWORD + "!").status_code == 303
    world.hand.moment = began


def test_a_stolen_password_is_refused_where_a_list_is_there(world: World) -> None:
    stolen = "the kettle sings at noon"
    mark = hashlib.sha1(stolen.encode()).hexdigest().upper()  # noqa: S324
    browser = world.client("inspector")

    def change() -> TestResponse:
        token = token_of(browser.get("/password").text)
        data = {"current": PASSWORD, "new": stolen, "again": stolen, "csrf_token": token}
        return browser.post("/password", data=data)

    listed = world.config.data / "breached.txt"
    listed.write_text("0" * 40 + f":3\n{mark}:9\n" + "F" * 40 + ":1\n")
    try:
        assert "名单" in notice(change())
    finally:
        listed.unlink()


def test_a_refused_page_stands_in_the_trail_a_few_times(world: World) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        place = session.query(User).filter_by(name="clerk").one().township
        accounts.add_user(session, place, "curious", "inspector", PASSWORD, world.hand(), None,
                          False)  # fmt: skip
    browser = world.client("curious")
    token = token_of(browser.get("/day").text)
    for _ in range(auth.REFUSALS + 5):
        assert browser.get("/audit?q=x").status_code == 403
    clerk = world.client("clerk")
    sent = {"csrf_token": token_of(clerk.get("/day").text)}
    assert clerk.post("/leave/1/decide", data={**sent, "answer": "approve"}).status_code == 403
    assert browser.post("/accounts", data={"csrf_token": token}).status_code == 403
    with world.app.extensions["quxiang"].database.session() as session:
        noted = session.query(AuditEntry).filter_by(what="refused").order_by(AuditEntry.id).all()
        assert [n.target for n in noted if n.who == "curious"] == ["GET /audit"] * auth.REFUSALS
        assert [n.target for n in noted if n.who == "clerk"][-1:] == ["POST /leave/1/decide"]
        assert noted[-1].remote == "127.0.0.1"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "/\t/evil.example", "day",
     "javascript:alert(1)", "\\\\evil.example", "/day\r\nX: y", "", "/" + "a" * 600],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(world: World, target: str) -> None:
    assert safe_next(target) is None
    browser = world.client()
    form = {"name": "clerk", "password": PASSWORD, "next": target}
    form["csrf_token"] = token_of(browser.get("/login").text)
    assert browser.post("/login", data=form).headers["Location"] == "/day"
    answer = browser.get("/language/en", query_string={"next": target})
    assert answer.headers["Location"] == "/"


def test_the_language_is_kept_and_the_browser_is_not_asked(world: World) -> None:
    browser = world.client()
    page = browser.get("/", headers={"Accept-Language": "en-GB"})
    assert '<html lang="zh-CN">' in page.text
    assert "干部去向公示" in page.text
    back = browser.get("/language/en?next=/login")
    assert back.headers["Location"] == "/login"
    assert "Staff sign-in" in browser.get("/login").text
    assert '<html lang="en">' in browser.get("/").text
    browser.get("/language/zh")
    assert "工作人员登录" in browser.get("/login").text
    assert browser.get("/language/fr").status_code == 404


@pytest.mark.parametrize("path", ["/", "/login", "/nope", "/board.json", "/static/quxiang.css"])
def test_every_answer_carries_the_headers(world: World, path: str) -> None:
    headers = world.client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "data:" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_pages_hold_nothing_inline(world: World) -> None:
    browser = world.client("leader")
    for path in ("/", *PRIVATE, "/login", "/password", "/nope"):
        text = browser.get(path).text
        assert "<style" not in text
        assert "style=" not in text
        assert "onclick" not in text
        assert "http://" not in text.replace("http://localhost", "")
        assert "https://" not in text


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("evil.example", 400),
     ("localhost.evil.example", 400), ("10.1.2.3", 400), ("", 400), ("a b", 400)],
)  # fmt: skip
def test_only_our_own_names_are_answered(world: World, host: str, status: int) -> None:
    browser = world.client()
    assert browser.get("/", headers={"Host": host}).status_code == status
    # A kiosk signs what it says and checks who answers; it may use any name.
    assert browser.get("/healthz", headers={"Host": "any.name"}).status_code == 200


def test_the_address_that_was_dialled_is_ours(world: World) -> None:
    server = make_server("127.0.0.2", 0, world.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        for host, status in (("127.0.0.2", 200), ("127.0.0.3", 400), ("evil.example", 400)):
            wire = http.client.HTTPConnection("127.0.0.2", server.server_port, timeout=10)
            wire.request("GET", "/login", headers={"Host": host})
            assert wire.getresponse().status == status, host
            wire.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_errors_are_pages_in_the_readers_language(world: World) -> None:
    zh, en = world.client(), world.client(lang="en")
    assert "没有这个页面" in zh.get("/nope").text
    assert "There is no such page" in en.get("/nope").text
    assert zh.post("/board.json").status_code in (400, 405)
    big = world.client("clerk")
    answer = big.post("/leave", data={"reason": "x" * 70_000})
    assert answer.status_code == 413
    assert "内容过多" in answer.text
    assert en.get("/api/v1/nothing").status_code == 404


def test_a_fault_says_nothing_of_the_inside(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = make_world(tmp_path_factory.mktemp("fault"), people=6)
    browser = world.client("clerk")
    world.app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    world.app.extensions["quxiang"].database.close()
    world.config.database_file.write_bytes(b"no database")
    for path in ("/day", "/"):
        answer = browser.get(path)
        assert answer.status_code == 500
        assert "服务器出错" in answer.text
        for inside in ("sqlite", "Traceback", "sqlalchemy", str(world.config.data)):
            assert inside not in answer.text


def test_every_look_is_noted(world: World) -> None:
    browser = world.client("inspector")
    for path in PRIVATE:
        browser.get(path)
    with world.app.extensions["quxiang"].database.session() as session:
        found = session.query(AuditEntry).filter_by(who="inspector").order_by(AuditEntry.id)
        noted = [(entry.what, entry.target, entry.remote) for entry in found]
    looked = [what for what, _, _ in noted]
    for what in ("login", "view_day", "csv_day", "view_officials", "view_history", "csv_history",
                 "view_leave"):  # fmt: skip
        assert what in looked
    assert ("view_day", "2026-11-20", "127.0.0.1") in noted
    assert any(target.startswith("A001 ") for _, target, _ in noted)
    trail = world.client("leader").get("/audit").text
    assert "查看了考勤日表" in trail
    assert "inspector" in trail


def test_leave_is_asked_by_a_clerk_and_decided_by_a_leader(world: World) -> None:
    clerk, leader, inspector = (world.client(who) for who in ("clerk", "leader", "inspector"))
    form = {"official": "A030", "status": "business_trip", "first": "2026-11-20",
            "last": "2026-11-21", "reason": "开会"}  # fmt: skip

    def ask(browser: FlaskClient, **changed: str) -> TestResponse:
        token = token_of(browser.get("/leave").text)
        return browser.post("/leave", data={**form, "csrf_token": token, **changed})

    assert ask(inspector).status_code == 403
    for wrong in ({"last": "2026-11-19"}, {"first": "soon"}, {"official": "Q9"}, {"status": "left"},
                  {"first": "0001-01-01"}, {"last": "9999-12-31"}):  # fmt: skip
        answer = ask(clerk, **wrong)
        assert answer.status_code == 400, wrong
        assert 'value="开会"' in answer.text, "what was typed is kept"
    assert ask(clerk).status_code == 303
    assert "已登记" in clerk.get("/leave").text
    with world.app.extensions["quxiang"].database.session() as session:
        mine = session.query(LeaveRow).filter_by(official="A001").one().id
        asked = session.query(LeaveRow).filter_by(official="A030").one().id
    board = {r["name"]: r["status"] for r in leader.get("/board.json").json["rows"]}
    assert board["曹志强"] == Status.UNKNOWN

    def decide(browser: FlaskClient, number: int, answer: str = "approve") -> int:
        token = token_of(browser.get("/leave").text)
        data = {"answer": answer, "csrf_token": token}
        return browser.post(f"/leave/{number}/decide", data=data).status_code

    assert decide(clerk, asked) == 403
    assert decide(leader, mine) == 403, "nobody decides their own"
    assert decide(leader, 10**18) == 404
    assert decide(leader, 10**30) == 404
    assert decide(leader, asked, "perhaps") == 400
    page = leader.get("/leave").text
    assert f"/leave/{asked}/decide" in page
    assert f"/leave/{mine}/decide" not in page
    assert decide(leader, asked) == 303
    board = {r["name"]: r["status"] for r in leader.get("/board.json").json["rows"]}
    assert board["曹志强"] == Status.BUSINESS_TRIP

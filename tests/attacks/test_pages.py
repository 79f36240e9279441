"""Every page against what browsers are misused for: the URL map is walked, so that a new page
cannot be forgotten."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from server.app import create_app
from server.models import Base, RowSeal
from server.services.access import accounts, limits
from server.web import auth, board
from server.web.security import MAX_FORM, UPLOADS
from tests.attacks.pages import ROLES, Place, crumb, make_place, pages, tags
from tests.server.web_seed import PASSWORD, sign_in, token_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = make_place(tmp_path_factory.mktemp("pages"))
    yield made
    made.context.database.close()


def rows_of(place: Place) -> dict[str, int]:
    """Rows by table, but for those of looks and logins and the looks' seals."""
    others = RowSeal.table_name != "audit_entry"
    with place.context.database.session() as session:
        found = {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if not any(word in name for word in ("audit", "session", "throttle", "row_seal"))
        }
        seals = session.scalar(select(func.count()).select_from(RowSeal).where(others)) or 0
        return {**found, "row_seal": seals}


def test_every_change_wants_the_token_of_its_session(place: Place) -> None:
    other = crumb(place.client("clerk"))
    before = rows_of(place)
    changes = place.rules("POST")
    assert len(changes) > 30
    assert not [r.rule for r in place.app.url_map.iter_rules()
                if {"PUT", "DELETE", "PATCH"} & (r.methods or set())
                and not r.rule.startswith("/api/v1/")]  # fmt: skip
    browser = place.client("leader")
    for rule in changes:
        path = place.path(rule)
        for data in ({}, {"csrf_token": other}):
            assert browser.post(path, data=data).status_code == 400, path
        # A form of another site, whatever it calls its contents.
        answer = browser.post(path, data="{}", content_type="text/plain")
        assert answer.status_code == 400, path
    assert rows_of(place) == before


def test_no_page_changes_anything_by_being_looked_at(place: Place) -> None:
    browser = place.client("admin")
    before = rows_of(place)
    seen = [path for path, _ in pages(place, browser)]
    assert len(seen) > 35
    assert rows_of(place) == before


@pytest.mark.parametrize("role", [None, "admin"])
def test_no_page_runs_what_stands_in_it(place: Place, role: str | None) -> None:
    """Strict policy on every page, and pages that need no more than it allows."""
    browser = place.client(role)
    count = 0
    for path, answer in pages(place, browser):
        count += answer.status_code == 200
        policy = dict(part.split(" ", 1) for part in
                      answer.headers["Content-Security-Policy"].split("; "))  # fmt: skip
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in " ".join(policy.values())
        for tag, attributes in tags(answer.text):
            assert not any(name.startswith("on") for name in attributes), (path, tag)
            assert "style" not in attributes, (path, tag)
            assert tag not in ("style", "base", "object", "embed", "iframe"), path
            if tag == "script":
                assert (attributes.get("src") or "").startswith("/static/"), path
            for name in ("href", "src", "action", "formaction", "data", "srcset"):
                where = attributes.get(name) or "/"
                assert where.startswith(("/", "#", "?", "tel:")), (path, tag, where)
                assert not where.startswith("//"), (path, where)
    assert count > (4 if role is None else 30)


def test_every_answer_carries_the_headers(place: Place) -> None:
    for path, answer in pages(place, place.client()):
        wanted = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        assert {name: answer.headers.get(name) for name in wanted} == wanted, path
        assert "camera=()" in answer.headers["Permissions-Policy"]
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache"), path
        assert "Access-Control-Allow-Origin" not in answer.headers
    secure = create_app(replace(place.config, secure_cookies=True), clock=lambda: place.moment)
    answer = secure.test_client().get("/login")
    secure.extensions["quxiang"].database.close()
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-quxiang_session=")
    for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie


def test_nobody_is_sent_elsewhere(place: Place) -> None:
    evil = "//evil.example/"
    names = ("next", "back", "url", "to", "return", "return_to", "redirect", "target", "first")
    asked = dict.fromkeys(names, evil)
    signed_in = place.client("leader")
    token = crumb(signed_in)
    moved = 0
    for rule in [*place.rules("GET"), *place.rules("POST")]:
        if rule.endpoint.startswith(("board.events", "auth.logout", "account.", "second.")):
            continue
        method = "GET" if "GET" in (rule.methods or ()) else "POST"
        for browser in (signed_in, place.client()) if method == "GET" else (signed_in,):
            data = {**asked, "csrf_token": token} if method == "POST" else None
            answer = browser.open(place.path(rule), method=method, query_string=asked, data=data)
            if 300 <= answer.status_code < 400:
                moved += 1
                where = urlsplit(answer.headers["Location"])
                assert (where.scheme, where.netloc) in (("", ""), ("http", "localhost")), rule
                assert where.path.startswith("/"), rule
                assert not where.path.startswith(("//", "/\\")), rule
    assert moved > 40


def test_a_foreign_host_is_refused_and_never_repeated(place: Place) -> None:
    browser = place.client("leader")
    for rule in place.rules("GET"):
        if rule.endpoint == "board.events" or rule.endpoint.startswith("api_"):
            continue
        path = place.path(rule)
        assert browser.get(path, headers={"Host": "evil.example"}).status_code == 400, path
        forged = {"X-Forwarded-Host": "evil.example", "X-Host": "evil.example",
                  "Forwarded": "host=evil.example", "X-Original-URL": "/audit",
                  "X-Forwarded-Prefix": "/evil.example"}  # fmt: skip
        answer = browser.get(path, headers=forged)
        assert b"evil.example" not in answer.data, path
        assert "evil.example" not in answer.headers.get("Location", ""), path


def test_error_pages_tell_nothing(place: Place) -> None:
    browser = place.client("clerk")
    tried = [
        browser.get("/nope"), browser.get("/day?date=x"), browser.get("/day/../../etc/passwd"),
        browser.get("/static/../server.db"), browser.get("/static/%2e%2e/server.db"),
        browser.get("/audit"), browser.delete("/day"), browser.get("/month?month=0000-00"),
        browser.get("/officials/%00"), browser.get("/officials/" + "A" * 3000),
        browser.post("/leave", data=b"\xff\xfe", content_type="multipart/form-data; boundary=x"),
        browser.get("/findings?state=%27%20OR%201=1"), browser.get("/portraits/x.jpg"),
        browser.get("/exports/x"), browser.get("/settings/import/draft/x"),
        browser.get("/api/v1/none"),
        browser.get("/metrics", headers={"X-Forwarded-For": "1.1.1.1"}),
    ]  # fmt: skip
    assert all(answer.status_code >= 303 for answer in tried)
    telling = re.compile(
        r"traceback|werkzeug|flask|jinja|sqlalchemy|sqlite|psycopg|gunicorn|python|"
        r"site-packages|\.py\b|File \"|secret\.key|" + re.escape(str(place.config.data)),
        re.IGNORECASE,
    )
    for answer in tried:
        found = telling.search(answer.text)
        assert found is None, (answer.request.path, found)
        assert not telling.search(str(answer.headers.get("Server", "")))
        if answer.request.path.startswith(("/audit", "/nope")):
            assert "<h1>" in answer.text, "a page in the reader's language"


def test_what_is_too_large_is_refused_by_every_form(place: Place) -> None:
    browser = place.client("leader")
    token = crumb(browser)
    for rule in place.rules("POST"):
        most = UPLOADS.get(rule.endpoint, MAX_FORM)
        path = place.path(rule)
        body = f"csrf_token={token}&x=".encode() + b"x" * (most + 1)
        answer = browser.post(path, data=body, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 413, path
        # Thousands of small fields cost more than their bytes.
        many = "&".join(f"f{n}=1" for n in range(3_000)) + f"&csrf_token={token}"
        assert browser.post(path, data=many, content_type="application/x-www-form-urlencoded"
                            ).status_code != 500  # fmt: skip
        parts = {f"f{n}": "1" for n in range(300)}
        answer = browser.post(path, data=parts, content_type="multipart/form-data")
        assert answer.status_code == 413, path


def test_who_does_not_exist_takes_as_long_to_refuse(place: Place) -> None:
    """Processor time, not the clock: a busy machine says nothing of it."""
    known, ghosts = [], []
    for n in range(6):
        for names, times in (((f"the-{ROLES[n % 4]}",), known), ((f"ghost-{n}",), ghosts)):
            with place.context.database.session(write=True) as session:
                began = time.thread_time()
                for name in names:
                    accounts.authenticate(session, name, "wrong password", place.moment)
                times.append(time.thread_time() - began)
                session.rollback()
    ratio = statistics.median(known) / statistics.median(ghosts)
    assert 0.7 < ratio < 1.4, ratio
    assert statistics.median(ghosts) > 0.01, "a hash was computed for them too"


def test_many_workers_share_the_limits(place: Place) -> None:
    """A name is locked by wrong tries at either of two servers on one folder, and for both."""
    other = create_app(place.config, clock=lambda: place.moment)
    browsers = [place.app.test_client(), other.test_client()]
    statuses = []
    for n in range(6):
        browser = browsers[n % 2]
        form = {"name": "ghost-of-two", "password": "wrong password",
                "csrf_token": token_of(browser.get("/login").text)}  # fmt: skip
        statuses.append(browser.post("/login", data=form).status_code)
    other.extensions["quxiang"].database.close()
    assert statuses == [403] * 4 + [429] * 2, "three tries at one, two at the other"


COUNT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from server.services.access import limits
now = datetime(2026, 3, 18, 1, 0, tzinfo=UTC)
print(sum(limits.allow(Path(sys.argv[1]), "everybody", 30, 60, now) for _ in range(20)))
"""


def test_processes_count_together(tmp_path: Path, place: Place) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    allowed = [json.loads(process.communicate()[0]) for process in running]
    assert sum(allowed) == 30, allowed
    assert not limits.allow(tmp_path, "everybody", 30, 60, place.moment)
    assert limits.allow(tmp_path, "everybody", 30, 60, place.moment + timedelta(minutes=1))
    assert limits.allow(tmp_path, "somebody else", 30, 60, place.moment)


def from_elsewhere(place: Place, address: str) -> FlaskClient:
    browser = place.app.test_client()
    browser.environ_base["REMOTE_ADDR"] = address
    return browser


def test_one_address_does_not_try_every_name(place: Place) -> None:
    """At either of two servers on one folder; the hundredth name is asked of nobody any more."""
    other = create_app(place.config, clock=lambda: place.moment)
    browsers = [place.app.test_client(), other.test_client()]
    crumbs = []
    for browser in browsers:
        browser.environ_base["REMOTE_ADDR"] = "10.9.9.9"
        crumbs.append(token_of(browser.get("/login").text))

    def tried(n: int) -> TestResponse:
        form = {"name": f"ghost-{n}-of-many", "password": "a wrong sentence",
                "csrf_token": crumbs[n % 2]}  # fmt: skip
        return browsers[n % 2].post("/login", data=form)

    def cost(numbers: range, answer: int) -> float:
        """Seconds of this thread's processor that each takes, at the least."""
        least = 60.0
        for n in numbers:
            began = time.thread_time()
            assert tried(n).status_code == answer
            least = min(least, time.thread_time() - began)
        return least

    hashed = cost(range(auth.MISSES), 403)
    assert cost(range(100, 106), 429) < hashed / 2, "no hash is computed for them"
    good = {"name": "the-clerk", "password": PASSWORD, "csrf_token": crumbs[0]}
    assert browsers[0].post("/login", data=good).status_code == 429
    other.extensions["quxiang"].database.close()
    elsewhere = from_elsewhere(place, "10.9.9.10")
    assert sign_in(elsewhere, "the-clerk", PASSWORD).status_code == 303
    place.moment += timedelta(seconds=auth.MISS_SECONDS)
    try:
        assert sign_in(browsers[0], "the-clerk", PASSWORD).status_code == 303
    finally:
        place.moment -= timedelta(seconds=auth.MISS_SECONDS)


def test_searches_of_one_address_are_bounded(place: Place) -> None:
    folder = place.config.data
    for _ in range(board.SEARCHES - 1):  # at another worker
        limits.allow(folder, "search:10.9.9.7", board.SEARCHES, board.SEARCH_SECONDS, place.moment)
    browser = from_elsewhere(place, "10.9.9.7")
    assert browser.get("/?q=林").status_code == 200
    for path in ("/?q=林", "/board/rows?q=林"):
        assert browser.get(path).status_code == 429
    for path in ("/", "/board/rows", "/tv", "/board.json"):
        assert browser.get(path).status_code == 200, "what everybody sees is drawn once"
    assert from_elsewhere(place, "10.9.9.6").get("/?q=林").status_code == 200


def test_who_counts_as_one_and_how_many_are_kept(tmp_path: Path, place: Place) -> None:
    assert limits.place("198.51.100.7") == limits.place("::ffff:198.51.100.7") == "198.51.100.7"
    assert limits.place("2001:db8:1:2::1") == limits.place("2001:db8:1:2:ffff::9")
    assert limits.place("2001:db8:1:3::1") != limits.place("2001:db8:1:2::1")
    assert limits.place("fe80::1%eth0") == limits.place("fe80::2")
    assert limits.place("nowhere") == "nowhere"
    limits.allow(tmp_path, "first", 5, 60, place.moment)
    later = int(place.moment.timestamp()) + 600
    with closing(sqlite3.connect(tmp_path / "limits.db")) as raw, raw:
        many = ((f"{n:016d}".encode(), later + n) for n in range(limits.MOST + 9_000))
        raw.executemany("INSERT INTO counted VALUES (?, ?, 1)", many)
    for n in range(600):
        assert limits.allow(tmp_path, f"who {n}", 5, 3600, place.moment)
    with closing(sqlite3.connect(tmp_path / "limits.db")) as raw:
        (many,) = raw.execute("SELECT count(*) FROM counted").fetchone()
    assert many <= limits.MOST, "an attacker with many addresses fills no disk"
    assert not all(limits.allow(tmp_path, "who 599", 5, 3600, place.moment) for _ in range(5))
    assert limits.used_up(tmp_path, "who 599", 5, 3600, place.moment)
    hour = place.moment + timedelta(days=9)
    assert limits.allow(tmp_path, "somebody", 5, 60, hour)
    with closing(sqlite3.connect(tmp_path / "limits.db")) as raw:
        (many,) = raw.execute("SELECT count(*) FROM counted").fetchone()
    assert many == 1, "what is over is forgotten"


def test_a_session_of_one_township_is_none_of_anothers_server(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A cookie that another server signed is worth nothing here."""
    theirs = make_place(tmp_path_factory.mktemp("others"))
    browser = theirs.client("admin")
    name = theirs.app.config["SESSION_COOKIE_NAME"]
    cookie = browser.get_cookie(name)
    assert cookie is not None
    ours = place.client()
    ours.set_cookie(name, cookie.value)
    assert ours.get("/day").status_code == 303
    theirs.context.database.close()
    assert sign_in(place.client(), "the-admin", PASSWORD).status_code == 303


def test_passwords_are_typed_as_such(place: Place) -> None:
    """Hidden, to be pasted, kept by browsers' own keepers, and long where somebody likes."""
    for page in (place.client().get("/login"), place.client("clerk").get("/password")):
        fields = [a for tag, a in tags(page.text)
                  if tag == "input" and "-password" in (a.get("autocomplete") or "")]  # fmt: skip
        assert fields
        for field in fields:
            assert field["type"] == "password"
            assert int(field["maxlength"] or 0) >= 64
            assert not {"readonly", "disabled", "onpaste"} & field.keys()


def test_every_signed_in_page_lets_one_sign_out(place: Place) -> None:
    for path, answer in pages(place, place.client("admin")):
        if answer.status_code == 200 and "<main" in answer.text and "/tv" not in path:
            actions = [a.get("action") for tag, a in tags(answer.text) if tag == "form"]
            assert "/logout" in actions, path


def test_signing_out_clears_the_browser(place: Place) -> None:
    browser = place.app.test_client()
    assert sign_in(browser, "the-inspector").status_code == 303
    answer = browser.post("/logout", data={"csrf_token": crumb(browser)})
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert "Clear-Site-Data" not in browser.get("/").headers


def test_methods_and_folders_that_nobody_needs(place: Place) -> None:
    browser = place.client("leader")
    for path in ("/", "/day", "/login", "/static/quxiang.css", "/healthz"):
        for method in ("TRACE", "TRACK", "CONNECT", "PROPFIND", "DEBUG"):
            answer = browser.open(path, method=method)
            assert answer.status_code in (400, 405), (method, path)
            assert b"Cookie" not in answer.data
    for path in ("/static/", "/static", "/portraits/", "/exports/", "/api/v1/", "/.git/HEAD"):
        assert browser.get(path).status_code == 404, path

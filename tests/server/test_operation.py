"""Ready or not, what the log keeps of a fault, and whose word about the client is taken."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from server import logs
from server.app import create_app
from server.background import Loop
from server.proxy import ENVIRON_ID, BehindProxy
from server.serve import Server, listen
from server.services.programs import readiness

from .conftest import Office


def ready(office: Office) -> tuple[int, dict[str, bool]]:
    answer = office.client().get("/readyz")
    said = answer.get_json()
    assert said["ready"] == (answer.status_code == 200)
    return answer.status_code, said["checks"]


def test_ready_is_who_has_a_database_of_this_release_room_and_a_worker(office: Office) -> None:
    status, parts = ready(office)
    assert status == 503
    assert parts == {"database": True, "migrations": True, "disk": True, "background": False}
    held = office.context
    loop = Loop(held.database, held.config, held.keys, office.clock)
    loop.tick()
    assert ready(office) == (200, dict.fromkeys(parts, True))
    office.clock.step(minutes=1)
    assert not ready(office)[1]["background"], "the worker hangs or is gone"
    loop.tick()
    with held.database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert ready(office) == (503, {**dict.fromkeys(parts, True), "migrations": False})
    with held.database.transaction() as session:
        session.execute(text("DROP TABLE lease"))
    assert ready(office) == (503, {**dict.fromkeys(parts, False), "disk": True})
    assert office.client().get("/healthz").status_code == 200, "alive all the same"


def test_a_full_disk_is_not_ready(office: Office) -> None:
    def never() -> Any:
        raise OSError

    nowhere = office.config.data / "gone"
    found = readiness.checks(never, lambda _: True, nowhere, office.clock() + timedelta())
    assert not any(found.values())


def test_a_fault_is_told_by_kind_and_place_alone(office: Office) -> None:
    app = create_app(replace(office.config, log_format="json"), clock=office.clock)

    @app.get("/broken/<name>")
    def broken(name: str) -> str:
        raise ValueError(f"张三 has {name}")

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.Lines())
    logging.getLogger("quxiang").addHandler(handler)
    logging.getLogger("quxiang.request").setLevel(logging.INFO)
    try:
        answer = app.test_client().get("/broken/secret-77?pin=123456")
    finally:
        logging.getLogger("quxiang").removeHandler(handler)
        logging.getLogger("quxiang.request").setLevel(logging.NOTSET)
        app.extensions["quxiang"].database.close()
    assert answer.status_code == 500
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    fault = next(line for line in lines if line["logger"] == "quxiang.fault")
    line = next(line for line in lines if line["logger"] == "quxiang.request")
    assert fault["error"] == "ValueError"
    assert any("test_operation" in at and at.endswith("broken") for at in fault["where"])
    assert answer.headers[logs.HEADER] == line["id"]
    assert line["id"] in fault["message"]
    assert (line["status"], line["route"]) == (500, "/broken/<name>")
    for private in ("secret-77", "123456", "张三"):
        assert private not in written.getvalue()


def test_a_line_says_which_guard_refused(office: Office) -> None:
    app = create_app(replace(office.config, log_format="json"), clock=office.clock)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.Lines())
    logging.getLogger("quxiang.request").addHandler(handler)
    logging.getLogger("quxiang.request").setLevel(logging.INFO)
    browser = app.test_client()
    try:
        browser.post("/logout")
        browser.get("/login", headers={"Host": "evil.example"})
        page = browser.get("/login").text
        crumb = page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
        browser.post("/login", data={"name": "x", "password": "y", "csrf_token": crumb})
        browser.get("/", environ_base={"REMOTE_ADDR": "8.8.8.8"})
        browser.post("/login", data=b"x" * 70_000,
                     content_type="application/x-www-form-urlencoded")  # fmt: skip
        browser.post("/api/v1/cursor", data=b"{}")
        browser.get("/")
    finally:
        logging.getLogger("quxiang.request").removeHandler(handler)
        logging.getLogger("quxiang.request").setLevel(logging.NOTSET)
        app.extensions["quxiang"].database.close()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line.get("refused") for line in lines] == [
        "csrf", "host", None, "login", "access", "size", "unknown_device", None,
    ]  # fmt: skip


def test_a_message_keeps_no_query() -> None:
    said = ("/day?q=张三&x=1 end",)
    record = logging.LogRecord("gunicorn.error", 30, "", 0, "bad %s", said, None)
    assert json.loads(logs.Lines().format(record))["message"] == "bad /day?... end"


def test_a_line_of_the_log_is_one_line() -> None:
    said = ('x\r\n{"level": "INFO"}\u2028\x1b[2J',)
    line = logs.Lines().format(logging.LogRecord("a", 30, "", 0, "said %s", said, None))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert json.loads(line)["message"].startswith("said x")


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        ("10.0.0.2", {"FOR": "198.51.100.7", "PROTO": "https"}, "198.51.100.7", "https"),
        ("10.0.0.2", {"FOR": "1.1.1.1, 198.51.100.7"}, "198.51.100.7", "http"),
        ("::ffff:10.0.0.2", {"FOR": "::ffff:198.51.100.7"}, "198.51.100.7", "http"),
        ("10.0.0.2", {"FOR": "somebody", "PROTO": "ftp"}, "10.0.0.2", "http"),
        ("10.0.0.2", {}, "10.0.0.2", "http"),
        ("10.0.0.3", {"FOR": "198.51.100.7", "PROTO": "https"}, "10.0.0.3", "http"),
        ("127.0.0.1", {"FOR": "198.51.100.7", "PROTO": "https"}, "127.0.0.1", "http"),
    ],
)
def test_one_hop_from_one_address(
    peer: str, headers: dict[str, str], client: str, scheme: str
) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], _start: Any) -> list[bytes]:
        seen.update(environ)
        return []

    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_X_REQUEST_ID": "a" * 20}
    environ |= {f"HTTP_X_FORWARDED_{name}": value for name, value in headers.items()}
    BehindProxy(application, "10.0.0.2")(environ, None)
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == (client, scheme)
    trusted = peer.endswith("10.0.0.2")
    assert (ENVIRON_ID in seen) == trusted
    assert trusted or not any(name.startswith("HTTP_X_") for name in seen)


def test_nothing_open_is_taken_along_into_the_workers(office: Office) -> None:
    gc.collect()
    office.context.database.close()  # SQLite keeps files that somebody else has open
    usual = gc.get_threshold()
    bound = listen("127.0.0.1", 0)
    server = Server(office.context.config, bound, workers=1)
    try:
        threads, files = threading.active_count(), sorted(Path("/proc/self/fd").iterdir())
        app = server.load()
        assert threading.active_count() == threads
        assert sorted(Path("/proc/self/fd").iterdir()) == files
        assert app.jinja_env.cache, "a page was made, so that the workers need not compile it"
    finally:
        os.close(server._descriptor)
        gc.unfreeze()
        gc.set_threshold(*usual)

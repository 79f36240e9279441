"""Behind nginx, as deploy/nginx/quxiang.conf says: login, board, stream, upload, logs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from server.context import utcnow
from server.services.access import accounts
from server.services.township.townships import only_township
from tests.ports import free_port
from tests.server.web_seed import make_world
from tests.walks.certificates import self_signed
from tests.walks.proxied import Nginx
from tests.walks.town import BIN, PASSWORD, Town


class Fronted:
    """`quxiang-server run --behind-proxy` and nginx before it."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.certificate, key = self_signed(folder)
        self.town = Town(folder / "town", free_port(), environ)
        self.nginx = Nginx(folder / "nginx", self.town.port, (self.certificate, key))
        self.town.folder.mkdir()
        data = self.town.data("server")
        world = make_world(Path(data), people=300)
        held = world.app.extensions["quxiang"].database
        with held.transaction() as session:
            township = only_township(session, "示例乡")
            accounts.add_user(session, township, "王秘书", "clerk", PASSWORD, utcnow(), None, False)
        held.close()
        self.log = folder / "server.log"
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                [str(BIN / "quxiang-server"), "run", "--data", data, "--port", str(self.town.port),
                 "--workers", "2", "--behind-proxy", "127.0.0.1", "--log-format", "json"],
                env=environ, stdout=log, stderr=log,
            )  # fmt: skip
        self.url = self.nginx.url
        self.nginx.start()
        for _ in range(400):
            if self.get("/readyz").status_code == 200:
                return
            assert self.server.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.get("/readyz").text)

    def get(self, path: str, **more: object) -> requests.Response:
        return requests.get(self.url + path, verify=str(self.certificate), timeout=60, **more)  # type: ignore[arg-type]

    def close(self) -> None:
        self.nginx.close()
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(20) == 0


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    made = Fronted(tmp_path_factory.mktemp("nginx"), {**kept, "QUXIANG_LANG": "en"})
    yield made
    made.close()


def signed_in(fronted: Fronted) -> requests.Session:
    browser = requests.Session()
    browser.trust_env = False  # else a bundle of the environment is trusted instead
    browser.verify = str(fronted.certificate)
    page = browser.get(f"{fronted.url}/login", timeout=10).text
    answer = browser.post(
        f"{fronted.url}/login", headers={"Referer": f"{fronted.url}/login"}, timeout=10,
        data={"name": "王秘书", "password": PASSWORD, "csrf_token": token(page)},
        allow_redirects=False,
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    return browser


def token(page: str) -> str:
    return page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]


def test_the_first_page_with_300_people_is_small_on_the_wire(fronted: Fronted) -> None:
    page = fronted.get("/")
    assets = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    wire = 0
    for path in ("/", *assets):
        raw = fronted.get(path, stream=True)
        wire += len(raw.raw.read(decode_content=False))
        if "svg" not in path:
            assert raw.headers["Content-Encoding"] == "gzip", path
            assert "Accept-Encoding" in raw.headers["Vary"]
        plain = fronted.get(path, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
    assert page.text.count("class=\"person") >= 300
    assert wire < 100_000, wire
    print(f"first page with 300 people: {len(page.content)} bytes of HTML, {wire} on the wire")


def test_signing_in_and_sending_a_table(fronted: Fronted) -> None:
    browser = signed_in(fronted)
    day = browser.get(f"{fronted.url}/day", timeout=20)
    assert day.status_code == 200
    assert "Content-Encoding" not in day.headers, "nothing of a signed-in page is compressed"
    page = f"{fronted.url}/settings/import"
    form = browser.get(page, timeout=10)
    table = browser.get(f"{page}/officials.xlsx", timeout=10)
    sent = browser.post(
        page, headers={"Referer": page}, timeout=20,
        data={"csrf_token": token(form.text), "kind": "officials"},
        files={"file": ("表.xlsx", table.content)},
    )  # fmt: skip
    assert sent.status_code == 200, sent.text[:500]
    huge = browser.post(
        page, headers={"Referer": page}, timeout=20,
        data={"csrf_token": token(form.text), "kind": "officials"},
        files={"file": ("x.xlsx", b"x" * (10 << 20))},
    )  # fmt: skip
    assert huge.status_code == 413, "nginx does not pass it on"
    elsewhere = browser.post(page, headers={"Referer": "https://evil.example/"}, timeout=10,
                             data={"csrf_token": token(form.text)})  # fmt: skip
    assert elsewhere.status_code == 400


def test_a_stream_is_not_held_back(fronted: Fronted) -> None:
    began = time.monotonic()
    with fronted.get("/board/events", stream=True) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        seen = b""
        for piece in stream.iter_content(None):
            seen += piece
            if b"event: beat" in seen:
                break
        assert b"event: board" in seen
    assert time.monotonic() - began < 5, "the first events come at once"


def test_what_a_client_claims_of_itself_ends_at_the_proxy(fronted: Fronted) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9",
              "X-Forwarded-Proto": "http", "X-Request-Id": "chosen-by-me",
              "Forwarded": "for=203.0.113.9"}  # fmt: skip
    answer = fronted.get("/", headers=forged)
    assert answer.status_code == 200, "the board is for the own network, where this client is"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.headers["Strict-Transport-Security"]
    assert fronted.get("/metrics").status_code == 404
    assert fronted.get("/", headers={"Host": "evil.example"}).status_code == 400
    moved = requests.get(f"http://127.0.0.1:{fronted.nginx.plain}/day", timeout=5,
                         allow_redirects=False)  # fmt: skip
    assert moved.status_code == 301
    assert moved.headers["Location"] == "https://quxiang.township/day"
    plain = requests.get(f"http://127.0.0.1:{fronted.nginx.plain}/api/v1/pair", timeout=5,
                         allow_redirects=False)  # fmt: skip
    assert plain.status_code == 403


def test_the_log_tells_nothing_of_anybody(fronted: Fronted) -> None:
    browser = signed_in(fronted)
    browser.get(f"{fronted.url}/officials?q=王秘书", timeout=10)
    browser.get(f"{fronted.url}/officials/A001?token=hidden-1234", timeout=10)
    fronted.get("/?q=林业")
    fronted.get("/no/such/王秘书?q=hidden-1234")
    fronted.get("/api/v1/programs/records?cursor=hidden-1234",
                headers={"Authorization": "Bearer quxiang_hidden-1234"})  # fmt: skip
    requests.post(f"{fronted.url}/login", verify=str(fronted.certificate), timeout=10,
                  data={"name": "王秘书", "password": "hidden-1234"})  # fmt: skip
    lines = [json.loads(line) for line in fronted.log.read_text().splitlines()
             if not line.startswith("serving on")]  # fmt: skip
    asked = [line for line in lines if line["logger"] == "quxiang.request"]
    routes = {line["route"] for line in asked}
    assert {"/", "/login", "/officials/<code>", "/api/v1/programs/records", "-"} <= routes
    assert {"at", "level", "logger", "id", "method", "route", "status", "ms", "township"} == set(
        asked[0]
    )
    one = next(line for line in asked if line["route"] == "/officials")
    assert (one["status"], one["township"], one["method"]) == (200, 1, "GET")
    everything = fronted.log.read_text() + fronted.nginx.log.read_text()
    for private in ("hidden-1234", "王秘书", PASSWORD, "csrf_token", "Bearer", "?q=", "A001?"):
        assert private not in everything, private
    assert "A001" not in fronted.log.read_text()
    assert any(one["id"] in line for line in fronted.nginx.log.read_text().splitlines())


def test_only_new_tls_is_spoken(fronted: Fronted) -> None:
    for version, spoken in (
        (ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_1, False),
    ):  # fmt: skip
        context = ssl.create_default_context(cafile=str(fronted.certificate))
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", fronted.nginx.secure), 5) as sock:
            try:
                context.wrap_socket(sock, server_hostname="127.0.0.1").close()
                heard = True
            except ssl.SSLError:
                heard = False
        assert heard == spoken, version


def test_open_boards_are_measured_through_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    script = Path(__file__).resolve().parents[2] / "scripts" / "bench_board.py"
    few = "--people 40 --sites 4 --times 2 --follow 1 --boards 5 --minutes 0.03 --nginx"
    made = subprocess.run(
        [sys.executable, str(script), "--json", str(report), "--database", "sqlite", *few.split()],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    found = json.loads(report.read_text("utf-8"))
    assert found["nginx"] is True
    held = found["sqlite"]["held"]
    assert (held["streams_kept"], held["failed"], held["stream_s"]["never"]) == (5, 0, 0)
    assert found["sqlite"]["followed"]["n"] == 1

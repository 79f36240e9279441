"""Boards held open on a real server: no thread each, nothing left behind, back after every end."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from server.config import ServerConfig
from server.db import Database
from server.models import Official
from server.web.streams import PER_ADDRESS
from tests.ports import free_port
from tests.server.web_seed import make_world
from tests.walks.certificates import self_signed
from tests.walks.proxied import Nginx
from tests.walks.town import BIN

BOARDS = 120


class Server:
    """`quxiang-server run` with one worker, and whoever has its board open."""

    def __init__(self, folder: Path, *more: str, workers: int = 1) -> None:
        self.folder, self.more, self.port = folder, more, free_port()
        self.workers = workers
        world = make_world(folder / "data")
        world.app.extensions["quxiang"].database.close()
        self.database = Database(ServerConfig(folder / "data", None))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("QUXIANG_")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "quxiang-server"), "run", "--data", str(self.folder / "data"),
                 "--port", str(self.port), "--workers", str(self.workers), *self.more],
                env=kept, stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: len(self.children()) == self.workers and reachable(self.port), 60)

    def children(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def holds(self, what: str) -> int:
        """How many files (`fd`) or threads (`task`) the worker has."""
        return sum(1 for _ in Path(f"/proc/{self.children()[0]}/{what}").iterdir())

    def change(self, phone: str, code: str = "A001") -> None:
        with self.database.transaction() as session:
            session.query(Official).filter_by(official=code).one().phone = phone

    def stop(self) -> float:
        """Seconds that its end took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return time.monotonic() - began

    def close(self) -> None:
        self.database.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()
        said = (self.folder / "log").read_text()
        assert "Traceback" not in said, said


class Board:
    """One board's stream, on a raw connection."""

    def __init__(
        self, port: int, source: str = "127.0.0.1", secure: ssl.SSLContext | None = None
    ) -> None:
        self.sock: socket.socket = socket.create_connection(
            ("127.0.0.1", port), 20, source_address=(source, 0)
        )
        if secure is not None:
            self.sock = secure.wrap_socket(self.sock)
        self.sock.sendall(b"GET /board/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.text = b""
        self.hear(b"\r\n\r\n")
        self.status = int(self.text.split()[1])

    def hear(self, what: bytes) -> None:
        """Until that was said."""
        while what not in self.text:
            piece = self.sock.recv(4096)
            assert piece, self.text
            self.text += piece

    def version(self) -> str:
        """Of the next change that is told."""
        self.hear(b"event: board\ndata: ")
        at = self.text.index(b"event: board\ndata: ") + 19
        self.hear(b"\n\n")
        said, self.text = self.text[at : at + 16].decode(), self.text[at + 16 :]
        return said

    def ended(self) -> bytes:
        """What came last, once nothing comes any more."""
        try:
            while piece := self.sock.recv(4096):
                self.text += piece
        except ConnectionResetError:
            pass
        return self.text

    def close(self) -> None:
        self.sock.close()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("open"))
    made.start()
    yield made
    made.close()


def opened(server: Server, many: int = BOARDS) -> list[Board]:
    boards = [Board(server.port, f"127.0.1.{n % 9 + 1}") for n in range(many)]
    assert {board.status for board in boards} == {200}
    assert len({board.version() for board in boards}) == 1
    return boards


def test_many_boards_hold_no_thread_and_leave_no_file(server: Server) -> None:
    opened(server, 1)[0].close()  # threads and connections of the first request
    files, threads = server.holds("fd"), server.holds("task")
    boards = opened(server)
    assert server.holds("task") <= threads + 1, "the watcher's"
    began = time.monotonic()
    server.change("13900000001")
    assert len({board.version() for board in boards}) == 1
    assert time.monotonic() - began < 3
    with closing(Board(server.port)) as one:  # pages are answered meanwhile
        assert one.status == 200
    for board in boards:
        board.close()
    until(lambda: server.holds("fd") <= files + 2)


def test_too_many_of_one_address_are_told_to_ask_instead(server: Server) -> None:
    boards: list[Board] = []
    while not boards or boards[-1].status == 200:
        assert len(boards) < 300
        boards.append(Board(server.port, "127.0.2.1"))
    assert boards[-1].status == 503
    assert b"Retry-After: 60" in boards[-1].text
    with closing(Board(server.port, "127.0.2.2")) as other:
        assert other.status == 200
    for board in boards:
        board.close()


def test_a_killed_worker_is_replaced_and_boards_come_back(server: Server) -> None:
    boards = opened(server, 20)
    killed = server.children()[0]
    os.kill(killed, signal.SIGKILL)
    for board in boards:
        board.ended()
        board.close()
    until(lambda: server.children() not in ([], [killed]))
    again = opened(server, 20)
    for board in again:
        board.close()


def test_the_server_ends_at_once_and_boards_come_back(server: Server) -> None:
    boards = opened(server, 20)
    assert server.stop() < 8, "no open board holds it up"
    for board in boards:
        assert board.ended().endswith(b"0\r\n\r\n"), "a proper end"
        board.close()
    server.start()
    for board in opened(server, 5):
        board.close()


def test_two_workers_count_one_address_together(tmp_path: Path) -> None:
    server = Server(tmp_path, workers=2)
    try:
        server.start()
        until(lambda: closed(Board(server.port)) == 200)
        boards = [Board(server.port, "127.0.3.1") for _ in range(PER_ADDRESS + 20)]
        taken = sum(board.status == 200 for board in boards)
        # Who comes while others are being let in is not counted yet.
        assert PER_ADDRESS <= taken <= PER_ADDRESS + 10
        with closing(Board(server.port, "127.0.3.2")) as other:
            assert other.status == 200
        killed = server.children()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(server.children()) == 2 and killed not in server.children())
        until(lambda: closed(Board(server.port, "127.0.3.1")) == 200, 30)  # what it held is free
        for board in boards:
            board.close()
        until(lambda: [closed(Board(server.port, "127.0.3.1")) for _ in range(9)] == [200] * 9)
    finally:
        server.close()


def closed(board: Board) -> int:
    """What it was answered."""
    board.close()
    return board.status


@pytest.mark.browser
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_search_stays_live_and_asks_only_for_its_own(
    server: Server, browser: Browser, language: str
) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with server.database.session() as session:
        mine = session.query(Official).filter_by(official="A001").one()
        other = session.query(Official).filter_by(official="A030").one()
        assert mine.name != other.name
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies([{"name": "quxiang_lang", "value": language, "url": url}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response("**/board/events?show=*"):
        page.goto(f"{url}/?q={mine.name}")
    found = page.locator(".person", has_text=mine.name).first
    server.change("13955550001")
    expect(found.locator(".phone")).to_have_text("13955550001")
    page.evaluate("window.notReloaded = true")
    before = len([one for one in asked if "/rows" in one])
    with closing(Board(server.port)) as heard:
        heard.version()
        server.change("13955550002", "A030")
        heard.version()
    server.change("13955550003")
    expect(found.locator(".phone")).to_have_text("13955550003")
    rows = [one for one in asked if "/rows" in one]
    assert len(rows) == before + 1, "not for somebody who was not looked for"
    assert page.evaluate("window.notReloaded") is True
    assert page.locator(".person").count() == len(
        page.evaluate("document.querySelector('[data-people]').dataset.people.split(' ')")
    )
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("path", ["/", "/tv"])
def test_a_page_shows_what_is_new_without_asking(
    server: Server, browser: Browser, path: str, language: str
) -> None:
    """What stands there after news is what the page says when it is loaded anew."""
    url = f"http://127.0.0.1:{server.port}"
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    context.add_cookies([{"name": "quxiang_lang", "value": language, "url": url}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response("**/board/events?show=*"):
        page.goto(url + path)
    for n in range(3):
        server.change(f"1390000{n:04d}")
        shown = page.locator(".phone, .tv-phone").first
        expect(shown, str(asked)).to_have_text(f"1390000{n:04d}")
    # The first version is told without news where somebody changed it while the page was loaded.
    assert len([one for one in asked if "/rows" in one]) <= 1
    people = "[...document.querySelectorAll('.person, .tv-person')].map(p => p.textContent)"
    live = page.evaluate(people)
    page.reload()
    assert page.evaluate(people) == live
    context.close()


@pytest.mark.parametrize("front", ["tls", "nginx"])
def test_over_tls_and_through_nginx(tmp_path: Path, front: str) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    more = (["--tls-cert", str(certificate), "--tls-key", str(key)] if front == "tls"
            else ["--behind-proxy", "127.0.0.1"])  # fmt: skip
    server = Server(tmp_path, *more)
    nginx = Nginx(tmp_path / "nginx", server.port, (certificate, key))
    try:
        server.start()
        if front == "nginx":
            nginx.start()
        port = server.port if front == "tls" else nginx.secure
        first = Board(port, secure=context)
        first.version()
        files = server.holds("fd")
        boards = [Board(port, f"127.0.1.{n + 1}", context) for n in range(30)]
        assert len({board.version() for board in boards}) == 1
        assert server.holds("fd") > 30
        server.change("13900000002")
        assert len({board.version() for board in (first, *boards)}) == 1
        for board in boards:
            board.close()
        until(lambda: server.holds("fd") <= files + 2)
        assert server.stop() < 8
        first.hear(b"0\r\n\r\n")  # nginx keeps the connection itself
        first.close()
    finally:
        nginx.close()
        server.close()

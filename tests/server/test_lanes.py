"""People before devices: two lanes a worker, pieces of work that stand back, copies in a storm."""

from __future__ import annotations

import errno
import socket
import threading
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text

from server.commits import Commits
from server.errors import ApiProblem
from server.gate import CROWD, Gate, gate
from server.lanes import FRESH_EVERY, Lanes, is_device
from server.shares import Share, Shares
from server.web.drawings import KEY, Drawings
from server.worker import SHY_TIMES, Worker

from .conftest import Kiosk, Machine, Office

KIOSK = b"POST /api/v1/records?acks=brief HTTP/1.1\r\n\r\n"
PERSON = b"GET / HTTP/1.1\r\n\r\n"


def connection(said: bytes) -> Any:
    """What gunicorn has of a connection on which that came."""
    ours, theirs = socket.socketpair()
    theirs.send(said)
    return SimpleNamespace(sock=ours, theirs=theirs, initialized=True, wait_for_data=lambda s: True)


def test_a_page_is_not_behind_the_kiosks() -> None:
    lanes, go, done = Lanes(2, 2), threading.Event(), []
    assert is_device(connection(KIOSK))
    assert is_device(connection(PERSON)) is False
    assert is_device(connection(b"\x16\x03\x01")) is None, "TLS"
    answers = [lanes.submit(lambda _: go.wait(10), connection(KIOSK)) for _ in range(50)]
    lanes.submit(done.append, connection(PERSON)).result(10)
    assert len(done) == 1
    assert not any(answer.done() for answer in answers)
    assert gate.crowded
    go.set()
    assert all(answer.result(10) for answer in answers)
    lanes.shutdown()


def test_a_kiosk_that_was_answered_is_done_first_but_keeps_nobody_out() -> None:
    lanes, go, order = Lanes(1, 1), threading.Event(), []
    first = lanes.submit(lambda _: go.wait(10), connection(KIOSK))
    while not first.running() and lanes._devices._fresh:
        pass
    answers = []
    for number in range(4):
        answers.append(lanes.submit(lambda _, n=number: order.append(n), connection(KIOSK)))
    for _ in range(20):
        again = connection(KIOSK)
        again.quxiang_device = True
        answers.append(lanes.submit(lambda _: order.append("again"), again))
    go.set()
    for answer in answers:
        answer.result(10)
    lanes.shutdown()
    assert order[:6] == ["again"] * 6
    assert order.index(0) == FRESH_EVERY - 2, "one was taken before"
    assert [each for each in order if each != "again"] == [0, 1, 2, 3]


def test_a_worker_leaves_a_connection_to_one_that_has_fewer() -> None:
    class Listener:
        def accept(self) -> Any:
            taken.append(1)
            raise BlockingIOError(errno.EAGAIN, "another worker has it")

    taken: list[int] = []
    shares = Shares(4)
    mine = Worker.__new__(Worker)
    mine.share, mine.nr_conns, mine._left = Share(shares, 1), 7, 0

    def accepts(others: dict[int, int]) -> int:
        """How often it is woken until it takes one."""
        taken.clear()
        for row, connections in others.items():
            shares.set(row, connections)
        mine.share.set(7)
        times = 0
        while not taken:
            mine.accept(Listener())
            times += 1
        return times

    assert accepts({}) == 1, "there is nobody else"
    assert accepts({0: 6}) == 1, "as many as makes no difference"
    assert accepts({0: 5}) == SHY_TIMES + 1, "but if the other one sleeps, it does not wait long"
    assert accepts({0: 9, 2: 5}) == SHY_TIMES + 1
    shares.clear(2)
    assert accepts({}) == 1, "a worker that is gone has none"


def test_a_fault_in_one_request_ends_no_thread() -> None:
    lanes = Lanes(1, 1)
    broken = lanes.submit(lambda conn: conn.nothing, connection(KIOSK))
    assert isinstance(broken.exception(10), AttributeError)
    assert lanes.submit(lambda _: "well", connection(KIOSK)).result(10) == "well"
    lanes.shutdown()


def test_devices_stand_back_for_a_page_but_not_for_ever() -> None:
    here, passed = Gate(), threading.Event()
    here.enter()
    waiting = threading.Thread(target=lambda: (here.give_way(), passed.set()))
    waiting.start()
    assert not passed.wait(0.05)
    here.leave()
    assert passed.wait(10)
    waiting.join()
    here.enter()
    here.give_way()  # a page that is never done


def test_pieces_are_committed_together_and_fail_alone(office: Office) -> None:
    begun: list[int] = []
    looked: list[str] = []

    def begin() -> Any:
        begun.append(1)
        return office.context.database.session(write=True)

    commits = Commits(begin, office.context.database.session)
    results, held = {}, threading.Event()

    def write(name: str, then: Exception | None = None) -> None:
        def work(session: Any) -> str:
            if name == "first":
                held.wait(10)
            session.execute(
                text("INSERT INTO township (name, slug, roster_version, created_ms) "
                     "VALUES (:name, :name, 0, 0)"), {"name": name},
            )  # fmt: skip
            if then is not None:
                raise then
            return name

        try:
            results[name] = commits.do(name, work, before=lambda _: looked.append(name))
        except (ValueError, ApiProblem) as error:
            results[name] = error

    kept = ApiProblem(409, "fork", "kept", keep=True)
    pieces = [("first", None), ("bad", ValueError("no")), ("kept", kept), ("good", None)]
    threads = [threading.Thread(target=write, args=piece) for piece in pieces]
    threads[0].start()
    while not begun:
        pass
    for thread in threads[1:]:
        thread.start()
    while len(looked) < 4:  # the others are prepared meanwhile
        pass
    assert not results, "nobody is answered before it is durable"
    held.set()
    for thread in threads:
        thread.join()
    assert len(begun) == 3, "three pieces in one transaction, and once more with savepoints"
    assert results["good"] == "good"
    assert results["kept"] is kept
    assert str(results["bad"]) == "no"
    with office.context.database.session() as session:
        names = set(session.scalars(text("SELECT name FROM township")))
    assert names >= {"first", "good", "kept"}
    assert "bad" not in names


def test_pieces_that_hold_are_done_once_after_what_they_looked_up(office: Office) -> None:
    begun: list[int] = []
    said: list[str] = []

    def begin() -> Any:
        begun.append(1)
        said.append("begin")
        return office.context.database.session(write=True)

    commits, held = Commits(begin, office.context.database.session), threading.Event()

    gathered: list[list[str]] = []

    def gather(session: Any, names: list[str]) -> None:
        assert session.scalar(text("SELECT 1")) == 1
        gathered.append(names)

    def reserve(_session: Any, names: list[str]) -> None:
        said.append(f"reserve {' '.join(names)}")

    def write(name: str) -> None:
        def work(session: Any) -> None:
            if name == "a":
                held.wait(10)
            said.append(f"write {name}")

        def before(session: Any) -> None:
            assert session.scalar(text("SELECT 1")) == 1
            assert name in {each for names in gathered for each in names}
            said.append(f"look {name}")

        commits.do(name, work, before=before, gather=gather, reserve=reserve)

    threads = [threading.Thread(target=write, args=name) for name in "adcb"]
    threads[0].start()
    while not begun:
        pass
    for thread in threads[1:]:
        thread.start()
    while len(said) < 6:
        pass
    held.set()
    for thread in threads:
        thread.join()
    assert said[:3] == ["look a", "begin", "reserve a"]
    looks, writes = ["look b", "look c", "look d"], ["write b", "write c", "write d"]
    assert sorted(said[3:6]) == looks, "while the first is still being written"
    assert said[6:] == ["write a", "begin", "reserve b c d", *writes]
    assert sorted(each for names in gathered for each in names) == ["a", "b", "c", "d"]


def test_a_board_in_a_storm_is_a_second_old_at_most(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    client = office.app.test_client()
    office.app.extensions[KEY] = Drawings(age_s=3600)
    before = client.get("/").data
    gate.device(CROWD + 1)
    try:
        assert client.get("/").data == before
        village.record()
        village.sync()
        assert client.get("/").data == before, "the copy"
        assert client.get("/?q=x").data != before
        office.app.extensions[KEY] = Drawings(age_s=0)
        assert client.get("/").data != before
    finally:
        gate.device(-CROWD - 1)
    assert client.get("/").data != before

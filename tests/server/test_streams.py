"""The hub of open boards, over real connections: many, slow, gone, too many, and its end."""

from __future__ import annotations

import gc
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.web.streams import LOST, UNSENT, Hub, News, beat_event, news_event
from server.web.streams import board_event as version_event


class Line:
    """A listening socket, and the connections made through it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.kept: list[socket.socket] = []

    def pair(self, buffers: int | None = None) -> tuple[socket.socket, socket.socket]:
        """The server's end and the board's."""
        theirs = socket.socket()
        if buffers is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs.connect(self.listener.getsockname())
        theirs.settimeout(10)
        ours, _ = self.listener.accept()
        if buffers is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        self.kept.append(theirs)
        return ours, theirs

    def close(self) -> None:
        for one in [self.listener, *self.kept]:
            one.close()


class World:
    """What the hub asks of the watcher and the worker."""

    def __init__(self) -> None:
        self.fresh = True
        self.alive = True
        self.woken: list[bool] = []


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def world() -> World:
    return World()


def clock() -> datetime:
    return datetime(2026, 11, 20, 2, 30, tzinfo=UTC)


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., Hub]]:
    begun: list[Hub] = []

    def go(**more: float) -> Hub:
        hub = Hub(
            clock, lambda: world.fresh, lambda *, now: world.woken.append(now),
            alive=lambda: world.alive, **more,  # type: ignore[arg-type]
        )  # fmt: skip
        hub.start()
        begun.append(hub)
        return hub

    yield go
    for hub in begun:
        hub.close()


def board_event(version: str) -> bytes:
    """A new version, and the time at which it was heard."""
    return version_event(version) + beat_event(clock)


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


def heard(sock: socket.socket, text: bytes) -> None:
    """Exactly this comes next."""
    got = b""
    while len(got) < len(text):
        piece = sock.recv(len(text) - len(got))
        assert piece, got
        got += piece
    assert got == text


def test_hundreds_are_told_by_one_thread(
    line: Line, world: World, start: Callable[..., Hub]
) -> None:
    gc.collect()  # what other tests left open is closed now, not in the middle
    hub, before = start(), files()
    boards = []
    for n in range(300):
        ours, theirs = line.pair()
        hub.take(ours, (n % 2, "", "zh"), f"10.0.0.{n % 50}", chunked=n % 3 > 0)
        boards.append((n, theirs))
    until(lambda: hub.keys() == {0, 1} and hub.streams == 300)
    assert True in world.woken, "nobody had these boards open: the watcher looks at once"
    hub.told({0: "zero", 1: "one"}, {})
    for round_ in ("one", "two"):
        for n, theirs in boards:
            said = board_event("zero" if n % 2 == 0 else round_)
            if round_ == "one" or n % 2:
                heard(theirs, chunk(said) if n % 3 else said)
        hub.told({0: "zero", 1: "two"}, {})
    for _, theirs in boards:
        theirs.close()
    until(lambda: hub.streams == 0)
    assert files() == before, "nothing is left open"
    assert not hub.keys()
    assert not hub.full("10.0.0.1")


def test_beats_come_while_nothing_changes(
    line: Line, world: World, start: Callable[..., Hub]
) -> None:
    hub = start(beat=0.01)
    ours, theirs = line.pair()
    hub.take(ours, (1, "", "zh"), "a", chunked=True)
    heard(theirs, chunk(beat_event(clock)))
    assert b"data: 10:30" in beat_event(clock)
    world.fresh = False
    got = theirs.recv(4096)
    while LOST not in got:
        got += theirs.recv(4096)


def test_who_hangs_up_or_breaks_off_is_noticed(line: Line, start: Callable[..., Hub]) -> None:
    hub = start()
    ends: list[Callable[[socket.socket], None]] = [
        lambda sock: sock.close(),
        lambda sock: sock.shutdown(socket.SHUT_WR),
        lambda sock: sock.sendall(b"GET / HTTP/1.1\r\n\r\n"),
    ]

    def reset(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    for end in (*ends, reset):
        ours, theirs = line.pair()
        hub.take(ours, (1, "", "zh"), "a", chunked=True)
        until(lambda: hub.keys() == {1})
        end(theirs)
        until(lambda: hub.streams == 0)
        assert ours.fileno() == -1


def test_one_who_takes_nothing_holds_up_nobody(line: Line, start: Callable[..., Hub]) -> None:
    hub = start()
    slow, _ = line.pair(buffers=1)
    quick, theirs = line.pair()
    hub.take(slow, (1, "", "zh"), "a", chunked=True)
    hub.take(quick, (1, "", "zh"), "b", chunked=True)
    most = 40 * UNSENT // len(board_event("v0000"))
    for n in range(most):
        hub.told({1: f"v{n:04d}"}, {})
        heard(theirs, chunk(board_event(f"v{n:04d}")))
        if hub.streams == 1:
            break
    assert hub.streams == 1, "what waits is bounded"
    assert slow.fileno() == -1


def test_one_who_was_slow_for_a_moment_gets_everything(
    line: Line, start: Callable[..., Hub]
) -> None:
    hub = start()
    slow, theirs = line.pair(buffers=1)
    hub.take(slow, (1, "", "zh"), "a", chunked=False)
    quick, other = line.pair()
    hub.take(quick, (1, "", "zh"), "b", chunked=False)
    said = [board_event(f"v{n:04d}") for n in range(150)]
    for n in range(150):
        hub.told({1: f"v{n:04d}"}, {})
        heard(other, said[n])
    heard(theirs, b"".join(said))
    assert hub.streams == 2


def test_no_more_than_so_many(line: Line, start: Callable[..., Hub]) -> None:
    hub = start(limit=5, per_address=3)
    boards = []
    for _ in range(3):
        ours, theirs = line.pair()
        hub.take(ours, (1, "", "zh"), "a", chunked=True)
        boards.append(theirs)
    until(lambda: hub.full("a"))
    assert not hub.full("b")
    for _ in range(2):
        hub.take(line.pair()[0], (1, "", "zh"), "b", chunked=True)
    until(lambda: hub.full("c"))
    boards[0].close()
    until(lambda: not hub.full("c") and not hub.full("a"))


@pytest.mark.parametrize("how", ["told to", "worker's end"])
def test_the_end_is_said(line: Line, world: World, start: Callable[..., Hub], how: str) -> None:
    hub = start()
    pairs = [line.pair() for _ in range(2)]
    for (ours, _), chunked in zip(pairs, (True, False), strict=True):
        hub.take(ours, (1, "", "zh"), "a", chunked=chunked)
    until(lambda: hub.keys() == {1})
    if how == "told to":
        hub.close()
        hub.close()
    else:
        world.alive = False
    heard(pairs[0][1], b"0\r\n\r\n")
    assert pairs[0][1].recv(1) == b""
    assert pairs[1][1].recv(1) == b""
    assert hub.full("b"), "nobody is taken any more"
    late, board = line.pair()
    until(lambda: not hub.streams)
    hub.take(late, (1, "", "zh"), "a", chunked=True)
    assert board.recv(1) == b""


def test_a_fault_lets_the_boards_go_and_the_loop_live(
    line: Line, world: World, start: Callable[..., Hub]
) -> None:
    hub = start()
    ours, theirs = line.pair()
    hub.take(ours, (1, "", "zh"), "a", chunked=True)
    until(lambda: hub.keys() == {1})
    hub.told(None, {})  # type: ignore[arg-type]
    while theirs.recv(4096):
        pass
    hub.told({1: "v"}, {})
    ours, theirs = line.pair()
    hub.take(ours, (1, "", "zh"), "a", chunked=True)
    heard(theirs, chunk(board_event("v")))


def test_news_come_one_after_the_other_and_to_whom_they_mean_something(
    line: Line, start: Callable[..., Hub]
) -> None:
    hub = start()
    boards = {}
    for kind in ("rows", ""):
        ours, boards[kind] = line.pair()
        hub.take(ours, (1, kind, "zh"), "a", chunked=False)
    until(lambda: hub.keys() == {1})
    assert hub.views() == {(1, "rows", "zh")}
    hub.told({1: "a"}, {(1, "rows", "zh"): News("0", b"{}")})
    for one in boards.values():
        heard(one, board_event("a"))  # of a version before the first, nothing is new
    first, second = News("a", b'{"n": 1}'), News("b", b'{"n": 2}')
    for version, news in (("b", first), ("c", second)):  # quicker than they can be sent
        hub.told({1: version}, {(1, "rows", "zh"): news})
    heard(boards["rows"], news_event(first) + board_event("b"))
    heard(boards["rows"], news_event(second) + board_event("c"))
    heard(boards[""], board_event("b") + board_event("c"))
    hub.told({1: "e"}, {(1, "rows", "zh"): News("d", b"{}")})
    heard(boards["rows"], board_event("e"))

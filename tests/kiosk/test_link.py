"""Answers that no honest server gives: each is a typed fault, soon and in bounded memory."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.signing import DeviceKeys, to_text
from attendance.statuses import SiteKind
from kiosk.config import KioskConfig
from kiosk.errors import PairingRefused, ServerRefused, ServerUnreachable
from kiosk.link import Link
from kiosk.pairing import pair

BOMB = gzip.compress(bytes(50_000_000))
HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWERS: dict[str, tuple[bytes, int, type[Exception]]] = {
    # what is sent, how often its last part is repeated, what it is
    "nothing": (b"", 0, ServerUnreachable),
    "garbage": (b"\x00\xff\x13 not http\r\n\r\n", 0, ServerUnreachable),
    "endless": (HEAD + b"\r\n" + b"x" * 65_536, 1_000, ServerUnreachable),
    "cut short": (HEAD + b"Content-Length: 100\r\n\r\nabc", 0, ServerUnreachable),
    "bomb": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
        0,
        ServerRefused,
    ),
    "unsigned": (HEAD + b"Content-Length: 2\r\n\r\n{}", 0, ServerRefused),
    "elsewhere": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        0,
        ServerRefused,
    ),
    "dying": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 0, ServerUnreachable),
    "bad wait": (
        b"HTTP/1.1 503 x\r\nRetry-After: -1e999\r\nContent-Length: 0\r\n\r\n",
        0,
        ServerUnreachable,
    ),
}


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that sends one prepared answer to whoever asks."""
    text, repeats, _ = ANSWERS[request.param]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.recv(65_536)
                    peer.sendall(text)
                    for _ in range(repeats):
                        peer.sendall(text[-65_536:])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.mark.parametrize(
    ("answering", "fault"),
    [(name, fault) for name, (_, _, fault) in ANSWERS.items()],
    indirect=["answering"],
    ids=list(ANSWERS),
)
def test_a_strange_answer(answering: str, fault: type[Exception], tmp_path: Path) -> None:
    keys = DeviceKeys.generate()
    config = KioskConfig(
        server=answering,
        device="kiosk001",
        township="t",
        site="s",
        site_kind=SiteKind.VILLAGE,
        server_key=to_text(keys.sign_public),
    )
    started = time.monotonic()
    link = Link(config, keys)
    with pytest.raises(fault) as caught:
        link.ask("GET", "/api/v1/whereabouts")
    link.close()
    if isinstance(caught.value, ServerUnreachable):
        assert caught.value.retry_after_s is None
    with pytest.raises((ServerUnreachable, PairingRefused, ServerRefused)):
        pair(tmp_path, answering, "ABCD-EFGH-1234-5678-9999")
    assert not (tmp_path / "kiosk.json").exists()
    assert time.monotonic() - started < 20

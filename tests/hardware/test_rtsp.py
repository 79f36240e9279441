"""An RTSP camera over a real connection, from a small server of RTSP and RTP/JPEG (RFC 2435)."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from hardware.camera import open_camera
from hardware.errors import CameraStopped, CameraUnreadable

WIDTH, HEIGHT = 320, 240


class RtspServer:
    """Sends a brightening picture over the connection itself until told to stop; remembers the
    methods that were asked.

    mute: accepts the connection and never answers.
    """

    def __init__(self, *, mute: bool = False) -> None:
        self.methods: list[str] = []
        self.sent = 0
        self.hang_up = threading.Event()
        self._mute = mute
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.hang_up.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.hang_up.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if self._mute:
                self.hang_up.wait(20)
                return
            connection.settimeout(10)
            buffer = b""
            try:
                while not self.hang_up.is_set():
                    while b"\r\n\r\n" not in buffer:
                        data = connection.recv(4096)
                        if not data:
                            return
                        buffer += data
                    request, buffer = buffer.split(b"\r\n\r\n", 1)
                    if self._answer(connection, request.decode()):
                        self._play(connection)
                        return
            except OSError:
                return

    def _answer(self, connection: socket.socket, request: str) -> bool:
        method = request.split(" ", 1)[0]
        self.methods.append(method)
        number = re.search(r"CSeq: (\d+)", request)
        assert number
        head, body = [f"CSeq: {number[1]}", "Session: 1"], ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 26\r\na=control:track0\r\n"
            )
            head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        reply = "RTSP/1.0 200 OK\r\n" + "\r\n".join(head) + "\r\n\r\n" + body
        connection.sendall(reply.encode())
        return method == "PLAY"

    def _play(self, connection: socket.socket) -> None:
        sequence = 0
        while not self.hang_up.wait(0.03):
            image = np.full((HEIGHT, WIDTH, 3), min(250, 20 + 3 * self.sent), np.uint8)
            for packet in rtp_jpeg(image, sequence, 90_000 * self.sent // 25):
                connection.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
                sequence += 1
            self.sent += 1


def rtp_jpeg(image: np.ndarray, sequence: int, stamp: int) -> Iterator[bytes]:
    """The picture as RTP packets: JPEG without headers, its quantisation tables in the first."""
    ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert ok
    data = encoded.tobytes()
    tables, at, scan = b"", 2, b""
    while not scan:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xDB:
            for start in range(at + 4, at + 2 + length, 65):
                tables += data[start + 1 : start + 65]
        elif marker == 0xDA:
            scan = data[at + 2 + length : data.rindex(b"\xff\xd9")]
        at += 2 + length
    offset = 0
    while offset < len(scan):
        part = scan[offset : offset + 1200]
        last = offset + len(part) == len(scan)
        rtp = struct.pack(">BBHII", 0x80, 26 | (0x80 if last else 0), sequence & 0xFFFF, stamp, 7)
        # Type 1: chroma halved both ways, as OpenCV encodes; quality 255: tables follow.
        jpeg = struct.pack(">I", offset) + bytes([1, 255, WIDTH // 8, HEIGHT // 8])
        quant = struct.pack(">BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        yield rtp + jpeg + quant + part
        sequence += 1
        offset += len(part)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    running = RtspServer()
    yield running
    running.close()


def test_an_rtsp_camera_gives_its_newest_picture_until_it_stops(server):
    with open_camera(server.url) as camera:
        assert camera.live
        frames = camera.frames()
        first = next(frames)
        assert first.image.shape == (HEIGHT, WIDTH, 3)
        deadline = time.monotonic() + 10
        frame = first
        while frame.image.mean() < first.image.mean() + 20 and time.monotonic() < deadline:
            frame = next(frames)
        assert frame.image.mean() >= first.image.mean() + 20
        assert frame.t > first.t >= 0
        assert frame.index > first.index
        assert frame.arrived - first.arrived == pytest.approx(frame.t - first.t)
        server.hang_up.set()
        began = time.monotonic()
        with pytest.raises(CameraStopped):
            list(frames)
        assert time.monotonic() - began < 10
    assert server.methods[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]


def test_an_rtsp_server_that_never_answers_is_given_up():
    server = RtspServer(mute=True)
    began = time.monotonic()
    with pytest.raises(CameraUnreadable, match="does not answer"):
        open_camera(server.url)
    assert time.monotonic() - began < 8
    server.close()

"""TLS as a township has it, and somebody in between with a certificate of his own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


def self_signed(folder: Path, name: str = "tls") -> tuple[Path, Path]:
    """What the README's openssl line makes, for 127.0.0.1: certificate and key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    made, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=quxiang.township",
         "-addext", "subjectAltName=DNS:quxiang.township,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


class InBetween:
    """Takes TLS with another certificate, passes everything on, and remembers what was said."""

    def __init__(self, certificate: Path, key: Path, port: int) -> None:
        self.heard = bytearray()
        self._to = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(raw,), daemon=True).start()

    def _relay(self, raw: socket.socket) -> None:
        blind = ssl.create_default_context()
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        with contextlib.suppress(OSError):
            near = self._context.wrap_socket(raw, server_side=True)
            far = blind.wrap_socket(socket.create_connection(("127.0.0.1", self._to)))
            back = threading.Thread(target=_pump, args=(far, near, None), daemon=True)
            back.start()
            _pump(near, far, self.heard)

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket, heard: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard += data
            sink.sendall(data)
        sink.close()


@contextlib.contextmanager
def in_between(folder: Path, port: int) -> Iterator[InBetween]:
    """Somebody on the wire before the server on that port."""
    found = InBetween(*self_signed(folder, "other"), port)
    try:
        yield found
    finally:
        found.close()

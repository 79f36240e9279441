"""TLS as a township has it, and somebody in between with a certificate of his own."""

from __future__ import annotations

import asyncio
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
    """Takes TLS with another certificate, passes everything on, and remembers what was said.

    One loop does both directions: two threads on one TLS connection wait for each other.
    """

    def __init__(self, certificate: Path, key: Path, port: int) -> None:
        self.heard = bytearray()
        self._to = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(self._relay, sock=self._listener, ssl=self._context)
        self._loop.run_until_complete(serving)
        self._loop.run_forever()

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        blind = ssl.create_default_context()
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        far, to = await asyncio.open_connection("127.0.0.1", self._to, ssl=blind)
        await asyncio.gather(_pump(near, to, self.heard), _pump(far, back, None))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listener.close()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, heard: bytearray | None
) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            if heard is not None:
                heard += data
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def in_between(folder: Path, port: int) -> Iterator[InBetween]:
    """Somebody on the wire before the server on that port."""
    found = InBetween(*self_signed(folder, "other"), port)
    try:
        yield found
    finally:
        found.close()

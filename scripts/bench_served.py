"""`quxiang-server run` for a measurement, behind nginx with TLS if so asked, and what it uses."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2
#: nginx's, as deploy/nginx/quxiang.conf asks for where hundreds of boards are open.
CONNECTIONS = 4096


@dataclass(frozen=True)
class Way:
    """Where the server answers: plainly on a port, or by TLS as `tls` trusts it."""

    port: int
    tls: ssl.SSLContext | None = None

    def connection(self) -> http.client.HTTPConnection:
        """A connection to be kept or closed."""
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls)


def memory_mb(pid: int) -> list[float]:
    """What each worker of a server's master holds for itself and shares, in its share (Pss)."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        text = Path(f"/proc/{child}/smaps_rollup").read_text()
        found.append(round(int(text.split("\nPss:", 1)[1].split()[0]) / 1024, 1))
    return sorted(found)


def descriptors(pid: int) -> list[int]:
    """Open files of each worker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(sum(1 for _ in Path(f"/proc/{c}/fd").iterdir()) for c in children)


def cpu_ms(pid: int) -> float:
    """CPU that a server's workers have used so far."""
    ticks = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text().split()[13:15]))
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def behind_nginx(folder: Path, port: int) -> Iterator[Way]:
    """The shipped configuration before the server on `port`."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.walks.certificates import self_signed
    from tests.walks.proxied import Nginx

    certificate, key = self_signed(folder)
    nginx = Nginx(folder / "nginx", port, (certificate, key), connections=CONNECTIONS)
    nginx.start()
    try:
        yield Way(nginx.secure, ssl.create_default_context(cafile=str(certificate)))
    finally:
        nginx.close()


@contextlib.contextmanager
def served(folder: Path, url: str | None, proxied: bool) -> Iterator[tuple[Way, int]]:
    """`quxiang-server run`, behind nginx if so `proxied`; the way there and the process id."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [str(Path(sys.executable).parent / "quxiang-server"), "run", "--data", str(folder),
               "--port", str(port), "--workers", str(WORKERS)]  # fmt: skip
    if proxied:
        command += ["--behind-proxy", "127.0.0.1"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command + (["--database", url] if url else []), stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text())
            time.sleep(0.1)
        time.sleep(3)
        with behind_nginx(folder, port) if proxied else contextlib.nullcontext(Way(port)) as way:
            yield way, process.pid
    finally:
        process.terminate()
        process.wait()

"""nginx on loopback with deploy/nginx/quxiang.conf, before a server of one's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy" / "nginx" / "quxiang.conf"


class Nginx:
    """The shipped configuration with other files and ports, and nothing else changed."""

    def __init__(
        self,
        folder: Path,
        server_port: int,
        certificate: tuple[Path, Path],
        connections: int = 256,
    ) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            pytest.skip("nginx is not here: apt-get install nginx-light")
        self._program = program
        folder.mkdir()
        self.plain, self.secure = free_port(), free_port()
        self.log = folder / "access.log"
        self.url = f"https://127.0.0.1:{self.secure}"
        site = CONFIG.read_text("utf-8")
        for shipped, here in (
            ("listen 80;", f"listen 127.0.0.1:{self.plain};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.secure} ssl"),
            ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server_port};"),
            ("/etc/quxiang/tls.crt;", f"{certificate[0]};"),
            ("/etc/quxiang/tls.key;", f"{certificate[1]};"),
            ("/var/log/nginx/quxiang.log", str(self.log)),
        ):
            assert site.count(shipped) == 1, f"{shipped} stands there once"
            site = site.replace(shipped, here)
        temporary = "\n".join(
            f"{what}_temp_path {folder}/{what};"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self._config = folder / "nginx.conf"
        self._errors = folder / "error.log"
        # As root the worker would be nobody, who may not write below this folder.
        user = "user root;\n" if os.getuid() == 0 else ""
        self._config.write_text(
            f"{user}pid {folder}/pid;\nerror_log {self._errors} warn;\nworker_processes 1;\n"
            f"worker_rlimit_nofile {2 * connections};\n"
            f"daemon off;\nevents {{ worker_connections {connections}; }}\n"
            f"http {{\ninclude /etc/nginx/mime.types;\n{temporary}\n{site}\n}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._program, "-c", str(self._config), "-e", str(self._errors)]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert tried.returncode == 0, tried.stderr
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.secure)) == 0:
                    return
            assert self._process.poll() is None, self._errors.read_text()
            time.sleep(0.05)
        raise AssertionError("nginx did not start")

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

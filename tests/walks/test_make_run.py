"""`make run` without a camera: from nothing to a lit board, twice, ended by Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.ports import free_port

A = "示例干部甲 Sample official A"


class Running:
    """The script of `make run`, with what it printed."""

    def __init__(
        self, root: Path, folder: Path, ports: tuple[int, int], environ: dict[str, str]
    ) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(root / "scripts/run_township.py"), "--folder", str(folder),
             "--port", str(ports[0]), "--screen", str(ports[1]), "--camera", "none"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ,
        )  # fmt: skip
        self.said = ""

    def until(self, text: str) -> float:
        """Reads what is printed until `text` stands in it; the seconds since the start."""
        assert self.process.stdout is not None
        while text not in self.said:
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.said}"
            self.said += line
        return time.monotonic() - self.started

    def ctrl_c(self) -> None:
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGINT)
        self.said += self.process.stdout.read()
        assert self.process.wait(60) == 0, self.said
        assert "Traceback" not in self.said


def in_village(url: str, seconds: float) -> dict[str, str]:
    """A's row of the public board, once it says so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for row in requests.get(f"{url}/board.json", timeout=60).json()["rows"]:
            if row["name"] == A and row["status"] == "in_village":
                return row
        time.sleep(0.5)
    raise AssertionError("official A never came on the board")


def test_make_run(root: Path, tmp_path: Path, environ: dict[str, str], sample: Path) -> None:
    ports = both = (free_port(), free_port())
    folder = tmp_path / "run"
    first = Running(root, folder, both, environ)
    try:
        first_took = first.until("Ctrl-C")
        url = f"http://127.0.0.1:{ports[0]}"
        assert f"{url}/" in first.said
        assert f"http://127.0.0.1:{ports[1]}/" in first.said
        password = re.search(r"one-time password: (\S+)", first.said)
        assert password is not None
        row = in_village(url, 60)
        assert row["colour"] == "yellow"
        screen = requests.get(f"http://127.0.0.1:{ports[1]}/", timeout=60)
        assert screen.status_code == 200

        third = subprocess.run(
            [sys.executable, str(root / "scripts/run_township.py"), "--folder", str(tmp_path / "x"),
             "--port", str(ports[0]), "--camera", "none"],
            capture_output=True, text=True, env=environ,
        )  # fmt: skip
        assert third.returncode == 1
        assert len(third.stderr.strip().splitlines()) == 1, third.stderr
        assert str(ports[0]) in third.stderr
    finally:
        first.ctrl_c()
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)), "nothing is left listening"

    second = Running(root, folder, both, environ)
    try:
        assert second.until("Ctrl-C") < first_took
        assert in_village(f"http://127.0.0.1:{ports[0]}", 60)["colour"] == "yellow"
        assert password.group(1) in second.said
    finally:
        second.ctrl_c()

"""A township as its users run it: the console scripts, real HTTP on loopback, real databases."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

BIN = Path(sys.executable).parent
PASSWORD = "a long enough passphrase 7"


@dataclass
class Town:
    """One server, one desk and any number of kiosks below a folder, by their commands alone."""

    folder: Path
    port: int
    environ: dict[str, str]
    server: subprocess.Popen[bytes] | None = None
    passwords: list[str] = field(default_factory=list)
    database: str | None = None
    workers: int = 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(
        self, name: str, *arguments: str, code: int = 0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end; its exit code and manners are checked."""
        done = subprocess.run(
            [str(BIN / name), *arguments],
            capture_output=True,
            text=True,
            env=self.environ,
            input=stdin,
            timeout=240,
        )
        said = f"{name} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done

    def data(self, role: str) -> str:
        return str(self.folder / role)

    def init(self) -> None:
        where = ["--database", self.database] if self.database else []
        out = self.run("quxiang-server", "init", "--data", self.data("server"), *where).stdout
        self.passwords.append(out.splitlines()[-1].strip())

    def serve(self) -> None:
        assert self.server is None
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [str(BIN / "quxiang-server"), "run", "--data", self.data("server"),
                 "--port", str(self.port), "--workers", str(self.workers)],
                env=self.environ, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(600):
            try:
                requests.get(f"{self.url}/healthz", timeout=2)
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self.server.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(60) == 0, (self.folder / "server.log").read_text()
            self.server = None

    def code(self, *arguments: str) -> str:
        out = self.run("quxiang-server", "code", "--data", self.data("server"), *arguments).stdout
        assert len(out.splitlines()) == 1, "the code and nothing else"
        return out.strip()

    def pair_desk(self) -> None:
        self.run("quxiang-enroll", "pair", "--data", self.data("enroll"), "--server", self.url,
                 "--code", self.code("--kind", "desk"))  # fmt: skip

    def pair_kiosk(self, role: str, site: str, kind: str = "village") -> None:
        code = self.code("--kind", "kiosk", "--site", site, "--site-kind", kind)
        self.run("quxiang-kiosk", "pair", "--data", self.data(role), "--server", self.url,
                 "--code", code)  # fmt: skip

    def enrol(self, folder: Path) -> dict[str, Any]:
        report = self.folder / "import.json"
        self.run("quxiang-enroll", "import", str(folder), "--data", self.data("enroll"),
                 "--json", str(report))  # fmt: skip
        return json.loads(report.read_text())

    def play(self, role: str, camera: Path, *extra: str) -> list[dict[str, Any]]:
        """A clip through the kiosk; the lines of its --events."""
        events = self.folder / f"{role}-{len(list(self.folder.glob('*.jsonl')))}.jsonl"
        self.run("quxiang-kiosk", "run", "--data", self.data(role), "--camera", str(camera),
                 "--until-end", "--events", str(events), *extra)  # fmt: skip
        return [json.loads(line) for line in events.read_text().splitlines()]

    def status(self, role: str) -> dict[str, Any]:
        out = self.run("quxiang-kiosk", "status", "--data", self.data(role), "--json").stdout
        return json.loads(out)

    def board(self) -> dict[str, dict[str, Any]]:
        answer = requests.get(f"{self.url}/board.json", timeout=60)
        assert answer.status_code == 200
        return {row["name"]: row for row in answer.json()["rows"]}

    def user(self, name: str, role: str, *extra: str) -> None:
        """An account with `PASSWORD`."""
        file = self.folder / "password"
        file.write_text(PASSWORD)
        self.run("quxiang-server", "user", "add", name, "--data", self.data("server"),
                 "--role", role, "--password-file", str(file), *extra)  # fmt: skip

    def signed_in(self, name: str, password: str) -> requests.Session:
        """A session, through the forms as a browser fills them."""
        session = requests.Session()
        self.form(session, "/login", {"name": name, "password": password})
        return session

    def supervisor(self) -> requests.Session:
        """The administrator, who chooses a password of his own the first time."""
        session = self.signed_in("admin", self.passwords[-1])
        if "password" in session.get(f"{self.url}/day", timeout=60).url:
            new = {"current": self.passwords[-1], "new": PASSWORD, "again": PASSWORD}
            self.form(session, "/password", new)
            self.passwords.append(PASSWORD)
        return session

    def form(
        self,
        session: requests.Session,
        path: str,
        fields: dict[str, str],
        action: str | None = None,
    ) -> None:
        """Fills the page's form with what it hides and `fields`; posts it to `action` or itself."""
        page = session.get(f"{self.url}{path}", timeout=60).text
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
        answer = session.post(f"{self.url}{action or path}", data={**hidden, **fields}, timeout=60)
        assert answer.status_code == 200, answer.text

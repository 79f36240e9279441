"""A unit of ours, run in a tree as systemd would: its user, environment and commands around it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.rig import need
from tests.faults.tree import Tree

NOTIFY = "/run/quxiang-notify"


class Unit:
    """One service. Its sandbox is not played: no systemd runs in a tree."""

    def __init__(self, tree: Tree, name: str) -> None:
        self.tree = tree
        self._text = tree.text(f"/etc/systemd/system/{name}")
        self.process: subprocess.Popen[str] | None = None
        self.log = tree.folder / "tmp" / f"{name}.log"

    def words(self, key: str) -> list[str]:
        """Every line of that key."""
        return re.findall(rf"^{key}=(.*)$", self._text, re.MULTILINE)

    def environ(self) -> dict[str, str]:
        """Of Environment= and of the files of EnvironmentFile=, as systemd.exec(5) reads them."""
        pairs = [word for line in self.words("Environment") for word in shlex.split(line)]
        for path in self.words("EnvironmentFile"):
            file = self.tree.folder / path.lstrip("-/")
            if file.is_file():
                lines = (line.strip() for line in file.read_text("utf-8").splitlines())
                pairs += [line for line in lines if line and line[0] not in "#;"]
        return dict(pair.split("=", 1) for pair in pairs)

    def command(self, line: str) -> list[str]:
        """The words of a command line: ${X} is one word, $X as many as it holds."""
        env = self.environ()
        words: list[str] = []
        for word in line.lstrip("+-").split():
            if re.fullmatch(r"\$\w+", word):
                words += env.get(word[1:], "").split()
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda m: env.get(m[1], ""), word))
        if not line.startswith("+") and (user := self.words("User")):
            words = ["setpriv", f"--reuid={user[0]}", f"--regid={user[0]}", "--init-groups",
                     "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
                     *words]  # fmt: skip
        folder = self.words("WorkingDirectory") or ["/"]
        return ["sh", "-c", f"cd {shlex.quote(folder[0])} && umask 0077 && exec \"$@\"", "sh",
                *words]  # fmt: skip

    def around(self, key: str, **more: str) -> None:
        """The commands of ExecStartPre=, ExecStartPost= and ExecStopPost=."""
        for line in self.words(key):
            self.tree.run(shlex.join(self.command(line)), **self.environ(), **more)

    def start(self, ready: Callable[[], bool] | None = None, seconds: float = 180.0) -> None:
        """Until it is ready: by READY=1 where the unit says Type=notify, else as `ready` says."""
        self.around("ExecStartPre")
        end = self.tree.folder / NOTIFY.lstrip("/")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(end))
            end.chmod(0o666)
            notified.settimeout(0.2)
            with self.log.open("a") as log:
                self.process = subprocess.Popen(
                    self.tree.command(self.command(self.words("ExecStart")[0]),
                                      {**self.environ(), "NOTIFY_SOCKET": NOTIFY}),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True,
                )  # fmt: skip
            until = time.monotonic() + seconds
            while True:
                said = self.log.read_text("utf-8", "replace")[-2000:]
                need(self.process.poll() is None, f"it ended before it was ready\n{said}")
                need(time.monotonic() < until, f"not ready after {seconds:.0f} s\n{said}")
                if ready is not None:
                    if ready():
                        break
                    time.sleep(0.2)
                    continue
                try:
                    if notified.recv(100) == b"READY=1":
                        break
                except TimeoutError:
                    continue
        end.unlink()
        self.around("ExecStartPost")

    def stop(self, seconds: float = 60.0) -> None:
        """SIGTERM, and what comes after it ended."""
        if self.process is not None:
            own = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            os.kill(int(own.split()[0]), signal.SIGTERM)
            self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Until it ends by itself, well."""
        if self.process is not None:
            code = self.process.wait(seconds)
            need(code == 0, f"status {code}\n{self.log.read_text('utf-8')[-2000:]}")
            self.process = None
            self.around("ExecStopPost", SERVICE_RESULT="success")

"""Who lives in the trees of `tests.faults.install`: a server, a desk, a kiosk before footage."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.rig import Cannot, need
from tests.faults.tree import LOCAL, Tree
from tests.faults.unit import Unit

ROOT = Path(__file__).resolve().parents[2]
STICK = "/media/stick"
SITE = "杏树村"


class Desk:
    """The enrolment desk, on this machine but on the trees' loopback."""

    def __init__(self, folder: Path, server: Tree, environ: dict[str, str]) -> None:
        self._folder, self._server, self._environ = folder, server, environ

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [*self._server.line, str(ROOT / ".venv/bin/quxiang-enroll"), *words, "--data",
             str(self._folder)],
            env=self._environ, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        need(done.returncode == 0, f"quxiang-enroll {words[0]}: {done.stderr}")

    def enrol(self, sample: Path) -> None:
        """Pairs, and enrols the people of the sample footage for SITE."""
        code = self._server.run("quxiang-server code --kind desk").strip()
        self.run("pair", "--server", f"https://{LOCAL}:8443", "--code", code, "--ca",
                 str(self._server.folder / "var/lib/quxiang/tls.crt"))  # fmt: skip
        listed = sample / "enrol/officials.csv"
        with listed.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["sites"] = SITE
        with listed.open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
        self.run("import", str(sample / "enrol"))
        self.run("sync")


def make_sample(folder: Path) -> Path:
    """Footage of two sample officials. Raises Cannot where their portraits are not to be had."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/sample_footage.py"), str(folder)],
        capture_output=True, text=True, timeout=600, cwd=ROOT,
    )  # fmt: skip
    if done.returncode:
        raise Cannot(done.stderr.strip().splitlines()[-1])
    return folder


def answers(tree: Tree) -> bool:
    """Whether the server answers over TLS with its own certificate."""
    check = (f"import ssl,urllib.request as u;u.urlopen('https://{LOCAL}:8443/healthz',timeout=5,"
             "context=ssl.create_default_context(cafile='/var/lib/quxiang/tls.crt'))")  # fmt: skip
    return tree.run(f'python3 -c "{check}" 2>/dev/null || echo no', code=None).strip() == ""


def pair(kiosk: Tree, server: Tree) -> None:
    """As the page says, with the certificate carried over."""
    code = server.run(f"quxiang-server code --kind kiosk --site {SITE} --site-kind village")
    shutil.copy(server.folder / "var/lib/quxiang/tls.crt", kiosk.folder / "tmp/tls.crt")
    kiosk.run(f"quxiang-kiosk pair --server https://{LOCAL}:8443 --ca /tmp/tls.crt "
              f"--code {code.strip()}")  # fmt: skip


def play(kiosk: Tree, screen: bool) -> int:
    """The unit's own command on footage to its end; the check-ins of it."""
    more = "" if screen else " --no-screen"
    kiosk.run("bash ./install-kiosk.sh --camera /srv/footage.avi --options "
              f"'--until-end --liveness off --events /var/lib/quxiang/kiosk/events.jsonl'{more}",
              at=STICK)  # fmt: skip
    unit = Unit(kiosk, "quxiang-kiosk.service")
    unit.start()
    unit.wait(600)
    lines = kiosk.text("/var/lib/quxiang/kiosk/events.jsonl").splitlines()
    return sum(json.loads(line)["event"] == "checkin" for line in lines)

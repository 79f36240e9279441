"""An update killed after every step, and then the machine starts again: old or new, never none.

systemd is played by `Manager`, which reads what it does from deploy/systemd/quxiang-kiosk.service
itself: ExecStartPre, ExecStart until READY=1 or TimeoutStartSec, ExecStartPost, ExecStopPost. The
releases are small wheels of a stand-in for the kiosk that records and gets ready, or does not.
"""

from __future__ import annotations

import ensurepip
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from kiosk.releases import App, Step
from scripts.make_release import make_key, pack, read_key, write_release
from tests.faults.rig import main, need

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "quxiang-kiosk.service"
#: The stand-in: appends its number to `recorded` and says READY=1; "slow" waits until it may,
#: "crash" ends at once.
STAND_IN = """
import os, socket, sys, time
def main():
    number, manner = {number}, {manner!r}
    if manner == "crash":
        sys.exit(1)
    while manner == "slow" and not os.path.exists(os.environ["RECORDED"] + ".may"):
        time.sleep(0.02)
    with open(os.environ["RECORDED"], "a") as file:
        print(number, file=file, flush=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    time.sleep(3600)
"""


def make_wheel(folder: Path, number: int, manner: str) -> None:
    """`quxiang`, with the command and the modules that `releases` tries to import."""
    info = f"quxiang-{number}.dist-info"
    with zipfile.ZipFile(folder / f"quxiang-{number}-py3-none-any.whl", "w") as wheel:
        files = {
            "kiosk/__init__.py": "",
            "kiosk/run.py": STAND_IN.format(number=number, manner=manner),
            "cv2.py": "", "nacl.py": "", "argon2.py": "",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: quxiang\nVersion: {number}\n"
                                "Provides-Extra: kiosk\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": "[console_scripts]\nquxiang-kiosk=kiosk.run:main\n",
        }  # fmt: skip
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files))


def make_release(out: Path, seed: bytes, number: int, manner: str = "good") -> Path:
    """A signed release of the stand-in, for this machine and this Python."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "wheels").mkdir()
        (place / "models").mkdir()
        (place / "models" / "weights").write_bytes(b"w" * 1000)
        make_wheel(place / "wheels", number, manner)
        bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
        shutil.copy(bundled, place / "wheels")
        return write_release(
            out, seed, pack(place), number=number, version=str(number), machine=platform.machine(),
            pythons=[f"{sys.version_info[0]}.{sys.version_info[1]}"],
        )  # fmt: skip


class Card:
    """What survives a power cut: the releases, and what was recorded."""

    def __init__(self, folder: Path, key: Path) -> None:
        self.folder = folder
        self.app = folder / "app"
        (self.app / "releases").mkdir(parents=True)
        shutil.copy(key.with_name(key.name + ".pub"), self.app / "release.key")
        self.recorded = folder / "recorded"
        self.recorded.touch()

    def install(self, file: Path, at: Step = lambda step: None) -> int:
        """As quxiang-update.service does."""
        return App(self.app, at).install(file, python=sys.executable)

    def lines(self) -> list[str]:
        """The numbers of the releases that recorded, one a start."""
        return self.recorded.read_text().split()


class Manager:
    """systemd, as far as the unit uses it. `mono` is the clock by which the unit's minute passes;
    a played one moves only while the manager waits."""

    def __init__(self, card: Card, mono: Callable[[], float] = time.monotonic) -> None:
        self.card = card
        self._mono = mono
        text = UNIT.read_text("utf-8")
        self._exec = {
            name: re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
            for name in ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecStopPost")
        }
        stated = re.findall(r"^TimeoutStartSec=(\d+)$", text, re.MULTILINE)
        need(stated == ["60"], "a new release has a minute")
        self.timeout_s = float(stated[0])
        self._address = card.folder / "notify"

    def _command(self, line: str) -> list[str]:
        words = line.lstrip("+").split()
        if words[0].endswith("/bin/quxiang-release"):
            return [sys.executable, "-m", "kiosk.releases", "--app", str(self.card.app), *words[1:]]
        path = words[0].replace("/var/lib/quxiang/app", str(self.card.app))
        return [path, *words[1:]]

    def _call(self, name: str, **environ: str) -> None:
        for line in self._exec[name]:
            subprocess.run(self._command(line), env={**os.environ, **environ}, cwd=ROOT, check=True)

    def start(self) -> subprocess.Popen[bytes] | None:
        """One start: the process once it is ready, None where it had to be given up."""
        self._call("ExecStartPre")
        self._address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind(str(self._address))
            environ = {"NOTIFY_SOCKET": str(self._address), "RECORDED": str(self.card.recorded)}
            process = subprocess.Popen(
                self._command(self._exec["ExecStart"][0]), env={**os.environ, **environ}
            )
            until = self._mono() + self.timeout_s
            end.settimeout(0.05)
            while self._mono() < until and process.poll() is None:
                try:
                    ready = end.recv(100) == b"READY=1"
                except TimeoutError:
                    continue
                if ready:
                    self._call("ExecStartPost")
                    return process
        result = "timeout" if process.poll() is None else "exit-code"
        process.kill()
        process.wait()
        self._call("ExecStopPost", SERVICE_RESULT=result)
        return None

    def boot(self, starts: int = 5) -> int:
        """Starts until one gets ready, as Restart=always does, then pulls the plug: its number."""
        for _ in range(starts):
            before = len(self.card.lines())
            process = self.start()
            if process is not None:
                process.kill()
                process.wait()
                lines = self.card.lines()
                need(len(lines) > before, "ready without having recorded")
                return int(lines[-1])
        raise AssertionError(f"nothing runs after {starts} starts")


def steps_of(work: Callable[[Step], object]) -> list[str]:
    """Every step that `work` tells of."""
    seen: list[str] = []
    work(seen.append)
    return seen


def die(work: Callable[[Step], object], step: str) -> None:
    """kill -9 of a process that does `work`, right after that step."""

    def at(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        try:
            work(at)
        finally:
            os._exit(0)
    need(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9, f"{step} was not reached")


def run(times: int) -> str:
    """Every step of updates to a good and a bad release, then `times` kills at random moments."""
    with tempfile.TemporaryDirectory(prefix="quxiang-releases-") as folder:
        place = Path(folder)
        make_key(place / "key")
        seed = read_key(place / "key")
        files = {
            (number, manner): make_release(_made(place / manner), seed, number, manner)
            for number, manner in ((1, "good"), (2, "good"), (2, "crash"))
        }
        first = Card(_made(place / "first"), place / "key")
        first.install(files[1, "good"])
        need(Manager(first).boot() == 1, "the first release runs")
        killed = 0
        for manner in ("good", "crash"):
            new = files[2, manner]
            plan = copy_of(first, place / f"plan-{manner}")
            for step in steps_of(lambda at, plan=plan, new=new: plan.install(new, at)):
                card = copy_of(first, place / "card")
                die(lambda at, card=card, new=new: card.install(new, at), step)
                came = Manager(card).boot()
                need(came in ((1, 2) if manner == "good" else (1,)), f"{came} after {step}")
                _again(card, new, manner)
                killed += 1
        killed += _tries(first, files, place)
        killed += _taking_back(first, files, place)
        rng = random.Random(7)
        for number in range(times):
            card = copy_of(first, place / "card")
            _kill_at(card, files[2, "good"], rng.uniform(0.0, 4.0))
            need(Manager(card).boot() in (1, 2), f"kill {number}")
            _again(card, files[2, "good"], "good")
    return f"{killed} kills after named steps, {times} at random moments: a release ran every time"


def _again(card: Card, new: Path, manner: str) -> None:
    """After the accident the update goes through (or is taken back) all the same; two are kept."""
    app = App(card.app)
    if app.state().good != 2:
        if 2 not in app.state().failed:
            card.install(new)
        need(Manager(card).boot() == (2 if manner == "good" else 1), "after the accident")
    need(len(app.releases()) <= 2, f"{app.releases()} are kept")
    need(not list(card.app.glob("incoming*")), "a copy was left")


def _tries(first: Card, files: dict[tuple[int, str], Path], place: Path) -> int:
    """The plug is pulled in the middle of each start of a release on trial."""
    card = copy_of(first, place / "card")
    card.install(files[2, "good"])
    manager = Manager(card)
    for _ in range(3):
        manager._call("ExecStartPre")
    need(App(card.app).current() == 2, "three tries are its own")
    manager._call("ExecStartPre")
    need(App(card.app).current() == 1, "then the old one is back")
    need(manager.boot() == 1, "and runs")
    return 3


def _taking_back(first: Card, files: dict[tuple[int, str], Path], place: Path) -> int:
    """Killed while it takes a bad release back, and while it calls a good one good."""
    count = 0
    for step in ("linked back", "taken back"):
        card = copy_of(first, place / "card")
        card.install(files[2, "crash"])
        App(card.app).boot()
        die(lambda at, card=card: App(card.app, at).stopped("exit-code"), step)
        need(Manager(card).boot() == 1, step)
        need(App(card.app).state().failed == [2], f"it is remembered as failed after {step}")
        count += 1
    card = copy_of(first, place / "card")
    card.install(files[2, "good"])
    App(card.app).boot()
    die(lambda at, card=card: App(card.app, at).confirm(), "confirmed")
    need(Manager(card).boot() == 2, "confirmed")
    return count + 1


def _kill_at(card: Card, new: Path, seconds: float) -> None:
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        try:
            card.install(new)
        finally:
            os._exit(0)
    time.sleep(seconds)
    try:
        os.killpg(pid, signal.SIGKILL)  # pip and venv go down with it, as with the power
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_of(card: Card, to: Path) -> Card:
    """Another card with the same on it. Scripts of an environment name its place, so they are
    pointed to the copy."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(card.folder, to, symlinks=True, ignore=shutil.ignore_patterns("notify"))
    made = Card.__new__(Card)
    made.folder, made.app, made.recorded = to, to / "app", to / "recorded"
    old, new = str(card.folder).encode(), str(to).encode()
    for script in to.glob("app/releases/*/venv/bin/*"):
        if not script.is_symlink() and old in (text := script.read_bytes()):
            script.write_bytes(text.replace(old, new))
    return made


if __name__ == "__main__":
    main(__doc__, run, 5, "kills at random moments, besides one after every step")

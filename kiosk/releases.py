"""Releases side by side: put in whole, tried, kept or taken back; interrupted anywhere, one runs.

APP/releases/N/    one release: `venv/`, `models/`, `release.json`, and `complete` when it is whole
APP/current        link to the release that runs; replaced by a rename
APP/state.json     which release is good, which is on trial, which failed
APP/release.key    the Ed25519 key that signs releases (base64), pinned when the kiosk was installed

Only the standard library and `openssl`: `deploy/install-kiosk.sh` copies this file and
`release_file.py` beside the releases, so that they work where a release does not. systemd calls
them as APP/bin/quxiang-release around each start (deploy/systemd/quxiang-kiosk.service): `boot`
before, `confirm` once the kiosk is ready, `stopped` after it ended.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kiosk.release_file import ReleaseRefused, open_plain, read_head, say, unpack, verifies

MOST_TRIES = 3
"""Starts of a release on trial: power may fail during one or two of them."""
SPARE_BYTES = 64 << 20
"""Room that must be left on the card beside a new release."""
Step = Callable[[str], None]


@dataclass
class State:
    """`good` last proved itself; `trial` is being tried for the `tries`th time; `failed` were
    taken back; nothing up to `highest` is taken again; `last` says what happened last."""

    good: int | None = None
    trial: int | None = None
    tries: int = 0
    failed: list[int] = field(default_factory=list)
    highest: int = 0
    last: str = ""


def own_release(prefix: str = sys.prefix) -> int | None:
    """The number of the release that this interpreter belongs to, None outside of one."""
    try:
        return int(json.loads((Path(prefix).parent / "release.json").read_text("utf-8"))["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class App:
    """A folder of releases. Writing needs the right to write there: root's, on a kiosk."""

    def __init__(self, folder: Path, at: Step = lambda step: None) -> None:
        """`at` is told each step after it was taken (the tests kill there)."""
        self.folder = folder
        self._at = at

    # -- reading ----------------------------------------------------------------------------

    def release(self, number: int) -> Path:
        """Where that release lies."""
        return self.folder / "releases" / str(number)

    def whole(self, number: int | None) -> bool:
        """Whether that release is there, wholly."""
        return number is not None and (self.release(number) / "complete").is_file()

    def releases(self) -> list[int]:
        """Every whole release, oldest first."""
        with contextlib.suppress(OSError):
            names = [p.name for p in (self.folder / "releases").iterdir() if p.name.isdecimal()]
            return sorted(int(name) for name in names if self.whole(int(name)))
        return []

    def current(self) -> int | None:
        """The release that the link names, None where it names none."""
        try:
            name = (self.folder / "current").readlink().name
        except OSError:
            return None
        return int(name) if name.isdecimal() else None

    def state(self) -> State:
        """What is known; an unreadable file counts as an empty one, since a kiosk must start."""
        try:
            known = json.loads((self.folder / "state.json").read_text("utf-8"))
            return State(**{k: v for k, v in known.items() if k in State.__dataclass_fields__})
        except (OSError, ValueError, TypeError, AttributeError):
            return State(good=self.current())

    # -- around a start ---------------------------------------------------------------------

    def boot(self) -> None:
        """Before each start: counts the tries of a release on trial, mends a link that leads
        nowhere."""
        state = self.state()
        if state.trial is not None and self.current() != state.trial:
            # Cut before the link was turned, or after it was turned back.
            if state.tries:
                state.failed.append(state.trial)
            state.trial, state.tries = None, 0
            self._save(state)
        elif state.trial is not None and state.tries >= MOST_TRIES and self.whole(state.good):
            self._take_back(state, "it did not get ready in three starts")
        elif state.trial is not None:
            state.tries += 1
            self._save(state)
        if not self.whole(self.current()):
            choices = [state.good] if self.whole(state.good) else self.releases()[::-1]
            if choices and choices[0] is not None:
                self._link(choices[0])

    def confirm(self) -> None:
        """The release that runs got ready: it is the good one now."""
        state = self.state()
        number = self.current()
        if number is None or (state.trial is None and state.good == number):
            return
        if state.trial == number:
            state.last = f"release {number} is in force"
        state.good, state.trial, state.tries = number, None, 0
        state.highest = max(state.highest, number)
        self._save(state)
        self._tidy()
        self._at("confirmed")

    def stopped(self, result: str) -> bool:
        """It ended with systemd's `result`; on trial anything but success takes it back.

        True where the old release is in force again.
        """
        state = self.state()
        if state.trial is None or result == "success" or not self.whole(state.good):
            return False
        if self.current() == state.trial:
            self._take_back(state, f"it ended with {result} before it was ready")
            return True
        return False

    def _take_back(self, state: State, why: str) -> None:
        number, good = state.trial, state.good
        if number is None or good is None:
            return
        self._link(good)
        self._at("linked back")
        state.failed = [*state.failed, number][-20:]
        state.trial, state.tries = None, 0
        state.last = f"release {number} was taken back: {why}"
        self._save(state)
        self._tidy()
        self._at("taken back")

    def _tidy(self) -> None:
        """The copy that an installation left which was cut after it turned the link."""
        with contextlib.suppress(ReleaseRefused, OSError), self.locked():
            for path in self.folder.glob("incoming*"):
                path.unlink()

    # -- installing -------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time. Raises ReleaseRefused."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReleaseRefused(
                    "正在安装另一个版本：请稍候。", "another release is being installed: wait"
                ) from None
            yield

    def install(self, file: Path, *, again: bool = False, python: str = "/usr/bin/python3") -> int:
        """Puts a signed release beside the others and turns the link to it, on trial.

        `again` takes one that failed before. The number; raises ReleaseRefused and OSError.
        """
        with self.locked():
            self._sweep()
            manifest, staged = self._stage(file)
            number = int(manifest["number"])
            self._may(manifest, again)
            self._make_room(manifest)
            self._put(number, staged, python)
            self._finish(number, manifest)
            staged.unlink()
            return number

    def _sweep(self) -> None:
        """What an interrupted installation left."""
        for path in self.folder.glob("incoming*"):
            path.unlink()
        (self.folder / "releases").mkdir(parents=True, exist_ok=True)
        for folder in (self.folder / "releases").iterdir():
            if not (folder / "complete").is_file():
                shutil.rmtree(folder)
        self._at("swept")

    def _stage(self, file: Path) -> tuple[dict[str, Any], Path]:
        """Copies the payload to where only root writes, checked against the signed manifest."""
        staged = self.folder / "incoming"
        with open_plain(file) as source:
            manifest, line, signature = read_head(source)
            self._check_signature(line, signature)
            self._at("signature checked")
            digest, left = hashlib.sha256(), int(manifest["size"])
            with staged.open("wb") as copy:
                while left and (piece := source.read(min(left, 1 << 20))):
                    digest.update(piece)
                    copy.write(piece)
                    left -= len(piece)
            if left or source.read(1) or digest.hexdigest() != manifest["sha256"]:
                raise ReleaseRefused(
                    f"{file} 不完整或已损坏：请重新复制。",
                    f"{file} is cut short or damaged: copy it again",
                )
        self._at("staged")
        return manifest, staged

    def _check_signature(self, line: bytes, signature: bytes) -> None:
        try:
            key = base64.b64decode(
                (self.folder / "release.key").read_bytes().strip(), validate=True
            )
        except (OSError, ValueError):
            key = b""
        if len(key) != 32:
            raise ReleaseRefused(
                "本机没有发布密钥 release.key：请重新运行 install-kiosk.sh。",
                "this machine has no release.key: run install-kiosk.sh again",
            )
        if not verifies(key, line, signature):
            raise ReleaseRefused(
                "更新包的签名不对：请只用本镇发布的更新包。",
                "the release is not signed by the key that this kiosk knows",
            )

    def _may(self, manifest: dict[str, Any], again: bool) -> None:
        number, state = int(manifest["number"]), self.state()
        machine = platform.machine()
        ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
        if manifest["machine"] != machine or ours not in manifest["python"]:
            raise ReleaseRefused(
                f"更新包用于 {manifest['machine']}、Python {manifest['python']}，"
                f"本机是 {machine}、{ours}。",
                f"the release is for {manifest['machine']} and Python {manifest['python']}, "
                f"this machine is {machine} with {ours}",
            )
        newest = max(state.highest, state.good or 0)
        if number <= newest:
            raise ReleaseRefused(
                f"版本 {number} 不比已用过的 {newest} 新，不会退回旧版。",
                f"release {number} is not newer than {newest}, which ran here: "
                "there is no way back to an older one",
            )
        if number in state.failed and not again:
            raise ReleaseRefused(
                f"版本 {number} 试用失败过：确要再试请加 --again。",
                f"release {number} failed here before: add --again to try it once more",
            )

    def _make_room(self, manifest: dict[str, Any]) -> None:
        """Two releases at the most: the one that runs, and the new one."""
        state = self.state()
        for number in self.releases():
            if number not in (state.good, self.current()):
                (self.release(number) / "complete").unlink()
                shutil.rmtree(self.release(number))
        self._at("room made")
        free = shutil.disk_usage(self.folder).free
        needed = int(manifest["room"]) + SPARE_BYTES
        if free < needed:
            raise ReleaseRefused(
                f"空间不足：需要 {needed >> 20} MB，剩余 {free >> 20} MB。",
                f"{needed >> 20} MB are needed, {free >> 20} MB are free: make room",
            )

    def _put(self, number: int, staged: Path, python: str) -> None:
        folder = self.release(number)
        if folder.exists():  # a failed one that is tried again
            (folder / "complete").unlink(missing_ok=True)
            shutil.rmtree(folder)
        unpack(staged, folder)
        self._at("unpacked")
        # No pip stays behind: the one of the bundle installs from the bundle, nothing else.
        options = ["--without-pip"]
        system = Path("/usr/lib/python3/dist-packages")
        if any(next(system.glob(name), None) for name in ("picamera2", "lgpio.py", "spidev*")):
            options.append("--system-site-packages")  # these come with the system, not by wheel
        _run([python, "-m", "venv", *options, str(folder / "venv")])
        self._at("venv made")
        wheels = folder / "wheels"
        pip = next(wheels.glob("pip-*.whl"))
        _run(
            [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-index",
             "--no-input", "--disable-pip-version-check", "--root-user-action=ignore",
             "--find-links", str(wheels), "quxiang[kiosk]"],
            {"PYTHONPATH": str(pip), "PIP_CONFIG_FILE": os.devnull},
        )  # fmt: skip
        shutil.rmtree(wheels)
        self._at("wheels installed")
        _run([str(folder / "venv/bin/python"), "-c", "import kiosk.run, cv2, nacl, argon2"])
        self._at("imported")

    def _finish(self, number: int, manifest: dict[str, Any]) -> None:
        folder = self.release(number)
        _write(folder / "release.json", json.dumps(manifest, indent=1).encode())
        os.sync()  # every file of it before the mark that says so
        _write(folder / "complete", b"")
        self._at("complete")
        state = self.state()
        if state.good is None and self.whole(self.current()):
            state.good = self.current()
        state.trial, state.tries = number, 0
        state.failed = [failed for failed in state.failed if failed != number]
        self._save(state)
        self._at("on trial")
        self._link(number)
        self._at("linked")

    # -- durable pieces ---------------------------------------------------------------------

    def _save(self, state: State) -> None:
        _write(self.folder / "state.json", json.dumps(asdict(state)).encode())

    def note(self, line: str) -> None:
        """Keeps what happened last, for `doctor`."""
        state = self.state()
        state.last = line
        self._save(state)

    def _link(self, number: int) -> None:
        new = self.folder / "current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(f"releases/{number}")
        new.replace(self.folder / "current")
        _sync_folder(self.folder)


def _run(command: Sequence[str], environ: dict[str, str] | None = None) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", **(environ or {})}
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        why = said[-1][:300] if said else f"exit {done.returncode}"
        raise ReleaseRefused(f"安装失败：{why}", f"the release could not be put in: {why}")


def _write(path: Path, data: bytes) -> None:
    """After a power cut it is the old file or the new one, whole."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o644)
        file.write(data)
        file.flush()
        os.fsync(fd)
    Path(name).replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def take(app: App, inbox: Path) -> int | None:
    """Installs the newest file of the inbox, and empties it; the number, None where none was taken.

    What is refused is noted for `doctor`, and not tried again. Raises ReleaseRefused.
    """
    files = sorted(inbox.glob("*.qxr"), key=lambda path: path.stat().st_mtime)
    if not files:
        return None
    try:
        return app.install(files[-1])
    except (ReleaseRefused, OSError, tarfile.TarError) as error:
        app.note(str(error))
        raise
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 done, 1 refused in one line."""
    parser = argparse.ArgumentParser(prog="quxiang-release", description=__doc__.splitlines()[0])
    parser.add_argument("--app", type=Path, default=Path("/var/lib/quxiang/app"), metavar="DIR")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("boot", "before a start: count tries, mend the link"),
        ("confirm", "the release that runs got ready"),
        ("stopped", "it ended; SERVICE_RESULT says how"),
        ("status", "what is installed, as JSON"),
    ):
        commands.add_parser(name, help=text)
    install = commands.add_parser("install", help="put a signed release in, on trial")
    install.add_argument("file", type=Path, metavar="FILE")
    install.add_argument("--again", action="store_true", help="also one that failed before")
    inbox = commands.add_parser("take", help="install what lies in a folder")
    inbox.add_argument("folder", type=Path, metavar="FOLDER")
    args = parser.parse_args(argv)
    app = App(args.app)
    try:
        if args.command == "install":
            number = app.install(args.file, again=args.again)
            print(say(f"版本 {number} 已装好，试用中", f"release {number} is in, on trial"))
        elif args.command == "take":
            taken = take(app, args.folder)
            print(say(f"已取用版本 {taken}", f"taken: {taken}"))
        elif args.command == "status":
            known = {"current": app.current(), "releases": app.releases(), **asdict(app.state())}
            print(json.dumps(known))
        elif args.command == "stopped":
            app.stopped(os.environ.get("SERVICE_RESULT", "success"))
        elif args.command == "boot":
            app.boot()
        else:
            app.confirm()
    except ReleaseRefused as refused:
        print(f"quxiang-release: {refused.words()}", file=sys.stderr)
        return 1
    except (OSError, tarfile.TarError) as error:
        print(f"quxiang-release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

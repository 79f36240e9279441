"""A Debian from scratch in a folder, to install into: debootstrap, chroot, no network of its own
unless it is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import requests

from tests.faults.rig import Broken, Cannot, need

LOCAL = "192.168.1.10"
"""The address of docs/deploy.md, on a loopback that nothing else is on."""
TOOLS = ("debootstrap", "unshare", "nsenter", "chroot", "ip")


def mirror() -> str:
    """The Debian mirror that this machine's apt asks. Raises Cannot where it asks none."""
    for file in sorted([Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = file.read_text("utf-8")
            if file.suffix == ".sources":
                for stanza in re.split(r"\n\s*\n", text):
                    known = dict(re.findall(r"^(\w[\w-]*):\s*(.+)$", stanza, re.MULTILINE))
                    if _is_debian(known.get("Suites", "").split(), known.get("Components", "")):
                        return known["URIs"].split()[0].rstrip("/")
            for line in text.splitlines():
                found = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
                if found and _is_debian([found[2]], found[3]):
                    return found[1].rstrip("/")
    raise Cannot("apt knows no mirror of Debian here")


def _is_debian(suites: Sequence[str], components: str) -> bool:
    return bool({"bookworm", "trixie", "sid"} & set(suites)) and "main" in components.split()


def check_tools() -> str:
    """The mirror. Raises Cannot where this machine, or this user, cannot do it."""
    if os.geteuid() != 0:
        raise Cannot("only root may make a tree and change into it")
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        raise Cannot(f"{', '.join(lacking)} missing")
    return mirror()


def has_suite(url: str, suite: str) -> bool:
    """Whether the mirror carries it."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/dists/{suite}/Release", timeout=30).status_code == 200
    return False


def make_tree(folder: Path, suite: str, url: str) -> None:
    """A minimal Debian. Raises Cannot where debootstrap does not succeed."""
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", suite, str(folder), url],
        capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    if done.returncode:
        raise Cannot(f"debootstrap {suite}: {(done.stdout + done.stderr).strip()[-300:]}")
    # A tree that is thrown away need not wait for the disk, and no service starts in it.
    (folder / "etc/dpkg/dpkg.cfg.d/quick").write_text("force-unsafe-io\n")
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", folder / "etc" / name)


class Tree:
    """A tree that commands run in, in a mount and process namespace of its own: what is mounted or
    left running there ends with `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        setup = [
            "mount --make-rprivate /",
            f"mount --bind {folder} {folder}",
            f"mount -t proc proc {folder}/proc",
            f"mount --rbind /dev {folder}/dev",
            f"mount --rbind /sys {folder}/sys",
            "echo there",
            "exec sleep infinity",
        ]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec",
             "; ".join(setup)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        need(self._holder.stdout.readline() == "there\n", "the tree could not be set up")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self.line: list[str] = []
        """How to get onto the loopback alone; empty for the machine's network."""

    def alone(self, like: Tree | None = None) -> None:
        """From now on without any network but a loopback, `like`'s or one of its own."""
        if like is not None:
            self.line = like.line
            return
        self._net = subprocess.Popen(
            ["unshare", "--net", "--kill-child", "--fork", "sh", "-ec",
             f"ip link set lo up; ip addr add {LOCAL}/32 dev lo; echo there; exec sleep infinity"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._net.stdout is not None
        need(self._net.stdout.readline() == "there\n", "no loopback alone")
        children = Path(f"/proc/{self._net.pid}/task/{self._net.pid}/children")
        self.line = ["nsenter", f"--net=/proc/{int(children.read_text().split()[0])}/ns/net"]

    def command(self, words: Sequence[str], environ: Mapping[str, str] | None = None) -> list[str]:
        """How `words` are run in the tree."""
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb",
               **(environ or {})}  # fmt: skip
        return [*self.line, "nsenter", "-t", str(self.pid), "-m", "-p", "chroot",
                str(self.folder), "env", "-i", *(f"{k}={v}" for k, v in env.items()),
                *words]  # fmt: skip

    def run(self, line: str, *, code: int | None = 0, at: str = "/", seconds: float = 3600,
            **environ: str) -> str:  # fmt: skip
        """A line for the shell; what it said on both streams. Raises Broken on another status."""
        done = subprocess.run(
            self.command(["sh", "-c", f"cd {shlex.quote(at)} && {line}"], environ),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
        said = done.stdout + done.stderr
        need(code is None or done.returncode == code, f"{line}: status {done.returncode}\n{said}")
        need("Traceback" not in said, f"{line}\n{said}")
        return said

    def text(self, path: str) -> str:
        """A file of the tree."""
        file = self.folder / path.lstrip("/")
        need(file.is_file(), f"{path} is not there")
        return file.read_text("utf-8")

    def snapshot(self, *roots: str) -> dict[str, str]:
        """What lies below: by path its kind, mode, owner, and the hash of what it holds."""
        return dict(_snapshot(self.folder, roots))

    def close(self) -> None:
        """Ends what runs there."""
        for process in (self._holder, getattr(self, "_net", None)):
            if process is not None:
                process.kill()
                process.wait()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _snapshot(folder: Path, roots: Sequence[str]) -> Iterator[tuple[str, str]]:
    for root in roots:
        for path in sorted((folder / root.lstrip("/")).rglob("*")):
            stat = path.lstat()
            held = ""
            if path.is_symlink():
                held = str(path.readlink())
            elif path.is_file():
                held = hashlib.sha256(path.read_bytes()).hexdigest()
            yield (str(path.relative_to(folder)),
                   f"{stat.st_mode:o} {stat.st_uid}:{stat.st_gid} {held}")  # fmt: skip


def same(before: Mapping[str, str], after: Mapping[str, str], what: str) -> None:
    """Raises Broken with the first paths that differ."""
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    if changed:
        raise Broken(f"{what} changed {', '.join(changed[:5])}")

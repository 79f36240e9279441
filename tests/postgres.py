"""A throw-away PostgreSQL from Debian's packages, one for the whole run; skips where there is none.

It answers on a Unix socket in a folder of its own, as whoever runs the tests or, since PostgreSQL
refuses to be root, as the package's own user. What a power cut takes from it nobody misses: fsync
is off.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

#: Newest first.
_FOLDERS = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name.split(".")[0])
)
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


class Cluster:
    """A running cluster; `new` makes databases in it."""

    def __init__(self, **settings: str) -> None:
        """Skips the test where PostgreSQL or its driver is not installed."""
        pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
        initdb = next((f for f in _FOLDERS if (f / "initdb").exists()), None)
        if initdb is None:
            pytest.skip("no PostgreSQL on this machine (apt-get install postgresql)")
        self._bin = initdb
        self._made = 0
        # Short: the path of a Unix socket has 107 bytes at the most. In memory where it can be.
        place = next(p for p in ("/dev/shm", "/tmp") if os.access(p, os.W_OK))
        self.folder = Path(tempfile.mkdtemp(prefix="quxiang-pg-", dir=place))
        self._who: dict[str, Any] = {}
        if os.getuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                user = pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-U", "quxiang", "-A", "trust", "-E", "UTF8", "--locale=C",
                  "--no-sync", "-D", str(self.folder / "data"))  # fmt: skip
        self._options = "".join(f" -c {k}='{v}'" for k, v in {**_SETTINGS, **settings}.items())
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        log = self.folder / "log"
        with log.open("ab") as out:
            done = subprocess.run(
                [str(self._bin / name), *arguments], cwd="/", stdout=out, stderr=out, **self._who
            )
        assert done.returncode == 0, log.read_text()

    def start(self) -> None:
        """Begins to serve."""
        self._run("pg_ctl", "-w", "-s", "-D", str(self.folder / "data"), "-o",
                  f"-k {self.folder}{self._options}", "start")  # fmt: skip

    def stop(self, how: str = "immediate") -> None:
        """Ends it, as a crash does unless told otherwise."""
        self._run("pg_ctl", "-w", "-s", "-D", str(self.folder / "data"), "-m", how, "stop")

    def close(self) -> None:
        """Ends it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _say(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def url(self, name: str) -> str:
        """How that database is reached."""
        return f"postgresql://quxiang@/{name}?host={self.folder}"

    def new(self, like: str | None = None) -> str:
        """The URL of a new database, empty or the copy of another one."""
        self._made += 1
        name = f"t{self._made}"
        template = "template0" if like is None else _name(like)
        # Files are in memory and nothing waits for a disk: a third of the time of wal_log.
        self._say(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Removes a database, whoever is connected."""
        self._say(f"DROP DATABASE {_name(url)} WITH (FORCE)")


def _name(url: str) -> str:
    return url.split("@/")[1].split("?")[0]

"""Fixtures of the walks."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ports
from tests.conftest import plain_environ
from tests.walks.town import Town


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A township that was initialised, with its desk paired, to be copied."""
    made = Town(tmp_path_factory.mktemp("founded"), ports.free_port(), plain_environ())
    made.init()
    made.serve()
    try:
        made.pair_desk()
    finally:
        made.stop()
    return made


@pytest.fixture
def town(
    tmp_path: Path, free_port: int, environ: dict[str, str], founded: Town
) -> Iterator[Town]:
    """A township that is initialised and served, with its desk paired."""
    made = Town(tmp_path, free_port, environ, passwords=[*founded.passwords])
    for role in ("server", "enroll"):
        shutil.copytree(founded.data(role), made.data(role))
    desk = tmp_path / "enroll" / "desk.json"
    desk.write_text(desk.read_text().replace(founded.url, made.url))
    try:
        made.serve()
        yield made
    finally:
        if made.server is not None:
            made.server.kill()
            made.server.wait()


@pytest.fixture(scope="session")
def sample(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample footage and its enrolment folder, composed as for `make run`, only shorter; once
    for all who run side by side."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "sample"
    done = folder.with_suffix(".done")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            made = subprocess.run(
                [sys.executable, str(root / "scripts/sample_footage.py"), str(folder),
                 "--seconds", "24"],
                capture_output=True, text=True,
            )  # fmt: skip
            if made.returncode:
                pytest.skip(f"the public portraits cannot be had here: {made.stderr.strip()}")
            done.touch()
    return folder

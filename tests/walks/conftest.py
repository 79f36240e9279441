"""Fixtures of the walks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.walks.town import Town


@pytest.fixture
def town(tmp_path: Path, free_port: int, environ: dict[str, str]) -> Iterator[Town]:
    """A township that is initialised and served, with its desk paired."""
    made = Town(tmp_path, free_port, environ)
    made.init()
    made.serve()
    try:
        made.pair_desk()
        yield made
    finally:
        if made.server is not None:
            made.server.kill()
            made.server.wait()


@pytest.fixture(scope="session")
def sample(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample footage and its enrolment folder, as `make run` composes them."""
    folder = tmp_path_factory.mktemp("sample")
    done = subprocess.run(
        [sys.executable, str(root / "scripts/sample_footage.py"), str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"the public portraits cannot be had here: {done.stderr.strip()}")
    return folder

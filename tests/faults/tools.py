"""How a test starts a tool of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.rig import SKIPPED


def run_tool(
    name: str, times: int, root: Path, environ: dict[str, str], *more: str, code: int = 0
) -> str:
    """The tool as anybody starts it; skips where it says that the machine cannot."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{name}", "--times", str(times), *more],
        cwd=root, env=environ, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr

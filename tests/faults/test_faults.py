"""Short runs of the fault tools; `make torture` runs them long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run_tool(name: str, times: int, root: Path, environ: dict[str, str]) -> str:
    """The tool as anybody starts it; skips where it says that the machine cannot."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{name}", "--times", str(times)],
        cwd=root, env=environ, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kills_lose_and_double_nothing(root: Path, environ: dict[str, str]) -> None:
    assert "15 kills" in run_tool("kill", 15, root, environ)


def test_every_flipped_bit_is_named(root: Path, environ: dict[str, str]) -> None:
    assert "each first bad one named" in run_tool("tamper", 4, root, environ)

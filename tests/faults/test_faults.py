"""Short runs of the fault tools; `make torture` runs them long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.tools import run_tool


def test_kills_lose_and_double_nothing(root: Path, environ: dict[str, str]) -> None:
    assert "12 kills between" in run_tool("kill", 12, root, environ)


def test_every_flipped_bit_is_named(root: Path, environ: dict[str, str]) -> None:
    assert "each first bad one named" in run_tool("tamper", 3, root, environ)


def test_a_month_offline_fits_a_thin_line(root: Path, environ: dict[str, str]) -> None:
    assert "0 lost, 0 twice" in run_tool("thin", 200, root, environ)


def test_a_bad_line_and_a_bad_server_end_as_in_peace(root: Path, environ: dict[str, str]) -> None:
    assert "the end is the same as in peace" in run_tool("line", 12, root, environ)


def test_a_small_storm_loses_and_doubles_nothing(root: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.storm", "--kiosks", "12", "--records", "30"],
        cwd=root, env=environ, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 twice (360 stored, 0 answered again, 0 workers killed" in done.stdout

"""Short runs of the fault tools; `make torture` runs them long."""

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


def test_kills_lose_and_double_nothing(root: Path, environ: dict[str, str]) -> None:
    assert "15 kills" in run_tool("kill", 15, root, environ)


def test_every_flipped_bit_is_named(root: Path, environ: dict[str, str]) -> None:
    assert "each first bad one named" in run_tool("tamper", 4, root, environ)


def test_a_month_offline_fits_a_thin_line(root: Path, environ: dict[str, str]) -> None:
    assert "0 lost, 0 twice" in run_tool("thin", 400, root, environ)


@pytest.mark.parametrize("mode", ["sqlite", "postgres"])
def test_a_bad_line_and_a_bad_server_end_as_in_peace(
    mode: str, root: Path, environ: dict[str, str]
) -> None:
    assert "the end is the same as in peace" in run_tool("line", 12, root, environ, "--mode", mode)


def test_a_bad_card_confirms_nothing_and_is_told(root: Path, environ: dict[str, str]) -> None:
    assert "recording again by itself each time" in run_tool("disk", 1, root, environ)


def test_power_cuts_lose_nothing(root: Path, environ: dict[str, str]) -> None:
    said = run_tool("power", 15, root, environ)
    assert "0 lost, 0 unreadable, 0 galleries lost" in said


def test_power_cuts_find_what_a_weaker_setting_loses(root: Path, environ: dict[str, str]) -> None:
    said = run_tool("power", 8, root, environ, "--mode", "normal", code=1)
    assert "BROKEN: normal: 8 cuts" in said

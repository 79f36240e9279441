"""A short run of the year; `make torture` runs it long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_week_at_speed_ends_sound(root: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.year", "--checkins", "60", "--days", "8"],
        cwd=root, env=environ, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all on the server once" in done.stdout

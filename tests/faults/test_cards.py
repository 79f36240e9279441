"""Short runs of what is done to a card; a file of its own, so that it runs beside others."""

from __future__ import annotations

from pathlib import Path

from tests.faults.tools import run_tool


def test_a_bad_card_confirms_nothing_and_is_told(root: Path, environ: dict[str, str]) -> None:
    assert "recording again each time" in run_tool("disk", 1, root, environ, "--mode", "short")


def test_power_cuts_lose_nothing(root: Path, environ: dict[str, str]) -> None:
    said = run_tool("power", 15, root, environ)
    assert "0 lost, 0 unreadable, 0 galleries lost" in said


def test_power_cuts_find_what_a_weaker_setting_loses(root: Path, environ: dict[str, str]) -> None:
    said = run_tool("power", 8, root, environ, "--mode", "normal", code=1)
    assert "BROKEN: normal: 8 cuts" in said

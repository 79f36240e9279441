"""Whatever goes wrong, a command ends with one clear line and no traceback."""

from __future__ import annotations

import importlib

import pytest

from attendance.i18n import defect

# No command foresees a folder whose name holds a NUL: the system's calls raise ValueError.
UNFORESEEN = {
    "kiosk": ["status", "--json"],
    "enroll": ["list"],
    "server": ["verify"],
    "recognition": ["weights"],
}


@pytest.mark.parametrize("role", UNFORESEEN)
def test_an_unforeseen_fault_is_one_line(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"{role}.cli").main
    assert command([*UNFORESEEN[role], "--data", "no\0folder"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert "null byte" in said


def test_the_place_of_a_defect_is_named_without_a_path() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x" * 1000)
    line = defect(caught.value, "en")
    assert "test_command_lines.py:" in line
    assert "/" not in line
    assert len(line) < 500
    assert "内部错误" in defect(caught.value, "zh")

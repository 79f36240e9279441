"""What pip-audit says, and when it knows nothing."""

from __future__ import annotations

import json

import pytest

from scripts.audit_packages import verdict

FAULT = {"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1"}]}
WELL = {"name": "y", "version": "2", "vulns": []}
UNKNOWN = {"name": "z", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "word"),
    [
        ([FAULT, WELL, UNKNOWN], 1, "x 1: PYSEC-1"),
        ([WELL, UNKNOWN], 0, "no known fault in 1 packages (1 could not"),
        ([UNKNOWN], 0, "nothing is known"),
        ([], 0, "nothing is known"),
    ],
)
def test_only_a_known_fault_fails(packages: list[object], code: int, word: str) -> None:
    found = verdict(1, json.dumps({"dependencies": packages}), "")
    assert found[0] == code
    assert word in found[1]


def test_without_a_network_nothing_is_known() -> None:
    for said in ("", "{}", "[]", "<html>"):
        code, line = verdict(1, said, "Traceback\nConnectionError: no route to pypi.org")
        assert code == 0
        assert "no route" in line
        assert "nothing is known" in line

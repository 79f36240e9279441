"""An undocumented command is a red test; so are a missing page and a dead link."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
ROLES = {"server": "quxiang-server", "enroll": "quxiang-enroll", "kiosk": "quxiang-kiosk",
         "recognition": "quxiang-recognition"}  # fmt: skip


def commands_of(role: str) -> list[str]:
    module = importlib.import_module(f"{role}.cli")
    parser = module.build_parser() if hasattr(module, "build_parser") else module._parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return sorted(action.choices)
    raise AssertionError(f"{role} has no commands")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_command_stands_in_the_readme(role: str, page: Path) -> None:
    lines = [line for line in page.read_text("utf-8").splitlines() if f"`{ROLES[role]} " in line]
    row = next(line for line in lines if line.startswith("|"))
    for command in commands_of(role):
        assert re.search(rf"\b{command}\b", row), f"{ROLES[role]} {command} is not in {page.name}"


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_both_readmes_say_the_same() -> None:
    """The commands that a reader types are the same in both languages."""
    english, chinese = (typed(page.read_text("utf-8")) for page in PAGES)
    assert english - chinese == set()
    assert len(english) > 20


def typed(text: str) -> set[str]:
    """Indented lines outside the picture, without comments and without what is to be filled in."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = {line.split("#")[0].strip() for line in plain.splitlines() if line.startswith("    ")}
    return {line for line in lines if line and " ID " not in line and "CODE" not in line}

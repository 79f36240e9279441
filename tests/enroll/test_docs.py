"""An undocumented command or option of the desk is a red test."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from enroll.cli import _parser
from recognition.quality import QualityFault


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"`{name}"
                yield from words(command)
        else:
            yield from (
                option for option in action.option_strings if option not in ("-h", "--help")
            )


def test_every_command_option_and_fault_is_documented(root: Path) -> None:
    text = (root / "docs" / "enrolment.md").read_text("utf-8")
    missing = [w for w in words(_parser()) if not re.search(rf"{re.escape(w)}(?![\w-])", text)]
    missing += [fault.value for fault in QualityFault if f"`{fault.value}`" not in text]
    assert missing == []

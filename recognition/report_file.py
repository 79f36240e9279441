"""The JSON file of a long measurement: its place is tried before, and it is written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recognition.errors import RecognitionError


def try_place(file: Path) -> None:
    """Make the folder of `file` and see that it can be written there, so that nobody waits for a
    measurement that cannot be kept. Raises OSError, or RecognitionError where `file` is a folder.
    """
    if file.is_dir():
        raise RecognitionError(
            f"{file} is a folder: name a file for the report",
            f"{file} 是文件夹：请给出报告的文件名",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(file)
    fresh.touch()
    fresh.unlink()


def write_report(file: Path, report: dict[str, Any]) -> None:
    """Write `report` to `file`, which never holds half of one."""
    fresh = _fresh(file)
    fresh.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)


def _fresh(file: Path) -> Path:
    return file.with_name(file.name + ".part")

"""Groups of people whose figures stand beside everybody's: `groups.csv` of an evaluation's folder.

Who belongs to which group is written down by whoever made the folder, by name; it is never guessed
from a face.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection
from pathlib import Path

from recognition.errors import RecognitionError
from recognition.language import say

Groups = dict[str, set[str]]
"""Names of people by group."""


def read_groups(folder: Path, people: Collection[str]) -> Groups:
    """`folder`/groups.csv, columns `name,group`; empty where there is none.

    A line about somebody who is not among `people` is told on stderr and skipped. Raises
    RecognitionError where the file is not CSV in UTF-8 or lacks a column.
    """
    file = folder / "groups.csv"
    if not file.is_file():
        return {}
    try:
        return _read(file, people)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecognitionError(
            f"{file} is not CSV in UTF-8: {error}", f"{file} 不是 UTF-8 编码的 CSV：{error}"
        ) from None


def _read(file: Path, people: Collection[str]) -> Groups:
    groups: Groups = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if not {"name", "group"} <= set(reader.fieldnames or ()):
            raise RecognitionError(
                f"{file} needs the columns name,group", f"{file} 缺少列 name,group"
            )
        for row in reader:
            name, group = ((row[k] or "").strip() for k in ("name", "group"))
            if name in people and group:
                groups.setdefault(group, set()).add(name)
                continue
            print(
                say(
                    f"groups.csv 第 {reader.line_num} 行已跳过：people 中没有此人，或没有组名",
                    f"groups.csv line {reader.line_num} skipped: nobody of that name in people, "
                    "or no group",
                ),
                file=sys.stderr,
            )
    return groups

"""docs/security.md has a line for every item of its list, and no test that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")
#: ASVS 5.0.0, items of levels 1 and 2 by section; chapters 10 and 17 are answered as a whole.
ITEMS = """
1.1:1-2 1.2:1-9 1.3:1-11 1.4:1-3 1.5:1-2
2.1:1-3 2.2:1-3 2.3:1-4 2.4:1-1
3.2:1-2 3.3:1-4 3.4:1-6 3.5:1-5 3.7:1-2
4.1:1-3 4.2:1-1 4.3:1-2 4.4:1-4
5.1:1-1 5.2:1-3 5.3:1-2 5.4:1-3
6.1:1-3 6.2:1-12 6.3:1-4 6.4:1-4 6.5:1-5 6.6:1-3 6.8:1-4
7.1:1-3 7.2:1-4 7.3:1-2 7.4:1-5 7.5:1-2 7.6:1-2
8.1:1-2 8.2:1-3 8.3:1-1 8.4:1-1
9.1:1-3 9.2:1-4
11.1:1-2 11.2:1-3 11.3:1-3 11.4:1-4 11.5:1-1 11.6:1-1
12.1:1-3 12.2:1-2 12.3:1-4
13.1:1-1 13.2:1-5 13.3:1-2 13.4:1-5
14.1:1-2 14.2:1-4 14.3:1-3
15.1:1-3 15.2:1-3 15.3:1-7
16.1:1-1 16.2:1-5 16.3:1-4 16.4:1-3 16.5:1-3
"""


def wanted() -> list[str]:
    found = []
    for part in ITEMS.split():
        section, _, span = part.partition(":")
        first, last = map(int, span.split("-"))
        found += [f"{section}.{n}" for n in range(first, last + 1)]
    return found


def lines() -> list[tuple[str, str]]:
    return re.findall(r"^- (\d+\.\d+\.\d+) (.+)$", TEXT, re.MULTILINE)


def test_every_item_has_one_line_in_the_lists_order() -> None:
    assert [number for number, _ in lines()] == wanted()
    for number, said in lines():
        kind = re.match(r"(n/a|stated|open): \S|`[\w/]+\.py::", said)
        assert kind, f"{number} says neither a test nor why there is none"
    for chapter in ("V10", "V17"):
        assert re.search(rf"^## {chapter} .*\nn/a, the whole chapter: ", TEXT, re.MULTILINE)


def test_every_test_that_is_named_is_there() -> None:
    cited = set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT))
    assert len(cited) > 60
    for file, name in sorted(cited):
        tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in names, f"docs/security.md names tests/{file}::{name}"

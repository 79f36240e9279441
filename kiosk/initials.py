"""The letters by which a name is found on a pad without a Chinese keyboard."""

from __future__ import annotations

import os
import re
from functools import lru_cache

SURNAMES = {
    "曾": "z", "单": "s", "仇": "q", "解": "x", "查": "z", "盖": "g", "区": "o", "翟": "z",
    "尉": "y", "缪": "m", "覃": "q", "朴": "p", "乐": "y", "折": "s", "黑": "h", "秘": "b",
    "冼": "x", "牟": "m", "种": "c", "召": "s", "祭": "z", "员": "y", "繁": "p", "那": "n",
}  # fmt: skip
"""First letters of surnames that are read otherwise than the common word (现代汉语词典)."""


@lru_cache(maxsize=10_000)
def initials(name: str) -> list[str]:
    """For each character of a name, and for each word in Latin letters, what it may begin with.

    A surname is found by its own reading and by the common one: `曾庆` is `["cz", "q"]`.
    """
    found: list[str] = []
    for piece in re.findall(r"[A-Za-z0-9]+|[^\x00-\x7f]", name):
        letters = {piece[0].lower()} if piece.isascii() else {_reading(piece)}
        if not found:
            letters.add(SURNAMES.get(piece, ""))
        found.append("".join(sorted(letters)))
    return [letters for letters in found if letters]


def _reading(character: str) -> str:
    # Single characters need no dictionary of phrases, which would take 45 MB of a Pi's memory.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    from pypinyin import Style, pinyin

    letters = pinyin(character, style=Style.FIRST_LETTER, errors="ignore")
    return letters[0][0] if letters and letters[0][0].isalpha() else ""

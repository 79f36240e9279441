"""People by name, pinyin, telephone or id, as somebody types them."""

from __future__ import annotations

import os
import re
from functools import lru_cache


@lru_cache(maxsize=20_000)
def readings(name: str) -> tuple[frozenset[str], ...]:
    """For each character of a name its readings in pinyin without tones; a Latin word is itself."""
    # Single characters need no dictionary of phrases, which would take 45 MB.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    from pypinyin import Style, pinyin

    found = []
    for piece in re.findall(r"[A-Za-z0-9]+|[^\x00-\x7f]", name):
        if piece.isascii():
            found.append(frozenset({piece.casefold()}))
            continue
        listed = pinyin(piece, style=Style.NORMAL, heteronym=True, errors="ignore")
        if listed:
            found.append(frozenset(one.replace("ü", "v") for one in listed[0]))
    return tuple(found)


def sounds_like(typed: str, name: str) -> bool:
    """Whether `typed` (letters) is the pinyin of the name or its beginning, syllables shortened at
    will: `zhangsan`, `zhsan`, `zs` and `san` all find 张三."""
    syllables = readings(name)

    def follow(left: str, at: int) -> bool:
        if not left:
            return True
        if at == len(syllables):
            return False
        return any(
            follow(left[size:], at + 1)
            for reading in syllables[at]
            for size in range(1, len(reading) + 1)
            if left[:size] == reading[:size] and len(left) >= size
        )

    return any(follow(typed, start) for start in range(len(syllables)))


def matches(query: str, name: str, phone: str, official: str) -> bool:
    """Whether somebody is meant by what was typed: part of the name, its pinyin, the telephone or
    the id."""
    wanted = query.strip().casefold()
    if not wanted:
        return True
    if wanted in name.casefold() or wanted in official.casefold():
        return True
    digits = re.sub(r"[\s()+-]", "", wanted)
    if digits.isdigit():
        return digits in re.sub(r"\D", "", phone)
    letters = re.sub(r"[\s'·-]", "", wanted)
    fine = letters.isascii() and letters.isalpha() and len(letters) <= 40
    return fine and sounds_like(letters, name)

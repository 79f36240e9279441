"""Whom a villager looks for: by name, letters, telephone, or the matter they handle."""

from __future__ import annotations

import re
import unicodedata

from server.services.township.search import sounds_like

#: Longest question, characters.
MAX_QUERY = 40
#: Words of a question that name no matter ("who handles forestry", 谁管林业).
_IDLE = re.compile(
    r"谁|哪位|哪个|哪里|什么|怎么|如何|是|的|管|找|要|想|我|咨询|办理|办|负责|分管|主管|工作|"
    r"干部|领导|事情|事|请问|吗|呢|在|\b(?:who|handles?|does|is|are|the|for|of|about|in charge)\b",
    re.IGNORECASE,
)
_HAN = re.compile(r"[\u3400-\u9fff]+")


def folded(text: str) -> str:
    """Text as it is compared: full-width forms made narrow, case and spaces gone."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def matter_of(query: str) -> str:
    """What of a question names a matter: 林业 of 谁管林业."""
    return folded(_IDLE.sub(" ", unicodedata.normalize("NFKC", query)))


def pairs(text: str) -> set[str]:
    """The overlapping pairs of Chinese characters of a text."""
    return {run[i : i + 2] for run in _HAN.findall(text) for i in range(len(run) - 1)}


def likeness(query: str, name: str, phone: str, *texts: str) -> int:
    """How well a person answers a question: 0 not at all; a name or number before a matter.

    `texts` say what they handle: duties, title, work group. A question of several pairs of
    characters is answered by whoever handles at least half of it.
    """
    asked = folded(query)[:MAX_QUERY]
    if not asked:
        return 0
    plain = folded(name)
    if asked == plain:
        return 100
    if asked in plain or plain in asked:
        return 90
    if asked.isascii() and asked.isalpha() and sounds_like(asked, name):
        return 70
    digits = "".join(c for c in asked if c.isdigit())
    if len(digits) >= 4 and digits in "".join(c for c in phone if c.isdigit()):
        return 60
    matter = matter_of(query)[:MAX_QUERY]
    said = [folded(text) for text in texts]
    if matter and any(matter in text for text in said):
        return 50
    wanted = pairs(matter)
    if wanted:
        met = len(wanted & set().union(*(pairs(text) for text in said)))
        if met and 2 * met >= len(wanted):
            return 10 + 30 * met // len(wanted)
    return 0

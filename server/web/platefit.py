"""How large the words of a plate may be: nobody reads a title that the plate's edge cuts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from server.services.public.plates import Plate

#: Millimetres of a point, and of a line's height above and below its letters.
_MM = 25.4 / 72
_LEADING = 1.32
#: Widths in em, rounded up: a wide letter, any other, and what bold letters are wider by.
_WIDE, _NARROW, _BOLD = 1.0, 0.6, 1.06
#: Steps by which words become smaller, and the smallest they may become.
_STEP, _LEAST = 0.03, 0.2
#: What is below a name wants this share of its best size, for which the name shrinks to that one.
_READ, _NAME_LEAST = 0.75, 0.5
#: The most of the name's size that a title has.
_TITLE_MOST = 0.75
#: A name breaks into two lines before it becomes smaller than this share of its best size.
_ONE_LINE = 0.62


@dataclass(frozen=True)
class Kind:
    """One kind of plate: millimetres of the boxes for words, and the best sizes in points.

    `head` holds name, title and group beside the portrait, `wide` is its width without one; `foot`
    holds duties and telephone.
    """

    head: tuple[float, float]
    wide: float
    foot: tuple[float, float]
    name: float
    title: float
    group: float
    duties: float
    phone: float


KINDS = {
    "door": Kind((122, 66), 178, (132, 43), 66, 32, 21, 20, 30),
    "desk": Kind((94, 55), 136, (178, 22), 46, 23, 16, 14, 20),
}


@dataclass(frozen=True)
class Fit:
    """Sizes in points for one plate, and its name in the pieces that stay whole."""

    name: float
    title: float
    group: float
    duties: float
    phone: float
    pieces: tuple[str, ...]


def width_em(text: str, bold: bool = False) -> float:
    """About how wide a text is, in em; never less than it is."""
    wide = sum(_WIDE if unicodedata.east_asian_width(c) in "WFA" else _NARROW for c in text)
    return wide * (_BOLD if bold else 1.0)


def pieces(name: str) -> tuple[str, ...]:
    """Where a name may break: after its dot or its space, never within 吐尔逊江."""
    return tuple(re.findall(r"[^\s·・•]{1,14}[\s·・•]*|[\s·・•]+", name)) or (name,)


def _rows(parts: Sequence[str], room_em: float, bold: bool = False) -> int:
    """Lines that unbreakable parts take."""
    rows, used = 1, 0.0
    for part in parts:
        need = width_em(part.rstrip(), bold)
        if used and used + need > room_em:
            rows, used = rows + 1, 0.0
        while need > room_em:  # longer than a line: broken wherever it must be
            rows, need = rows + 1, need - room_em
        used += need + (width_em(" ") if part != part.rstrip() else 0.0)
    return rows


def _words(text: str) -> list[str]:
    """What a line may break between: wide letters one by one, others by words."""
    return re.findall(r"[\u0021-\u02ff]+\s*|.", text)


def _name(parts: tuple[str, ...], best: float, width: float) -> tuple[float, int]:
    """Size and lines of a name: one line, or two where one would be too small."""
    for rows, least in ((1, best * _ONE_LINE), (2, best * _LEAST)):
        size = best
        while size >= least:
            room = width / (size * _MM)
            longest = max(width_em(p.rstrip(), bold=True) for p in parts)
            if longest <= room and _rows(parts, room, bold=True) <= rows:
                return size, rows
            size -= best * _STEP
    size = best * _LEAST
    return size, _rows(parts, width / (size * _MM), bold=True)


def _scale(texts: Sequence[tuple[str, float]], width: float, height: float) -> float:
    """By how much texts (with their best sizes) must be smaller together to fit the box."""
    scale = 1.0
    while scale > _LEAST:
        tall = 0.0
        for text, size in texts:
            em = size * scale * _MM
            tall += _rows(_words(text), width / em) * em * _LEADING if text else 0.0
        if tall <= height:
            return scale
        scale -= _STEP
    return _LEAST


def fit(plate: Plate, kind: str, responsible: str, telephone: str) -> Fit:
    """The sizes for one plate; `responsible` and `telephone` are these lines as they will stand."""
    box = KINDS[kind]
    wide, tall = box.head if plate.portrait else (box.wide, box.head[1])
    parts = pieces(plate.name)
    below = ((plate.title, box.title), (plate.work_group, box.group))
    best, name, head = box.name, 0.0, 0.0
    while head < _READ and best >= box.name * _NAME_LEAST:  # the name gives way to a long title
        name, rows = _name(parts, best, wide)
        head = _scale(below, wide, tall - rows * name * _MM * _LEADING)
        best -= box.name * _STEP
    foot_wide, foot_tall = box.foot
    phone = box.phone
    if telephone:
        phone = min(phone, foot_wide / (width_em(telephone) * _MM))
        foot_tall -= phone * _MM * _LEADING
    duties = box.duties * _scale(((responsible, box.duties),), foot_wide, foot_tall)
    title = min(box.title * head, name * _TITLE_MOST)
    return Fit(name, title, min(box.group * head, title), duties, phone, parts)

"""Draw the lamp board on a terminal: a coloured lamp, the name and the word for each."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TextIO

from hardware.lamps import Colour

Row = tuple[str, str, "Colour | str | None", bool]
"""Name, word of the status, colour of the lamp (None where it is unknown), whether it blinks."""

# Colour is never the only sign: each has a shape of its own.
SHAPES: Mapping[Colour | None, str] = {
    Colour.GREEN: "●",
    Colour.BLUE: "▲",
    Colour.YELLOW: "■",
    Colour.RED: "◆",
    Colour.OFF: "○",
    None: "?",
}

# Tones of the Okabe-Ito palette's kind, apart in lightness too: legible on black and on white.
_TRUE = {
    Colour.GREEN: (46, 160, 67),
    Colour.BLUE: (56, 132, 255),
    Colour.YELLOW: (212, 167, 0),
    Colour.RED: (218, 54, 51),
    Colour.OFF: (128, 128, 128),
}
# SGR codes of the sixteen colours (ECMA-48, with the usual bright extension).
_SIXTEEN = {
    Colour.GREEN: 92,
    Colour.BLUE: 94,
    Colour.YELLOW: 93,
    Colour.RED: 91,
    Colour.OFF: 90,
}


def draw_board(
    rows: Sequence[Row],
    stream: TextIO,
    *,
    columns: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Write the board to ``stream``, several lamps a line where they fit.

    columns: width of the terminal in cells; None asks the terminal, 80 where it is none.
    environ: read for NO_COLOR, COLORTERM and TERM; None is this process's own.

    Colours are written to a terminal only, 24-bit where COLORTERM says so, else sixteen; nothing
    but text where NO_COLOR is set or TERM is dumb. Chinese characters count as two cells.
    """
    env = os.environ if environ is None else environ
    depth = _depth(stream, env)
    width = _columns(stream) if columns is None else columns
    plain = [(SHAPES[_colour(colour)], name, word, blink) for name, word, colour, blink in rows]
    names = max((cells(name) for _, name, _, _ in plain), default=0)
    words = max((cells(word) + 2 * blink for _, _, word, blink in plain), default=0)
    step = 2 + names + 1 + words + 3
    across = max(1, (width + 3) // step)
    lines = []
    for start in range(0, len(plain), across):
        parts = []
        for offset, (shape, name, word, blink) in enumerate(plain[start : start + across]):
            colour = _colour(rows[start + offset][2])
            lamp = _paint(shape, colour, blink, depth)
            text = _paint(word, colour, False, depth) + (" *" if blink else "")
            gap = " " * (words - cells(word) - 2 * blink)
            parts.append(f"{lamp} {name}{' ' * (names - cells(name))} {text}{gap}")
        lines.append("   ".join(parts).rstrip())
    stream.write("".join(line + "\n" for line in lines))
    stream.flush()


def cells(text: str) -> int:
    """Terminal cells that the text fills: two for a wide character, none for a combining one."""
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Cc")
        else 2
        if unicodedata.east_asian_width(character) in ("W", "F")
        else 1
        for character in text
    )


def _colour(colour: Colour | str | None) -> Colour | None:
    return None if colour is None else Colour(colour)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 80


def _depth(stream: TextIO, env: Mapping[str, str]) -> int:
    """Bits of colour to write: 0, 4 or 24."""
    if env.get("NO_COLOR") or env.get("TERM") == "dumb" or not stream.isatty():
        return 0
    return 24 if env.get("COLORTERM", "").lower() in ("truecolor", "24bit") else 4


def _paint(text: str, colour: Colour | None, blink: bool, depth: int) -> str:
    if depth == 0 or colour is None:
        return text
    red, green, blue = _TRUE[colour]
    tone = f"38;2;{red};{green};{blue}" if depth == 24 else str(_SIXTEEN[colour])
    return f"\x1b[{'5;' if blink else ''}{tone}m{text}\x1b[0m"

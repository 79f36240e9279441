"""The public pages' people, each drawn once: after a check-in one of a thousand is another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import date
from typing import Any

from flask import Flask, current_app
from markupsafe import Markup

from server.services.public.publicboard import PublicRow

#: Boards whose people are kept: of each township two pages in two languages, for a county.
MOST = 256
KEY = "quxiang-pieces"


class Pieces:
    """Those of one application in one process."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[date, dict[PublicRow, Markup]]] = {}

    def drawn(
        self,
        macro: str,
        board: Hashable,
        today: date,
        rows: Sequence[PublicRow],
        show: Callable[[PublicRow], object],
        *,
        whole: bool = True,
    ) -> list[Markup]:
        """Each row as `macro` of `_person.html` draws what `show` makes of it.

        `board` names township and language; a row says its times as on `today`. What is no row any
        more is forgotten where the `whole` board is drawn.
        """
        held = self._held.get((macro, board))
        kept = held[1] if held is not None and held[0] == today else {}
        draw: Any = None
        found: dict[PublicRow, Markup] = {}
        for row in rows:
            piece = kept.get(row)
            if piece is None:
                draw = draw or _macro(macro)
                piece = draw(show(row))
            found[row] = piece
        if whole:
            if len(self._held) >= MOST:
                self._held.clear()
            self._held[macro, board] = (today, found)
        return [found[row] for row in rows]


def _macro(name: str) -> Any:
    seen: dict[str, Any] = {}
    current_app.update_template_context(seen)  # once for all of them
    module = current_app.jinja_env.get_template("_person.html").make_module(seen)
    return getattr(module, name)


def pieces() -> Pieces:
    """The current application's."""
    found: Pieces = current_app.extensions[KEY]
    return found


def together(drawn: Sequence[Markup]) -> Markup:
    """Pieces one after the other. `join` would look at each of a thousand whether it is safe."""
    return Markup("".join(drawn))  # noqa: S704  # nosec B704 # they are the templates' own


def register(app: Flask) -> None:
    """Gives the application its pieces, and the templates what puts them together."""
    app.jinja_env.filters["together"] = together
    app.extensions[KEY] = Pieces()

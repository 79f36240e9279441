"""Flask-Babel's functions with types, so that every sentence of the pages is a checked `str`."""

from __future__ import annotations

from typing import Protocol

import flask_babel  # type: ignore[import-untyped]


class Later(Protocol):
    """A sentence that is put into the reader's language when `str()` asks for it."""

    def __str__(self) -> str: ...


def gettext(message: str, **values: object) -> str:
    """The sentence in the reader's language, `%(name)s` filled in."""
    return str(flask_babel.gettext(message, **values))


def _l(message: str) -> Later:
    """The sentence for a table that is made before anybody reads it."""
    later: Later = flask_babel.lazy_gettext(message)
    return later


def language_now() -> str:
    """The code of this request's language: `zh` or `en`."""
    locale = flask_babel.get_locale()
    return "en" if locale is not None and locale.language == "en" else "zh"

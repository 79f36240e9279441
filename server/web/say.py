"""Flask-Babel's functions with types, so that every sentence of the pages is a checked `str`."""

from __future__ import annotations

import flask_babel  # type: ignore[import-untyped]
from flask import g


class Later:
    """A sentence that is put into the reader's language when `str()` asks for it.

    Catalogues do not change while a process lives, so each language is looked up once.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._said: dict[str, str] = {}

    def __str__(self) -> str:
        language = language_now()
        said = self._said.get(language)
        if said is None:
            said = self._said[language] = gettext(self._message)
        return said


def gettext(message: str, **values: object) -> str:
    """The sentence in the reader's language, `%(name)s` filled in."""
    return str(flask_babel.gettext(message, **values))


def _l(message: str) -> Later:
    """The sentence for a table that is made before anybody reads it."""
    return Later(message)


def language_now() -> str:
    """The code of this request's language: `zh` or `en`."""
    found: str | None = g.get("quxiang_lang")  # asked thousands of times by a long sheet
    if found is None:
        locale = flask_babel.get_locale()
        found = "en" if locale is not None and locale.language == "en" else "zh"
        g.quxiang_lang = found
    return found

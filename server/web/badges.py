"""Badges that a long sheet shows thousands of times: drawn by the templates' own macros, once."""

from __future__ import annotations

from functools import lru_cache

from flask import current_app
from markupsafe import Markup

from server.web import words
from server.web.language import lang


def status_badge(status: str) -> Markup:
    """A status with its colour, shape and word, in the reader's language."""
    return _badge("status_badge", status, lang())


def verdict_badge(verdict: str) -> Markup:
    """A verdict with its shape and word."""
    return _badge("verdict_badge", verdict, lang())


@lru_cache(maxsize=256)
def _badge(macro: str, name: str, language: str) -> Markup:
    drawn = current_app.jinja_env.get_template("_pieces.html").make_module(
        {
            "lang": language,
            "look_of": words.look_of,
            "verdict_glyph": words.verdict_glyph,
            "verdict_word": words.verdict_word,
        }
    )
    return Markup(getattr(drawn, macro)(name))  # noqa: S704 (a template made it)  # nosec B704

"""The user's language, for command lines and kiosk pages; the server's pages use Flask-Babel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Language = Literal["zh", "en"]


def language(environ: Mapping[str, str] | None = None) -> Language:
    """The language of the command line: `QUXIANG_LANG`, else the locale, else English.

    English is the fallback on a command line only, since a technician's terminal with no locale
    often cannot draw Chinese either; every screen and page starts in Chinese.
    """
    env = os.environ if environ is None else environ
    for name in ("QUXIANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = env.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def say(zh: str, en: str, lang: Language | None = None) -> str:
    """`zh` or `en`, by `lang` or else by `language()`."""
    return zh if (lang or language()) == "zh" else en

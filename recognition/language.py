"""The language of this package's command line. The package imports nothing of ours, so the rule of
`attendance.i18n` stands here a second time."""

from __future__ import annotations

import os


def language() -> str:
    """Either zh or en: `QUXIANG_LANG`, else the locale, else English."""
    for name in ("QUXIANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def say(zh: str, en: str) -> str:
    """The sentence in the user's language."""
    return zh if language() == "zh" else en

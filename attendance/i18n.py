"""The user's language, for command lines and kiosk pages; the server's pages use Flask-Babel."""

from __future__ import annotations

import os
import traceback
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


def defect(error: BaseException, lang: Language | None = None) -> str:
    """One line for a fault that nobody foresaw: what it was, and where, to be passed on.

    A command ends with it instead of a traceback. The place is a file's name and a line, no path.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit(os.sep, 1)[-1]}:{frames[-1].lineno}" if frames else "?"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return say(
        f"程序内部错误（{place}）：{what}。已记录的内容不受影响；请把这一行告诉维护人员。",
        f"internal fault ({place}): {what}. What was recorded is safe; pass this line on.",
        lang,
    )

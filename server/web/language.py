"""The language of the pages: Chinese unless the reader switched, kept in a cookie."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from babel.dates import format_date
from flask import Blueprint, Flask, current_app, redirect, request
from flask_babel import Babel  # type: ignore[import-untyped]
from werkzeug.wrappers import Response

from attendance.days import local
from attendance.i18n import Language
from server.web.say import language_now
from server.web.security import safe_next

COOKIE = "quxiang_lang"
#: A year, in seconds: a board on a wall keeps its language over restarts of the browser.
COOKIE_SECONDS = 365 * 86_400
LOCALES: dict[Language, str] = {"zh": "zh_Hans_CN", "en": "en"}

blueprint = Blueprint("language", __name__)
babel = Babel()


def chosen() -> str:
    """The locale of this request. The browser's own wish is not asked: the township's people read
    Chinese, whatever their telephone was set to when it was bought."""
    return LOCALES["en"] if request.cookies.get(COOKIE) == "en" else LOCALES["zh"]


def lang() -> Language:
    """The language of this request, as `attendance` names it."""
    return "en" if language_now() == "en" else "zh"


def day_words(day: date) -> str:
    """A date with its weekday: 2026年7月31日 星期五, Friday 31 July 2026."""
    pattern = "EEEE d MMMM y" if lang() == "en" else "y年M月d日 EEEE"
    return format_date(day, pattern, locale=LOCALES[lang()])


def short_day(day: date, beside: date | None = None) -> str:
    """A date without its weekday, and without the year where that is `beside`'s."""
    year = beside is None or day.year != beside.year
    if lang() == "en":
        return format_date(day, "d MMM y" if year else "d MMM", locale="en")
    return format_date(day, "y年M月d日" if year else "M月d日", locale=LOCALES["zh"])


def clock_words(ms: int, day: date | None = None) -> str:
    """A moment on the wall clock of Asia/Shanghai: only the time on `day`, else with its date."""
    return _minute_words(ms // 60_000, day, lang())


@lru_cache(maxsize=8192)  # a sheet says hundreds, and its sites' at every look again
def _minute_words(minute: int, day: date | None, _lang: str) -> str:
    when = local(minute * 60_000)
    time = when.strftime("%H:%M")
    return time if when.date() == day else f"{short_day(when.date(), day)} {time}"


@blueprint.get("/language/<any(zh, en):code>")
def switch(code: str) -> Response:
    """Keeps the choice and goes back to the page that was read."""
    answer = redirect(safe_next(request.args.get("next")) or "/", 303)
    answer.set_cookie(
        COOKIE,
        code,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config.get("SESSION_COOKIE_SECURE")),
    )
    return answer


def register(app: Flask) -> None:
    """Sets Flask-Babel up and gives the templates the words they need."""
    app.config.setdefault("BABEL_DEFAULT_LOCALE", LOCALES["zh"])
    app.config.setdefault("BABEL_DEFAULT_TIMEZONE", "Asia/Shanghai")
    babel.init_app(app, locale_selector=chosen)
    app.register_blueprint(blueprint)
    app.context_processor(
        lambda: {
            "lang": lang(),
            "html_lang": "en" if lang() == "en" else "zh-CN",
            "day_words": day_words,
            "short_day": short_day,
            "clock_words": clock_words,
        }
    )

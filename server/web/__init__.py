"""The pages that people read: public board, login, supervisors' pages. `register` adds them all."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from flask import Flask, get_flashed_messages, request, session, url_for

from attendance.days import to_ms
from server.context import Context
from server.services.programs.webhooks import MAKERS
from server.web import (
    account,
    allowance,
    apart,
    auth,
    board,
    charts,
    compress,
    corrections,
    county,
    duty,
    exports,
    grids,
    imports,
    inspect,
    language,
    leave,
    officials,
    person,
    planning,
    publishing,
    ruling_words,
    second,
    security,
    settings,
    staff,
    supervise,
    tokens,
    trail,
    webhooks,
    words,
)
from server.web.say import _l

#: Pages in the order of the navigation, and who finds them there.
NAV = (
    ("county.page", _l("Townships"), county.READS),
    ("board.page", _l("Board"), auth.STAFF),
    ("supervise.day", _l("Day sheet"), auth.STAFF),
    ("grids.month", _l("Month"), auth.STAFF),
    ("charts.page", _l("Charts"), auth.STAFF),
    ("inspect.discrepancies", _l("Discrepancies"), auth.STAFF),
    ("corrections.page", _l("Corrections"), auth.STAFF),
    ("inspect.draws", _l("Spot checks"), auth.STAFF),
    ("inspect.listing", _l("Findings"), auth.STAFF),
    ("allowance.page", _l("Allowance"), auth.STAFF),
    ("officials.people", _l("Officials"), auth.STAFF),
    ("leave.page", _l("Leave"), auth.STAFF),
    ("duty.roster", _l("Duty roster"), auth.STAFF),
    ("duty.log", _l("Visits"), auth.STAFF),
    ("publishing.choose", _l("Plates"), publishing.PRINTS),
    ("publishing.page", _l("What is public"), auth.STAFF),
    ("supervise.sites", _l("Sites"), auth.STAFF),
    ("settings.page", _l("Settings"), auth.STAFF),
    ("staff.page", _l("Accounts"), staff.MANAGES),
    ("tokens.page", _l("Tokens"), tokens.GIVES),
    ("webhooks.page", _l("Webhooks"), MAKERS),
    ("trail.page", _l("Audit trail"), auth.TRAIL),
)


#: Pages that belong to another one of the navigation.
SECTIONS = {
    "officials.history": "officials.people",
    "leave.ask": "leave.page",
    "grids.week": "grids.month",
    "corrections.one_day": "corrections.page",
    "corrections.propose": "corrections.page",
    "inspect.one_draw": "inspect.draws",
    "apart.page": "supervise.sites",
    "apart.review": "supervise.sites",
}
#: Blueprints whose every page belongs to one of the navigation.
AREAS = {
    "settings": "settings.page",
    "planning": "settings.page",
    "imports": "settings.page",
    "staff": "staff.page",
}


@lru_cache(maxsize=32)
def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def telephone(number: str) -> str:
    """A telephone number as a `tel:` link wants it."""
    return "".join(c for c in number if c.isdigit() or c in "+*#,;")


def register(app: Flask) -> None:
    """Adds pages, guards, languages and words to an application that carries its `Context`."""
    held: Context = app.extensions["quxiang"]
    security.register(app, held.config.hosts, secure=held.config.secure_cookies)
    compress.register(app)
    language.register(app)
    auth.register(app)
    county.register(app)
    board.register(app)
    for part in (
        supervise, grids, inspect, corrections, allowance, officials, leave, duty, person, settings,
        planning, imports, exports, charts, apart,
    ):  # fmt: skip
        app.register_blueprint(part.blueprint)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["tel"] = telephone
    app.jinja_env.filters["ms"] = to_ms
    app.register_blueprint(publishing.blueprint)
    app.register_blueprint(tokens.blueprint)
    app.register_blueprint(account.blueprint)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(second.blueprint)
    app.register_blueprint(staff.blueprint)
    app.register_blueprint(trail.blueprint)

    def asset(name: str) -> str:
        version = _fingerprint(Path(app.static_folder or "") / name)
        return url_for("static", filename=name, v=version)

    def switch_url() -> str:
        # A form that was refused is drawn again by POST; only pages can be gone back to.
        back = request.full_path if request.method == "GET" else request.path
        if request.method != "GET" and request.endpoint not in auth.FORMS:
            back = "/"
        code = "zh" if language.lang() == "en" else "en"
        return url_for("language.switch", code=code, next=back.rstrip("?"))

    @app.context_processor
    def common() -> dict[str, object]:
        user = auth.current()
        settled = user is not None and county.settled()
        home = board.address(user.township.slug if user and settled else None)
        nav = [
            (home if endpoint == "board.page" else url_for(endpoint), endpoint, label)
            for endpoint, label, roles in NAV
            if user and user.role in roles and (settled or endpoint == "county.page")
        ]
        return {
            "asset": asset,
            "user": user,
            "township": board.township_shown() or (user.township.name if user and settled else ""),
            "nav": nav,
            "section": AREAS.get(
                request.blueprint or "", SECTIONS.get(request.endpoint or "", request.endpoint)
            ),
            "switch_url": switch_url(),
            "board_url": home,
            "messages": lambda: get_flashed_messages(True) if "_flashes" in session else [],
            "correction_word": ruling_words.correction_word,
            "correction_state_word": ruling_words.correction_state_word,
            **{name: getattr(words, name) for name in words.FOR_TEMPLATES},
        }

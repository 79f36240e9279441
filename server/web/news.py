"""What changed on a board, for those who have it open: the few people, not the whole page again.

A version's number alone would have five hundred boards ask for the page at once, and a cheap
telephone load it anew for one person.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import Flask, render_template
from markupsafe import Markup
from sqlalchemy.orm import Session

from server.context import Context
from server.models import Township
from server.web.language import COOKIE
from server.web.streams import News, View

#: The macro that draws a person, and the template of what stands above, for each kind of page.
KINDS = {"rows": ("person", "_board_head.html"), "screen": ("tv_person", "_tv_head.html")}
#: People at the most; where more changed the page is asked for.
MOST = 24

log = logging.getLogger(__name__)

Draw = Callable[[Township, Session, datetime, str], dict[str, Any]]
Version = Callable[[Township, Session, datetime], str]
_Shape = list[tuple[str, int]]


class Reporter:
    """One a process, in the watcher's thread. `draw` makes what the templates show, `version` says
    of which version that is."""

    def __init__(self, app: Flask, draw: Draw, version: Version) -> None:
        self._app, self._draw, self._version = app, draw, version
        self._held: dict[View, tuple[str, _Shape, list[Markup]]] = {}

    def news(
        self, versions: Mapping[int, str], views: set[View]
    ) -> tuple[dict[int, str], dict[View, News]]:
        """The versions to be told, and for each board that is open what is new since the one
        before; nothing where that is not known, or is too much."""
        self._held = {view: held for view, held in self._held.items() if view in views}
        told, found = dict(versions), {}
        for number, version in versions.items():
            mine = {view for view in views if view[0] == number}
            if all(view in self._held and self._held[view][0] == version for view in mine):
                continue
            try:
                told[number], made = self._report(number, mine)
            except Exception:  # they are told of the version, and ask
                log.warning("a board's news could not be drawn", exc_info=True)
                self._held = {v: held for v, held in self._held.items() if v not in mine}
            else:
                found.update(made)
        return told, found

    def _report(self, number: int, views: set[View]) -> tuple[str, dict[View, News]]:
        """All of one moment: were what is drawn newer than its version, the next news would leave
        out what came in between."""
        held: Context = self._app.extensions["quxiang"]
        present, found = held.now(), {}
        with held.database.snapshot() as session:
            township = session.get_one(Township, number)
            version = self._version(township, session, present)
            for view in views:
                _, kind, language = view
                macro, template = KINDS[kind]
                headers = {"Cookie": f"{COOKIE}={language}"}
                with self._app.test_request_context("/board/rows", headers=headers):
                    seen = self._draw(township, session, present, macro)
                    head = render_template(template, **seen)
                made = self._compare(view, version, seen["groups"], head)
                if made is not None:
                    found[view] = made
        return version, found

    def _compare(
        self, view: View, version: str, groups: list[tuple[str, list[Markup]]], head: str
    ) -> News | None:
        shape = [(name, len(people)) for name, people in groups]
        people = [person for _, listed in groups for person in listed]
        before = self._held.get(view)
        self._held[view] = (version, shape, people)
        if before is None or before[0] == version or before[1] != shape:
            return None
        changed = {n: str(new) for n, (new, old) in enumerate(zip(people, before[2], strict=True))
                   if new is not old and new != old}  # fmt: skip
        if len(changed) > MOST:
            return None
        said = {"from": before[0], "version": version, "head": head, "people": changed}
        return News(before[0], json.dumps(said, ensure_ascii=False).encode())

"""A made-up township with something in every list, and every address that its pages have."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from server.app import create_app
from server.config import ServerConfig
from server.context import Context
from server.demo import make_demo
from server.models import Duty, Official
from server.services.access import accounts, tokens
from server.services.programs import webhooks
from server.services.township.townships import only_township
from tests.server.web_seed import PASSWORD, sign_in, token_of

#: A Wednesday, 09:00 in Shanghai, as of which the demo was made.
MORNING = datetime(2026, 3, 18, 1, 0, tzinfo=UTC)
TODAY, MONTH = "2026-03-18", "2026-03"
ROLES = ("admin", "clerk", "inspector", "leader")


@dataclass
class Place:
    """The township's server, its clock standing still."""

    app: Flask
    config: ServerConfig
    codes: list[str]
    page: str
    moment: datetime = MORNING
    browsers: dict[str, FlaskClient] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        found: Context = self.app.extensions["quxiang"]
        return found

    def client(self, user: str | None = None) -> FlaskClient:
        """A browser, signed in as `the-ROLE` where a role is said; signing in costs a hash."""
        if user is None:
            return self.app.test_client()
        if user not in self.browsers:
            browser = self.browsers[user] = self.app.test_client()
            answer = sign_in(browser, f"the-{user}")
            assert answer.status_code == 303, answer.text
        return self.browsers[user]

    def rules(self, method: str) -> list[Rule]:
        """Pages that take a method; machines have their own tests, static files no views."""
        return [
            rule for rule in self.app.url_map.iter_rules()
            if method in (rule.methods or ()) and not rule.rule.startswith("/api/")
            and rule.endpoint != "static"
        ]  # fmt: skip

    def path(self, rule: Rule) -> str:
        """An address of the rule, with things in it that are there."""
        known = {
            "code": self.codes[0], "token": self.page, "slug": "1", "month": MONTH, "kind": "csv",
            "number": "1", "leave_id": "1", "visit_id": "1", "day": TODAY,
        }  # fmt: skip

        def value(found: re.Match[str]) -> str:
            name = found[1].rpartition(":")[2]
            if "any(" in found[1]:
                return re.search(r"any\(\s*(\w+)", found[1])[1]  # type: ignore[index]
            return known.get(name, "1")

        return re.sub(r"<([^>]+)>", value, rule.rule)


def make_place(folder: Path) -> Place:
    """A demo of nine people, four villages and five days, with an account of each role."""
    config = ServerConfig(folder / "server")
    list(make_demo(config, 9, 4, 5, MORNING))
    place = Place(Flask("none"), config, [], "")
    place.app = create_app(config, clock=lambda: place.moment)
    with place.context.database.transaction() as session:
        township = only_township(session)
        users = {
            role: accounts.add_user(
                session, township, f"the-{role}", role, PASSWORD, MORNING, None, False
            )
            for role in ROLES
        }
        officials = session.scalars(
            select(Official).where(Official.township_id == township.id).order_by(Official.official)
        ).all()
        place.codes = [official.official for official in officials]
        officials[0].page = place.page = "ABCDEFGHJKMN"
        session.add(Duty(township_id=township.id, day=TODAY, post="leader",
                         official=place.codes[0], by="x", at_ms=1))  # fmt: skip
        admin = users["admin"]
        tokens.make(session, township, "报表", ["days"], 30, admin, MORNING)
        webhooks.make(session, township, "县报表", "https://h.example/x", ["records"], admin,
                      MORNING, place.context.keys.secret)  # fmt: skip
    return place


def crumb(browser: FlaskClient) -> str:
    """A token for forms, of this browser's session."""
    return token_of(browser.get("/account").text)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Every element of a page, as a browser would see it, with its attributes."""
    parser = _Tags()
    parser.feed(page)
    return parser.tags


def pages(place: Place, browser: FlaskClient) -> Iterator[tuple[str, TestResponse]]:
    """Every page that answers GET with HTML to this browser."""
    for rule in place.rules("GET"):
        if rule.endpoint in ("board.events", "api_metrics.metrics", "auth.logout"):
            continue
        path = place.path(rule)
        answer = browser.get(path)
        if answer.mimetype == "text/html":
            yield path, answer


def picture(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """A small picture of a format of Pillow's, with a comment and a place in it where it can."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "secret-place-7"
    more = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **more)
    return out.getvalue()

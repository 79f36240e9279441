"""Addresses and forms with holes, for what is bent by chance, and a clerk who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from attendance import proposals as told
from attendance import wire
from server.app import create_app
from server.context import utcnow
from server.services.access import accounts
from server.services.township.townships import only_township
from tests.attacks.attacker import Target
from tests.server.web_seed import sign_in, token_of

NAME, PASSWORD = "bian", "correct horse battery staple"
#: What fills a hole, as it stands in an address.
HOLES = (
    "%00", "%00", "a%00b", "0" * 20 + "9" * 25, "9" * 25, "9223372036854775807", "-1", "1e999",
    "%ff%fe", "%ed%a0%80", "%F0%9F", "%2500", "%", "..%2f..%2fserver.key", "%0d%0aX:%201", "",
    "a" * 300, "%E5%BC%A0", "%E2%80%AE", "2026-03-18", "1", "%C2%B2", "%D9%A3",
)  # fmt: skip
#: Of kiosks.
KIOSK = (
    f"{wire.PORTRAITS}/{{}}", f"{wire.GALLERY}?have={{}}", f"{wire.RELEASE}/{{}}?machine={{}}",
    f"{wire.RELEASE}?machine={{}}&python={{}}&above={{}}", f"{wire.PREFIX}/{{}}",
)  # fmt: skip
#: Of the desk, by method.
DESK = (
    ("PUT", f"{wire.DESK_GALLERIES}/{{}}"), ("PUT", f"{wire.DESK_PORTRAITS}/{{}}"),
    ("GET", f"{told.DESK_PROPOSALS}/{{}}"), ("DELETE", f"{told.DESK_PROPOSALS}/{{}}"),
)  # fmt: skip
PAGES = (
    "/t/{}/", "/t/{}/board.json", "/t/{}/board/rows", "/t/{}/tv", "/t/{}/tv/rows", "/t/{}/duty",
    "/?q={}", "/board.json?q={}", "/o/{}", "/portraits/{}.jpg", "/exports/{}",
    "/settings/import/draft/{}", "/language/zh?next={}", "/{}",
    "/login?next={}", "/officials?q={}&group={}&site={}", "/officials/{}", "/day?date={}&q={}",
    "/month?month={}&group={}", "/leave?state={}&page={}", "/findings?state={}&page={}",
    "/visits?page={}&q={}", "/settings/roster/{}", "/corrections/{}?day={}", "/spotchecks/{}",
    "/audit?before={}&who={}", "/discrepancies?date={}&site={}", "/healthz?x={}",
)  # fmt: skip
#: Not among the forms that are bent by the thousand: each thread that has hashed a password keeps
#: the 19 MiB for the next one, and the tool looks whether memory grows.
LOGIN = ("/login", ("name", "password"))
#: Forms of a clerk, each with the names of its fields.
FORMS = (
    ("/leave", ("official", "status", "start", "end", "reason")),
    ("/visits", ("visitor", "phone", "matter", "due", "official")),
    ("/visits/{}", ("state", "answer", "note", "official")),
    ("/corrections/{}", ("day", "kind", "reason", "record_id", "site", "really", "undoes")),
    ("/corrections/{}/decide", ("decision", "note")),
    ("/findings", ("official", "day", "what", "note")),
    ("/findings/{}", ("state", "note", "official")),
    ("/spotchecks/{}", ("outcome", "note", "official")),
    ("/duty/roster", ("day", "first", "leader", "clerk")),
    ("/settings/groups", ("name",)),
    ("/settings/groups/{}", ("name", "member")),
    ("/settings/sites", ("name", "kind")),
    ("/settings/shifts", ("name", "start", "end", "first_day")),
    ("/settings/exceptions", ("official", "first", "last", "kind", "note")),
)  # fmt: skip


def pick(among: tuple[object, ...], share: int) -> int:
    """Which of them a share in thousandths stands for."""
    return share * len(among) // 1000


def filled(path: str, hole: str, value: object) -> str:
    """The address, its first hole with `hole`, the others with `value`."""
    first, *rest = path.split("{}")
    if not rest:
        return first
    other = quote(str(value).encode("utf-8", "replace")[:200], safe="")
    return first + hole + other.join(rest)


def signed_path(path: str) -> str:
    """A path as the device signs it: what it says, not how it is spelled."""
    way, mark, query = path.partition("?")
    return unquote(way, errors="replace") + mark + query


def form_of(names: tuple[str, ...], token: str, hole: str, value: object, share: int) -> bytes:
    """A form's body: `hole` in one field, in another perhaps `value`."""
    texts = dict.fromkeys(names, "2026-03-18")
    texts[names[share % len(names)]] = quote(str(value).encode("utf-8", "replace")[:200], safe="")
    texts[names[pick(names, share)]] = hole
    fields = {"csrf_token": quote(token, safe=""), **texts}
    return "&".join(f"{name}={text}" for name, text in fields.items()).encode()


@dataclass
class Clerk:
    """A browser in which a clerk is signed in."""

    target: Target
    cookie: str = ""
    token: str = ""

    def sign_in(self) -> None:
        """Makes the account, where it is new, and a session."""
        with self.target.database.transaction() as session:
            place = only_township(session)
            if accounts.named(session, NAME) is None:
                accounts.add_user(
                    session, place, NAME, "clerk", PASSWORD, utcnow(), must_change=False
                )
        # In this process: a worker that has hashed a password keeps what it frees from then on.
        app = create_app(self.target.config)
        browser = app.test_client()
        assert sign_in(browser, NAME, PASSWORD).status_code == 303
        self.token = token_of(browser.get("/account").text)
        kept = browser.get_cookie("quxiang_session")
        assert kept is not None
        self.cookie = f"{kept.key}={kept.value}"
        app.extensions["quxiang"].database.close()

    @property
    def headers(self) -> dict[str, str]:
        """What its browser sends along."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return {**kind, "Cookie": self.cookie} if self.cookie else kind

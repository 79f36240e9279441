"""Other programs: tokens with scopes and an end, cursors, ETags, and what the document promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import select

from server.api.programs import ASKS, PREFIX, cursor_of
from server.models import ApiToken, AuditEntry, Township, User
from server.services.access import tokens
from tests.server.web_seed import World, fill, make_world, token_of

ALL = tokens.SCOPES


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("programs"))
    fill(made)
    return made


@pytest.fixture
def world(filled: World) -> Iterator[World]:
    before = filled.hand.moment
    yield filled
    filled.hand.moment = before


def token(world: World, *scopes: str, place: str = "示例乡", days: int = 30) -> str:
    with world.app.extensions["quxiang"].database.transaction() as session:
        township = session.scalars(select(Township).where(Township.name == place)).one()
        admin = User(name="root", role="admin", township_id=township.id)
        return tokens.make(session, township, "报表", scopes, days, admin, world.hand()).text


def get(world: World, path: str, text: str | None, **headers: str) -> Any:
    if text is not None:
        headers["Authorization"] = f"Bearer {text}"
    return world.app.test_client().get(PREFIX + path, headers=headers)


def post(browser: FlaskClient, action: str, **fields: object) -> Any:
    data = {"csrf_token": token_of(browser.get("/tokens").text), **fields}
    return browser.post(action, data=data)


def everything(world: World, path: str, text: str, key: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        page = get(world, f"{path}?limit={limit}{more}", text).get_json()
        assert len(page["items"]) <= limit
        found += [item[key] for item in page["items"]]
        if page["next"] is None or not page["items"]:
            return found
        cursor = page["next"]


def test_only_an_administrator_gives_a_token_and_it_is_shown_once(world: World) -> None:
    for name in ("clerk", "inspector", "leader"):
        assert world.client(name).get("/tokens").status_code == 403
    admin = world.client("admin", "en")
    assert post(admin, "/tokens", name="x", days="30").status_code == 400
    assert post(admin, "/tokens", name="", days="30", scope="days").status_code == 400
    assert post(admin, "/tokens", name="x", days="367", scope="days").status_code == 400
    assert post(admin, "/tokens", name="x", days="30", scope=["days", "all"]).status_code == 400
    made = post(admin, "/tokens", name="County report", days="30", scope=["days", "officials"])
    text = re.search(rf"{tokens.BEGINNING}[\w-]+", made.text)
    assert text
    assert get(world, "/officials", text[0]).status_code == 200
    listed = admin.get("/tokens").text
    assert "County report" in listed
    assert text[0] not in listed
    with world.app.extensions["quxiang"].database.session() as session:
        assert all(text[0].encode() not in t.digest for t in session.scalars(select(ApiToken)))
    number = re.search(r"/tokens/(\d+)/revoke", listed)
    assert number
    assert post(admin, f"/tokens/{number[1]}/revoke").status_code == 303
    assert get(world, "/officials", text[0]).status_code == 401
    assert post(admin, "/tokens/999999/revoke").status_code == 404


def test_a_token_reads_its_scope_until_its_day_and_only_its_township(world: World) -> None:
    text = token(world, "days", days=1)
    for path in ("/officials", "/records", "/findings", "/whereabouts"):
        assert get(world, path, text).status_code == 403
        assert get(world, path, None).status_code == 401
        assert get(world, path, text + "x").status_code == 401
    basic = world.app.test_client().get(
        f"{PREFIX}/officials", headers={"Authorization": f"Basic {text}"}
    )
    assert basic.status_code == 401
    today = world.hand().date().isoformat()
    assert get(world, f"/days/{today}", text).status_code == 200
    world.hand.moment += timedelta(days=1)
    assert get(world, f"/days/{today}", text).status_code == 401
    ours = everything(world, "/officials", token(world, "officials"), "official", 500)
    theirs = everything(world, "/officials", token(world, "officials", place="邻乡"), "official", 9)
    assert len(ours) >= 36
    assert not set(ours) & set(theirs)
    other = token(world, "records", place="邻乡")
    mine = {r["record_id"] for r in get(world, "/records?limit=500", token(world, "records"))
            .get_json()["items"]}  # fmt: skip
    assert not mine & {r["record_id"] for r in get(world, "/records", other).get_json()["items"]}


def test_pages_by_cursor_are_the_whole_list_once(world: World) -> None:
    text = token(world, *ALL)
    today = world.hand().date().isoformat()
    for path, key in (("/officials", "official"), ("/records", "record_id"),
                      (f"/days/{today}", "official"), ("/findings", "number")):  # fmt: skip
        parts = everything(world, path, text, key, 7)
        whole = everything(world, path, text, key, 500)
        assert parts == whole
        assert len(set(parts)) == len(parts)
    end = get(world, "/records?limit=500", text).get_json()["next"]
    later = get(world, f"/records?cursor={end}", text).get_json()
    assert later == {"items": [], "next": end}, "to be asked again later"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=1e2", "limit=٣", "cursor=",
     "cursor=!!", "cursor=" + "A" * 200, "cursor=" + cursor_of("records", "x"),
     "cursor=" + cursor_of("officials", 3), "cursor=" + cursor_of("records", 10**30)],
)  # fmt: skip
def test_what_is_no_page_is_said(world: World, query: str) -> None:
    answer = get(world, f"/records?{query}", token(world, "records"))
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "malformed"


def test_an_unchanged_page_is_not_sent_again(world: World) -> None:
    text = token(world, "officials")
    first = get(world, "/officials", text)
    tag = first.headers["ETag"]
    again = get(world, "/officials", text, **{"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag
    other = get(world, "/officials?limit=3", text, **{"If-None-Match": tag})
    assert other.status_code == 200


def test_every_question_is_in_the_trail_and_too_many_are_slowed(world: World) -> None:
    text = token(world, "findings")
    answers = [get(world, "/findings", text).status_code for _ in range(ASKS + 1)]
    assert answers == [200] * ASKS + [429]
    with world.app.extensions["quxiang"].database.session() as session:
        seen = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.what == "api_findings")
            .order_by(AuditEntry.id.desc())
        ).all()
    assert len(seen) >= ASKS
    assert {entry.who for entry in seen} == {"token:报表"}
    assert not any(text[8:20] in entry.target for entry in seen)


def test_the_interface_does_what_its_document_says(world: World) -> None:
    text = token(world, *ALL)
    world.hand.moment += timedelta(hours=1)  # another window than that of the tests above
    schema = schemathesis.openapi.from_wsgi(
        "/api/v1/openapi.json", world.app, config=SchemathesisConfig()
    ).include(tag="programs")
    names = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        names.add(operation.path)

        @settings(max_examples=12, deadline=None, database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(operation.as_strategy())
        def holds(case: Any) -> None:
            world.hand.moment += timedelta(seconds=1)  # the limit of questions is tested above
            case.call_and_validate(
                headers={"Authorization": f"Bearer {text}"},
                # A schema cannot say which strings are cursors that the server gave out.
                excluded_checks=[positive_data_acceptance],
            )

        holds()
    assert len(names) == 5

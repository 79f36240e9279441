"""The audit trail: found by person, kind, period and address; saved; and every look is in it."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import pytest

from server.models import AuditEntry, Official, Quarantined, RecordRow, User
from server.services.evidence import audit
from server.web.trail import LENGTH
from tests.conftest import NewDatabase
from tests.server.web_seed import World, fill, make_world

#: Pages of nobody's data: the own account, forms, public boards, lists of machines and rules.
PUBLIC = ("board.", "duty.notice", "person.page", "static", "language.", "api_")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("trail"), people=12, url=new_database())
    fill(made)
    yield made
    made.app.extensions["quxiang"].database.close()


@pytest.fixture(scope="module")
def entries(world: World) -> int:
    """Some entries of an account of each kind; how many."""
    now, later = world.hand(), world.hand() + timedelta(3)
    with world.app.extensions["quxiang"].database.transaction() as session:
        users = {u.name: u for u in session.query(User)}
        audit.note(session, users["clerk"], "view_day", "2026-11-20", now, "10.0.0.7")
        audit.note(session, users["clerk"], "ask_leave", "A009 100%_x", now, "10.0.0.71")
        audit.note(session, users["inspector"], "view_history", "A009 郭芳", now, "10.0.1.7")
        audit.note(session, users["inspector"], "csv_day", "2026-11-20", later, "fe80::1")
        audit.note(session, users["leader"], "approve_leave", "=HYPERLINK(1)", now, "10.0.0.8")
        audit.note(session, users["stranger"], "view_day", "外乡的事", now, "10.0.0.7")
    return 6


def found(world: World, **query: str) -> list[list[str]]:
    """The rows of the table but those of reading the trail and of signing in."""
    text = world.client("leader").get("/audit.csv", query_string=query).data.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    return [r for r in rows if r[4] not in ("login", "view_audit", "csv_audit") or "what" in query]


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ({"who": "clerk"}, {"2026-11-20", "A009 100%_x"}),
        ({"who": "cler"}, set()),
        ({"what": "looks", "who": "inspector"}, {"A009 郭芳", "2026-11-20"}),
        ({"what": "changes", "who": "clerk"}, {"A009 100%_x"}),
        ({"what": "view_history"}, {"A009 郭芳"}),
        ({"what": "nothing"}, set()),
        ({"text": "A009"}, {"A009 100%_x", "A009 郭芳"}),
        ({"text": "100%_"}, {"A009 100%_x"}),
        ({"text": "1%x"}, set()),
        ({"remote": "10.0.0.7"}, {"2026-11-20", "A009 100%_x"}),
        ({"remote": "10.0.1."}, {"A009 郭芳"}),
        ({"first": "2026-11-23"}, {"2026-11-20"}),
        ({"who": "inspector", "last": "2026-11-20"}, {"A009 郭芳"}),
        ({"text": "外乡"}, set()),
    ],
)  # fmt: skip
def test_it_is_found(world: World, entries: int, query: dict[str, str], targets: set[str]) -> None:
    assert {row[5] for row in found(world, **query)} == targets
    page = world.client("admin").get("/audit", query_string=query)
    assert page.status_code == 200
    assert "外乡的事" not in page.text
    for target in targets:
        assert target in page.text


def test_a_table_holds_no_formula(world: World, entries: int) -> None:
    assert [row[5] for row in found(world, what="approve_leave")] == ["'=HYPERLINK(1)"]


@pytest.mark.parametrize("query", ["first=soon", "last=0001-01-01", "before=x", "before=-1"])
def test_what_cannot_be_read_is_refused(world: World, query: str) -> None:
    assert world.client("leader").get(f"/audit?{query}").status_code == 400


def test_reading_it_is_noted_with_what_was_asked(world: World, entries: int) -> None:
    browser = world.client("admin")
    browser.get("/audit?who=clerk&remote=10.")
    browser.get("/audit.csv?text=A009")
    with world.app.extensions["quxiang"].database.session() as session:
        noted = [(e.what, e.target) for e in session.query(AuditEntry).filter_by(who="admin")]
    assert ("view_audit", "who=clerk remote=10.") in noted
    assert ("csv_audit", "text=A009") in noted
    for role in ("clerk", "inspector"):
        assert world.client(role).get("/audit.csv").status_code == 403


def test_older_entries_follow_page_by_page(world: World) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        clerk = session.query(User).filter_by(name="clerk").one()
        for n in range(2 * LENGTH + 5):
            audit.note(session, clerk, "view_groups", f"№{n:04}", world.hand(), "10.9.9.9")
    browser, path, seen = world.client("leader"), "/audit?remote=10.9.9.9", []
    for _ in range(3):
        text = browser.get(path).text
        seen += [line.split("<")[0] for line in text.split("№")[1:] if line[:4].isdigit()]
        if "更早的记录" in text:
            path = unescape(text.rsplit('class="button plain" href="', 1)[1].split('"')[0])
    assert seen == [f"{n:04}" for n in reversed(range(2 * LENGTH + 5))]


def _names(body: bytes, names: list[str]) -> bool:
    text = body.decode("utf-8", "replace")
    if body.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            text = "".join(file.read(n).decode("utf-8", "replace") for n in file.namelist())
    return any(name in text for name in names)


def test_every_page_that_names_somebody_is_a_look(world: World) -> None:
    browser = world.client("leader")
    database = world.app.extensions["quxiang"].database
    with database.session() as session:
        names = [n for (n,) in session.query(Official.name) if n != "外乡人"]
    with database.transaction() as session:
        row = session.query(RecordRow).filter_by(official="A002").first()
        assert row is not None
        device = row.device_id
        session.add(Quarantined(
            township_id=row.township_id, device_id=device, epoch=9, seq=1, payload=row.payload,
            head=bytes(32), why="fork", received_ms=row.received_ms,
        ))  # fmt: skip

    def count() -> int:
        with database.session() as session:
            return session.query(AuditEntry).filter_by(who="leader").count()

    adapter = world.app.url_map.bind("localhost")
    given = {"code": "A002", "month": "2026-11", "kind": "csv", "number": 1, "token": "x",
             "device": device}  # fmt: skip
    unnoted, named = [], 0
    for rule in world.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint.startswith(PUBLIC):
            continue
        values = {a: given[a] for a in rule.arguments}
        if "import" in rule.rule and "kind" in values:
            values["kind"] = "officials"  # the others hold made-up examples
        path, before = adapter.build(rule.endpoint, values, "GET"), count()
        answer = browser.get(path)
        if answer.status_code == 200 and _names(answer.data, names):
            named += 1
            if count() == before:
                unnoted.append(path)
    assert named > 8
    assert unnoted == []

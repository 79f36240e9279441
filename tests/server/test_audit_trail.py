"""The audit trail: found by person, kind, period and address; saved; and every look is in it."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape

import openpyxl
import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from attendance.days import to_ms
from server.models import (
    AuditEntry,
    Correction,
    Device,
    Official,
    Proposal,
    Quarantined,
    RecordRow,
    User,
    WithdrawalRow,
)
from server.services.access import accounts
from server.services.evidence import audit
from server.services.public import visits
from server.services.rulings import corrections, findings, spotchecks
from server.services.rulings.corrections import Draft
from server.web.trail import LENGTH
from tests.conftest import NewDatabase
from tests.server.web_seed import PASSWORD, World, fill, make_world, token_of

#: Pages of nobody's data: the own account, forms, public boards, lists of machines and rules.
PUBLIC = ("board.", "duty.notice", "person.page", "static", "language.", "api_")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("trail"), people=12, url=new_database())
    fill(made)
    with made.app.extensions["quxiang"].database.transaction() as session:
        _lived(session, made)
    yield made
    made.app.extensions["quxiang"].database.close()


def _lived(session: Session, world: World) -> None:
    """A consent withdrawn, somebody to be enrolled again, a picture that waits, and what is drawn,
    found, proposed and visited: each once."""
    now = world.hand()
    users = {u.name: u for u in session.query(User)}
    township, clerk, inspector = users["clerk"].township, users["clerk"], users["inspector"]
    device = session.query(Device).filter_by(township_id=township.id).first()
    assert device is not None
    passing = {"township_id": township.id, "device_id": device.id, "at_ms": to_ms(now),
               "received_ms": to_ms(now)}  # fmt: skip
    session.add(WithdrawalRow(official="A003", **passing))
    session.add(Proposal(id="p" * 36, official="A004", package=b"x", **passing))
    day = date(2026, 11, 20)
    mistaken = Correction(
        township_id=township.id, official="A005", day=day.isoformat(), kind="mistaken",
        reason="认错", by="clerk", at_ms=to_ms(now),
    )  # fmt: skip
    session.add(mistaken)
    session.flush()
    findings.note_mistake(session, mistaken, users["leader"], now)
    corrections.propose(session, township, Draft("A006", day, "excuse", "就医"), clerk, now)
    spotchecks.make_draw(session, township, day, 3, 5, "ab", inspector, now)
    visit = visits.log_visit(session, township, "赵大娘", "1", "低保", None, clerk, now)
    visits.step(session, township, visit.id, "working", "A007", "", "", clerk, now)
    accounts.add_user(session, township, "spare", "clerk", PASSWORD, now)


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


#: What is sent besides nothing: enough that the page is drawn again, not enough to be done.
SENT = {
    "duty.proceed": {"state": "done", "answer": ""},
    "staff.password": {},
    "corrections.decide": {"answer": "approve"},
    "leave.decide": {"answer": "approve"},
}
#: Forms of the own account and session, and the choice of a language or township.
OWN = ("auth.", "account.", "second.", "county.", "language.")


def table(*rows: tuple[str, ...]) -> io.BytesIO:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return io.BytesIO(out.getvalue())


def handed_in(browser: FlaskClient, *rows: tuple[str, ...]) -> str:
    """The address of the preview of a table of officials."""
    token = token_of(browser.get("/settings/import").text)
    sent = {"kind": "officials", "csrf_token": token, "file": (table(*rows), "officials.xlsx")}
    answer = browser.post("/settings/import", data=sent, content_type="multipart/form-data")
    assert answer.status_code == 303
    return answer.headers["Location"]


def test_every_page_that_names_somebody_is_a_look(world: World) -> None:
    """Every page and every form, as each role; a form is sent empty, and so is refused."""
    database = world.app.extensions["quxiang"].database
    with database.session() as session:
        names = [n for (n,) in session.query(Official.name) if n != "外乡人"]
        spare = session.query(User).filter_by(name="spare").one()
        drawn = spotchecks.one(session, spare.township, 1).drawn.people
        code = next(code for listed in drawn.values() for code in listed)
        sent = {**SENT, "inspect.record": {"official": code, "seen": ""}}
        row = session.query(Official).filter_by(official="A002").one()
        changed = (("编号", "姓名", "电话"), ("A002", row.name, "1"))
    with database.transaction() as session:
        kept = session.query(RecordRow).filter_by(official="A002").first()
        assert kept is not None
        device = kept.device_id
        session.add(Quarantined(
            township_id=kept.township_id, device_id=device, epoch=9, seq=1, payload=kept.payload,
            head=bytes(32), why="fork", received_ms=kept.received_ms,
        ))  # fmt: skip
    adapter = world.app.url_map.bind("localhost")
    unnoted, named = [], set()
    for role in ("leader", "inspector", "clerk", "admin"):
        browser = world.client(role)

        def count(who: str = role) -> int:
            with database.session() as session:
                return session.query(AuditEntry).filter_by(who=who).count()

        given = {"code": "A002", "month": "2026-11", "kind": "csv", "number": 1, "token": "x",
                 "visit_id": 1, "leave_id": 1, "which": 1, "device": device}  # fmt: skip
        if role in ("clerk", "admin"):
            given["token"] = handed_in(browser, *changed).rsplit("/", 1)[1]
        csrf = token_of(browser.get("/account").text)
        for rule in world.app.url_map.iter_rules():
            if rule.endpoint.startswith((*PUBLIC, *OWN)):
                continue
            values = {a: given[a] for a in rule.arguments}
            if "import" in rule.rule and "kind" in values:
                values["kind"] = "officials"  # the others hold made-up examples
            if rule.endpoint.startswith("staff.") and "number" in values:
                values["number"] = spare.id
            for method in [m for m in ("GET", "POST") if m in (rule.methods or ())]:
                path, before = adapter.build(rule.endpoint, values, method), count()
                data = {"csrf_token": csrf, **sent.get(rule.endpoint, {})}
                answer = browser.get(path) if method == "GET" else browser.post(path, data=data)
                if _names(answer.data, names):
                    named.add(rule.endpoint)
                    if count() == before:
                        unnoted.append(f"{role} {method} {path} {answer.status_code}")
    assert unnoted == []
    assert {
        "supervise.day", "supervise.sites", "officials.people", "imports.preview", "imports.apply",
        "corrections.propose", "corrections.page", "leave.ask", "leave.page", "duty.receive",
        "duty.proceed", "publishing.make", "inspect.listing", "inspect.record", "inspect.open_one",
        "planning.edit", "settings.set_group", "exports.listing",
    } <= named  # fmt: skip


def noted(world: World, who: str) -> list[tuple[str, str]]:
    with world.app.extensions["quxiang"].database.session() as session:
        found = session.query(AuditEntry).filter_by(who=who).order_by(AuditEntry.id)
        return [(e.what, e.target) for e in found]


def test_what_is_looked_at_is_said(world: World) -> None:
    """What the walk over all pages cannot see: which look it was, at whom."""
    clerk, admin = world.client("clerk"), world.client("admin")
    clerk.get("/sites")
    assert noted(world, "clerk")[-1] == ("view_sites", "A003 A004 A005")
    day = "/corrections/A002?date=2026-11-20"
    answer = clerk.post(day, data={"csrf_token": token_of(clerk.get(day).text), "kind": "void"})
    assert answer.status_code == 400
    assert noted(world, "clerk")[-2:] == [("view_day_of", "A002 2026-11-20")] * 2
    path = handed_in(clerk, ("编号", "姓名", "电话"), ("A002", "李秀英", "1"))
    clerk.get(path)
    (sent, said), (looked, what) = noted(world, "clerk")[-2:]
    assert (sent, looked, what) == ("import_draft", "view_preview", "officials officials.xlsx")
    assert re.fullmatch(r"officials officials\.xlsx [0-9a-f]{64}", said)
    with world.app.extensions["quxiang"].database.session() as session:
        number = session.query(User).filter_by(name="inspector").one().id
    admin.get("/accounts")
    admin.get(f"/accounts/{number}")
    assert noted(world, "admin")[-2:] == [("view_accounts", ""), ("view_account", "inspector")]
    before = len(noted(world, "admin"))
    token = token_of(admin.get("/account").text)
    assert admin.post("/accounts", data={"csrf_token": token}).status_code == 400
    assert noted(world, "admin")[before:] == [("view_accounts", "")]

"""What people type and send: markup, formulas, fields that were not asked for, pictures."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator

import pytest
from openpyxl import load_workbook
from PIL import Image
from sqlalchemy import String, Text, select

from server.errors import ApiProblem
from server.models import (
    ApiToken,
    Attachment,
    Base,
    LeaveRow,
    Official,
    Township,
    User,
    Webhook,
)
from server.services.public import portraits
from server.sqlite import LIBRARY
from tests.attacks.pages import MONTH, TODAY, Place, crumb, make_place, pages, picture

#: A formula where it stands first, markup anywhere, a template where somebody draws it as one.
EVIL = "=HYPERLINK(\"http://e\",\"x\")\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"  # noqa: E501
#: Words of ours, times and marks in text columns; everything else is somebody's to fill.
OURS = {
    "api_token.scopes", "webhook.topics", "webhook.url", "township_rule.value",
    "term_proposal.value", "public_choice.fields", "spot_draw.population", "spot_draw.drawn",
    "spot_draw.seed", "month_signature.sha256", "attachment.sha256", "attachment.mime",
    "user.password", "user.stamp", "import_draft.rows", "township.slug", "audit.what",
    "import_batch.changes", "import_draft.token",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = make_place(tmp_path_factory.mktemp("data"))
    assert fill(made, EVIL) > 20  # before anything is read: sheets are kept while nothing changes
    yield made
    made.context.database.close()


def typed(table: str) -> list[str]:
    """Columns of a table that hold what somebody typed."""
    found = []
    for column in Base.metadata.tables[table].columns:
        kind = column.type
        long = isinstance(kind, Text) or (isinstance(kind, String) and (kind.length or 0) >= 40)
        if long and f"{table}.{column.name}" not in OURS and not column.unique:
            found.append(column.name)
    return found


def fill(place: Place, text: str) -> int:
    """Writes `text` before every text that pages show, past all services and guards; how many."""
    # The server's own library: a second one in the process would let go of the first one's locks.
    raw = LIBRARY.module.connect(place.config.database_file)
    guards = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    count = 0
    for name, _ in guards:
        raw.execute(f"DROP TRIGGER {name}")
    for table in ("official", "site", "work_group", "township", "leave", "leave_decision",
                  "leave_step", "finding", "finding_event", "correction", "correction_decision",
                  "spot_check", "visit", "visit_step", "shift", "api_token", "webhook", "audit",
                  "calendar_day", "term_proposal", "township_rule", "attachment"):  # fmt: skip
        if table not in Base.metadata.tables:
            continue
        for column in typed(table):
            # SQLite does not bound texts: what is longer than a service would take shows too.
            done = raw.execute(
                f'UPDATE "{table}" SET "{column}" = ? || coalesce("{column}", ?)', (text, "")  # noqa: S608
            )
            count += done.rowcount > 0
    for _, sql in guards:
        raw.execute(sql)
    raw.commit()
    raw.close()
    return count


def test_formulas_are_text_in_every_table(place: Place) -> None:
    browser = place.client("leader")
    code = place.codes[0]
    tables = 0
    for path in ("/day.csv", f"/officials/{code}.csv", f"/month.csv?month={MONTH}",
                 f"/allowance.csv?month={MONTH}", "/findings.csv"):  # fmt: skip
        answer = browser.get(path)
        assert answer.status_code == 200, path
        cells = [cell for row in csv.reader(io.StringIO(answer.data.decode("utf-8-sig")))
                 for cell in row]  # fmt: skip
        tables += any(cell.startswith("'=HYPERLINK") for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))], path
    for path in (f"/month.xlsx?month={MONTH}", f"/allowance.xlsx?month={MONTH}", "/findings.xlsx"):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        for sheet in load_workbook(io.BytesIO(answer.data)).worksheets:
            for row in sheet.iter_rows():
                assert all(cell.data_type != "f" and cell.hyperlink is None for cell in row), path
        with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
            tables += any(b"HYPERLINK" in archive.read(name) for name in archive.namelist())
            assert not any(b"<f>" in archive.read(name) for name in archive.namelist())
    assert tables >= 6, "the words were there to be misused"


def test_no_text_becomes_markup_on_any_page(place: Place) -> None:
    shown = 0
    for role in (None, "leader", "admin"):
        for path, answer in pages(place, place.client(role)):
            assert answer.status_code != 500, path
            text = answer.text
            assert "<img src=x" not in text, path
            assert "<script>alert" not in text, path
            assert "49" not in text.split("onerror", 1)[-1][:60], f"{path}: a template of a text"
            shown += "&lt;img src=x" in text
    assert shown > 25, "it was there to be misused"
    board = place.client().get("/board.json")
    assert board.mimetype == "application/json"
    assert board.headers["X-Content-Type-Options"] == "nosniff"


def test_fields_that_were_not_asked_for_are_not_taken(place: Place) -> None:
    admin, clerk = place.client("admin"), place.client("clerk")
    with place.context.database.session() as session:
        other = session.scalar(select(Township.id).order_by(Township.id.desc())) or 0
    extra = {
        "id": "4711", "township_id": str(other + 1), "township": "邻乡", "by": "root",
        "by_official": "X", "at_ms": "1", "state": "approved", "approved": "1", "role": "admin",
        "is_admin": "1", "active": "0", "portrait": "x" * 32, "page": "AAAAAAAAAAAA",
        "created_ms": "1", "digest": "x", "expires_ms": "9" * 15, "secret": "x",
        "record_after": "0", "disabled_ms": "1", "decided_by": "root", "password": "chosen by me",
        "stamp": "x", "must_change": "0", "flags": "x",
    }  # fmt: skip

    def press(browser, path: str, **fields: str):  # type: ignore[no-untyped-def]
        data = {**extra, "csrf_token": crumb(browser), **fields}
        answer = browser.post(path, data=data)
        assert answer.status_code in (200, 303), (path, answer.text)
        return answer

    press(admin, "/tokens", name="plain", days="3", scope="days")
    press(admin, "/webhooks", name="plain", url="https://h.example/", topic="records")
    press(clerk, "/settings/roster", code="NEW-1", official="NEW-1", name="新人", title="科员",
          phone="1", duties="", households="", work_group="")  # fmt: skip
    press(clerk, "/leave", official=place.codes[1], status="on_leave", first=TODAY, last=TODAY,
          reason="plain-leave")  # fmt: skip
    with place.context.database.session() as session:
        mine = session.scalars(select(User).where(User.name == "the-admin")).one().township_id
        token = session.scalars(select(ApiToken).where(ApiToken.name == "plain")).one()
        hook = session.scalars(select(Webhook).where(Webhook.name == "plain")).one()
        person = session.scalars(select(Official).where(Official.official == "NEW-1")).one()
        leave = session.scalars(select(LeaveRow).order_by(LeaveRow.id.desc())).first()
        assert leave is not None
        for row in (token, hook, person, leave):
            assert row.township_id == mine
            assert row.id != 4711
        assert (token.by, hook.by) == ("the-admin", "the-admin")
        assert token.expires_ms - token.created_ms == 3 * 86_400_000
        assert token.created_ms > 1
        assert hook.disabled_ms is None
        assert len(hook.secret) > 60
        assert (person.active, person.portrait, person.page) == (True, None, None)
        users = session.scalars(select(User)).all()
        assert {user.role for user in users if user.name == "the-clerk"} == {"clerk"}
        assert not any(user.name == "root" for user in users)
    page = clerk.get("/leave").text
    assert "plain-leave" in page


def sent(place: Place, body: bytes, name: str = "a.jpg") -> int:
    browser = place.client("clerk")
    return int(browser.post(
        f"/corrections/{place.codes[0]}?date={TODAY}", content_type="multipart/form-data",
        data={"csrf_token": crumb(browser), "kind": "excuse", "reason": "x", "start": "",
              "end": "", "attachment": (io.BytesIO(body), name)},
    ).status_code)  # fmt: skip


def kept(place: Place) -> list[tuple[str, str, bytes]]:
    with place.context.database.session() as session:
        query = select(Attachment.mime, Attachment.name, Attachment.content)
        return [tuple(row) for row in session.execute(query.order_by(Attachment.id))]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 2.5 billion pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data)
        )

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999))


def test_pictures_are_made_anew_and_bounded(place: Place) -> None:
    before = len(kept(place))
    polyglot = picture("JPEG") + b"<script>alert(1)</script>PK\x03\x04"
    for body, name in (
        (picture("JPEG"), "a.jpg"), (picture("PNG"), "../../etc/b.html"),
        (picture("WEBP"), "c;x=%0d%0a.webp"), (polyglot, "d.html"),
    ):  # fmt: skip
        sent(place, body, name)
    held = kept(place)[before:]
    assert len(held) == 4
    for mime, name, content in held:
        assert mime == "image/jpeg"
        assert name.endswith(".jpg")
        assert not any(sign in name for sign in "/\\\r\n")
        assert b"secret-place-7" not in content, "no metadata"
        assert b"<script>" not in content
        with Image.open(io.BytesIO(content)) as made:
            assert made.format == "JPEG"
            assert not made.getexif()
    for body in (
        b"GIF89a" + b"\0" * 50, picture("GIF"), picture("TIFF"), picture("PPM"), bomb(),
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"\x89PNG\r\n\x1a\nxx",
        picture("JPEG")[:200], b"%!PS-Adobe", b"BM" + b"\xff" * 60, b"MZ", b"\0" * 10,
        b"%PDF-" + b"x" * (3 << 20),
    ):  # fmt: skip
        assert sent(place, body) in (200, 400, 303), body[:8]
    assert len(kept(place)) == before + 4, "nothing else was kept"


def test_what_is_attached_is_only_ever_downloaded_as_what_it_is(place: Place) -> None:
    sent(place, picture("JPEG"))
    with place.context.database.session() as session:
        number = session.scalars(select(Attachment.id).order_by(Attachment.id.desc())).first()
    answer = place.client("leader").get(f"/attachments/{number}")
    assert answer.mimetype == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert place.client().get(f"/attachments/{number}").status_code == 303


@pytest.mark.parametrize("body", [picture("PNG"), picture("GIF"), bomb(), b"", b"\xff\xd8\xff"])
def test_a_portrait_is_a_jpeg_or_nothing(body: bytes) -> None:
    with pytest.raises(ApiProblem):
        portraits.reencode(body)


def test_a_portrait_is_made_anew() -> None:
    made = portraits.reencode(picture("JPEG", (3000, 4000)) + b"<script>")
    assert b"secret-place-7" not in made
    assert b"<script>" not in made
    with Image.open(io.BytesIO(made)) as shown:
        assert shown.size == portraits.SIZE


def test_a_field_that_comes_twice_counts_once(place: Place) -> None:
    """The first one, wherever it is read; never the query in place of the form."""
    admin = place.client("admin")
    token = crumb(admin)
    for query, body in (
        ("?name=from-query&days=9",
         f"csrf_token={token}&name=one&name=two&days=3&days=300&scope=days"),
        ("?csrf_token=" + token + "&name=x&days=3&scope=days", "scope=days"),
    ):  # fmt: skip
        admin.post("/tokens" + query, data=body, content_type="application/x-www-form-urlencoded")
    with place.context.database.session() as session:
        made = session.scalars(select(ApiToken).where(ApiToken.name.in_(
            ["one", "two", "from-query", "x"]
        ))).all()  # fmt: skip
    assert [token.name for token in made] == ["one"]
    assert made[0].expires_ms - made[0].created_ms == 3 * 86_400_000

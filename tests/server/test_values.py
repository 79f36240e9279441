"""NUL and numbers that fit no column, wherever a request may carry them: 400, and nothing kept."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from attendance import proposals as told
from attendance import wire
from server import db
from server.api.answers import spoken
from server.models import AuditEntry, RecordRow
from tests.attacks.addresses import FORMS, LOGIN, PAGES, filled, form_of
from tests.server.web_seed import sign_in, token_of

from .conftest import Kiosk, Machine, Office

#: Of the pages that everybody sees; they name a township by what stands in the path.
PUBLIC = ("/t/%00/", "/t/%00/board.json", "/t/%00/board/rows", "/t/%00/tv", "/t/%00/tv/rows",
          "/t/%00/duty", "/?q=%00", "/board.json?x=a%00b", "/nowhere/%00")  # fmt: skip
NINES = "9" * 25


def refused(answer: TestResponse) -> None:
    assert answer.status_code == 400, answer.data
    assert wire.decode(answer.data, wire.Problem).error == "malformed"


def csrf(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    ("lang", "sentence"), [("zh", "请返回并重新打开页面"), ("en", "understood")]
)
def test_no_address_of_a_page_has_a_nul(office: Office, lang: str, sentence: str) -> None:
    client = office.client()
    client.set_cookie("quxiang_lang", lang)
    for path in PUBLIC:
        answer = client.get(path)
        assert answer.status_code == 400, path
        assert "<main" in answer.text, path
        assert "\0" not in answer.text, path
    title = client.get("/?q=%00").text
    assert sentence in title
    assert client.get("/?q=%2500").status_code == 200, "that is a percent sign and two digits"


def test_no_page_of_a_supervisor_breaks_at_a_nul(office: Office, village: Kiosk) -> None:
    office.user("shen", "clerk")
    client = office.client()
    sign_in(client, "shen")
    for path in (
        "/officials?q=%00",
        "/officials?group=%00&site=%00",
        "/officials/%00",
        "/day?site=%00",
    ):
        assert client.get(path).status_code == 400, path
    assert client.get("/officials").status_code == 200


def test_no_form_has_a_nul(office: Office, village: Kiosk) -> None:
    office.user("shen", "clerk")
    client = office.client()
    token = csrf(client, "/login")
    for form in (
        {"name": "a\0b", "password": "x"},
        {"name": "shen", "password": "p\0w"},
        {"name": "shen", "password": "x", "n\0": "x"},
    ):
        answer = client.post("/login", data={"csrf_token": token, **form})
        assert answer.status_code == 400, form
        assert "<main" in answer.text
    assert client.post("/login", data={"csrf_token": token, "name": "a", "password": "b"}).text


@pytest.mark.parametrize("have", ["0" * 20 + NINES, "0" * 20, NINES, "9" * 19, "-1", "x", ""])
@pytest.mark.parametrize("target", [f"{wire.GALLERY}?have=", f"{wire.RELEASE}?above="])
def test_a_number_of_a_query_is_bounded(village: Kiosk, target: str, have: str) -> None:
    refused(village.send("GET", target + have))
    assert village.send("GET", f"{target}{2**63 - 1}").status_code == 204


def test_no_address_of_a_device_has_a_nul(village: Kiosk, desk: Machine) -> None:
    def ask(who: Machine, method: str, path: str) -> None:
        signed = wire.sign_request(who.keys, who.device, method, path.replace("%00", "\0"), b"")
        answer = who.client.open(path, method=method, headers=signed)
        wire.check_reply(
            who.server_key, answer.headers.get(wire.HEADER_SIGNATURE),
            signed[wire.HEADER_SIGNATURE], answer.status_code, answer.data,
        )  # fmt: skip
        refused(answer)

    ask(village, "GET", f"{wire.PORTRAITS}/%00")
    ask(village, "GET", f"{wire.GALLERY}?have=1%00")
    for path in (wire.DESK_GALLERIES, wire.DESK_PORTRAITS, told.DESK_PROPOSALS):
        for method in ("PUT", "GET", "DELETE"):
            ask(desk, method, f"{path}/a%00b")
    refused(village.client.get("/api/%00"))


def test_who_decided_is_noted_without_signs_that_nobody_sees(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    def decided(by: str) -> TestResponse:
        made = told.Decision(
            id=str(uuid.uuid4()), official="zhang-3", device=village.device, what="accepted",
            by=by, at_ms=1_773_800_000_000,
        )  # fmt: skip
        return desk.send("POST", told.DESK_DECISIONS, wire.encode(made))

    assert decided(" 王\0芳\u202e\n").status_code == 204
    with office.context.database.session() as session:
        noted = select(AuditEntry.who).where(AuditEntry.what == "proposal_accepted")
        assert session.scalars(noted).all() == [f"device:{desk.device} 王芳"]
    refused(decided("\0 \u202e"))


def page_that(office: Office, path: str, view: Callable[[], Any]) -> None:
    """One more page, whose view raises."""
    office.app.add_url_rule(path, path.strip("/").replace("/", "-").replace(".", "-"), view)


def too_large() -> str:
    db.session().expire_all()  # the page asks again whose it is
    db.session().scalars(select(RecordRow.id).where(RecordRow.id == 2**70).offset(2**70)).all()
    return "never"


def ours() -> str:
    raise OverflowError("a sum of ours")


def test_what_fits_no_column_is_the_askers_mistake_and_is_written_down(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    page_that(office, "/too-large", too_large)
    office.user("shen", "clerk")
    client = office.client()
    sign_in(client, "shen")
    with caplog.at_level(logging.WARNING):
        answer = client.get("/too-large")
    assert answer.status_code == 400
    assert "shen" in answer.text, "whose page it is was read again after the rollback"
    assert any("fits no column" in line.message for line in caplog.records)


def test_other_faults_stay_faults(office: Office) -> None:
    office.app.config["PROPAGATE_EXCEPTIONS"] = False

    def divided() -> str:
        db.session().connection().exec_driver_sql("SELECT 1 / 0").all()
        return "no fault"

    page_that(office, "/ours", ours)
    page_that(office, "/divided", divided)
    client = office.client()
    assert client.get("/ours").status_code == 500
    # SQLite answers nothing.
    postgresql = office.config.database_url is not None
    assert client.get("/divided").status_code == (500 if postgresql else 200)


def test_what_fits_no_column_is_malformed_to_a_device(office: Office) -> None:
    page_that(office, f"{wire.PREFIX}/too-large", spoken(lambda: Response(too_large())))
    page_that(office, f"{wire.PREFIX}/ours", spoken(lambda: Response(ours())))
    client = office.client()
    refused(client.get(f"{wire.PREFIX}/too-large"))
    assert client.get(f"{wire.PREFIX}/ours").status_code == 500


@pytest.mark.parametrize("hole", ["%00", NINES, str(2**63 - 1), "%ed%a0%80"])
def test_no_page_and_no_form_breaks(office: Office, village: Kiosk, hole: str) -> None:
    office.user("shen", "clerk")
    client = office.client()
    sign_in(client, "shen")
    token = token_of(client.get("/account").text)
    for path in PAGES:
        status = client.get(filled(path, hole, hole)).status_code
        assert status == 400 if hole == "%00" else status < 500, path
    kind = "application/x-www-form-urlencoded"
    for path, names in (LOGIN, *FORMS):
        for share in range(len(names)):
            body = form_of(names, token, hole, "x", (share * 1000 + 500) // len(names))
            status = client.post(filled(path, "1", ""), data=body, content_type=kind).status_code
            assert status == 400 if hole == "%00" else status < 500, (path, names[share])

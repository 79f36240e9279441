"""What is public is decided on a page; plates come out of the printer and their codes work."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import pytest
from flask.testing import FlaskClient
from PIL import Image

from server import paper
from server.errors import InputInvalid
from server.services.public.plates import server_address
from tests.server.web_seed import World, fill, make_world, token_of

FAR = {"REMOTE_ADDR": "8.8.8.8"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("publishing"))
    fill(made)
    return made


def picture() -> io.BytesIO:
    out = io.BytesIO()
    Image.new("RGB", (60, 80), (200, 60, 60)).save(out, "PNG")
    out.seek(0)
    return out


def send(browser: FlaskClient, path: str, **fields: object):  # type: ignore[no-untyped-def]
    data = {"csrf_token": token_of(browser.get(path).text), **fields}
    return browser.post(path, data=data, content_type="multipart/form-data")


def test_a_leader_decides_what_is_public_and_nobody_else(world: World) -> None:
    leader, clerk = world.client("leader"), world.client("clerk")
    assert "<button>" not in clerk.get("/publication").text.split("<main")[1]
    assert send(clerk, "/publication", field=["title"], beyond="no").status_code == 403
    assert world.client().get("/publication").status_code == 303
    board = world.client()
    assert "tel:" in board.get("/").text
    assert send(leader, "/publication", field=["title", "since"], beyond="no").status_code == 303
    assert "tel:" not in board.get("/").text
    again = leader.get("/publication").text
    assert re.search(r'value="since" checked', again)
    assert not re.search(r'value="phone" checked', again)
    assert send(leader, "/publication", field=["secrets"], beyond="no").status_code == 400
    assert "publish" in leader.get("/audit").text


def test_beyond_the_own_network_with_the_signed_paper_only(world: World) -> None:
    leader, board = world.client("leader", "en"), world.client()
    assert board.get("/", environ_base=FAR).status_code == 403
    every = {"field": ["title", "phone", "portrait"], "beyond": "yes"}
    refused = send(leader, "/publication", **every)
    assert refused.status_code == 400
    assert "signed impact assessment" in refused.text
    signed = {"signer": "王书记", "signed_day": "2026-11-01"}
    for bad in ({"signed_day": "2999-01-01"}, {"signed_day": "x"}, {"signed_day": ""}):
        paper_of = {"assessment": (picture(), "评估.png")}
        tried = send(leader, "/publication", **every, **{**signed, **bad}, **paper_of)
        assert tried.status_code == 400
    wrong = {"assessment": (io.BytesIO(b"GIF89a no"), "评估.gif")}
    assert send(leader, "/publication", **every, **signed, **wrong).status_code == 400
    assert board.get("/", environ_base=FAR).status_code == 403
    right = {"assessment": (picture(), "评估.png")}
    assert send(leader, "/publication", **every, **signed, **right).status_code == 303
    assert board.get("/", environ_base=FAR).status_code == 200
    filed = re.search(r'href="(/attachments/\d+)"', leader.get("/publication").text)
    assert filed
    assert leader.get(filed[1]).status_code == 200
    assert world.client("stranger").get(filed[1]).status_code == 404
    assert send(leader, "/publication", field=["title"], beyond="no").status_code == 303
    assert board.get("/", environ_base=FAR).status_code == 403


@pytest.mark.parametrize(
    "text",
    ["", "quxiang", "ftp://a", "javascript:alert(1)", "https://", "http://u:p@h", "http://h?x",
     "http://h:0", "http://h:99999", "http://[", "https://" + "a" * 130],
)  # fmt: skip
def test_an_address_that_a_telephone_could_not_open(text: str) -> None:
    with pytest.raises(InputInvalid, match=r"quxiang\.example\.cn"):
        server_address(text)


def test_everybody_is_ticked_where_one_pdf_holds_them(world: World) -> None:
    clerk = world.client("clerk")
    assert clerk.get("/plates").text.count('" checked> ') == len(world.codes)
    refused = send(clerk, "/plates", kind="door", address="http://board.example", official="Z999")
    assert '" checked> ' not in refused.text, "a refusal keeps what was chosen"


def test_plates_as_pdf_whose_codes_lead_to_the_persons_page(world: World, tmp_path: Path) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) looks at the sheet and is not here")
    clerk, leader = world.client("clerk"), world.client("leader")
    fields = ["title", "portrait", "work_group", "duties"]
    assert send(leader, "/publication", field=fields, beyond="no").status_code == 303
    asked = {"kind": "desk", "address": "http://quxiang.example.cn/"}
    assert send(world.client("inspector"), "/plates", **asked, official="A002").status_code == 403
    assert send(clerk, "/plates", **asked).status_code == 400
    assert send(clerk, "/plates", **asked, official="Z999").status_code == 400
    assert send(clerk, "/plates", kind="wall", official="A002").status_code == 400
    answer = send(clerk, "/plates", **asked, official=["A002", "A003"])
    assert answer.status_code == 200
    assert answer.mimetype == "application/pdf"
    (tmp_path / "plates.pdf").write_bytes(answer.data)
    text = subprocess.run(
        ["pdftotext", str(tmp_path / "plates.pdf"), "-"], capture_output=True, check=True
    ).stdout.decode()
    people = world.client("clerk").get("/officials?q=A002").text
    phone = re.search(r'href="tel:(\d+)"', people)
    assert phone
    letters = text.replace(" ", "")  # wide letters read as words
    assert "示例乡" in letters
    assert phone[1] not in letters, "the telephone was not chosen"
    subprocess.run(
        ["pdftoppm", "-r", "200", "-png", "plates.pdf", "page"], cwd=tmp_path, check=True
    )
    pages = sorted(tmp_path.glob("page*.png"))
    assert len(pages) == 2
    for page in pages:
        seen = cv2.imread(str(page))
        _, found, _, _ = cv2.QRCodeDetector().detectAndDecodeMulti(seen)
        places = {urlsplit(link) for link in found if link}
        assert {place.netloc for place in places} == {"quxiang.example.cn"}
        (path,) = {place.path for place in places}
        shown = world.client().get(path)
        assert shown.status_code == 200
        assert path.startswith("/o/")
    again = send(clerk, "/plates", **asked, official=["A002"])
    assert again.status_code == 200  # a page keeps its name: printed codes go on working
    assert "make_plates" in leader.get("/audit").text


def test_a_sheet_reads_no_file_and_asks_no_network(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("geheim")
    html = f'<a rel="attachment" href="file://{secret}">x</a><img src="file://{secret}">'
    made = paper.pdf(f"<html><body>{html}</body></html>")
    assert made.startswith(b"%PDF")
    assert b"EmbeddedFile" not in made

"""A fork or a lost tail is a finding: opened once, where and when it is noticed, and followed."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from server.models import AuditEntry, Device, Finding, Site
from server.services.evidence.verify import verify
from server.services.rulings import findings
from server.services.rulings.findings import Found
from server.services.township.townships import only_township

from .conftest import Kiosk, Office
from .test_apart import browser
from .test_devices import acks, change, forked
from .web_seed import token_of


def found(office: Office, township: str | None = None) -> list[Found]:
    """Oldest first."""
    with office.context.database.session() as session:
        return findings.listing(session, only_township(session, township))[::-1]


def go_on(office: Office, village: Kiosk, epoch: int) -> None:
    """A settled kiosk goes on in a new epoch."""
    change(office, "settle", village.device)
    head = village.cursor(pending=1).head
    village.epoch, village.cites, village.payloads = epoch, bytes.fromhex(head), []
    village.record()
    assert acks(village, 1) == ["stored"]


def test_a_fork_is_one_finding_however_often_the_kiosk_asks(office: Office, village: Kiosk) -> None:
    forked(village, kept=2, lost=3, other=2)
    for _ in range(3):
        office.clock.step(minutes=10)
        assert village.upload(3).status_code == 409
        assert village.cursor(pending=2).state == "fork"
    village.record("wang-5")
    assert village.upload(5).status_code == 409
    (one,) = found(office)
    assert (one.kind, one.state, one.by, one.site, one.official, one.steps) == (
        "device", "open", f"device:{village.device}", "杏树村", None, (),
    )  # fmt: skip
    assert one.day.isoformat() == "2026-03-18"
    for line in one.text.splitlines():
        assert village.device in line
        assert " 1/3 " in line
    with office.context.database.session() as session:
        row = session.scalars(select(Finding)).one()
        assert session.get_one(Site, row.site_id).township_id == row.township_id
        assert list(verify(session, office.context.keys.sign_public)) == []
    assert found(office, "白水乡") == []
    go_on(office, village, 2)
    del village.payloads[0]
    village.record("li-4")
    assert village.upload().status_code == 409
    assert [" 2/1 " in f.text for f in found(office)] == [False, True]


def test_where_they_part_is_noted_on_it_until_it_is_closed(office: Office, village: Kiosk) -> None:
    inspector = office.user("du", "inspector")
    for _ in range(4):
        village.record()
    village.upload()
    del village.payloads[1:]
    for _ in range(3):
        village.record("li-4")
    assert village.cursor().state == "fork"
    assert village.upload(3).status_code == 409
    (one,) = found(office)
    assert " 1/4 " in one.text
    assert [(s.what, s.by, " 1/3 " in s.text) for s in one.steps] == [
        ("note", f"device:{village.device}", True)
    ]
    with office.context.database.transaction() as session:
        findings.add_event(
            session, only_township(session), one.id, "closed", "换了卡", inspector, office.clock()
        )
    assert village.upload(2).status_code == 409
    (one,) = found(office)
    assert ([s.what for s in one.steps], one.state) == (["note", "closed"], "closed")


def test_a_fork_that_an_earlier_release_saw_is_told_when_more_of_it_comes(
    office: Office, village: Kiosk
) -> None:
    """Its finding is none of an earlier loss of the same kiosk."""
    lose(village)
    assert len(found(office)) == 1
    office.clock.step(days=1)
    village.record()
    assert acks(village, 2) == ["stored"]
    with office.context.database.transaction() as session:
        device = session.get_one(Device, village.device)
        device.fork_ms = int(office.clock().timestamp() * 1000)
        session.add(AuditEntry(township_id=device.township_id, at_ms=device.fork_ms, remote="",
                               who=f"device:{village.device}", what="fork",
                               target="2/2"))  # fmt: skip
    del village.payloads[:]
    village.record("li-4")
    assert village.upload().status_code == 409
    assert [" 2/1 " in f.text for f in found(office)] == [False, True]


def lose(village: Kiosk) -> None:
    """Its card loses the records 1/3 to 1/5, which were uploaded; it goes on in a new epoch."""
    for _ in range(5):
        village.record()
    village.sync()
    del village.payloads[2:]
    reply = village.cursor()
    assert reply.state == "ahead"
    village.epoch, village.cites, village.payloads = 2, bytes.fromhex(reply.head), []
    village.record()
    assert acks(village, 1) == ["stored"]


def test_a_lost_tail_is_one_finding(office: Office, village: Kiosk) -> None:
    lose(village)
    assert acks(village, 1) == ["duplicate"]
    for _ in range(3):
        village.record()
        assert village.cursor(pending=1).state == "ok"
        assert acks(village, len(village.payloads)) == ["stored"]
    (one,) = found(office)
    assert (one.kind, one.by, one.site) == ("device", f"device:{village.device}", "杏树村")
    assert all("1/3 - 1/5" in line for line in one.text.splitlines())
    assert len(one.text.splitlines()) == 2


def test_an_epoch_that_lost_nothing_is_no_finding(office: Office, village: Kiosk) -> None:
    village.record()
    village.sync()
    village.cursor()
    village.epoch, village.cites, village.payloads = 2, village.head(), []
    village.record()
    assert acks(village, 1) == ["stored"]
    assert found(office) == []


@pytest.mark.parametrize(
    ("lang", "said", "who"),
    [
        ("zh", "出现两份历史：最迟自记录 1/3 起", "设备"),
        ("en", "showed two histories: from record 1/3", "device "),
    ],
)
def test_it_is_read_in_one_language_and_followed_to_its_closing(
    office: Office, village: Kiosk, lang: str, said: str, who: str
) -> None:
    office.user("du", "inspector")
    forked(village, kept=2, lost=3, other=2)
    inspector = browser(office, "du", lang)
    html = inspector.get("/findings").text
    other = "showed two histories" if lang == "zh" else "出现两份历史"
    assert said in html
    assert other not in html
    assert f"{who}{village.device}" in html.replace("设备 ", "设备")
    assert f'href="/sites/{village.device}/apart"' in html
    table = inspector.get("/findings.csv").data.decode("utf-8-sig")
    assert said in table
    assert other not in table
    form = {"csrf_token": token_of(html), "what": "closed", "text": "换了卡"}
    number = found(office)[0].id
    assert inspector.post(f"/findings/{number}", data=form).status_code == 303
    assert found(office)[0].state == "closed"
    assert said in inspector.get("/findings?state=closed").text

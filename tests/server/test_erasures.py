"""Withdrawals and receipts as supervisors see them: none stands for another."""

from __future__ import annotations

import re

from attendance import wire
from attendance.receipts import receipt_detail, receipt_signature
from attendance.records import decode_record
from attendance.statuses import Kind
from tests.server.conftest import Kiosk, Machine, Office, ms
from tests.server.web_seed import sign_in


def withdraw(office: Office, desk: Machine, official: str = "zhang-3") -> None:
    asked = wire.Withdrawal(official=official, at_ms=ms(office.clock()))
    answer = desk.send("POST", wire.DESK_WITHDRAWALS, wire.encode(asked))
    assert answer.status_code == 204
    office.clock.step(minutes=10)


def confirm(kiosk: Kiosk, version: int, official: str = "zhang-3") -> None:
    detail = receipt_detail(kiosk.keys, kiosk.device, official, version)
    kiosk.record(official, kind=Kind.ERASURE, status=None, method=None, score=None, liveness=None,
                 gallery=version, detail=detail)  # fmt: skip
    kiosk.sync()
    kiosk.clock.step(minutes=10)


def page(office: Office, user: str, lang: str) -> list[str]:
    """The rows below the heading, as text."""
    browser = office.client()
    browser.set_cookie("quxiang_lang", lang)
    sign_in(browser, user)
    html = browser.get("/sites").text
    part = html[html.index("撤回的同意" if lang == "zh" else "Consents withdrawn") :]
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.S)[1:]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in rows]


def test_two_withdrawals_have_two_receipts_on_the_page_and_for_the_desk(
    office: Office, desk: Machine, village: Kiosk, stranger: Machine
) -> None:
    office.user("shen", "inspector")
    office.user("stranger", "inspector", township="白水乡")
    withdraw(office, desk)
    confirm(village, 4)
    assert len(page(office, "shen", "zh")) == 1
    withdraw(office, desk)
    newest, first = page(office, "shen", "en")
    assert "no kiosk yet" in newest, "the first receipt says nothing of the second withdrawal"
    assert "list version 4" in first
    confirm(village, 7)
    newest, first = page(office, "shen", "zh")
    assert "张三 zhang-3" in newest
    assert f"杏树村 {village.device} ：第 7 版清单" in newest
    assert "第 4 版清单" in first
    assert "第 7 版" not in first
    assert "没有人撤回同意" in page(office, "stranger", "zh")[0]
    rows = wire.decode(desk.send("GET", wire.DESK_ERASURES).data, list[wire.ErasureRow])
    assert [(row.official, row.version) for row in rows] == [("zhang-3", 4), ("zhang-3", 7)]

    signed = [receipt_signature(decode_record(p)) for p in village.payloads]
    assert [row.signature for row in rows] == signed

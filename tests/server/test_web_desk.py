"""The pages of the supervisors' desk: who may open and do what, from proposal to closing."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from server.models import Correction, User
from server.services.township.search import matches

from .test_web_pages import World, world  # noqa: F401 (a fixture)

PAGES = (
    "/day", "/week", "/month", "/month?month=2026-10", "/discrepancies", "/corrections",
    "/corrections/A002?date=2026-11-20", "/spotchecks", "/findings", "/allowance?month=2026-11",
)  # fmt: skip


def token(browser: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(path).text)
    assert found
    return found[1]


def post(browser: FlaskClient, page: str, action: str, **fields: str) -> int:
    data = {"csrf_token": token(browser, page), **fields}
    return browser.post(action, data=data, content_type="multipart/form-data").status_code


@pytest.mark.parametrize("path", PAGES)
def test_everybody_with_an_account_reads_every_page_in_both_languages(
    world: World,  # noqa: F811
    path: str,
) -> None:
    assert world.app.test_client().get(path).status_code == 303
    for role in ("clerk", "inspector", "leader"):
        for language in ("zh", "en"):
            assert world.client(role, language).get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/month?month=2026-13", "/month?month=x", "/week?date=1", "/discrepancies?first=2026-01-01",
     "/corrections?state=x", "/findings?state=x", "/day?page=x", "/allowance?month=0000-01"],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(world: World, path: str) -> None:  # noqa: F811
    assert world.client("clerk").get(path).status_code == 400


def test_a_correction_from_the_pages(world: World) -> None:  # noqa: F811
    clerk, leader = world.client("clerk"), world.client("leader")
    page = "/corrections/A003?date=2026-11-20"
    fields = {"kind": "presence", "site": "石头村", "start": "08:30", "reason": "终端故障"}
    assert post(world.client("inspector"), "/findings", page, **fields) == 403
    assert post(clerk, page, page, **{**fields, "reason": ""}) == 400
    assert post(clerk, page, page, **{**fields, "start": "25:00"}) == 400
    assert post(clerk, page, page, **fields) == 303
    shown = leader.get("/corrections?state=proposed").text
    number = re.search(r"/corrections/(\d+)/decide", shown)
    assert number
    action = f"/corrections/{number[1]}/decide"
    assert post(clerk, page, action, answer="approve") == 403
    assert post(leader, "/corrections?state=proposed", action, answer="perhaps") == 400
    assert post(leader, "/corrections?state=proposed", action, answer="approve") == 303
    assert "已批准" in clerk.get(page).text
    assert "终端故障" in clerk.get(page).text


def test_who_may_not_correct_or_decide_is_told_why(world: World) -> None:  # noqa: F811
    clerk, leader = world.client("clerk"), world.client("leader")
    database = world.app.extensions["quxiang"].database
    fields = {"kind": "presence", "site": "石头村", "start": "08:40", "reason": "终端故障"}

    def are(**codes: str | None) -> None:
        with database.transaction() as session:
            for name, code in codes.items():
                session.scalars(select(User).where(User.name == name)).one().official = code

    def page_of(code: str) -> str:
        return f"/corrections/{code}?date=2026-11-20"

    def decide() -> tuple[int, str]:
        """What the leader is told who approves the newest proposal."""
        with database.session() as session:
            number = session.scalar(select(func.max(Correction.id)))
        page = "/corrections?state=proposed"
        asked = {"csrf_token": token(leader, page), "answer": "approve"}
        answer = leader.post(f"/corrections/{number}/decide", data=asked)
        return answer.status_code, answer.text

    try:
        are(clerk="A005")
        asked = {"csrf_token": token(clerk, page_of("A004")), **fields}
        answer = clerk.post(page_of("A005"), data=asked, content_type="multipart/form-data")
        assert (answer.status_code, "这是您本人的事项" in answer.text) == (403, True)
        assert post(clerk, page_of("A006"), page_of("A006"), **fields) == 303
        are(leader="A006")
        status, text = decide()
        assert (status, "这是您本人的事项" in text) == (403, True)
    finally:
        are(clerk=None, leader=None)
    assert post(leader, page_of("A007"), page_of("A007"), **fields) == 303
    status, text = decide()
    assert (status, "这是您本人提出的" in text) == (403, True)


def test_a_spot_check_and_its_finding_from_the_pages(world: World) -> None:  # noqa: F811
    inspector = world.client("inspector")
    asked = {"date": "2026-11-20", "sites": "1", "people": "2"}
    assert post(world.client("clerk"), "/corrections/A003", "/spotchecks", **asked) == 403
    assert post(inspector, "/spotchecks", "/spotchecks", **asked) == 303
    found = re.search(r'/spotchecks/(\d+)"', inspector.get("/spotchecks").text)
    assert found
    page = f"/spotchecks/{found[1]}"
    text = inspector.get(page).text
    assert "按种子重抽，结果一致" in text
    code = re.search(r'name="official" value="([^"]+)"', text)
    assert code
    seen = {"official": code[1], "seen": "not_there", "time": "08:00", "text": "屋内无人"}
    assert post(inspector, page, page, **seen, finding="1") == 303
    assert "屋内无人" in inspector.get("/findings").text
    number = re.search(r'action="/findings/(\d+)"', inspector.get("/findings").text)
    assert number
    closing = {"what": "closed", "text": "属实"}
    assert post(world.client("clerk"), "/findings", f"/findings/{number[1]}", **closing) == 403
    assert post(inspector, "/findings", f"/findings/{number[1]}", **closing) == 303


def test_an_old_draw_asks_when_it_was_seen(world: World) -> None:  # noqa: F811
    inspector = world.client("inspector")
    asked = {"date": "2026-11-19", "sites": "1", "people": "1"}
    assert post(inspector, "/spotchecks", "/spotchecks", **asked) == 303
    found = re.search(r'/spotchecks/(\d+)"', inspector.get("/spotchecks").text)
    assert found
    page = f"/spotchecks/{found[1]}"
    text = inspector.get(page).text
    assert "不填为现在" not in text
    code, site = (re.search(f'name="{name}" value="([^"]+)"', text) for name in
                  ("official", "site"))  # fmt: skip
    assert code
    assert site
    seen = {"official": code[1], "site": site[1], "seen": "there", "csrf_token": token(
        inspector, page)}  # fmt: skip
    refused = inspector.post(page, data=seen)
    assert refused.status_code == 400
    assert "请填写看到的时间" in refused.text
    assert inspector.post(page, data={**seen, "time": "09:30"}).status_code == 303
    elsewhere = {**seen, "time": "09:30", "site": "无此村"}
    assert inspector.post(page, data=elsewhere).status_code == 404


def test_leave_that_waits_for_a_leader_is_found(world: World) -> None:  # noqa: F811
    leader = world.client("leader")
    everything, waiting = (leader.get(f"/leave{q}").text for q in ("", "?state=pending"))
    rows = [text.split("<tbody>")[1].count("<tr>") for text in (everything, waiting)]
    assert rows[0] > rows[1] > 0
    assert waiting.count("本人的申请") + waiting.count("/decide") == rows[1], "one is the leader's"
    assert f"等待领导审批 {rows[1]}" in everything
    action = re.search(r'action="(/leave/\d+/decide\?state=pending)"', waiting)
    assert action
    answer = {"csrf_token": token(leader, "/leave"), "answer": "approve"}
    assert leader.post(action[1], data=answer).location == "/leave?state=pending"
    after = leader.get("/leave?state=pending").text
    assert after.split("<tbody>")[1].count("<tr>") == rows[1] - 1
    assert leader.get("/leave?state=x").status_code == 400
    assert leader.get("/leave?page=9").text.count("<td data-label") == 0


@pytest.mark.parametrize(
    ("typed", "found"),
    [("张", True), ("zhang", True), ("zs", True), ("zhsan", True), ("san", True),
     ("138 0000", True),
     ("+0000-1234", True), ("A00", True), ("li", False), ("zhangsi", False), ("139", False),
     ("1z", False)],
)  # fmt: skip
def test_people_are_found_by_name_sound_and_telephone(typed: str, found: bool) -> None:
    assert matches(typed, "张三", "13800001234", "A001") is found
    assert matches("zeng", "曾明", "", "x")
    assert matches("ceng", "曾明", "", "x")

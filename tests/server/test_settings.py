"""The settings pages: who may change what, what stays of what was, what the trail says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from server.models import AuditEntry, Official, Township
from server.rules.terms import Allowance, MonthDays, in_force
from server.services.sheets.roster import Roster, roster_of
from tests.conftest import NewDatabase

from .test_web_desk import post, token
from .test_web_pages import statements
from .web_seed import GROUPS, World, make_world, shanghai

TABS = (
    "/settings/shifts", "/settings/roster", "/settings/exceptions", "/settings/holidays",
    "/settings/rules", "/settings/groups", "/settings/sites", "/settings/roster/A008",
)  # fmt: skip
APRICOT = "杏树村 Xingshu village"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("settings"), url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


def roster(world: World) -> Roster:
    with world.app.extensions["quxiang"].database.session() as session:
        return roster_of(session, session.scalars(select(Township).order_by(Township.id)).first())



def refused(browser: FlaskClient, page: str, action: str, **fields: str) -> str:
    """The page that comes back where a form is refused."""
    data = {"csrf_token": token(browser, page), **fields}
    answer = browser.post(action, data=data, content_type="multipart/form-data")
    assert answer.status_code == 400
    return answer.text


def trail(world: World, what: str) -> list[tuple[str, str]]:
    """Who did `what` to what, oldest first."""
    with world.app.extensions["quxiang"].database.session() as session:
        rows = session.scalars(select(AuditEntry).where(AuditEntry.what == what))
        return [(row.who, row.target) for row in rows]


def test_all_roles_read_and_inspectors_change_nothing(world: World) -> None:
    stranger = world.app.test_client()
    assert all(stranger.get(path).status_code == 303 for path in TABS)
    for role, lang in (("clerk", "zh"), ("inspector", "zh"), ("leader", "en"), ("admin", "en")):
        browser = world.client(role, lang)
        assert browser.get("/settings").status_code == 303
        for path in TABS:
            page = browser.get(path)
            assert page.status_code == 200, path
            if role == "inspector":
                main = page.text.split("<main", 1)[1]
                assert 'method="post"' not in main, f"{path}: an inspector finds no form"


def test_shifts_are_made_and_never_edited(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/shifts"
    night = {"name": "夜班", "start": "20:00", "end": "08:00", "late": "10", "early": "5",
             "visits": "2"}  # fmt: skip
    assert post(world.client("inspector"), "/findings", page, **night) == 403
    assert post(clerk, page, page, **night) == 303
    assert "班次不合理" in refused(clerk, page, page, **{**night, "late": "999"})
    shown = clerk.get(page).text
    assert "20:00–次日 08:00" in shown
    (made,) = roster(world).shifts.values()
    assert (made.start_min, made.end_min, made.late_min, made.early_min, made.visits) == (
        1200, 1920, 10, 5, 2,
    )  # fmt: skip
    assert trail(world, "add_shift") == [("clerk", f"{made.id} 夜班 1200-1920")]
    assert 'value="20:00"' in clerk.get(f"{page}?like={made.id}").text


def test_a_pattern_changes_from_today_on(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/roster/A008"
    fields = {"site": "石头村", "first": "2026-11-23", "weekday": "0"}
    action = f"{page}/pattern"
    past = {**fields, "first": "2026-11-18"}
    assert "排班只能从今天或以后起改变" in refused(clerk, page, action, **past)
    assert post(clerk, page, action, **fields) == 303
    person = roster(world).by_code["A008"]
    assert {p.place.name: p.weekdays for p in person.patterns} == {APRICOT: 31, "石头村": 1}
    assert post(clerk, page, action, site="石头村", first="2026-11-23", end="1") == 303
    assert [p.place.name for p in roster(world).by_code["A008"].patterns] == [APRICOT]
    assert "请选择星期" in refused(clerk, page, action, site="石头村", first="2026-11-23")


def test_nobody_changes_where_they_are_expected_themselves(world: World) -> None:
    database = world.app.extensions["quxiang"].database
    from server.models import User
    from server.services.access import accounts

    with database.transaction() as session:
        place = session.scalars(select(User).where(User.name == "clerk")).one().township
        accounts.add_user(session, place, "cadre", "clerk", "correct horse battery", world.hand(),
                          "A009", must_change=False)  # fmt: skip
    own = world.client("cadre")
    off = {"official": "A009", "first": "2026-11-20", "what": "off"}
    assert post(own, "/settings/exceptions", "/settings/exceptions", **off) == 403
    page = "/settings/roster/A009"
    assert post(own, page, f"{page}/pattern", site="石头村", first="2026-11-23", end="1") == 403
    assert post(own, page, f"{page}/active", active="0") == 403


def test_exceptions_are_entered_for_days_and_taken_back(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/exceptions"
    fields = {"official": "A010", "first": "2026-11-23", "last": "2026-11-25", "what": "at",
              "site": "石头村", "reason": "防汛"}  # fmt: skip
    assert post(clerk, page, page, **fields) == 303
    shown = clerk.get(f"{page}?first=2026-11-20").text
    assert shown.count("防汛") == 3
    back = {"official": "A010", "first": "2026-11-24", "what": "pattern"}
    assert post(clerk, page, page, **back) == 303
    assert clerk.get(f"{page}?first=2026-11-20").text.count("防汛") == 2
    assert refused(clerk, page, page, **{**fields, "last": "2027-11-25"})
    assert post(clerk, page, page, **{**fields, "official": "B001"}) == 404, "of the next township"
    assert clerk.get(f"{page}?first=2026-01-01&last=2026-12-31").status_code == 400


def test_holidays_of_the_notice_and_of_the_clerk(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/holidays"
    shown = clerk.get(page).text
    assert "2026年2月14日 星期六" in shown, "made up for Spring Festival"
    assert "春节" in shown
    assert "尚未收录 2150 年" in clerk.get(f"{page}?year=2150").text
    entered = {"first": "2026-12-10", "last": "2026-12-11", "what": "holiday", "name": "乡庆"}
    assert post(clerk, page, page, **entered) == 303
    assert clerk.get(page).text.count("乡庆") == 2
    assert not roster(world).calendar.is_working(shanghai(11, "12:00", 12).date())
    assert post(clerk, page, page, first="2026-12-10", what="back") == 303
    assert clerk.get(page).text.count("乡庆") == 1
    assert clerk.get(f"{page}?year=x").status_code == 400


def test_a_clerk_proposes_a_rule_and_another_decides(world: World) -> None:
    clerk, leader, page = world.client("clerk"), world.client("leader"), "/settings/rules"
    asked = {"kind": "allowance", "yuan": "40.5", "minutes": "120", "at_village": "1",
             "first": "2026-12-01", "note": "县财〔2026〕9号"}  # fmt: skip
    day = shanghai(2, "12:00", 12).date()
    assert post(world.client("inspector"), "/findings", page, **asked) == 403
    assert post(clerk, page, page, **asked) == 303
    assert in_force(roster(world).terms, Allowance, day).fen == 3500, "proposed, not in force"
    assert post(clerk, "/settings/shifts", "/settings/rules/1/decide", answer="approve") == 403
    assert post(leader, page, "/settings/rules/1/decide", answer="approve") == 303
    rule = in_force(roster(world).terms, Allowance, day)
    assert (rule.fen, rule.min_minutes, rule.late_counts) == (4050, 120, False)
    assert "已有决定" in refused(leader, page, "/settings/rules/1/decide", answer="refuse")
    assert in_force(roster(world).terms, Allowance, day).fen == 4050, "decided once"
    assert post(world.client("stranger"), "/settings/shifts", "/settings/rules/1/decide",
                answer="approve") == 404  # fmt: skip
    assert [who for who, _ in trail(world, "approve_rule")] == ["leader"]


def test_a_leader_sets_a_rule_at_once_and_numbers_are_bounded(world: World) -> None:
    leader, page = world.client("leader"), "/settings/rules"
    day = shanghai(2, "12:00", 12).date()
    assert post(leader, page, page, kind="month_days", days="20", first="2026-12-01") == 303
    assert in_force(roster(world).terms, MonthDays, day).days == 20
    for wrong in ({"kind": "month_days", "days": "32"}, {"kind": "month_days", "days": "x"},
                  {"kind": "allowance", "yuan": "1e9", "at_village": "1"}, {"kind": "x"},
                  {"kind": "usual_shifts", "office": "999"}):  # fmt: skip
        assert post(leader, page, page, first="2026-12-01", **wrong) in (400, 404)
    assert in_force(roster(world).terms, MonthDays, day).days == 20
    assert len(trail(world, "set_rule")) == 1


def test_groups_have_leader_deputy_members_and_sites(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/groups"
    number = next(g.id for g in roster(world).groups if g.name == GROUPS[3])
    fields = {"name": "第三组", "leader": "A019", "deputy": "A020", "at_least": "1",
              "sites": "石头村"}  # fmt: skip
    assert post(clerk, page, f"{page}/{number}", **fields) == 303
    assert post(clerk, page, f"{page}/{number}/member", official="A002") == 303
    held = roster(world)
    group = next(g for g in held.groups if g.id == number)
    assert (group.name, group.leader, group.deputy, group.at_least) == ("第三组", "A019", "A020", 1)
    assert held.by_code["A002"].group == "第三组"
    assert post(clerk, page, f"{page}/{number}", **{**fields, "leader": "B001"}) == 404
    taken = {**fields, "name": GROUPS[0]}
    assert "该名称已被使用" in refused(clerk, page, f"{page}/{number}", **taken)
    assert "第三组" in clerk.get(f"{page}?edit={number}").text


def test_particulars_change_and_the_trail_keeps_what_was(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/roster/A011"
    person = roster(world).by_code["A011"]
    fields = {"name": person.name, "title": "第一书记", "phone": person.phone,
              "duties": "低保、医保", "households": "64", "work_group": person.group}  # fmt: skip
    assert post(clerk, page, page, **fields) == 303
    held = roster(world).by_code["A011"]
    assert (held.title, held.duties, held.households) == ("第一书记", "低保、医保", 64)
    (said,) = [target for _, target in trail(world, "edit_official")]
    assert said == (f"A011 title: {person.title} → 第一书记; duties:  → 低保、医保; "
                    "households:  → 64")  # fmt: skip
    assert 'value="99999"' in refused(clerk, page, page, **{**fields, "households": "99999"})
    assert roster(world).by_code["A011"].households == 64
    strange = "/settings/roster/B001"
    assert clerk.get(strange).status_code == 404
    assert post(clerk, page, strange, **fields) == 404


def test_officials_come_and_go_and_past_days_keep_them(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/roster"
    assert post(clerk, page, page, official="N-1", name="新来", work_group=GROUPS[0]) == 303
    assert "该编号已被使用" in refused(clerk, page, page, official="N-1", name="又来")
    assert 'value="空格"' in refused(clerk, page, page, official="N 1", name="空格")
    one = "/settings/roster/A012"
    assert post(clerk, one, f"{one}/active", active="0") == 303
    held = roster(world)
    assert not held.by_code["A012"].active
    today, before = (shanghai(n, "12:00").date() for n in (19, 18))
    assert held.expected(held.by_code["A012"], today) == ()
    known = held.by_code["A012"].patterns
    assert [p.last for p in known] == [before], "what held until yesterday still says so"
    assert post(clerk, one, f"{one}/active", active="1") == 303
    assert roster(world).by_code["A012"].active


def test_sites_are_added_and_renamed(world: World) -> None:
    clerk, page = world.client("clerk"), "/settings/sites"
    assert post(clerk, page, page, name="新村", kind="village") == 303
    assert "该名称已被使用" in refused(clerk, page, page, name="新村", kind="village")
    number = next(n for n, p in roster(world).places.items() if p.name == "新村")
    assert post(clerk, page, f"{page}/{number}", name="新新村") == 303
    assert roster(world).places[number].name == "新新村"
    assert trail(world, "rename_site") == [("clerk", "新村 → 新新村")]
    assert post(world.client("stranger"), "/settings/shifts", f"{page}/{number}", name="x") == 403


def test_their_queries_do_not_grow_with_the_roster(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    large = make_world(tmp_path, people=300, url=new_database())
    for path in TABS:
        assert statements(large, path) <= statements(world, path), path
    with large.app.extensions["quxiang"].database.session() as session:
        assert session.query(Official).count() == 301

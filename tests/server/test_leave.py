"""Leave: decided by other eyes than those that entered it, never by the person; shown by pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import partial

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from attendance.days import day_end_ms, day_start_ms, from_ms
from attendance.statuses import Status
from server.errors import NotAllowed
from server.models import AuditEntry, LeaveDecision, LeaveRow, User
from server.services.access import accounts
from server.services.township import leave
from server.services.township.deciders import deciders
from server.services.township.townships import only_township
from server.web.picks import PAGE
from tests.conftest import NewDatabase

from .conftest import PASSWORD, Machine, Office, ms
from .test_imports import applied, previewed, xlsx
from .test_web_desk import token
from .web_seed import World, make_world

ANOTHER, CLERK = "没有其他领导账号", "党政办登记"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("leave"), url=new_database())
    yield made
    made.app.extensions["quxiang"].database.close()


def add_leader(world: World, name: str, official: str | None = None) -> None:
    with world.app.extensions["quxiang"].database.transaction() as session:
        accounts.add_user(session, only_township(session, "示例乡"), name, "leader", PASSWORD,
                          world.hand(), official, must_change=False)  # fmt: skip


def entered(
    world: World, browser: FlaskClient, code: str, last: str = "2026-12-01",
    first: str = "2026-12-01",
) -> int:  # fmt: skip
    """Enters leave by the form, a day of it at least; the request's number."""
    form = {"official": code, "status": "on_leave", "first": first, "last": last,
            "reason": "事假", "csrf_token": token(browser, "/leave")}  # fmt: skip
    assert browser.post("/leave", data=form).status_code == 303
    with world.app.extensions["quxiang"].database.session() as session:
        return max(row.id for row in session.query(LeaveRow).filter_by(official=code))


def decide(browser: FlaskClient, number: int, answer: str = "approve") -> tuple[int, str]:
    data = {"answer": answer, "csrf_token": token(browser, "/leave")}
    got = browser.post(f"/leave/{number}/decide", data=data)
    return got.status_code, got.text


def decision_of(browser: FlaskClient, code: str) -> str:
    """What the page has in the last column of an official's row."""
    rows = re.findall(r"<tr>.*?</tr>", browser.get("/leave").text, re.S)
    (row,) = [row for row in rows if f"/officials/{code}" in row]
    return row.rsplit("<td", 1)[1]


def test_who_entered_leave_does_not_decide_it_under_any_account(
    office: Office, desk: Machine
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    wang, also = office.user("wang", "leader", "wang-5"), office.user("wang2", "leader", "wang-5")
    now, day = office.clock(), timedelta(days=1)
    with office.context.database.transaction() as session:
        place = only_township(session)

        def ask(code: str, by: User) -> int:
            until = now + day
            return leave.ask(session, place, code, Status.ON_LEAVE, now, until, "", by, now).id

        def refused(number: int, by: User) -> str:
            with pytest.raises(NotAllowed) as said:
                leave.decide(session, number, True, by, now)
            return said.value.key

        by_leader, by_wang, of_wang = ask("li-4", leader), ask("li-4", wang), ask("wang-5", clerk)
        assert refused(by_leader, leader) == "entered_leave"
        assert refused(by_wang, also) == "entered_leave", "the person counts, not the account"
        assert {refused(of_wang, one) for one in (wang, also)} == {"own_leave"}
        assert refused(by_leader, clerk) == "", "a role that decides nothing"
        eyes = deciders(session, place)
        assert eyes.names("li-4", "lingdao") == ["wang", "wang2"]
        assert eyes.names("wang-5", "lingdao") == []
        for number, by in ((by_leader, wang), (by_wang, leader), (of_wang, leader)):
            leave.decide(session, number, True, by, now)
        assert {one.state for one in leave.listing(session, place)} == {"approved"}
        # A clerk who was made a leader since is who entered it all the same; one who left the
        # office decides nothing.
        entered = ask("li-4", clerk)
        promoted = session.get_one(User, clerk.id)
        promoted.role, session.get_one(User, wang.id).active = "leader", False
        session.flush()
        assert refused(entered, promoted) == "entered_leave"
        assert deciders(session, place).names("li-4", "wenshu") == ["lingdao", "wang2"]


def test_a_leader_enters_leave_that_only_another_decides(world: World) -> None:
    leader = world.client("leader")
    assert f"{ANOTHER}：登记人不能审批" in leader.get("/leave").text
    number = entered(world, leader, "A030")
    alone = decision_of(leader, "A030")
    assert "/decide" not in alone
    assert ANOTHER in alone
    assert CLERK in alone
    assert "没有可审批的领导" in decision_of(world.client("clerk"), "A030")
    status, text = decide(leader, number)
    assert status == 403
    assert "这条申请由您登记，须由另一位领导审批" in text
    assert decide(leader, number, "refuse")[0] == 403

    add_leader(world, "fuzhi")
    other = world.client("fuzhi")
    assert "您登记的请假由 fuzhi 审批" in leader.get("/leave").text
    assert "由您登记，须由 fuzhi 审批" in decision_of(leader, "A030")
    assert "for fuzhi to decide" in decision_of(world.client("leader", "en"), "A030")
    assert "等待领导审批" in decision_of(world.client("clerk"), "A030")
    assert f"/leave/{number}/decide" in decision_of(other, "A030")
    assert decide(other, number)[0] == 303
    with world.app.extensions["quxiang"].database.session() as session:
        assert [one.by for one in session.query(LeaveDecision)] == ["fuzhi"]
        noted = [n.who for n in session.query(AuditEntry) if n.what.endswith("e_leave")]
    assert noted == ["fuzhi"], "what was refused decided nothing"


def test_an_official_with_an_account_does_not_decide_their_own(world: World) -> None:
    clerk, leader = world.client("clerk"), world.client("leader")  # the cadre A001
    number = entered(world, clerk, "A001")
    alone = decision_of(leader, "A001")
    assert "/decide" not in alone
    assert "本人的申请不能自己审批" in alone
    assert "开设账号" in alone
    status, text = decide(leader, number)
    assert status == 403
    assert "这是您本人的申请" in text
    for name in ("fuzhi", "zhuren"):
        add_leader(world, name)
    assert "本人的申请，须由 fuzhi 或 zhuren 审批" in decision_of(leader, "A001")
    assert decide(world.client("zhuren"), number)[0] == 303


def test_who_imported_leave_does_not_decide_it(world: World) -> None:
    leader = world.client("leader")
    body = xlsx(["编号", "类别", "开始日期", "结束日期", "事由"],
                ["A020", "请休假", "2026-12-01", "2026-12-02", "年休假"])  # fmt: skip
    where, text = previewed(leader, "leave", body)
    assert f"{ANOTHER}：登记人不能审批" in text
    add_leader(world, "fuzhi")
    where, text = previewed(leader, "leave", body)
    assert "您登记的请假由 fuzhi 审批" in text
    assert applied(leader, where, text).status_code == 303
    with world.app.extensions["quxiang"].database.session() as session:
        number = session.query(LeaveRow).one().id
    assert decide(leader, number)[0] == 403
    assert "由您登记，须由 fuzhi 审批" in decision_of(leader, "A020")
    assert decide(world.client("fuzhi"), number)[0] == 303


def test_whoever_may_import_leave_has_the_form_too(world: World) -> None:
    for role in ("admin", "clerk", "inspector", "leader"):
        browser = world.client(role)
        form = 'action="/leave"' in browser.get("/leave").text
        assert form == ('value="leave"' in browser.get("/settings/import").text), role
        assert form == (role != "inspector")


def test_approved_leave_that_has_begun_is_withdrawn_by_who_could_have_decided_it(
    office: Office, desk: Machine
) -> None:
    clerk, admin = office.user("wenshu", "clerk"), office.user("guanli", "admin")
    leader, other = office.user("lingdao", "leader"), office.user("fuzhi", "leader")
    of_li = office.user("li", "leader", "li-4")
    now, day = office.clock(), timedelta(days=1)
    with office.context.database.transaction() as session:
        place = only_township(session)

        def ask(start: int, by: User = clerk, decided: bool | None = True, days: int = 1) -> int:
            begins = now + start * day
            made = leave.ask(
                session, place, "li-4", Status.ON_LEAVE, begins, begins + days * day, "", by, now
            )
            if decided is not None:
                leave.decide(session, made.id, decided, other if by is leader else leader, now)
            return made.id

        def withdraw(number: int, by: User) -> str:
            try:
                leave.step(session, number, "withdrawn", "", by, now)
            except NotAllowed as error:
                return error.key
            return "done"

        begun, past, by_leader = ask(0), ask(-40), ask(-80, leader)
        for number in (begun, past, by_leader):
            for who in (clerk, admin):
                assert withdraw(number, who) == "begun_leave"
            assert withdraw(number, of_li) == "own"
        assert withdraw(by_leader, leader) == "begun_leave", "who entered it"
        assert {one.state for one in leave.listing(session, place)} == {"approved"}
        assert [withdraw(*each) for each in ((begun, leader), (past, other), (by_leader, other))] \
            == ["done"] * 3  # fmt: skip
        long = ask(-20, days=12)
        assert withdraw(long, clerk) == "begun_leave", "the county has yet to answer"
        leave.step(session, long, "county_approved", "县字 1 号", clerk, now)
        assert withdraw(long, clerk) == "begun_leave"
        for free in (ask(-120, decided=None), ask(-160, decided=False), ask(40), ask(80, leader)):
            assert withdraw(free, clerk) == "done", "undecided, refused, or yet to begin"


def workdays(first: date, last: date) -> tuple[datetime, datetime]:
    return from_ms(day_start_ms(first)), from_ms(day_end_ms(last))


def test_leave_is_not_cut_up_to_stay_with_the_township(office: Office, desk: Machine) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    now = office.clock()
    with office.context.database.transaction() as session:
        place = only_township(session)

        def ask(first: date, last: date, code: str = "li-4", answer: bool | None = True,
                status: Status = Status.ON_LEAVE) -> int:  # fmt: skip
            made = leave.ask(session, place, code, status, *workdays(first, last), "", clerk, now)
            if answer is not None:
                leave.decide(session, made.id, answer, leader, now)
            return made.id

        def stand(number: int) -> tuple[int, int, str, str]:
            one = next(one for one in leave.listing(session, place) if one.id == number)
            span = ms(one.start), ms(one.end) - 1
            (same,) = [
                a for a in leave.absences(session, place, *span, one.official)
                if (a.start_ms, a.end_ms) == (span[0], span[1] + 1)
            ]  # fmt: skip
            assert same.approved == {"approved": True, "refused": None, "withdrawn": None}.get(
                one.state, False
            ), "sheets say the same as the page"
            return one.days, one.counted, one.approver, one.state

        march = partial(date, 2026, 3)
        pieces = [
            ask(march(23), march(25)), ask(march(26), march(30)), ask(march(31), date(2026, 4, 2))
        ]  # fmt: skip
        assert [stand(number) for number in pieces] == [
            (3, 3, "township", "approved"), (3, 6, "county", "county"), (3, 9, "county", "county"),
        ]  # fmt: skip
        other = ask(march(26), march(30), "zhang-3")
        trip = ask(march(18), march(20), status=Status.BUSINESS_TRIP)
        assert stand(other) == (3, 3, "township", "approved"), "another's leave"
        assert stand(trip) == (3, 3, "township", "approved"), "a trip is no leave"
        # A working day between; over a weekend; and over the seven days of October.
        apart = ask(date(2026, 4, 7), date(2026, 4, 9)), ask(date(2026, 4, 13), date(2026, 4, 14))
        assert [stand(number)[1] for number in apart] == [3, 2]
        over = ask(date(2026, 9, 29), date(2026, 9, 30)), ask(date(2026, 10, 8), date(2026, 10, 9))
        assert [stand(number)[1] for number in over] == [2, 4]
        # The piece between two is the one entered last; those before it stay as they were decided.
        may = partial(date, 2026, 5)
        early, late = ask(may(11), may(13)), ask(may(18), may(20))
        between = ask(may(14), may(15))
        assert stand(between) == (2, 8, "county", "county")
        assert [stand(n) for n in (early, late)] == [(3, 3, "township", "approved")] * 2
        # What is refused or not taken adjoins nothing; what waits for a leader does.
        june = partial(date, 2026, 6)
        first = ask(june(8), june(10), answer=False)
        second = ask(june(11), june(15))
        assert stand(second) == (3, 3, "township", "approved")
        third = ask(june(16), june(17), answer=None)
        fourth = ask(june(18), june(18))
        assert stand(fourth) == (1, 6, "county", "county")
        leave.step(session, third, "withdrawn", "", clerk, now)
        assert stand(fourth) == (1, 1, "township", "approved")
        assert stand(first)[3] == "refused"
        # The county's no stands though what adjoined is gone.
        leave.step(session, pieces[1], "county_refused", "县字 2 号", clerk, now)
        leave.step(session, pieces[0], "withdrawn", "", clerk, now)
        assert stand(pieces[1]) == (3, 3, "township", "refused")
        assert stand(pieces[2]) == (3, 3, "township", "approved")


def test_however_much_leave_adjoins_it_takes_no_more_questions(
    office: Office, desk: Machine
) -> None:
    clerk = office.user("wenshu", "clerk")
    now, first = office.clock(), date(2026, 3, 2)
    database = office.context.database
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    def asked() -> list[int]:
        event.listen(database.engine, "before_cursor_execute", note)
        counts = []
        try:
            with database.session() as session:
                place = only_township(session)
                for look in (
                    lambda: leave.listing(session, place),
                    lambda: leave.absences(session, place, ms(workdays(first, first)[0]), 2**45),
                ):
                    look()
                    seen.clear()
                    look()
                    counts.append(len(seen))
        finally:
            event.remove(database.engine, "before_cursor_execute", note)
        return counts

    def fill(days: range) -> None:
        with database.transaction() as session:
            place = only_township(session)
            for n in days:
                for code in ("li-4", "zhang-3"):
                    day = first + timedelta(days=n)
                    leave.ask(session, place, code, Status.ON_LEAVE, *workdays(day, day), "", clerk,
                              now)  # fmt: skip

    fill(range(1))
    few = asked()
    fill(range(1, 40))
    assert asked() == few
    with database.session() as session:
        place = only_township(session)
        last = leave.listing(session, place)[0]
        assert (last.days, last.counted) == (1, 29), "forty days with five weekends and a holiday"


def test_who_decided_for_the_township_does_not_enter_the_countys_answer(world: World) -> None:
    clerk, leader = world.client("clerk"), world.client("leader")
    add_leader(world, "wang", "A031")
    add_leader(world, "wang2", "A031")
    wang, also = world.client("wang"), world.client("wang2")
    number = entered(world, clerk, "A030", "2026-12-10")
    answer = 'value="county_approved"'

    def county(browser: FlaskClient) -> tuple[int, str]:
        data = {"step": "county_approved", "reference": "县字 1 号",
                "csrf_token": token(browser, "/leave")}  # fmt: skip
        got = browser.post(f"/leave/{number}/step", data=data)
        return got.status_code, got.text

    assert decide(wang, number)[0] == 303
    for own in (wang, also):
        shown = decision_of(own, "A030")
        assert answer not in shown
        assert "县级答复须由其他人登记" in shown
        status, text = county(own)
        assert status == 403
        assert "县级答复须由其他人登记" in text
    for other in (clerk, leader):
        assert answer in decision_of(other, "A030")
        assert "县级答复须由其他人登记" not in decision_of(other, "A030")
    assert county(leader)[0] == 303
    assert "县字 1 号" in decision_of(clerk, "A030")


def test_the_page_says_how_many_days_were_counted(world: World) -> None:
    clerk = world.client("clerk")
    entered(world, clerk, "A032", "2026-12-03")

    def days(browser: FlaskClient) -> list[str]:
        rows = re.findall(r"<tr>.*?</tr>", browser.get("/leave").text, re.S)
        mine = [row for row in rows if "/officials/A032" in row]
        return [re.sub(r"<[^>]+>", " ", row.split("<td")[2].split("</td>")[0]) for row in mine]

    (alone,) = days(clerk)
    assert "相连" not in alone
    entered(world, clerk, "A032", "2026-12-06", "2026-12-04")
    second, first = days(clerk)
    assert first == alone
    assert "连同此前登记的相连请假共 4 个工作日" in second
    assert "须县级批准" in second
    assert "with the leave before it: 4 working days" in days(world.client("clerk", "en"))[0]


def test_the_page_offers_a_withdrawal_to_who_may_make_it(world: World) -> None:
    clerk, leader = world.client("clerk"), world.client("leader")
    number = entered(world, clerk, "A030")
    assert decide(leader, number)[0] == 303

    def withdraw(browser: FlaskClient) -> tuple[int, str]:
        data = {"step": "withdrawn", "csrf_token": token(browser, "/leave")}
        got = browser.post(f"/leave/{number}/step", data=data)
        return got.status_code, got.text

    assert 'value="withdrawn"' in decision_of(clerk, "A030"), "it has not begun"
    world.hand.moment += timedelta(days=20)
    clerk, leader = world.client("clerk"), world.client("leader")
    shown = decision_of(clerk, "A030")
    assert 'value="withdrawn"' not in shown
    assert "已批准且已开始" in shown
    assert "has begun: only a leader" in decision_of(world.client("clerk", "en"), "A030")
    status, text = withdraw(clerk)
    assert status == 403
    assert "只能由登记人和本人以外的领导撤销" in text
    shown = decision_of(leader, "A030")
    assert 'value="withdrawn"' in shown
    assert "已批准且已开始" not in shown
    assert withdraw(leader)[0] == 303
    assert "已销假" in decision_of(clerk, "A030")


def test_leave_is_shown_by_pages_newest_first(world: World) -> None:
    database = world.app.extensions["quxiang"].database
    with database.transaction() as session:
        place = only_township(session, "示例乡")
        clerk = session.query(User).filter_by(name="clerk").one()
        for n in range(PAGE + 2):
            start = world.hand() + timedelta(days=n)
            leave.ask(session, place, "A020", Status.ON_LEAVE, start, start + timedelta(hours=1),
                      f"第{n}次", clerk, world.hand())  # fmt: skip
    browser = world.client("clerk")
    for query in ("", "&state=pending"):
        said = [re.findall(r">第(\d+)次<", browser.get(f"/leave?page={n}{query}").text)
                for n in (1, 2, 3)]  # fmt: skip
        assert [len(one) for one in said] == [PAGE, 2, 0]
        assert [int(n) for one in said for n in one] == list(range(PAGE + 1, -1, -1))
    with database.transaction() as session:
        clerk = session.query(User).filter_by(name="clerk").one()
        leader = session.query(User).filter_by(name="leader").one()
        first, second = sorted(row.id for row in session.query(LeaveRow))[:2]
        leave.step(session, first, "withdrawn", "", clerk, world.hand())
        leave.decide(session, second, False, leader, world.hand())
        place = only_township(session, "示例乡")
        assert leave.number(session, place) == PAGE + 2
        assert leave.number(session, place, undecided=True) == PAGE
    assert browser.get("/leave?state=pending&page=2").text.count("次<") == 0

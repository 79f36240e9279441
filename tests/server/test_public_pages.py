"""What is public: fields, search, sites cut off, the duty notice, visits; and what never is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import select

from attendance.days import day_of, to_ms
from attendance.statuses import Status
from server.errors import InputInvalid, NotAllowed
from server.models import Attachment, Official, Township, User
from server.services.access import limits
from server.services.public import duty, publication, visits
from server.services.public.matters import likeness, matter_of
from server.services.public.publicboard import PublicRow, public_rows, ranked
from tests.server.web_seed import World, fill, make_world, shanghai, token_of


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("public"))
    fill(made)
    return made


@pytest.fixture
def world(filled: World) -> Iterator[World]:
    before = filled.hand.moment
    yield filled
    filled.hand.moment = before


def session_of(world: World):  # type: ignore[no-untyped-def]
    return world.app.extensions["quxiang"].database.transaction()


def township_of(session) -> Township:  # type: ignore[no-untyped-def]
    return session.scalars(select(Township).where(Township.name == "示例乡")).one()


def user_of(session, name: str) -> User:  # type: ignore[no-untyped-def]
    return session.scalars(select(User).where(User.name == name)).one()


FAR = {"REMOTE_ADDR": "8.8.8.8"}


def test_the_wall_board_hides_since_village_and_reason(world: World) -> None:
    with session_of(world) as session:
        rows = public_rows(session, township_of(session), world.hand())
    assert all(r.since is None and r.village == "" and r.reason is None for r in rows)
    assert any(r.title for r in rows)
    assert any(r.phone for r in rows)


def test_a_field_shows_once_chosen_and_a_leaves_reason_never(world: World) -> None:
    with session_of(world) as session:
        place, leader = township_of(session), user_of(session, "leader")
        every = frozenset(publication.FIELDS)
        publication.choose(session, place, every, False, leader, world.hand())
        rows = public_rows(session, place, world.hand())
        assert any(r.village for r in rows)
        assert any(r.since for r in rows)
        assert any(r.reason for r in rows if r.status == "business_trip")
        assert all(r.reason is None for r in rows if r.status == "on_leave")
        few = publication.choose(session, place, {"phone"}, False, leader, world.hand())
        assert few.fields == {"phone"}
        assert all(not r.title and not r.work_group for r in public_rows(
            session, place, world.hand()))  # fmt: skip
        session.rollback()


def test_only_a_leader_or_administrator_of_the_township_decides(world: World) -> None:
    with session_of(world) as session:
        place = township_of(session)
        for name in ("clerk", "inspector", "stranger"):
            with pytest.raises(NotAllowed):
                publication.choose(session, place, [], False, user_of(session, name), world.hand())
        with pytest.raises(InputInvalid):
            publication.choose(
                session, place, ["leave_reason"], False, user_of(session, "leader"), world.hand()
            )
        session.rollback()


def test_beyond_the_own_network_only_with_the_signed_assessment(world: World) -> None:
    browser = world.client()
    for path in ("/", "/board.json", "/board/rows", "/tv", "/tv/rows", "/duty", "/board/events"):
        assert browser.get(path, environ_base=FAR).status_code == 403, path
        assert browser.get(path, environ_base={"REMOTE_ADDR": "192.168.1.7"}).status_code == 200
    staff = world.client("inspector")
    assert staff.get("/", environ_base=FAR).status_code == 200
    assert world.client("stranger").get("/", environ_base=FAR).status_code == 403
    with session_of(world) as session:
        place, leader = township_of(session), user_of(session, "leader")
        with pytest.raises(InputInvalid, match="assessment"):
            publication.choose(session, place, publication.USUAL, True, leader, world.hand())
        paper = Attachment(township_id=place.id, name="评估.pdf", mime="application/pdf",
                           sha256="0" * 64, content=b"%PDF", by="leader", at_ms=1)  # fmt: skip
        session.add(paper)
        session.flush()
        today = day_of(to_ms(world.hand()))
        with pytest.raises(InputInvalid, match="future"):
            publication.choose(
                session, place, publication.USUAL, True, leader, world.hand(),
                assessment=paper.id, signer="王书记", signed_day=today + timedelta(1),
            )  # fmt: skip
        decided = publication.choose(
            session, place, publication.USUAL, True, leader, world.hand(),
            assessment=paper.id, signer="王书记", signed_day=today,
        )  # fmt: skip
        assert decided.beyond
    assert browser.get("/", environ_base=FAR).status_code == 200
    with session_of(world) as session:
        place, leader = township_of(session), user_of(session, "leader")
        publication.choose(session, place, publication.USUAL, False, leader, world.hand())
        again = publication.choose(session, place, publication.USUAL, True, leader, world.hand())
        assert again.signer == "王书记"
        publication.choose(session, place, publication.USUAL, False, leader, world.hand())


@pytest.mark.parametrize(
    ("address", "near"),
    [("127.0.0.1", True), ("10.1.2.3", True), ("::1", True), ("fd00::1", True),
     ("::ffff:192.168.0.1", True), ("8.8.8.8", False), ("::ffff:8.8.8.8", False), ("", False),
     ("localhost", False), ("2400:3200::1", False)],
)  # fmt: skip
def test_what_counts_as_the_own_network(address: str, near: bool) -> None:
    assert publication.is_near(address) is near


def test_a_site_that_is_cut_off_is_named_with_when_it_was_last_heard(world: World) -> None:
    world.hand.moment = shanghai(20, "11:00")
    world.kiosks[0].contact()
    page = world.client(lang="en").get("/").text
    assert "Cut off at present" in page
    assert re.search(r"sites</b> \(last heard at .* to .*\)", page), "both ends"
    world.hand.moment = shanghai(21, "06:00")
    world.kiosks[1].contact()
    world.hand.moment = shanghai(21, "11:00")
    page = world.client(lang="en").get("/").text
    assert re.search(r"\(last heard at 20 Nov \d\d:\d\d to today 06:00\)", page), "of two days"
    assert "杏树村 Xingshu" not in page, "where the village is not public, its site has no name"
    before = world.client().get("/").headers["Quxiang-Version"]
    for kiosk in world.kiosks:
        kiosk.contact()
    after = world.client(lang="en").get("/")
    assert "Cut off at present" not in after.text
    assert after.headers["Quxiang-Version"] != before


def test_people_are_found_by_name_letters_telephone_and_matter(world: World) -> None:
    with session_of(world) as session:
        one = session.scalars(select(Official).where(Official.official == "A002")).one()
        one.duties = "林业、退耕还林"
    find = world.client()
    for query in (one.name, "谁管林业", "林业", "退耕还林怎么办", one.phone[-6:]):
        page = find.get("/", query_string={"q": query}).text
        assert one.name in page, query
        assert page.count('class="person') < 36, query
    assert 'class="person' not in find.get("/?q=没有这回事").text
    long = find.get("/", query_string={"q": "<script>" * 50})
    assert long.status_code == 200
    assert "<script>&" not in long.text
    assert "&lt;script&gt;" in long.text


def test_letters_of_a_name() -> None:
    assert likeness("lishimin", "李世民", "") == 70
    assert likeness("LSM", "李世民", "") == 70
    assert likeness("ls", "李世民", "") == 70
    assert likeness("zq", "曾强", "") == 70  # of a surname with two readings
    assert likeness("cq", "曾强", "") == 70
    assert likeness("x", "李世民", "") == 0
    assert matter_of("谁负责林业工作？") in ("林业", "林业?")


@given(st.text(max_size=60), st.text(max_size=10), st.text(max_size=20))
def test_no_question_breaks_the_search(query: str, name: str, duties: str) -> None:
    row = PublicRow(name, "", "138", "unknown", "off", "dash", None, "", None, duties=duties)
    assert all(found is row for found in ranked([row], query))


def test_ones_own_page_is_behind_a_name_that_says_nothing(world: World) -> None:
    with session_of(world) as session:
        one = session.scalars(select(Official).where(Official.official == "A003")).one()
        page = publication.page_of(session, one)
        assert publication.page_of(session, one) == page
    shown = world.client(lang="en").get(f"/o/{page}")
    assert one.name in shown.text
    assert "A003" not in shown.text
    assert world.client().get("/o/" + "0" * 12).status_code == 404
    assert world.client().get(f"/o/{page}", environ_base=FAR).status_code == 403
    with session_of(world) as session:
        session.get_one(Official, one.id).active = False
    assert world.client().get(f"/o/{page}").status_code == 404
    with session_of(world) as session:
        session.get_one(Official, one.id).active = True


def test_the_duty_roster_and_its_notice(world: World) -> None:
    clerk = world.client("clerk", lang="en")
    page = clerk.get("/duty/roster")
    form = {"csrf_token": token_of(page.text), "day": "2026-11-20", "leader": "A001",
            "first": "A002", "second": ""}  # fmt: skip
    assert clerk.post("/duty/roster", data=form).status_code == 303
    notice = world.client(lang="en").get("/duty").text
    with session_of(world) as session:
        names = dict(session.execute(select(Official.official, Official.name)).all())
    assert names["A001"] in notice
    assert names["A002"] in notice
    assert "not named yet" in notice
    assert clerk.post("/duty/roster", data={**form, "second": "A002"}).status_code == 303
    with session_of(world) as session:
        held = duty.on_duty(session, township_of(session), day_of(to_ms(world.hand())))
        assert [one.official and one.official.official for one in held] == ["A001", "A002", None]
        clerk_user = user_of(session, "clerk")
        same = {"leader": "A001", "first": "A002", "second": None}
        day = day_of(to_ms(world.hand()))
        place = township_of(session)
        assert duty.assign(session, place, day, same, clerk_user, world.hand()) == 0
        gone = {"leader": None}
        assert duty.assign(session, place, day, gone, clerk_user, world.hand()) == 1
        assert duty.on_duty(session, place, day)[0].official is None
        session.rollback()
    inspector = world.client("inspector")
    assert inspector.post("/duty/roster", data=form).status_code in (400, 403)
    assert clerk.post("/duty/roster", data={**form, "leader": "B001"}).status_code == 404


def test_a_visit_gets_a_number_that_tells_only_its_state(world: World) -> None:
    clerk = world.client("clerk", lang="en")
    token = token_of(clerk.get("/visits").text)
    form = {"csrf_token": token, "visitor": "赵老汉", "phone": "13511112222",
            "matter": "宅基地纠纷", "due": "2026-12-01"}  # fmt: skip
    assert clerk.post("/visits", data=form).status_code == 303
    with session_of(world) as session:
        one = visits.received(session, township_of(session))[0]
    public = world.client(lang="en")
    page = public.get("/duty", query_string={"number": one.visit.number.lower()}).text
    assert "received" in page
    for secret in ("赵老汉", "13511112222", "宅基地纠纷", "clerk"):
        assert secret not in page
    path = f"/visits/{one.visit.id}"
    step = {"csrf_token": token, "state": "done", "note": "私下备注", "official": "A002"}
    refused = clerk.post(path, data=step)
    assert refused.status_code == 400, "what is done has an outcome"
    assert "私下备注</textarea>" in refused.text
    assert re.search(r'<option value="A002" selected', refused.text), "what was filled in stays"
    assert "<option" not in clerk.get("/visits").text, "everybody's name once for each visit"
    assert clerk.get(f"/visits?step={one.visit.id}").text.count('<option value="A002">') == 1
    assert clerk.post(path, data={**step, "answer": "已调解"}).status_code == 303
    page = public.get("/duty", query_string={"number": one.visit.number}).text
    assert "已调解" in page
    assert "私下备注" not in page
    stranger = world.client("stranger")
    alien = {**step, "answer": "x", "csrf_token": token_of(stranger.get("/visits").text)}
    assert stranger.post(path, data=alien).status_code == 404
    assert "赵老汉" not in stranger.get("/visits").text
    next_door = world.client(lang="en").get("/t/linxiang/duty")
    assert next_door.status_code in (200, 404)


def test_asking_for_numbers_is_bounded_over_all_workers(world: World) -> None:
    world.hand.moment += timedelta(days=1)
    public = world.client(lang="en")
    last = [public.get("/duty", query_string={"number": f"2026-{n}"}) for n in range(21)]
    assert [answer.status_code for answer in last] == [200] * 20 + [429]
    folder = world.config.data
    assert not limits.allow(folder, "visit:127.0.0.1", 20, 600, world.hand())
    assert limits.allow(folder, "visit:127.0.0.1", 20, 600, world.hand() + timedelta(minutes=10))
    assert b"127.0.0.1" not in (folder / "limits.db").read_bytes()


def test_the_first_page_is_small_and_the_television_needs_no_script(world: World) -> None:
    page = world.client().get("/")
    assert len(page.data) < 100_000
    tv = world.client().get("/tv")
    assert tv.text.count('class="tv-person"') == 36
    assert "<noscript>" in tv.text


def test_nobody_loses_their_place_on_the_board_for_a_field(world: World) -> None:
    with session_of(world) as session:
        rows = public_rows(session, township_of(session), world.hand())
    assert replace(rows[0], title="") != rows[0]
    assert {row.status for row in rows} <= {str(status) for status in Status}

"""After a mistaken identity: asked of the desk, shown on pages, until a newer enrolment comes."""

from __future__ import annotations

import json

import pytest

from attendance import wire
from attendance.reenrol import DESK_REENROLMENTS, Reenrolled, Reenrolment
from server.models import AuditEntry, FindingEvent, Township, User
from server.services.rulings import corrections, findings
from server.services.rulings.corrections import Draft
from tests.server.conftest import Kiosk, Machine, Office
from tests.server.desk_people import TODAY, at
from tests.server.web_seed import sign_in


@pytest.fixture
def people(office: Office, desk: Machine) -> dict[str, User]:
    office.user("clerk", "clerk")
    return {name: office.user(name, name) for name in ("leader", "inspector")}


def mistake(office: Office, kiosk: Kiosk) -> int:
    """zhang-3's record was li-4, as a leader found; returns the correction's number."""
    record = kiosk.record("zhang-3")
    kiosk.sync()
    with office.context.database.transaction() as session:
        township = township_of(session)
        clerk, leader = (session.query(User).filter_by(name=n).one() for n in ("clerk", "leader"))
        draft = Draft("zhang-3", TODAY, "mistaken", "录像", record_id=record.record_id,
                      really="li-4")  # fmt: skip
        made = corrections.propose(session, township, draft, clerk, office.clock())
        corrections.decide(session, made.id, True, "", leader, office.clock())
        return made.id


def township_of(session: object) -> Township:
    found = session.query(Township).order_by(Township.id).first()  # type: ignore[attr-defined]
    assert isinstance(found, Township)
    return found


def asked(desk: Machine) -> list[Reenrolment]:
    answer = desk.send("GET", DESK_REENROLMENTS)
    return wire.decode(answer.data, list[Reenrolment])


def tell(desk: Machine, finding: int, official: str, face: bool = True) -> int:
    told = Reenrolled(finding=finding, official=official, face=face)
    return desk.send("POST", DESK_REENROLMENTS, wire.encode(told)).status_code


def test_both_are_asked_for_until_the_desk_enrolled_each(
    office: Office, desk: Machine, village: Kiosk, people: dict[str, User], stranger: Machine
) -> None:
    assert asked(desk) == []
    mistake(office, village)
    rows = asked(desk)
    assert [(row.official, row.day) for row in rows] == [
        ("zhang-3", TODAY.isoformat()), ("li-4", TODAY.isoformat())
    ]  # fmt: skip
    number = rows[0].finding
    assert json.loads(stranger.send("GET", DESK_REENROLMENTS).data) == []
    assert tell(stranger, number, "zhang-3") == 404
    assert tell(desk, number + 9, "zhang-3") == 404

    browser = office.client()
    sign_in(browser, "clerk")
    assert "quxiang-enroll capture li-4" in browser.get("/officials/li-4").text
    assert browser.get("/sites").text.count(f"#finding{number}") == 2

    day_of = browser.get(f"/corrections/zhang-3?date={TODAY.isoformat()}").text
    assert day_of.count("待重新登记") == 2, "both are named where one was corrected"

    assert tell(desk, number, "li-4") == 204
    assert tell(desk, number, "li-4") == 204, "said again, it changes nothing"
    assert tell(desk, number, "wang-5") == 204, "who was never asked for"
    assert [row.official for row in asked(desk)] == ["zhang-3"]
    assert "quxiang-enroll capture" not in browser.get("/officials/li-4").text
    with office.context.database.session() as session:
        (event,) = session.query(FindingEvent).all()
        assert (event.what, event.text) == ("reenrolled", "li-4 enrolled")
        noted = session.query(AuditEntry).filter_by(what="reenrolled").all()
        assert [one.target for one in noted] == [f"№ {number} li-4 enrolled"]
        found = findings.one(session, township_of(session), number)
        assert found.state == "open", "an inspector closes it"
    assert tell(desk, number, "zhang-3", face=False) == 204
    assert asked(desk) == []


def test_a_closed_finding_and_an_undone_correction_ask_no_more(
    office: Office, desk: Machine, village: Kiosk, people: dict[str, User]
) -> None:
    first = mistake(office, village)
    with office.context.database.transaction() as session:
        township = township_of(session)
        clerk, leader = (session.query(User).filter_by(name=n).one() for n in ("clerk", "leader"))
        undo = corrections.propose(
            session, township, Draft("zhang-3", TODAY, "undo", "看错", undoes=first), clerk,
            office.clock(),
        )  # fmt: skip
    assert len(asked(desk)) == 2, "proposed is not decided"
    with office.context.database.transaction() as session:
        leader = session.query(User).filter_by(name="leader").one()
        corrections.decide(session, undo.id, True, "", leader, office.clock())
    assert asked(desk) == []
    village.clock.step(minutes=10)
    mistake(office, village)
    number = asked(desk)[0].finding
    with office.context.database.transaction() as session:
        inspector = session.query(User).filter_by(name="inspector").one()
        findings.add_event(
            session, township_of(session), number, "closed", "双胞胎", inspector, at(TODAY)
        )
    assert asked(desk) == []

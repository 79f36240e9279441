"""Proposed pictures on their way through the server: sealed, few, not for long, told to the trail.

The server is also tried as a liar: what it could do with what it holds is nothing.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from attendance import wire
from attendance.days import DAY_MS
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.proposals import (
    DESK_DECISIONS,
    DESK_PROPOSALS,
    KIOSK_PROPOSALS,
    LIFETIME_MS,
    MAX_OF_ONE,
    MAX_PICTURE,
    MAX_WAITING,
    Decision,
    ProposalContents,
    ProposalPackage,
    ProposalRow,
    check_proposal,
    open_proposal,
    seal_proposal,
)
from attendance.signing import DeviceKeys
from server.models import AuditEntry, Proposal

from .conftest import MORNING, Kiosk, Machine, Office, ms, roster
from .web_seed import sign_in

PICTURE = b"\xff\xd8a face\xff\xd9" * 300


def proposal(
    kiosk: Kiosk, desk: DeviceKeys, official: str = "zhang-3", **changes: Any
) -> ProposalPackage:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "device": kiosk.device,
        "official": official,
        "at_ms": ms(kiosk.clock()),
        "method": "pin",
        "score": 0.41,
        "threshold": 0.5,
        "liveness": "passive",
        "model": "sface",
        "picture": PICTURE,
    }
    return seal_proposal(ProposalContents(**{**fields, **changes}), desk.box_public, kiosk.keys)


def put(kiosk: Kiosk, package: ProposalPackage) -> tuple[int, str]:
    answer = kiosk.send("PUT", KIOSK_PROPOSALS, wire.encode(package))
    word = "" if answer.status_code == 204 else wire.decode(answer.data, wire.Problem).error
    return answer.status_code, word


def waiting(desk: Machine) -> list[ProposalRow]:
    answer = desk.send("GET", DESK_PROPOSALS)
    assert answer.status_code == 200, answer.data
    return wire.decode(answer.data, list[ProposalRow])


def decided(desk: Machine, package: ProposalPackage, what: str, by: str = "") -> int:
    said = Decision(
        id=package.id, official=package.official, device=package.device, what=what, by=by,
        at_ms=package.at_ms,
    )  # fmt: skip
    return int(desk.send("POST", DESK_DECISIONS, wire.encode(said)).status_code)


def trail(office: Office) -> list[tuple[str, str, str]]:
    with office.context.database.session() as session:
        found = session.scalars(
            select(AuditEntry).where(AuditEntry.what.like("proposal%")).order_by(AuditEntry.id)
        )
        return [(entry.who, entry.what, entry.target) for entry in found]


def test_from_the_kiosk_to_the_desk_and_into_the_trail(
    office: Office, village: Kiosk, desk: Machine, stranger: Machine
) -> None:
    sent = proposal(village, desk.keys)
    assert put(village, sent) == (204, "")
    assert put(village, sent) == (204, ""), "the answer may have been lost"
    (row,) = waiting(desk)
    assert (row.id, row.official, row.device) == (sent.id, "zhang-3", village.device)
    assert waiting(stranger) == []
    assert stranger.send("GET", f"{DESK_PROPOSALS}/{sent.id}").status_code == 404
    assert stranger.send("DELETE", f"{DESK_PROPOSALS}/{sent.id}").status_code == 204
    assert decided(stranger, sent, "refused", "somebody") in (400, 404)
    got = wire.decode(desk.send("GET", f"{DESK_PROPOSALS}/{sent.id}").data, ProposalPackage)
    check_proposal(got, village.keys.sign_public)
    assert open_proposal(got, desk.keys).picture == PICTURE
    assert desk.send("DELETE", f"{DESK_PROPOSALS}/{sent.id}").status_code == 204
    assert waiting(desk) == []
    with office.context.database.session() as session:
        assert session.scalars(select(Proposal.package)).all() == [None], "no ciphertext stays"
    assert decided(desk, sent, "accepted") == 400, "nobody's decision"
    assert decided(desk, sent, "accepted", "王主任") == 204
    assert decided(desk, sent, "accepted", "王主任") == 204
    who = f"device:{desk.device} 王主任"
    assert trail(office) == [(who, "proposal_accepted", f"zhang-3 {sent.id}")]
    assert put(village, sent) == (204, ""), "and nothing of it comes back"
    assert waiting(desk) == []


def test_one_that_came_by_stick_is_noted_too(office: Office, village: Kiosk, desk: Machine) -> None:
    by_stick = proposal(village, desk.keys)
    assert decided(desk, by_stick, "refused", "王主任") == 204
    assert decided(desk, by_stick, "refused", "王主任") == 204
    assert [what for _, what, _ in trail(office)] == ["proposal_refused"]
    assert put(village, by_stick) == (204, ""), "sent late"
    assert waiting(desk) == []
    foreign = msgspec.structs.replace(proposal(village, desk.keys), device="nobody")
    assert decided(desk, foreign, "refused", "王主任") == 400


def test_what_the_server_holds_it_can_neither_read_nor_alter(village: Kiosk, desk: Machine) -> None:
    """A lying server opens it, shows it as another's, of another day, or with its own face."""
    one, other = proposal(village, desk.keys), proposal(village, desk.keys, "li-4")
    assert b"a face" not in wire.encode(one)
    with pytest.raises(SignatureInvalid):
        open_proposal(one, DeviceKeys.generate())
    forged = [
        msgspec.structs.replace(one, official="li-4"),
        msgspec.structs.replace(one, sealed=other.sealed),
        msgspec.structs.replace(one, at_ms=one.at_ms + 1),
        msgspec.structs.replace(one, id=str(uuid.uuid4())),
        seal_proposal(open_proposal(one, desk.keys), desk.keys.box_public, DeviceKeys.generate()),
    ]
    for package in forged:
        with pytest.raises(SignatureInvalid):
            check_proposal(package, village.keys.sign_public)
        assert put(village, package) == (401, "signature")
    # Even a kiosk cannot seal what its own package does not say.
    twisted = proposal(village, desk.keys)
    inner = open_proposal(proposal(village, desk.keys, "li-4"), desk.keys)
    mixed = seal_proposal(
        msgspec.structs.replace(inner, id=twisted.id), desk.keys.box_public, village.keys
    )
    with pytest.raises(WireInvalid):
        open_proposal(msgspec.structs.replace(mixed, official="zhang-3"), desk.keys)


def test_only_its_own_of_officials_known_here_and_small(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    other = office.kiosk("柳树沟", "village")
    theirs = proposal(other, desk.keys)
    assert put(village, theirs) == (401, "signature")
    assert put(other, theirs) == (204, "")
    assert put(village, proposal(village, desk.keys, id=theirs.id)) == (400, "malformed")
    assert put(village, proposal(village, desk.keys, "nobody-9")) == (404, "unknown_official")
    with pytest.raises(WireInvalid):
        proposal(village, desk.keys, picture=b"x" * (MAX_PICTURE + 1))
    assert village.send("PUT", KIOSK_PROPOSALS, b"x" * (1 << 18)).status_code == 413
    assert desk.send("PUT", KIOSK_PROPOSALS, wire.encode(theirs)).status_code == 403
    assert village.send("GET", DESK_PROPOSALS).status_code == 403


def test_three_an_official_three_hundred_a_township_thirty_days(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    first = [proposal(village, desk.keys) for _ in range(MAX_OF_ONE)]
    assert [put(village, each) for each in first] == [(204, "")] * MAX_OF_ONE
    assert put(village, proposal(village, desk.keys)) == (409, "full")
    desk.send("DELETE", f"{DESK_PROPOSALS}/{first[0].id}")
    assert put(village, proposal(village, desk.keys)) == (409, "full"), "undecided at the desk"
    decided(desk, first[0], "refused", "王主任")
    assert put(village, proposal(village, desk.keys)) == (204, "")
    people = [f"p-{n}" for n in range(MAX_WAITING // MAX_OF_ONE)]
    body = roster(*((who, who, ["杏树村"]) for who in people))
    assert desk.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    with office.context.database.transaction() as session:
        mine = office.township("青山乡").id
        held = session.scalar(select(func.count()).select_from(Proposal))
        undecided = (held or 0) - 1
        session.add_all(
            Proposal(
                id=str(uuid.uuid4()), township_id=mine, device_id=village.device, package=b"x",
                official=people[n // MAX_OF_ONE], at_ms=ms(MORNING), received_ms=ms(MORNING),
            )
            for n in range(MAX_WAITING - undecided - 1)
        )  # fmt: skip
    assert put(village, proposal(village, desk.keys, "li-4")) == (204, "")
    assert put(village, proposal(village, desk.keys, "li-4")) == (409, "full")
    old = proposal(village, desk.keys, "li-4", at_ms=ms(MORNING) - LIFETIME_MS)
    assert put(village, old) == (409, "gone")
    office.clock.step(days=LIFETIME_MS / DAY_MS)
    assert waiting(desk) == []
    with office.context.database.session() as session:
        assert session.scalar(select(func.count()).select_from(Proposal)) == 0


def test_a_withdrawal_erases_them_and_refuses_what_comes_late(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    sent, late = proposal(village, desk.keys), proposal(village, desk.keys)
    of_another = proposal(village, desk.keys, "li-4")
    assert put(village, sent) == put(village, of_another) == (204, "")
    office.clock.step(minutes=1)
    body = wire.encode(wire.Withdrawal(official="zhang-3", at_ms=ms(office.clock())))
    assert desk.send("POST", wire.DESK_WITHDRAWALS, body).status_code == 204
    assert [row.id for row in waiting(desk)] == [of_another.id]
    assert desk.send("GET", f"{DESK_PROPOSALS}/{sent.id}").status_code == 404
    assert put(village, late) == (409, "gone")
    assert trail(office) == [(f"device:{desk.device}", "proposals_erased", "zhang-3 1")]


def test_supervisors_see_how_many_wait_where_and_of_whom(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    office.user("liu", "inspector", township="青山乡")
    browser = office.client()
    assert sign_in(browser, "liu").status_code == 303
    assert "待审的模板照片" not in browser.get("/sites").text
    first = proposal(village, desk.keys)
    put(village, first)
    put(village, proposal(village, desk.keys))
    desk.send("DELETE", f"{DESK_PROPOSALS}/{first.id}")
    page = browser.get("/sites").text
    table = page.split("待审的模板照片", 1)[1]
    assert "杏树村" in table
    assert "张三" in table
    assert 'data-label="待登记台领取" class="num">1<' in table
    assert 'data-label="登记台待审" class="num">1<' in table
    assert "img" not in table
    office.user("bai", "inspector", township="白水乡")
    other = office.client()
    assert sign_in(other, "bai").status_code == 303
    assert "张三" not in other.get("/sites").text
    browser.set_cookie("quxiang_lang", "en")
    assert "Proposed template pictures" in browser.get("/sites").text

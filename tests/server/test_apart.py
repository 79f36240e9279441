"""What was set aside holds its days back until somebody looked at it, and is there to look at."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib import import_module

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask.testing import FlaskClient
from sqlalchemy import select

from attendance.days import day_start_ms, from_ms
from attendance.statuses import Kind
from server import cli_evidence
from server.config import LEAST_KEEP_DAYS, load_keys
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import ApartReview, AuditEntry, Device, User
from server.rules.calendar import days_between
from server.services.evidence import checkpoints
from server.services.evidence.prune import prune
from server.services.evidence.verify import verify
from server.services.records import apart
from server.services.records.apart import Apart, claim_of
from server.services.sheets.days import Look
from server.services.sheets.daysheet import day_sheet
from server.services.township.townships import only_township

from .conftest import Kiosk, Machine, Office, ms
from .test_devices import acks, change
from .web_seed import sign_in, token_of

#: The days after the kiosk was paired, Thursday to Saturday.
DAY, NEXT, THIRD = (date(2026, 3, day) for day in (19, 20, 21))


def shanghai(day: date, hour: int, minute: int = 0) -> datetime:
    return from_ms(day_start_ms(day) + (hour * 60 + minute) * 60_000).astimezone(UTC)


def verdict(office: Office, day: date, code: str = "zhang-3") -> str:
    with office.context.database.session() as session:
        sheet = day_sheet(session, only_township(session), day, office.clock())
    return str(next(row.verdict for row in sheet.rows if row.official == code))


def put_back(office: Office, kiosk: Kiosk, sync: bool = True) -> None:
    """Its card is put back to an older image, early on DAY; two records of the evening are gone."""
    kiosk.record("li-4")
    kiosk.sync()
    office.clock.step(hours=9)  # 18:00 of the day before
    kiosk.record("li-4")
    kiosk.record("li-4")
    kiosk.sync()
    del kiosk.payloads[1:]
    office.clock.now = shanghai(DAY, 7)
    kiosk.reboot()
    if sync:
        assert kiosk.cursor().state == "ahead"


def set_aside(office: Office, kiosk: Kiosk, sync: bool = True) -> None:
    """D5: zhang-3 checks in at 08:00 of DAY; it is of a fork, which is settled at 12:00; the kiosk
    goes on in a new epoch and is complete until the morning of THIRD."""
    put_back(office, kiosk, sync)
    office.clock.now = shanghai(DAY, 8)
    kiosk.record("zhang-3")
    office.clock.step(minutes=1)
    if not sync:
        kiosk.reboot()
    assert kiosk.upload(2).status_code == 409
    office.clock.now = shanghai(DAY, 12)
    change(office, "settle", kiosk.device)
    go_on(office, kiosk, 2)


def go_on(office: Office, kiosk: Kiosk, first: int) -> None:
    head = kiosk.cursor(pending=1).head
    assert set(acks(kiosk, first)) == {"rejected"}
    kiosk.epoch, kiosk.cites, kiosk.payloads = kiosk.epoch + 1, bytes.fromhex(head), []
    office.clock.now = shanghai(NEXT, 8)
    kiosk.record("zhang-3")
    office.clock.now = shanghai(THIRD, 8)
    assert acks(kiosk, 1) == ["stored"]
    assert kiosk.cursor().state == "ok"
    assert (office.device(kiosk.device).complete_until_ms or 0) > day_start_ms(THIRD)


def held(office: Office, device: str) -> list[Apart]:
    with office.context.database.session() as session:
        return apart.listing(session, apart.kiosk_of(session, None, device))


def review(
    office: Office, device: str, by: User, keys: Sequence[str] = (), batch: int | None = None,
    note: str = "已与本人核实",
) -> int:  # fmt: skip
    with office.context.database.transaction() as session:
        place = only_township(session)
        return apart.review(session, place, device, note, by, office.clock(), keys, batch)


def browser(office: Office, name: str, lang: str = "en") -> FlaskClient:
    made = office.client()
    made.set_cookie("quxiang_lang", lang)
    assert sign_in(made, name).status_code == 303
    return made


def test_a_check_in_that_was_set_aside_from_the_fork_to_the_correction(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    for name, role in (("shen", "clerk"), ("wu", "leader"), ("du", "inspector")):
        office.user(name, role)
    set_aside(office, village)
    since = office.device(village.device).apart_from_ms or 0
    assert ms(shanghai(DAY, 8)) - 60_000 <= since <= ms(shanghai(DAY, 8))
    assert (verdict(office, DAY), verdict(office, NEXT)) == ("not_known", "came")

    inspector, path = browser(office, "du"), f"/sites/{village.device}/apart"
    assert f'href="{path}"' in inspector.get("/sites").text
    html = inspector.get(path).text
    row = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("<tbody>")[1].split("</tr>")[0]))
    for said in ("1/2", "张三", "zhang-3", "In the village", "08:00", "of another history"):
        assert said in row, row
    chinese = browser(office, "du", "zh").get(path).text
    assert all(said in chinese for said in ("待核查", "属于未计入的另一份历史", "下乡"))
    assert "核查结果" in chinese
    assert "问题情况" not in chinese
    assert "Result of the review" in html
    sheet = f"/day?date={DAY.isoformat()}"
    why = "Records of the expected site set aside await a review: 杏树村"
    assert why in inspector.get(sheet).text
    assert "应到站点有搁置的记录待核查：杏树村" in browser(office, "du", "zh").get(sheet).text
    found = f"/discrepancies?last={NEXT.isoformat()}&kind=set_aside"
    assert why.partition(":")[0] in inspector.get(found).text
    assert inspector.get(found).text.count(f"date={DAY.isoformat()}") > 0
    key = re.findall(r'name="one" value="(\w+)"', html)
    form = {"csrf_token": token_of(html), "one": key, "note": "问过本人"}
    assert browser(office, "shen").post(path, data=form).status_code in (400, 403)
    assert inspector.post(path, data={**form, "note": " "}).status_code == 400
    assert verdict(office, DAY) == "not_known", "nothing was reviewed yet"
    office.clock.step(minutes=5)
    answer = inspector.post(path, data=form, follow_redirects=True)
    assert "Reviewed. Where one of them is to count" in answer.text
    link = f"/corrections/zhang-3?date={DAY.isoformat()}&amp;kind=presence"
    assert link in answer.text
    assert "问过本人" in answer.text
    assert office.device(village.device).apart_from_ms is None
    assert verdict(office, DAY) == "absent", "somebody looked at it, and says nothing else yet"
    assert why not in inspector.get(sheet).text

    clerk, leader = browser(office, "shen"), browser(office, "wu")
    page = link.replace("&amp;", "&")
    sent = clerk.post(page, data={
        "csrf_token": token_of(clerk.get(page).text), "kind": "presence", "site": "杏树村",
        "start": "08:00", "reason": "记录被搁置，已核实",
    })  # fmt: skip
    assert sent.status_code == 303, sent.text
    decide = {"csrf_token": token_of(leader.get("/corrections").text), "answer": "approve"}
    assert leader.post("/corrections/1/decide", data=decide).status_code == 303
    assert verdict(office, DAY) == "came"
    with office.context.database.session() as session:
        noted = {(e.who, e.what, e.target) for e in session.scalars(select(AuditEntry))}
        assert ("du", "view_apart", village.device) in noted
        assert ("du", "review_apart", f"{village.device} 1") in noted
        assert list(verify(session, office.context.keys.sign_public)) == []


def test_nobody_is_late_by_it_either_and_a_kept_day_is_judged_again(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    leader = office.user("wu", "leader")
    set_aside(office, village)
    days = days_between(DAY, NEXT)

    def stamp() -> str:
        with office.context.database.session() as session:
            look = Look(session, only_township(session), days, office.clock())
            look.days()
            return look.stamp

    before = stamp()
    with office.context.database.session() as session:
        look = Look(session, only_township(session), days, office.clock())
        (kiosk,) = next(iter(look.kiosks.at.values()))
    assert kiosk.complete_until_ms == day_start_ms(DAY)
    assert review(office, village.device, leader, [one.key for one in held(office, village.device)])
    assert stamp() != before
    assert verdict(office, DAY) == "absent"


def test_a_day_that_was_open_before_says_why_once_records_are_set_aside(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.cursor()
    office.clock.now = shanghai(NEXT, 8)

    def said() -> list[tuple[str, str | None]]:
        with office.context.database.session() as session:
            sheet = day_sheet(session, only_township(session), DAY, office.clock())
        (row,) = [row for row in sheet.rows if row.official == "zhang-3"]
        assert row.verdict == "not_known"
        return [(d.kind, d.site) for d in row.discrepancies]

    assert said() == []
    for since, told in ((NEXT, []), (DAY, [("set_aside", "杏树村")])):
        with office.context.database.transaction() as session:
            session.get_one(Device, village.device).apart_from_ms = ms(shanghai(since, 8))
        assert said() == told


def test_a_record_that_cannot_be_read_holds_its_day_back(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    leader = office.user("wu", "leader")
    office.clock.now = shanghai(DAY, 7)
    village.sync()
    office.clock.now = shanghai(DAY, 8)
    village.record("zhang-3")
    village.payloads[-1] = village.payloads[-1].replace(b'"in_village"', b'"in_town"')
    office.clock.now = shanghai(NEXT, 8)
    village.sync()
    assert verdict(office, DAY) == "not_known"
    (one,) = held(office, village.device)
    assert (one.unreadable, one.claim.official, one.claim.status) == (True, "zhang-3", "in_town")
    assert one.why.startswith("not a record")
    html = browser(office, "wu").get(f"/sites/{village.device}/apart").text
    assert all(said in html for said in ("cannot be read as a record", "in_town", "张三"))
    assert review(office, village.device, leader, batch=one.received_ms) == 1
    assert verdict(office, DAY) == "absent"


@pytest.mark.parametrize("kind", [Kind.CLOCK, Kind.FAULT])
def test_what_is_of_nobody_holds_nothing_back(
    office: Office, desk: Machine, village: Kiosk, kind: Kind
) -> None:
    put_back(office, village)
    village.record(None, kind=kind, status=None, method=None, detail="x", score=None, liveness=None)
    assert village.upload(2).status_code == 409
    change(office, "settle", village.device)
    go_on(office, village, 2)
    assert [one.claim.kind for one in held(office, village.device)] == [kind.value]
    assert office.device(village.device).apart_from_ms is None
    assert verdict(office, DAY) == "absent"


def test_without_a_contact_of_its_boot_it_is_held_since_the_last_that_knew_fewer(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    set_aside(office, village, sync=False)
    # The kiosk last said at 09:00 of the day before that it had fewer records than this one's 2.
    assert office.device(village.device).apart_from_ms == ms(shanghai(DAY, 9)) - 86_400_000


def test_a_wall_clock_before_that_moves_it_back_and_one_that_cannot_be_does_not(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    clock, found = office.clock, []
    for off in (timedelta(hours=-4), timedelta(days=-400), timedelta(days=400)):
        clock.step(days=1)
        village.reboot()
        village.cursor()
        last = ms(clock())
        clock.step(hours=2)
        village.reboot()
        village.wall_off = off
        village.record("zhang-3")
        village.payloads[-1] = village.payloads[-1].replace(b'"in_village"', b'"in_town"')
        clock.step(hours=1)
        village.reboot()
        assert acks(village, len(village.payloads)) == ["rejected"]
        since = office.device(village.device).apart_from_ms or 0
        found.append((since - last) // 3_600_000)
        leader = office.user(f"wu{len(found)}", "leader")
        assert review(office, village.device, leader, [held(office, village.device)[0].key])
    assert found == [-2, 0, 0]


def test_who_may_review_and_only_once(
    office: Office, desk: Machine, village: Kiosk, stranger: Machine
) -> None:
    set_aside(office, village)
    ((key, at),) = [(one.key, one.received_ms) for one in held(office, village.device)]
    own = office.user("zhang", "leader", "zhang-3")
    for by in (office.user("shen", "clerk"), office.user("admin", "admin"), own,
               office.user("far", "leader", township="白水乡")):  # fmt: skip
        for chosen in ({"keys": [key]}, {"batch": at}):
            with pytest.raises(NotAllowed) as refused:
                review(office, village.device, by, **chosen)  # type: ignore[arg-type]
            assert (refused.value.key == "own") == (by is own)
    leader = office.user("wu", "leader")
    for bad in (["q99999"], ["r1"], ["x1"], ["q"], [""], []):
        with pytest.raises(InputInvalid):
            review(office, village.device, leader, bad)
    with pytest.raises(InputInvalid):
        review(office, village.device, leader, [key], note=" \n")
    with pytest.raises(NotFound):
        review(office, "nobody00", leader, [key])
    with pytest.raises(NotFound):
        review(office, desk.device, leader, [key])
    assert review(office, village.device, leader, [key]) == 1
    with pytest.raises(InputInvalid):
        review(office, village.device, leader, [key])
    with office.context.database.session() as session:
        (row,) = session.scalars(select(ApartReview))
        assert (row.note, row.by, row.by_official) == ("已与本人核实", "wu", None)


def test_some_of_a_batch_and_then_all_of_it(office: Office, desk: Machine, village: Kiosk) -> None:
    leader = office.user("wu", "leader")
    put_back(office, village)
    for hour in (8, 9, 10):
        office.clock.now = shanghai(DAY, hour)
        village.record("zhang-3")
    office.clock.now = shanghai(NEXT, 9)
    village.record("li-4")
    assert village.upload(2).status_code == 409
    change(office, "settle", village.device)
    go_on(office, village, 2)
    rows = held(office, village.device)
    assert [(one.epoch, one.seq) for one in rows] == [(1, n) for n in (2, 3, 4, 5)]
    assert review(office, village.device, leader, [one.key for one in rows[:3]]) == 3
    since = office.device(village.device).apart_from_ms or 0
    assert ms(shanghai(NEXT, 9)) - 60_000 <= since <= ms(shanghai(NEXT, 9))
    assert (verdict(office, DAY), verdict(office, NEXT, "li-4")) == ("absent", "not_known")
    assert review(office, village.device, leader, batch=rows[0].received_ms) == 1
    assert verdict(office, NEXT, "li-4") == "absent"
    assert [one.waits for one in held(office, village.device)] == [False] * 4


def test_a_revoked_kiosk_that_is_let_in_again_brings_them_itself(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    village.sync()
    change(office, "revoke", village.device)
    office.clock.now = shanghai(DAY, 8)
    village.record("zhang-3")
    assert village.upload(1).status_code == 403
    assert office.device(village.device).apart_from_ms is not None
    assert [one.why for one in held(office, village.device)] == ["revoked"]
    change(office, "settle", village.device)
    office.clock.now = shanghai(NEXT, 8)
    village.sync()
    assert office.device(village.device).apart_from_ms is None
    assert [(one.counted, one.waits) for one in held(office, village.device)] == [(True, False)]
    assert (verdict(office, DAY), verdict(office, DAY, "li-4")) == ("came", "absent")


def test_what_is_pruned_holds_nothing_back(office: Office, desk: Machine, village: Kiosk) -> None:
    set_aside(office, village)
    keys = load_keys(office.config)
    with office.context.database.transaction() as session:
        checkpoints.make_all(session, keys.sign_seed, office.clock())
    for _ in range(26):
        office.clock.step(days=20)
        village.record("li-4")
        village.sync()
        with office.context.database.transaction() as session:
            checkpoints.make_all(session, keys.sign_seed, office.clock())
    assert office.device(village.device).apart_from_ms is not None
    assert prune(office.context.database, keys, office.clock(), LEAST_KEEP_DAYS).rows
    assert held(office, village.device) == []
    assert office.device(village.device).apart_from_ms is None


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"\xff", b'{"official": 3, "wall_ms": true, "kind": []}', b"[" * 4000,
     b'{"official": "<b>", "wall_ms": 1e300}', b'{"wall_ms": -1}'],
)  # fmt: skip
def test_bytes_that_say_nothing_claim_nothing(payload: bytes) -> None:
    assert claim_of(payload) == claim_of(b"{}")


def test_pages_of_a_long_pile(office: Office, desk: Machine, village: Kiosk) -> None:
    office.user("wu", "leader")
    put_back(office, village)
    for _ in range(230):
        village.record("zhang-3")
    assert village.upload(2).status_code == 409
    leader, path = browser(office, "wu"), f"/sites/{village.device}/apart"
    seen = [len(re.findall('type="checkbox"', leader.get(f"{path}?page={n}").text))
            for n in (1, 2, 3, 4)]  # fmt: skip
    assert seen == [100, 100, 30, 0]
    html = leader.get(path).text
    assert "Reviewed: all 230 of this batch" in html
    for bad in ("page=0", "page=x", "page=-1"):
        assert leader.get(f"{path}?{bad}").status_code == 400
    batch = re.findall(r'name="batch" value="(\d+)"', html)[0]
    form = {"csrf_token": token_of(html), "batch": batch, "which": "batch", "note": "一并核查"}
    assert leader.post(path, data={**form, "batch": "x"}).status_code == 400
    assert leader.post(path, data=form).status_code == 303
    assert "Nothing here." in leader.get(path).text
    assert len(held(office, village.device)) == 230


def test_the_command_lists_the_same(
    office: Office, desk: Machine, village: Kiosk, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(device: str) -> list[list[str]]:
        asked = Namespace(data=office.config.data, database=office.config.database_url, id=device)
        assert cli_evidence.device_apart(asked) == 0
        return [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    assert "was set aside" in lines(village.device)[0][0] or "搁置" in lines(village.device)[0][0]
    leader = office.user("wu", "leader")
    set_aside(office, village)
    ((place, code, kind, status, method, wall, why, came, waits),) = lines(village.device)
    assert (place, code, kind, status, method) == (
        "1/2",
        "zhang-3",
        "checkin",
        "in_village",
        "face",
    )
    assert (wall, why, came) == ("2026-03-19 08:00", "fork", "2026-03-19 08:01")
    assert review(office, village.device, leader, [held(office, village.device)[0].key])
    ((*_, reviewed),) = lines(village.device)
    assert reviewed != waits
    assert "wu 2026-03-21 08:00: 已与本人核实" in reviewed
    for unknown in ("nobody00", desk.device):
        with pytest.raises(NotFound):
            lines(unknown)
    with office.context.database.session() as session:
        noted = session.scalars(select(AuditEntry).where(AuditEntry.who == "command"))
        assert ("view_apart", village.device) in {(e.what, e.target) for e in noted}


def test_a_later_contact_that_knew_fewer_moves_nothing(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    leader = office.user("wu", "leader")

    def unreadable() -> None:
        office.clock.step(days=1)
        village.reboot()
        village.record("zhang-3")
        village.payloads[-1] = village.payloads[-1].replace(b'"in_village"', b'"in_town"')
        assert acks(village, len(village.payloads)) == ["rejected"]

    village.sync()
    first = ms(office.clock())
    unreadable()
    office.clock.step(hours=1)
    kept, village.payloads = village.payloads, []  # its card is put back for an hour
    village.reboot()
    assert village.cursor().state == "ahead"
    village.payloads = kept
    unreadable()
    assert review(office, village.device, leader, [held(office, village.device)[0].key])
    assert office.device(village.device).apart_from_ms == first


def test_nobody_reviews_a_kiosk_of_another_township(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    leader = office.user("wu", "leader")
    far = office.kiosk("远村", "village", "白水乡")
    set_aside(office, far)
    keys = [one.key for one in held(office, far.device)]
    for chosen in ((far.device, keys), (village.device, keys)):
        with pytest.raises((NotFound, InputInvalid)):
            review(office, chosen[0], leader, chosen[1])
    assert [one.waits for one in held(office, far.device)] == [True]
    for method in ("get", "post"):
        assert getattr(browser(office, "wu"), method)(f"/sites/{far.device}/apart").status_code in (
            400, 404,
        )  # fmt: skip


def test_what_an_earlier_release_set_aside_is_held_back_too(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    set_aside(office, village)
    upgrade = import_module("server.migrations.versions.0089_apart_reviews")
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).apart_from_ms = None
        session.flush()
        with Operations.context(MigrationContext.configure(session.connection())):
            upgrade._hold_what_is_there()
    # At 07:00 the kiosk said last that it had fewer records.
    assert office.device(village.device).apart_from_ms == ms(shanghai(DAY, 7))
    assert verdict(office, DAY) == "not_known"

"""The interface beyond intake: who may ask, pairing, the desk, snapshots, errors in one form."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import NullPool, create_engine, event, select

from attendance import wire
from attendance.days import to_ms
from attendance.pairing import PairingCode
from attendance.signing import DeviceKeys, from_text, seal, to_text
from attendance.statuses import Kind, Method, SiteKind, Status
from server.backup import backup
from server.context import Context
from server.models import Device, GalleryRow, Official, PairingAttempt, WithdrawalRow, WorkGroup
from server.services.paired import pairing
from server.services.township import leave
from server.services.township.townships import only_township
from server.sqlite import LIBRARY

from .conftest import MORNING, Kiosk, Machine, Office, ms, roster


def problem(answer: object) -> tuple[int, str]:
    return answer.status_code, wire.decode(answer.data, wire.Problem).error  # type: ignore[attr-defined]


def pair_request(code: str, kind: str = "kiosk", keys: DeviceKeys | None = None) -> bytes:
    keys = keys or DeviceKeys.generate()
    return wire.encode(
        wire.PairRequest(
            code=code,
            kind=kind,
            sign_key=to_text(keys.sign_public),
            box_key=to_text(keys.box_public),
        )
    )


def test_pairing_tells_who_one_is_and_pins_the_keys(office: Office) -> None:
    desk_keys = DeviceKeys.generate()
    early = office.pair("desk", office.code("desk"), desk_keys)
    assert (early.site, early.desk_key) == (None, to_text(desk_keys.sign_public))
    code = office.code("kiosk", "杏树村", "village")
    reply = office.pair("kiosk", code.lower().replace("-", " "))
    assert (reply.township, reply.site, reply.site_kind) == ("青山乡", "杏树村", SiteKind.VILLAGE)
    hint = wire.decode(office.client().get(wire.PAIR).data, wire.PairHint)
    assert hint.server_key == reply.server_key
    desks = [from_text(key) for key in hint.desk_keys]
    vouched = PairingCode.parse(code).vouches_for(from_text(reply.server_key), desks)
    assert vouched is not None
    assert vouched.desk_key == from_text(reply.desk_key or "")
    assert reply.server_ms == ms(MORNING)


def test_a_code_works_once_but_its_lost_answer_comes_again(office: Office) -> None:
    code, keys = office.code("kiosk", "杏树村"), DeviceKeys.generate()
    first = office.pair("kiosk", code, keys)
    assert office.pair("kiosk", code, keys).device == first.device
    assert problem(office.client().post(wire.PAIR, data=pair_request(code))) == (403, "code")


def test_a_code_is_of_one_kind_and_lives_thirty_minutes(office: Office) -> None:
    code = office.code("kiosk", "杏树村")
    client = office.client()
    assert problem(client.post(wire.PAIR, data=pair_request(code, "desk"))) == (403, "code")
    office.clock.step(minutes=30)
    assert problem(client.post(wire.PAIR, data=pair_request(code))) == (403, "code")


def test_ten_wrong_codes_close_pairing_for_ten_minutes(office: Office) -> None:
    code, client = office.code("kiosk", "杏树村"), office.client()
    for n in range(10):
        wrong = f"{n:08}" + "0" * 12
        assert problem(client.post(wire.PAIR, data=pair_request(wrong))) == (403, "code")
        office.clock.step(seconds=30)
    answer = client.post(wire.PAIR, data=pair_request(code))
    assert problem(answer) == (429, "slow_down")
    assert int(answer.headers["Retry-After"]) == 570
    office.clock.step(seconds=570)
    office.pair("kiosk", code)


def wrong(office: Office, number: int, remote: str) -> tuple[int, str]:
    """What a wrong code from an address is answered."""
    asked = pair_request(f"{number:08}" + "0" * 12)
    return problem(
        office.client().post(wire.PAIR, data=asked, environ_base={"REMOTE_ADDR": remote})
    )


@pytest.mark.parametrize(
    ("attacker", "neighbour", "kiosk"),
    [
        ("203.0.113.5", "203.0.113.5", "203.0.113.6"),
        ("2001:db8:1:2::5", "2001:db8:1:2:ffff::9", "2001:db8:1:3::5"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_wrong_codes_of_one_address_close_pairing_to_nobody_else(
    office: Office, attacker: str, neighbour: str, kiosk: str
) -> None:
    code = office.code("kiosk", "杏树村")
    for n in range(10):
        assert wrong(office, n, attacker) == (403, "code")
    assert wrong(office, 10, neighbour) == (429, "slow_down"), "one household, however many names"
    right = {"data": pair_request(code), "environ_base": {"REMOTE_ADDR": attacker}}
    assert problem(office.client().post(wire.PAIR, **right)) == (429, "slow_down")
    right["environ_base"] = {"REMOTE_ADDR": kiosk}
    assert office.client().post(wire.PAIR, **right).status_code == 200


def test_a_thousand_wrong_codes_of_all_addresses_close_pairing(office: Office) -> None:
    code = office.code("kiosk", "杏树村")
    with office.context.database.transaction() as session:
        session.add_all(
            PairingAttempt(at_ms=ms(office.clock()), remote=f"203.0.{n // 250}.{n % 250}")
            for n in range(pairing.WRONG_OF_ALL - 2)
        )
    assert wrong(office, 1, "198.51.100.1") == (403, "code")
    assert wrong(office, 2, "198.51.100.2") == (403, "code")
    assert wrong(office, 3, "198.51.100.3") == (429, "slow_down")
    office.clock.step(minutes=10)
    office.pair("kiosk", code)


def test_wrong_codes_under_a_clock_that_was_ahead_do_not_close_pairing(office: Office) -> None:
    office.clock.step(days=365)
    said = [wrong(office, n, "198.51.100.1") for n in range(pairing.WRONG + 1)]
    assert said[-1] == (429, "slow_down")
    office.clock.step(days=-365)
    office.pair("kiosk", office.code("kiosk", "杏树村"))


def test_the_database_does_not_hold_the_code(office: Office, tmp_path: Path) -> None:
    secret = PairingCode.parse(office.code("kiosk", "杏树村")).secret
    if office.config.is_sqlite:
        raw = b"".join(file.read_bytes() for file in office.config.data.glob("server.db*"))
    else:
        backup(office.config, tmp_path / "b.tar")
        raw = (tmp_path / "b.tar").read_bytes()
    assert secret.encode() not in raw
    assert hashlib.sha256(secret.encode()).hexdigest().encode() not in raw


def test_who_is_not_paired_or_signs_wrongly_is_refused(office: Office, village: Kiosk) -> None:
    nobody = Machine(office.client(), village.keys, "nobody00", village.server_key)
    assert problem(nobody.send("GET", wire.WHEREABOUTS)) == (401, "unknown_device")
    other = Machine(office.client(), DeviceKeys.generate(), village.device, village.server_key)
    assert problem(other.send("GET", wire.WHEREABOUTS)) == (401, "signature")
    bare = office.client().get(wire.WHEREABOUTS)
    assert problem(bare) == (401, "unknown_device")
    wire.check_reply(village.server_key, bare.headers[wire.HEADER_SIGNATURE], "", 401, bare.data)


def test_a_signature_is_for_one_request(office: Office, village: Kiosk) -> None:
    signed = wire.sign_request(village.keys, village.device, "GET", wire.WHEREABOUTS, b"")
    client = office.client()
    assert client.get(wire.WHEREABOUTS, headers=signed).status_code == 200
    assert client.get(f"{wire.GALLERY}?have=0", headers=signed).status_code == 401
    assert client.get(f"{wire.WHEREABOUTS}?x=1", headers=signed).status_code == 401


def test_kinds_keep_to_their_own_requests(desk: Machine, village: Kiosk) -> None:
    assert problem(village.send("GET", wire.DESK_KIOSKS)) == (403, "wrong_kind")
    assert problem(desk.send("GET", wire.WHEREABOUTS)) == (403, "wrong_kind")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/records/", "/api/v1/"])
def test_unknown_paths_answer_in_the_interface_s_own_form(
    office: Office, village: Kiosk, path: str
) -> None:
    answer = village.send("GET", path)
    assert answer.status_code in (404, 405)
    assert wire.decode(answer.data, wire.Problem).error == "not_found"


def test_a_body_that_is_too_large_is_not_read(village: Kiosk) -> None:
    answer = village.send("POST", wire.RECORDS, b"x" * (wire.MAX_COMPRESSED + 1))
    assert problem(answer) == (413, "too_large")


def test_the_roster_makes_groups_and_refuses_unknown_sites(office: Office, desk: Machine) -> None:
    answer = desk.send(
        "PUT",
        wire.DESK_ROSTER,
        roster(("n-1", "赵六", ["没有村"]), ("n-2", "孙七", ["杏树村"]), group="新组"),
    )
    rows = wire.decode(answer.data, wire.RosterReply).results
    assert [(r.result, r.why) for r in rows] == [
        ("rejected", "unknown_site: 没有村"),
        ("stored", None),
    ]
    desk.send("PUT", wire.DESK_ROSTER, roster(("n-2", "孙七七", [])))
    with office.context.database.session() as session:
        person = session.scalars(select(Official).where(Official.official == "n-2")).one()
        groups = session.scalars(select(WorkGroup.name).order_by(WorkGroup.id)).all()
    assert person.name == "孙七七"
    assert groups == ["第一工作组", "新组"]


def package(
    desk: Machine, kiosk: Kiosk, version: int, sealed: bytes = b"sealed", **changes: object
) -> bytes:
    fields: dict[str, object] = {
        "device": kiosk.device,
        "version": version,
        "made_ms": 1,
        "expires_ms": 2,
        "model": "m",
        "people": 2,
        "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
        "tombstones": [],
    }
    manifest = wire.encode(wire.Manifest(**{**fields, **changes}))  # type: ignore[arg-type]
    return wire.encode(
        {
            "v": 1,
            "manifest": json.loads(manifest),
            "signature": to_text(desk.keys.sign(wire.MANIFEST_DOMAIN, manifest)),
            "sealed": base64.b64encode(sealed).decode(),
        }
    )


def test_a_gallery_goes_through_unread_and_never_back(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    target = f"{wire.DESK_GALLERIES}/{village.device}"
    assert village.send("GET", f"{wire.GALLERY}?have=0").status_code == 204
    sealed = seal(village.keys.box_public, b"templates")
    body = package(desk, village, 3, sealed)
    assert desk.send("PUT", target, body).status_code == 204
    assert village.cursor().gallery == 3
    got = village.send("GET", f"{wire.GALLERY}?have=2")
    assert got.data == body
    inner = wire.decode(got.data, wire.GalleryPackage, wire.MAX_GALLERY)
    assert village.keys.open(base64.b64decode(inner.sealed)) == b"templates"
    assert village.send("GET", f"{wire.GALLERY}?have=3").status_code == 204
    for version in (3, 2):
        again = desk.send("PUT", target, package(desk, village, version))
        assert problem(again) == (409, "rollback")
    for bad in (
        package(desk, village, 4, sealed_sha256="0" * 64),
        package(desk, village, 4, device="k0000000"),
        b"{}",
    ):
        assert problem(desk.send("PUT", target, bad)) == (400, "malformed")
    forged = Machine(desk.client, DeviceKeys.generate(), desk.device, desk.server_key)
    body = package(forged, village, 4)
    assert problem(desk.send("PUT", target, body)) == (401, "signature")


def test_a_gallery_number_that_no_desk_gave_is_not_believed_of_a_kiosk(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    def told() -> int:
        rows = wire.decode(desk.send("GET", wire.DESK_KIOSKS).data, list[wire.KioskRow])
        return next(row.gallery for row in rows if row.device == village.device)

    village.cursor(gallery=218_000_000)
    assert told() == 218_000_000, "so that a desk that was put back goes on above it"
    for absurd in (2**63 - 1, (1 << 40) + 1):
        assert village.cursor(gallery=absurd).state == "ok", "its records are taken all the same"
        assert told() == 218_000_000
    village.cursor(gallery=218_000_060)
    assert told() == 218_000_060
    with office.context.database.transaction() as session:  # kept by a release before this one
        session.get_one(Device, village.device).gallery_on_device = 2**63 - 1
    assert told() == 0
    target = f"{wire.DESK_GALLERIES}/{village.device}"
    assert desk.send("PUT", target, package(desk, village, (1 << 40) + 1)).status_code == 204
    village.cursor(gallery=(1 << 40) + 1)
    assert told() == (1 << 40) + 1, "a desk did give it"


def test_the_next_township_s_desk_reaches_nothing(
    office: Office, stranger: Machine, desk: Machine, village: Kiosk
) -> None:
    village.record(kind=Kind.ERASURE, status=None, method=None, detail="template erased")
    village.sync()
    assert json.loads(stranger.send("GET", wire.DESK_SITES).data) == []
    assert json.loads(stranger.send("GET", wire.DESK_KIOSKS).data) == []
    assert json.loads(stranger.send("GET", wire.DESK_ERASURES).data) == []
    target = f"{wire.DESK_GALLERIES}/{village.device}"
    assert problem(stranger.send("PUT", target, package(stranger, village, 9)))[0] == 400
    gone = wire.encode(wire.Withdrawal(official="zhang-3", at_ms=1))
    assert problem(stranger.send("POST", wire.DESK_WITHDRAWALS, gone)) == (404, "unknown_official")
    picture = f"{wire.DESK_PORTRAITS}/zhang-3"
    assert problem(stranger.send("PUT", picture, jpeg())) == (404, "unknown_official")
    rows = roster(("zhang-3", "冒名", ["杏树村"]))
    reply = wire.decode(stranger.send("PUT", wire.DESK_ROSTER, rows).data, wire.RosterReply)
    assert reply.results[0].why == "unknown_site: 杏树村"
    with office.context.database.session() as session:
        names = session.scalars(select(Official.name).where(Official.official == "zhang-3")).all()
    assert names == ["张三"]


def jpeg(size: tuple[int, int] = (900, 1200)) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    Image.new("RGB", size, (200, 30, 30)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_a_kiosk_gets_the_portraits_of_its_own_townships_board(
    office: Office, desk: Machine, stranger: Machine, village: Kiosk
) -> None:
    desk.send("PUT", f"{wire.DESK_PORTRAITS}/zhang-3", jpeg())
    snapshot = wire.decode(village.send("GET", wire.WHEREABOUTS).data, wire.Snapshot)
    (row,) = [row for row in snapshot.rows if row.official == "zhang-3"]
    assert row.phone == "13800000000"
    target = f"{wire.PORTRAITS}/{row.portrait}"
    got = village.send("GET", target)
    assert (got.status_code, got.content_type) == (200, "image/jpeg")
    with Image.open(io.BytesIO(got.data)) as picture:
        assert picture.size == (480, 640)
    elsewhere = office.kiosk("别处村", "village", township="白水乡")
    assert problem(elsewhere.send("GET", target)) == (404, "not_found")
    assert problem(desk.send("GET", target)) == (403, "wrong_kind")
    for other in ("0" * 32, "..%2Fserver.key"):
        assert problem(village.send("GET", f"{wire.PORTRAITS}/{other}"))[0] == 404
    gone = wire.encode(wire.Withdrawal(official="zhang-3", at_ms=ms(MORNING)))
    desk.send("POST", wire.DESK_WITHDRAWALS, gone)
    assert problem(village.send("GET", target)) == (404, "not_found")


def test_a_portrait_is_made_anew_and_withdrawn_with_the_person(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    target = f"{wire.DESK_PORTRAITS}/zhang-3"
    assert desk.send("PUT", target, jpeg()).status_code == 204
    assert desk.send("PUT", target, jpeg()).status_code == 204
    files = list(office.config.portraits.iterdir())
    assert len(files) == 1  # the replaced one is gone
    with Image.open(files[0]) as kept:
        assert kept.size == (480, 640)
        assert not kept.getexif()
    assert b"secret place" not in files[0].read_bytes()
    desk.send("PUT", f"{wire.DESK_GALLERIES}/{village.device}", package(desk, village, 1))
    gone = wire.encode(wire.Withdrawal(official="zhang-3", at_ms=ms(MORNING)))
    for _ in range(2):
        assert desk.send("POST", wire.DESK_WITHDRAWALS, gone).status_code == 204
    assert list(office.config.portraits.iterdir()) == []
    with office.context.database.session() as session:
        assert session.scalars(select(Official.portrait)).all() == [None] * 3
        assert session.scalars(select(GalleryRow)).all() == []
        assert len(session.scalars(select(WithdrawalRow)).all()) == 1
    back = desk.send("PUT", f"{wire.DESK_GALLERIES}/{village.device}", package(desk, village, 1))
    assert problem(back) == (409, "rollback")


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xd8\xff", b"GIF89a" + b"0" * 40, jpeg()[:300], b"P6 99999 99999 255 "],
    ids=["empty", "start", "gif", "cut", "ppm"],
)
def test_what_is_no_jpeg_is_refused(desk: Machine, body: bytes) -> None:
    assert problem(desk.send("PUT", f"{wire.DESK_PORTRAITS}/zhang-3", body)) == (400, "malformed")


def test_a_portrait_of_too_many_pixels_is_refused(desk: Machine) -> None:
    big = jpeg((9000, 9000))
    assert len(big) < wire.MAX_PORTRAIT * 2
    target = f"{wire.DESK_PORTRAITS}/zhang-3"
    assert problem(desk.send("PUT", target, big)) == (413, "too_large")


def test_receipts_of_erasure_come_back(office: Office, desk: Machine, village: Kiosk) -> None:
    made = village.record(kind=Kind.ERASURE, status=None, method=None, detail="template erased")
    village.sync()
    row = wire.ErasureRow(**json.loads(desk.send("GET", wire.DESK_ERASURES).data)[0])
    assert (row.official, row.record_id, row.seq) == ("zhang-3", made.record_id, 1)
    assert (row.head, row.site) == (village.head().hex(), "杏树村")


def test_snapshots_show_everybody_to_an_office_and_their_own_to_a_village(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    hall = office.kiosk("乡政府", "office")
    village.record()
    village.record("li-4", method=Method.PIN, verified=False)
    village.sync()
    office.clock.step(minutes=1)
    rows = {}
    for kiosk in (hall, village):
        snapshot = wire.decode(kiosk.send("GET", wire.WHEREABOUTS).data, wire.Snapshot)
        rows[kiosk.device] = {r.official: r.status for r in snapshot.rows}
        assert snapshot.as_of_ms == ms(MORNING) + 60_000
    assert rows[hall.device] == {
        "zhang-3": Status.IN_VILLAGE, "li-4": Status.UNKNOWN, "wang-5": Status.UNKNOWN,
    }  # fmt: skip
    assert rows[village.device] == {"zhang-3": Status.IN_VILLAGE, "li-4": Status.UNKNOWN}


def test_approved_leave_comes_down_with_the_snapshot(
    office: Office, desk: Machine, village: Kiosk
) -> None:
    clerk, leader = office.user("wenshu", "clerk"), office.user("lingdao", "leader")
    with office.context.database.transaction() as session:
        place = only_township(session)
        row = leave.ask(
            session, place, "zhang-3", Status.ON_LEAVE, MORNING, MORNING + timedelta(days=1),
            "", clerk, office.clock(),
        )  # fmt: skip
        leave.decide(session, row.id, True, leader, office.clock())
    snapshot = wire.decode(village.send("GET", wire.WHEREABOUTS).data, wire.Snapshot)
    shown = {r.official: (r.status, r.basis, r.until_ms) for r in snapshot.rows}
    assert shown["zhang-3"] == (Status.ON_LEAVE, "absence", to_ms(MORNING + timedelta(days=1)))


def test_the_document_names_every_request(office: Office) -> None:
    document = json.loads(office.client().get(f"{wire.PREFIX}/openapi.json").data)
    ours = {
        rule.rule.replace("<", "{").replace(">", "}")
        for rule in office.app.url_map.iter_rules()
        if rule.rule.startswith(wire.PREFIX) and not rule.rule.endswith("openapi.json")
    }
    assert set(document["paths"]) == ours
    assert "Record" in document["components"]["schemas"]


def test_a_locked_database_is_busy_not_broken(office: Office, village: Kiosk) -> None:
    context: Context = office.context
    context.database.engine.dispose()
    sqlite = office.config.is_sqlite

    @event.listens_for(context.database.engine, "connect")
    def impatient(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50" if sqlite else "SET lock_timeout = 50")
        if not sqlite:
            connection.commit()

    village.cursor()  # connects: that, too, would wait
    # The same library: two in one process do not see each other's locks.
    same = {"module": LIBRARY.module} if sqlite else {}
    other = create_engine(office.config.url, poolclass=NullPool, **same)
    with other.connect().execution_options(isolation_level="AUTOCOMMIT") as hand:
        hand.exec_driver_sql("BEGIN EXCLUSIVE" if sqlite else "BEGIN")
        if not sqlite:
            hand.exec_driver_sql("LOCK TABLE record IN EXCLUSIVE MODE")
        village.record()
        answer = village.upload()
        hand.exec_driver_sql("ROLLBACK")
    assert problem(answer) == (503, "busy")
    assert answer.headers["Retry-After"] == "5"
    assert village.upload().status_code == 200


def test_a_revoked_device_does_not_pair_others(office: Office, village: Kiosk) -> None:
    with office.context.database.transaction() as session:
        session.get_one(Device, village.device).revoked_ms = 1
    assert problem(village.send("GET", f"{wire.GALLERY}?have=0")) == (403, "revoked")


def test_the_first_device_brings_all_that_are_paired_and_a_later_one_is_known_too(
    office: Office,
) -> None:
    one, other = office.kiosk("杏树村", "village"), office.kiosk("石头村", "village")
    known = office.context.devices
    known.clear()  # as of a worker that has just begun
    one.cursor()
    assert set(known) == {one.device, other.device}
    later = office.kiosk("柳树村", "village")
    later.cursor()
    assert set(known) == {one.device, other.device, later.device}
    stranger = wire.sign_request(DeviceKeys.generate(), "nobody", "POST", wire.CURSOR, b"{}")
    asked = office.client().post(wire.CURSOR, data=b"{}", headers=stranger)
    assert problem(asked) == (401, "unknown_device")

"""A made-up township for the page tests, filled through the real interface of kiosks.

Time is a hand that the tests move. Kiosks keep a chain and a boot clock, ask for cursors and send
signed batches, so that clock classes, flags and watermarks are what the server makes of them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.days import SHANGHAI, to_ms
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from server.app import create_app
from server.config import ServerConfig, make_keys
from server.migrate import migrate
from server.models import Device, Expectation, Official, Site, Township, User, WorkGroup
from server.services.access import accounts
from server.services.township import leave, townships

PASSWORD = "correct horse battery"
GROUPS = (
    "党政综合办公室",
    "第一驻村工作组（杏树村）",
    "第二驻村工作组（柳树沟门满族村、上窝铺、下窝铺）",
    "第三驻村工作组（石头村）",
    "便民服务中心",
    "综合行政执法队",
)
SITES = (
    ("示例乡机关", "office"),
    ("杏树村 Xingshu village", "village"),
    ("柳树沟门满族村", "village"),
    ("石头村", "village"),
)
SURNAMES = "王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田"
GIVEN = ("建国", "秀英", "志强", "丽娟", "伟", "晓燕", "海涛", "芳", "永福")
LONG_NAME = "阿卜杜热合曼·买买提明"
LONG_TITLE = "党委委员、人武部长、第二驻村工作组组长兼柳树沟门满族村第一书记"


def shanghai(day: int, clock: str, month: int = 11) -> datetime:
    """A moment of 2026 on the wall clock of Asia/Shanghai, aware, in UTC."""
    hour, minute = clock.split(":")
    return datetime(2026, month, day, int(hour), int(minute), tzinfo=SHANGHAI).astimezone(UTC)


class Hand:
    """A clock that stands until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment


@dataclass
class Kiosk:
    """A kiosk at a site: its keys, its chain, its clocks."""

    app: Flask
    hand: Hand
    device: str
    keys: DeviceKeys
    seq: int = 0
    acked: int = 0
    payloads: list[bytes] = field(default_factory=list)
    boot: str = ""
    booted: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    wall_error: timedelta = timedelta(0)
    anchor: str | None = None

    def __post_init__(self) -> None:
        self.reboot()

    @property
    def head(self) -> bytes:
        return run_chain(genesis(self.device, 1), self.payloads)

    @property
    def boottime_ns(self) -> int:
        return (self.hand() - self.booted) // timedelta(microseconds=1) * 1000

    def reboot(self) -> None:
        """Power came back: the boot clock starts again, the anchor is worth nothing."""
        self.boot, self.booted, self.anchor = str(uuid.uuid4()), self.hand(), None

    def record(
        self,
        official: str,
        kind: Kind = Kind.CHECKIN,
        status: Status = Status.IN_VILLAGE,
        **more: object,
    ) -> str:
        """Writes a record at the present moment; returns its id."""
        self.seq += 1
        record_id = str(uuid.uuid4())
        fields: dict[str, object] = {
            "method": Method.FACE,
            "score": 0.74,
            "margin": 0.31,
            "liveness": "live",
            "model": "sface",
            "gallery": 1,
            **more,
        }
        record = Record(
            device=self.device,
            epoch=1,
            seq=self.seq,
            record_id=record_id,
            kind=kind,
            official=official,
            status=status,
            wall_ms=to_ms(self.hand() + self.wall_error),
            boot_id=self.boot,
            boottime_ns=self.boottime_ns,
            anchor=self.anchor,
            **fields,  # type: ignore[arg-type]
        )
        self.payloads.append(encode_record(record))
        return record_id

    def _post(self, path: str, body: bytes) -> bytes:
        answer = self.app.test_client().post(
            path, data=body, headers=wire.sign_request(self.keys, self.device, "POST", path, body)
        )
        assert answer.status_code == 200, answer.text
        return answer.data

    def contact(self) -> None:
        """Asks for the cursor and takes the anchor."""
        asked = wire.CursorRequest(
            epoch=1,
            seq=self.seq,
            head=self.head.hex(),
            boot_id=self.boot,
            boottime_ns=self.boottime_ns,
            wall_ms=to_ms(self.hand() + self.wall_error),
            pending=self.seq - self.acked,
            anchor=self.anchor,
            rtt_ns=None if self.anchor is None else 80_000_000,
            gallery=1,
            health=wire.Health(
                camera="ok",
                lamps="rgb",
                clock="A",
                disk_free_mb=9120,
                refused={"not_live": 3, "unknown": 2, "quality": 0},
                oldest_s=7_300,
                rejected=1,
                gallery_expires_ms=1_780_000_000_000,
                troubles=["camera", "disk"],
            ),
        )
        reply = wire.decode(self._post(wire.CURSOR, wire.encode(asked)), wire.CursorReply)
        self.anchor = reply.anchor.id

    def upload(self) -> bytes:
        """The signed batch of what is pending."""
        before = run_chain(genesis(self.device, 1), self.payloads[: self.acked])
        return wire.encode_batch(
            self.keys, self.device, 1, self.acked + 1, before, self.payloads[self.acked :]
        )

    def sync(self) -> None:
        """A whole exchange: cursor, records, cursor."""
        self.contact()
        if self.acked < self.seq:
            self._post(wire.RECORDS, self.upload())
            self.acked = self.seq
            self.contact()


@dataclass
class World:
    """A server with two townships. `kiosks` are by site of the first, in the order of SITES."""

    app: Flask
    hand: Hand
    config: ServerConfig
    kiosks: list[Kiosk]
    codes: list[str]

    def client(self, user: str | None = None, lang: str = "zh") -> FlaskClient:
        """A browser, signed in where `user` says as whom."""
        browser = self.app.test_client()
        if lang == "en":
            browser.set_cookie("quxiang_lang", "en")
        if user is not None:
            answer = sign_in(browser, user)
            assert answer.status_code == 303, answer.text
        return browser


def token_of(html: str) -> str:
    """The CSRF token of a page's first form."""
    return html.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]


def sign_in(browser: FlaskClient, user: str, password: str = PASSWORD):  # type: ignore[no-untyped-def]
    """Fills in the login form as a person would."""
    token = token_of(browser.get("/login").text)
    form = {"name": user, "password": password, "csrf_token": token}
    return browser.post("/login", data=form)


def make_world(folder: Path, people: int = 36, url: str | None = None) -> World:
    """Two townships, accounts of each role, paired kiosks, nothing recorded yet.

    `url` is an empty PostgreSQL database, None for a SQLite file.
    """
    config = ServerConfig(folder, url)
    make_keys(config)
    migrate(config)
    hand = Hand(shanghai(19, "07:00"))
    app = create_app(config, clock=hand)
    app.config["TESTING"] = True
    codes: list[str] = []
    kiosks: list[Kiosk] = []
    with app.extensions["quxiang"].database.transaction() as session:
        township = townships.create_township(session, "示例乡", hand())
        other = townships.create_township(session, "邻乡", hand())
        sites = [townships.site_of(session, township, name, kind) for name, kind in SITES]
        groups = [WorkGroup(township_id=township.id, name=name) for name in GROUPS]
        session.add_all(groups)
        session.flush()
        for n in range(people):
            code = f"A{n + 1:03d}"
            codes.append(code)
            group = min(n * len(GROUPS) // people, len(GROUPS) - 1)
            official = Official(
                township_id=township.id,
                official=code,
                name=LONG_NAME if n == 13 else SURNAMES[n % 36] + GIVEN[n % 9],
                title=LONG_TITLE if n == 14 else ("组长", "副组长", "驻村干部", "科员")[n % 4],
                phone=f"1380000{n:04d}",
                work_group_id=groups[group].id,
                created_ms=to_ms(hand()),
                updated_ms=to_ms(hand()),
            )
            session.add(official)
            session.flush()
            site = (0, 1, 2, 3, 0, 0)[group]
            mask = 0 if n == people - 1 else 0b0011111
            if mask:
                session.add(
                    Expectation(
                        township_id=township.id,
                        official_id=official.id,
                        site_id=sites[site].id,
                        weekdays=mask,
                    )
                )
        for n, site in enumerate(sites[:3]):
            kiosks.append(_pair(session, app, hand, township, site, f"kiosk{n}aa"))
        stranger = Official(
            township_id=other.id,
            official="B001",
            name="外乡人",
            title="书记",
            phone="13999999999",
            created_ms=0,
            updated_ms=0,
        )
        session.add(stranger)
        _accounts(session, township, other, hand())
    return World(app, hand, config, kiosks, codes)


def _pair(session, app, hand, township: Township, site: Site, device: str) -> Kiosk:  # type: ignore[no-untyped-def]
    keys = DeviceKeys.generate()
    session.add(
        Device(
            id=device,
            township_id=township.id,
            kind="kiosk",
            site_id=site.id,
            sign_key=keys.sign_public,
            box_key=keys.box_public,
            paired_ms=to_ms(hand()),
            head=genesis(device, 1),
        )
    )
    return Kiosk(app, hand, device, keys)


def _accounts(session, township: Township, other: Township, now: datetime) -> None:  # type: ignore[no-untyped-def]
    for name, role, where, official in (
        ("admin", "admin", township, None),
        ("clerk", "clerk", township, None),
        ("inspector", "inspector", township, None),
        ("leader", "leader", township, "A001"),
        ("stranger", "leader", other, None),
    ):
        accounts.add_user(session, where, name, role, PASSWORD, now, official, must_change=False)


def fill(world: World) -> None:
    """Yesterday and this morning, with every status, verdict, method and clock class."""
    office, apricot, willow = world.kiosks
    hand, codes = world.hand, world.codes
    people = len(codes)
    sixth = people // 6
    for kiosk in world.kiosks:
        kiosk.sync()
    # Yesterday: the office and the apricot village complete, the willow village silent since.
    hand.moment = shanghai(19, "08:05")
    for code in codes[: sixth - 1]:
        office.record(code, status=Status.ON_DUTY)
        hand.moment += timedelta(seconds=40)
    hand.moment = shanghai(19, "08:20")
    for code in codes[sixth : 2 * sixth - 2]:
        apricot.record(code)
    hand.moment = shanghai(19, "17:40")
    for code in codes[sixth : sixth + 2]:
        apricot.record(code, Kind.CHECKOUT, Status.LEFT)
    office.sync()
    apricot.sync()
    # Today.
    hand.moment = shanghai(20, "07:30")
    _leave(world)
    for kiosk in world.kiosks:
        kiosk.sync()
    hand.moment = shanghai(20, "08:12")
    for code in codes[1 : sixth - 1]:
        office.record(code, status=Status.ON_DUTY)
        hand.moment += timedelta(seconds=50)
    back = to_ms(shanghai(20, "17:30"))
    trip, away = Status.BUSINESS_TRIP, Status.ON_LEAVE
    office.record(codes[1], Kind.DECLARE, trip, reason="meeting", until_ms=back)
    office.record(codes[2], Kind.CHECKOUT, Status.LEFT)
    office.record(codes[3], Kind.DECLARE, away, reason="personal", until_ms=back)
    office.record(codes[people - 2], status=Status.ON_DUTY, method=Method.PIN, score=None,
                  margin=None, liveness=None)  # fmt: skip
    first = codes[sixth]
    old = apricot.record(first)
    apricot.record(first, Kind.AMEND, Status.BUSINESS_TRIP, supersedes=old, reason="errand")
    apricot.record(codes[sixth + 1], liveness="off", until_ms=back)
    apricot.record(codes[sixth + 2], method=Method.PIN, verified=False)
    apricot.record(codes[2 * sixth + 4])  # expected elsewhere
    apricot.record(codes[4 * sixth])  # present on approved leave
    apricot.record("Z999")  # in no roster
    # The willow village lost power twice, and the telephone between: bracketed, one beyond belief.
    willow.reboot()
    hand.moment = shanghai(20, "08:31")
    for code in codes[2 * sixth : 2 * sixth + 3]:
        willow.record(code)
    willow.wall_error = timedelta(days=-20_000)
    willow.record(codes[2 * sixth + 3])
    willow.wall_error = timedelta(0)
    hand.moment = shanghai(20, "08:40")
    office.sync()
    apricot.sync()
    hand.moment = shanghai(20, "10:05")
    willow.reboot()
    willow.sync()
    hand.moment = shanghai(20, "10:30")
    office.sync()


def _leave(world: World) -> None:
    sixth = len(world.codes) // 6
    with world.app.extensions["quxiang"].database.transaction() as session:
        users = {u.name: u for u in session.query(User)}
        township = users["clerk"].township
        start, end = shanghai(20, "00:00"), shanghai(23, "00:00")
        for code, status, decided in (
            (world.codes[4 * sixth], Status.ON_LEAVE, True),
            (world.codes[4 * sixth + 1], Status.ON_LEAVE, True),
            (world.codes[4 * sixth + 2], Status.BUSINESS_TRIP, True),
            (world.codes[4 * sixth + 3], Status.ON_LEAVE, None),
            (world.codes[0], Status.ON_LEAVE, None),
        ):
            row = leave.ask(
                session, township, code, status, start, end, "年休假", users["clerk"], world.hand()
            )
            if decided:
                leave.decide(session, row.id, True, users["leader"], world.hand())

"""People and machines of two townships: who may, who may not, and a stranger."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys, from_text, to_text
from attendance.statuses import Kind, Method, Status
from server.app import create_app
from server.config import ServerConfig, load_keys, make_keys
from server.context import Context
from server.migrate import migrate
from server.models import Device, Township, User
from server.services.access import accounts
from server.services.paired import pairing
from server.services.township import leave
from server.services.township.townships import create_township, only_township
from tests.conftest import NewDatabase

#: A Wednesday, 09:00 in Shanghai.
MORNING = datetime(2026, 3, 18, 1, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def step(self, **kwargs: float) -> datetime:
        self.now += timedelta(**kwargs)
        return self.now


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@dataclass
class Machine:
    """A paired device that signs what it sends and checks every answer."""

    client: FlaskClient
    keys: DeviceKeys
    device: str
    server_key: bytes

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> TestResponse:
        signed = wire.sign_request(self.keys, self.device, method, target, body)
        answer = self.client.open(target, method=method, data=body, headers={**signed, **headers})
        wire.check_reply(
            self.server_key,
            answer.headers.get(wire.HEADER_SIGNATURE),
            signed[wire.HEADER_SIGNATURE],
            answer.status_code,
            answer.data,
        )
        return answer


@dataclass
class Kiosk(Machine):
    """A kiosk with a chain, a boot clock and a wall clock of its own."""

    clock: FakeClock
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    booted: datetime = MORNING - timedelta(hours=1)
    wall_off: timedelta = timedelta()
    epoch: int = 1
    cites: bytes | None = None
    payloads: list[bytes] = field(default_factory=list)
    anchor: str | None = None
    rtt_ns: int | None = None
    ids: int = 0

    @property
    def boottime_ns(self) -> int:
        return (self.clock.now - self.booted) // timedelta(microseconds=1) * 1000

    def reboot(self) -> None:
        self.boot_id, self.booted = str(uuid.uuid4()), self.clock.now
        self.anchor = self.rtt_ns = None

    @property
    def start(self) -> bytes:
        return genesis(self.device, self.epoch, self.cites or b"")

    def head(self, seq: int | None = None) -> bytes:
        return run_chain(self.start, self.payloads[:seq])

    def record(self, official: str | None = "zhang-3", **changes: Any) -> Record:
        """One record appended to the chain."""
        fields: dict[str, Any] = {
            "device": self.device,
            "epoch": self.epoch,
            "seq": len(self.payloads) + 1,
            "record_id": str(uuid.uuid4()),
            "kind": Kind.CHECKIN,
            "official": official,
            "status": Status.IN_VILLAGE,
            "method": Method.FACE,
            "wall_ms": ms(self.clock.now + self.wall_off),
            "boot_id": self.boot_id,
            "boottime_ns": self.boottime_ns,
            "score": 0.71,
            "liveness": "live",
        }
        made = Record(**{**fields, **changes})
        self.payloads.append(encode_record(made))
        return made

    def cursor(self, pending: int = 0, **changes: Any) -> wire.CursorReply:
        asked = self.cursor_request(pending, **changes)
        answer = self.send("POST", wire.CURSOR, wire.encode(asked))
        assert answer.status_code == 200, answer.data
        reply = wire.decode(answer.data, wire.CursorReply)
        self.anchor, self.rtt_ns = reply.anchor.id, 40_000_000
        return reply

    def cursor_request(self, pending: int = 0, **changes: Any) -> wire.CursorRequest:
        fields: dict[str, Any] = {
            "epoch": self.epoch,
            "seq": len(self.payloads),
            "head": self.head().hex(),
            "boot_id": self.boot_id,
            "boottime_ns": self.boottime_ns,
            "wall_ms": ms(self.clock.now + self.wall_off),
            "pending": pending,
            "anchor": self.anchor,
            "rtt_ns": self.rtt_ns,
        }
        return wire.CursorRequest(**{**fields, **changes})

    def batch(self, first: int = 1, last: int | None = None) -> bytes:
        return wire.encode_batch(
            self.keys,
            self.device,
            self.epoch,
            first,
            self.head(first - 1),
            self.payloads[first - 1 : last],
            self.cites,
        )

    def upload(self, first: int = 1, last: int | None = None) -> TestResponse:
        return self.send("POST", wire.RECORDS, self.batch(first, last))

    def sync(self) -> wire.BatchReply | None:
        """One whole exchange; the ack of what was sent."""
        reply = self.cursor(pending=1)
        sent = None
        while reply.seq < len(self.payloads):
            answer = self.upload(reply.seq + 1, reply.seq + wire.MAX_BATCH)
            assert answer.status_code == 200, answer.data
            sent = wire.decode(answer.data, wire.BatchReply)
            reply = self.cursor(pending=len(self.payloads) - sent.seq)
        if sent is None:
            self.cursor(pending=0)
        return sent


@dataclass
class Office:
    """A server over a real database, and the means to people it."""

    config: ServerConfig
    app: Flask
    clock: FakeClock

    @property
    def context(self) -> Context:
        found: Context = self.app.extensions["quxiang"]
        return found

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def township(self, name: str | None = None) -> Township:
        with self.context.database.session() as session:
            return only_township(session, name)

    def code(self, kind: str, site: str | None = None, site_kind: str | None = None,
             township: str | None = None) -> str:  # fmt: skip
        with self.context.database.transaction() as session:
            place = only_township(session, township)
            keys = load_keys(self.config)
            return str(pairing.make_code(session, place, kind, self.clock(), keys, site, site_kind))

    def pair(self, kind: str, code: str, keys: DeviceKeys | None = None) -> wire.PairReply:
        keys = keys or DeviceKeys.generate()
        asked = wire.PairRequest(
            code=code,
            kind=kind,
            sign_key=to_text(keys.sign_public),
            box_key=to_text(keys.box_public),
        )
        answer = self.client().post(wire.PAIR, data=wire.encode(asked))
        assert answer.status_code == 200, answer.data
        reply = wire.decode(answer.data, wire.PairReply)
        server = from_text(reply.server_key)
        wire.check_reply(server, answer.headers[wire.HEADER_SIGNATURE], "", 200, answer.data)
        return reply

    def kiosk(self, site: str, site_kind: str | None = None, township: str | None = None) -> Kiosk:
        keys = DeviceKeys.generate()
        reply = self.pair("kiosk", self.code("kiosk", site, site_kind, township), keys)
        return Kiosk(
            self.client(), keys, reply.device, from_text(reply.server_key), self.clock,
            booted=self.clock.now - timedelta(hours=1),
        )  # fmt: skip

    def desk(self, township: str | None = None) -> Machine:
        keys = DeviceKeys.generate()
        reply = self.pair("desk", self.code("desk", township=township), keys)
        return Machine(self.client(), keys, reply.device, from_text(reply.server_key))

    def user(
        self, name: str, role: str, official: str | None = None, township: str | None = None
    ) -> User:
        with self.context.database.transaction() as session:
            place = only_township(session, township)
            return accounts.add_user(
                session, place, name, role, PASSWORD, self.clock(), official, must_change=False
            )

    def device(self, device_id: str) -> Device:
        with self.context.database.session() as session:
            return session.get_one(Device, device_id)


def roster(*rows: tuple[str, str, list[str]], group: str = "第一工作组") -> bytes:
    return wire.encode(
        wire.Roster(
            officials=[
                wire.RosterRow(
                    official=code, name=name, title="科员", phone="13800000000",
                    work_group=group, sites=places,
                )
                for code, name, places in rows
            ]
        )
    )  # fmt: skip


@pytest.fixture
def clock() -> FakeClock:
    """Wednesday, 18 March 2026, 09:00 in Shanghai."""
    return FakeClock(MORNING)


@pytest.fixture(scope="session")
def ready() -> dict[NewDatabase, ServerConfig]:
    """What `migrated` made: pytest makes it anew whenever the database changes, file after file."""
    return {}


@pytest.fixture(scope="session")
def migrated(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: NewDatabase,
    ready: dict[NewDatabase, ServerConfig],
) -> ServerConfig:
    """An empty, migrated server, to be copied: migrating takes a third of a second."""
    if new_database not in ready:
        config = ServerConfig(tmp_path_factory.mktemp("migrated"), new_database())
        make_keys(config)
        migrate(config)
        ready[new_database] = config
    return ready[new_database]


def copy_of(
    migrated: ServerConfig, new_database: NewDatabase, folder: Path, clock: FakeClock
) -> Office:
    """An empty server of its own, with the same keys."""
    config = ServerConfig(folder, new_database(migrated.database_url))
    config.portraits.mkdir(parents=True)
    for name in ("server.db", "secret.key", "server.key"):
        if (migrated.data / name).exists():
            (folder / name).write_bytes((migrated.data / name).read_bytes())
    return Office(config, create_app(config, clock=clock), clock)


@pytest.fixture
def office(
    request: pytest.FixtureRequest,
    migrated: ServerConfig,
    new_database: NewDatabase,
    tmp_path: Path,
    clock: FakeClock,
) -> Iterator[Office]:
    """A server with the townships 青山乡 and, strangers to it, 白水乡; on each database."""
    made = copy_of(migrated, new_database, tmp_path / "server", clock)
    with made.context.database.transaction() as session:
        create_township(session, "青山乡", clock())
        create_township(session, "白水乡", clock())
    url = made.config.database_url
    cluster = None if url is None else request.getfixturevalue("postgres")
    yield made
    made.context.database.close()
    if cluster is not None:
        cluster.drop(url)


@pytest.fixture
def village(office: Office) -> Kiosk:
    """The kiosk of 杏树村 in 青山乡."""
    return office.kiosk("杏树村", "village")


@pytest.fixture
def desk(office: Office, village: Kiosk) -> Machine:
    """青山乡's desk; zhang-3 and li-4 are expected at 杏树村, wang-5 nowhere."""
    machine = office.desk()
    body = roster(
        ("zhang-3", "张三", ["杏树村"]), ("li-4", "李四", ["杏树村"]), ("wang-5", "王五", [])
    )
    assert machine.send("PUT", wire.DESK_ROSTER, body).status_code == 200
    return machine


@pytest.fixture
def stranger(office: Office, desk: Machine) -> Machine:
    """The desk of 白水乡, the next township."""
    return office.desk("白水乡")


@pytest.fixture
def stopwatch() -> Any:
    """Seconds since the fixture was made."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start


def approve(
    office: Office, code: str, status: Status = Status.ON_LEAVE, start: datetime = MORNING
) -> None:
    """Leave or a trip of eight hours, entered by a clerk and approved by a leader."""
    with office.context.database.transaction() as session:
        place = only_township(session)
        mine = User.township_id == place.id
        clerk = session.scalars(select(User).where(mine, User.role == "clerk")).first()
        leader = session.scalars(select(User).where(mine, User.role == "leader")).first()
        now = office.clock()
        clerk = clerk or accounts.add_user(session, place, "wenshu", "clerk", PASSWORD, now)
        leader = leader or accounts.add_user(session, place, "lingdao", "leader", PASSWORD, now)
        end = start + timedelta(hours=8)
        row = leave.ask(session, place, code, status, start, end, "", clerk, now)
        leave.decide(session, row.id, True, leader, now)


@pytest.fixture
def people(office: Office, desk: Machine) -> dict[str, User]:
    """One account of each role; `own` is a leader who is the cadre zhang-3."""
    made = {
        name: office.user(name, role)
        for name, role in (("clerk", "clerk"), ("leader", "leader"), ("second", "leader"),
                           ("inspector", "inspector"), ("admin", "admin"))
    }  # fmt: skip
    made["own"] = office.user("own", "leader", official="zhang-3")
    return made


@pytest.fixture
def session(office: Office, people: dict[str, User]) -> Session:
    """A writing session; what a test does stays in it."""
    with office.context.database.session(write=True) as opened:
        yield opened  # type: ignore[misc]


@pytest.fixture
def township(session: Session) -> Township:
    return only_township(session)

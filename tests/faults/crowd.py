"""The kiosks of the storm, made before it begins: paired, with records signed and packed."""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec
from sqlalchemy import text

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.days import from_ms, to_ms
from attendance.records import Record
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from server.config import ServerConfig, load_keys
from server.context import utcnow
from server.db import Database
from server.models import Device, EpochRow, Expectation, Official, Site
from server.services.records import cursors
from server.services.township.townships import only_township

OFFICIALS = 200
"""People on the board. Each kiosk recognises eight of them."""
AT_A_SITE = 8
_encode = msgspec.json.Encoder(order="deterministic").encode


class Kiosk(NamedTuple):
    """One kiosk, all that it will say made ready: requests as bytes of HTTP, in their order."""

    id: str
    requests: list[bytes]
    signatures: list[str]
    records: int
    head: bytes


class Made(NamedTuple):
    """A kiosk before it has said anything."""

    id: str
    keys: DeviceKeys
    boot: str
    people: list[str]


def furnish(config: ServerConfig, count: int) -> list[Made]:
    """Officials, sites, paired kiosks that were heard of two days ago, by the server's models."""
    rng = random.Random(7)
    database = Database(config)
    now = utcnow()
    ago = to_ms(now) - 2 * 86_400_000
    made = []
    with database.transaction() as session:
        township = only_township(session)
        people = [
            Official(
                township_id=township.id, official=f"QS-{n + 1:03}", name=f"干部{n + 1}",
                created_ms=ago, updated_ms=ago,
            )
            for n in range(OFFICIALS)
        ]  # fmt: skip
        sites = [
            Site(township_id=township.id, name=f"村{n + 1}", kind="village") for n in range(count)
        ]
        session.add_all([*people, *sites])
        session.flush()
        secret = load_keys(config).secret
        for number, site in enumerate(sites):
            name, keys, boot = f"k{number:07}", DeviceKeys.generate(), _uuid(rng)
            device = Device(
                id=name, township_id=township.id, kind="kiosk", site_id=site.id,
                sign_key=keys.sign_public, box_key=keys.box_public, paired_ms=ago,
                head=genesis(name, 1),
            )  # fmt: skip
            session.add(device)
            session.flush()
            session.add(
                EpochRow(
                    township_id=township.id, device_id=name, epoch=1, cites=b"", follows=True,
                    opened_ms=ago,
                )
            )  # fmt: skip
            here = rng.sample(people, AT_A_SITE)
            session.add_all(
                Expectation(township_id=township.id, official_id=person.id, site_id=site.id)
                for person in here
            )
            asked = wire.CursorRequest(
                epoch=1, seq=0, head=device.head.hex(), boot_id=boot, boottime_ns=10**9,
                wall_ms=ago, pending=0,
            )  # fmt: skip
            cursors.cursor(session, device, asked, from_ms(ago), secret=secret)
            made.append(Made(name, keys, boot, [person.official for person in here]))
    with database.transaction() as session:
        # PostgreSQL does so by itself in its first minute; without it, it plans for empty tables.
        session.execute(text("ANALYZE"))
    database.close()
    return made


def prepare(made: Made, records: int, now_ms: int) -> Kiosk:
    """Two days of check-ins, signed and packed as the kiosk sends them."""
    rng = random.Random(made.id)
    payloads = [
        _encode(
            Record(
                device=made.id, epoch=1, seq=seq, record_id=_uuid(rng), kind=Kind.CHECKIN,
                official=rng.choice(made.people), status=Status.IN_VILLAGE, method=Method.FACE,
                wall_ms=now_ms - (records - seq + 1) * 172_000_000 // records,
                boot_id=made.boot, boottime_ns=2 * 10**9 + seq * 172 * 10**15 // records // 1000,
                score=round(rng.uniform(0.5, 0.9), 4), margin=round(rng.uniform(0.05, 0.5), 4),
                liveness="live", model="sface-2021dec", gallery=3,
            )
        )
        for seq in range(1, records + 1)
    ]  # fmt: skip
    start = genesis(made.id, 1)
    end = run_chain(start, payloads)
    asked = _cursor(made, 1, records, records, end)
    done = _cursor(made, 2, records, 0, end)
    bodies = [(wire.CURSOR, wire.encode(asked))]
    before = start
    for first in range(0, records, wire.MAX_BATCH):
        part = payloads[first : first + wire.MAX_BATCH]
        packed = wire.encode_batch(made.keys, made.id, 1, first + 1, before, part)
        bodies.append((f"{wire.RECORDS}?{wire.BRIEF}", packed))
        before = run_chain(before, part)
    bodies.append((wire.CURSOR, wire.encode(done)))
    signed = [_http(made, target, body) for target, body in bodies]
    return Kiosk(made.id, [raw for raw, _ in signed], [s for _, s in signed], records, end)


def _cursor(made: Made, contact: int, seq: int, pending: int, head: bytes) -> wire.CursorRequest:
    return wire.CursorRequest(
        epoch=1, seq=seq, head=head.hex(), boot_id=made.boot, pending=pending, gallery=3,
        boottime_ns=172_800 * 10**9 + contact * 10**9, wall_ms=to_ms(utcnow()),
        health=wire.Health(camera="ok", lamps="ok", clock="A", disk_free_mb=9000),
    )  # fmt: skip


def _http(made: Made, target: str, body: bytes) -> tuple[bytes, str]:
    headers = wire.sign_request(made.keys, made.id, "POST", target, body)
    lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body, headers[wire.HEADER_SIGNATURE]


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

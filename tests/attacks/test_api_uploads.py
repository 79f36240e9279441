"""Hostile uploads: mutated, repeated at once, endless, and bombs. Nothing of them may be a 5xx."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import requests

from attendance import wire
from attendance.chain import genesis
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import Kind, Method, Status
from server.config import ServerConfig, load_keys, stored_url
from server.context import utcnow
from server.db import Database
from server.services import pairing
from server.services.townships import only_township
from tests.conftest import NewDatabase

MUTATIONS = 300


@dataclass
class Attacker:
    """A paired kiosk whose keys fell into the wrong hands, and a real server to try them on."""

    url: str
    data: Path
    device: str = ""
    keys: DeviceKeys = field(default_factory=DeviceKeys.generate)

    def post(self, body: bytes, path: str = wire.RECORDS) -> requests.Response:
        signed = wire.sign_request(self.keys, self.device, "POST", path, body)
        return requests.post(self.url + path, data=body, headers=signed, timeout=30)

    def payloads(self, number: int, first: int = 1) -> list[bytes]:
        return [
            encode_record(
                Record(
                    device=self.device, epoch=1, seq=first + n, record_id=str(uuid.uuid4()),
                    kind=Kind.CHECKIN, official="zhang-3", status=Status.IN_VILLAGE,
                    method=Method.FACE, wall_ms=1_790_000_000_000, boot_id=str(uuid.UUID(int=7)),
                    boottime_ns=10**9 * n,
                )
            )
            for n in range(number)
        ]  # fmt: skip

    def batch(self, payloads: list[bytes], first: int = 1, before: bytes | None = None) -> bytes:
        start = genesis(self.device, 1) if before is None else before
        return wire.encode_batch(self.keys, self.device, 1, first, start, payloads)


def pair(attacker: Attacker) -> Attacker:
    config = ServerConfig(attacker.data, stored_url(attacker.data))
    database = Database(config)
    with database.transaction() as session:
        code = pairing.make_code(
            session, only_township(session), "kiosk", utcnow(), load_keys(config), "杏树村"
        )
    database.close()
    asked = wire.PairRequest(
        code=str(code),
        kind="kiosk",
        sign_key=to_text(attacker.keys.sign_public),
        box_key=to_text(attacker.keys.box_public),
    )
    answer = requests.post(attacker.url + wire.PAIR, data=wire.encode(asked), timeout=10)
    attacker.device = wire.decode(answer.content, wire.PairReply).device
    return attacker


COMMAND = [sys.executable, "-m", "server.cli"]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase
) -> Iterator[Attacker]:
    """A township server under gunicorn on a port of its own, ended afterwards."""
    data = tmp_path_factory.mktemp("township") / "server"
    url = new_database()
    where = [] if url is None else ["--database", url]
    subprocess.run([*COMMAND, "init", "--data", str(data), *where], check=True, capture_output=True)
    process = subprocess.Popen(
        [*COMMAND, "run", "--data", str(data), "--port", "0", "--workers", "1"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield Attacker(found[0], data)
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def attacker(server: Attacker) -> Attacker:
    """A kiosk freshly paired."""
    return pair(Attacker(server.url, server.data))


def test_mutated_uploads_get_a_defined_refusal(attacker: Attacker) -> None:
    rng = random.Random(4)
    plain = wire.unpack(attacker.batch(attacker.payloads(5)))
    seen: dict[int, int] = {}
    for _ in range(MUTATIONS):
        body = mutate(rng, plain)
        if rng.random() < 0.9:
            body = gzip.compress(body, 1)
        if rng.random() < 0.3:
            body = mutate(rng, body)
        path = rng.choice([wire.RECORDS, wire.RECORDS, wire.CURSOR])
        answer = attacker.post(body, path)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, body
        assert answer.headers[wire.HEADER_SIGNATURE]
    assert seen.keys() <= {200, 400, 401, 409, 413}
    assert sum(seen.values()) == MUTATIONS


def mutate(rng: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(found)) if found else 0
        turn = rng.randrange(6)
        if turn == 0 and found:
            found[at] ^= 1 << rng.randrange(8)
        elif turn == 1:
            del found[at : at + rng.randrange(1, 40)]
        elif turn == 2:
            found[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif turn == 3:
            found[at:at] = rng.choice([b"NaN", b"1e999", b'"\\ud800"', b"\x00", b"[" * 500, b"-1"])
        elif turn == 4:
            piece = found[at : at + 60]
            found[at:at] = piece
        else:
            number = re.search(rb"\d+", bytes(found[at:]))
            if number:
                found[at + number.start() : at + number.end()] = str(
                    rng.choice([2**63, 2**64, -1, 0, 10**30, 0.5])
                ).encode()
    return bytes(found)


def test_signed_nonsense_inside_the_chain_is_set_aside(attacker: Attacker) -> None:
    """Whoever holds the key can sign any JSON value as a record."""
    nonsense = [
        b"null", b"0", b"[]", b'"x"', b"{}", b"1e308", b'{"v":1,"v":1}', b'"\\u0000"',
        b"[" * 400 + b"]" * 400, json.dumps({"official": "x" * 5000}).encode(),
        attacker.payloads(1)[0].replace(b"1790000000000", b"9223372036854775808"),
    ]  # fmt: skip
    answer = attacker.post(attacker.batch(nonsense))
    assert answer.status_code == 200
    reply = wire.decode(answer.content, wire.BatchReply)
    assert {r.result for r in reply.results} == {"rejected"}
    good = attacker.payloads(1, len(nonsense) + 1)
    body = attacker.batch(good, len(nonsense) + 1, bytes.fromhex(reply.head))
    assert wire.decode(attacker.post(body).content, wire.BatchReply).results[0].result == "stored"


def test_the_same_batch_many_times_at_once_is_stored_once(attacker: Attacker) -> None:
    body = attacker.batch(attacker.payloads(50))
    answers: list[requests.Response] = []

    def insist() -> None:
        while (answer := attacker.post(body)).status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
            time.sleep(0.05)
        answers.append(answer)

    threads = [threading.Thread(target=insist) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} == {200}
    results = [{r.result for r in wire.decode(a.content, wire.BatchReply).results} for a in answers]
    assert sorted(map(str, results)) == ["{'duplicate'}"] * 39 + ["{'stored'}"]


@pytest.mark.parametrize("size", [64 << 20, 5 << 20])
def test_a_bomb_is_refused(attacker: Attacker, size: int) -> None:
    start = time.perf_counter()
    answer = attacker.post(gzip.compress(b"[" + b" " * size))
    assert answer.status_code in (400, 413)
    assert time.perf_counter() - start < 5


def test_nesting_does_not_end_the_server(attacker: Attacker) -> None:
    for body in (b"[" * 100_000, b'{"a":' * 100_000):
        assert attacker.post(gzip.compress(body)).status_code == 400
        assert attacker.post(body[:8000], wire.CURSOR).status_code == 400


def test_an_endless_chunked_body_is_cut(attacker: Attacker) -> None:
    host, port = attacker.url.removeprefix("http://").split(":")
    head = f"POST {wire.RECORDS} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode())
        try:
            for _ in range(2000):  # 128 MB, were they read
                line.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 32 << 20  # what fits into socket buffers, not what was offered
    assert requests.get(attacker.url + "/healthz", timeout=10).status_code == 200


def test_foreign_records_are_not_taken(attacker: Attacker, server: Attacker) -> None:
    victim = pair(Attacker(server.url, server.data))
    stolen = attacker.batch(victim.payloads(1))
    reply = wire.decode(attacker.post(stolen).content, wire.BatchReply)
    assert reply.results[0].result == "rejected"
    foreign = wire.encode_batch(
        attacker.keys, victim.device, 1, 1, genesis(victim.device, 1), victim.payloads(1)
    )
    assert attacker.post(foreign).status_code == 400
    as_victim = Attacker(server.url, server.data, victim.device, attacker.keys)
    assert as_victim.post(foreign).status_code == 401
    assert victim.post(victim.batch(victim.payloads(1))).status_code == 200


def test_numbers_at_the_edges_are_stored_or_refused(attacker: Attacker) -> None:
    edges = [0, 1, 2**31, 2**53 + 1, 2**63 - 1]
    template = msgspec.json.decode(attacker.payloads(1)[0])
    payloads = []
    for n, boottime in enumerate(edges, 1):
        record = Record(
            **{
                **msgspec.to_builtins(template),
                "seq": n,
                "record_id": str(uuid.uuid4()),
                "boottime_ns": boottime,
                "kind": Kind.CHECKIN,
                "status": Status.IN_VILLAGE,
                "method": Method.FACE,
                "wall_ms": [-62_135_510_400_000, 253_402_214_400_000][n % 2],
            }
        )
        payloads.append(encode_record(record))
    cursor = {
        "epoch": 1, "seq": 0, "head": genesis(attacker.device, 1).hex(),
        "boot_id": str(uuid.UUID(int=7)), "boottime_ns": 2**63 - 1, "wall_ms": 0,
        "pending": 2**63 - 1, "anchor": "x.y.z", "rtt_ns": 2**63 - 1,
    }  # fmt: skip
    assert attacker.post(json.dumps(cursor).encode(), wire.CURSOR).status_code == 200
    answer = attacker.post(attacker.batch(payloads))
    assert answer.status_code == 200, answer.text
    assert requests.get(attacker.url + "/board.json", timeout=10).status_code == 200

"""Hostile uploads: mutated, repeated at once, endless, and bombs. Nothing of them may be a 5xx."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from attendance import wire
from attendance.chain import genesis
from attendance.records import Record, encode_record
from attendance.statuses import Kind, Method, Status
from tests.attacks import hostile, mutate
from tests.attacks.attacker import Attacker, Target
from tests.conftest import NewDatabase

MUTATIONS = 220
COMMAND = [sys.executable, "-m", "server.cli"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[Target]:
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
        found = re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())
        assert found is not None
        opened = Target(int(found[1]), data, process.pid)
        assert hostile.pace(opened) > 0
        yield opened
        opened.close()
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def attacker(target: Target) -> Attacker:
    """A kiosk freshly paired."""
    return target.pair()


def test_mutated_requests_get_a_defined_refusal(target: Target) -> None:
    seen, senders = mutate.storm(target, MUTATIONS)
    assert sum(seen.statuses.values()) + seen.unanswered >= MUTATIONS
    assert {200, 400, 401, 403, 404} <= seen.statuses.keys()
    assert sum(len(each.acked) for each in senders.everybody) > 15


def test_what_is_hostile_is_refused_in_time_and_not_kept(target: Target) -> None:
    limit = max(hostile.AT_MOST_S, hostile.AT_MOST_TIMES * hostile.pace(target))
    calm, workers = target.memory(), target.workers
    for case in hostile.CASES:
        assert hostile.try_case(target, case, 3, limit) < limit, case.name
    assert target.memory("VmHWM") - calm < hostile.MAY_PEAK
    assert target.workers == workers


def test_the_same_batch_many_times_at_once_is_stored_once(target: Target) -> None:
    hostile.at_once(target)


def test_who_stops_in_the_middle_holds_up_nobody_for_long(target: Target) -> None:
    assert hostile.answered_meanwhile(target) < hostile.MEANWHILE_S


def test_signed_nonsense_inside_the_chain_is_set_aside(attacker: Attacker) -> None:
    """Whoever holds the key can sign any JSON value as a record."""
    nonsense = [
        b"null", b"0", b"[]", b'"x"', b"{}", b"1e308", b'{"v":1,"v":1}', b'"\\u0000"',
        b"[" * 400 + b"]" * 400, json.dumps({"official": "x" * 5000}).encode(),
        attacker.payloads(1)[0].replace(b"1790000000000", b"9223372036854775808"),
    ]  # fmt: skip
    answer = attacker.ask(attacker.batch(nonsense))
    assert answer.status == 200
    reply = wire.decode(answer.body, wire.BatchReply)
    assert {r.result for r in reply.results} == {"rejected"}
    good = attacker.payloads(1, len(nonsense) + 1)
    body = attacker.batch(good, len(nonsense) + 1, bytes.fromhex(reply.head))
    assert wire.decode(attacker.ask(body).body, wire.BatchReply).results[0].result == "stored"


def test_foreign_records_are_not_taken(attacker: Attacker, target: Target) -> None:
    victim = target.pair()
    stolen = attacker.batch(victim.payloads(1))
    reply = wire.decode(attacker.ask(stolen).body, wire.BatchReply)
    assert reply.results[0].result == "rejected"
    foreign = wire.encode_batch(
        attacker.keys, victim.device, 1, 1, genesis(victim.device, 1), victim.payloads(1)
    )
    assert attacker.ask(foreign).status == 400
    as_victim = Attacker(target, victim.device, attacker.keys)
    assert as_victim.ask(foreign).status == 401
    assert victim.ask(victim.batch(victim.payloads(1))).status == 200


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
    assert attacker.ask(json.dumps(cursor).encode(), wire.CURSOR).status == 200
    answer = attacker.ask(attacker.batch(payloads))
    assert answer.status == 200, answer.body
    assert attacker.target.ask("GET", "/board.json").status == 200  # type: ignore[union-attr]

"""Rows and leaves compared by the page: what does not fit exactly is looked at one by one."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest

from attendance.records import Record, encode_record
from attendance.statuses import Kind, Method, Status
from server.models import Checkpoint, CheckpointLeaves
from server.services.evidence.leaves import Leaves, pack
from server.services.evidence.protected import COLUMNS
from server.services.records.chains import _repeat
from server.services.records.recordrows import columns

from .conftest import Office


def leaf(rowid: int) -> bytes:
    return bytes(pack(rowid, hashlib.sha256(str(rowid).encode()).digest()))


@pytest.fixture
def closed(office: Office) -> Office:
    """Rows 1 to 9 of a table, closed by three checkpoints: 1 to 2, 3, and 4 to 9."""
    with office.context.database.transaction() as session:
        for number, rows in enumerate(((1, 2), (3,), (4, 5, 6, 7, 8, 9)), 1):
            session.add(
                Checkpoint(id=number, at_ms=0, size=0, root=b"", frontier=b"", signature=b"")
            )
            session.flush()
            leaves = b"".join(map(leaf, rows))
            session.add(
                CheckpointLeaves(
                    checkpoint_id=number,
                    table_name="visit",
                    scheme=1,
                    last_id=rows[-1],
                    leaves=leaves,
                )
            )
            session.flush()
    return office


def test_a_page_of_rows_takes_the_leaves_of_several_checkpoints(closed: Office) -> None:
    with closed.context.database.session() as session:
        leaves = Leaves(session, "visit", None, None)
        assert leaves.take(leaf(1))
        assert leaves.take(b"".join(map(leaf, (2, 3, 4, 5))))
        found = leaves.peek()
        assert found is not None
        assert (found.rowid, found.number) == (6, 3)
        assert leaves.take(b"".join(map(leaf, (6, 7, 8, 9))))
        assert leaves.peek() is None


@pytest.mark.parametrize("wanted", [(1, 2, 4), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (2,), (1, 3)])
def test_what_does_not_fit_takes_none(closed: Office, wanted: tuple[int, ...]) -> None:
    with closed.context.database.session() as session:
        leaves = Leaves(session, "visit", None, None)
        assert not leaves.take(b"".join(map(leaf, wanted)))
        seen = []
        while (found := leaves.peek()) is not None:
            seen.append((found.rowid, found.number))
            leaves.drop()
    assert seen == [(1, 1), (2, 1), (3, 2), *((n, 3) for n in range(4, 10))]


def test_only_those_between_two_rows(closed: Office) -> None:
    with closed.context.database.session() as session:
        leaves = Leaves(session, "visit", 2, 5)
        assert leaves.take(b"".join(map(leaf, (3, 4, 5))))
        assert leaves.peek() is None


def row(seq: int, **changes: Any) -> tuple[Any, ...]:
    """A row as the driver gives it."""
    fields: dict[str, Any] = {
        "device": "kkkkkkkk", "epoch": 1, "seq": seq, "record_id": str(uuid.uuid4()),
        "kind": Kind.CHECKIN, "official": "a-1", "status": Status.IN_VILLAGE,
        "method": Method.FACE, "wall_ms": 1, "boot_id": str(uuid.uuid4()), "boottime_ns": 1,
    }  # fmt: skip
    record = Record(**{**fields, **changes})
    held = {"payload": encode_record(record), **columns(record)}
    return tuple(held.get(name, 0) for name in COLUMNS["record"])


def test_columns_that_repeat_their_payloads_do() -> None:
    page = [row(1), row(2, detail='"}', reason="r"), row(3)]
    assert _repeat(page)
    for number in (5, 9, 13, 20):  # record_id, official, until_ms, wall_ms
        bent = list(page[1])
        bent[number] = "another"
        assert not _repeat([page[0], tuple(bent), page[2]])


def test_two_payloads_that_are_records_only_side_by_side_are_none() -> None:
    page = [row(1), row(2)]
    both = page[0][6] + b"," + page[1][6]
    for at in (i for i, byte in enumerate(both) if byte == ord(",")):
        halves = both[:at], both[at + 1 :]
        moved = [(*held[:6], half, *held[7:]) for held, half in zip(page, halves, strict=True)]
        assert _repeat(moved) == (at == len(page[0][6])), both[at - 20 : at + 20]
    inside = row(1, detail='x},{"v":1,"device":"y')
    assert _repeat([inside])
    assert not _repeat([(*inside[:6], b" " + inside[6], *inside[7:])])
    assert not _repeat([(*inside[:6], None, *inside[7:])])

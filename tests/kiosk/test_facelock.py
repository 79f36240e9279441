"""The three-strikes lock and the count of refusals: durable, and about faces only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.records import decode_record
from attendance.statuses import Kind
from kiosk.events import EventLog
from kiosk.facelock import LOCK_S, FaceLock
from kiosk.fakes import FakeClock
from kiosk.refusals import REASONS, RefusalCount, refusals
from kiosk.store import Store

DEVICE = "a" * 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kiosk.db", DEVICE) as opened:
        yield opened


def faults(store: Store) -> list[str | None]:
    batch = store.batch(0, 0)
    records = [decode_record(payload) for payload in batch.payloads] if batch else []
    return [r.detail for r in records if r.kind is Kind.FAULT]


@pytest.mark.parametrize("by_frames", [True, False])
def test_three_lock_for_a_minute_through_a_restart(store: Store, by_frames: bool) -> None:
    clock = FakeClock()
    lock = FaceLock(store, clock, by_frames=by_frames)
    assert [lock.not_live("XC-1"), lock.not_live("XC-2")] == [False, False]
    lock = FaceLock(store, clock, by_frames=by_frames)  # the count outlives a restart
    assert lock.not_live("XC-1") is True
    clock.advance(20)
    again = FaceLock(store, clock, by_frames=by_frames)
    assert again.left_s() == pytest.approx(LOCK_S - 20)
    clock.advance(41)
    assert again.left_s() == 0
    assert again.not_live("XC-1") is False, "the count began anew"


def test_the_lock_is_told_to_the_supervisors_without_a_name(store: Store) -> None:
    lock = FaceLock(store, FakeClock(), by_frames=True)
    for _ in range(3):
        lock.not_live("XC-1")
    assert faults(store) == ["3 faces were not alive: no faces for 60 s"]


def test_ones_own_face_takes_back_ones_own_refusals_only(store: Store) -> None:
    """An official who tries a colleague's photograph cannot clear the count with his own face."""
    clock = FakeClock()
    lock = FaceLock(store, clock, by_frames=True)
    lock.not_live("XC-2")
    lock.not_live("XC-2")
    lock.passed("XC-1")
    assert lock.not_live("XC-2") is True
    clock.advance(LOCK_S + 1)
    assert lock.left_s() == 0
    lock.not_live("XC-2")
    lock.not_live("XC-2")
    lock.passed("XC-2")
    assert lock.not_live("XC-1") is False


def test_another_boot_locks_no_longer_than_a_minute(store: Store) -> None:
    clock = FakeClock()
    lock = FaceLock(store, clock, by_frames=False)
    for _ in range(3):
        lock.not_live("XC-1")
    clock.reboot()
    left = FaceLock(store, clock, by_frames=False).left_s()
    assert 0 < left <= LOCK_S


def test_a_note_that_cannot_be_read_locks_nobody_out(store: Store) -> None:
    for note in ("[]", "nonsense", '{"tried": 7}', '{"wall_ms": 1}'):
        store.set_meta(face_lock=note)
        assert FaceLock(store, FakeClock(), by_frames=True).left_s() == 0


def test_every_refusal_is_counted_by_its_reason(store: Store) -> None:
    assert refusals(store) == dict.fromkeys(REASONS, 0)
    with EventLog() as events:
        events.listen(RefusalCount(store))
        for reason in ("unknown", "not_live", "not_live", "locked"):
            events.refused(reason, 3)
        events.again("XC-1", 4)
    assert refusals(store) == {
        "unknown": 1, "ambiguous": 0, "not_live": 2, "quality": 0, "locked": 1
    }  # fmt: skip
    store.set_meta(refusals="nonsense")
    assert refusals(store) == dict.fromkeys(REASONS, 0)

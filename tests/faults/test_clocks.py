"""Clocks at impossible times: everything is stored, and right where a time proof vouches for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.clock import Anchor, ClockClass
from attendance.days import MAX_MS
from kiosk.fakes import FakeClock
from kiosk.store import Store
from kiosk.timeline import Proofs
from tests.faults.rig import checkin

NOON = 1_780_000_000_000
YEAR = 31_556_952_000
WRONG = {
    "1970": 0,
    "2038": 2_147_483_648_000,
    "9999": 253_402_300_799_000,
    "ten years ahead": NOON + 10 * YEAR,
    "ten years behind": NOON - 10 * YEAR,
    "an hour back at noon": NOON - 3_600_000,
}


@pytest.mark.parametrize("wall_ms", WRONG.values(), ids=WRONG.keys())
def test_stored_and_right_where_anchored(wall_ms: int, tmp_path: Path) -> None:
    clock = FakeClock(wall_ms=NOON)
    with Store.open(tmp_path / "k.db", "kkkkkkkk") as store:
        now = clock.read()
        store.add_anchor(Anchor("a1", NOON, now.boot_id, now.boottime_ns, 40_000_000))
        clock.advance(60)
        clock.wall_ms = wall_ms
        anchored = store.record(checkin(1), clock.read()).record
        clock.reboot(wall_ms=wall_ms)
        alone = store.record(checkin(2), clock.read()).record
        with store.transaction() as db:
            proofs = Proofs(db)
            truth, doubt = proofs.when(anchored), proofs.when(alone)
        assert store.verify() == 2
    kept = min(wall_ms, MAX_MS)
    assert (anchored.wall_ms, alone.wall_ms) == (kept, kept)
    assert truth.cls is ClockClass.A
    assert truth.earliest_ms <= NOON + 60_000 <= truth.latest_ms
    assert truth.width_ms < 100
    assert doubt.cls is ClockClass.C  # which never counts as late by itself

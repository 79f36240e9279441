"""Room on the card: a reserve that is let go when it counts, on a real file system that is full."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.statuses import Kind, Method, Status
from kiosk.errors import StoreUnusable
from kiosk.fakes import FakeClock, FakeTownship
from kiosk.housekeeping import Every, Housekeeper
from kiosk.pairing import pair
from kiosk.site import Site
from kiosk.store import Draft, Store

DEVICE = "k" * 8
CHECKIN = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.ON_DUTY, method=Method.PIN)
MB = 1 << 20


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    made = FakeTownship()
    yield made
    made.close()


def keeper(store: Store, clock: FakeClock) -> Housekeeper:
    return Housekeeper(
        store, clock, 400, ballast_bytes=3 * MB, low_bytes=2 * MB, last_bytes=MB // 4
    )


def fill(card: Path, leave: int = 0) -> None:
    """Somebody else's file takes the rest of the card."""
    with (card / "log").open("ab") as log:
        while (free := os.statvfs(card).f_bavail * 4096) > leave:
            log.write(bytes(min(65_536, max(4096, free - leave))))
            log.flush()


def record_until_full(store: Store, clock: FakeClock) -> int:
    recorded = []

    def for_ever() -> None:
        while True:
            recorded.append(store.record(CHECKIN, clock.read()))

    with pytest.raises(StoreUnusable) as caught:
        for_ever()
    assert caught.value.what == "full"
    return len(recorded)


def test_the_reserve_is_held_and_buys_a_thousand_records(card: Path) -> None:
    clock = FakeClock()
    with Store.open(card / "kiosk.db", DEVICE) as store:
        house = keeper(store, clock)
        house.turn()
        assert (card / "ballast").stat().st_blocks * 512 == 3 * MB, "real blocks, not a hole"
        fill(card)
        recorded = record_until_full(store, clock)
        assert not (card / "ballast").exists()
        assert recorded > 1000
        (card / "log").unlink()
        store.record(CHECKIN, clock.read())  # by itself, when the card has room again
        assert store.verify() == recorded + 1
        assert store.head().seq == recorded + 1
        house.turn()
        assert (card / "ballast").exists()


def test_without_the_reserve_it_would_have_been_next_to_nothing(card: Path) -> None:
    clock = FakeClock()
    with Store.open(card / "kiosk.db", DEVICE) as store:
        store.record(CHECKIN, clock.read())
        fill(card)
        assert record_until_full(store, clock) < 500


def test_a_kiosk_starts_and_records_on_a_card_that_others_filled(
    card: Path, township: FakeTownship
) -> None:
    """Not even the log's index can be made there: the reserve goes at opening, as while it runs."""
    clock, folder = FakeClock(), card / "kiosk"
    pair(folder, township.url, str(township.code))
    with Site(folder) as site:
        keeper(site.store, clock).turn()
        site.store.record(CHECKIN, clock.read())
    fill(card)
    assert sorted(path.name for path in folder.glob("kiosk.db*")) == ["kiosk.db", "kiosk.db-lock"]
    with Site(folder) as site:
        assert not (folder / "ballast").exists()
        site.store.record(CHECKIN, clock.read())
        assert site.store.verify() == 2


def test_a_full_card_without_a_reserve_is_called_full(card: Path) -> None:
    Store.open(card / "kiosk.db", DEVICE).close()
    fill(card)
    with pytest.raises(StoreUnusable) as caught:
        Store.open(card / "kiosk.db", DEVICE)
    assert (caught.value.what, caught.value.room_made) == ("full", False)
    (card / "log").unlink()
    with Store.open(card / "kiosk.db", DEVICE) as store:
        store.record(CHECKIN, FakeClock().read())


def test_the_reserve_goes_before_a_record_fails(card: Path) -> None:
    with Store.open(card / "kiosk.db", DEVICE) as store:
        house = keeper(store, FakeClock())
        house.turn()
        fill(card, MB // 8)
        house.turn()
        assert not (card / "ballast").exists()
        assert not house.make_room(), "there is no second one"
        house.turn()
        assert not (card / "ballast").exists(), "and none is made while room is short"


def test_a_turn_that_fails_is_tried_again() -> None:
    turns: list[int] = []
    done = threading.Event()

    def turn() -> bool:
        turns.append(1)
        if len(turns) == 1:
            raise OSError("no card")
        done.set()
        return False

    every = Every(turn, 0.01, "test")
    every.start()
    assert done.wait(5)
    every.stop()
    every.stop()

"""PINs and their locks, which neither a reboot nor a stepped clock may lift."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attendance.wire import GalleryContents, Person
from kiosk.fakes import FakeClock
from kiosk.people import People
from kiosk.pins import Pins, Verdict, hash_pin
from kiosk.store import Store

KEY = b"s" * 32
HASH = hash_pin(KEY, "024680")
OFFICIALS = ["A-1", "A-2", *(f"B-{n}" for n in range(20))]


class Pad:
    """A PIN pad on a store of its own; `again` is the same after a restart of the program."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.path = path
        people = [Person(official=o, name=o, title="", pin=HASH) for o in OFFICIALS]
        people.append(Person(official="N-1", name="N", title=""))
        self.people = People(
            GalleryContents(
                device="k" * 8, version=1, model="m", dimension=4, pin_key=KEY, people=people
            )
        )
        self.again()

    def again(self) -> None:
        self.store = Store.open(self.path, "k" * 8)
        self.pins = Pins(self.store, self.people, self.clock)

    def try_pin(self, official: str = "A-1", pin: str = "000000") -> Verdict:
        return self.pins.verify(official, pin).verdict

    def wrong(self, times: int, official: str = "A-1") -> list[Verdict]:
        return [self.try_pin(official) for _ in range(times)]


@pytest.fixture
def pad(tmp_path: Path) -> Pad:
    return Pad(tmp_path / "kiosk.db")


def test_right_wrong_and_none(pad: Pad) -> None:
    assert pad.try_pin(pin="024680") is Verdict.OK
    assert pad.try_pin(pin="024681") is Verdict.WRONG
    assert pad.try_pin("N-1") is Verdict.NO_PIN
    assert pad.try_pin("nobody") is Verdict.NO_PIN


def test_five_wrong_lock_an_official_and_the_lock_doubles(pad: Pad) -> None:
    waits = []
    for _ in range(6):
        assert pad.wrong(5) == [Verdict.WRONG] * 5
        locked = pad.pins.verify("A-1", "024680")
        assert locked.verdict is Verdict.LOCKED
        waits.append(locked.wait_s)
        pad.clock.advance(locked.wait_s - 1)
        assert pad.try_pin(pin="024680") is Verdict.LOCKED
        pad.clock.advance(1)
    assert waits == [300, 600, 1200, 2400, 3600, 3600]
    assert pad.try_pin(pin="024680") is Verdict.OK
    pad.wrong(5)
    assert pad.pins.verify("A-1", "024680").wait_s == 300, "a right PIN starts over"


def test_a_right_pin_forgives_four_wrong_ones(pad: Pad) -> None:
    for _ in range(3):
        pad.wrong(4)
        assert pad.try_pin(pin="024680") is Verdict.OK
        pad.clock.advance(700)


def _restart(pad: Pad) -> None:
    pad.store.close()
    pad.again()


def _reboot(pad: Pad) -> None:
    pad.clock.reboot(boottime_ns=5_000_000_000)
    _restart(pad)


def _forward(pad: Pad) -> None:
    pad.clock.wall_ms += 10**12


def _reboot_ahead(pad: Pad) -> None:
    pad.clock.reboot(wall_ms=4 * 10**12, boottime_ns=5_000_000_000)


@pytest.mark.parametrize("trick", [_restart, _reboot, _forward, _reboot_ahead])
def test_no_trick_lifts_a_lock(pad: Pad, trick: Callable[[Pad], None]) -> None:
    pad.wrong(5)
    trick(pad)
    assert pad.try_pin(pin="024680") is Verdict.LOCKED
    pad.clock.advance(301)
    assert pad.try_pin(pin="024680") is Verdict.OK


def test_twenty_wrong_lock_the_kiosk(pad: Pad) -> None:
    for number in range(20):
        assert pad.try_pin(f"B-{number}") is Verdict.WRONG
    assert pad.pins.locked_for() == 300
    assert pad.try_pin("nobody") is Verdict.NO_PIN, "who has no PIN is not turned away"
    assert pad.try_pin("A-2", "024680") is Verdict.LOCKED
    _reboot(pad)
    assert pad.try_pin("A-2", "024680") is Verdict.LOCKED
    pad.clock.advance(301)
    assert pad.try_pin("A-2", "024680") is Verdict.OK


def test_wrong_ones_far_apart_do_not_lock_the_kiosk(pad: Pad) -> None:
    for number in range(20):
        pad.try_pin(f"B-{number}")
        pad.clock.advance(32)
    assert pad.pins.locked_for() == 0


def test_attempts_with_no_pin_lock_nobody(pad: Pad) -> None:
    pad.wrong(21, "N-1")
    pad.wrong(6, "nobody")
    assert pad.pins.locked_for("nobody") == 0
    assert pad.try_pin(pin="024680") is Verdict.OK


def test_time_tells_nothing(pad: Pad) -> None:
    def cost(official: str) -> float:
        spent = []
        for _ in range(5):
            started = time.perf_counter()
            pad.try_pin(official)
            spent.append(time.perf_counter() - started)
            pad.try_pin(official, "024680")
        return min(spent)

    known, unknown = cost("A-1"), cost("nobody")
    assert 0.4 < known / unknown < 2.5


def test_a_damaged_hash_is_a_wrong_pin(pad: Pad) -> None:
    people = [Person(official="A-1", name="A", title="", pin="$argon2id$nonsense")]
    pad.pins.use(
        People(
            GalleryContents(
                device="k" * 8, version=2, model="m", dimension=4, pin_key=KEY, people=people
            )
        )
    )
    assert pad.try_pin(pin="024680") is Verdict.WRONG

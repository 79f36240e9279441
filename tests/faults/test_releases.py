"""A release on trial and its minute, by a played clock: kept, or taken back by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from attendance.records import decode_record
from kiosk.clock import SystemClock
from kiosk.notify import Notifier
from kiosk.releases import App
from kiosk.started import say_ready
from kiosk.store import Store
from scripts.make_release import make_key, read_key
from tests.faults.releases import Card, Manager, copy_of, make_release


@dataclass
class Minute:
    """Time passes only while the manager looks, five seconds a look, until `held`."""

    held: float = float("inf")
    on_held: Callable[[], None] = lambda: None
    now: float = 1000.0

    def __call__(self) -> float:
        if self.now - 1000.0 < self.held:
            self.now += 5.0
            if self.now - 1000.0 >= self.held:
                self.on_held()
        return self.now


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """One on which release 1 ran and 2 is on trial, which records when it is allowed to."""
    place = tmp_path_factory.mktemp("releases")
    make_key(place / "key")
    seed = read_key(place / "key")
    made = Card(place / "card", place / "key")
    made.install(make_release(place, seed, 1))
    assert Manager(made).boot() == 1
    made.install(make_release(place, seed, 2, "slow"))
    return made


@pytest.fixture
def card(tmp_path: Path, both: Card) -> Card:
    made = copy_of(both, tmp_path / "card")
    state = App(made.app).state()
    assert (App(made.app).current(), state.trial, state.good) == (2, 2, 1)
    return made


def test_what_is_not_ready_within_a_minute_is_taken_back(card: Card) -> None:
    app, clock = App(card.app), Minute()
    assert Manager(card, clock).start() is None
    # The first look begins the minute, the last one ends it.
    assert clock.now - 1005.0 == 60.0, "neither sooner nor later"
    assert (app.current(), app.state().failed, app.state().good) == (1, [2], 1)
    assert "taken back: it ended with timeout" in app.state().last
    assert card.lines() == ["1"], "the new one never recorded"
    assert Manager(card).boot() == 1


def test_who_records_in_the_last_seconds_is_kept(card: Card) -> None:
    app = App(card.app)
    clock = Minute(55.0, Path(f"{card.recorded}.may").touch)
    process = Manager(card, clock).start()
    assert process is not None
    process.kill()
    process.wait()
    assert card.lines() == ["1", "2"]
    assert (app.current(), app.state().good, app.state().trial) == (2, 2, None)


def test_who_would_record_after_the_minute_is_not_waited_for(card: Card) -> None:
    app = App(card.app)
    clock = Minute(65.0, Path(f"{card.recorded}.may").touch)
    assert Manager(card, clock).start() is None
    assert (app.current(), app.state().failed, card.lines()) == (1, [2], ["1"])


def test_a_kiosk_that_cannot_record_stays_silent(tmp_path: Path) -> None:
    """What makes the minute pass: the store refuses, so systemd never hears READY=1."""
    heard: list[str] = []

    class Told(Notifier):
        def _tell(self, words: str) -> None:
            heard.append(words)

    notifier, clock = Told({}), SystemClock()
    with Store.open(tmp_path / "kiosk.db", "kkkkkkkk") as store:
        with sqlite3.connect(tmp_path / "kiosk.db") as db:
            db.execute("CREATE TRIGGER bad BEFORE INSERT ON records"
                       " BEGIN SELECT RAISE(ABORT, 'bad card'); END")  # fmt: skip
        assert not say_ready(notifier, store, 7, clock)
        assert not say_ready(notifier, store, 7, clock)
        assert heard == []
        with sqlite3.connect(tmp_path / "kiosk.db") as db:
            db.execute("DROP TRIGGER bad")
        assert say_ready(notifier, store, 7, clock)
        assert say_ready(notifier, store, 7, clock)
        assert heard == ["READY=1"], "said once"
        batch = store.batch(1, 0)
        assert batch is not None
        kept = [decode_record(payload).detail for payload in batch.payloads]
    assert kept == ["release 7 started"]

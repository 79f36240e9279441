"""The lamps kept at what the board says, over real gpiozero pins of its mock factory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from attendance.statuses import Status, colour_of
from hardware.drivers import open_lamps
from hardware.fakes import history, mock_pins
from hardware.lamps import LampBoard
from kiosk.board import BoardRow
from kiosk.events import EventLog, EventsUnwritable
from kiosk.lampkeeper import RETRY_S, LampKeeper


def row(official: str, status: Status, *, stale: str | None = None) -> BoardRow:
    return BoardRow(
        official=official,
        name=official,
        title="",
        status=Status.STALE if stale else status,
        colour=stale or colour_of(status),
        blinking=stale is not None,
        since_ms=None,
        until_ms=None,
        word_key=str(status),
        pending=False,
    )


class Bench:
    """A keeper on mock pins, a clock that moves when told, and everything that was said."""

    def __init__(self, people: int = 2) -> None:
        self.now = 0.0
        self.said: list[dict[str, Any]] = []
        self.pins: MockFactory = mock_pins()
        self.ids = [f"XC-{i}" for i in range(people)]
        self.board: LampBoard = open_lamps("rgb", self.ids, pin_factory=self.pins)
        events = EventLog(None)
        events.listen(lambda event: self.said.append(dict(event)))
        self.keeper = LampKeeper(self.board, events, now_s=lambda: self.now)

    def apply(self, **statuses: Status) -> bool:
        return self.keeper.apply([row(k.replace("_", "-"), v) for k, v in statuses.items()])


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.keeper.close()


def lamp(official: str, colour: str, latched: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "event": "lamp",
        "official": official,
        "driver": "rgb",
        "colour": colour,
        "latched": latched or colour,
        "blinking": False,
        **more,
    }


def test_only_what_changed_is_set_and_told(bench: Bench) -> None:
    bench.apply(XC_0=Status.UNKNOWN, XC_1=Status.UNKNOWN)
    assert bench.said == []  # found dark, as it should be
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.UNKNOWN)
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.UNKNOWN)
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.IN_VILLAGE)
    bench.apply(XC_0=Status.LEFT, XC_1=Status.IN_VILLAGE)
    assert bench.said == [lamp("XC-0", "green"), lamp("XC-1", "yellow"), lamp("XC-0", "off")]
    # The pins' whole histories: red, green, blue of each lamp, in the order of hardware.wiring.
    assert [history(bench.pins, n) for n in range(4, 10)] == [
        [0],
        [0, 1, 0],
        [0],
        [0, 1],
        [0, 1],
        [0],
    ]


def test_the_last_colour_blinks_when_stale(bench: Bench) -> None:
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.UNKNOWN)
    bench.keeper.apply([row("XC-0", Status.ON_DUTY, stale="green"), row("XC-1", Status.UNKNOWN)])
    assert bench.said[-1] == lamp("XC-0", "green", blinking=True)
    bench.board.tick(0.6)
    assert bench.board.latched("XC-0").blinking


def test_people_beyond_the_pins_are_drawn_on_the_screen_only() -> None:
    bench = Bench(people=9)
    rows = {k.replace("-", "_"): Status.ON_LEAVE for k in bench.ids}
    bench.apply(**rows)
    assert [e["driver"] for e in bench.said] == ["rgb"] * 8 + ["screen"]
    assert {e["latched"] for e in bench.said} == {"red"}
    bench.keeper.close()


def test_a_broken_driver_is_told_once_shown_as_unknown_and_found_well_again(bench: Bench) -> None:
    bench.apply(XC_0=Status.UNKNOWN, XC_1=Status.UNKNOWN)
    bench.pins.pin(5).mode = "broken"
    rows = {"XC_0": Status.ON_DUTY, "XC_1": Status.ON_LEAVE}
    assert bench.apply(**rows)
    assert [e["event"] for e in bench.said] == ["lamp", "lamp", "fault"]
    assert bench.said[0] == lamp("XC-0", "green", "unknown")
    assert bench.said[1] == lamp("XC-1", "red")  # the others go on
    assert bench.keeper.failed
    for _ in range(5):
        bench.now += RETRY_S
        bench.apply(**rows)
    assert len(bench.said) == 3
    bench.pins.pin(5).mode = "works"
    assert not bench.apply(**rows)  # not before its time
    bench.now += RETRY_S
    bench.apply(**rows)
    assert bench.said[3:] == [lamp("XC-0", "green")]
    assert not bench.keeper.failed
    bench.pins.pin(5).mode = "broken"
    bench.apply(XC_0=Status.LEFT, XC_1=Status.ON_LEAVE)
    assert [e["event"] for e in bench.said[4:]] == ["lamp", "fault"]  # a new failure is news


def test_a_wire_that_is_stuck_is_seen_by_reading_back(bench: Bench) -> None:
    bench.apply(XC_0=Status.UNKNOWN, XC_1=Status.UNKNOWN)
    bench.pins.pin(5).mode = "stuck"
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.UNKNOWN)
    assert bench.said[0] == lamp("XC-0", "green", "off")
    assert bench.said[1]["event"] == "fault"
    assert "XC-0" in bench.said[1]["what"]


def test_people_come_and_go(bench: Bench) -> None:
    bench.apply(XC_0=Status.ON_DUTY, XC_1=Status.ON_DUTY)
    bench.apply(XC_1=Status.ON_DUTY, XC_7=Status.ON_LEAVE)
    assert bench.said[2:] == [lamp("XC-7", "red")]
    assert list(bench.keeper.shown) == ["XC-1", "XC-7"]
    assert history(bench.pins, 5)[:3] == [0, 1, 0]  # who left the board leaves it dark


def test_event_lines_have_exactly_the_keys_that_others_rely_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    heard: list[Any] = []
    with EventLog(path) as log:
        log.listen(heard.append)
        log.checkin(
            "XC-1",
            Status.ON_DUTY,
            "face",
            score=0.712345,
            margin=float("inf"),
            liveness="motion",
            frame=7,
            latency_ms=401.26,
            seq=3,
        )
        assert path.read_text() != ""  # flushed as it happens
        log.again("XC-1", 9)
        log.refused("unknown", 11)
        log.lamp("XC-1", "rgb", "green", "green")
        log.sync(2, 1, 1, 0, 0)
        log.fault("camera", "gone")
    log.fault("camera", "after the end")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines == [
        {
            "event": "checkin",
            "official": "XC-1",
            "status": "on_duty",
            "method": "face",
            "score": 0.7123,
            "margin": None,
            "liveness": "motion",
            "frame": 7,
            "latency_ms": 401.3,
            "seq": 3,
        },
        {"event": "again", "official": "XC-1", "frame": 9},
        {"event": "refused", "reason": "unknown", "frame": 11},
        lamp("XC-1", "green"),
        {"event": "sync", "sent": 2, "stored": 1, "duplicate": 1, "rejected": 0, "pending": 0},
        {"event": "fault", "part": "camera", "what": "gone"},
    ]
    assert [event["event"] for event in heard[:-1]] == [line["event"] for line in lines]


def test_events_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with EventLog("-") as log:
        log.refused("quality", 1)
    assert json.loads(capsys.readouterr().out)["reason"] == "quality"


def test_an_events_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EventsUnwritable) as fault:
        EventLog(tmp_path / "no" / "such" / "folder")
    assert "cannot be written" in fault.value.words("en")


def test_a_full_disk_under_the_events_stops_nothing() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    heard: list[Any] = []
    with EventLog(full) as log:
        log.listen(heard.append)
        log.refused("unknown", 1)
    assert len(heard) == 1

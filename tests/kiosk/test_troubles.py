"""One list of what is wrong: told once, on the screen while it lasts, gone when it is well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiosk.events import EventLog
from kiosk.screen.feed import ScreenFeed
from kiosk.troubles import Trouble, Troubles

COVERED = Trouble("camera", ("镜头被遮住", "The camera is covered"), ("请取下遮挡", "uncover it"))
SILENT = Trouble("voice", ("没有声卡", "No sound card"), ("请接扬声器", "plug a loudspeaker in"))


class Bench:
    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.kept: list[str] = []
        self.feed = ScreenFeed()
        events = EventLog(None)
        events.listen(lambda event: self.said.append(dict(event)))
        self.troubles = Troubles(self.feed, events, self.kept.append)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_kiosk_that_is_well_says_so(bench: Bench) -> None:
    assert bench.feed.get("troubles") == []
    bench.troubles.set("camera", None)
    assert (bench.said, bench.kept) == ([], [])


def test_a_trouble_is_told_once_and_shown_while_it_lasts(bench: Bench) -> None:
    for _ in range(3):
        bench.troubles.set("camera", COVERED)
    bench.troubles.set("voice", SILENT)
    assert bench.said == [
        {"event": "fault", "part": "camera", "what": "The camera is covered: uncover it"},
        {"event": "fault", "part": "voice", "what": "No sound card: plug a loudspeaker in"},
    ]
    shown = bench.feed.get("troubles")
    assert [each["part"] for each in shown] == ["camera", "voice"]
    assert shown[0] == {
        "part": "camera",
        "what_zh": "镜头被遮住",
        "what_en": "The camera is covered",
        "advice_zh": "请取下遮挡",
        "advice_en": "uncover it",
    }
    assert json.loads(bench.kept[-1]) == shown
    bench.troubles.set("camera", None)
    assert bench.feed.get("troubles") == [SILENT.as_json()]
    assert bench.troubles.now == {"voice": SILENT}
    bench.troubles.set("camera", COVERED)
    assert len(bench.said) == 3  # it came back: news again


def test_new_advice_for_the_same_state_is_shown_but_no_news(bench: Bench) -> None:
    bench.troubles.set("camera", COVERED)
    bench.troubles.set("camera", Trouble("camera", COVERED.what, ("请等待", "wait")))
    assert len(bench.said) == 1
    assert bench.feed.get("troubles")[0]["advice_en"] == "wait"


def test_what_somebody_else_told_is_not_told_again(bench: Bench) -> None:
    bench.troubles.set("camera", COVERED, tell=False)
    assert bench.said == []
    assert len(bench.feed.get("troubles")) == 1

"""When the next exchange is due."""

from __future__ import annotations

import random

from kiosk.sync import Pace


def test_the_pace_spreads_and_obeys() -> None:
    pace = Pace(15, random.Random(1))
    pace.succeeded(100)
    assert pace.due == 115
    pace.poked(101)
    assert pace.due == 101
    delays = []
    for _ in range(40):
        pace.failed(1000)
        delays.append(pace.due - 1000)
    assert delays[0] <= 4
    assert delays[1] <= 8
    assert max(delays) <= 900
    assert max(delays[8:]) > 400
    assert min(delays[8:]) < 300
    pace.poked(1001)
    assert pace.due <= 1015
    pace.failed(2000, 60)
    held = pace.due
    assert held >= 2060
    pace.poked(2001)
    assert pace.due == held
    pace.succeeded(3000)
    assert pace.due == 3015


def test_a_server_that_answered_before_it_broke_off_is_not_waited_for_long() -> None:
    pace = Pace(15, random.Random(1))
    for _ in range(12):
        pace.failed(1000)
    delays = []
    for _ in range(20):
        pace.failed(1000, heard=True)
        delays.append(pace.due - 1000)
    assert max(delays) <= 4
    pace.failed(1000)
    assert pace.due - 1000 <= 8


def test_a_worker_that_falls_is_soon_asked_again_and_a_line_that_cuts_all_day_is_spared() -> None:
    longest = [0.0] * 40
    for seed in range(60):
        pace = Pace(15, random.Random(seed))
        for number in range(40):
            pace.failed(1000, cut=True)
            longest[number] = max(longest[number], pace.due - 1000)
    assert 0.75 < max(longest[:9]) <= 1
    assert 1 < longest[9] <= 2
    assert 2 < longest[10] <= 4
    assert 700 < longest[39] <= 900

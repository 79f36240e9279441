"""The identification figures on people whose right answers are reckoned by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recognition.identification import identify_all
from recognition.looks import TRACK_LOOKS, Judge, Look, track_of
from recognition.track import Sample, Track
from recognition.types import Face, Template

FRAME = np.zeros((480, 640, 3), np.uint8)


@pytest.fixture
def look(face_at: Callable[..., Face]) -> Callable[..., Look]:
    """look(name, template): a picture that gave `template`; live=None where the gate refused."""

    def make(name: str, template: Template, **given: Template | None) -> Look:
        track = Track.start(1, FRAME, face_at(), 0.0, 0)
        track.samples = [Sample(0.0, 0, template, 1.0)]
        live = given.get("live", template)
        return Look(Path(f"{name}/{id(template)}.jpg"), track, True, live)

    return make


def test_a_track_is_recognised_where_a_single_look_is_not(scripted, person, look) -> None:
    """Each of five has three good pictures and one at 0.4 with himself: a still of it is missed,
    a track with it is not. One picture enrolled: the bad one is the template in a quarter."""
    looks = {
        str(n): [look(str(n), person(n, likeness)) for likeness in (1.0, 0.99, 0.98, 0.4)]
        for n in range(5)
    }
    report = identify_all(looks, Judge(scripted), 3, {"odd": {"0", "1"}})
    assert report is not None
    assert report["gallery_size"] == 4
    assert report["tpir"]["rate"] == pytest.approx(0.75, abs=0.1)
    assert report["tpir"]["n"] == 20
    assert report["tracks"]["tpir"] is None, "one picture left is a still, not a track"
    report = identify_all(looks, Judge(scripted), 1, {"odd": {"0", "1"}})
    assert report is not None
    assert report["tracks"]["tpir"]["n"] == 5
    assert report["tpir"]["rate"] < 0.8 < report["tracks"]["tpir"]["rate"]
    assert report["tracks"]["looks"] == TRACK_LOOKS == 8


def test_a_groups_figures_are_its_own(scripted, person, look) -> None:
    """Doubles within a group: every one of the alarms and wrong names is theirs."""
    looks = {str(n): [look(str(n), person(n)) for _ in range(4)] for n in range(6)}
    for twin in ("4", "5"):
        looks[twin] = [look(twin, person(4)) for _ in range(4)]
    report = identify_all(looks, Judge(scripted), 3, {"twins": {"4", "5"}, "others": {"0", "1"}})
    assert report is not None
    twins, others = report["groups"]["twins"], report["groups"]["others"]
    assert twins["fpir"]["rate"] == 1
    assert others["fpir"]["rate"] == others["wrong_id"]["rate"] == 0
    assert 0 < report["fpir"]["rate"] < 1
    assert (twins["people"], twins["fpir"]["n"]) == (2, 8)
    assert twins["alone"]["gallery_size"] == 1
    assert twins["alone"]["fpir"]["rate"] == 1
    assert "groups" not in twins["alone"]


def test_groups_change_nothing_for_everybody(scripted, person, look) -> None:
    looks = {str(n): [look(str(n), person(n, 0.6)) for _ in range(4)] for n in range(5)}
    with_groups = identify_all(looks, Judge(scripted), 3, {"a": {"0"}})
    without = identify_all(looks, Judge(scripted), 3)
    assert with_groups is not None
    assert with_groups.pop("groups")
    assert with_groups == without


def test_a_look_that_the_live_gate_refuses_is_no_part_of_a_track(person, look) -> None:
    rng = np.random.default_rng(0)
    good, refused = person(1), person(2)
    track = track_of([look("a", good), look("a", refused, live=None)], rng)
    assert track is not None
    assert len(track.samples) == TRACK_LOOKS
    assert all(s.template is good for s in track.samples)
    assert track.span == pytest.approx(0.7)
    assert track_of([look("a", refused, live=None)], rng) is None

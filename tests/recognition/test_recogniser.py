"""The decision over time: when somebody is matched, refused, asked to wait, noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recognition.decision import (
    MOVING,
    Ambiguous,
    Decision,
    Identified,
    Match,
    NotLive,
    PoorQuality,
    Unknown,
    Wait,
    identify,
)
from recognition.engine import Engine
from recognition.errors import ModelMismatch
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.liveness import Liveness
from recognition.recogniser import Observation, Recogniser
from recognition.types import Template

Person = Callable[..., Template]
FPS = 25.0


def genuine() -> Liveness:
    """The default policy with networks that see nothing wrong with anybody."""
    return Liveness("doubtful", lambda *_: 0.9)


def gallery_of(engine: Engine, **people: Template) -> Gallery:
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([(name, template[None]) for name, template in people.items()])
    return gallery


def play(
    recogniser: Recogniser, frames: list[Any], fps: float = FPS
) -> tuple[list[Observation], list[tuple[int, Decision]]]:
    """Every observation, and every decision told with the index of its frame."""
    seen, told = [], []
    for index, frame in enumerate(frames):
        seen.append(recogniser.observe(frame, index / fps, index))
        if seen[-1].fresh:
            told.append((index, seen[-1].decision))
        told += [(index, d) for d in recogniser.ended]
    told += [(len(frames), d) for d in recogniser.finish()]
    return seen, told


def test_somebody_enrolled_is_matched_once(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0, 0.8)), times=60)
    seen, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert len(told) == 1
    index, match = told[0]
    assert isinstance(match, Match)
    assert (match.official, match.liveness.name) == ("a", "passive")
    assert match.score == pytest.approx(0.8, abs=1e-5)
    assert 0.8 <= index / FPS <= 0.9, "no motion of the face told of the background"
    assert seen[-1].decision is match
    assert not seen[-1].fresh
    assert (seen[-1].first_usable_index, seen[-1].first_usable) == (0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_moment_is_never_enough(scripted, person: Person, face_at, count: int) -> None:
    """Fewer than 0.3 seconds of looks give no decision at all, not even a refusal."""
    scripted.add((face_at(), person(0)), times=count)
    scripted.add(times=30)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert told == []


def test_two_frames_a_second_are_not_agreement(scripted, person: Person, face_at) -> None:
    """Enough time but too few looks."""
    scripted.add((face_at(), person(0)), times=2)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames(), 2
    )
    assert told == []


def test_a_stranger_is_refused_once(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(1)), times=100)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert [type(d) for _, d in told] == [Unknown]
    assert 1.0 <= told[0][0] / FPS <= 1.2


def test_a_stranger_who_leaves_early_is_refused_at_the_end(scripted, person, face_at) -> None:
    scripted.add((face_at(), person(1)), times=15)
    scripted.add(times=25)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert [type(d) for _, d in told] == [Unknown]


def test_an_empty_gallery_refuses_everybody(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(1)), times=40)
    _, told = play(Recogniser(scripted, gallery_of(scripted)), scripted.frames())
    assert [type(d) for _, d in told] == [Unknown]


def test_better_looks_turn_unknown_into_a_match(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(eyes=40), person(0, 0.42)), times=40)
    scripted.add((face_at(eyes=60), person(0, 0.75)), times=150)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert [type(d) for _, d in told] == [Unknown, Match]


def test_twins_are_ambiguous(scripted, person: Person, face_at) -> None:
    twin = person(0) * np.float32(0.999) + person(1) * np.float32(0.04)
    twin /= np.linalg.norm(twin)
    scripted.add((face_at(), person(0, 0.8)), times=40)
    gallery = gallery_of(scripted, a=person(0), b=twin)
    _, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames())
    assert [type(d) for _, d in told] == [Ambiguous]


def test_the_looks_must_agree() -> None:
    """One splendid look cannot carry two that say somebody else, whatever their mean."""
    axes = np.eye(8, dtype=np.float32)
    gallery = Gallery("m", 8)
    gallery.replace([("a", axes[:1]), ("b", axes[1:2])])
    doubtful = 0.4 * axes[0] + 0.55 * axes[1] + np.sqrt(1 - 0.4**2 - 0.55**2) * axes[2]
    probes = np.stack([axes[0], doubtful, doubtful]).astype(np.float32)
    found = identify(probes, 2.0, gallery, 0.5, 0.03, 1, MOVING)
    assert gallery.search(probes).best_score >= 0.5
    assert isinstance(found, Unknown)


def test_a_track_is_compared_by_the_mean_of_its_looks() -> None:
    """What differs from look to look by chance is averaged away before the comparison."""
    axes = np.eye(8, dtype=np.float32)
    gallery = Gallery("m", 8)
    gallery.replace([("a", axes[:1])])
    probes = np.stack([0.45 * axes[0] + np.sqrt(1 - 0.45**2) * axes[k] for k in (2, 3, 4)])
    found = identify(probes.astype(np.float32), 2.0, gallery, 0.5, 0.03, 1, MOVING)
    assert isinstance(found, Identified)
    assert found.candidates.best_score == pytest.approx(0.45 / np.sqrt(0.45**2 + (1 - 0.45**2) / 3))


def test_a_face_that_never_moves_is_not_live(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=120)
    frames = scripted.frames(still=True)
    seen, told = play(Recogniser(scripted, gallery_of(scripted, a=person(0))), frames)
    assert [type(d) for _, d in told] == [NotLive]
    assert told[0][0] / FPS == pytest.approx(3.0, abs=0.1)
    assert seen[30].decision == Wait(Guidance.MOVE_A_LITTLE, 1)


def test_a_still_that_leaves_early_is_not_live(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=20)
    gallery = gallery_of(scripted, a=person(0))
    _, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames(still=True))
    assert [type(d) for _, d in told] == [NotLive]


def test_a_strangers_still_is_a_stranger(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(1)), times=120)
    gallery = gallery_of(scripted, a=person(0))
    _, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames(still=True))
    assert [type(d) for _, d in told] == [Unknown]


def test_liveness_off_says_so(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=20)
    gallery = gallery_of(scripted, a=person(0))
    _, told = play(Recogniser(scripted, gallery, "off"), scripted.frames(still=True))
    assert [(type(d), d.liveness.name) for _, d in told] == [(Match, "off")]


def test_another_person_in_the_same_place_is_noticed(scripted, person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=30)
    scripted.add((face_at(), person(1)), times=60)
    gallery = gallery_of(scripted, a=person(0), b=person(1))
    _, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames())
    assert [d.official for _, d in told] == ["a", "b"]
    assert told[0][1].track_id != told[1][1].track_id
    assert told[1][0] - 30 <= FPS * 1.1


def test_a_stranger_after_a_match_is_refused(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=30)
    scripted.add((face_at(), person(1)), times=80)
    gallery = gallery_of(scripted, a=person(0))
    _, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames())
    assert [type(d) for _, d in told] == [Match, Unknown]


def test_the_same_person_coming_back_is_a_new_track(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=30)
    scripted.add(times=25)
    scripted.add((face_at(), person(0)), times=30)
    _, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert [(type(d), d.track_id) for _, d in told] == [(Match, 1), (Match, 2)]


def test_passers_by_are_never_embedded(scripted, person: Person, face_at) -> None:
    far, aside = face_at(eyes=15), face_at(x=40, y=60, eyes=60)
    scripted.add((far, person(0)), (aside, person(1)), times=40)
    gallery = gallery_of(scripted, a=person(0), b=person(1))
    seen, told = play(Recogniser(scripted, gallery, genuine()), scripted.frames())
    assert (told, scripted.embedded) == ([], [])
    assert seen[-1].decision == Wait(Guidance.TO_THE_MIDDLE, None)


def test_a_far_face_is_asked_to_come_closer(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(eyes=15), person(0)), times=5)
    seen, _ = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert seen[-1].decision == Wait(Guidance.COME_CLOSER, None)
    assert Guidance.COME_CLOSER.words("zh") == "靠近一点"


def test_a_turned_head_is_asked_to_turn_and_reported(scripted, person, face_at) -> None:
    scripted.add((face_at(yaw=0.6), person(0)), times=40)
    scripted.add(times=20)
    seen, told = play(
        Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames()
    )
    assert seen[30].decision == Wait(Guidance.FACE_CAMERA, 1)
    assert [type(d) for _, d in told] == [PoorQuality]
    assert scripted.embedded == []


def test_a_settled_track_is_seldom_embedded(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=250)
    play(Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames())
    assert len(scripted.embedded) <= 4 + 10 / 0.5


def test_dropped_frames_cost_no_embeddings(scripted, person: Person, face_at) -> None:
    """A slow machine sees every sixth frame of its camera; that is no reason to look again."""
    scripted.add((face_at(), person(0)), times=50)
    recogniser = Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine())
    for number, frame in enumerate(scripted.frames()):
        recogniser.observe(frame, number / 5, number * 6)
    assert len(scripted.embedded) <= 4 + 10 / 0.5


def test_who_comes_back_after_a_gap_is_looked_at_at_once(scripted, person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=20)
    scripted.add(times=5)
    scripted.add((face_at(), person(1)), times=2)
    play(Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()), scripted.frames())
    assert {25, 26} <= set(scripted.embedded)


def test_time_that_runs_backwards_begins_anew(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=30)
    recogniser = Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine())
    for _ in range(2):
        told = [recogniser.observe(f, i / FPS, i) for i, f in enumerate(scripted.frames())]
        assert sum(seen.fresh for seen in told) == 1


def test_a_gallery_of_another_model_is_refused(scripted) -> None:
    with pytest.raises(ModelMismatch):
        Recogniser(scripted, Gallery("sface-1", 8), "off")


def test_closing_twice_is_fine(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0)), times=5)
    with Recogniser(scripted, gallery_of(scripted, a=person(0)), genuine()) as recogniser:
        recogniser.observe(scripted.frames()[0], 0.0)
        recogniser.close()
    assert recogniser.track is None


def test_a_still_is_decided_in_one_frame(scripted, person: Person, face_at) -> None:
    scripted.add((face_at(), person(0, 0.7)))
    scripted.add((face_at(), person(1)))
    scripted.add()
    recogniser = Recogniser(
        scripted, gallery_of(scripted, a=person(0)), Liveness("off"), stills=True
    )
    seen, told = play(recogniser, scripted.frames())
    assert [type(d) for _, d in told] == [Match, Unknown]
    assert seen[2].decision == Wait(None, None)


@pytest.mark.parametrize("which", range(5))
def test_a_real_person_is_matched_and_others_are_not(
    clips, templates, sface: Engine, networks, which: int
) -> None:
    """Enrolled from the first second of a clip, recognised in the rest; unknown to the others."""
    clip = clips[which]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace(list(templates.items()), sface.model_id)
    rest = clip.frames[int(clip.fps) :]
    _, told = play(Recogniser(sface, gallery, Liveness("doubtful", networks)), rest, clip.fps)
    assert [d.official for _, d in told] == [clip.name]
    assert told[0][0] / clip.fps < 1.0, "within a second"
    gallery.replace([item for item in templates.items() if item[0] != clip.name])
    _, told = play(
        Recogniser(sface, gallery, Liveness("doubtful", networks)),
        rest[: int(2 * clip.fps)],
        clip.fps,
    )
    assert [type(d) for _, d in told] == [Unknown]


@pytest.mark.parametrize("name", ["sface", "dlib_engine"])
def test_a_real_person_who_takes_the_place_is_noticed(
    clips, name: str, request: pytest.FixtureRequest
) -> None:
    """With either engine: two clips cut together, both faces in the middle."""
    engine = request.getfixturevalue(name)
    first, second = clips[3], clips[4]
    gallery = Gallery(engine.model_id, engine.dimension)
    entries = []
    for clip in (first, second):
        frame = clip.frames[0]
        entries.append((clip.name, engine.embed(frame, engine.detect(frame)[0])))
    gallery.replace(entries)
    frames = first.frames[:45] + second.frames[:60]
    _, told = play(Recogniser(engine, gallery, Liveness("off")), frames, 30)
    assert [getattr(d, "official", None) for _, d in told] == [first.name, second.name]


def test_a_real_still_with_noise_is_not_live(clips, templates, sface: Engine, networks) -> None:
    """A photograph on a stand before a noisy camera."""
    clip = clips[-1]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace(list(templates.items()))
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(clip.frames[40] + rng.normal(0, 4, clip.frames[40].shape), 0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    _, told = play(Recogniser(sface, gallery, Liveness("doubtful", networks)), noisy, 10)
    assert [type(d) for _, d in told] == [NotLive]


def test_a_settled_face_is_followed_and_the_frame_still_searched(
    scripted, person: Person, face_at
) -> None:
    """Between searches only the face's surroundings are looked at; who steps before it is seen."""
    searched = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(scripted, name)

        def detect(self, frame: Any, *, thorough: bool = False) -> Any:
            searched.append(scripted._number(frame))
            return scripted.detect(frame, thorough=thorough)

    back, front = face_at(eyes=40), face_at(eyes=70)
    scripted.add((back, person(0)), times=50)
    scripted.add((back, person(0)), (front, person(1)), times=50)
    gallery = gallery_of(scripted, a=person(0), b=person(1))
    _, told = play(Recogniser(Counting(), gallery, "off"), scripted.frames())  # type: ignore[arg-type]
    assert [d.official for _, d in told] == ["a", "b"]
    assert told[1][0] - 50 <= 1.1 * FPS
    assert len(searched) < 50, "half of the frames at most"
    assert max(np.diff(searched)) / FPS <= 0.2 + 1e-6

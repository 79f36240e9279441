"""Identification: a probe against drawn galleries, decided as the kiosk decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.groups import Groups
from recognition.language import say
from recognition.looks import TRACK_LOOKS, Judge, Look, Verdict, progress, track_of
from recognition.statistics import FALSE_RATES, Histogram, name_of, rate_of, true_rate_at

GALLERY = 36
"""People on one township's board (design notes on the product)."""
DRAWS = 200
SEED = 0

Report = dict[str, Any]


@dataclass
class _Tally:
    """Attempts over all draws, and what is distinct behind them: pictures, or people of tracks."""

    mated: int = 0
    right: int = 0
    wrong: int = 0
    non_mated: int = 0
    alarms: int = 0
    mated_of: set[object] = field(default_factory=set)
    others_of: set[object] = field(default_factory=set)

    def take(self, name: str, enrolled: bool, verdict: Verdict, source: object) -> None:
        """Count one attempt of `name`. source: what must be distinct to count towards n."""
        official = verdict[0]
        if enrolled:
            self.mated_of.add(source)
            self.mated += 1
            self.right += official == name
            self.wrong += official not in (name, None)
        else:
            self.others_of.add(source)
            self.non_mated += 1
            self.alarms += official is not None

    def rates(self) -> Report:
        """`fpir`, `tpir` and `wrong_id`."""
        mated, others = len(self.mated_of), len(self.others_of)
        return {
            "fpir": rate_of(self.alarms, self.non_mated, others),
            "tpir": rate_of(self.right, self.mated, mated),
            "wrong_id": rate_of(self.wrong, self.mated, mated),
        }


@dataclass
class _Counted:
    """Single pictures and tracks of some people."""

    stills: _Tally = field(default_factory=_Tally)
    tracks: _Tally = field(default_factory=_Tally)


def identify_all(
    looks: dict[str, list[Look]],
    judge: Judge,
    photos: int,
    groups: Groups | None = None,
    *,
    spare: int = 0,
) -> Report | None:
    """The report's `identification`; None where nobody has more than `photos` pictures.

    `tracks`: the same galleries, asked with tracks of eight looks (`recognition.looks.track_of`).
    `groups`: the figures of some of the people, among everybody and, in `alone`, among themselves.
    spare: people with enough pictures who are left out of every gallery, so that there are
    strangers where all others have too few pictures to be enrolled.
    """
    able = [name for name, all_ in looks.items() if len(all_) > photos]
    people = len(looks)
    size = GALLERY if people >= 40 else people - max(1, math.ceil(people / 10))
    size = min(size, len(able) - spare)
    if size < 1:
        return None
    # Two, so that asking for tracks does not change which galleries are drawn.
    rng, order = np.random.default_rng(SEED), np.random.default_rng(SEED)
    everybody = _Counted()
    parts = {group: _Counted() for group in groups or {}}
    mated_scores, other_scores = Histogram.empty(), Histogram.empty()
    for _ in progress(list(range(DRAWS)), say("抽样", "draws")):
        chosen = {able[i] for i in rng.permutation(len(able))[:size]}
        gallery, probes = _draw_gallery(looks, sorted(chosen), photos, rng, judge.engine)
        asked = [(n, left) for n, left in probes.items()]
        asked += [(name, all_) for name, all_ in looks.items() if name not in chosen]
        right_scores, wrong_scores = [], []
        for name, left in asked:
            enrolled = name in chosen
            counted = [everybody, *(parts[g] for g in parts if name in (groups or {})[g])]
            for look in left:
                verdict = judge.still(look, gallery)
                for part in counted:
                    part.stills.take(name, enrolled, verdict, look.path)
                _, best, score = verdict
                if enrolled:
                    right_scores.append(score if best == name else -1.0)
                else:
                    wrong_scores.append(score)
            if len(left) > 1:
                verdict = judge.track(track_of(left, order), gallery)
                for part in counted:
                    part.tracks.take(name, enrolled, verdict, name)
        mated_scores.add(np.asarray(right_scores))
        other_scores.add(np.asarray(wrong_scores))
    report: Report = {
        "gallery_size": size,
        "enrolled_photos": photos,
        "draws": DRAWS,
        **everybody.stills.rates(),
        "tpir_at_fpir": _at(everybody.stills, mated_scores, other_scores),
        "tracks": {"looks": TRACK_LOOKS, **everybody.tracks.rates()},
    }
    if groups is not None:
        report["groups"] = {
            group: {
                "people": len(groups[group]),
                **part.stills.rates(),
                "tracks": {"looks": TRACK_LOOKS, **part.tracks.rates()},
                "alone": identify_all(
                    {n: all_ for n, all_ in looks.items() if n in groups[group]},
                    judge,
                    photos,
                    spare=1,
                ),
            }
            for group, part in parts.items()
        }
    return report


def _at(tally: _Tally, mated_scores: Histogram, other_scores: Histogram) -> Report:
    mated, others = len(tally.mated_of), len(tally.others_of)
    at: Report = {}
    for false_rate in FALSE_RATES[:3]:
        # One alarm among the distinct pictures must be able to show, or the figure is a guess.
        able_to_say = others * false_rate >= 1 and mated > 0
        value = true_rate_at(mated_scores, other_scores, false_rate) if able_to_say else None
        at[name_of(false_rate)] = None if value is None else rate_of(value * mated, mated)
    return at


def _draw_gallery(
    looks: dict[str, list[Look]],
    chosen: Sequence[str],
    photos: int,
    rng: np.random.Generator,
    engine: Engine,
) -> tuple[Gallery, dict[str, list[Look]]]:
    """A gallery of `photos` drawn photographs each, and everything else of these people as probes.

    As at the desk, a photograph that the gate refuses is replaced by another one where there is
    one; somebody with no usable photograph is not in the gallery, and his probes are missed.
    """
    entries: list[tuple[str, NDArray[np.float32]]] = []
    probes: dict[str, list[Look]] = {}
    for name in chosen:
        drawn = [looks[name][i] for i in rng.permutation(len(looks[name]))]
        ranked = sorted(drawn, key=lambda k: (k.track is None, not k.enrollable))
        taken = ranked[:photos]
        templates = [k.template for k in taken if k.template is not None]
        if templates:
            entries.append((name, np.stack(templates)))
        probes[name] = [look for look in drawn if look not in taken]
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace(entries)
    return gallery, probes

"""Identification: a probe against drawn galleries, decided as the kiosk decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.language import say
from recognition.looks import Look, judge, progress
from recognition.recogniser import Recogniser
from recognition.statistics import FALSE_RATES, Histogram, name_of, rate_of, true_rate_at

GALLERY = 36
"""People on one township's board (design notes on the product)."""
DRAWS = 200
SEED = 0

Report = dict[str, Any]


@dataclass
class _Tally:
    """Attempts over all draws, and the distinct pictures behind them."""

    mated: int = 0
    right: int = 0
    wrong: int = 0
    non_mated: int = 0
    alarms: int = 0


def identify_all(
    looks: dict[str, list[Look]], recogniser: Recogniser, photos: int
) -> Report | None:
    """The report's `identification`; None where nobody has more than `photos` pictures."""
    able = [name for name, all_ in looks.items() if len(all_) > photos]
    people = len(looks)
    size = GALLERY if people >= 40 else people - max(1, math.ceil(people / 10))
    size = min(size, len(able))
    if size < 1:
        return None
    rng = np.random.default_rng(SEED)
    tally = _Tally()
    mated_pictures: set[Path] = set()
    other_pictures: set[Path] = set()
    mated_scores, other_scores = Histogram.empty(), Histogram.empty()
    for _ in progress(list(range(DRAWS)), say("抽样", "draws")):
        chosen = {able[i] for i in rng.permutation(len(able))[:size]}
        gallery, probes = _draw_gallery(looks, sorted(chosen), photos, rng, recogniser.engine)
        right_scores, wrong_scores = [], []
        for name, look in probes:
            mated_pictures.add(look.path)
            tally.mated += 1
            official, best, score = judge(recogniser, look, gallery)
            tally.right += official == name
            tally.wrong += official not in (name, None)
            right_scores.append(score if best == name else -1.0)
        for name, all_ in looks.items():
            if name in chosen:
                continue
            for look in all_:
                other_pictures.add(look.path)
                tally.non_mated += 1
                official, _, score = judge(recogniser, look, gallery)
                tally.alarms += official is not None
                wrong_scores.append(score)
        mated_scores.add(np.asarray(right_scores))
        other_scores.add(np.asarray(wrong_scores))
    mated, others = len(mated_pictures), len(other_pictures)
    at: Report = {}
    for false_rate in FALSE_RATES[:3]:
        # One alarm among the distinct pictures must be able to show, or the figure is a guess.
        able_to_say = others * false_rate >= 1 and mated > 0
        value = true_rate_at(mated_scores, other_scores, false_rate) if able_to_say else None
        at[name_of(false_rate)] = None if value is None else rate_of(value * mated, mated)
    return {
        "gallery_size": size,
        "enrolled_photos": photos,
        "draws": DRAWS,
        "fpir": rate_of(tally.alarms, tally.non_mated, others),
        "tpir": rate_of(tally.right, tally.mated, mated),
        "wrong_id": rate_of(tally.wrong, tally.mated, mated),
        "tpir_at_fpir": at,
    }


def _draw_gallery(
    looks: dict[str, list[Look]],
    chosen: Sequence[str],
    photos: int,
    rng: np.random.Generator,
    engine: Engine,
) -> tuple[Gallery, list[tuple[str, Look]]]:
    """A gallery of `photos` drawn photographs each, and everything else of these people as probes.

    As at the desk, a photograph that the gate refuses is replaced by another one where there is
    one; somebody with no usable photograph is not in the gallery, and his probes are missed.
    """
    entries: list[tuple[str, NDArray[np.float32]]] = []
    probes: list[tuple[str, Look]] = []
    for name in chosen:
        drawn = [looks[name][i] for i in rng.permutation(len(looks[name]))]
        ranked = sorted(drawn, key=lambda k: (k.track is None, not k.enrollable))
        taken = ranked[:photos]
        templates = [k.template for k in taken if k.template is not None]
        if templates:
            entries.append((name, np.stack(templates)))
        probes += [(name, look) for look in drawn if look not in taken]
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace(entries)
    return gallery, probes

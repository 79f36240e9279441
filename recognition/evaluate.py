"""Biometric performance on a folder of pictures, through the decision code of the kiosk.

Every picture goes once through `Recogniser(stills=True)`: detector, choice of the subject, quality
gate, embedding, liveness networks. What it saw is then judged by `Recogniser.judge` against each
drawn gallery, which is what the kiosk calls for every frame.
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recognition.decision import Ambiguous, Match, Unknown
from recognition.engine import Engine, load_engine
from recognition.errors import BadPicture, RecognitionError
from recognition.gallery import Gallery
from recognition.language import language, say
from recognition.liveness import Liveness, load_liveness
from recognition.pictures import SUFFIXES, read_picture
from recognition.quality import assess_quality
from recognition.recogniser import Recogniser
from recognition.statistics import (
    Histogram,
    equal_error_rate,
    fold_accuracy,
    rate_of,
    true_rate_at,
)
from recognition.track import Track

GALLERY = 36
"""People on one township's board (design notes on the product)."""
DRAWS = 200
SEED = 0
FALSE_RATES = (0.01, 0.001, 0.0001, 0.00001)

Report = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Look:
    """What one picture gave. track: None where no usable face was acquired.
    enrollable: it passes the gate of the enrolment desk."""

    path: Path
    track: Track | None
    enrollable: bool

    @property
    def template(self) -> NDArray[np.float32] | None:
        """float32, shape (d,), or None."""
        return self.track.samples[0].template if self.track else None


class Looker:
    """Takes one look at each picture; remembers what a damaged one said."""

    def __init__(self, engine: Engine, liveness: Liveness) -> None:
        self.engine = engine
        empty = Gallery(engine.model_id, engine.dimension)
        self.recogniser = Recogniser(engine, empty, liveness, stills=True)

    def look(self, path: Path, *, enrolling: bool) -> Look:
        """Read and look at one picture; a damaged one is told on stderr and gives no track."""
        try:
            frame = read_picture(path)
            seen = self.recogniser.observe(frame, 0.0)
        except BadPicture as error:
            print(error.words(language()), file=sys.stderr)
            return Look(path, None, False)
        track = self.recogniser.track
        if track is None or not track.samples or seen.subject is None:
            return Look(path, None, False)
        good = enrolling and assess_quality(frame, seen.subject, "enrol").ok
        return Look(path, track, good)


def evaluate_folder(
    folder: Path,
    json_file: Path,
    plots: Path | None = None,
    engine_name: str = "sface",
    photos: int = 3,
    *,
    data_dir: Path | None = None,
) -> int:
    """Measure, write `json_file` (and pictures into `plots`), print the main figures; returns 0.

    Raises RecognitionError where the folder holds nothing to measure.
    """
    engine = load_engine(engine_name, data_dir)
    report, scores = evaluate(folder, engine, photos, load_liveness("doubtful", data_dir))
    json_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = json_file.with_name(json_file.name + ".part")
    fresh.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(json_file)
    if plots is not None:
        from recognition.plots import write_plots

        write_plots(plots, scores, engine.threshold, engine.name)
    _print(report)
    return 0


def evaluate(
    folder: Path, engine: Engine, photos: int, liveness: Liveness
) -> tuple[Report, tuple[Histogram, Histogram]]:
    """The report (see `docs/accuracy.md`) and the histograms of genuine and impostor scores."""
    people = _people(folder / "people")
    attacks = _kinds(folder / "attacks")
    genuine = list(_pictures(folder / "bona_fide"))
    empty = list(_pictures(folder / "noface"))
    if not (people or attacks or genuine or empty):
        raise RecognitionError(
            f"{folder} holds no pictures: expected people/NAME/*.jpg and, where wanted, "
            "pairs.csv, bona_fide, attacks/KIND, noface",
            f"{folder} 中没有照片：应有 people/姓名/*.jpg，可选 pairs.csv、bona_fide、"
            "attacks/种类、noface",
        )
    # Life is judged on the pictures meant for it: press photographs fail the networks (17 %).
    looker = Looker(engine, Liveness("off"))
    looks = {
        name: [looker.look(p, enrolling=True) for p in _progress(paths, name)]
        for name, paths in _progress(list(people.items()), say("人员", "people"))
    }
    verification, scores = _verification(folder, looks)
    report: Report = {
        "engine": engine.name,
        "model_id": engine.model_id,
        "threshold": engine.threshold,
        "margin": engine.margin,
        "verification": verification,
        "identification": _identification(looks, looker.recogniser, photos),
        "acquisition": _acquisition(looks),
        "pad": _pad(engine, liveness, genuine, attacks),
        "false_detections": _false_detections(engine, empty),
    }
    return report, scores


def _people(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    found = {p.name: list(_pictures(p)) for p in sorted(folder.iterdir()) if p.is_dir()}
    return {name: paths for name, paths in found.items() if paths}


def _kinds(folder: Path) -> dict[str, list[Path]]:
    return _people(folder)


def _pictures(folder: Path) -> Iterator[Path]:
    """Pictures anywhere below `folder`, in name order, links followed."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _progress(items: list[Any], what: str) -> Any:
    long = isinstance(items[0], tuple) if items else False
    if sys.stderr.isatty():
        return tqdm(items, desc=what, leave=long, unit="")
    if long or len(items) > 50:
        print(f"{what}: {len(items)}", file=sys.stderr)
    return items


# -- verification ------------------------------------------------------------------------------


def _verification(
    folder: Path, looks: dict[str, list[Look]]
) -> tuple[Report | None, tuple[Histogram, Histogram]]:
    genuine, impostor = Histogram.empty(), Histogram.empty()
    if not looks:
        return None, (genuine, impostor)
    pairs_file = folder / "pairs.csv"
    accuracy, pictures = None, sum(len(v) for v in looks.values())
    if pairs_file.is_file():
        scores, same, pictures = _pair_scores(pairs_file, looks, folder / "people")
        values, truth = np.asarray(scores, np.float32), np.asarray(same, bool)
        genuine.add(values[truth])
        impostor.add(values[~truth])
        mean = fold_accuracy(scores, same)
        if not math.isnan(mean):
            accuracy = rate_of(mean * pictures, pictures)
    else:
        _all_against_all(looks, genuine, impostor)
    eer = None
    if genuine.total and impostor.total:
        eer = rate_of(equal_error_rate(genuine, impostor) * pictures, pictures)
    rates: Report = {}
    for false_rate in FALSE_RATES:
        true_rate = true_rate_at(genuine, impostor, false_rate) if genuine.total else None
        rates[_name(false_rate)] = (
            None if true_rate is None else rate_of(true_rate * pictures, pictures)
        )
    return {
        "accuracy": accuracy,
        "eer": eer,
        "tpr_at_fpr": rates,
        "pairs": {"same": genuine.total, "different": impostor.total},
    }, (genuine, impostor)


def _name(rate: float) -> str:
    return f"{rate:.5f}".rstrip("0")


def _pair_scores(
    file: Path, looks: dict[str, list[Look]], people: Path
) -> tuple[list[float], list[bool], int]:
    """Score and truth of each line, and the number of distinct pictures. A failure to acquire
    scores -1: it is never called the same."""
    known = {str(look.path.relative_to(people)): look for all_ in looks.values() for look in all_}
    scores: list[float] = []
    same: list[bool] = []
    used: set[str] = set()
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if not {"a", "b", "same"} <= set(reader.fieldnames or ()):
            raise RecognitionError(f"{file} needs the columns a,b,same", f"{file} 缺少列 a,b,same")
        for row in reader:
            names = [(row[k] or "").strip().removeprefix("people/") for k in ("a", "b")]
            if any(n not in known for n in names) or row["same"] not in ("0", "1"):
                print(
                    say(
                        f"pairs.csv 第 {reader.line_num} 行已跳过：照片不存在，或 same 不是 0、1",
                        f"pairs.csv line {reader.line_num} skipped: no such picture, or same is "
                        "neither 0 nor 1",
                    ),
                    file=sys.stderr,
                )
                continue
            one, other = (known[n].template for n in names)
            scores.append(-1.0 if one is None or other is None else float(one @ other))
            same.append(row["same"] == "1")
            used.update(names)
    return scores, same, len(used)


def _all_against_all(looks: dict[str, list[Look]], genuine: Histogram, impostor: Histogram) -> None:
    flat = [(i, look) for i, (_, all_) in enumerate(looks.items()) for look in all_]
    owners = np.array([i for i, _ in flat])
    dimension = next((len(k.template) for _, k in flat if k.template is not None), 1)
    nothing = np.full(dimension, np.nan, np.float32)
    matrix = np.stack([nothing if k.template is None else k.template for _, k in flat])
    for at in range(len(flat)):
        with np.errstate(invalid="ignore"):
            scores = np.nan_to_num(matrix[at + 1 :] @ matrix[at], nan=-1.0)
        same = owners[at + 1 :] == owners[at]
        genuine.add(scores[same])
        impostor.add(scores[~same])


# -- identification ----------------------------------------------------------------------------


@dataclass
class _Tally:
    """Attempts over all draws, and the distinct pictures behind them."""

    mated: int = 0
    right: int = 0
    wrong: int = 0
    non_mated: int = 0
    alarms: int = 0


def _identification(
    looks: dict[str, list[Look]], recogniser: Recogniser, photos: int
) -> Report | None:
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
    for _ in _progress(list(range(DRAWS)), say("抽样", "draws")):
        chosen = {able[i] for i in rng.permutation(len(able))[:size]}
        gallery, probes = _draw_gallery(looks, sorted(chosen), photos, rng, recogniser.engine)
        right_scores, wrong_scores = [], []
        for name, look in probes:
            mated_pictures.add(look.path)
            tally.mated += 1
            official, best, score = _judge(recogniser, look, gallery)
            tally.right += official == name
            tally.wrong += official not in (name, None)
            right_scores.append(score if best == name else -1.0)
        for name, all_ in looks.items():
            if name in chosen:
                continue
            for look in all_:
                other_pictures.add(look.path)
                tally.non_mated += 1
                official, _, score = _judge(recogniser, look, gallery)
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
        at[_name(false_rate)] = None if value is None else rate_of(value * mated, mated)
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


def _judge(
    recogniser: Recogniser, look: Look, gallery: Gallery
) -> tuple[str | None, str | None, float]:
    """(matched official or None, best official or None, score) by the kiosk's decision."""
    if look.track is None:
        return None, None, -1.0
    decision = recogniser.judge(look.track, 0.0, gallery=gallery)
    if isinstance(decision, Match):
        return decision.official, decision.official, decision.score
    if isinstance(decision, Ambiguous):
        return None, decision.first, decision.score
    if isinstance(decision, Unknown):
        return None, decision.best, decision.score
    return None, None, -1.0


# -- acquisition, attacks, empty pictures ------------------------------------------------------


def _acquisition(looks: dict[str, list[Look]]) -> Report:
    pictures = [look for all_ in looks.values() for look in all_]
    failed = sum(look.track is None for look in pictures)
    unable = sum(not any(look.enrollable for look in all_) for all_ in looks.values())
    refused = sum(not look.enrollable for look in pictures)
    return {
        # A person fails to enrol when the desk's gate takes none of the pictures.
        "fte": rate_of(unable, len(looks)),
        "fta": rate_of(failed, len(pictures)),
        "pictures_refused_at_enrolment": rate_of(refused, len(pictures)),
    }


def _pad(
    engine: Engine, liveness: Liveness, genuine: list[Path], attacks: dict[str, list[Path]]
) -> Report | None:
    if not genuine and not attacks:
        return None
    looker = Looker(engine, liveness)

    def accepted(path: Path) -> bool:
        """Presented by somebody whose face is enrolled: only liveness and quality stand between."""
        look = looker.look(path, enrolling=False)
        if look.template is None:
            return False
        gallery = Gallery(engine.model_id, engine.dimension)
        gallery.replace([("attacked", look.template[None])])
        return _judge(looker.recogniser, look, gallery)[0] is not None

    passed = sum(accepted(p) for p in _progress(genuine, "bona_fide"))
    return {
        "policy": liveness.policy,
        "passive_networks": liveness.has_passive,
        "apcer": {
            kind: rate_of(sum(accepted(p) for p in _progress(paths, kind)), len(paths))
            for kind, paths in attacks.items()
        },
        "bpcer": rate_of(len(genuine) - passed, len(genuine)),
    }


def _false_detections(engine: Engine, empty: list[Path]) -> Report | None:
    found = 0
    for path in _progress(empty, "noface"):
        try:
            found += bool(engine.detect(read_picture(path), thorough=True))
        except BadPicture as error:
            print(error.words(language()), file=sys.stderr)
    return rate_of(found, len(empty))


def _print(report: Report) -> None:
    print(f"{report['engine']}  {report['model_id']}  >= {report['threshold']}")
    for part in ("verification", "identification", "acquisition", "pad", "false_detections"):
        _print_rates(part, report[part])


def _print_rates(name: str, value: Any) -> None:
    if isinstance(value, dict) and "ci95" in value:
        low, high = value["ci95"]
        print(f"{name:42} {value['rate']:8.3%}  [{low:.3%}, {high:.3%}]  n = {value['n']}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _print_rates(f"{name}.{key}", inner)
    else:
        print(f"{name:42} {'-' if value is None else value}")

"""Verification: are two pictures of one person? Accuracy, EER and TPR at fixed FPR."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from recognition.errors import RecognitionError
from recognition.language import say
from recognition.looks import Look
from recognition.statistics import (
    FALSE_RATES,
    Histogram,
    equal_error_rate,
    fold_accuracy,
    name_of,
    rate_of,
    true_rate_at,
)

Report = dict[str, Any]


def verify(
    folder: Path, looks: dict[str, list[Look]]
) -> tuple[Report | None, tuple[Histogram, Histogram]]:
    """The report's `verification`, over `folder`/pairs.csv where it is there, else all against
    all; and the histograms of genuine and impostor scores."""
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
        rates[name_of(false_rate)] = (
            None if true_rate is None else rate_of(true_rate * pictures, pictures)
        )
    return {
        "accuracy": accuracy,
        "eer": eer,
        "tpr_at_fpr": rates,
        "pairs": {"same": genuine.total, "different": impostor.total},
    }, (genuine, impostor)


def _pair_scores(
    file: Path, looks: dict[str, list[Look]], people: Path
) -> tuple[list[float], list[bool], int]:
    """Score and truth of each line, and the number of distinct pictures. A failure to acquire
    scores -1: it is never called the same."""
    try:
        return _read_pairs(file, looks, people)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecognitionError(
            f"{file} is not CSV in UTF-8: {error}", f"{file} 不是 UTF-8 编码的 CSV：{error}"
        ) from None


def _read_pairs(
    file: Path, looks: dict[str, list[Look]], people: Path
) -> tuple[list[float], list[bool], int]:
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

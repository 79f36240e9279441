"""Biometric performance on a folder of pictures, through the decision code of the kiosk.

Every picture goes once through `Recogniser(stills=True)`: detector, choice of the subject, quality
gate, embedding, liveness networks. What it saw is then judged by `Recogniser.judge` against each
drawn gallery, which is what the kiosk calls for every frame.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.errors import BadPicture, RecognitionError
from recognition.gallery import Gallery
from recognition.groups import read_groups
from recognition.identification import identify_all
from recognition.language import language, say
from recognition.liveness import Liveness, load_liveness
from recognition.looks import Judge, Look, Looker, judge, pictures_below, progress
from recognition.pictures import SUFFIXES, read_picture
from recognition.report_file import try_place, write_report
from recognition.statistics import Histogram, rate_of
from recognition.verification import verify

Report = dict[str, Any]


def evaluate_folder(
    folder: Path,
    json_file: Path,
    plots: Path | None = None,
    engine_name: str = "sface",
    photos: int = 3,
    *,
    data_dir: Path | None = None,
) -> int:
    """Measure, write `json_file` (and pictures and a page for people into
    `plots`), print the main figures; returns 0.

    Raises RecognitionError where the folder holds nothing to measure.
    """
    try_place(json_file)
    engine = load_engine(engine_name, data_dir)
    report, scores = evaluate(folder, engine, photos, load_liveness("doubtful", data_dir))
    write_report(json_file, report)
    if plots is not None:
        from recognition.plots import write_plots
        from recognition.report_page import write_page

        write_plots(plots, scores, engine.threshold, engine.name)
        page = write_page(plots, report, datetime.now(UTC).date())
        print(say(f"报告：{page}", f"report: {page}"))
    _print(report)
    return 0


def evaluate(
    folder: Path, engine: Engine, photos: int, liveness: Liveness
) -> tuple[Report, tuple[Histogram, Histogram]]:
    """The report (see `docs/accuracy.md`) and the histograms of genuine and impostor scores."""
    if not folder.is_dir():
        raise RecognitionError(f"{folder} is not a folder", f"{folder} 不是文件夹")
    people = _people(folder / "people")
    _tell_odd_names(folder / "people", people, photos)
    attacks = _kinds(folder / "attacks")
    genuine = list(pictures_below(folder / "bona_fide"))
    empty = list(pictures_below(folder / "noface"))
    if not (people or attacks or genuine or empty):
        raise RecognitionError(
            f"{folder} holds no pictures: expected people/NAME/*.jpg and, where wanted, "
            "pairs.csv, bona_fide, attacks/KIND, noface",
            f"{folder} 中没有照片：应有 people/姓名/*.jpg，可选 pairs.csv、bona_fide、"
            "attacks/种类、noface",
        )
    groups = read_groups(folder, people)
    # Life is judged on the pictures meant for it: press photographs fail the networks (17 %).
    looker = Looker(engine, Liveness("off"))
    looks = {
        name: [looker.look(p, enrolling=True) for p in progress(paths, name)]
        for name, paths in progress(list(people.items()), say("人员", "people"))
    }
    _tell_doubles(looks)
    verification, scores = verify(folder, looks)
    report: Report = {
        "engine": engine.name,
        "model_id": engine.model_id,
        "threshold": engine.threshold,
        "margin": engine.margin,
        "verification": verification,
        "identification": identify_all(looks, Judge(engine), photos, groups),
        "acquisition": _acquisition(looks),
        "pad": _pad(engine, liveness, genuine, attacks),
        "false_detections": _false_detections(engine, empty),
    }
    return report, scores


def _warn(zh: str, en: str) -> None:
    print(say(zh, en), file=sys.stderr)


def _tell_odd_names(folder: Path, people: dict[str, list[Path]], photos: int) -> None:
    """Say what of `folder` is passed over, or counts otherwise than somebody may have meant."""
    loose = [p.name for p in sorted(folder.glob("*")) if p.suffix.lower() in SUFFIXES]
    if loose:
        _warn(
            f"{folder} 中有 {len(loose)} 张照片不在任何人的文件夹里，已跳过（如 {loose[0]}）",
            f"{len(loose)} pictures in {folder} lie in nobody's folder and are passed over "
            f"(such as {loose[0]})",
        )
    by_case: dict[str, list[str]] = {}
    for name in people:
        by_case.setdefault(name.casefold(), []).append(name)
    for names in by_case.values():
        if len(names) > 1:
            _warn(
                f"{'、'.join(names)} 只是大小写不同，按不同的人计算",
                f"{', '.join(names)} differ in capitals only and count as different people",
            )
    if people and not any(len(paths) > photos for paths in people.values()):
        _warn(
            f"没有人有超过 {photos} 张照片：识别率没有测量（可用 --photos 指定更少）",
            f"nobody has more than {photos} pictures: identification was not measured "
            "(--photos takes a smaller number)",
        )


SAME_PICTURE = 0.9999
"""Cosine from which two pictures are one file, or copies of it: no two different pictures of the
development sets reach 0.99."""


def _tell_doubles(looks: dict[str, list[Look]]) -> None:
    """Say where one picture stands under two names: whoever it is, one of them is a false alarm."""
    known = [(n, k.path, k.template) for n, all_ in looks.items() for k in all_]
    usable = [(name, path, template) for name, path, template in known if template is not None]
    if not usable:
        return
    matrix = np.stack([template for _, _, template in usable])
    for at, (name, path, template) in enumerate(usable):
        for other in np.flatnonzero(matrix[at + 1 :] @ template >= SAME_PICTURE) + at + 1:
            name_too, path_too, _ = usable[other]
            if name_too != name:
                _warn(
                    f"同一张照片有两个姓名：{path}、{path_too}；会被算作误认",
                    f"one picture under two names: {path} and {path_too}; it counts as a false "
                    "alarm",
                )


def _people(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    found = {p.name: list(pictures_below(p)) for p in sorted(folder.iterdir()) if p.is_dir()}
    return {name: paths for name, paths in found.items() if paths}


def _kinds(folder: Path) -> dict[str, list[Path]]:
    return _people(folder)


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
        return judge(looker.recogniser, look.track, gallery)[0] is not None

    passed = sum(accepted(p) for p in progress(genuine, "bona_fide"))
    return {
        "policy": liveness.policy,
        "passive_networks": liveness.has_passive,
        "apcer": {
            kind: rate_of(sum(accepted(p) for p in progress(paths, kind)), len(paths))
            for kind, paths in attacks.items()
        },
        "bpcer": rate_of(len(genuine) - passed, len(genuine)),
    }


def _false_detections(engine: Engine, empty: list[Path]) -> Report | None:
    found = 0
    for path in progress(empty, "noface"):
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

"""Enrolment: pictures -> quality gate -> consent -> templates. No picture is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attendance.days import day_of
from enroll.errors import ConsentMissing, FaceRefused, ModelChanged
from enroll.folder import Note
from enroll.store import Consented, Store
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.pictures import read_picture
from recognition.quality import Purpose, Quality, assess_quality
from recognition.types import Face, Frame, Template

MAX_TEMPLATES = 3
"""Templates of one person. The engines' thresholds cite error rates measured with three
photographs each (recognition notes, November 2026); more would raise FPIR above what they cite."""


@dataclass(frozen=True)
class Likeness:
    """What scores mean at enrolment, where pictures are compared with care and nobody waits.

    same_person: below it, pictures in one folder are of different people. same_picture: from it on
    a picture teaches the gallery nothing new (a copy, a neighbouring frame). near: two people
    enrolled who come within this of the engine's threshold are reported, not refused.
    """

    same_person: float
    same_picture: float
    near: float


LIKENESS = {
    # 0.363: OpenCV's own threshold for SFace, 99.4 % right on the pairs of LFW.
    "sface": Likeness(0.363, 0.985, 0.05),
    # 175 enrolment-grade pictures of 40 people of LFW, November 2026: 1 % of the pairs of one
    # person score below 0.90, 1 % of those of two people above; no two pictures reach 0.99.
    "dlib": Likeness(0.90, 0.992, 0.006),
}

Result = Literal["taken", "spare", "refused"]


@dataclass(frozen=True)
class PictureResult:
    """What became of one picture. `faults` are words for programs: those of
    `recognition.quality.QualityFault`, or `unreadable`, `another_person`, `same_picture`."""

    file: str
    result: Result
    faults: tuple[str, ...] = ()
    why: Note | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A usable face: its template (float32, shape (d,)) and the quality that it passed with."""

    file: str
    template: Template
    quality: Quality


@dataclass(frozen=True)
class Similar:
    """Somebody enrolled who looks like this face; `collides` at or above the threshold."""

    official: str
    score: float
    collides: bool


def look(
    engine: Engine, frame: Frame, purpose: Purpose = "enrol"
) -> tuple[Quality, Face | None]:
    """The quality of the one face in `frame` (uint8 BGR, shape (h, w, 3)), and that face."""
    faces = engine.detect(frame, thorough=True)
    return assess_quality(frame, faces, purpose), faces[0] if faces else None


def read_sample(engine: Engine, path: Path) -> Sample | PictureResult:
    """The face in a picture file, or why it cannot be used."""
    try:
        frame = read_picture(path)
    except BadPicture as error:
        why = Note(error.zh.removeprefix(f"{path} "), error.en.removeprefix(f"{path} "))
        return PictureResult(path.name, "refused", ("unreadable",), why)
    quality, face = look(engine, frame)
    if not quality.ok or face is None:
        faults = tuple(fault.value for fault in quality.faults)
        return PictureResult(
            path.name, "refused", faults, Note(quality.words("zh"), quality.words("en"))
        )
    return Sample(path.name, engine.embed(frame, face, thorough=True), quality)


def read_samples(engine: Engine, paths: Sequence[Path]) -> tuple[list[Sample], list[PictureResult]]:
    """The pictures to make templates from, and what became of every one, in the order given."""
    looked = [read_sample(engine, path) for path in paths]
    samples = [each for each in looked if isinstance(each, Sample)]
    chosen, fates = choose(samples, LIKENESS[engine.name])
    by_file = {fate.file: fate for fate in fates}
    results = [by_file[x.file] if isinstance(x, Sample) else x for x in looked]
    return chosen, results


def choose(
    samples: Sequence[Sample], likeness: Likeness, most: int = MAX_TEMPLATES
) -> tuple[list[Sample], list[PictureResult]]:
    """The samples of one person that differ most, at most `most`, and the fate of every one.

    Where the samples show several people the larger group counts; where no group is larger, none.
    """
    if not samples:
        return [], []
    scores = np.stack([s.template for s in samples])
    scores = scores @ scores.T
    groups = _groups(scores >= likeness.same_person)
    sizes = sorted((len(group) for group in groups), reverse=True)
    if len(groups) > 1 and sizes[0] == sizes[1]:
        return [], [_another(s.file) for s in samples]
    group = max(groups, key=len)
    taken = _differing(scores, group, most, likeness.same_picture)
    fates = []
    for i, sample in enumerate(samples):
        if i in taken:
            fates.append(PictureResult(sample.file, "taken"))
        elif i not in group:
            fates.append(_another(sample.file))
        else:
            copy = float(scores[i, taken].max()) >= likeness.same_picture
            fates.append(_spare(sample.file, copy or len(taken) < most))
    return [samples[i] for i in taken], fates


def _groups(linked: NDArray[np.bool_]) -> list[list[int]]:
    left, groups = set(range(len(linked))), []
    while left:
        group, border = set(), {min(left)}
        while border:
            group |= border
            border = {j for i in border for j in range(len(linked)) if linked[i, j]} - group
        groups.append(sorted(group))
        left -= group
    return groups


def _differing(scores: NDArray[np.float32], group: list[int], most: int, same: float) -> list[int]:
    # The most typical picture first, then always the one that is least like those taken.
    taken = [max(group, key=lambda i: float(scores[i, group].mean()))]
    while len(taken) < most:
        rest = [i for i in group if i not in taken]
        if not rest:
            break
        best = min(rest, key=lambda i: float(scores[i, taken].max()))
        if float(scores[best, taken].max()) >= same:
            break
        taken.append(best)
    return taken


def _another(file: str) -> PictureResult:
    return PictureResult(
        file,
        "refused",
        ("another_person",),
        Note(
            "与其他照片不像同一个人，请检查是否放错文件夹",
            "not the same person as the other pictures: check that it lies in the right folder",
        ),
    )


def _spare(file: str, copy: bool) -> PictureResult:
    if copy:
        return PictureResult(
            file,
            "spare",
            ("same_picture",),
            Note("与已采用的照片几乎相同", "nearly the same as a picture already taken"),
        )
    return PictureResult(
        file, "spare", (), Note("可用，但差异更大的照片已够", "good, but enough others differ more")
    )


# -- consent ----------------------------------------------------------------------------------


def grant_consent(
    store: Store, official: str, given_on: date, now_ms: int, *, renewed: bool = False
) -> None:
    """Note that the person consented in writing on that day to a template of their face.

    Raises ConsentMissing; see `check_consent`.
    """
    check_consent(store, official, given_on, now_ms, renewed=renewed)
    store.add_consent(official, "face", given_on, now_ms)


def check_consent(
    store: Store, official: str, given_on: date, now_ms: int, *, renewed: bool = False
) -> None:
    """`check_consent_of` a face."""
    check_consent_of(store, official, "face", given_on, now_ms, renewed=renewed)


def check_consent_of(
    store: Store,
    official: str,
    what: Consented,
    given_on: date,
    now_ms: int,
    *,
    renewed: bool = False,
) -> None:
    """Raises ConsentMissing where the consent is in the future, or was withdrawn since.

    renewed: they are here and consent now, so the day of a withdrawal is late enough. Otherwise a
    list may simply repeat the consent that was withdrawn: it must be of a later day.
    """
    today = day_of(now_ms)
    if given_on > today:
        raise ConsentMissing(
            f"同意日期 {given_on} 还没有到", f"the consent date {given_on} is in the future"
        )
    last = store.consent(official, what)
    if last is not None and last.withdrawn_ms is not None:
        ended = day_of(last.withdrawn_ms)
        if given_on < ended or (given_on == last.given_on and not renewed):
            raise ConsentMissing(
                f"本人已于 {ended} 撤回同意：需要此后新签的同意书",
                f"consent was withdrawn on {ended}: a new one, signed since, is needed",
            )


def check_model(store: Store, engine: Engine, *, new_model: bool = False) -> None:
    """Raises ModelChanged where the desk's faces were made by another model than the engine's,
    unless `new_model` says that everybody is being enrolled anew."""
    desk = store.meta("model")
    others = sum(1 for face in store.faces() if face.model != engine.model_id)
    if desk in (None, engine.model_id) or new_model or not others:
        return
    raise ModelChanged(
        f"本机已有 {others} 人的模板由 {desk} 生成，不能与 {engine.model_id} 混用："
        "请继续用原引擎，或加 --new-model 用全部照片重新导入",
        f"{others} faces here were made by {desk} and cannot be compared with {engine.model_id}: "
        "keep that engine, or import everybody's pictures again with --new-model",
    )


# -- the templates ----------------------------------------------------------------------------


def find_similar(
    store: Store, engine: Engine, official: str, templates: NDArray[np.float32]
) -> list[Similar]:
    """Everybody else enrolled who looks like `templates` (float32, shape (k, d)), likest first."""
    found = []
    for other in store.faces():
        if other.official == official or other.model != engine.model_id:
            continue
        score = float((templates @ other.templates.T).max())
        if score >= engine.threshold - LIKENESS[engine.name].near:
            found.append(Similar(other.official, score, score >= engine.threshold))
    return sorted(found, key=lambda each: each.score, reverse=True)


def enrol(
    store: Store,
    engine: Engine,
    official: str,
    templates: NDArray[np.float32],
    *,
    allow_similar: bool = False,
) -> list[Similar]:
    """Keep the templates (float32, shape (k, d), unit length) of somebody whose consent stands.

    Returns those who look alike; colliding ones need their PIN after the face from now on, and who
    is not even near any more, since one of the two faces was another's, no longer does.
    Raises ConsentMissing; FaceRefused where the face belongs to another id already, unless
    `allow_similar` says that a person looked and they are two people.
    """
    consent = store.consent(official, "face")
    if consent is None or not consent.stands:
        raise ConsentMissing(
            f"{official} 没有有效的人脸同意书", f"{official} has no consent to enrol a face"
        )
    similar = find_similar(store, engine, official, templates)
    known = store.alike(official)
    clash = [s for s in similar if s.collides and s.official not in known]
    if clash and not allow_similar:
        first = clash[0]
        raise FaceRefused(
            f"这张脸与 {first.official} 相同（相似度 {first.score:.2f}）："
            "若是同一人请删除一个编号，若是两个人（如双胞胎）"
            "请加 --allow-similar，两人都须再输 PIN",
            f"this face is already {first.official}'s (score {first.score:.2f}): if they are one "
            "person remove one id; if two (twins, siblings) use --allow-similar, and both will "
            "need their PIN after the face",
        )
    old = store.face(official)
    with store.transaction():
        if old is None or old.model != engine.model_id or not _same(old.templates, templates):
            store.set_face(official, templates, engine.model_id)
        for each in similar:
            if each.collides:
                store.mark_alike(official, each.official, each.score)
        for other in known.difference(each.official for each in similar):
            face = store.face(other)
            if face is not None and face.model == engine.model_id:  # it was compared
                store.mark_distinct(official, other)
        store.set_meta("model", engine.model_id)
        store.set_meta("engine", engine.name)
        store.set_meta("dimension", str(engine.dimension))
    return similar


def _same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, atol=1e-4))

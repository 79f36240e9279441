"""`quxiang-enroll import`: everybody in a folder, each row and picture judged on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attendance.days import day_of
from enroll.desk import Desk
from enroll.enrol import PictureResult, Similar, check_model, enrol, grant_consent, read_samples
from enroll.errors import ConsentMissing, FaceRefused, TokenTaken
from enroll.folder import BadRow, Note, Row, read_officials
from enroll.portrait import encode_portrait, find_portrait, is_portrait
from enroll.store import Store
from enroll.withdraw import withdraw_consent
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.pictures import picture_paths


@dataclass
class OfficialResult:
    """What became of one row of officials.csv.

    result: `new`, `updated`, `same` or `refused` (nothing of the row was taken).
    face: `enrolled`, `kept` (the earlier templates stay), `withdrawn` or `none`.
    portrait: `queued`, `same`, `refused` or `none`. `similar` are people who look alike.
    """

    line: int
    official: str
    name: str = ""
    result: str = "refused"
    face: str = "none"
    templates: int = 0
    pin: bool = False
    card: bool = False
    second_factor: bool = False
    portrait: str = "none"
    notes: list[Note] = field(default_factory=list)
    pictures: list[PictureResult] = field(default_factory=list)
    similar: list[Similar] = field(default_factory=list)

    def to_json(self, lang: str) -> dict[str, Any]:
        """As in the report of `--json`; sentences in `lang`."""
        return {
            "line": self.line,
            "official": self.official,
            "name": self.name,
            "result": self.result,
            "face": self.face,
            "templates": self.templates,
            "pin": self.pin,
            "card": self.card,
            "second_factor": self.second_factor,
            "portrait": self.portrait,
            "notes": [note.words(lang) for note in self.notes],
            "pictures": [
                {
                    "file": each.file,
                    "result": each.result,
                    "faults": list(each.faults),
                    "why": None if each.why is None else each.why.words(lang),
                }
                for each in self.pictures
            ],
            "similar": [
                {"official": s.official, "score": round(s.score, 4), "collides": s.collides}
                for s in self.similar
            ],
        }


OnResult = Callable[[OfficialResult], None]


def import_folder(
    desk: Desk,
    folder: Path,
    engine: Callable[[], Engine],
    *,
    sites: Collection[str] | None,
    allow_similar: bool = False,
    new_model: bool = False,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: OnResult = lambda result: None,
) -> list[OfficialResult]:
    """Enrol everybody in `folder`; a bad row or picture is reported and skipped.

    engine: called once, and only where somebody consented. sites: known names, None for unchecked.
    on_start is told the number of rows, on_result each row as it is done. Raises FolderInvalid
    (before anything is taken), ModelChanged, RecognitionError (weights), DeskUnusable.
    """
    rows = read_officials(folder, day_of(desk.now_ms()), sites)
    on_start(len(rows))
    loaded: Engine | None = None
    if any(isinstance(row, Row) and row.consented_on for row in rows):
        loaded = engine()
        check_model(desk.store, loaded, new_model=new_model)
    results = []
    for row in rows:
        if isinstance(row, BadRow):
            result = OfficialResult(row.line, row.official, notes=list(row.faults))
        else:
            result = _take(desk, folder / row.roster.official, row, loaded, allow_similar)
        results.append(result)
        on_result(result)
    return results


def _take(
    desk: Desk, folder: Path, row: Row, engine: Engine | None, allow_similar: bool
) -> OfficialResult:
    who = row.roster.official
    store = desk.store
    result = OfficialResult(row.line, who, row.roster.name, notes=list(row.notes))
    result.result = store.put_official(row.roster)
    if row.pin is not None and store.set_pin(who, row.pin) and result.result == "same":
        result.result = "updated"
    result.pin = store.pin(who) is not None
    if result.pin and row.pin is None:
        result.notes = [Note("沿用原来的 PIN", "the earlier PIN stays")]
    _take_card(store, row, result)
    if row.consented_on is None or engine is None:
        _take_no_face(desk, folder, result)
    else:
        _take_face(desk, folder, row, engine, allow_similar, result)
    face = store.face(who)
    result.templates = 0 if face is None else len(face.templates)
    result.second_factor = who in store.alike()
    if result.second_factor and not result.pin:
        result.notes.append(
            Note("须输 PIN 但尚无 PIN：请补录", "needs a PIN after the face but has none: add one")
        )
    _take_portrait(desk, folder, row, result)
    return result


def _take_card(store: Store, row: Row, result: OfficialResult) -> None:
    try:
        if row.card is not None and store.set_token(row.roster.official, "card", row.card):
            result.result = "updated" if result.result == "same" else result.result
    except TokenTaken as error:
        result.notes.append(Note(error.zh, error.en))
    result.card = store.token(row.roster.official, "card") is not None


def _take_no_face(desk: Desk, folder: Path, result: OfficialResult) -> None:
    if _pictures(folder):
        result.notes.append(
            Note("没有人脸同意日期，照片未读取", "no consent date: the pictures were not read")
        )
    standing = desk.store.consent(result.official, "face")
    if "face" in desk.store.holds(result.official) or (standing is not None and standing.stands):
        withdraw_consent(desk, result.official, what=("face",))
        result.face = "withdrawn"
        result.notes.append(
            Note(
                "表中同意日期已删除：按撤回同意处理，人脸模板已清除",
                "the consent date is gone from the list: taken as a withdrawal, templates erased",
            )
        )


def _take_face(
    desk: Desk,
    folder: Path,
    row: Row,
    engine: Engine,
    allow_similar: bool,
    result: OfficialResult,
) -> None:
    store, who = desk.store, row.roster.official
    had = "face" in store.holds(who)
    result.face = "kept" if had else "none"
    if row.consented_on is None:
        return
    try:
        grant_consent(store, who, row.consented_on, desk.now_ms())
    except ConsentMissing as error:
        result.notes.append(Note(error.zh, error.en))
        return
    paths = _pictures(folder)
    if not paths:
        result.notes.append(
            Note(f"文件夹 {who} 中没有照片", f"there is no picture in the folder {who}")
        )
        return
    samples, result.pictures = read_samples(engine, paths)
    if not samples:
        result.notes.append(
            Note("没有一张照片可用，未登记人脸", "no picture could be used: no face enrolled")
            if not had
            else Note(
                "没有一张照片可用，沿用原模板", "no picture could be used: the old face stays"
            )
        )
        return
    templates = np.stack([sample.template for sample in samples])
    try:
        result.similar = enrol(store, engine, who, templates, allow_similar=allow_similar)
    except FaceRefused as error:
        result.notes.append(Note(error.zh, error.en))
        result.notes.append(
            Note(
                "人脸未登记，PIN 仍可使用", "the face was not enrolled; the PIN works all the same"
            )
        )
        return
    result.face = "enrolled"
    for each in result.similar:
        result.notes.append(_resembles(each))
    if len(samples) < 2:
        result.notes.append(
            Note(
                "只有一张可用照片，建议三张不同的", "only one picture: three that differ are better"
            )
        )


def _resembles(each: Similar) -> Note:
    if each.collides:
        return Note(
            f"与 {each.official} 相似（{each.score:.2f}）：两人刷脸后都须输 PIN",
            f"looks like {each.official} ({each.score:.2f}): both need their PIN after the face",
        )
    return Note(
        f"与 {each.official} 有些相似（{each.score:.2f}，未达阈值）：请核对照片，现场试刷两人",
        f"resembles {each.official} ({each.score:.2f}, below the threshold): check the pictures "
        "and try both at a kiosk",
    )


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in picture_paths(folder) if not is_portrait(path)]


def _take_portrait(desk: Desk, folder: Path, row: Row, result: OfficialResult) -> None:
    store, who = desk.store, row.roster.official
    path = find_portrait(folder)
    if row.portrait_consented_on is None:
        if path is not None:
            result.portrait = "refused"
            result.notes.append(
                Note(
                    "没有公示照同意日期（portrait_consented_on），portrait 未上传",
                    "no portrait_consented_on: the portrait is not uploaded",
                )
            )
        if store.sent_portrait(who) is not None:
            result.notes.append(
                Note(
                    f"公示照仍在服务器上：quxiang-enroll withdraw {who} 可删除",
                    f"a portrait is still public: quxiang-enroll withdraw {who} removes it",
                )
            )
        return
    if path is None:
        return
    last = store.consent(who, "portrait")
    if last is not None and not last.stands and row.portrait_consented_on <= last.given_on:
        result.portrait = "refused"
        result.notes.append(
            Note(
                "公示照的同意已撤回，未上传", "consent to the portrait was withdrawn: not uploaded"
            )
        )
        return
    try:
        jpeg = encode_portrait(path)
    except BadPicture as error:
        result.portrait = "refused"
        result.notes.append(Note(error.zh, error.en))
        return
    store.add_consent(who, "portrait", row.portrait_consented_on, desk.now_ms())
    if store.sent_portrait(who) == hashlib.sha256(jpeg).hexdigest():
        result.portrait = "same"
        return
    store.set_portrait(who, jpeg)
    result.portrait = "queued"

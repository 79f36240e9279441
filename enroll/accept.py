"""Proposed pictures as templates: judged like those of an enrolment, accepted by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enroll.desk import Desk
from enroll.enrol import (
    LIKENESS,
    MAX_TEMPLATES,
    Similar,
    check_model,
    enrol,
    find_similar,
    look,
)
from enroll.errors import EnrollError, FaceRefused
from enroll.folder import Note
from enroll.proposals import Proposal, Proposals, asked_since
from recognition.engine import Engine
from recognition.errors import BadPicture
from recognition.pictures import decode_picture
from recognition.types import Template


@dataclass(frozen=True, eq=False)
class Judged:
    """What the gate says of a proposed picture. `why` is None where it may be accepted; `scores`
    are those with the templates enrolled now, in their order; `similar` are others like it."""

    template: Template | None
    scores: tuple[float, ...]
    similar: tuple[Similar, ...]
    why: Note | None


@dataclass(frozen=True)
class Accepted:
    """What an acceptance did: templates now, whether an earlier one made room, who looks alike."""

    templates: int
    replaced: bool
    similar: tuple[Similar, ...]


def judge(desk: Desk, engine: Engine, official: str, picture: bytes) -> Judged:
    """The gate of enrolment: quality, the same person as enrolled, not the same picture again."""
    try:
        frame = decode_picture(picture)
    except BadPicture as error:
        return Judged(None, (), (), Note(error.zh, error.en))
    quality, face = look(engine, frame)
    if not quality.ok or face is None:
        return Judged(None, (), (), Note(quality.words("zh"), quality.words("en")))
    template = engine.embed(frame, face, thorough=True)
    enrolled = desk.store.face(official)
    if enrolled is None or enrolled.model != engine.model_id:
        return Judged(
            template,
            (),
            (),
            Note(
                "本人没有用现在的模型登记人脸，请先重新登记",
                "no face of theirs is enrolled with this model: enrol them first",
            ),
        )
    scores = tuple(float(score) for score in enrolled.templates @ template)
    similar = tuple(find_similar(desk.store, engine, official, template[None]))
    likeness = LIKENESS[engine.name]
    why = None
    if max(scores) < likeness.same_person:
        why = Note(
            f"与本人已登记的模板不像同一个人（最高 {max(scores):.2f}）",
            f"not the person who is enrolled (best score {max(scores):.2f})",
        )
    elif max(scores) >= likeness.same_picture:
        why = Note(
            "与已有模板几乎相同，采用没有意义",
            "nearly the same as a template that is there already: it would teach nothing",
        )
    return Judged(template, scores, similar, why)


def accept(
    desk: Desk, engine: Engine, proposal: Proposal, who: str, *, allow_similar: bool = False
) -> Accepted:
    """Make the picture a template of its official, erase it, and log who decided.

    Where three templates are there already, the one that the others can best do without makes
    room. Raises EnrollError (no name, one's own, no consent), FaceRefused where the gate refuses,
    ModelChanged, ConsentMissing.
    """
    pile = Proposals(desk)
    named = check_name(desk, proposal, who)
    if asked_since(desk.store, proposal.official) is None:
        raise EnrollError(
            f"{proposal.official} 没有同意采用待审照片",
            f"{proposal.official} has not consented to proposed pictures",
        )
    check_model(desk.store, engine)
    found = judge(desk, engine, proposal.official, pile.contents(proposal.id).picture)
    if found.why is not None or found.template is None:
        why = found.why or Note("", "")
        raise FaceRefused(f"不能采用：{why.zh}", f"it cannot be accepted: {why.en}")
    enrolled = desk.store.face(proposal.official)
    assert enrolled is not None  # noqa: S101 - `judge` compared with it
    kept = _room(enrolled.templates, found.template)
    with desk.store.transaction():
        similar = enrol(
            desk.store,
            engine,
            proposal.official,
            np.vstack([kept, found.template[None]]),
            allow_similar=allow_similar,
        )
        pile.decide(proposal.id, "accepted", named)
    desk.store.shred()
    return Accepted(len(kept) + 1, len(kept) < len(enrolled.templates), tuple(similar))


def refuse(desk: Desk, proposal: Proposal, who: str) -> None:
    """Erase the picture and log who decided. Raises EnrollError."""
    Proposals(desk).decide(proposal.id, "refused", check_name(desk, proposal, who))
    desk.store.shred()


def check_name(desk: Desk, proposal: Proposal, who: str) -> str:
    """The name of whoever decides. Raises EnrollError for none, or for one's own picture."""
    named = " ".join(who.split())[:40]
    row = desk.store.official(proposal.official)
    if not named:
        raise EnrollError("请用 --by 写明由谁决定", "say by --by who decides")
    if named == proposal.official or (row is not None and named == row.name):
        raise EnrollError("不能由本人决定自己的照片", "nobody decides on a picture of their own")
    return named


def _room(templates: NDArray[np.float32], new: Template) -> NDArray[np.float32]:
    """The templates (float32, shape (k, d)) that stay beside the new one, one fewer than
    MAX_TEMPLATES at the most: the one most like another, or like the new one, makes room."""
    kept = templates
    while len(kept) >= MAX_TEMPLATES:
        everything = np.vstack([kept, new[None]])
        scores = everything @ everything.T
        np.fill_diagonal(scores, -np.inf)
        kept = np.delete(kept, int(scores[: len(kept)].max(axis=1).argmax()), axis=0)
    return kept

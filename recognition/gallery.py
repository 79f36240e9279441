"""The gallery: templates of the enrolled, searched with one BLAS call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recognition.errors import BadTemplate, ModelMismatch
from recognition.types import Template

UNIT_TOLERANCE = 1e-3
"""How far a template's L2 norm may be from 1. float32 normalisation is exact to about 1e-6; a
half-precision copy to about 1e-3."""

HALF = 0.5
"""Part of the best template and of the mean direction in a score: as many people recognised as by
the better of both, and the highest impostors lower than by the best alone (docs/accuracy.md)."""
NO_SCORE = -1.0
"""The least that a dot product of unit vectors can be; finite, since it goes into records."""


class Candidates(NamedTuple):
    """The two most likely people (a tuple: made for every look, so it must cost nothing). A score
    is `Gallery.search`'s; where there is no such person the id is None and the score NO_SCORE."""

    best_id: str | None
    best_score: float
    second_id: str | None
    second_score: float

    @property
    def margin(self) -> float:
        """Lead of the best over the second, 0 to 2; over NO_SCORE where there is no second."""
        return self.best_score - self.second_score


NOBODY = Candidates(None, NO_SCORE, None, NO_SCORE)


class Gallery:
    """Templates of one model. Empty until `replace`; not shared between threads while replaced."""

    def __init__(self, model_id: str, dimension: int) -> None:
        if dimension < 1:
            raise ValueError("dimension must be at least 1")
        self.model_id = model_id
        self.dimension = dimension
        self._one = (dimension,)
        self._set([], [])

    def _set(self, names: list[str], blocks: list[NDArray[np.float32]]) -> None:
        # Slot by slot, not person by person: first everybody's first template, then the second of
        # those who have one. So a maximum or a sum per person is a few operations on whole arrays.
        order = sorted(range(len(names)), key=lambda i: -len(blocks[i]))
        most = len(blocks[order[0]]) if order else 0
        slots = [[blocks[i][k] for i in order if len(blocks[i]) > k] for k in range(most)]
        rows = [row for slot in slots for row in slot]
        self._names = tuple(names)
        self._ranked = tuple(names[i] for i in order)
        self._matrix = np.ascontiguousarray(
            np.stack(rows) if rows else np.zeros((0, self.dimension)), np.float32
        )
        sums = np.stack([blocks[i].sum(axis=0) for i in order]) if order else self._matrix
        norms = np.linalg.norm(sums, axis=1)
        # Templates that point nowhere in common have no mean to compare with: a gain of nothing.
        self._gain = np.where(norms > 1e-3, 1 / np.maximum(norms, 1e-3), 0).astype(np.float32)
        self._part = 1.0 if most < 2 else HALF  # two numbers are halved at the end, not all
        # The search writes into these; views of them are cut here, since cutting costs as much as
        # a hundred additions.
        self._scores = np.empty(len(rows), np.float32)
        self._people = np.empty(len(names), np.float32)
        self._sums = np.empty(len(names), np.float32)
        ends = np.cumsum([len(slot) for slot in slots])
        self._first = self._scores[: len(names)]
        self._further = []
        best, sums = self._first, self._first
        for slot, end in zip(slots[1:], ends[1:], strict=True):
            count = len(slot)
            to = self._people[:count], self._sums[:count]
            self._further.append((best[:count], sums[:count], self._scores[end - count : end], *to))
            best, sums = self._people, self._sums
        # Those with one template beside others with more: their first score is their only one.
        several = len(slots[1]) if most > 1 else 0
        self._single = (
            (self._first[several:], self._people[several:], self._sums[several:])
            if 0 < several < len(names)
            else None
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the people, in the order given."""
        return self._names

    @property
    def template_count(self) -> int:
        """Number of templates of all people together."""
        return len(self._matrix)

    def __len__(self) -> int:
        return len(self._names)

    def replace(
        self,
        entries: Iterable[tuple[str, NDArray[np.float32]]],
        model_id: str | None = None,
    ) -> None:
        """Make `entries` the whole gallery: (id, float32 templates of shape (k, dimension))

        with k at least 1.

        model_id: the model that made the templates, compared with the gallery's where given.
        The old gallery stays where anything is raised: ModelMismatch for another model or
        dimension, BadTemplate for NaN, infinity, a norm that is not 1, no template, or an id twice.
        """
        if model_id is not None and model_id != self.model_id:
            raise ModelMismatch(
                f"these templates were made by {model_id}, this gallery compares {self.model_id}: "
                "enrol again with this engine",
                f"这些人脸模板由 {model_id} 生成，本机使用 {self.model_id}：请用本引擎重新登记",
            )
        names: list[str] = []
        blocks: list[NDArray[np.float32]] = []
        for name, given in entries:
            names.append(name)
            blocks.append(self._checked(name, given))
        if len(set(names)) != len(names):
            raise BadTemplate("an id occurs twice in the gallery", "人脸库中有重复的编号")
        self._set(names, blocks)

    def _checked(self, name: str, given: NDArray[np.float32]) -> NDArray[np.float32]:
        block = np.asarray(given, np.float32)
        if block.ndim == 1:
            block = block[None, :]
        if block.ndim != 2 or block.shape[1] != self.dimension:
            raise ModelMismatch(
                f"the templates of {name} have shape {block.shape}; {self.model_id} makes "
                f"{self.dimension} numbers each"
            )
        if not len(block):
            raise BadTemplate(f"{name} has no template", f"{name} 没有人脸模板")
        if not np.isfinite(block).all():
            raise BadTemplate(
                f"a template of {name} holds NaN or infinity", f"{name} 的模板含有无效数值"
            )
        if np.abs(np.linalg.norm(block, axis=1) - 1).max() > UNIT_TOLERANCE:
            raise BadTemplate(
                f"a template of {name} is not of unit length", f"{name} 的模板未归一化"
            )
        return block

    def search(self, probe: NDArray[np.float32]) -> Candidates:
        """The best and the second person for `probe`: float32, shape (d,), or (n, d) for several
        embeddings of one face, where a person's score is the mean over them (a mean keeps the
        meaning of a threshold found on single stills; a maximum would not).

        A person's score for one embedding is half the best over their templates and half that of
        the templates' mean direction: docs/accuracy.md, "What was tried". Raises ModelMismatch for
        another dimension, BadTemplate for NaN or infinity.
        """
        probe = np.ascontiguousarray(probe, np.float32)
        if probe.shape == self._one and self._names:
            return self._top_two(self._by_person(probe))
        if probe.ndim not in (1, 2) or probe.shape[-1] != self.dimension or not probe.size:
            raise ModelMismatch(
                f"the probe has shape {probe.shape}; {self.model_id} makes {self.dimension} numbers"
            )
        if not self._names:
            if not np.isfinite(probe).all():
                raise _not_finite()
            return NOBODY
        mean = sum(self._by_person(row).copy() for row in probe) / np.float32(len(probe))
        return self._top_two(np.asarray(mean, np.float32))

    def _by_person(self, probe: Template) -> NDArray[np.float32]:
        """Scores of the people in the order of rank, over `_part`; overwritten by the next call."""
        self._matrix.dot(probe, self._scores)
        if not self._further:
            return self._first
        best, sums = self._people, self._sums
        for so_far_best, so_far_sum, scores, of_best, of_sums in self._further:
            np.maximum(so_far_best, scores, out=of_best)
            np.add(so_far_sum, scores, out=of_sums)
        if self._single is not None:
            self._single[1][:] = self._single[2][:] = self._single[0]
        # The score of somebody's mean direction is the sum of the scores over the sum's length.
        np.multiply(sums, self._gain, out=sums)
        return np.add(best, sums, out=best)

    def _top_two(self, people: NDArray[np.float32]) -> Candidates:
        best = int(people.argmax())
        score: float = people.item(best) * self._part
        # NaN or infinity anywhere in the probe leaves no score finite (nought times infinity is
        # NaN, and argmax takes NaN for the largest).
        if not math.isfinite(score):
            raise _not_finite()
        if len(people) == 1:
            return Candidates(self._ranked[best], score, None, NO_SCORE)
        people[best] = -np.inf
        second = int(people.argmax())
        return Candidates(
            self._ranked[best], score, self._ranked[second], people.item(second) * self._part
        )


def _not_finite() -> BadTemplate:
    return BadTemplate("the probe holds NaN or infinity", "待比对的模板含有无效数值")


def template_of(vectors: NDArray[np.float32]) -> Template:
    """Unit-length mean direction of `vectors` (n, d). Raises BadTemplate where there is none."""
    mean = np.asarray(vectors, np.float32).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm) or norm < 1e-6:
        raise BadTemplate("these embeddings have no direction in common")
    return np.ascontiguousarray(mean / norm, np.float32)

"""The gallery: templates of the enrolled, searched with one BLAS call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recognition.errors import BadTemplate, ModelMismatch
from recognition.types import Template

UNIT_TOLERANCE = 1e-3
"""How far a template's L2 norm may be from 1. float32 normalisation is exact to about 1e-6; a
half-precision copy to about 1e-3."""

NO_SCORE = -1.0
"""The least that a dot product of unit vectors can be; finite, since it goes into records."""


@dataclass(frozen=True)
class Candidates:
    """The two most likely people. A score is a person's best over their templates; where there is
    no such person the id is None and the score NO_SCORE."""

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
        self._set((), np.zeros((0, dimension), np.float32), np.zeros(1, np.intp))

    def _set(
        self, names: tuple[str, ...], matrix: NDArray[np.float32], starts: NDArray[np.intp]
    ) -> None:
        self._names = names
        self._matrix = matrix
        self._starts = starts  # person i has rows starts[i]:starts[i + 1]
        self._owner = np.repeat(np.arange(len(names)), np.diff(starts))
        self._scores = np.empty(len(matrix), np.float32)

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
        matrix = (
            np.ascontiguousarray(np.concatenate(blocks), np.float32)
            if blocks
            else np.zeros((0, self.dimension), np.float32)
        )
        starts = np.concatenate([[0], np.cumsum([len(b) for b in blocks])]).astype(np.intp)
        self._set(tuple(names), matrix, starts)

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

        Raises ModelMismatch for another dimension, BadTemplate for NaN or infinity.
        """
        probe = np.ascontiguousarray(probe, np.float32)
        if probe.ndim not in (1, 2) or probe.shape[-1] != self.dimension or not probe.size:
            raise ModelMismatch(
                f"the probe has shape {probe.shape}; {self.model_id} makes {self.dimension} numbers"
            )
        if not np.isfinite(probe).all():
            raise BadTemplate("the probe holds NaN or infinity", "待比对的模板含有无效数值")
        if not self._names:
            return NOBODY
        if probe.ndim == 1 or len(probe) == 1:
            return self._search_one(probe.reshape(-1))
        scores = np.maximum.reduceat(probe @ self._matrix.T, self._starts[:-1], axis=1)
        people: NDArray[np.float32] = scores.mean(axis=0)
        return self._top_two(people)

    def _search_one(self, probe: Template) -> Candidates:
        # Two argmax passes are cheaper than a maximum per person followed by a sort.
        scores = np.matmul(self._matrix, probe, out=self._scores)
        row = int(scores.argmax())
        best = int(self._owner[row])
        best_score = float(scores[row])
        if len(self._names) == 1:
            return Candidates(self._names[best], best_score, None, NO_SCORE)
        scores[self._starts[best] : self._starts[best + 1]] = -np.inf
        row = int(scores.argmax())
        return Candidates(
            self._names[best], best_score, self._names[int(self._owner[row])], float(scores[row])
        )

    def _top_two(self, people: NDArray[np.float32]) -> Candidates:
        best = int(people.argmax())
        best_score = float(people[best])
        if len(people) == 1:
            return Candidates(self._names[best], best_score, None, NO_SCORE)
        people[best] = -np.inf
        second = int(people.argmax())
        return Candidates(self._names[best], best_score, self._names[second], float(people[second]))


def template_of(vectors: NDArray[np.float32]) -> Template:
    """Unit-length mean direction of `vectors` (n, d). Raises BadTemplate where there is none."""
    mean = np.asarray(vectors, np.float32).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm) or norm < 1e-6:
        raise BadTemplate("these embeddings have no direction in common")
    return np.ascontiguousarray(mean / norm, np.float32)

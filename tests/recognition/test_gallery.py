"""The gallery: what it takes, what it refuses, whom it finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognition.errors import BadTemplate, ModelMismatch
from recognition.gallery import NO_SCORE, NOBODY, Gallery, template_of


def unit_rows(rng: np.random.Generator, count: int, dimension: int = 16) -> np.ndarray:
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def mean_of(rows: np.ndarray) -> np.ndarray:
    mean = rows.mean(axis=0)
    return mean / np.linalg.norm(mean)


def gallery_of(*entries: tuple[str, np.ndarray]) -> Gallery:
    gallery = Gallery("m", 16)
    gallery.replace(entries)
    return gallery


def test_an_empty_gallery_finds_nobody() -> None:
    gallery = Gallery("m", 16)
    assert len(gallery) == 0
    assert gallery.search(unit_rows(np.random.default_rng(0), 1)[0]) == NOBODY


def test_a_gallery_of_one_has_no_second() -> None:
    rows = unit_rows(np.random.default_rng(1), 1)
    found = gallery_of(("a", rows)).search(rows[0])
    assert found.best_id == "a"
    assert found.best_score == pytest.approx(1, abs=1e-5)
    assert (found.second_id, found.second_score) == (None, NO_SCORE)
    assert np.isfinite(found.margin)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 2**16),
)
def test_scores_are_those_of_a_plain_loop(counts: list[int], probes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    entries = [(f"p{i}", unit_rows(rng, k)) for i, k in enumerate(counts)]
    probe = unit_rows(rng, probes)
    scores = {
        name: float(
            np.mean(
                [(max(float(t @ p) for t in rows) + float(mean_of(rows) @ p)) / 2 for p in probe]
            )
        )
        for name, rows in entries
    }
    ranked = sorted(scores.values(), reverse=True)
    found = gallery_of(*entries).search(probe if probes > 1 else probe[0])
    assert found.best_score == pytest.approx(ranked[0], abs=1e-5)
    assert scores[found.best_id] == pytest.approx(ranked[0], abs=1e-5)
    if len(ranked) > 1:
        assert found.second_id != found.best_id
        assert found.second_score == pytest.approx(ranked[1], abs=1e-5)


def test_searching_twice_gives_the_same() -> None:
    rng = np.random.default_rng(3)
    gallery = gallery_of(*[(f"p{i}", unit_rows(rng, 3)) for i in range(5)])
    probe = unit_rows(rng, 1)[0]
    assert gallery.search(probe) == gallery.search(probe)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda rows: rows * np.float32("nan"), BadTemplate),
        (lambda rows: rows * np.float32(2), BadTemplate),
        (lambda rows: rows[:, :8], ModelMismatch),
        (lambda rows: rows[:0], BadTemplate),
    ],
)
def test_a_bad_template_is_refused_and_the_old_gallery_stays(spoil, error) -> None:
    rows = unit_rows(np.random.default_rng(4), 2)
    gallery = gallery_of(("a", rows))
    with pytest.raises(error):
        gallery.replace([("b", rows), ("c", spoil(rows))])
    assert gallery.names == ("a",)
    assert gallery.search(rows[0]).best_id == "a"


def test_templates_of_another_model_are_refused() -> None:
    rows = unit_rows(np.random.default_rng(5), 1)
    with pytest.raises(ModelMismatch, match="enrol again") as caught:
        Gallery("sface-1", 16).replace([("a", rows)], "dlib-1")
    assert "重新登记" in caught.value.words("zh")


def test_an_id_twice_is_refused() -> None:
    rows = unit_rows(np.random.default_rng(6), 1)
    with pytest.raises(BadTemplate, match="twice"):
        gallery_of(("a", rows), ("a", rows))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probe_that_is_no_number_is_refused(value: float) -> None:
    rows = unit_rows(np.random.default_rng(7), 1)
    with pytest.raises(BadTemplate):
        gallery_of(("a", rows)).search(np.full(16, value, np.float32))


def test_template_of_is_the_unit_mean() -> None:
    rows = unit_rows(np.random.default_rng(8), 3)
    assert np.linalg.norm(template_of(rows)) == pytest.approx(1, abs=1e-5)
    with pytest.raises(BadTemplate):
        template_of(np.stack([rows[0], -rows[0]]))

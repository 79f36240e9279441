"""The benchmark's report has every key, and a peer that is not there is null, never guessed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recognition.benchmark import idle, machine, matching, pipeline, portrait_frame, tracking
from recognition.engine import Engine
from recognition.errors import WeightsMissing
from recognition.liveness import Liveness
from recognition.types import Frame


@pytest.fixture(scope="module")
def portrait() -> Frame:
    """The frame that everything is measured on."""
    try:
        return portrait_frame()
    except WeightsMissing as error:
        pytest.skip(str(error))


def test_a_peer_that_is_missing_is_null(sface: Engine, portrait: Frame) -> None:
    for found in (
        pipeline(sface, portrait, None),
        tracking(sface, portrait, Liveness("off"), None),
    ):
        assert found["ours_ms"] is not None
        assert found["ours_ms"] > 0
        assert (found["face_recognition_ms"], found["speedup"]) == (None, None)
    sizes = matching(36, None)
    assert set(sizes) == {"ours_us", "blas_us", "faiss_flat_us", "compare_faces_us"}
    assert sizes["compare_faces_us"] is None
    assert sizes["blas_us"] is not None
    assert idle(sface) > 0
    assert {"cpu", "cores", "opencv", "numpy", "python"} <= set(machine())


def test_the_portrait_has_one_face_in_the_middle(sface: Engine, portrait: Frame) -> None:
    assert portrait.shape == (480, 640, 3)
    (face,) = sface.detect(portrait)
    assert 40 < face.eye_distance < 90
    assert np.hypot(face.centre[0] - 320, face.centre[1] - 240) < 100


def test_a_part_without_a_benchmark_is_null(root: Path, tmp_path: Path) -> None:
    """`make bench` runs what is there; here nothing is."""
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import bench; "
        "bench.PARTS = {'server': ['nowhere.py']}; sys.argv = ['bench', '--json', sys.argv[1]]; "
        "sys.exit(bench.main())"
    )
    file = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text(encoding="utf-8")) == {"server": None}
    assert "not measured" in done.stdout

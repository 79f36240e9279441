"""The evaluation command on small folders whose right answers are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recognition.engine import Engine
from recognition.evaluate import evaluate
from recognition.liveness import Liveness
from recognition.pictures import read_picture


def command(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recognition.cli", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "QUXIANG_LANG": "en", **env},
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Ten people of the development set as links, pairs, one damaged picture, attacks."""
    made = tmp_path_factory.mktemp("evaluate")
    names = sorted(p.name for p in (shared_data / "lfw_dev").iterdir())[:10]
    for name in names:
        (made / "people" / name).mkdir(parents=True)
        for number, path in enumerate(sorted((shared_data / "lfw_dev" / name).iterdir())):
            (made / "people" / name / f"{number}.JPG").symlink_to(path)
    (made / "people" / names[0] / "9.png").write_bytes(b"damaged")
    lines = ["a,b,same"]
    for one, other in zip(names, names[1:] + names[:1], strict=True):
        lines += [f"{one}/0.JPG,{one}/1.JPG,1", f"{one}/0.JPG,{other}/1.JPG,0"]
    lines.append("nobody/0.JPG,nobody/1.JPG,1")
    (made / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
    (made / "groups.csv").write_text(f"name,group\n{names[0]},A\n{names[1]},A\n", "utf-8")
    spoof = shared_data / "spoof_nuaa_dev"
    shown = {"printed_photo": made / "attacks/printed", "genuine": made / "bona_fide"}
    for kind, place in shown.items():
        for path in sorted((spoof / kind).glob("*/*.jpg"))[::3]:  # five of each of three people
            (place / path.parent.name).mkdir(parents=True, exist_ok=True)
            (place / path.parent.name / path.name).symlink_to(path)
    (made / "noface").symlink_to(shared_data / "noface")
    return made


@pytest.fixture(scope="session")
def report(
    folder: Path, shared_models: Path, sface: Engine, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The command's report on `folder`."""
    place = tmp_path_factory.mktemp("report")
    env = {"QUXIANG_MODELS": str(shared_models)}
    done = command(
        "evaluate", folder, "--json", place / "r.json", "--plots", place / "plots", **env
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "9.png" in done.stderr, "the damaged picture is told"
    assert "line 22 skipped" in done.stderr
    for name in ("det.png", "scores.png"):
        assert read_picture(place / "plots" / name).shape[2] == 3
    told = (place / "plots" / "report.html").read_text(encoding="utf-8")
    assert told.count("data:image/png;base64,") == 2
    return dict(json.loads((place / "r.json").read_text(encoding="utf-8")))


def test_the_report_has_every_key(report: dict[str, Any], sface: Engine) -> None:
    assert (report["engine"], report["model_id"]) == ("sface", sface.model_id)
    assert report["threshold"] == sface.threshold
    assert {"accuracy", "eer", "tpr_at_fpr"} <= set(report["verification"])
    wanted = {"gallery_size", "enrolled_photos", "fpir", "tpir", "wrong_id", "tpir_at_fpir"}
    assert wanted <= set(report["identification"])
    assert {"fte", "fta"} <= set(report["acquisition"])
    assert {"apcer", "bpcer"} <= set(report["pad"])


def rates(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    if "rate" in value:
        return [value]
    return [rate for inner in value.values() for rate in rates(inner)]


def test_every_rate_says_n_and_its_interval(report: dict[str, Any]) -> None:
    found = rates(report)
    assert len(found) >= 11
    for rate in found:
        assert set(rate) == {"rate", "n", "ci95"}
        low, high = rate["ci95"]
        assert 0 <= low <= rate["rate"] <= high <= 1
        assert rate["n"] > 0


def test_the_protocol_is_kept(report: dict[str, Any]) -> None:
    known = report["identification"]
    assert known["gallery_size"] == 9, "ten people: all but a tenth"
    assert known["enrolled_photos"] == 3
    assert known["fpir"]["n"] == 51
    assert known["tpir"]["n"] == 51
    assert known["fpir"]["rate"] == 0
    assert known["wrong_id"]["rate"] == 0
    assert known["tracks"]["fpir"] == {
        "rate": 0,
        "n": 10,
        "ci95": [0, pytest.approx(0.28, abs=0.01)],
    }
    assert known["groups"]["A"]["people"] == 2
    assert known["groups"]["A"]["tpir"]["n"] == 11
    # The damaged picture is a miss wherever it is a probe: it never passes the desk's gate.
    assert 0.9 < known["tpir"]["rate"] < 1
    assert report["acquisition"]["fta"]["rate"] == pytest.approx(1 / 51)
    assert report["acquisition"]["fte"]["rate"] == 0
    assert report["verification"]["accuracy"]["n"] == 20
    assert report["verification"]["accuracy"]["rate"] >= 0.9


def test_attacks_and_empty_pictures(report: dict[str, Any]) -> None:
    assert set(report["pad"]["apcer"]) == {"printed"}
    assert report["pad"]["apcer"]["printed"] == {
        "rate": 0,
        "n": 15,
        "ci95": [0, pytest.approx(0.2039, abs=1e-3)],
    }
    assert report["pad"]["bpcer"]["rate"] <= 0.05
    assert report["false_detections"]["rate"] == 0


def test_a_broken_embedder_shows_in_the_figures(folder: Path, sface: Engine) -> None:
    """The report is not green whatever happens: an engine that gives everybody one face."""

    class Blind:
        def __getattr__(self, name: str) -> Any:
            return getattr(sface, name)

        def embed(self, frame: Any, face: Any, *, thorough: bool = False) -> Any:
            return np.eye(1, 128, dtype=np.float32)[0]

    shown, _ = evaluate(folder, Blind(), 3, Liveness("off"))  # type: ignore[arg-type]
    assert shown["identification"]["tpir"]["rate"] < 0.2
    assert shown["verification"]["accuracy"]["rate"] <= 0.5
    assert shown["verification"]["eer"]["rate"] >= 0.4
    assert shown["pad"]["apcer"]["printed"]["rate"] == 1


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    done = command("evaluate", tmp_path, "--json", tmp_path / "r.json")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "people/NAME" in done.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("pairs", "what"), [(b"a,b\n", "a,b,same"), ("名,b,same\n".encode("gb18030"), "UTF-8")]
)
def test_bad_pairs_are_one_line(tmp_path: Path, pairs: bytes, what: str) -> None:
    (tmp_path / "people" / "a").mkdir(parents=True)
    (tmp_path / "people" / "a" / "1.jpg").write_bytes(b"x")
    (tmp_path / "pairs.csv").write_bytes(pairs)
    done = command("evaluate", tmp_path, "--json", tmp_path / "r.json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert what in done.stderr.splitlines()[-1]


def test_a_report_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "people" / "a").mkdir(parents=True)
    (tmp_path / "people" / "a" / "1.jpg").write_bytes(b"x")
    (tmp_path / "file").write_text("")
    done = command("evaluate", tmp_path, "--json", tmp_path / "file" / "r.json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr

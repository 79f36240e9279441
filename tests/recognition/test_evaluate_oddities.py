"""Folders as people make them: every oddity has an outcome, one sentence and an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recognition.cli import main
from recognition.engine import Engine


@pytest.fixture
def pictures(shared_data: Path) -> list[list[Path]]:
    """Pictures of five people, five of each."""
    folders = sorted((shared_data / "lfw_dev").iterdir())[:5]
    return [sorted(folder.iterdir()) for folder in folders]


def link(folder: Path, *pictures: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / picture.name).symlink_to(picture)
    return folder


def run(
    folder: Path, place: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, dict[str, Any] | None, list[str]]:
    """Exit code, report, and the lines on stderr that are not about progress."""
    file = place / "out" / "r.json"
    code = main(["evaluate", str(folder), "--json", str(file), *more])
    told = [s for s in capsys.readouterr().err.splitlines() if "..." not in s]
    told = [s for s in told if not s.startswith(("people: ", "draws: "))]
    return code, json.loads(file.read_text("utf-8")) if file.exists() else None, told


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUXIANG_LANG", "en")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nowhere", "is not a folder"),
        (lambda p: Path(__file__), "is not a folder"),
        (lambda p: p, "holds no pictures"),
        (lambda p: (p / "people" / "a").mkdir(parents=True) or p, "holds no pictures"),
    ],
    ids=["missing", "file", "empty", "empty person"],
)
def test_nothing_to_measure_is_one_sentence_and_exit_1(
    tmp_path: Path, sface: Engine, capsys: pytest.CaptureFixture[str], make: Any, words: str
) -> None:
    code, report, told = run(make(tmp_path), tmp_path, capsys)
    assert (code, report, len(told)) == (1, None, 1)
    assert words in told[0]
    assert not list(tmp_path.rglob("*.part"))


def test_one_picture_a_person_measures_what_can_be(
    tmp_path: Path, sface: Engine, pictures: list[list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, paths in enumerate(pictures[:3]):
        link(tmp_path / "people" / f"干部{number}", paths[0])
    code, report, told = run(tmp_path, tmp_path, capsys)
    assert (code, len(told)) == (0, 1)
    assert "nobody has more than 3 pictures" in told[0]
    assert report is not None
    assert (report["identification"], report["verification"]["eer"]) == (None, None)
    assert report["verification"]["pairs"] == {"same": 0, "different": 3}
    assert report["acquisition"]["fta"]["n"] == 3


def test_a_folder_of_oddities_is_measured_and_each_is_told_once(
    tmp_path: Path, sface: Engine, pictures: list[list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    people = tmp_path / "people"
    link(people / "王芳", *pictures[0][:3])
    link(people / "王芳" / "2026年" / "夏", pictures[0][3])  # nested: his all the same
    (people / "王芳" / "2026年" / "circle").symlink_to(people / "王芳")
    (people / "王芳" / "notes.txt").write_text("not a picture")
    (people / "王芳" / "words.JPG").write_text("not a picture either")
    (people / "王芳" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (people / "王芳" / "unreadable.bmp").symlink_to("/proc/self/mem")
    link(people / "Li", *pictures[1][:2])
    link(people / "LI", *pictures[2][:2])
    link(people / "twice", pictures[1][0])
    link(people, pictures[3][0])
    (tmp_path / "groups.csv").write_text(
        "name,group\n王芳,妇女\nLi,妇女\nnobody,妇女\ntwice,\n", encoding="utf-8"
    )
    code, report, told = run(tmp_path, tmp_path, capsys, "--photos", "1")
    assert code == 0
    assert report is not None
    expected = (
        "1 pictures in",
        "LI, Li differ in capitals only",
        "gone.png leads nowhere",
        "words.JPG is not a JPEG, PNG or BMP",
        "unreadable.bmp cannot be read: Input/output error",
        "one picture under two names",
        "groups.csv line 4 skipped",
        "groups.csv line 5 skipped",
    )
    for words in expected:
        assert sum(words in line for line in told) == 1, (words, told)
    assert len(told) == len(expected), told
    # Four pictures and two that cannot be read; the circle and the loose one count nothing.
    assert report["acquisition"]["fta"] == report["acquisition"]["fta"] | {"n": 11}
    assert report["acquisition"]["fta"]["rate"] == pytest.approx(2 / 11)
    known = report["identification"]
    assert (known["gallery_size"], known["enrolled_photos"]) == (3, 1)
    assert known["groups"]["妇女"]["people"] == 2
    # A person under two names is somebody else's double and shows as a false alarm.
    assert known["fpir"]["rate"] + known["wrong_id"]["rate"] > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"name,team\n", "needs the columns name,group"), ("名,组\n".encode("gb18030"), "UTF-8")],
)
def test_bad_groups_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sface: Engine, content: bytes, words: str
) -> None:
    for number in range(4):
        path = tmp_path / "people" / "a" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "groups.csv").write_bytes(content)
    code, report, told = run(tmp_path, tmp_path, capsys)
    assert (code, report, len(told)) == (1, None, 1)
    assert words in told[0]


@pytest.mark.parametrize("command", [["evaluate", "."], ["benchmark"]])
def test_a_report_that_cannot_be_kept_is_told_before_the_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "r.json"):
        assert main([*command, "--json", str(place)]) == 1
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1, told
        assert str(tmp_path) in told[0]


def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for usage in (
        ["evaluate", str(tmp_path)],
        ["evaluate", str(tmp_path), "--json", "r", "--photos", "0"],
        ["evaluate", str(tmp_path), "--json", "r", "--engine", "eigenfaces"],
        ["benchmark"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(usage)
        assert stopped.value.code == 2
        capsys.readouterr()

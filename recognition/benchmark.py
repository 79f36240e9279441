"""Speed, next to `face_recognition` and faiss in the same run where they are installed.

Everything is measured on one real face: NASA's portrait of Eileen Collins (public domain), which
scikit-image carries; it is fetched like the weights and checked by SHA-256.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.engine import Engine
from recognition.engines import THREADS, load_engine
from recognition.gallery import Gallery
from recognition.heads import Head
from recognition.language import say
from recognition.liveness import Liveness, load_liveness
from recognition.pictures import read_picture
from recognition.recogniser import Recogniser
from recognition.report_file import try_place, write_report
from recognition.types import Face, Frame
from recognition.weights import Pinned, fetch_pinned, user_cache

PORTRAIT_PACKAGE = "scikit-image==0.26.0"
PORTRAIT = Pinned(
    "astronaut.png",
    "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    791_555,
    "NASA, public domain; carried by the wheel " + PORTRAIT_PACKAGE,
    "registry",
)
SIZES = (36, 1_000, 10_000, 100_000)
PI4_YUNET_MS, PI4_SFACE_MS = 5.4, 78.8
"""Published by the OpenCV Zoo for a Raspberry Pi 4B: YuNet at 160x120, SFace."""
SETTLE_S = 0.01
"""Pause before each timing of a search: threads of faiss go on spinning after its answer, and
whoever came next would pay for them."""
CLIP_FRAMES = 150
POSES = 75
FPS = 25.0


def run_benchmark(json_file: Path, *, data_dir: Path | None = None) -> int:
    """Measure everything, write `json_file`, print a table; returns 0."""
    try_place(json_file)
    engine = load_engine("sface", data_dir)
    frame = portrait_frame()
    _tell(say("流程", "pipeline"))
    peer = _face_recognition()
    report: dict[str, Any] = {"machine": machine(), "pipeline": pipeline(engine, frame, peer)}
    _tell(say("跟踪", "tracking"))
    report["tracking"] = tracking(engine, frame, load_liveness("doubtful", data_dir), peer)
    report["idle_ms"] = idle(engine)
    _tell(say("比对", "matching"))
    report["matching"] = {str(size): matching(size, peer) for size in SIZES}
    _tell(say("冷启动", "cold start"))
    report |= cold_start(frame, data_dir)
    # Area, not side, decides the cost of a convolutional detector: 320x240 is four times 160x120.
    report["pi4_estimate_ms"] = round(4 * PI4_YUNET_MS + PI4_SFACE_MS, 1)
    report["pi4_estimate_basis"] = (
        "an estimate, not measured: OpenCV Zoo's published Raspberry Pi 4B figures, YuNet 160x120 "
        f"{PI4_YUNET_MS} ms x 4 for 320x240, SFace {PI4_SFACE_MS} ms"
    )
    write_report(json_file, report)
    _print(report)
    return 0


def portrait_frame() -> Frame:
    """A 640x480 frame with one face, eyes some 60 pixels apart; raises WeightsMissing."""
    cache = user_cache().with_name("samples")
    path = cache / PORTRAIT.name
    if not (path.is_file() and path.stat().st_size == PORTRAIT.size):
        path = fetch_pinned([PORTRAIT], PORTRAIT_PACKAGE, cache)[PORTRAIT.name]
    picture = read_picture(path)[0:300, 50:450]
    return np.asarray(cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [s.split(":", 1)[1].strip() for s in lines if s.startswith(("model name", "Model"))]
        model = names[0] if names else model
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "opencv_threads": THREADS,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def pipeline(engine: Engine, frame: Frame, peer: Any) -> dict[str, float | None]:
    """One frame to an identity among 36: ours, and face_recognition's own path, interleaved."""
    faces = engine.detect(frame)
    gallery = _gallery(engine, 36, engine.embed(frame, faces[0]))

    def ours() -> None:
        found = engine.detect(frame)
        gallery.search(engine.embed(frame, found[0]))

    theirs = _their_path(peer, frame) if peer else None
    our_ms, their_ms = _race([ours, theirs], [30, 6])
    return _pair(our_ms, their_ms)


def tracking(
    engine: Engine, frame: Frame, liveness: Liveness, peer: Any
) -> dict[str, float | str | None]:
    """Mean per frame on a clip of one person who stands before the kiosk, liveness included; they
    see every 15th. `decision` is what it came to, with how many of the frames in a challenge.
    `challenge_ms`: the same of a picture that sways with its background, and is put to the
    challenge all the time.
    """
    clip = _clip(frame, engine.detect(frame)[0])
    face = engine.detect(clip[0])[0]
    gallery = _gallery(engine, 36, engine.embed(clip[0], face))
    # The networks load at their first use: that belongs to the cold start, not to a clip.
    engine.follow(clip[0], face)
    liveness.look(clip[0], face)
    our_ms, decision = _followed(engine, gallery, liveness, clip)
    swaying_ms, _ = _followed(engine, gallery, liveness, _swaying(frame))
    their_ms = None
    if peer:
        times = [_time(_their_path(peer, picture)) for picture in clip[::15]]
        their_ms = float(np.mean(times)) * 1e3
    found: dict[str, float | str | None] = {**_pair(our_ms, their_ms)}
    return {**found, "decision": decision, "challenge_ms": round(swaying_ms, 2)}


def _followed(
    engine: Engine, gallery: Gallery, liveness: Liveness, clip: list[Frame]
) -> tuple[float, str]:
    """Mean milliseconds a frame, and the decision in words."""
    asked, decision = 0, ""
    with Recogniser(engine, gallery, liveness) as recogniser:
        began = time.perf_counter()
        for index, picture in enumerate(clip):
            decision = type(recogniser.observe(picture, index / FPS, index).decision).__name__
            asked += recogniser.track is not None and recogniser.track.challenge is not None
        our_ms = (time.perf_counter() - began) / len(clip) * 1e3
    return our_ms, f"{decision.lower()}, {asked} of {len(clip)} in a challenge"


def idle(engine: Engine) -> float:
    """Mean milliseconds for a frame with nobody, sensor noise included."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(
        rng.integers(90, 160, (12, 16, 3), dtype=np.uint8),
        (640, 480),
        interpolation=cv2.INTER_CUBIC,
    )
    noise = rng.normal(0, 3, (8, 480, 640, 3))
    frames = [np.clip(scene + n, 0, 255).astype(np.uint8) for n in noise]
    with Recogniser(engine, Gallery(engine.model_id, engine.dimension), "off") as recogniser:
        recogniser.observe(frames[0], 0.0)
        began = time.perf_counter()
        for index in range(1, CLIP_FRAMES):
            recogniser.observe(frames[index % len(frames)], index / FPS, index)
        return round((time.perf_counter() - began) / (CLIP_FRAMES - 1) * 1e3, 3)


def matching(size: int, peer: Any) -> dict[str, float | None]:
    """Microseconds for one probe against `size` templates, all four interleaved; the best of
    their rounds, since BLAS that waits for a busy core tells of the core."""
    rng = np.random.default_rng(size)
    rows = rng.standard_normal((size, 128), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery = Gallery("benchmark", 128)
    gallery.replace((str(i), rows[i : i + 1]) for i in range(size))
    probe = rows[size // 2].copy()
    out = np.empty(size, np.float32)

    index: Any = None
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(128)
        index.add(rows)
    known = list(rows.astype(np.float64)) if peer else []
    probe64 = probe.astype(np.float64)
    loops = max(1, 20_000 // size)
    times = _race(
        [
            _repeat(lambda: gallery.search(probe), loops),
            _repeat(lambda: np.matmul(rows, probe, out=out), loops),
            _repeat(lambda: index.search(probe[None], 2), loops) if index is not None else None,
            _repeat(lambda: peer.compare_faces(known, probe64), 1) if peer else None,
        ],
        [40, 40, 40, 5],
        best=True,
    )
    per = [loops, loops, loops, 1]
    found = [None if t is None else round(t * 1e3 / n, 2) for t, n in zip(times, per, strict=True)]
    names = ("ours_us", "blas_us", "faiss_flat_us", "compare_faces_us")
    return dict(zip(names, found, strict=True))


def cold_start(frame: Frame, data_dir: Path | None) -> dict[str, float]:
    """Seconds from starting Python to the first decision, and the peak memory of that process."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        path.write_bytes(cv2.imencode(".png", frame)[1].tobytes())
        code = "import sys; from recognition.benchmark import first_decision as f; f(*sys.argv[1:])"
        best, rss = float("inf"), 0.0
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code, str(path), str(data_dir or "")],
                capture_output=True,
                text=True,
                check=True,
            )
            best = min(best, time.perf_counter() - began)
            rss = max(rss, float(done.stdout))
    return {"cold_start_s": round(best, 3), "rss_mb": round(rss, 1)}


def first_decision(picture: str, data_dir: str) -> None:
    """What the process of `cold_start` does; prints its peak resident memory in MB."""
    place = Path(data_dir) if data_dir else None
    engine = load_engine("sface", place)
    gallery = Gallery(engine.model_id, engine.dimension)
    liveness = load_liveness("doubtful", place)
    Recogniser(engine, gallery, liveness, stills=True).observe(read_picture(Path(picture)), 0.0)
    print(_peak_mb())


def _peak_mb() -> float:
    """Peak resident memory of this process. Linux keeps ru_maxrss of the parent over an exec."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _face_recognition() -> Any:
    if not importlib.util.find_spec("face_recognition"):
        return None
    try:
        import face_recognition
    except (ImportError, SystemExit):
        # It calls quit() where its models are missing.
        return None
    return face_recognition


def _their_path(peer: Any, frame: Frame) -> Callable[[], object]:
    rgb = np.ascontiguousarray(frame[:, :, ::-1])
    known = [np.random.default_rng(i).standard_normal(128) for i in range(36)]

    def path() -> object:
        places = peer.face_locations(rgb)
        encodings = peer.face_encodings(rgb, places)
        return [peer.compare_faces(known, encoding) for encoding in encodings]

    return path


def _gallery(engine: Engine, size: int, first: NDArray[np.float32]) -> Gallery:
    rng = np.random.default_rng(0)
    others = rng.standard_normal((size - 1, engine.dimension), dtype=np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    gallery = Gallery(engine.model_id, engine.dimension)
    gallery.replace([("0", first), *((str(i + 1), row) for i, row in enumerate(others))])
    return gallery


def _clip(frame: Frame, face: Face) -> list[Frame]:
    """Somebody who stands: the head nods a little (`recognition.heads`) before a wall that stays
    where it is, with sensor noise."""
    head = Head(frame, face)
    rng = np.random.default_rng(0)
    poses = [head.turned(0.0, 0.05 * np.sin(2 * np.pi * n / POSES)) for n in range(POSES)]
    noise = rng.normal(0, 2, (8, *frame.shape)).astype(np.float32)
    return [
        np.asarray(np.clip(poses[n % POSES] + noise[n % len(noise)], 0, 255), np.uint8)
        for n in range(CLIP_FRAMES)
    ]


def _swaying(frame: Frame) -> list[Frame]:
    """The whole frame sways and grows a little, as a picture does in a hand."""
    clip = []
    for index in range(CLIP_FRAMES):
        phase = 2 * np.pi * index / CLIP_FRAMES
        scale = 1 + 0.05 * np.sin(phase)
        move = np.array(
            [
                [scale, 0, 12 * np.sin(3 * phase) - 320 * (scale - 1)],
                [0, scale, 6 * np.cos(2 * phase) - 240 * (scale - 1)],
            ],
            np.float32,
        )
        warped = cv2.warpAffine(frame, move, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        clip.append(np.asarray(warped, np.uint8))
    return clip


def _time(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _repeat(action: Callable[[], object], times: int) -> Callable[[], object]:
    def many() -> None:
        for _ in range(times):
            action()

    return many


def _race(
    actions: Sequence[Callable[[], object] | None], rounds: Sequence[int], *, best: bool = False
) -> list[float | None]:
    """Median (or best) milliseconds of each action, taken in turn so that a noisy minute hits all
    alike."""
    times: list[list[float]] = [[] for _ in actions]
    for action in actions:
        if action:
            action()
    for turn in range(max(rounds)):
        for action, limit, seen in zip(actions, rounds, times, strict=True):
            if action and turn < limit:
                if best:
                    time.sleep(SETTLE_S)
                seen.append(_time(action))
    choose = np.min if best else np.median
    return [float(choose(seen)) * 1e3 if seen else None for seen in times]


def _pair(our_ms: float | None, their_ms: float | None) -> dict[str, float | None]:
    return {
        "ours_ms": None if our_ms is None else round(our_ms, 2),
        "face_recognition_ms": None if their_ms is None else round(their_ms, 2),
        "speedup": None if our_ms is None or their_ms is None else round(their_ms / our_ms, 2),
    }


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr)


def _print(report: dict[str, Any]) -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                print(f"{name + '.' + key:34} {inner}")
        else:
            print(f"{name:34} {value}")

"""Each real clip through the kiosk: enrolled from its first second, recognised in the rest.

Two kiosks share the people between them, so that every clip is played where its person is known
and where not.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.camera import open_camera
from tests.walks.town import Town

SITES = ("东村", "西村")


#: A village's camera gives about as many frames a second as this leaves of the fastest clip.
MOST_FPS = 15
PLAYED_S = 5.0
"""Of each clip after its first second. What the longest goes on to show is the same again."""


def cut(clip: Path, stills: Path, rest: Path) -> None:
    """Three stills of the clip's first second, and a clip of what comes after it."""
    writer = None
    first: list[np.ndarray] = []
    with open_camera(str(clip)) as camera:
        last = 0.0
        step = 1
        for frame in camera.frames():
            if frame.t > 1.0 + PLAYED_S:
                break
            image = frame.image[: frame.image.shape[0] // 2 * 2, : frame.image.shape[1] // 2 * 2]
            if frame.t < 1.0:
                first.append(image)
                last = frame.t
                continue
            if writer is None:
                fps = len(first) / max(last, 0.1)
                step = max(1, round(fps / MOST_FPS))
                size = (image.shape[1], image.shape[0])
                code = cv2.VideoWriter.fourcc(*"MJPG")
                writer = cv2.VideoWriter(str(rest), code, fps / step, size)
            if frame.index % step == 0:
                writer.write(image)
    assert writer is not None, "the clip is longer than a second"
    writer.release()
    stills.mkdir(parents=True)
    for number, index in enumerate(np.linspace(0, len(first) - 1, 3).astype(int)):
        cv2.imwrite(str(stills / f"{number}.png"), first[index])


def test_each_clip_is_recognised_where_known_and_refused_elsewhere(
    town: Town, shared_data: Path, shared_models: Path
) -> None:
    town.environ["QUXIANG_MODELS"] = os.fspath(shared_models)
    clips = sorted((shared_data / "videos").glob("*.*"))
    assert len(clips) == 5
    folder = town.folder / "people"
    lines = ["official,name,title,phone,work_group,sites,consented_on,pin"]
    for n, clip in enumerate(clips):
        cut(clip, folder / f"P{n}", town.folder / f"P{n}.avi")
        lines.append(f"P{n},人员{n},,,一组,{SITES[n % 2]},2026-11-01,{314159 + n}")
    (folder / "officials.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for role, site in zip(("east", "west"), SITES, strict=True):
        town.pair_kiosk(role, site)
    report = town.enrol(folder)
    for role in ("east", "west"):
        town.run("quxiang-kiosk", "sync", "--data", town.data(role))

    wrong = []
    for n in range(len(clips)):
        for k, role in enumerate(("east", "west")):
            events = town.play(role, town.folder / f"P{n}.avi")
            came = {e["official"] for e in events if e["event"] == "checkin"}
            refused = {e["reason"] for e in events if e["event"] == "refused"}
            known = n % 2 == k
            if came != ({f"P{n}"} if known else set()) or (not known and refused != {"unknown"}):
                wrong.append((clips[n].name, role, came, refused))
    assert not wrong, (wrong, report)


def test_a_still_photograph_of_an_official_is_refused(
    town: Town, shared_data: Path, shared_models: Path, tmp_path: Path
) -> None:
    """A folder with the same picture thirty times is three seconds of a face that never moves."""
    town.environ["QUXIANG_MODELS"] = os.fspath(shared_models)
    clip = shared_data / "videos" / "liveportrait_d12.mp4"
    if not clip.exists():
        pytest.skip("the clip is not here")
    folder = tmp_path / "people"
    cut(clip, folder / "P0", tmp_path / "rest.avi")
    (folder / "officials.csv").write_text(
        "official,name,title,phone,work_group,sites,consented_on,pin\n"
        "P0,人员,,,一组,东村,2026-11-01,314159\n",
        encoding="utf-8",
    )
    town.pair_kiosk("kiosk", "东村")
    town.enrol(folder)
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    still = tmp_path / "still"
    still.mkdir()
    picture = (folder / "P0" / "1.png").read_bytes()
    for n in range(30):
        (still / f"{n:03d}.png").write_bytes(picture)
    events = town.play("kiosk", still)
    assert [e["reason"] for e in events if e["event"] == "refused"] == ["not_live"]
    assert not [e for e in events if e["event"] == "checkin"]
    assert "活体未通过：1 次" in town.supervisor().get(f"{town.url}/sites", timeout=60).text


def test_each_layer_by_its_setting_and_three_refusals_lock(
    town: Town, shared_data: Path, shared_models: Path, tmp_path: Path
) -> None:
    """A person's footage is taken, his printed photograph refused by the networks, by a challenge
    that nobody follows, and by both; then no face is looked at, through a restart; PIN is."""
    town.environ["QUXIANG_MODELS"] = os.fspath(shared_models)
    clips = {}
    for kind in ("genuine", "printed_photo"):
        paths = sorted((shared_data / "spoof_nuaa_dev" / kind / "0003").glob("*.jpg"))
        clips[kind] = tmp_path / kind
        clips[kind].mkdir()
        for number, path in enumerate(paths):
            # The second half of the printed ones is one presentation without a leap.
            if number % 5 if kind == "genuine" else number > 6:
                (clips[kind] / f"{number:03}.jpg").symlink_to(path)
        if kind == "genuine":
            (tmp_path / "people" / "P0").mkdir(parents=True)
            for path in paths[::5]:
                (tmp_path / "people" / "P0" / path.name).symlink_to(path)
    (tmp_path / "people" / "officials.csv").write_text(
        "official,name,title,phone,work_group,sites,consented_on,pin\n"
        "P0,人员,,,一组,东村,2026-11-01,314159\n",
        encoding="utf-8",
    )
    town.pair_kiosk("kiosk", "东村")
    town.enrol(tmp_path / "people")
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))

    def told(kind: str, policy: str) -> set[str]:
        events = town.play("kiosk", clips[kind], "--liveness", policy)
        return {
            str(e.get("liveness") or e.get("reason"))
            for e in events
            if e["event"] in ("checkin", "refused")
        }

    assert told("genuine", "passive") == {"passive"}
    assert told("printed_photo", "passive") == {"not_live"}
    assert told("printed_photo", "challenge") == {"not_live"}
    assert told("printed_photo", "both") == {"not_live"}
    assert told("genuine", "passive") == {"locked"}
    pin = ["checkin", "--official", "P0", "--pin-stdin", "--data", town.data("kiosk")]
    town.run("quxiang-kiosk", *pin, stdin="314159\n")
    assert town.status("kiosk")["refusals"]["not_live"] == 3

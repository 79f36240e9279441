"""`doctor`: everything a technician would check, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attendance.errors import ChainBroken, QuxiangError
from attendance.i18n import say
from hardware.errors import HardwareError
from hardware.lamps import open_lamps
from kiosk.card import free_mb
from kiosk.cli import one_line
from kiosk.clock import SystemClock
from kiosk.commands import driver_of, wiring_of
from kiosk.condition import LOW_MB
from kiosk.config import is_running
from kiosk.site import Site
from recognition.errors import RecognitionError

FAULTS = (QuxiangError, HardwareError, RecognitionError, OSError)


@dataclass(frozen=True)
class Check:
    """One thing looked at; `advice` is what to do, or what was found where all is well."""

    name: str
    ok: bool
    advice: str


def checks(folder: Path, camera: str | None = None) -> Iterator[Check]:
    """Every check in turn; later ones that need a paired kiosk are left out without one."""
    yield _tried("folder", lambda: _folder(folder))
    yield _tried("disk", lambda: _disk(folder))
    try:
        site = Site(folder)
    except FAULTS as error:
        yield Check("paired", False, one_line(error))
        site = None
    if site is not None:
        with site:
            found = f"{site.config.site}, {site.config.device}"
            yield Check("paired", True, found)
            yield _tried("records", lambda: _records(site))
            yield _tried("server", lambda: _server(site))
            yield _tried("rejected", lambda: _rejected(site))
            yield _tried("gallery", lambda: _gallery(site))
            yield _tried("clock", lambda: _clock(site))
            yield _tried("lamps", lambda: _lamps(site))
    yield _tried("weights", lambda: _weights(folder))
    yield _tried("camera", lambda: _camera(folder, camera))


def _tried(name: str, look: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *look())
    except FAULTS as error:
        return Check(name, False, one_line(error))


def _folder(folder: Path) -> tuple[bool, str]:
    if not folder.is_dir():
        return False, say(f"{folder} 不存在：请先配对。", f"{folder} does not exist: pair first")
    probe = folder / ".doctor"
    probe.write_bytes(b"quxiang")
    probe.unlink()
    return True, say("可写", "writable")


def _disk(folder: Path) -> tuple[bool, str]:
    free = free_mb(folder if folder.is_dir() else Path.home())
    if free is None or free < LOW_MB:
        return False, say(f"只剩 {free} MB：请清理空间。", f"{free} MB left: free some space")
    return True, say(f"剩余 {free} MB", f"{free} MB free")


def _records(site: Site) -> tuple[bool, str]:
    try:
        count = site.store.verify()
    except ChainBroken as error:
        zh = f"记录链有误，请保留存储卡并联系管理员：{error}"
        return False, say(zh, f"the chain is broken, keep the card and call the office: {error}")
    pending = site.store.pending()
    return True, say(f"{count} 条完好，{pending} 条待发", f"{count} sound, {pending} to send")


def _server(site: Site) -> tuple[bool, str]:
    client = site.client(SystemClock())
    try:
        report = client.exchange()
    finally:
        client.close()
    return True, say(f"已同步，{report.pending} 条待发", f"synced, {report.pending} to send")


def _rejected(site: Site) -> tuple[bool, str]:
    pile = site.store.rejected()
    if not pile:
        return True, say("没有被退回的记录", "no record was rejected")
    last = pile[-1]
    return False, say(
        f"{len(pile)} 条记录被服务器退回，最近第 {last.seq} 条（{last.why}）：请联系管理员。",
        f"{len(pile)} records were rejected, last number {last.seq} ({last.why}): call the office",
    )


def _gallery(site: Site) -> tuple[bool, str]:
    contents = site.vault.contents()
    if contents is None:
        return False, say(
            "等待登记台：请在登记台运行 quxiang-enroll sync，或用 U 盘导入。",
            "waiting for the enrolment desk: run quxiang-enroll sync there, or bring a USB file",
        )
    if site.vault.expired(SystemClock().read().wall_ms):
        return False, say(
            "人脸库清单已过期（仍可使用）：请在登记台运行 quxiang-enroll sync。",
            "the gallery's manifest has expired (it still works): run quxiang-enroll sync there",
        )
    found = f"{contents.version}, {len(contents.people)}"
    return True, say(f"版本与人数：{found}", f"version and people: {found}")


def _clock(site: Site) -> tuple[bool, str]:
    state = site.clock_state(SystemClock().read())
    if state.off_ms is None:
        return False, say(
            "开机后还没有与服务器对时：请接通网络。",
            "no time proof since the machine started: connect the network",
        )
    if state.doubtful:
        seconds = state.off_ms // 1000
        return False, say(f"时钟偏差 {seconds} 秒：请校时。", f"off by {seconds} s: set the clock")
    return True, say(f"偏差 {state.off_ms} 毫秒", f"off by {state.off_ms} ms")


def _lamps(site: Site) -> tuple[bool, str]:
    wiring = wiring_of(site.folder)
    driver = driver_of(wiring)
    if driver == "screen":
        return True, say(
            "没有接线文件，灯只画在屏幕上", "no wiring file: lamps are drawn on the screen"
        )
    if is_running(site.folder):
        shown = site.store.meta("lamps") or "?"
        return "unknown" not in shown, say(f"运行中：{shown}", f"running: {shown}")
    ids = [person.official for person in site.people().all]
    with open_lamps(driver, ids, wiring) as board:
        wired = sum(board.has(lamp) for lamp in board.lamps)
    return True, say(f"{wired} 盏已接线", f"{wired} wired")


def _weights(folder: Path) -> tuple[bool, str]:
    from recognition.weights import LIVENESS_SET, SFACE_SET, find_weights

    found = find_weights(folder, SFACE_SET, fetch=False)
    for pinned in SFACE_SET:
        found.path(pinned)
    if find_weights(folder, LIVENESS_SET, fetch=False).missing:
        # The kiosk works without them, so nothing is wrong that a technician must mend today.
        return True, say(
            "识别模型齐全；缺少活体检测模型，每人都须按提示转头（quxiang-recognition weights）",
            "recognition weights are there, those for liveness are not: everybody is asked to "
            "turn the head (quxiang-recognition weights)",
        )
    return True, say("识别模型齐全", "recognition weights are there")


def _camera(folder: Path, source: str | None) -> tuple[bool, str]:
    if source is not None:
        from hardware.camera import open_camera

        with open_camera(source) as camera:
            frame = next(iter(camera.frames()), None)
        if frame is None:
            return False, say(f"{source} 没有画面", f"{source} gives no picture: check it")
        height, width = frame.image.shape[:2]
        return True, f"{source}: {width}x{height}"
    if is_running(folder):
        return True, say("终端正在使用", "in use by the running kiosk")
    devices = sorted(Path("/dev").glob("video*"))
    if not devices:
        return False, say(
            "没有找到摄像头：请检查接线，或用 --camera 指定。",
            "no camera was found: check its cable, or name one with --camera",
        )
    return True, ", ".join(path.name for path in devices)


def main_doctor(args: argparse.Namespace) -> int:
    """The command: exit status 0 where all is well."""
    found = []
    for check in checks(args.data, args.camera):
        found.append(check)
        if not args.json:
            mark = say("正常", "ok") if check.ok else say("问题", "PROBLEM")
            print(f"{mark} {check.name}: {check.advice}", flush=True)
    if args.json:
        rows = [{"name": c.name, "ok": c.ok, "advice": c.advice} for c in found]
        print(json.dumps({"checks": rows}, ensure_ascii=False))
    bad = [check.name for check in found if not check.ok]
    if bad:
        listed = ", ".join(bad)
        print(
            f"quxiang-kiosk: {say(f'需要处理：{listed}', f'to be looked at: {listed}')}",
            file=sys.stderr,
        )
    return 1 if bad else 0

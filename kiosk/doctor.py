"""`doctor`: everything a technician would check, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from attendance.errors import QuxiangError
from attendance.i18n import defect, say
from hardware.camera import open_camera
from hardware.errors import HardwareError
from hardware.frames import Camera
from hardware.wiring import Wiring
from kiosk.checks import devices, power, recognition, records, storage
from kiosk.checks.machine import APP, Check, Machine, Pair, State
from kiosk.commands import wiring_of
from kiosk.config import is_running
from kiosk.errors import KioskError
from kiosk.people import People
from kiosk.settings import Settings, load_settings
from kiosk.site import Site
from recognition.errors import RecognitionError

FAULTS = (QuxiangError, HardwareError, RecognitionError, OSError)
MARKS = {
    State.OK: ("正常", "ok"),
    State.WARN: ("注意", "NOTE"),
    State.FAIL: ("问题", "PROBLEM"),
    State.ABSENT: ("没有", "not here"),
}


def checks(
    folder: Path,
    camera: str | None = None,
    machine: Machine | None = None,
    opener: Callable[..., Camera] = open_camera,
) -> Iterator[Check]:
    """Every check in turn; those that need a paired kiosk are left out without one.

    camera: what to open, else what the installed kiosk is told to use. machine: another than this.
    """
    at = machine or Machine()
    for name, look in (
        ("folder", storage.folder),
        ("disk", storage.disk),
        ("mount", storage.mount),
        ("card_errors", storage.card_errors),
        ("wear", storage.wear),
        ("layout", storage.layout),
    ):
        yield _tried(name, lambda look=look: look(at, folder))  # type: ignore[misc]
    running, seen, people = is_running(folder), None, None
    settings, wiring = Settings(), None
    try:
        settings = load_settings(folder)
        yield Check("settings", State.OK, ("设置文件可用", "the settings can be used"))
    except FAULTS as error:
        yield Check("settings", State.FAIL, both(error))
    try:
        wiring = wiring_of(folder)
        yield records.wired(wiring)
    except FAULTS as error:
        yield Check("wiring", State.FAIL, both(error))
    try:
        site = Site(folder)
    except FAULTS as error:
        yield Check("paired", State.FAIL, both(error))
    else:
        with site:
            if running:
                seen = site.store.meta("camera") or "starting"
            yield from _paired(site, at, wiring)
            try:
                people = site.people()
            except FAULTS as error:
                yield Check("pins", State.FAIL, both(error))
            else:
                yield records.pins(people)
    yield from _machine(at, settings, wiring, people, running)
    yield _tried("weights", lambda: recognition.weights(folder))
    yield _tried("speed", lambda: recognition.speed(folder, running=running))
    source = camera or devices.source_of(at)
    yield _tried(
        "camera",
        lambda: devices.camera(at, source, running=None if camera else seen, opener=opener),
    )


def _paired(site: Site, machine: Machine, wiring: Wiring | None) -> Iterator[Check]:
    found = f"{site.config.site}, {site.config.device}"
    yield Check("paired", State.OK, (found, found))
    yield _tried("kiosk", lambda: records.kiosk(site, machine))
    yield _tried("records", lambda: records.records(site))
    yield _tried("server", lambda: records.server(site))
    yield _tried("certificate", lambda: records.certificate(site, machine))
    yield _tried("outbox", lambda: records.outbox(site))
    yield _tried("rejected", lambda: records.rejected(site))
    yield _tried("gallery", lambda: records.gallery(site))
    yield _tried("clock", lambda: records.clock(site))
    yield _tried("lamps", lambda: records.lamps(site, wiring))


def _machine(
    machine: Machine,
    settings: Settings,
    wiring: Wiring | None,
    people: People | None,
    running: bool,
) -> Iterator[Check]:
    yield _tried("rtc", lambda: power.rtc(machine))
    yield _tried("timesync", lambda: power.timesync(machine))
    yield _tried("power", lambda: power.power(machine))
    yield _tried("heat", lambda: power.heated(machine))
    yield _tried("watchdog", lambda: power.watchdog(machine))
    yield _tried("release", lambda: power.release(machine, Path(APP)))
    yield _tried("gpio", lambda: devices.gpio(machine, wiring, running=running))
    yield _tried("spi", lambda: devices.spi(machine, wiring))
    yield _tried("sound", lambda: devices.sound(machine, settings))
    yield _tried("touch", lambda: devices.touch(machine))
    yield _tried("reader", lambda: devices.reader(machine, people))


def _tried(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except FAULTS as error:
        return Check(name, State.FAIL, both(error))
    except Exception as error:  # noqa: BLE001 - one check's own fault must not hide the others
        return Check(name, State.FAIL, (defect(error, "zh"), defect(error, "en")))


def both(error: Exception) -> Pair:
    """A fault's sentence in both languages, without the full stop."""
    if isinstance(error, KioskError | HardwareError | RecognitionError):
        zh, en = error.words("zh"), error.words("en")
    elif isinstance(error, OSError) and error.strerror:
        about = f"{error.filename}: " if error.filename else ""
        zh = f"{about}{error.strerror}：请检查路径、空间和权限"
        en = f"{about}{error.strerror}: check path, free space and permissions"
    else:
        zh = en = str(error)
    return " ".join(zh.split()).rstrip("。"), " ".join(en.split()).rstrip(".")


def main_doctor(
    args: argparse.Namespace,
    machine: Machine | None = None,
    opener: Callable[..., Camera] = open_camera,
) -> int:
    """The command: exit status 0 where nothing must be mended."""
    found = []
    for check in checks(args.data, args.camera, machine, opener):
        found.append(check)
        if not args.json:
            print(f"{say(*MARKS[check.state])} {check.name}: {check.words()}", flush=True)
    if args.json:
        rows = [{"name": c.name, "ok": c.ok, "advice": c.words()} for c in found]
        print(json.dumps({"checks": rows}, ensure_ascii=False))
    bad = [check.name for check in found if not check.ok]
    if bad:
        listed = ", ".join(bad)
        print(
            f"quxiang-kiosk: {say(f'需要处理：{listed}', f'to be looked at: {listed}')}",
            file=sys.stderr,
        )
    return 1 if bad else 0

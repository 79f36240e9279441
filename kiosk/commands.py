"""What the short commands do. Each works while the kiosk of the same folder runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from attendance.chain import head_code
from attendance.days import local
from attendance.errors import ChainBroken, QuxiangError
from attendance.i18n import language, say
from attendance.signing import fingerprint, from_text, key_mark
from attendance.statuses import LOOKS, Status
from attendance.wire import MAX_GALLERY, GalleryPackage
from hardware.drivers import open_lamps
from hardware.errors import LampError
from hardware.lamps import Colour, LampBoard
from hardware.wiring import Wiring
from hardware.wiring_file import load_wiring
from kiosk.card import free_mb
from kiosk.checkin import Accepted, Again, CheckinService, Refused
from kiosk.clock import SystemClock
from kiosk.config import is_running
from kiosk.desks import take_desk
from kiosk.errors import GalleryRefused, KioskError
from kiosk.exchange import SyncReport, last_contact
from kiosk.lampkeeper import colour_words
from kiosk.pairing import pair
from kiosk.pins import Pins
from kiosk.refusals import refusals
from kiosk.site import Site
from kiosk.troubles import noted
from kiosk.vault import settle_erasures

WIRING = "wiring.toml"


class UsbFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `quxiang-enroll export` writes (docs/wire.md, "Galleries")."""

    v: int
    packages: dict[str, GalleryPackage]
    desk_key: str | None = None


def do_pair(args: argparse.Namespace) -> int:
    """`pair`."""
    config = pair(args.data, args.server, args.code, ca=args.ca, again=args.again, tell=print)
    with Site(args.data) as site:
        mark = fingerprint(site.keys.box_public)
        print(
            say(
                f"已配对：{config.township} {config.site}，设备 {config.device}。"
                f"登记台上应显示的密钥指纹：{mark}",
                f"paired: kiosk {config.device} of {config.site}, {config.township}; "
                f"key fingerprint to compare at the enrolment desk: {mark}",
            )
        )
        try:
            report = _exchange(site)
        except QuxiangError as error:
            print(
                say("首次同步未成，稍后自动重试：", "not synced yet, tried again later: ")
                + (error.words() if isinstance(error, KioskError) else str(error))
            )
        else:
            if not report.gallery_version:
                print(say("等待登记台下发人脸库。", "waiting for the enrolment desk."))
    return 0


def do_checkin(args: argparse.Namespace) -> int:
    """`checkin`: the PIN path, through the very code that the screen uses."""
    pin = sys.stdin.buffer.readline(64).decode("ascii", "replace").strip()
    with Site(args.data) as site:
        people, clock = site.people(), SystemClock()
        pins = Pins(site.store, people, clock)
        service = CheckinService(site.store, people, pins, clock, site.config.site_kind)
        status = Status(args.status) if args.status else None
        outcome = service.by_pin(args.official, pin, status, args.reason)
        while isinstance(outcome, Refused) and outcome.reason == "wait":
            time.sleep(outcome.wait_s)  # put off, not refused
            outcome = service.by_pin(args.official, pin, status, args.reason)
    if isinstance(outcome, Accepted):
        who = outcome.person.name if outcome.person else (outcome.record.official or "")
        word = LOOKS[outcome.status].word(language())
        at = local(outcome.record.wall_ms).strftime("%H:%M")
        print(
            say(
                f"已登记：{who} {word} {at}（第 {outcome.record.seq} 条）",
                f"recorded: {who}, {word}, {at} (number {outcome.record.seq})",
            )
        )
        if not outcome.verified:
            print(
                say(
                    "本终端无法核对此人，已标记待审核，灯不变。",
                    "this kiosk cannot check who that is: marked for review, no lamp changes",
                )
            )
        return 0
    if isinstance(outcome, Again):
        print(
            say(f"刚才已登记（第 {outcome.seq} 条）", f"recorded just now (number {outcome.seq})")
        )
        return 0
    print(f"quxiang-kiosk: {outcome.words()}", file=sys.stderr)
    return 1


def do_import(args: argparse.Namespace) -> int:
    """`import`."""
    with Site(args.data) as site:
        package = _package_for(args.file, site.config.device)
        now = SystemClock().read()
        installed = site.vault.install(package, site.config, site.keys, now.wall_ms, site.store)
        receipts = settle_erasures(site.vault, site.store, site.keys, now)
    print(
        say(
            f"已采用人脸库版本 {installed.version}，{installed.people} 人；"
            f"{len(receipts)} 人的数据已删除。",
            f"gallery version {installed.version} is in force, {installed.people} people; "
            f"{len(receipts)} erased",
        )
    )
    if installed.expired:
        print(say("清单已过期：请到登记台续签。", "its manifest has expired: renew it at the desk"))
    return 0


def _package_for(path: Path, device: str) -> GalleryPackage:
    file = _usb_file(path)
    if device not in file.packages:
        raise GalleryRefused(
            f"{path} 里没有给本终端（{device}）的人脸库：请在登记台联网运行一次 "
            "quxiang-enroll sync，再重新导出。",
            f"{path} has no gallery for this kiosk ({device}): run quxiang-enroll sync once at the "
            "desk with the server, then export it anew",
        )
    return file.packages[device]


def _usb_file(path: Path) -> UsbFile:
    if path.stat().st_size > 2 * MAX_GALLERY:
        raise GalleryRefused(f"{path} 太大。", f"{path} is too large for a gallery file")
    try:
        return msgspec.json.decode(path.read_bytes(), type=UsbFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GalleryRefused(
            f"{path} 不是登记台导出的文件，或已损坏。",
            f"{path} is not a file of the enrolment desk, or it is damaged",
        ) from None


def do_desk(args: argparse.Namespace) -> int:
    """`desk`."""
    with Site(args.data) as site:
        if args.file is not None:
            offered = _usb_file(args.file).desk_key
        else:
            client = site.client(SystemClock())
            try:
                offered = client.ask_desk()
            finally:
                client.close()
        fresh = take_desk(site, args.fingerprint, offered, SystemClock().read())
        mark = key_mark(from_text(site.config.desk_key or ""))
        print(
            say(f"已认可登记台 {mark}。", f"the enrolment desk {mark} is taken from now on.")
            if fresh
            else say(f"早已认可登记台 {mark}。", f"the enrolment desk {mark} was taken already.")
        )
        if args.file is not None:
            print(
                say(
                    f"接着运行 quxiang-kiosk import {args.file}",
                    f"now run quxiang-kiosk import {args.file}",
                )
            )
            return 0
        report = _exchange(site)
        if report.gallery_fault is not None:
            print(f"quxiang-kiosk: {report.gallery_fault.words()}", file=sys.stderr)
            return 1
        contents = site.vault.contents()
        people = len(contents.people) if contents else 0
    if report.gallery_installed:
        print(
            say(
                f"已采用它的人脸库版本 {report.gallery_version}，{people} 人。",
                f"its gallery version {report.gallery_version} is in force, {people} people",
            )
        )
    else:
        print(
            say(
                "它的人脸库还没有到，此前仍用原来的。",
                "its gallery has not come yet; until then the one before stays in force",
            )
        )
    return 0


def do_export(args: argparse.Namespace) -> int:
    """`export`."""
    with Site(args.data) as site:
        moved = site.vault.pile.export(args.file.expanduser().absolute())
    print(
        say(
            f"已移入 {args.file}：{moved} 张待审照片（已加密）。"
            "在登记台运行 quxiang-enroll proposals take FILE",
            f"moved into {args.file}: {moved} proposed pictures, sealed; "
            "run quxiang-enroll proposals take FILE at the enrolment desk",
        )
    )
    return 0


def do_sync(args: argparse.Namespace) -> int:
    """`sync`."""
    with Site(args.data) as site:
        report = _exchange(site)
    print(
        say(
            f"已同步：发送 {report.sent}，保存 {report.stored}，重复 {report.duplicate}，"
            f"退回 {report.rejected}，待发 {report.pending}，人脸库版本 {report.gallery_version}",
            f"synced: sent {report.sent}, stored {report.stored}, duplicate {report.duplicate}, "
            f"rejected {report.rejected}, pending {report.pending}, "
            f"gallery version {report.gallery_version}",
        )
    )
    if report.gallery_fault is not None:
        print(f"quxiang-kiosk: {report.gallery_fault.words()}", file=sys.stderr)
    if report.desk_changed:
        print(f"quxiang-kiosk: {desk_changed_words()}", file=sys.stderr)
    return 0


def desk_changed_words() -> str:
    """What to say where the server names another desk than the pinned one."""
    return say(
        "服务器给出了另一个登记台密钥，未采用：确已更换登记台的，在登记台上用 quxiang-enroll list "
        "看指纹，再在本机运行 quxiang-kiosk desk 指纹；没有更换的，服务器可能被人动过。",
        "the server names another enrolment desk, which is not taken: if the desk was replaced, "
        "read the fingerprint at the desk (quxiang-enroll list) and run quxiang-kiosk desk "
        "FINGERPRINT here; if it was not, the server may have been tampered with",
    )


def _exchange(site: Site) -> SyncReport:
    client = site.client(SystemClock())
    try:
        return client.exchange()
    finally:
        client.close()


def status_of(site: Site) -> dict[str, Any]:
    """The object of `status --json`."""
    now = SystemClock().read()
    clock, head, heard = site.clock_state(now), site.store.head(), last_contact(site.store)
    running, manifest = is_running(site.folder), site.vault.manifest()
    return {
        "pending": site.store.pending(),
        "last_contact": None if heard is None else local(heard).isoformat(timespec="seconds"),
        "head": {
            "epoch": head.epoch,
            "seq": head.seq,
            "head": head.head.hex(),
            "code": head_code(head.head),
        },
        "gallery_version": site.vault.version,
        "clock": {
            "class": str(clock.cls),
            "wall": local(now.wall_ms).isoformat(timespec="seconds"),
            "off_ms": clock.off_ms,
            "doubtful": clock.doubtful,
        },
        "camera": site.store.meta("camera") if running else None,
        "lamps": site.store.meta("lamps") if running else None,
        "troubles": noted(site.store.meta("troubles")) if running else [],
        "running": running,
        "refusals": refusals(site.store),
        "rejected": len(site.store.rejected()),
        "proposals": len(site.vault.pile.waiting()),
        "gallery_expired": site.vault.expired(now.wall_ms),
        "gallery_expires": None
        if manifest is None
        else local(manifest.expires_ms).isoformat(timespec="seconds"),
        "oldest_s": site.store.oldest_waiting_s(now, now.wall_ms - (clock.off_ms or 0)),
        "disk_free_mb": free_mb(site.folder),
        "device": site.config.device,
        "site": site.config.site,
        "fingerprint": fingerprint(site.keys.box_public),
    }


def do_status(args: argparse.Namespace) -> int:
    """`status`."""
    with Site(args.data) as site:
        state = status_of(site)
    if args.json:
        print(json.dumps(state, ensure_ascii=False))
        return 0
    for key, value in state.items():
        print(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return 0


def do_verify(args: argparse.Namespace) -> int:
    """`verify`."""
    with Site(args.data) as site:
        try:
            count = site.store.verify()
        except ChainBroken as error:
            raise KioskError(f"记录链有误：{error}", f"the chain is broken: {error}") from error
        code = head_code(site.store.head().head)
    print(say(f"{count} 条记录完好，链头 {code}", f"{count} records are sound, head code {code}"))
    return 0


def wiring_of(folder: Path) -> Wiring | None:
    """The folder's wiring file, None where there is none. Raises WiringError."""
    path = folder / WIRING
    return load_wiring(path) if path.exists() else None


def driver_of(wiring: Wiring | None) -> str:
    """The driver that the wiring file names, rgb where it names none; screen without a file."""
    return wiring.driver if wiring else "screen"


def do_lamps_test(args: argparse.Namespace) -> int:
    """`lamps test`."""
    with Site(args.data) as site:
        people = site.people()
    wiring = wiring_of(args.data) if args.lamps != "screen" else None
    names = {person.official: person.name for person in people.all}
    wired = [*wiring.lamps, *wiring.pixels] if wiring else []
    ids = [*names, *(lamp for lamp in wired if lamp not in names)]
    if not ids:
        raise LampError(
            "还没有人员名单，也没有接线文件：请先同步人脸库。",
            "nobody is known yet and there is no wiring file: sync the gallery first",
        )
    pause = args.pause
    if pause is None:
        pause = 0.5 if sys.stdout.isatty() and not args.json else 0.0
    with open_lamps(args.lamps or driver_of(wiring), ids, wiring) as board:
        rows = []
        for lamp in ids:
            if not args.json:
                # Named before it is lit: whoever stands at the board looks for that lamp.
                who = names.get(lamp) or say("（名单里没有）", "(not on the list)")
                print(f"{lamp} {who} [{board.driver_of(lamp)}] ", end="", flush=True)
            row = _walk(board, lamp, names.get(lamp), pause)
            rows.append(row)
            if not args.json:
                shown = " ".join(
                    f"{say(*colour_words(c))}={say(*colour_words(got))}"
                    for c, got in row["latched"].items()
                )
                print(shown, say("正常", "ok") if row["ok"] else say("异常", "FAULT"), flush=True)
    if args.json:
        print(json.dumps({"driver": board.driver, "lamps": rows}, ensure_ascii=False))
    bad = [row["official"] for row in rows if not row["ok"]]
    if bad:
        listed = ", ".join(bad)
        raise LampError(f"这些灯有故障：{listed}。请检查接线。", f"check the wiring of: {listed}")
    return 0


def _walk(board: LampBoard, lamp: str, name: str | None, pause: float) -> dict[str, Any]:
    latched: dict[str, str | None] = {}
    for colour in (Colour.GREEN, Colour.BLUE, Colour.YELLOW, Colour.RED, Colour.OFF):
        try:
            seen = board.show(lamp, colour).colour
        except LampError:
            seen = None
        latched[str(colour)] = None if seen is None else str(seen)
        if pause:
            time.sleep(pause)
    return {
        "official": lamp,
        "name": name,
        "driver": board.driver_of(lamp),
        "latched": latched,
        "ok": all(asked == got for asked, got in latched.items()),
    }

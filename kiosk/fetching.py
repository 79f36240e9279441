"""Updates from the township's server: fetched in small pieces at night, handed to the installer.

A piece that came is kept through power cuts and days without a line; what is whole and signed is
put into the inbox that quxiang-update.path watches. Who signed it is checked there again, by root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from attendance import wire
from attendance.days import SHANGHAI
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.release import MAX_LINE, Head, parse_head
from attendance.signing import KEY_BYTES, from_text
from kiosk.config import sync_folder
from kiosk.errors import KioskError
from kiosk.link import Answer
from kiosk.releases import SPARE_BYTES, App

INBOX = "update"
SMALL, LARGE = 16 << 10, 256 << 10
"""Bytes of a piece: halved where one takes longer than SLOW_S, doubled where less than QUICK_S."""
QUICK_S, SLOW_S = 1.0, 10.0
NIGHT = (22, 5)
"""From ten in the evening to five in the morning nobody waits for the line."""


class UpdateRefused(KioskError, ValueError):
    """A release that cannot be fetched or handed over, and what to do."""


class Asks(Protocol):
    """The line to the server (`kiosk.link.Link`)."""

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        limit: int = wire.MAX_JSON,
        span: tuple[int, int] | None = None,
    ) -> Answer:
        """As `Link.ask`."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a release has come. whole: it was handed over."""

    number: int
    done: int
    size: int
    whole: bool = False


def own_app() -> App | None:
    """The releases of this machine, None where it was not set up by install-kiosk.sh."""
    folder = os.environ.get("QUXIANG_APP")
    return App(Path(folder)) if folder else None


class Fetcher:
    """One kiosk's updates. `step` may be called for ever; each call asks for one piece at the most.

    Raises what `Link.ask` raises, UpdateRefused, and OSError of the card.
    """

    def __init__(self, folder: Path, app: App, link: Asks, *, again: bool = False) -> None:
        """again: also one that was handed over before and did not come into force."""
        self._again = again
        self._inbox = folder / INBOX
        self._app = app
        self._link = link
        self._head: Head | None = None
        self._piece = LARGE >> 2

    def newest_tried(self) -> int:
        """The highest number that ran, is on trial or failed here."""
        state = self._app.state()
        known = [state.highest, state.good or 0, state.trial or 0, *state.failed]
        return max([*known, *self._app.releases()])

    def offered(self) -> Head | None:
        """What the server has for this machine, None where it has nothing newer."""
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        answer = self._link.ask(
            "GET",
            f"{wire.RELEASE}?machine={platform.machine()}&python={python}"
            f"&above={self.newest_tried()}",
            limit=2 * MAX_LINE,
        )
        if answer.status == 204:
            return None
        try:
            head = parse_head(answer.body)
            head.check(self._key())
        except (WireInvalid, SignatureInvalid) as error:
            raise UpdateRefused(
                "服务器提供的更新不是本镇签发的，未采用：请核对发布密钥。",
                "the server's update is not signed by the key of this kiosk and is not taken",
            ) from error
        return head

    def _key(self) -> bytes:
        try:
            return from_text(
                (self._app.folder / "release.key").read_text("ascii").strip(), KEY_BYTES
            )
        except (OSError, ValueError):
            raise UpdateRefused(
                "本机没有发布密钥 release.key：请重新运行 install-kiosk.sh。",
                "this machine has no release.key: run install-kiosk.sh again",
            ) from None

    def step(self) -> Progress | None:
        """Fetches the next piece, or hands over what is whole; None: there is nothing to do."""
        if self._head is None:
            self._head = self.offered()
        head = self._head
        if head is None or self._handed_over(head.manifest.number):
            self._head = None
            return None
        number = head.manifest.number
        part = self._part(head)
        done = part.stat().st_size
        if done < head.size:
            return Progress(number, done + self._fetch(part, head, done), head.size)
        self._head = None
        self._hand_over(part, head)
        return Progress(number, done, head.size, whole=True)

    def _handed_over(self, number: int) -> bool:
        # What the installer could not take is not fetched every night anew.
        handed = (self._inbox / f".{number}.handed").exists() and not self._again
        return handed or (self._inbox / f"{number}.qxr").exists()

    def _part(self, head: Head) -> Path:
        """The piece so far; others' are thrown away, and it is begun where there is none."""
        self._inbox.mkdir(mode=0o700, exist_ok=True)
        part = self._inbox / f".{head.manifest.number}.part"
        for other in self._inbox.glob(".*.part"):
            if other != part:
                other.unlink()
        with contextlib.suppress(FileNotFoundError):
            with part.open("rb") as file:
                same = file.read(len(head.text)) == head.text
            if same and part.stat().st_size <= head.size:
                return part
            part.unlink()
        free = shutil.disk_usage(self._inbox).free
        # The copy here, the installer's copy, and what it takes installed.
        needed = 2 * head.size + head.manifest.room + SPARE_BYTES
        if free < needed:
            raise UpdateRefused(
                f"空间不足，未取更新：需要 {needed >> 20} MB，剩余 {free >> 20} MB。",
                f"no room for the update: {needed >> 20} MB are needed, {free >> 20} MB are free",
            )
        part.write_bytes(head.text)
        return part

    def _fetch(self, part: Path, head: Head, done: int) -> int:
        last = min(done + self._piece, head.size) - 1
        target = f"{wire.RELEASE}/{head.manifest.number}?machine={head.manifest.machine}"
        began = time.monotonic()
        data = self._link.ask("GET", target, limit=LARGE, span=(done, last)).body
        took = time.monotonic() - began
        if not data or len(data) > last - done + 1:
            self._head = None  # it was taken back meanwhile
            raise UpdateRefused(
                "服务器给出的更新不完整：稍后重试。",
                "the server's update is cut short: tried later",
            )
        if took > SLOW_S:
            self._piece = max(SMALL, self._piece // 2)
        elif took < QUICK_S:
            self._piece = min(LARGE, self._piece * 2)
        with part.open("ab") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        return len(data)

    def _hand_over(self, part: Path, head: Head) -> None:
        digest = hashlib.sha256()
        with part.open("rb") as file:
            file.seek(len(head.text))
            while data := file.read(1 << 20):
                digest.update(data)
        if digest.hexdigest() != head.manifest.sha256:
            part.unlink()
            raise UpdateRefused(
                "取来的更新已损坏，将重新下载。", "the update came damaged: it is fetched again"
            )
        for mark in self._inbox.glob(".*.handed"):
            mark.unlink()
        (self._inbox / f".{head.manifest.number}.handed").touch()
        part.replace(self._inbox / f"{head.manifest.number}.qxr")
        sync_folder(self._inbox)


def hand_over(folder: Path, file: Path, above: int) -> int:
    """Puts a file from a stick into the inbox; its number. Raises UpdateRefused, OSError."""
    with file.open("rb") as source:
        try:
            number = parse_head(source.read(2 * MAX_LINE)).manifest.number
        except WireInvalid:
            raise UpdateRefused(
                f"{file} 不是去向的更新包，或已损坏。",
                f"{file} is no release of Quxiang, or damaged",
            ) from None
    if number <= above:
        raise UpdateRefused(
            f"版本 {number} 不比 {above} 新。", f"release {number} is not newer than {above}"
        )
    inbox = folder / INBOX
    inbox.mkdir(mode=0o700, exist_ok=True)
    part = inbox / f".{number}.stick"
    try:
        shutil.copyfile(file, part)
        part.replace(inbox / f"{number}.qxr")
    finally:
        part.unlink(missing_ok=True)
    sync_folder(inbox)
    return number


class Nightly:
    """Fetches at night. `turn` is for `kiosk.housekeeping.Every`: True where more waits.

    now_ms: the true time as the kiosk knows it. rest: waits that many seconds, as long as the piece
    took, so that records and other kiosks find the line free half of the time.
    """

    def __init__(
        self, fetcher: Fetcher, now_ms: Callable[[], int], rest: Callable[[float], object]
    ) -> None:
        self._fetcher = fetcher
        self._now_ms = now_ms
        self._rest = rest

    def turn(self) -> bool:
        """One piece, if it is night."""
        if not is_night(self._now_ms()):
            return False
        began = time.monotonic()
        progress = self._fetcher.step()
        self._rest(min(SLOW_S, time.monotonic() - began))
        return progress is not None and not progress.whole


def is_night(now_ms: int) -> bool:
    """Whether updates may use the line at that time (Unix milliseconds)."""
    hour = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(SHANGHAI).hour
    return hour >= NIGHT[0] or hour < NIGHT[1]

"""Power cuts: what a disk could hold at any moment, mounted again, against what was confirmed.

A kiosk's store and vault work on ext4 over a loop device whose every block write is remembered
(`blocklog`). A cut is a moment in that log: everything before the last flush is there, of the
later writes a random part is, whole blocks or torn at 512 bytes. The file system recovers its
journal, the store opens, and whatever had been confirmed must be in it.

`--mode` weakens SQLite on purpose, to show that the tool finds what is lost: `full` is the kiosk's.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import struct
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from attendance.clock import Anchor
from attendance.errors import ChainBroken
from attendance.records import decode_record
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import SiteKind
from attendance.wire import GalleryContents, Person, Result
from kiosk.clock import SystemClock
from kiosk.config import KioskConfig
from kiosk.errors import StoreUnusable
from kiosk.fakes import package
from kiosk.store import Store
from kiosk.vault import Vault
from tests.faults.blocklog import Log, RecordedDisk, mounted
from tests.faults.rig import SEED, Broken, Cannot, checkin, main, need

DEVICE = "kkkkkkkk"
DISK_BYTES = 32 << 20
#: Records of one life of a disk: about three checkpoints of SQLite's log; of few cuts, one.
RECORDS = 700
FEW = 300
CUTS_A_DISK = 125
SECTOR = 512
MODES = {
    "full": (),
    "normal": ("PRAGMA synchronous=NORMAL",),
    "off": ("PRAGMA synchronous=OFF",),
    "delete": ("PRAGMA journal_mode=DELETE",),
    "extra": ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=EXTRA"),
}
KEYS = DeviceKeys(b"s" * 32, b"b" * 32)
#: A template: one unit vector of 128 little-endian float32.
UNIT = struct.pack("<128f", 1.0, *[0.0] * 127)
DESK = DeviceKeys(b"d" * 32, b"e" * 32)
CONFIG = KioskConfig(
    server="http://127.0.0.1:1", device=DEVICE, township="t", site="s", site_kind=SiteKind.VILLAGE,
    server_key=to_text(DESK.sign_public), desk_key=to_text(DESK.sign_public),
)  # fmt: skip


@dataclass
class Tally:
    """What the cuts of a run came to."""

    cuts: int = 0
    confirmed: int = 0
    lost: int = 0
    unreadable: int = 0
    first: str = ""
    disks: int = 0
    galleries: int = 0

    def broken(self, what: str) -> None:
        self.first = self.first or what


def weaken(store: Store, mode: str) -> None:
    """The store's connection with other settings than the kiosk's."""
    with store._read() as db:
        for pragma in MODES[mode]:
            db.execute(pragma).fetchall()


def kiosk_life(folder: Path, mode: str, records: int, tell: Callable[[str], object]) -> None:
    """Records, acks, time proofs and galleries until it is killed; tells what is confirmed."""
    clock = SystemClock()
    vault = Vault(folder / "vault")
    rng = random.Random(RECORDS)
    with Store.open(folder / "k.db", DEVICE) as store:
        weaken(store, mode)
        tell("opened")
        for number in range(records):
            record = store.record(checkin(number), clock.read()).record
            tell(f"record {record.epoch} {record.seq} {record.record_id}")
            if number % 40 == 39:
                batch = store.batch(1, number - 39)
                ids = [r.record_id for r in map(decode_record, batch.payloads if batch else ())]
                store.acknowledge(
                    1, [Result(seq=number - 38 + i, record_id=r, result="stored")
                        for i, r in enumerate(ids)])  # fmt: skip
                now = clock.read()
                store.add_anchor(
                    Anchor(
                        f"a{number}", now.wall_ms, now.boot_id, now.boottime_ns, rng.randrange(9)
                    )
                )
            if number % 100 == 50:
                _install(vault, number // 100 + 1, store)
                tell(f"gallery {number // 100 + 1}")
    tell("end")


def _install(vault: Vault, version: int, store: Store) -> None:
    person = Person(official="A-1", name="n", title="t", templates=UNIT)
    contents = GalleryContents(
        device=DEVICE, version=version, model="sface", dimension=128, pin_key=b"p" * 32,
        people=[person],
    )  # fmt: skip
    vault.install(package(DESK, KEYS.box_public, contents), CONFIG, KEYS, 0, store)


def live(folder: Path, mode: str, records: int) -> Log:
    """One life of a disk, from mkfs to the kill, as a log."""
    read, write = os.pipe()
    try:
        with RecordedDisk(folder / "disk", DISK_BYTES, read) as disk:
            subprocess.run(["mkfs.ext4", "-q", "-F", str(disk.path)], check=True)
            with mounted(disk.path, folder / "live") as root:
                subprocess.run(["sync", "-f", str(root)], check=True)
                os.write(write, b"mounted\n")
                _run_child(lambda tell: kiosk_life(root, mode, records, tell), write)
                os.write(write, b"killed\n")
                # One more step of the disk, so that it hears the last line.
                subprocess.run(["sync", "-f", str(root)], check=True)
        return disk.log
    finally:
        os.close(read)
        os.close(write)


def _run_child(work: Callable[[Callable[[str], object]], None], write: int) -> None:
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            work(lambda line: os.write(write, line.encode() + b"\n"))
            status = 0
        except Exception:  # noqa: BLE001 - said here; the parent only sees the status
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            need(status == 0, f"the recorder ended by itself: {status}")
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise Broken("the recorder hung")


class Disk:
    """The log played back: `to` a cut, then `image` of what could have been left."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._stable = bytearray(log.size)
        self._at = 0
        self.told: list[str] = []
        self._loose: list[tuple[int, bytes]] = []

    def to(self, step: int) -> None:
        for one in self._log.steps[self._at : step]:
            if one is None:
                for offset, data in self._loose:
                    self._stable[offset : offset + len(data)] = data
                self._loose.clear()
            elif isinstance(one, str):
                self.told.append(one)
            else:
                self._loose.append(one)
        self._at = step

    def image(self, rng: random.Random) -> bytearray:
        """Everything flushed, and of the later writes none, all, the first ones, or any."""
        image = bytearray(self._stable)
        kind = rng.randrange(5)
        first = rng.randrange(len(self._loose) + 1)
        share = rng.random()
        for number, (offset, data) in enumerate(self._loose):
            if kind == 0 or (kind == 2 and number >= first):
                continue
            if kind in (1, 2):
                image[offset : offset + len(data)] = data
                continue
            step = 4096 if kind == 3 else SECTOR
            for start in range(0, len(data), step):
                if rng.random() < share:
                    piece = data[start : start + step]
                    image[offset + start : offset + start + len(piece)] = piece
        return image


def look(folder: Path, image: bytearray, told: list[str], mode: str, tally: Tally) -> None:
    """Mounts what was left, as the next boot would, and compares."""
    file = folder / "cut"
    file.write_bytes(image)
    records = {tuple(line.split()[1:]) for line in told if line.startswith("record")}
    gallery = max((int(line.split()[1]) for line in told if line.startswith("gallery")), default=0)
    tally.cuts += 1
    tally.confirmed += len(records)
    try:
        with mounted(file, folder / "again") as root:
            if "opened" not in told and not (root / "k.db").exists():
                return
            kept = Vault(root / "vault").version
            if kept < gallery:
                tally.galleries += 1
                tally.broken(f"gallery {gallery} was confirmed, {kept} is there")
            with Store.open(root / "k.db", DEVICE) as store:
                store.verify()
                with store._read() as db:
                    rows = db.execute("SELECT payload FROM records").fetchall()
                there = {
                    (str(r.epoch), str(r.seq), r.record_id)
                    for r in (decode_record(row[0]) for row in rows)
                }
                lost = records - there
                tally.lost += len(lost)
                if lost:
                    tally.broken(f"cut {tally.cuts}: {len(lost)} lost, such as {min(lost)}")
                # And it goes on.
                store.record(checkin(1), SystemClock().read())
    except subprocess.CalledProcessError as error:
        tally.unreadable += 1
        tally.broken(f"cut {tally.cuts}: not mounted: {error.stderr!r}")
    except (StoreUnusable, ChainBroken, sqlite3.Error) as error:
        tally.unreadable += 1
        tally.lost += len(records)
        tally.broken(f"cut {tally.cuts}: {error}")


def run(times: int, mode: str = "full", seed: int = SEED) -> str:
    """`times` cuts; the line to print. Raises Broken, and Cannot where it cannot be tried."""
    if os.geteuid() != 0:
        raise Cannot("power cuts need root, to mount a loop device")
    rng = random.Random(seed)
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix="quxiang-power-", dir=_fast()) as name,
        tqdm(total=times, disable=None, unit="cut") as bar,
    ):
        folder = Path(name)
        while tally.cuts < times:
            try:
                log = live(folder, mode, RECORDS if times > 20 else FEW)
            except (OSError, subprocess.CalledProcessError) as error:
                if tally.disks:
                    raise
                raise Cannot(f"power cuts need FUSE, ext4 and loop devices: {error}") from error
            tally.disks += 1
            start = log.steps.index("mounted")
            end = log.steps.index("killed") if "killed" in log.steps else len(log.steps)
            want = min(CUTS_A_DISK, times - tally.cuts)
            disk = Disk(log)
            for step in sorted(rng.randrange(start + 1, end + 1) for _ in range(want)):
                disk.to(step)
                look(folder, disk.image(rng), disk.told, mode, tally)
                bar.update()
    line = (
        f"{mode}: {tally.cuts} cuts of {tally.disks} disks, {tally.confirmed} records confirmed "
        f"before them: {tally.lost} lost, {tally.unreadable} unreadable, "
        f"{tally.galleries} galleries lost"
    )
    if tally.first:
        raise Broken(f"{line}; first: {tally.first}")
    return line


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main(__doc__, run, 40, "cuts", modes=tuple(MODES))

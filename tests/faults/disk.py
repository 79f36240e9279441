"""A whole kiosk whose card is full, fails (EIO) or turns read-only: no false word, soon an alarm.

`quxiang-kiosk run` on a small ext4 (a loop device), people at its page. The card is filled for
real. EIO and EROFS that go away by themselves come from between the program and the kernel (a
library that is loaded before libc). And ext4 itself finds an error and turns read-only, as it does
on a failing card (`errors=remount-ro`): that ends with a check of the file system and a new start.
`--times` rounds of each.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.faults.blocklog import mounted
from tests.faults.rig import Cannot, free_port, main, need, served
from tests.walks.town import BIN, Town

ALARM_S = 10.0
CARD_BYTES = 64 << 20
INTERPOSER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static int hurt(int fd) {
  const char *folder = getenv("HURT_FOLDER"), *flag = getenv("HURT_FLAG");
  char link[64], path[4096]; FILE *file; int code = 0; ssize_t n;
  if (!folder || !flag || !(file = fopen(flag, "r"))) return 0;
  if (fscanf(file, "%d", &code) != 1) code = 0;
  fclose(file);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if ((n = readlink(link, path, sizeof path - 1)) < 0) return 0;
  path[n] = 0;
  if (!code || strncmp(path, folder, strlen(folder))) return 0;
  errno = code;
  return 1;
}
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t pwrite(int f, const void *b, size_t n, off_t o) {
  return hurt(f) ? -1 : NEXT(pwrite)(f, b, n, o); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) {
  return hurt(f) ? -1 : NEXT(pwrite64)(f, b, n, o); }
int fsync(int f) { return hurt(f) ? -1 : NEXT(fsync)(f); }
int fdatasync(int f) { return hurt(f) ? -1 : NEXT(fdatasync)(f); }
"""
#: How a card is mounted, and where ext4 is told of an error (any error of its own does the same).
OPTIONS = "loop,errors=remount-ro"
ERROR = "/sys/fs/ext4/{}/trigger_fs_error"
HOW = {"all": ("full", "eio", "readonly"), "short": ("full", "eio")}
CODES = {"eio": 5, "readonly": 30}


class Card:
    """What is done to the card of one kiosk."""

    def __init__(self, town: Town, folder: Path) -> None:
        self.flag = town.folder / "flag"
        self._folder = folder
        self._filler = folder / "filler"
        source, library = town.folder / "hurt.c", town.folder / "hurt.so"
        source.write_text(INTERPOSER)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
                       check=True, capture_output=True)  # fmt: skip
        self.environ = {"LD_PRELOAD": str(library), "HURT_FLAG": str(self.flag),
                        "HURT_FOLDER": str(folder)}  # fmt: skip

    def hurt(self, how: str) -> None:
        if how == "full":
            with self._filler.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(1 << 12))
        else:
            beside = self.flag.with_suffix(".new")
            beside.write_text(str(CODES[how]))
            beside.replace(self.flag)

    def heal(self) -> None:
        self.flag.unlink(missing_ok=True)
        self._filler.unlink(missing_ok=True)


class Page:
    """Somebody at the kiosk's page."""

    def __init__(self, port: int, events: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._events = events
        self._people = (f"P-{n}" for n in itertools.count())
        until = time.monotonic() + 60
        while True:
            try:
                text = requests.get(self.url, timeout=5).text
                break
            except (requests.ConnectionError, requests.Timeout):
                need(time.monotonic() < until, "the kiosk's page did not come")
                time.sleep(0.1)
        found = re.search(r'"([A-Za-z0-9_-]{32})"', text)
        need(found is not None, "the page has no token")
        self._token = found.group(1) if found else ""

    def checkin(self) -> bool:
        """Whether the page says that somebody new is recorded; whoever is put off waits."""
        asked = {"official": next(self._people), "pin": "135790"}
        while True:
            answer = requests.post(
                f"{self.url}/pin", json=asked, timeout=30, headers={"X-Screen-Token": self._token}
            ).json()
            if answer["ok"] or not answer.get("wait_s"):
                return bool(answer["ok"])
            time.sleep(answer["wait_s"])

    def confirmed(self) -> int:
        """How many check-ins its events tell of."""
        return sum(event["event"] == "checkin" for event in self.events())

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._events.read_text().splitlines() if line]

    def troubles(self) -> set[str]:
        """The parts that something is wrong with, by its metrics."""
        said = requests.get(f"{self.url}/metrics", timeout=30).text
        return set(re.findall(r'quxiang_kiosk_trouble\{part="(\w+)"\} 1', said))


def run(times: int, mode: str = "all") -> str:
    """`times` rounds of each fault, without EROFS where it is to be `short`; the line to print.

    Raises Broken and Cannot.
    """
    if os.geteuid() != 0 or shutil.which("gcc") is None:
        raise Cannot("a card's faults need root, to mount a loop device, and gcc")
    slowest, wrong, yes = 0.0, 0, 0
    with tempfile.TemporaryDirectory(prefix="quxiang-card-") as name, served() as town:
        image = Path(name) / "card"
        image.write_bytes(b"")
        os.truncate(image, CARD_BYTES)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
            card_folder = contextlib.ExitStack()
            folder = card_folder.enter_context(mounted(image, town.folder / "kiosk", OPTIONS))
        except (OSError, subprocess.CalledProcessError) as error:
            raise Cannot(f"no loop device with ext4: {error}") from error
        with card_folder:
            town.pair_kiosk("kiosk", "石桥村")
            card = Card(town, folder)
            with running(town, card) as page:
                need(page.checkin(), "a sound card recorded nobody")
                yes += 1
                for how in HOW[mode] * times:
                    before = page.troubles()
                    card.hurt(how)
                    want = {"disk", "store"} if how == "full" else {"store"}
                    # Nobody stands there: the kiosk finds out by itself.
                    seen = {"disk"} if how == "full" else set()
                    slowest = max(slowest, alarm(page, how, want, before - seen))
                    for _ in range(3):
                        said = page.checkin()
                        wrong += not said
                        yes += said
                    need(how == "full" or not said, f"{how}: somebody was told yes")
                    card.heal()
                    again(page, how)
                    yes += 1
                need(page.confirmed() == yes, f"{page.confirmed()} events, {yes} told at the page")
            for _ in range(times):
                with running(town, card) as page:
                    need(page.checkin(), "nobody was recorded after a start")
                    fail(folder)
                    slowest = max(slowest, alarm(page, "an error of ext4", {"store"}, set()))
                    for _ in range(3):
                        need(not page.checkin(), "ext4 is read-only: somebody was told yes")
                    wrong += 3
                card_folder.close()
                # What the next boot does. 1: errors were corrected.
                done = subprocess.run(["e2fsck", "-p", "-f", str(image)], capture_output=True)
                need(done.returncode in (0, 1), f"e2fsck: {done.stdout!r}")
                card_folder.enter_context(mounted(image, folder, OPTIONS))
                with running(town, card) as page:
                    again(page, "an error of ext4")
                yes += 2
            town.run("quxiang-kiosk", "verify", "--data", str(folder))
            kept = town.run("quxiang-kiosk", "verify", "--data", str(folder)).stdout
            need(int(kept.split()[0]) >= yes, f"{yes} were told yes, there is: {kept}")
    return (
        f"{times} x {', '.join(HOW[mode])}, ext4 in error: {yes} told yes and all there, "
        f"{wrong} told no; alarm after {slowest:.1f} s at the latest, recording again each time"
    )


def device_of(folder: Path) -> str:
    """The loop device below a mounted folder."""
    said = subprocess.run(["findmnt", "-no", "SOURCE", str(folder)], check=True,
                          capture_output=True, text=True)  # fmt: skip
    return Path(said.stdout.strip()).name


def fail(folder: Path) -> None:
    """Tells ext4 of an error. Raises Cannot where this kernel takes no such word."""
    try:
        Path(ERROR.format(device_of(folder))).write_text("1")
    except OSError as error:
        raise Cannot(f"ext4 cannot be told of an error here: {error}") from error


def alarm(page: Page, how: str, want: set[str], before: set[str]) -> float:
    """Seconds until the kiosk says that one of these parts is in trouble. Raises Broken."""
    began = time.monotonic()
    while not want & (page.troubles() - before):
        need(time.monotonic() - began < ALARM_S, f"{how}: no alarm within {ALARM_S:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


def again(page: Page, how: str) -> None:
    """Somebody is recorded, and the alarm goes. Raises Broken."""
    began = time.monotonic()
    while not page.checkin():
        need(time.monotonic() - began < 30, f"{how}: it did not record again")
        time.sleep(0.2)
    while "store" in page.troubles():
        need(time.monotonic() - began < 60, f"{how}: the alarm stayed")
        time.sleep(0.2)


@contextlib.contextmanager
def running(town: Town, card: Card) -> Iterator[Page]:
    """`quxiang-kiosk run` with its page, on one grey picture that never ends."""
    import cv2
    import numpy as np

    port = free_port()
    pictures, events = town.folder / "pictures", town.folder / f"events-{port}.jsonl"
    pictures.mkdir(exist_ok=True)
    cv2.imwrite(str(pictures / "1.png"), np.full((240, 320, 3), 90, np.uint8))
    with (town.folder / "kiosk.log").open("ab") as log:
        kiosk = subprocess.Popen(
            [str(BIN / "quxiang-kiosk"), "run", "--data", str(town.folder / "kiosk"), "--camera",
             str(pictures), "--loop", "--liveness", "off", "--screen", str(port), "--events",
             str(events)],
            env={**town.environ, **card.environ}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield Page(port, events)
    finally:
        kiosk.terminate()
        kiosk.wait(20)


if __name__ == "__main__":
    main(__doc__, run, 3, "rounds", modes=tuple(HOW))

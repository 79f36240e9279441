"""The installers from scratch in debootstrapped trees, and docs/deploy.md followed step by step.

The stick is made by deploy/make-bundle.sh. A server's tree and a kiosk's tree of each suite are
made by debootstrap from the mirror that this machine's apt asks; the scripts run in them twice.
Then both are cut off from every network but a loopback with the address of the page, the units'
own commands are started, the kiosk is paired over TLS, sees sample footage, records, syncs, is
updated, and gets its data partition. Not played: systemd itself, the sandbox of the units, pins.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attendance.release import parse_head
from scripts.make_release import read_key, write_release
from tests.faults.page import (
    a_year_later,
    backup,
    other_disk,
    postgresql,
    records_and_room,
    replace,
)
from tests.faults.played import ROOT, STICK, Desk, answers, make_sample, pair, play
from tests.faults.rig import SKIPPED, Broken, Cannot, need
from tests.faults.session import show_screen
from tests.faults.tree import LOCAL, Tree, check_tools, has_suite, make_tree, same
from tests.faults.unit import Unit

SUITES = ("bookworm", "trixie")
DOCTOR = "quxiang-kiosk doctor"
KEPT = ("/etc", "/usr/local", "/var/lib/quxiang", "/opt/quxiang")
"""Where a second run of an installer may change nothing."""


def make_stick(out: Path) -> None:
    """Step 1 of the page, for this machine. Raises Cannot where no wheels are to be had."""
    if not (ROOT / ".venv/bin/python").exists():
        raise Cannot("deploy/make-bundle.sh wants a checkout after `make setup`")
    done = subprocess.run(
        [str(ROOT / "deploy/make-bundle.sh"), "--key", str(out.with_name("release-key")),
         "--number", "1", "--out", str(out), "--machine", platform.machine()],
        capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    if done.returncode:
        raise Cannot(f"no stick: {done.stderr.strip().splitlines()[-1][:200]}")


def make_update(stick: Path, number: int) -> Path:
    """A later release with the same in it, signed by the same key."""
    first = next(stick.glob("quxiang-1-*.qxr"))
    data = first.read_bytes()
    head = parse_head(data)
    seed = read_key(stick.with_name("release-key"))
    return write_release(
        stick.parent, seed, data[len(head.text) :], number=number, version=head.manifest.version,
        machine=head.manifest.machine, pythons=head.manifest.python, room=head.manifest.room,
    )  # fmt: skip


def changes(said: str) -> int:
    """How many an installer says that it made."""
    found = re.search(r"done, (\d+) changes", said)
    need(found is not None, said)
    assert found is not None
    return int(found[1])


def check_user(tree: Tree, home: str, groups: set[str]) -> None:
    """quxiang: no root, no shell, no password, no way to become root."""
    name, _, uid, _, _, at, shell = tree.run("getent passwd quxiang").strip().split(":")
    need((name, at, shell) == ("quxiang", home, "/usr/sbin/nologin"), f"{at} {shell}")
    need(0 < int(uid) < 1000, f"uid {uid}")
    need(tree.run("getent shadow quxiang").split(":")[1] in ("!", "!!", "*", "!*"), "a password")
    has = set(tree.run("id -nG quxiang").split())
    need(groups <= has, f"groups {has}")
    need(not has & {"root", "sudo", "adm", "disk", "shadow"}, f"groups {has}")


def check_units(tree: Tree, names: list[str]) -> None:
    """They are there, those with [Install] are on, and systemd finds nothing wrong with them."""
    for name in names:
        text = tree.text(f"/etc/systemd/system/{name}")
        state = tree.run(f"systemctl is-enabled {name}", code=None).strip()
        need(state == ("enabled" if "[Install]" in text else "static"), f"{name} is {state}")
    paths = " ".join(f"/etc/systemd/system/{name.replace('@', '@sda1')}" for name in names)
    for name in names:
        if "@" in name:  # verify wants an instance
            tree.run(f"cp /etc/systemd/system/{name} /tmp/{name.replace('@', '@sda1')}")
    paths = paths.replace("/etc/systemd/system/quxiang-usb@sda1", "/tmp/quxiang-usb@sda1")
    said = tree.run(f"systemd-analyze verify --man=no {paths}", code=None)
    ours = [line for line in said.splitlines() if "quxiang" in line]
    need(not ours, "\n".join(ours))


def check_kiosk_files(tree: Tree) -> None:
    """What keeps a Pi that nobody visits alive."""
    need("RuntimeWatchdogSec=14s" in tree.text("/etc/systemd/system.conf.d/quxiang.conf"), "14 s")
    journal = tree.text("/etc/systemd/journald.conf.d/quxiang.conf")
    need("Storage=volatile" in journal and "RuntimeMaxUse=32M" in journal, journal)
    rules = tree.text("/etc/udev/rules.d/60-quxiang.rules")
    for group in re.findall(r'GROUP="(\w+)"', rules):
        tree.run(f"getent group {group}")
    if "verify" in tree.run("udevadm --help"):  # systemd 254
        tree.run("udevadm verify /etc/udev/rules.d/60-quxiang.rules")
    need(f"NTP={LOCAL}" in tree.text("/etc/systemd/timesyncd.conf.d/quxiang.conf"), "no NTP")


def install_server(tree: Tree) -> str:
    """Step 2 of the page; the administrator's password."""
    line = (f"bash ./install-server.sh --name quxiang.township --address {LOCAL} "
            "--township 青石乡 --ntp")  # fmt: skip
    said = tree.run(line, at=STICK)
    lines = said.splitlines()
    at = next((n for n, each in enumerate(lines) if "password" in each.lower()), None)
    need(at is not None and len(lines[at + 1].strip()) >= 8, f"no password was shown\n{said}")
    before = tree.snapshot("/etc", "/usr/local", "/var/lib/quxiang")
    said = tree.run("bash ./install-server.sh", at=STICK)
    need("password" not in said.lower(), "the second run made another administrator")
    same(before, tree.snapshot("/etc", "/usr/local", "/var/lib/quxiang"), "the second run")
    need(len(list((tree.folder / "opt/quxiang").glob("venv-*"))) == 2, "two environments are kept")
    check_user(tree, "/var/lib/quxiang", set())
    check_units(tree, ["quxiang-server.service", "quxiang-backup.service", "quxiang-backup.timer"])
    need("allow 192.168/16" in tree.text("/etc/chrony/conf.d/quxiang.conf"), "no time for kiosks")
    need("Storage=persistent" in tree.text("/etc/systemd/journald.conf.d/quxiang.conf"), "journal")
    return lines[(at or 0) + 1].strip()


def install_kiosk(tree: Tree, screen: bool) -> list[str]:
    """Step 3 of the page; the units."""
    more = "" if screen else " --no-screen"
    empty = tree.snapshot("/etc", "/usr/local")
    need("missing packages" in tree.run(f"bash ./install-kiosk.sh --check{more}", at=STICK), "")
    same(empty, tree.snapshot("/etc", "/usr/local"), "--check")
    line = f"bash ./install-kiosk.sh --camera 0 --ntp {LOCAL}{more}"
    need(changes(tree.run(line, at=STICK)) > 20, "hardly anything was done")
    before = tree.snapshot(*KEPT)
    need(changes(tree.run(line, at=STICK)) == 0, "the second run says that it changed something")
    same(before, tree.snapshot(*KEPT), "the second run")
    camera = "rtsp://u:p|w@10.0.0.9/cam?channel=1&subtype=0"
    need(changes(tree.run(f"{line} --camera '{camera}'", at=STICK)) == 1, "another camera")
    need(f"\nCAMERA={camera}\n" in tree.text("/etc/quxiang/kiosk.env"), "another camera")
    need(changes(tree.run("bash ./install-kiosk.sh" + more, at=STICK)) == 0, "it was left alone")
    need(f"\nCAMERA={camera}\n" in tree.text("/etc/quxiang/kiosk.env"), "it was left alone")
    check_user(tree, "/var/lib/quxiang/kiosk", {"video", "audio", "input", "gpio", "spi"})
    units = ["quxiang-kiosk.service", "quxiang-update.path", "quxiang-update.service",
             "quxiang-usb@.service"]  # fmt: skip
    units += ["quxiang-screen.service"] if screen else []
    check_units(tree, units)
    check_kiosk_files(tree)
    for path in ("/var/lib/quxiang/app", "/usr/local/bin/quxiang-kiosk"):
        said = tree.run(f"setpriv --reuid quxiang --regid quxiang --init-groups test -w {path}",
                        code=1)  # fmt: skip
        need(said == "", "the kiosk's user may change its own program")
    return units


def release_status(kiosk: Tree) -> dict[str, object]:
    """What the keeper of releases says."""
    found: dict[str, object] = json.loads(
        kiosk.run("/var/lib/quxiang/app/bin/quxiang-release status"))  # fmt: skip
    return found


def doctor(kiosk: Tree) -> dict[str, bool]:
    """What is well, by name; it must come through whatever is missing in a tree."""
    said = kiosk.run(f"{DOCTOR} --json 2>/tmp/doctor.err", code=None)
    return {each["name"]: each["ok"] for each in json.loads(said)["checks"]}


@contextmanager
def partition(folder: Path) -> Iterator[str]:
    """An empty block device of 2 GB. Raises Cannot where there are no loop devices."""
    image = folder / "partition"
    with image.open("wb") as file:
        file.truncate(2 << 30)
    made = subprocess.run(["losetup", "--find", "--show", str(image)],
                          capture_output=True, text=True)  # fmt: skip
    if made.returncode:
        raise Cannot(f"no loop device: {made.stderr.strip()}")
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()])


def move_to_partition(kiosk: Tree, device: str, screen: bool) -> None:
    """`--data-partition` on a kiosk that has run for a while: nothing of it may be lost."""
    more = "" if screen else " --no-screen"
    line = f"bash ./install-kiosk.sh --data-partition {device} --read-only{more}"
    before = kiosk.run("quxiang-kiosk status --json")
    device_id = json.loads(before)["device"]
    said = kiosk.run(line, at=STICK)
    need(changes(said) > 0 and "restart it now" in said, said)
    need(device in kiosk.run("findmnt -n -o SOURCE /var/lib/quxiang"), "it is not mounted")
    after = json.loads(kiosk.run("quxiang-kiosk status --json"))
    need(after["device"] == device_id, "the pairing did not move along")
    kiosk.run("quxiang-kiosk verify")
    hidden = kiosk.folder / "var/lib/quxiang"
    need(not any(hidden.iterdir()), "a second copy was left below the partition")
    need('overlayroot="tmpfs:recurse=0"' in kiosk.text("/etc/overlayroot.local.conf"), "overlay")
    fstab = kiosk.text("/etc/fstab")
    need("/var/lib/quxiang ext4 noatime" in fstab and "timesync none bind" in fstab, fstab)
    need(changes(kiosk.run(line, at=STICK)) == 0, "the partition again")
    need(kiosk.text("/etc/fstab") == fstab, "fstab grew")


def follow_postgresql(base: Path, stick: Path, folder: Path) -> None:
    """The part of section 2 on PostgreSQL, in a tree of its own."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(folder)], check=True)
    shutil.copytree(stick, Path(f"{folder}{STICK}"))
    with Tree(folder) as tree:
        postgresql(tree)
        tree.run("pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1,2) stop")
    shutil.rmtree(folder)


def try_suite(suite: str, url: str, folder: Path, stick: Path, sample: Path, screen: bool) -> str:
    """Everything, in trees of that suite; what was done."""
    base = folder / suite
    make_tree(base, suite, url)
    follow_postgresql(base, stick, folder / f"{suite}-postgresql")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    for role in ("server", "kiosk"):
        subprocess.run(
            ["cp", "-a", "--reflink=auto", str(base), str(folder / f"{suite}-{role}")], check=True
        )
        shutil.copytree(stick, folder / f"{suite}-{role}{STICK}")
    shutil.rmtree(base)
    began = time.monotonic()
    with (
        Tree(folder / f"{suite}-server") as server,
        Tree(folder / f"{suite}-kiosk") as kiosk,
    ):
        install_server(server)
        install_kiosk(kiosk, screen)
        if screen:
            show_screen(kiosk)
        installed = time.monotonic() - began
        server.alone()
        kiosk.alone(server)
        serving = Unit(server, "quxiang-server.service")
        serving.start(lambda: answers(server))
        pair(kiosk, server)
        desk = Desk(folder / f"{suite}-desk", server, {**environ, "QUXIANG_LANG": "en"})
        desk.enrol(sample)
        shutil.copy(sample / "footage.avi", kiosk.folder / "srv/footage.avi")
        seen = play(kiosk, screen)
        need(seen >= 2, f"{seen} of the two people of the footage were recorded")
        status = json.loads(kiosk.run("quxiang-kiosk status --json"))
        need(status["pending"] == 0, "records wait although the server answered")
        need(release_status(kiosk)["good"] == 1, "release 1 did not prove itself")
        found = doctor(kiosk)
        need(len(kiosk.text("/tmp/doctor.err").splitlines()) <= 1, kiosk.text("/tmp/doctor.err"))
        for name in ("paired", "records", "server", "release", "weights", "gallery"):
            need(found.get(name, False), f"doctor on {name}: {kiosk.run(DOCTOR, code=None)}")
        update(kiosk, server, stick, screen)
        records_and_room(kiosk, screen)
        a_year_later(kiosk)
        backup(server)
        other_disk(server)
        replace(kiosk, server, desk, screen)
        kiosk.line = []  # overlayroot comes from the mirror
        with partition(folder) as device:
            move_to_partition(kiosk, device, screen)
            kiosk.run("umount /var/lib/quxiang")
        serving.stop()
    return (f"{suite}: both installed twice in {installed:.0f} s, the second time without a change;"
            f" paired over TLS, {seen} check-ins of footage, all on the server; updated; its card"
            " moved and replaced; moved to a partition; a server on PostgreSQL")  # fmt: skip


def update(kiosk: Tree, server: Tree, stick: Path, screen: bool) -> None:
    """Section 4 of the page: from the server, then from a file in both ways."""
    for number in (2, 3, 4):
        made = make_update(stick, number)
        for tree in (server, kiosk):
            shutil.copy(made, tree.folder / STICK.lstrip("/") / made.name)
        if number == 2:
            server.run(f"quxiang-server release add {made.name} --key release.key", at=STICK)
            need(server.run("quxiang-server release list").startswith("2\t"), "it is not offered")
            kiosk.run("quxiang-kiosk update")
            came = list((kiosk.folder / "var/lib/quxiang/kiosk/update").glob("*.qxr"))
            need(len(came) == 1, "nothing came")
            kiosk.run("/var/lib/quxiang/app/bin/quxiang-release take "
                      "/var/lib/quxiang/kiosk/update")  # fmt: skip
        elif number == 3:
            kiosk.run(f"quxiang-kiosk update {made.name}", at=STICK)
            kiosk.run("/var/lib/quxiang/app/bin/quxiang-release take "
                      "/var/lib/quxiang/kiosk/update")  # fmt: skip
        else:
            kiosk.run(f"/var/lib/quxiang/app/bin/quxiang-release install {made.name}", at=STICK)
        need(release_status(kiosk)["trial"] == number, f"{release_status(kiosk)}")
        play(kiosk, screen)
        state = release_status(kiosk)
        now = (state["current"], state["good"], state["trial"])
        need(now == (number, number, None), f"{state}")
    need(release_status(kiosk)["releases"] == [3, 4], "two are kept")


def run(
    suites: list[str], screen: bool, stick: Path | None = None, *, database: bool = False
) -> str:
    """Every suite; the line to print. `database`: the part on PostgreSQL alone.

    Raises Broken and Cannot.
    """
    url = check_tools()
    there = [suite for suite in suites if has_suite(url, suite)]
    if not there:
        raise Cannot(f"the mirror has none of {', '.join(suites)}")
    with tempfile.TemporaryDirectory(prefix="quxiang-install-") as place:
        folder = Path(place)
        if stick is None:
            make_stick(folder / "stick")
            stick = folder / "stick"
        done = []
        for suite in there:
            (folder / "of" / suite).mkdir(parents=True)
            if database:
                make_tree(folder / "of" / suite / suite, suite, url)
                follow_postgresql(folder / "of" / suite / suite, stick, folder / "of/database")
                done.append(f"{suite}: a server on PostgreSQL, as the page says")
                continue
            sample = make_sample(folder / f"sample-{suite}")
            done.append(try_suite(suite, url, folder / "of" / suite, stick, sample, screen))
    lacking = "".join(f"; {suite} is not on the mirror" for suite in suites if suite not in there)
    return "; ".join(done) + lacking


def main() -> None:
    """`python -m tests.faults.install [--suite NAME]... [--screen] [--stick FOLDER]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="all, unless named")
    parser.add_argument("--screen", action="store_true", help="with cage and Chromium, 1 GB more")
    parser.add_argument("--postgresql", action="store_true", help="that part of the page alone")
    parser.add_argument(
        "--stick",
        type=Path,
        metavar="FOLDER",
        help="one that make-bundle.sh made before, release-key beside it",
    )
    args = parser.parse_args()
    began = time.monotonic()
    # Ended from outside, it still lets go of mounts, loop devices and a gigabyte of trees.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        said = run(args.suite or list(SUITES), args.screen, args.stick, database=args.postgresql)
    except Broken as broken:
        print(f"BROKEN: {broken}", file=sys.stderr)
        sys.exit(1)
    except Cannot as why:
        print(f"not tried: {why}", file=sys.stderr)
        sys.exit(SKIPPED)
    print(f"{said} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()

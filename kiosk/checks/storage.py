"""The card: room, read-only, the file system's own errors, wear, and how it was laid out."""

from __future__ import annotations

from pathlib import Path

from kiosk.checks.machine import Check, Machine, State
from kiosk.condition import LOW_MB

LOW_FILES = 1000
"""Fewer files that can still be made than this stop a kiosk as a full card does."""
WORN, WORN_OUT = 8, 10
"""Tenths of its life that an eMMC has used up (JEDEC eMMC 5.1, DEVICE_LIFE_TIME_EST)."""
MEMORY = ("tmpfs", "ramfs", "overlay")
REPLACE = (
    "请先备份数据文件夹，再尽快更换存储卡（docs/deploy.md 第 7 节）",
    "copy the data folder, then replace the card soon (docs/deploy.md, part 7)",
)


def folder(machine: Machine, data: Path) -> Check:
    """The kiosk's folder can be written."""
    if not data.is_dir():
        return Check(
            "folder",
            State.FAIL,
            (f"{data} 不存在", f"{data} does not exist"),
            ("请先配对", "pair first"),
        )
    probe = data / ".doctor"
    probe.write_bytes(b"quxiang")
    probe.unlink()
    return Check("folder", State.OK, ("可写", "writable"))


def disk(machine: Machine, data: Path) -> Check:
    """Room for records and for files."""
    room = machine.room(data if data.is_dir() else Path.home())
    free = room.f_bavail * room.f_frsize // 1_000_000
    told = (f"剩余 {free} MB", f"{free} MB free")
    if free < LOW_MB:
        advice = ("请清理空间或换大卡", "free some space, or put in a larger card")
        return Check("disk", State.FAIL, told, advice)
    if room.f_files > 0 and room.f_favail < LOW_FILES:
        told = (f"只能再建 {room.f_favail} 个文件", f"room for {room.f_favail} more files only")
        return Check(
            "disk", State.FAIL, told, ("请删除多余的小文件", "delete small files nobody needs")
        )
    return Check("disk", State.OK, told)


def mount(machine: Machine, data: Path) -> Check:
    """The file system with the records takes writes, and is none that goes with the power."""
    held = machine.mount_of(data)
    if held is None:
        return Check(
            "mount", State.ABSENT, ("本机没有挂载信息", "this machine does not tell its mounts")
        )
    device, place, kind, options = held
    if "ro" in options:
        return Check(
            "mount",
            State.FAIL,
            (f"{place} 已变为只读", f"{place} has become read-only"),
            (
                "请重启；若再次出现，存储卡已损坏，请更换（docs/deploy.md 第 7 节）",
                "restart; if it comes back the card is broken, replace it (docs/deploy.md, 7)",
            ),
        )
    if kind in MEMORY and (machine.is_pi or machine.installed):
        return Check(
            "mount",
            State.FAIL,
            (
                f"记录在内存里（{kind}），断电即失",
                f"records lie in memory ({kind}), gone with the power",
            ),
            (
                "请关闭 raspi-config 的覆盖文件系统，改用 install-kiosk.sh --read-only",
                "turn the overlay of raspi-config off and use install-kiosk.sh --read-only",
            ),
        )
    return Check("mount", State.OK, (f"{device}，{kind}，可写", f"{device}, {kind}, takes writes"))


def card_errors(machine: Machine, data: Path) -> Check:
    """What ext4 has counted since it was last checked."""
    counts: dict[str, int] = {}
    for file in machine.glob("/sys/fs/ext4/*/errors_count"):
        text = machine.read(f"/{file.relative_to(machine.root)}") or ""
        if text.isdecimal():
            counts[file.parent.name] = int(text)
    if not counts:
        return Check("card_errors", State.ABSENT, ("本机没有 ext4", "no ext4 here"))
    bad = {name: count for name, count in counts.items() if count}
    if not bad:
        return Check(
            "card_errors", State.OK, ("文件系统没有出错", "the file system counted no error")
        )
    listed = ", ".join(f"{name} {count}" for name, count in sorted(bad.items()))
    held = machine.mount_of(data)
    ours = held is not None and held[0].rsplit("/", 1)[-1] in bad
    return Check(
        "card_errors",
        State.FAIL if ours else State.WARN,
        (f"文件系统出过错：{listed}", f"the file system counted errors: {listed}"),
        REPLACE,
    )


def wear(machine: Machine, data: Path) -> Check:
    """How much of its life a soldered or plugged memory says that it has used."""
    worst, end = 0, 0
    for device in machine.glob("/sys/block/mmcblk*/device"):
        at = f"/{device.relative_to(machine.root)}"
        worst = max([worst, *_hex(machine.read(f"{at}/life_time"))])
        end = max([end, *_hex(machine.read(f"{at}/pre_eol_info"))])
    if not worst and not end:
        return Check("wear", State.ABSENT, ("存储卡不报告磨损", "the card does not tell its wear"))
    told = (
        f"已用寿命约 {min(worst, 10) * 10}%",
        f"about {min(worst, 10) * 10}% of its life is used",
    )
    if worst >= WORN_OUT or end >= 3:
        return Check("wear", State.FAIL, told, REPLACE)
    if worst >= WORN or end == 2:
        advice = ("请备好新卡，下次来时更换", "bring a new one on the next visit")
        return Check("wear", State.WARN, told, advice)
    return Check("wear", State.OK, told)


def _hex(text: str | None) -> list[int]:
    try:
        return [int(word, 16) for word in (text or "").split()]
    except ValueError:
        return []


def layout(machine: Machine, data: Path) -> Check:
    """Read-only root and data partition are in force where they were installed."""
    if not machine.installed:
        return Check("layout", State.ABSENT, ("不是安装的终端", "not an installed kiosk"))
    fstab = machine.read("/etc/fstab") or ""
    apart = any(
        words[1:2] == ["/var/lib/quxiang"]
        for words in (line.split() for line in fstab.splitlines() if not line.startswith("#"))
    )
    held = machine.mount_of(Path("/var/lib/quxiang"))
    if apart and (held is None or held[1] != "/var/lib/quxiang"):
        return Check(
            "layout",
            State.FAIL,
            ("数据分区没有挂载", "the data partition is not mounted"),
            (
                "请运行 sudo mount /var/lib/quxiang 并检查存储卡",
                "run sudo mount /var/lib/quxiang and check the card",
            ),
        )
    wanted = "overlayroot=" in (machine.read("/etc/overlayroot.local.conf") or "")
    root = machine.mount_of(Path("/"))
    covered = root is not None and (root[2] == "overlay" or "ro" in root[3])
    if wanted and not covered:
        return Check(
            "layout",
            State.WARN,
            ("只读根分区已设置但没有生效", "the read-only root is set but not in force"),
            ("请运行 sudo update-initramfs -u 后重启", "run sudo update-initramfs -u and restart"),
        )
    if wanted:
        return Check(
            "layout", State.OK, ("根分区只读，记录在单独分区", "root read-only, records apart")
        )
    if apart:
        return Check(
            "layout", State.OK, ("根分区可写，记录在单独分区", "root writable, records apart")
        )
    return Check(
        "layout",
        State.OK,
        (
            "根分区可写，记录也在其中（未用 --read-only 安装）",
            "root writable, records on it (installed without --read-only)",
        ),
    )

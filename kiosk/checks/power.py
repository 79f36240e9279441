"""Power, heat, watchdog, the clock chip and who sets the clock."""

from __future__ import annotations

from pathlib import Path

from hardware.lookout import HOT_C
from kiosk.checks.machine import Check, Machine, State
from kiosk.views import WEAK, heat

THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
OFF_S = 120
"""A clock chip that differs by more from the system's clock is told."""
EMPTY_S = 1_735_689_600
"""The first second of 2025: a chip that shows less has lost its time."""
PLUG = ("请换用原装电源和短粗的电源线", "use the original power supply and a short, thick cable")


def _bits(machine: Machine) -> int | None:
    """The firmware's bits: 0 under-voltage, 1 capped, 2 throttled, 3 soft limit; 16 higher: since
    the start (Raspberry Pi documentation, "vcgencmd", get_throttled)."""
    text = machine.read(THROTTLED)
    if text is None and machine.is_pi:
        text = machine.run(["vcgencmd", "get_throttled"])
    try:
        return int((text or "").strip().removeprefix("throttled="), 16)
    except ValueError:
        return None


def power(machine: Machine) -> Check:
    """The supply's voltage, now and since the start."""
    bits = _bits(machine)
    if bits is None:
        return Check(
            "power", State.ABSENT, ("本机不报告供电", "this machine does not tell its supply")
        )
    if bits & 1:
        return Check("power", State.FAIL, WEAK.what, WEAK.advice)
    if bits & 1 << 16:
        told = ("开机后曾经供电不足", "the supply was too weak since the start")
        return Check("power", State.WARN, told, PLUG)
    return Check("power", State.OK, ("供电正常", "the supply is good"))


def heated(machine: Machine) -> Check:
    """Temperature, and whether the machine has slowed down."""
    bits = _bits(machine) or 0
    text = machine.read("/sys/class/thermal/thermal_zone0/temp") or ""
    celsius = int(text) / 1000 if text.lstrip("-").isdecimal() else None
    if celsius is None and not bits:
        return Check(
            "heat", State.ABSENT, ("本机不报告温度", "this machine does not tell its heat")
        )
    shown = "?" if celsius is None else f"{celsius:.0f}"
    told = (f"{shown} °C", f"{shown} °C")
    hot = heat(celsius)
    if bits & 0b1110 or (celsius is not None and celsius >= HOT_C):
        return Check("heat", machine.missing(State.FAIL), hot.what, hot.advice)
    if bits & 0b1110 << 16:
        told = (
            f"开机后曾因过热放慢，现在 {shown} °C",
            f"slowed down by heat since the start, now {shown} °C",
        )
        return Check(
            "heat", State.WARN, told, ("请遮阳、通风、清灰", "give it shade and air; dust it")
        )
    return Check("heat", State.OK, told)


def watchdog(machine: Machine) -> Check:
    """What restarts a hung kernel, and a hung kiosk."""
    if not machine.installed:
        return Check("watchdog", State.ABSENT, ("不是安装的终端", "not an installed kiosk"))
    if not machine.path("/dev/watchdog").exists():
        return Check(
            "watchdog",
            State.WARN,
            ("没有看门狗：系统死机后不会自己重启", "no watchdog: a hung system stays hung"),
            (
                "请在 config.txt 写入 dtparam=watchdog=on 后重启",
                "write dtparam=watchdog=on into config.txt and restart",
            ),
        )
    asked = ["systemctl", "show", "--value", "-p"]
    kernel = machine.run([*asked, "RuntimeWatchdogUSec"])
    kiosk = machine.run([*asked, "WatchdogUSec", "quxiang-kiosk.service"])
    if kernel is None or kiosk is None:
        return Check("watchdog", State.ABSENT, ("systemd 没有运行", "systemd does not run here"))
    off = ("", "0", "infinity")
    if kernel in off or kiosk in off:
        return Check(
            "watchdog",
            State.WARN,
            (
                f"看门狗没有开：系统 {kernel}，终端 {kiosk}",
                f"a watchdog is off: system {kernel}, kiosk {kiosk}",
            ),
            ("请重新运行 install-kiosk.sh 后重启", "run install-kiosk.sh again and restart"),
        )
    return Check(
        "watchdog", State.OK, (f"系统 {kernel}，终端 {kiosk}", f"system {kernel}, kiosk {kiosk}")
    )


def rtc(machine: Machine) -> Check:
    """The clock chip that keeps the time without power."""
    if not machine.path("/dev/rtc0").exists():
        return Check(
            "rtc",
            machine.missing(State.WARN),
            ("没有硬件时钟", "no hardware clock"),
            (
                "断电断网后时间会存疑；请加装 DS3231，并用 install-kiosk.sh --rtc ds3231",
                "after a power cut without network times are doubtful; fit a DS3231 and run "
                "install-kiosk.sh --rtc ds3231",
            )
            if machine.missing(State.WARN) is State.WARN
            else ("", ""),
        )
    text = machine.read("/sys/class/rtc/rtc0/since_epoch") or ""
    lines = (machine.read("/etc/adjtime") or "").splitlines()
    if not text.isdecimal() or lines[2:3] == ["LOCAL"]:
        return Check("rtc", State.OK, ("有硬件时钟", "a hardware clock is there"))
    if int(text) < EMPTY_S:
        return Check(
            "rtc",
            State.FAIL if machine.installed else State.WARN,
            ("硬件时钟没电", "the hardware clock has lost its time"),
            (
                "请换纽扣电池，联网对时后运行 sudo hwclock -w",
                "change its battery, let the network set the time, then run sudo hwclock -w",
            ),
        )
    off = round(int(text) - machine.now_s())
    if abs(off) > OFF_S:
        told = (f"硬件时钟偏差 {off} 秒", f"the hardware clock is off by {off} s")
        advice = (
            "系统时间正确时运行 sudo hwclock -w",
            "while the system's time is right run sudo hwclock -w",
        )
        return Check("rtc", State.WARN, told, advice)
    return Check("rtc", State.OK, ("硬件时钟准确", "the hardware clock is right"))


def timesync(machine: Machine) -> Check:
    """Whether something sets the clock, as the kernel knows it."""
    told = machine.run(["timedatectl", "show", "--value", "-p", "NTPSynchronized"])
    if told not in ("yes", "no"):
        tracking = machine.run(["chronyc", "-c", "tracking"])
        if tracking is None:
            return Check(
                "timesync", State.ABSENT, ("没有对时程序可问", "nothing here tells of time sync")
            )
        # The last field is the leap status.
        told = "no" if tracking.rsplit(",", 1)[-1] == "Not synchronised" else "yes"
    if told == "yes":
        return Check("timesync", State.OK, ("系统时间已对时", "the system's clock is synchronised"))
    return Check(
        "timesync",
        machine.missing(State.WARN),
        ("系统时间没有对时", "the system's clock is not synchronised"),
        (
            "请检查网络，或用 install-kiosk.sh --ntp 服务器地址",
            "check the network, or run install-kiosk.sh --ntp SERVER",
        )
        if machine.missing(State.WARN) is State.WARN
        else ("", ""),
    )


def release(machine: Machine, app: Path) -> Check:
    """The key by which updates are checked, and how the last one went."""
    from kiosk.releases import App

    if not machine.installed:
        return Check("release", State.ABSENT, ("不是安装的终端", "not an installed kiosk"))
    releases = App(machine.path(app))
    key = machine.read(app / "release.key")
    if not key:
        return Check(
            "release",
            State.FAIL,
            ("没有发布密钥，不会接受任何更新", "there is no release key: no update is taken"),
            ("请从安装盘重新运行 install-kiosk.sh", "run install-kiosk.sh again from the stick"),
        )
    current, state = releases.current(), releases.state()
    if not releases.whole(current):
        return Check(
            "release",
            State.FAIL,
            ("当前版本不完整", "the current release is not whole"),
            ("请从安装盘重新运行 install-kiosk.sh", "run install-kiosk.sh again from the stick"),
        )
    failed = [number for number in state.failed if number > (current or 0)]
    if failed:
        return Check(
            "release",
            State.WARN,
            (
                f"版本 {current} 在运行，版本 {failed[-1]} 曾被退回",
                f"release {current} runs, {failed[-1]} was taken back",
            ),
            ("请把日志交给维护人员", "send the journal to whoever keeps the releases"),
        )
    return Check(
        "release",
        State.OK,
        (f"版本 {current}，密钥已固定", f"release {current}, the key is pinned"),
    )

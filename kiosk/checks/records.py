"""The paired kiosk itself: records, outbox, server, certificate, gallery, clock, lamps, PINs."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from attendance.errors import ChainBroken
from hardware.drivers import open_lamps
from hardware.wiring import Wiring
from kiosk.checks.machine import Check, Machine, State
from kiosk.clock import SystemClock
from kiosk.commands import driver_of
from kiosk.condition import WAITING_S, expiring, unreadable
from kiosk.config import is_running, load_config
from kiosk.errors import ServerUnreachable
from kiosk.link import presented
from kiosk.people import People
from kiosk.site import Site
from kiosk.troubles import noted
from kiosk.vault import gallery_taken

SOON_S = 30 * 86_400
"""A certificate that ends this soon is told."""


def records(site: Site) -> Check:
    """The chain, from its first record to its last."""
    try:
        count = site.store.verify()
    except ChainBroken as error:
        return Check(
            "records",
            State.FAIL,
            (f"记录链有误（{error}）", f"the chain is broken ({error})"),
            ("请保留存储卡并联系管理员", "keep the card and call the office"),
        )
    pending = site.store.pending()
    found = (f"{count} 条完好，{pending} 条待发", f"{count} sound, {pending} to send")
    return Check("records", State.OK, found)


def outbox(site: Site) -> Check:
    """How long the oldest record has waited for the server."""
    now = SystemClock().read()
    waited = site.store.oldest_waiting_s(now, now.wall_ms - (site.clock_state(now).off_ms or 0))
    if not waited:
        return Check("outbox", State.OK, ("没有待发记录", "nothing waits"))
    days, hours = divmod(waited // 3600, 24)
    found = (f"最早的记录已等 {days} 天 {hours} 小时", f"the oldest has waited {days} d {hours} h")
    if waited < WAITING_S:
        return Check("outbox", State.OK, found)
    advice = (
        "请检查网络，并把链头码抄入纸质台账",
        "check the network, and write the head code into the paper log",
    )
    return Check("outbox", State.FAIL, found, advice)


def server(site: Site) -> Check:
    """One exchange. Raises what stopped it, with its own advice."""
    client = site.client(SystemClock())
    try:
        report = client.exchange()
    finally:
        client.close()
    return Check(
        "server",
        State.OK,
        (f"已同步，{report.pending} 条待发", f"synced, {report.pending} to send"),
    )


def certificate(site: Site, machine: Machine, seen: Callable[[str], bytes] = presented) -> Check:
    """The server's certificate is the pinned one, or the file that it is checked against is good.

    Comes after `server`, whose exchange takes a renewed one that our server signed.
    """
    config = load_config(site.folder)
    if urlsplit(config.server).scheme != "https":
        found = ("服务器在本机，不用证书", "the server is on this machine, without one")
        return Check("certificate", State.ABSENT, found)
    if config.pin is not None:
        try:
            digest = seen(config.server).hex()
        except ServerUnreachable:
            return Check(
                "certificate", State.ABSENT, ("连不上服务器，未比对", "not compared: no connection")
            )
        if digest != config.pin:
            return Check(
                "certificate",
                State.FAIL,
                (
                    f"服务器出示了另一张证书（{digest[:16]}）",
                    f"another certificate is presented ({digest[:16]})",
                ),
                (
                    "可能有人冒充：请核对网络和服务器，不要重新配对",
                    "somebody may stand between: look at network and server before you pair anew",
                ),
            )
        return Check(
            "certificate",
            State.OK,
            (f"与配对时一致（{digest[:16]}）", f"the pinned one ({digest[:16]})"),
        )
    if config.ca is None:
        return Check(
            "certificate", State.OK, ("由系统的证书核对", "checked by the system's authorities")
        )
    text = machine.run(["openssl", "x509", "-noout", "-enddate", "-in", config.ca])
    try:
        ends = ssl.cert_time_to_seconds((text or "").removeprefix("notAfter="))
    except ValueError:
        return Check(
            "certificate",
            State.FAIL,
            (f"读不了证书 {config.ca}", f"the certificate {config.ca} cannot be read"),
            ("请从服务器复制 tls.crt 后重新配对", "copy tls.crt from the server and pair anew"),
        )
    days = int((ends - machine.now_s()) // 86_400)
    if days < 0:
        return Check(
            "certificate",
            State.FAIL,
            (f"证书已过期 {-days} 天", f"days since the certificate ended: {-days}"),
            ("请在服务器上更新证书并重新配对", "renew it on the server and pair anew"),
        )
    found = (f"证书还有 {days} 天到期", f"days until the certificate ends: {days}")
    if days * 86_400 < SOON_S:
        return Check(
            "certificate", State.WARN, found, ("请在服务器上更新证书", "renew it on the server")
        )
    return Check("certificate", State.OK, found)


def rejected(site: Site) -> Check:
    """The visible pile."""
    pile = site.store.rejected()
    if not pile:
        return Check("rejected", State.OK, ("没有被退回的记录", "no record was rejected"))
    last = pile[-1]
    return Check(
        "rejected",
        State.FAIL,
        (
            f"{len(pile)} 条记录被服务器退回，最近第 {last.seq} 条（{last.why}）",
            f"rejected records: {len(pile)}, last number {last.seq} ({last.why})",
        ),
        ("请联系管理员", "call the office"),
    )


def gallery(site: Site) -> Check:
    """The gallery in force and how long its manifest lasts."""
    contents, manifest = site.vault.contents(), site.vault.manifest()
    trouble = unreadable(site.vault.version, gallery_taken(site.store))
    if trouble is not None:
        return Check("gallery", State.FAIL, trouble.what, trouble.advice)
    if contents is None or manifest is None:
        return Check(
            "gallery",
            State.FAIL,
            ("等待登记台", "waiting for the enrolment desk"),
            (
                "请在登记台运行 quxiang-enroll sync，或用 U 盘导入",
                "run quxiang-enroll sync there, or bring a USB file",
            ),
        )
    now_ms = SystemClock().read().wall_ms
    trouble = expiring(manifest.expires_ms, now_ms)
    if trouble is not None:
        over = now_ms >= manifest.expires_ms
        return Check("gallery", State.FAIL if over else State.WARN, trouble.what, trouble.advice)
    days = (manifest.expires_ms - now_ms) // 86_400_000
    return Check(
        "gallery",
        State.OK,
        (
            f"版本 {contents.version}，{len(contents.people)} 人，清单还有 {days} 天",
            f"version {contents.version}, people: {len(contents.people)}, days left: {days}",
        ),
    )


def pins(people: People) -> Check:
    """Everybody has a way in besides the face."""
    expected = [person for person in people.all if person.expected]
    without = [person.name for person in expected if not person.has_pin]
    if not expected:
        return Check("pins", State.ABSENT, ("还没有人员", "nobody is known yet"))
    if without:
        rest = len(without) - 5
        listed = (
            "、".join(without[:5]) + (f" 等 {len(without)} 人" if rest > 0 else ""),
            ", ".join(without[:5]) + (f" and {rest} more" if rest > 0 else ""),
        )
        return Check(
            "pins",
            State.WARN,
            (
                f"没有密码，认不出脸时无法签到：{listed[0]}",
                f"no PIN, and so no second way in: {listed[1]}",
            ),
            ("请在登记台补设密码", "set one at the enrolment desk"),
        )
    count = len(expected)
    return Check("pins", State.OK, (f"人人有密码（{count} 人）", f"everybody has a PIN ({count})"))


def clock(site: Site) -> Check:
    """What the server's last time proof says of the wall clock."""
    state = site.clock_state(SystemClock().read())
    if state.off_ms is None:
        return Check(
            "clock",
            State.FAIL,
            ("开机后还没有与服务器对时", "no time proof since the machine started"),
            ("请接通网络", "connect the network"),
        )
    if state.doubtful:
        seconds = state.off_ms // 1000
        found = (f"时钟偏差 {seconds} 秒", f"the clock is off by {seconds} s")
        return Check("clock", State.FAIL, found, ("请校时", "set it"))
    return Check("clock", State.OK, (f"偏差 {state.off_ms} 毫秒", f"off by {state.off_ms} ms"))


def wired(wiring: Wiring | None) -> Check:
    """The wiring file, which was read without a fault."""
    if wiring is None:
        return Check("wiring", State.ABSENT, ("没有接线文件", "there is no wiring file"))
    count = len(wiring.lamps) + len(wiring.pixels)
    found = (f"{wiring.driver}，写明 {count} 盏灯", f"{wiring.driver}, lamps named: {count}")
    return Check("wiring", State.OK, found)


def lamps(site: Site, wiring: Wiring | None) -> Check:
    """The lamp board opens, or shows what it should. Raises LampError."""
    driver = driver_of(wiring)
    if driver == "screen":
        found = ("没有接线文件，灯只画在屏幕上", "no wiring file: lamps are drawn on the screen")
        return Check("lamps", State.ABSENT, found)
    if is_running(site.folder):
        shown = site.store.meta("lamps") or "?"
        found = (f"运行中：{shown}", f"running: {shown}")
        if "unknown" not in shown:
            return Check("lamps", State.OK, found)
        advice = ("请看屏幕上的提示，检查接线", "see what the screen says, and check the wires")
        return Check("lamps", State.FAIL, found, advice)
    ids = [person.official for person in site.people().all]
    with open_lamps(driver, ids, wiring) as board:
        wired = sum(board.has(lamp) for lamp in board.lamps)
    return Check("lamps", State.OK, (f"{wired} 盏已接线", f"{wired} wired"))


def kiosk(site: Site, machine: Machine) -> Check:
    """Whether it runs, and what it says itself is wrong."""
    if not is_running(site.folder):
        if not machine.installed:
            return Check("kiosk", State.ABSENT, ("现在没有运行", "it does not run now"))
        return Check(
            "kiosk",
            State.FAIL,
            ("终端没有运行", "the kiosk does not run"),
            (
                "请看 sudo journalctl -u quxiang-kiosk，再运行 systemctl restart",
                "see sudo journalctl -u quxiang-kiosk, then systemctl restart it",
            ),
        )
    troubles = noted(site.store.meta("troubles"))
    if not troubles:
        return Check("kiosk", State.OK, ("运行正常", "it runs well"))
    return Check(
        "kiosk",
        State.FAIL,
        (
            "屏幕上提示：" + "；".join(each["what_zh"] for each in troubles),
            "its screen says: " + "; ".join(each["what_en"] for each in troubles),
        ),
        (troubles[0]["advice_zh"], troubles[0]["advice_en"]),
    )

"""Findings that the server opens by itself where a kiosk's chain shows that something is wrong.

They say so in both languages, a line each: nobody's typed text has a second line.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from server.models import Device, Finding, FindingEvent
from server.rules.findings import may_follow, state

#: A place in a kiosk's chain: epoch and number.
Place = tuple[int, int]


def forked(session: Session, device: Device, place: Place, now: datetime) -> Finding:
    """Opens a finding: at that record, at the latest, the kiosk showed another history."""
    at = "{}/{}".format(*place)
    return _open(
        session,
        device,
        f"终端 {device.id} 出现两份历史：最迟自记录 {at} 起与服务器所存不同。另一份已搁置，不计入。"
        "请查明存储卡为何回退，再用 quxiang-server device settle 处理。",
        f"Kiosk {device.id} showed two histories: from record {at} on, at the latest, it differs "
        "from what the server holds. The other one is set aside and not counted. Ask why its card "
        "went back, then settle it with quxiang-server device settle.",
        now,
    )


def parted_earlier(session: Session, device: Device, place: Place, now: datetime) -> None:
    """Notes on that finding that the histories part before the record that it names.

    Opens it where there is none: the fork was seen by an earlier release.
    """
    found = session.scalars(
        select(Finding)
        .where(
            Finding.township_id == device.township_id,
            Finding.by == _who(device),
            Finding.kind == "device",
            Finding.at_ms >= (device.fork_ms or 0),
        )
        .order_by(Finding.id.desc())
        .limit(1)
    ).first()
    if found is None:
        forked(session, device, place, now)
        return
    steps = select(FindingEvent.what).where(
        FindingEvent.township_id == device.township_id, FindingEvent.finding_id == found.id
    )
    if not may_follow(state(session.scalars(steps.order_by(FindingEvent.id)).all()), "note"):
        return
    at = "{}/{}".format(*place)
    row = FindingEvent(
        township_id=device.township_id, finding_id=found.id, what="note", by=_who(device),
        text=f"两份历史最迟自记录 {at} 起不同。\n"
        f"The two histories differ from record {at} on, at the latest.",
        at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)


def lost(session: Session, device: Device, first: Place, last: Place, now: datetime) -> Finding:
    """Opens a finding: the kiosk's card no longer had these records, which the server holds."""
    span = "{}/{} - {}/{}".format(*first, *last)
    return _open(
        session,
        device,
        f"终端 {device.id} 的存储卡缺少记录 {span}，服务器仍有这些记录；终端已另起纪元。"
        "最后一次上传之后所记的可能已丢失。请查明原因：恢复过旧镜像，或存储卡损坏。",
        f"The card of kiosk {device.id} no longer had the records {span}, which the server holds; "
        "the kiosk went on in a new epoch. What it recorded after its last upload may be lost. "
        "Ask why: an old image was restored, or the card fails.",
        now,
    )


def lost_at_both_ends(
    session: Session, device: Device, first: Place, epoch: int, now: datetime
) -> Finding:
    """Opens a finding: records from `first` on until the epoch are at neither kiosk nor server."""
    at = "{}/{}".format(*first)
    return _open(
        session,
        device,
        f"终端 {device.id} 的纪元 {epoch} 接在服务器没有的记录之后：存储卡和服务器都恢复过旧状态，"
        f"自 {at} 起至 {epoch}/1 之前的记录两边都已丢失。核查之前该站点这些天不判缺勤、不判迟到："
        "请对照纸质记录，需要计入的提出更正，再在“站点”页的“搁置”一栏点开核查。",
        f"Kiosk {device.id} goes on in epoch {epoch} after records that the server does not have: "
        f"card and server were both put back, and what was recorded from {at} on until {epoch}/1 "
        "is lost at both. Until it is reviewed nobody is absent or late there on those days: "
        "compare the paper log, propose corrections for what is to count, then review it "
        "(Sites, the link under Set aside).",
        now,
    )


def _who(device: Device) -> str:
    return f"device:{device.id}"


def _open(session: Session, device: Device, zh: str, en: str, now: datetime) -> Finding:
    row = Finding(
        township_id=device.township_id, kind="device", day=day_of(to_ms(now)).isoformat(),
        site_id=device.site_id, text=f"{zh}\n{en}", by=_who(device), at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    return row

"""Withdrawals of consent and what kiosks confirmed of them, for supervisors."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import from_ms
from attendance.records import decode_record
from server.models import Official, RecordRow, Site, Township, WithdrawalRow


@dataclass(frozen=True)
class Receipt:
    """A kiosk's word that a face is gone since the manifest `version`; the desk checks it."""

    site: str
    device: str
    version: int
    at: datetime


@dataclass(frozen=True)
class Withdrawn:
    """One withdrawal and the receipts that came between it and that person's next one."""

    official: str
    name: str
    at: datetime
    receipts: tuple[Receipt, ...]


def withdrawals(session: Session, township: Township, most: int = 200) -> list[Withdrawn]:
    """The newest withdrawals first, each with its own receipts: none stands for another."""
    asked = session.execute(
        select(WithdrawalRow.official, WithdrawalRow.at_ms, Official.name)
        .outerjoin(
            Official,
            (Official.official == WithdrawalRow.official)
            & (Official.township_id == WithdrawalRow.township_id),
        )
        .where(WithdrawalRow.township_id == township.id)
        .order_by(WithdrawalRow.at_ms.desc(), WithdrawalRow.id.desc())
        .limit(most)
    ).all()
    times: dict[str, list[int]] = {}
    for official, at_ms, _ in reversed(asked):
        times.setdefault(official, []).append(at_ms)
    found: dict[tuple[str, int], list[Receipt]] = {}
    rows = session.execute(
        select(RecordRow.official, RecordRow.device_id, RecordRow.payload, RecordRow.received_ms,
               Site.name)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(RecordRow.township_id == township.id, RecordRow.kind == "erasure")
        .order_by(RecordRow.id)
    )  # fmt: skip
    for who, device, payload, received_ms, site in rows:
        before = times.get(who or "", [])
        place = bisect_right(before, received_ms)
        if place == 0:
            continue
        version = decode_record(payload).gallery or 0
        receipt = Receipt(site or "", device, version, from_ms(received_ms))
        found.setdefault((who or "", before[place - 1]), []).append(receipt)
    return [
        Withdrawn(official, name or "", from_ms(at_ms), tuple(found.get((official, at_ms), ())))
        for official, at_ms, name in asked
    ]

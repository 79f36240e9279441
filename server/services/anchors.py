"""Time proofs: what the server offers with each contact, and what it later knows from them."""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.clock import (
    WALL_TOLERANCE_MS,
    Anchor,
    Estimate,
    estimate,
    from_anchor,
)
from attendance.days import to_ms
from attendance.records import Record
from server.models import Contact, Device

#: The round trip of an anchor that the kiosk has not reported yet is taken to be this long: a
#: kiosk waits 5 s for the connection and 30 s for the answer, and has gone on since.
UNREPORTED_RTT_NS = 35_000_000_000
#: Contacts that change nothing are kept at most this often, milliseconds.
QUIET_MS = 600_000
#: Proofs within a batch's span of one boot that are looked at.
_MAX_PROOFS = 2_000


def offer(
    secret: bytes, device: str, boot_id: str, boottime_ns: int, now: datetime
) -> wire.AnchorOffer:
    """The server's half of a proof. Its id carries it, so that it can be read back unstored."""
    server_ms = to_ms(now)
    mac = _mac(secret, device, boot_id, boottime_ns, server_ms)
    return wire.AnchorOffer(
        id=f"{server_ms:x}.{boottime_ns:x}.{mac}",
        server_ms=server_ms,
        boot_id=boot_id,
        boottime_ns=boottime_ns,
    )


def read_offer(secret: bytes, device: str, boot_id: str, anchor_id: str) -> tuple[int, int] | None:
    """`(server_ms, boottime_ns)` of an anchor that this server gave this device in that boot."""
    try:
        first, second, mac = anchor_id.split(".")
        server_ms, boottime_ns = int(first, 16), int(second, 16)
    except ValueError:
        return None
    genuine = _mac(secret, device, boot_id, boottime_ns, server_ms)
    if not hmac.compare_digest(mac.encode(), genuine.encode()):
        return None
    return server_ms, boottime_ns


def _mac(secret: bytes, device: str, boot_id: str, boottime_ns: int, server_ms: int) -> str:
    message = f"quxiang/anchor/1\n{device}\n{boot_id}\n{boottime_ns}\n{server_ms}"
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()[:20]


def note_contact(
    session: Session, device: Device, asked: wire.CursorRequest, now: datetime, secret: bytes
) -> bool:
    """Keeps a contact as evidence where it says something new; whether it may be believed at all.

    A request whose boot clock runs backwards, or of a boot that is over, is an old one sent again:
    it would prove that records are younger than they are.
    """
    now_ms = to_ms(now)
    mine = Contact.device_id == device.id
    last = session.scalar(select(Contact).where(mine).order_by(Contact.id.desc()).limit(1))
    if last is not None:
        if asked.boot_id == last.boot_id:
            if asked.boottime_ns < last.boottime_ns:
                return False
        elif session.scalar(
            select(Contact.id).where(mine, Contact.boot_id == asked.boot_id).limit(1)
        ):
            return False
    proof = None
    if asked.anchor is not None and asked.rtt_ns is not None:
        for boot_id in {asked.boot_id, asked.boot_id if last is None else last.boot_id}:
            read = read_offer(secret, device.id, boot_id, asked.anchor)
            if read is not None:
                proof = (*read, boot_id)
    quiet = (
        last is not None
        and last.boot_id == asked.boot_id
        and (last.epoch, last.seq) == (asked.epoch, asked.seq)
        and now_ms - last.server_ms < QUIET_MS
        and (proof is None or last.proof_boot_id == proof[2])
    )
    if not quiet:
        session.add(
            Contact(
                township_id=device.township_id,
                device_id=device.id,
                server_ms=now_ms,
                boot_id=asked.boot_id,
                boottime_ns=asked.boottime_ns,
                epoch=asked.epoch,
                seq=asked.seq,
                pending=asked.pending,
                proof_server_ms=None if proof is None else proof[0],
                proof_boottime_ns=None if proof is None else proof[1],
                proof_boot_id=None if proof is None else proof[2],
                proof_rtt_ns=None if proof is None else asked.rtt_ns,
            )
        )
    return True


@dataclass(frozen=True)
class _Proofs:
    """Anchors of one boot in order of the boot clock."""

    times: list[int]
    anchors: list[Anchor]

    def best(self, boottime_ns: int) -> Anchor | None:
        """The neighbour, before or after, that leaves the narrower interval."""
        at = bisect_left(self.times, boottime_ns)
        near = self.anchors[max(at - 1, 0) : at + 1]
        if len(near) == 1:
            return near[0]
        return min(near, key=lambda a: from_anchor(a, boottime_ns).width_ms, default=None)


class Timeline:
    """What is known of when the records `first..last` of an epoch were made."""

    def __init__(
        self,
        session: Session,
        device: Device,
        epoch: int,
        records: list[Record],
        received_ms: int,
    ) -> None:
        first, last = records[0].seq, records[-1].seq
        mine = Contact.device_id == device.id
        # Epoch numbers rise, so what belongs to an earlier epoch came before.
        earlier = session.scalar(
            select(func.max(Contact.server_ms)).where(
                mine,
                or_(Contact.epoch < epoch, (Contact.epoch == epoch) & (Contact.seq < first)),
            )
        )
        later = session.scalar(
            select(func.min(Contact.server_ms)).where(
                mine,
                or_(Contact.epoch > epoch, (Contact.epoch == epoch) & (Contact.seq >= last)),
            )
        )
        within = session.execute(
            select(Contact.seq, func.min(Contact.server_ms), func.max(Contact.server_ms))
            .where(mine, Contact.epoch == epoch, Contact.seq >= first, Contact.seq < last)
            .group_by(Contact.seq)
            .order_by(Contact.seq)
        ).all()
        self._seqs = [seq for seq, _, _ in within]
        self._firsts = [low for _, low, _ in within]
        self._lasts = [high for _, _, high in within]
        self._before = max(device.paired_ms, earlier or device.paired_ms)
        self._after = received_ms if later is None else min(later, received_ms)
        self._proofs = {
            boot: _proofs_of(session, device.id, boot, low, high)
            for boot, (low, high) in _spans(records).items()
        }

    def when(self, record: Record) -> tuple[Estimate, bool]:
        """The record's interval, and whether its boot clock contradicted the contacts around it."""
        at = bisect_left(self._seqs, record.seq)
        before = self._lasts[at - 1] if at else self._before
        after = self._firsts[at] if at < len(self._seqs) else self._after
        anchor = self._proofs[record.boot_id].best(record.boottime_ns)
        if anchor is not None:
            found = from_anchor(anchor, record.boottime_ns)
            if (
                before - WALL_TOLERANCE_MS <= found.latest_ms
                and found.earliest_ms <= after + WALL_TOLERANCE_MS
            ):
                return found, False
        plain = estimate(
            wall_ms=record.wall_ms,
            boot_id=record.boot_id,
            boottime_ns=record.boottime_ns,
            anchors=(),
            before_ms=before,
            after_ms=after,
        )
        return plain, anchor is not None


def _spans(records: list[Record]) -> dict[str, tuple[int, int]]:
    spans: dict[str, tuple[int, int]] = {}
    for record in records:
        low, high = spans.get(record.boot_id, (record.boottime_ns, record.boottime_ns))
        spans[record.boot_id] = (min(low, record.boottime_ns), max(high, record.boottime_ns))
    return spans


def _proofs_of(session: Session, device: str, boot: str, low: int, high: int) -> _Proofs:
    """Reported proofs within the span and next to it; unreported ones where there are none."""
    reported = (
        Contact.proof_server_ms,
        Contact.proof_boottime_ns,
        Contact.proof_rtt_ns,
        Contact.proof_boot_id,
    )
    offered = (Contact.server_ms, Contact.boottime_ns, None, Contact.boot_id)
    for server, clock, rtt, boot_column in (reported, offered):
        columns = (server, clock) if rtt is None else (server, clock, rtt)
        base = select(*columns).where(Contact.device_id == device, boot_column == boot)
        below = base.where(clock < low).order_by(clock.desc()).limit(1)
        inside = base.where(clock.between(low, high)).order_by(clock).limit(_MAX_PROOFS)
        above = base.where(clock > high).order_by(clock).limit(1)
        rows = [tuple(row) for query in (below, inside, above) for row in session.execute(query)]
        if rows:
            anchors = [
                Anchor("", row[0], boot, row[1], row[2] if rtt is not None else UNREPORTED_RTT_NS)
                for row in rows
            ]
            return _Proofs([a.boottime_ns for a in anchors], anchors)
    return _Proofs([], [])

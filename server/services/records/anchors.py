"""Time proofs: what the server offers with each contact, and what it keeps of contacts."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from attendance import wire
from attendance.clock import Anchor, Estimate, from_anchor
from attendance.days import to_ms
from server.db import seal
from server.models import Contact, Device

#: The round trip of an anchor that the kiosk has not reported yet is taken to be this long: a
#: kiosk waits 5 s for the connection and 30 s for the answer, and has gone on since.
UNREPORTED_RTT_NS = 35_000_000_000
#: Contacts that change nothing are kept at most this often, milliseconds.
QUIET_MS = 600_000


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
) -> int | None:
    """Keeps a contact as evidence where it says something new; when the kiosk asked, at the
    earliest, in server time; None where it may not be believed at all.

    A request whose boot clock runs backwards or stands still, or of a boot that is over, is an old
    one sent again: it would prove that records are younger than they are. So is one from before the
    prune point, whose contacts are gone. Without a proof of this boot the kiosk's wall clock says
    whether it asked long ago.
    """
    pruned = (device.pruned_epoch or 0, device.pruned_seq or 0)
    if (asked.epoch, asked.seq) < pruned:
        return None
    now_ms = to_ms(now)
    # What follows goes round the session, which holds no contacts: nothing need be written first.
    connection = session.connection()
    last = connection.execute(_LAST, {"device": device.id}).first()
    if last is not None:
        if asked.boot_id == last.boot_id:
            again = asked.boottime_ns == last.boottime_ns and now_ms != last.server_ms
            if again or asked.boottime_ns < last.boottime_ns:
                return None
        elif connection.execute(_BOOTED, {"device": device.id, "boot": asked.boot_id}).first():
            return None
    proof = None
    if asked.anchor is not None and asked.rtt_ns is not None:
        for boot_id in {asked.boot_id, asked.boot_id if last is None else last.boot_id}:
            read = read_offer(secret, device.id, boot_id, asked.anchor)
            if read is not None:
                proof = (*read, boot_id)
    at_ms, asked_ms = now_ms, min(now_ms, asked.wall_ms)
    if proof is not None and proof[2] == asked.boot_id:
        when = _asked(asked, proof[0], proof[1], asked.rtt_ns or 0)
        asked_ms = when.earliest_ms
        if when.latest_ms < now_ms - UNREPORTED_RTT_NS // 1_000_000:
            at_ms = when.latest_ms  # that long on its way: the chain stood so then, not now
    elif last is not None and last.boot_id == asked.boot_id:
        when = _asked(asked, last.server_ms, last.boottime_ns, UNREPORTED_RTT_NS)
        asked_ms = min(asked_ms, when.earliest_ms)
    quiet = (
        last is not None
        and last.boot_id == asked.boot_id
        and (last.epoch, last.seq) == (asked.epoch, asked.seq)
        and 0 <= at_ms - last.server_ms < QUIET_MS
        and (proof is None or last.proof_boot_id == proof[2])
    )
    if not quiet:
        kept = {
            "township_id": device.township_id,
            "device_id": device.id,
            "server_ms": at_ms,
            "boot_id": asked.boot_id,
            "boottime_ns": asked.boottime_ns,
            "epoch": asked.epoch,
            "seq": asked.seq,
            "pending": asked.pending,
            "proof_server_ms": None if proof is None else proof[0],
            "proof_boot_id": None if proof is None else proof[2],
            "proof_boottime_ns": None if proof is None else proof[1],
            "proof_rtt_ns": None if proof is None else asked.rtt_ns,
        }
        # As COLUMNS has them: what was written need not be read back to be sealed.
        rowid = connection.execute(_CONTACT, kept).scalar_one()
        seal(session, Contact, (rowid, *kept.values()))
    return asked_ms


def _asked(asked: wire.CursorRequest, server_ms: int, boottime_ns: int, rtt_ns: int) -> Estimate:
    """When the kiosk asked, by a proof of the same boot."""
    anchor = Anchor("", server_ms, asked.boot_id, boottime_ns, rtt_ns)
    return from_anchor(anchor, asked.boottime_ns)


_LAST = (
    select(
        Contact.boot_id, Contact.boottime_ns, Contact.epoch, Contact.seq, Contact.server_ms,
        Contact.proof_boot_id,
    )
    .where(Contact.device_id == bindparam("device"))
    .order_by(Contact.id.desc())
    .limit(1)
)  # fmt: skip
_BOOTED = (
    select(Contact.id)
    .where(Contact.device_id == bindparam("device"), Contact.boot_id == bindparam("boot"))
    .limit(1)
)
_CONTACT = insert(Contact).returning(Contact.id)

"""When a batch's records were made: by time proofs and by the contacts around them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from attendance.clock import (
    WALL_TOLERANCE_MS,
    Anchor,
    ClockClass,
    Estimate,
    estimate,
    from_anchor,
    width_from,
)
from attendance.days import day_of
from attendance.records import Record
from server.models import Contact, Device
from server.services.records.anchors import UNREPORTED_RTT_NS, read_offer

#: Proofs within a batch's span of one boot that are looked at.
_MAX_PROOFS = 2_000
#: Contacts before a batch's place, and from there on, that are weighed where some contradict.
_WEIGHED, _WEIGHED_SINCE = 50, 2_000
#: A contact so long before a record proves that a wall clock from before it is wrong: whatever set
#: the server's clock ahead for a while was put right by then.
_UNDOUBTED_MS = 6 * 3_600_000
#: Proofs on either side of a record that are tried where the nearest one cannot be right.
_TRIED = 4
#: What a row of `_around` and `_near` says.
_EARLIER, _LATER, _WITHIN, _UNREPORTED, _REPORTED = range(5)


@dataclass(frozen=True)
class _Proofs:
    """Anchors of one boot in order of the boot clock.

    `others` are those that kiosks have not reported, where reported ones are preferred.
    """

    times: list[int]
    anchors: list[Anchor]
    others: Sequence[Anchor] = ()

    def best(self, boottime_ns: int) -> Anchor | None:
        """The neighbour, before or after, that leaves the narrower interval."""
        at = bisect_left(self.times, boottime_ns)
        if at == len(self.anchors):
            return self.anchors[-1] if at else None
        if at == 0:
            return self.anchors[0]
        before, after = self.anchors[at - 1], self.anchors[at]
        if width_from(before, boottime_ns) <= width_from(after, boottime_ns):
            return before
        return after

    def fitting(self, boottime_ns: int, before_ms: int, after_ms: int) -> Estimate | None:
        """By whichever proof nearby puts the moment between two contacts, the narrowest first.

        A server whose clock was set right has given one boot anchors that contradict each other.
        """
        nearby: list[Anchor] = []
        for anchors in (self.anchors, self.others):
            at = bisect_left(anchors, boottime_ns, key=_clock_of)
            nearby += anchors[max(0, at - _TRIED) : at + _TRIED]
        for anchor in sorted(nearby, key=lambda a: width_from(a, boottime_ns)):
            when = from_anchor(anchor, boottime_ns)
            if _fits(when, before_ms, after_ms):
                return when
        return None


def _fits(when: Estimate, before_ms: int, after_ms: int) -> bool:
    return (
        before_ms - WALL_TOLERANCE_MS <= when.latest_ms
        and when.earliest_ms <= after_ms + WALL_TOLERANCE_MS
    )


class Timeline:
    """What is known of when the records `first..last` of an epoch were made.

    With the server's `secret` the anchors that they name are checked, of boots of which no contact
    is held: a server that was put back to an older backup gave them and has forgotten it.
    """

    def __init__(
        self,
        session: Session,
        device: Device,
        epoch: int,
        records: list[Record],
        received_ms: int,
        secret: bytes | None = None,
    ) -> None:
        first, last = records[0].seq, records[-1].seq
        (boot, (low, high)), *more = _spans(records).items()
        place = {"device": device.id, "epoch": epoch, "first": first, "last": last}
        span = {"boot": boot, "low": low, "high": high}
        # Statements made beforehand go round the session: half their cost. Nearly all batches are
        # of one boot: its proofs come along.
        found = session.connection().execute(_BOTH, {**place, **span}).all()
        bracket = {what: low for what, _, low, _ in found if what < _WITHIN and low is not None}
        within = sorted((seq, low, high) for what, seq, low, high in found if what == _WITHIN)
        before = max(device.paired_ms, bracket.get(_EARLIER, device.paired_ms))
        after = min(bracket.get(_LATER, received_ms), received_ms)
        if _contradict(before, within, after):
            before, within, after = _weighed(session, device, place, received_ms)
        self._seqs = [seq for seq, _, _ in within]
        self._firsts = [low for _, low, _ in within]
        self._lasts = [high for _, _, high in within]
        self._before, self._after = before, after
        self._session, self._place, self._received_ms = session, place, received_ms
        self._paired_ms = device.paired_ms
        self._undoubted_ms: int | None = None
        self._proofs = {boot: _proofs(boot, found)}
        for boot, (low, high) in more:
            span = {"device": device.id, "boot": boot, "low": low, "high": high}
            self._proofs[boot] = _proofs(boot, session.connection().execute(_NEAR, span).all())
        if secret is not None:
            for boot, proofs in self._proofs.items():
                if not proofs.anchors:
                    self._proofs[boot] = _own(secret, device.id, boot, records)

    def times(self, records: Sequence[Record]) -> tuple[list[Estimate], set[int]]:
        """The records' intervals, and the places in `records` of those whose boot clock contradicts
        the contacts around them."""
        found: list[Estimate] = []
        contradicted: set[int] = set()
        before, after, proofs = self._before, self._after, self._proofs
        for record in records:
            boottime_ns = record.boottime_ns
            if self._seqs:
                before, after = self._around(record.seq)
            anchor = proofs[record.boot_id].best(boottime_ns)
            if anchor is not None:
                when = from_anchor(anchor, boottime_ns)
                if _fits(when, before, after):
                    found.append(when)
                    continue
                other = proofs[record.boot_id].fitting(boottime_ns, before, after)
                if other is not None:
                    found.append(other)
                    continue
                contradicted.add(len(found))
            found.append(
                estimate(
                    wall_ms=record.wall_ms,
                    boot_id=record.boot_id,
                    boottime_ns=boottime_ns,
                    anchors=(),
                    before_ms=before,
                    after_ms=after,
                )
            )
        return found, contradicted

    def anchored(self, record: Record) -> Estimate | None:
        """When one of the records was by the proofs of its boot alone; None where there is none."""
        anchor = self._proofs[record.boot_id].best(record.boottime_ns)
        return None if anchor is None else from_anchor(anchor, record.boottime_ns)

    def doubted(self, record: Record, when: Estimate) -> Estimate:
        """The interval of a record whose wall clock is off it, in doubt where that may be right.

        A server whose clock is ahead for a minute proves the wrong day. So where the wall clock
        names another day, on which the kiosk was there, it is class C and reaches over both.
        """
        wall_ms = record.wall_ms
        if not self._paired_ms <= wall_ms <= self._received_ms:
            return when
        if day_of(wall_ms) == day_of(when.at_ms):
            return when
        if self._undoubted_ms is None:
            at = {**self._place, "until": when.earliest_ms - _UNDOUBTED_MS}
            heard = self._session.connection().execute(_HEARD, at).scalar()
            self._undoubted_ms = self._paired_ms if heard is None else int(heard)
        if wall_ms < self._undoubted_ms - WALL_TOLERANCE_MS:
            return when
        earliest, latest = min(wall_ms, when.earliest_ms), max(wall_ms, when.latest_ms)
        return Estimate(earliest, latest, when.at_ms, ClockClass.C)

    def _around(self, seq: int) -> tuple[int, int]:
        """The last contact before a record of the batch and the first after it."""
        at = bisect_left(self._seqs, seq)
        return (
            self._lasts[at - 1] if at else self._before,
            self._firsts[at] if at < len(self._seqs) else self._after,
        )


def _contradict(before: int, within: list[tuple[int, int, int]], after: int) -> bool:
    """Whether contacts were not heard in the order of their places: some clock was wrong."""
    for _, low, high in within:
        if before > low:
            return True
        before = high
    return before > after


def _weighed(
    session: Session, device: Device, place: dict[str, Any], received_ms: int
) -> tuple[int, list[tuple[int, int, int]], int]:
    """What stands before a batch, within it by number, and after it, by contacts that agree.

    Where the server's clock was ahead or behind for a while and then set right, its contacts of
    then stand out of order. The longest series that rises, in the order in which they were heard,
    is believed; it ends with the receipt, unless that is what stands out.
    """
    connection = session.connection()
    heard = [*connection.execute(_BEFORE, place), *connection.execute(_SINCE, place)]
    # Before it was paired nothing was heard of it: so that clock stood at its factory date.
    rows = [row for row in heard if row.server_ms >= device.paired_ms]
    rows.sort(key=lambda row: int(row.id))
    rising = _rising([*(row.server_ms for row in rows), received_ms])
    first, last = (place["epoch"], place["first"]), (place["epoch"], place["last"])
    before, after = [device.paired_ms], [received_ms] if len(rows) in rising else []
    inside: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        if index not in rising:
            continue
        if (row.epoch, row.seq) < first:
            before.append(row.server_ms)
        elif (row.epoch, row.seq) >= last:
            after.append(row.server_ms)
        else:
            inside.setdefault(row.seq, []).append(row.server_ms)
    within = sorted((seq, min(at), max(at)) for seq, at in inside.items())
    return max(before), within, min(after, default=received_ms)


def _rising(values: Sequence[int]) -> set[int]:
    """The places of a longest series of them that never falls."""
    ends: list[int] = []
    places: list[int] = []
    links: list[int] = []
    for index, value in enumerate(values):
        at = bisect_right(ends, value)
        links.append(places[at - 1] if at else -1)
        ends[at : at + 1], places[at : at + 1] = [value], [index]
    found, index = set(), places[-1]
    while index >= 0:
        found.add(index)
        index = links[index]
    return found


def _spans(records: list[Record]) -> dict[str, tuple[int, int]]:
    clocks: dict[str, list[int]] = {}
    for record in records:
        clocks.setdefault(record.boot_id, []).append(record.boottime_ns)
    return {boot: (min(shown), max(shown)) for boot, shown in clocks.items()}


def _given(name: str) -> BindParameter[Any]:
    return bindparam(name)


# Epoch numbers rise, so what belongs to an earlier epoch came before.
def _earlier() -> ColumnElement[bool]:
    epoch, first = _given("epoch"), _given("first")
    return or_(Contact.epoch < epoch, (Contact.epoch == epoch) & (Contact.seq < first))


def _around() -> list[Select[Any]]:
    """Contacts around and within a batch's places: what, seq, first and last server time."""
    mine = Contact.device_id == _given("device")
    epoch, first, last = _given("epoch"), _given("first"), _given("last")
    at, seq = Contact.server_ms, Contact.seq
    after = or_(Contact.epoch > epoch, (Contact.epoch == epoch) & (seq >= last))
    inside = (Contact.epoch == epoch) & (seq >= first) & (seq < last)
    nothing = cast(null(), Contact.seq.type)
    return [
        select(literal(_EARLIER), nothing, func.max(at), nothing).where(mine, _earlier()),
        select(literal(_LATER), nothing, func.min(at), nothing).where(mine, after),
        select(literal(_WITHIN), seq, func.min(at), func.max(at)).where(mine, inside).group_by(seq),
    ]


def _places() -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """The last contacts before a batch's first place, and the newest from there on."""
    epoch, seq, number = Contact.epoch, Contact.seq, Contact.id
    mine = select(number, epoch, seq, Contact.server_ms).where(
        Contact.device_id == _given("device")
    )
    before = mine.where(_earlier()).order_by(epoch.desc(), seq.desc(), number.desc())
    since = mine.where(~_earlier()).order_by(number.desc())
    return before.limit(_WEIGHED), since.limit(_WEIGHED_SINCE)


def _near() -> list[Select[Any]]:
    """Proofs within a span of one boot and next to it: what, server time, boot clock and round
    trip."""
    boot, low, high = _given("boot"), _given("low"), _given("high")
    kinds = (
        (_REPORTED, Contact.proof_boot_id, Contact.proof_server_ms, Contact.proof_boottime_ns,
         Contact.proof_rtt_ns),
        (_UNREPORTED, Contact.boot_id, Contact.server_ms, Contact.boottime_ns,
         literal(UNREPORTED_RTT_NS)),
    )  # fmt: skip
    parts = []
    for what, in_boot, server_ms, clock, rtt_ns in kinds:
        base = select(literal(what), server_ms, clock, rtt_ns).where(
            Contact.device_id == _given("device"), in_boot == boot
        )
        parts += [
            base.where(clock < low).order_by(clock.desc()).limit(1),
            base.where(clock.between(low, high)).order_by(clock).limit(_MAX_PROOFS),
            base.where(clock > high).order_by(clock).limit(1),
        ]
    # As sub-queries: SQLite takes no LIMIT within a union.
    return [select(part.subquery()) for part in parts]


# Made once, not for each of a thousand batches.
_BOTH, _NEAR = union_all(*_around(), *_near()), union_all(*_near())
_BEFORE, _SINCE = _places()
_HEARD = (
    select(Contact.server_ms)
    .where(
        Contact.device_id == _given("device"), _earlier(), Contact.server_ms <= _given("until")
    )
    .order_by(Contact.epoch.desc(), Contact.seq.desc(), Contact.id.desc())
    .limit(1)
)


def _proofs(boot: str, found: Iterable[Sequence[Any]]) -> _Proofs:
    """Reported proofs within the span and next to it; unreported ones where there are none."""
    by_kind: dict[int, list[Anchor]] = {_REPORTED: [], _UNREPORTED: []}
    for row in found:
        if row[0] >= _UNREPORTED:
            by_kind[row[0]].append(Anchor("", row[1], boot, row[2], row[3]))
    reported, others = (sorted(by_kind[kind], key=_clock_of) for kind in (_REPORTED, _UNREPORTED))
    anchors, others = (reported, others) if reported else (others, [])
    return _Proofs([a.boottime_ns for a in anchors], anchors, others)


def _own(secret: bytes, device: str, boot: str, records: Iterable[Record]) -> _Proofs:
    """The proofs that records of a boot name: this server's, of that kiosk and boot."""
    named = {r.anchor for r in records if r.boot_id == boot and r.anchor is not None}
    read = [found for name in named if (found := read_offer(secret, device, boot, name))]
    anchors = sorted(
        (Anchor("", server_ms, boot, clock, UNREPORTED_RTT_NS) for server_ms, clock in read),
        key=_clock_of,
    )
    return _Proofs([a.boottime_ns for a in anchors], anchors)


def _clock_of(anchor: Anchor) -> int:
    return anchor.boottime_ns

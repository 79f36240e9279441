"""The kiosks' chains run again over what is stored, all of them in one reading of the records."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import LargeBinary, cast, select
from sqlalchemy.orm import Session

from attendance.chain import genesis
from attendance.errors import RecordInvalid
from attendance.records import MAX_RECORD_BYTES, decode_record
from server.models import Device, EpochRow, RejectedRecord
from server.services.intake import columns
from server.services.protected import COLUMNS, Row

#: Table, row id, reason.
Where = tuple[str, int | str, str]
_NAMES = COLUMNS["record"]


class _Plain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record's fields in its order, their ranges unchecked: four times as fast to read.

    Whatever does not agree at once is read again by `decode_record`, which says why.
    """

    v: int
    device: str
    epoch: int
    seq: int
    record_id: str
    kind: str
    official: str | None
    status: str | None
    reason: str | None
    until_ms: int | None
    method: str | None
    verified: bool
    wall_ms: int
    boot_id: str
    boottime_ns: int
    anchor: str | None
    score: float | None
    margin: float | None
    liveness: str | None
    model: str | None
    gallery: int | None
    supersedes: str | None
    detail: str | None


_read = msgspec.json.Decoder(_Plain).decode
_write = msgspec.json.Encoder().encode


class _Epoch(NamedTuple):
    rowid: int
    epoch: int
    cites: bytes
    follows: bool


class _Chain:
    def __init__(self, device: str, township: int, cursor: tuple[int, int, bytes]) -> None:
        self.device = device
        self.township = township
        self.cursor = cursor
        self.epochs: deque[_Epoch] = deque()
        self.pile: deque[tuple[int, int, int, bytes, bytes]] = deque()
        self.epoch, self.seq, self.head = 0, 0, b""


def raw(column: Any) -> Any:
    """A column of bytes, whatever an edit by hand has left there."""
    return cast(column, LargeBinary)


class Chains:
    """Feeds on records by `take`, in the order of their ids; then `finish`.

    `waiting` collects what was found beside the record taken; the caller empties it.
    """

    def __init__(self, session: Session) -> None:
        self.waiting: list[Where] = []
        kiosks = session.execute(
            select(Device.id, Device.township_id, Device.epoch, Device.seq, raw(Device.head))
            .where(Device.kind == "kiosk")
            .order_by(Device.id)
        )
        self._chains = {d[0]: _Chain(d[0], d[1], (d[2], d[3], d[4])) for d in kiosks}
        for device, rowid, epoch, cites, follows in session.execute(
            select(
                EpochRow.device_id, EpochRow.id, EpochRow.epoch, raw(EpochRow.cites),
                EpochRow.follows,
            ).order_by(EpochRow.device_id, EpochRow.epoch)
        ):  # fmt: skip
            if (chain := self._known("epoch", device, rowid, epoch)) is not None:
                chain.epochs.append(_Epoch(rowid, epoch, cites, follows))
        pile = RejectedRecord
        for device, rowid, epoch, seq, payload, head in session.execute(
            select(
                pile.device_id, pile.id, pile.epoch, pile.seq, raw(pile.payload), raw(pile.head)
            ).order_by(pile.epoch, pile.seq)
        ):
            if (chain := self._known("rejected_record", device, rowid, epoch, seq)) is not None:
                chain.pile.append((epoch, seq, rowid, payload, head))

    def _known(self, table: str, device: str, rowid: int, *place: object) -> _Chain | None:
        """The chain that such a row belongs to; where there is none, `waiting` says why."""
        chain = self._chains.get(device)
        if chain is None:
            self.waiting.append((table, rowid, "its kiosk is not there"))
        elif not all(type(number) is int for number in place):
            self.waiting.append((table, rowid, "its place is of another type: changed by hand"))
            return None
        return chain

    def take(self, row: Row) -> list[str]:
        """What is wrong with this record, in sentences; mostly nothing."""
        chain = self._chains.get(row[2])
        if chain is None:
            return ["its kiosk is not there"]
        epoch, seq, payload = row[3], row[4], row[6]
        if not isinstance(payload, bytes) or type(epoch) is not int or type(seq) is not int:
            return ["its payload or place is of another type: changed by hand"]
        if chain.pile and chain.pile[0][:2] < (epoch, seq):
            self._drain(chain, (epoch, seq))
        found = []
        if epoch == chain.epoch and seq == chain.seq + 1:
            head = hashlib.sha256(chain.head + payload).digest()
            if head != row[7]:
                found.append("its head does not follow: payload or head changed")
            chain.seq, chain.head = seq, row[7] if isinstance(row[7], bytes) else head
        else:
            why = self._link(chain, epoch, seq, payload, row[7])
            if why is not None:
                found.append(why)
        why = _wrong_columns(row, chain.township)
        if why is not None:
            found.append(why)
        return found

    def finish(self) -> Iterator[Where]:
        """What is wrong at the ends of the chains."""
        for chain in self._chains.values():
            self._drain(chain, None)
            while chain.epochs:
                self._next_epoch(chain)
            yield from self.waiting
            self.waiting.clear()
            if chain.epoch == 0:
                yield ("epoch", chain.device, "this kiosk has no first epoch")
            elif (chain.epoch, chain.seq, chain.head) != chain.cursor:
                yield (
                    "record",
                    chain.device,
                    f"the chain ends at {chain.epoch}/{chain.seq}, "
                    f"the cursor is {chain.cursor[0]}/{chain.cursor[1]}",
                )

    def _drain(self, chain: _Chain, until: tuple[int, int] | None) -> None:
        """Links what lies on the pile before that place."""
        while chain.pile and (until is None or chain.pile[0][:2] < until):
            epoch, seq, rowid, payload, head = chain.pile.popleft()
            why = self._link(chain, epoch, seq, payload, head)
            if why is not None:
                self.waiting.append(("rejected_record", rowid, why))

    def _link(
        self, chain: _Chain, epoch: int, seq: int, payload: bytes, head: object
    ) -> str | None:
        while epoch > chain.epoch and chain.epochs:
            self._next_epoch(chain)
        if epoch > chain.epoch:
            return f"epoch {epoch} of {chain.device} was never opened"
        if (epoch, seq) <= (chain.epoch, chain.seq):
            return "its place in the chain lies before that of the row before it"
        before, missing = chain.head, chain.seq + 1
        stated = head if isinstance(head, bytes) else b""
        chain.seq, chain.head = seq, stated
        if seq != missing:
            return f"record {missing} of {chain.device} epoch {epoch} is missing before it"
        if hashlib.sha256(before + payload).digest() != stated:
            return "its head does not follow: payload or head changed"
        return None

    def _next_epoch(self, chain: _Chain) -> None:
        row = chain.epochs.popleft()
        if row.epoch != chain.epoch + 1:
            why = f"epoch {chain.epoch + 1} of {chain.device} is missing before it"
            self.waiting.append(("epoch", row.rowid, why))
        if chain.epoch and row.follows and row.cites != chain.head:
            why = "the cited head is not where the epoch before it ended"
            self.waiting.append(("epoch", row.rowid, why))
        chain.epoch, chain.seq = row.epoch, 0
        chain.head = genesis(chain.device, row.epoch, row.cites)


def _wrong_columns(row: Row, township: int) -> str | None:
    """Why the columns are not those of the payload."""
    payload = row[6]
    try:
        said = _read(payload)
        same = (
            row[2] == said.device
            and row[3:6] == (said.epoch, said.seq, said.record_id)
            and row[9:15]
            == (said.official, said.kind, said.status, said.reason, said.until_ms, said.method)
            and row[15:21]
            == (said.verified, said.score, said.margin, said.liveness, said.supersedes,
                said.wall_ms)
            and len(payload) <= MAX_RECORD_BYTES
            and _write(said) == payload
        )  # fmt: skip
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        same = False
    if not same:
        try:
            record = columns(decode_record(payload))
        except RecordInvalid as error:
            return f"the payload is no record: {error}"
        held = dict(zip(_NAMES, row, strict=True))
        for name, value in record.items():
            if held[name] != value:
                return f"column {name} differs from the payload"
    if row[1] != township:
        return "column township_id is not that of its kiosk"
    try:
        inside = row[21] <= row[23] <= row[22]
    except TypeError:
        inside = False
    return None if inside else "its best guess lies outside its interval"

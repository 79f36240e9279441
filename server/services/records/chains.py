"""The kiosks' chains run again over what is stored, all of them in one reading of the records."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import LargeBinary, cast, func, select
from sqlalchemy.orm import Session

from attendance.chain import genesis
from attendance.errors import RecordInvalid
from attendance.i18n import say
from attendance.records import MAX_RECORD_BYTES, decode_record
from server.models import Device, EpochRow, RecordRow, RejectedRecord
from server.services.evidence.protected import COLUMNS, Row
from server.services.evidence.retention import Place
from server.services.records.recordrows import columns

#: Table, row id, reason.
Where = tuple[str, int | str, str]
_NAMES = COLUMNS["record"]


class _Plain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
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
_read_all = msgspec.json.Decoder(list[_Plain]).decode
_write = msgspec.json.Encoder().encode
#: The columns that repeat a payload's fields, of a row and of what was read of the payload.
_REPEATED = ("device", "epoch", "seq", "record_id", "official", "kind", "status", "reason",
             "until_ms", "method", "verified", "score", "margin", "liveness", "supersedes",
             "wall_ms")  # fmt: skip
_BEGIN = b'{"v":1,"device":"'
_held = itemgetter(*range(2, 6), *range(9, 21))
_said = attrgetter(*_REPEATED)


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


def places_at(session: Session, rowid: int) -> dict[str, Place]:
    """By kiosk, where its chain stands after its last record up to that row, as it is stored."""
    last = select(func.max(RecordRow.id)).where(RecordRow.id <= rowid).group_by(RecordRow.device_id)
    found = session.execute(
        select(RecordRow.device_id, RecordRow.epoch, RecordRow.seq, raw(RecordRow.head)).where(
            RecordRow.id.in_(last)
        )
    )
    return {
        device: Place(epoch, seq, head)
        for device, epoch, seq, head in found
        if type(epoch) is int and type(seq) is int and isinstance(head, bytes)
    }


class Chains:
    """Feeds on records by `take`, in the order of their ids; then `finish`.

    `waiting` collects what was found beside the record taken; the caller empties it.
    """

    def __init__(self, session: Session, starts: Mapping[str, Place]) -> None:
        """`starts` says where the chains go on that were pruned."""
        self.waiting: list[Where] = []
        kiosks = session.execute(
            select(Device.id, Device.township_id, Device.epoch, Device.seq, raw(Device.head))
            .where(Device.kind == "kiosk")
            .order_by(Device.id)
        )
        self._chains = {d[0]: _Chain(d[0], d[1], (d[2], d[3], d[4])) for d in kiosks}
        for name, place in starts.items():
            if (begun := self._chains.get(name)) is not None:
                begun.epoch, begun.seq, begun.head = place.epoch, place.seq, place.head
        for device, rowid, epoch, cites, follows in session.execute(
            select(
                EpochRow.device_id, EpochRow.id, EpochRow.epoch, raw(EpochRow.cites),
                EpochRow.follows,
            ).order_by(EpochRow.device_id, EpochRow.epoch)
        ):  # fmt: skip
            chain = self._known("epoch", device, rowid, epoch)
            if chain is not None and epoch > chain.epoch:
                chain.epochs.append(_Epoch(rowid, epoch, cites, follows))
        pile = RejectedRecord
        for device, rowid, epoch, seq, payload, head in session.execute(
            select(
                pile.device_id, pile.id, pile.epoch, pile.seq, raw(pile.payload), raw(pile.head)
            ).order_by(pile.epoch, pile.seq)
        ):
            chain = self._known("rejected_record", device, rowid, epoch, seq)
            gone = starts.get(device)
            if chain is not None and (gone is None or (epoch, seq) > (gone.epoch, gone.seq)):
                chain.pile.append((epoch, seq, rowid, payload, head))

    def _known(self, table: str, device: str, rowid: int, *place: object) -> _Chain | None:
        """The chain that such a row belongs to; where there is none, `waiting` says why."""
        chain = self._chains.get(device)
        if chain is None:
            self.waiting.append((table, rowid, say("找不到它的终端", "its kiosk is not there")))
        elif not all(type(number) is int for number in place):
            self.waiting.append(
                (
                    table,
                    rowid,
                    say(
                        "位置的类型不对：被人手工改过",
                        "its place is of another type: changed by hand",
                    ),
                )
            )
            return None
        return chain

    def take_all(self, page: list[Row]) -> bool:
        """Takes these records at once, where nothing at all is wrong with or between them; else
        none of them."""
        return _repeat(page) and self._follow(page)

    def _follow(self, page: list[Row]) -> bool:
        """Whether each links to the one before it; then the chains stand after them."""
        sha = hashlib.sha256
        stands: dict[str, tuple[int, int, bytes, bool]] = {}
        device, township, epoch, seq, head, opened = "", 0, 0, 0, b"", False
        try:
            for row in page:
                if row[2] != device:
                    if device:
                        stands[device] = epoch, seq, head, opened
                    device = row[2]
                    chain = self._chains.get(device)
                    if chain is None or chain.pile:
                        return False
                    township = chain.township
                    epoch, seq, head, opened = stands.get(
                        device, (chain.epoch, chain.seq, chain.head, False)
                    )
                    if epoch == 0 and chain.epochs and chain.epochs[0].epoch == 1:
                        epoch, opened = 1, True
                        head = genesis(device, 1, chain.epochs[0].cites)
                seq += 1
                head = sha(head + row[6]).digest()
                if (
                    row[7] != head
                    or row[4] != seq
                    or row[3] != epoch
                    or row[1] != township
                    or not row[21] <= row[23] <= row[22]
                ):
                    return False
        except TypeError:  # changed by hand
            return False
        stands[device] = epoch, seq, head, opened
        for name, (epoch, seq, head, opened) in stands.items():
            chain = self._chains[name]
            chain.epoch, chain.seq, chain.head = epoch, seq, head
            if opened:
                chain.epochs.popleft()
        return True

    def take(self, row: Row) -> list[str]:
        """What is wrong with this record, in sentences; mostly nothing."""
        chain = self._chains.get(row[2])
        if chain is None:
            return [say("找不到它的终端", "its kiosk is not there")]
        epoch, seq, payload = row[3], row[4], row[6]
        if not isinstance(payload, bytes) or type(epoch) is not int or type(seq) is not int:
            return [
                say(
                    "内容或位置的类型不对：被人手工改过",
                    "its payload or place is of another type: changed by hand",
                )
            ]
        if chain.pile and chain.pile[0][:2] < (epoch, seq):
            self._drain(chain, (epoch, seq))
        found = []
        if epoch == chain.epoch and seq == chain.seq + 1:
            head = hashlib.sha256(chain.head + payload).digest()
            if head != row[7]:
                found.append(
                    say(
                        "链头接不上：内容或链头被改过",
                        "its head does not follow: payload or head changed",
                    )
                )
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
                yield (
                    "epoch",
                    chain.device,
                    say("这台终端没有第一纪元", "this kiosk has no first epoch"),
                )
            elif (chain.epoch, chain.seq, chain.head) != chain.cursor:
                yield (
                    "record",
                    chain.device,
                    say(
                        f"链止于 {chain.epoch}/{chain.seq}，"
                        f"游标在 {chain.cursor[0]}/{chain.cursor[1]}",
                        f"the chain ends at {chain.epoch}/{chain.seq}, "
                        f"the cursor is {chain.cursor[0]}/{chain.cursor[1]}",
                    ),
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
            return say(
                f"{chain.device} 的纪元 {epoch} 从未开启",
                f"epoch {epoch} of {chain.device} was never opened",
            )
        if (epoch, seq) <= (chain.epoch, chain.seq):
            return say(
                "在链上的位置早于它前一行",
                "its place in the chain lies before that of the row before it",
            )
        before, missing = chain.head, chain.seq + 1
        stated = head if isinstance(head, bytes) else b""
        chain.seq, chain.head = seq, stated
        if seq != missing:
            return say(
                f"它之前缺少 {chain.device} 纪元 {epoch} 的记录 {missing}",
                f"record {missing} of {chain.device} epoch {epoch} is missing before it",
            )
        if hashlib.sha256(before + payload).digest() != stated:
            return say(
                "链头接不上：内容或链头被改过", "its head does not follow: payload or head changed"
            )
        return None

    def _next_epoch(self, chain: _Chain) -> None:
        row = chain.epochs.popleft()
        if row.epoch != chain.epoch + 1:
            why = say(
                f"它之前缺少 {chain.device} 的纪元 {chain.epoch + 1}",
                f"epoch {chain.epoch + 1} of {chain.device} is missing before it",
            )
            self.waiting.append(("epoch", row.rowid, why))
        if chain.epoch and row.follows and row.cites != chain.head:
            why = say(
                "所引链头不是上一纪元结束之处",
                "the cited head is not where the epoch before it ended",
            )
            self.waiting.append(("epoch", row.rowid, why))
        chain.epoch, chain.seq = row.epoch, 0
        chain.head = genesis(chain.device, row.epoch, row.cites)


def _repeat(page: list[Row]) -> bool:
    """Whether all payloads are records, in their canonical form, whose fields the columns repeat.

    Each begins and ends as a record does, which has no object within: so none can begin in the
    payload of another, and all are canonical where their list is.
    """
    payloads = [row[6] for row in page]
    try:
        if not all(p.startswith(_BEGIN) and p.endswith(b"}") for p in payloads):
            return False
        text = b"[" + b",".join(payloads) + b"]"
        said = _read_all(text)
    except (AttributeError, TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return (
        len(said) == len(page)
        and max(map(len, payloads)) <= MAX_RECORD_BYTES
        and _write(said) == text
        and list(map(_held, page)) == list(map(_said, said))
    )


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
            return say(f"内容不是记录：{error}", f"the payload is no record: {error}")
        held = dict(zip(_NAMES, row, strict=True))
        for name, value in record.items():
            if held[name] != value:
                return say(f"列 {name} 与内容不符", f"column {name} differs from the payload")
    if row[1] != township:
        return say("township_id 不是其终端所属的", "column township_id is not that of its kiosk")
    try:
        inside = row[21] <= row[23] <= row[22]
    except TypeError:
        inside = False
    return (
        None if inside else say("估计时刻不在其区间内", "its best guess lies outside its interval")
    )

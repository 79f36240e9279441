"""The record: what a kiosk writes once, keeps as exact bytes, and never changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Annotated

import msgspec

from attendance.days import MAX_MS, MIN_MS
from attendance.errors import RecordInvalid
from attendance.statuses import Kind, Method, Status

VERSION = 1
#: Bytes of one encoded record at the most. The longest that a kiosk makes is below 1,200.
MAX_RECORD_BYTES = 4096
MAX_INT = 2**63 - 1

_OFFICIAL = r"[A-Za-z0-9-]{1,32}"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DEVICE = r"[a-z0-9]{8,32}"
OfficialId = Annotated[str, msgspec.Meta(pattern=rf"\A{_OFFICIAL}\Z")]
DeviceId = Annotated[str, msgspec.Meta(pattern=rf"\A{_DEVICE}\Z")]
Uuid = Annotated[str, msgspec.Meta(pattern=rf"\A{_UUID}\Z")]
Counter = Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
UnixMs = Annotated[int, msgspec.Meta(ge=MIN_MS, le=MAX_MS)]
Ratio = Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Detail = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One thing that a kiosk saw or did.

    `wall_ms` is the kiosk's own wall clock in Unix milliseconds, believed or not; `boottime_ns` is
    CLOCK_BOOTTIME within the boot `boot_id`; `anchor` names the last time proof of the server that
    the kiosk held for that boot. `score` and `margin` are cosines of the engine `model`; `gallery`
    is the version of the gallery that was searched. `liveness` is `off` where the check was
    switched off, else the verdict in a word. `verified` is false where the kiosk could not check
    who the person is. `supersedes` is the record id that an amend replaces. `detail` explains a
    clock, fault or erasure record.
    """

    v: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION
    device: DeviceId
    epoch: Counter
    seq: Counter
    record_id: Uuid
    kind: Kind
    official: OfficialId | None = None
    status: Status | None = None
    reason: ShortText | None = None
    until_ms: UnixMs | None = None
    method: Method | None = None
    verified: bool = True
    wall_ms: UnixMs
    boot_id: Uuid
    boottime_ns: Nanoseconds
    anchor: ShortText | None = None
    score: Ratio | None = None
    margin: Ratio | None = None
    liveness: ShortText | None = None
    model: ShortText | None = None
    gallery: Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)] | None = None
    supersedes: Uuid | None = None
    detail: Detail | None = None

    @property
    def concerns_person(self) -> bool:
        """Whether the record says something of an official's whereabouts."""
        return is_person(self.kind)


#: The commonest first: a tuple compares identities, a set asks each member for its hash in Python.
_PERSON_KINDS = (Kind.CHECKIN, Kind.CHECKOUT, Kind.DECLARE, Kind.AMEND)
PERSON_KINDS = frozenset(_PERSON_KINDS)
is_person = _PERSON_KINDS.__contains__

_Token = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]


class _Quick(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A record whose five patterns are not looked at yet: half the time of reading it.

    Every field stands here again, so that their order is that of `Record`.
    """

    v: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION
    device: str
    epoch: Counter
    seq: Counter
    record_id: _Token
    kind: Kind
    official: str | None = None
    status: Status | None = None
    reason: ShortText | None = None
    until_ms: UnixMs | None = None
    method: Method | None = None
    verified: bool = True
    wall_ms: UnixMs
    boot_id: str
    boottime_ns: Nanoseconds
    anchor: ShortText | None = None
    score: Ratio | None = None
    margin: Ratio | None = None
    liveness: ShortText | None = None
    model: ShortText | None = None
    gallery: Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)] | None = None
    supersedes: str | None = None
    detail: Detail | None = None


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Record, strict=True)
_quick_decoder = msgspec.json.Decoder(list[_Quick], strict=True)
_quick_one = msgspec.json.Decoder(_Quick, strict=True)
_is_device = lru_cache(16)(re.compile(rf"\A{_DEVICE}\Z").match)
_is_official = lru_cache(4096)(re.compile(rf"\A{_OFFICIAL}\Z").match)
_is_uuid = lru_cache(1024)(re.compile(rf"\A{_UUID}\Z").match)
_is_one_uuid = re.compile(rf"\A{_UUID}\Z").match  # of those that come once: nothing is kept
_are_uuids = re.compile(rf"\A(?:{_UUID})*\Z").match


def encode_record(record: Record) -> bytes:
    """The record's one canonical form: UTF-8 JSON, fields in the order of `Record`, no spaces.

    Raises RecordInvalid where a field is outside its range (what cannot be read back must never be
    written).
    """
    payload = _encoder.encode(record)
    # Its form is canonical, since this is how it was made; the patterns are looked at as those of a
    # batch are, since a person waits for it. What is wrong, the slow way says.
    if not _reads_well(payload):
        _decoded(payload)
    for number in (record.score, record.margin):
        if number is not None and not isfinite(number):  # JSON has none: it would be read as null
            raise RecordInvalid("a number of this record is not finite")
    return payload


def _reads_well(payload: bytes) -> bool:
    """Whether `_decoded` would take it."""
    try:
        found = _quick_one.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    official, supersedes = found.official, found.supersedes
    return (
        len(payload) <= MAX_RECORD_BYTES
        and _is_device(found.device) is not None
        and _is_one_uuid(found.record_id) is not None
        and _is_uuid(found.boot_id) is not None
        and (official is None or _is_official(official) is not None)
        and (supersedes is None or _is_uuid(supersedes) is not None)
        and _contradiction(found) is None
    )


def decode_record(payload: bytes | memoryview) -> Record:
    """The record of exact bytes. Raises RecordInvalid.

    Bytes that are not the canonical form are refused (duplicate keys, spaces, another order of
    keys, another spelling of a number), so that one record has one hash.
    """
    record = _decoded(payload)
    if _encoder.encode(record) != bytes(payload):
        raise RecordInvalid("not a record: not in canonical form")
    return record


def _decoded(payload: bytes | memoryview) -> Record:
    if len(payload) > MAX_RECORD_BYTES:
        raise RecordInvalid(
            f"a record has at most {MAX_RECORD_BYTES} bytes, this has {len(payload)}"
        )
    try:
        record = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordInvalid(f"not a record: {error}") from None
    _check_kind(record)
    return record


def decode_records(
    payloads: Sequence[bytes], device: str, epoch: int, first: int
) -> list[Record | str]:
    """The records of a batch, `first` on in that device's epoch; for one that is none, why not.

    Each payload must be one JSON value, as `msgspec.Raw` gives them. The records are of a subclass
    of `Record`, and so equal to none that was read alone.

    What `decode_record` says of each, at a fifth of its time where nothing is wrong with any.
    """
    found = _all_at_once(payloads, device, epoch, first)
    if found is not None:
        return found
    return [_one(payload, device, epoch, seq) for seq, payload in enumerate(payloads, first)]


def _one(payload: bytes, device: str, epoch: int, seq: int) -> Record | str:
    try:
        record = decode_record(payload)
    except RecordInvalid as error:
        return str(error)
    if (record.device, record.epoch, record.seq) != (device, epoch, seq):
        return "the record names another device or place in the chain"
    return record


def _all_at_once(
    payloads: Sequence[bytes], device: str, epoch: int, first: int
) -> list[Record | str] | None:
    """All of them, None where anything is wrong with one."""
    text = b"[" + b",".join(payloads) + b"]"
    try:
        records = _quick_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(records) != len(payloads) or max(map(len, payloads)) > MAX_RECORD_BYTES:
        return None
    # Each payload is one JSON value, so that all are canonical where their list is.
    if _encoder.encode(records) != text or not _are_uuids("".join([r.record_id for r in records])):
        return None
    for seq, record in enumerate(records, first):
        official, supersedes = record.official, record.supersedes
        if (
            record.seq != seq
            or record.epoch != epoch
            or record.device != device
            or (official is not None and not _is_official(official))
            or not _is_uuid(record.boot_id)
            or (supersedes is not None and not _is_uuid(supersedes))
            or _contradiction(record) is not None
        ):
            return None
    return list(records)


# Looked up once: a member of an enumeration costs more than the comparison.
_NEVER_RECORDED = (Status.UNKNOWN, Status.STALE)
_CHECKOUT, _AMEND, _ERASURE, _LEFT = Kind.CHECKOUT, Kind.AMEND, Kind.ERASURE, Status.LEFT


def _check_kind(record: Record) -> None:
    why = _contradiction(record)
    if why is not None:
        raise RecordInvalid(why)


def _contradiction(record: Record) -> str | None:
    kind, status = record.kind, record.status
    if kind in _PERSON_KINDS:
        if record.official is None or record.method is None or status is None:
            return f"a {kind} record needs official, method and status"
        if status in _NEVER_RECORDED:
            return f"{status} is never recorded"
        if kind is _CHECKOUT and status is not _LEFT:
            return "a check-out sets the status left"
    elif record.detail is None:
        return f"a {kind} record needs a detail"
    if (kind is _AMEND) != (record.supersedes is not None):
        return "an amend, and only an amend, names the record that it supersedes"
    if kind is _ERASURE and record.official is None:
        return "an erasure names the official"
    return None

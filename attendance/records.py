"""The record: what a kiosk writes once, keeps as exact bytes, and never changes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from attendance.days import MAX_MS, MIN_MS
from attendance.errors import RecordInvalid
from attendance.statuses import Kind, Method, Status

VERSION = 1
#: Bytes of one encoded record at the most. The longest that a kiosk makes is below 1,200.
MAX_RECORD_BYTES = 4096
MAX_INT = 2**63 - 1

OfficialId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9-]{1,32}\Z")]
DeviceId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]{8,32}\Z")]
Uuid = Annotated[
    str,
    msgspec.Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"),
]
Counter = Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
UnixMs = Annotated[int, msgspec.Meta(ge=MIN_MS, le=MAX_MS)]
Ratio = Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Detail = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
        return self.kind in PERSON_KINDS


PERSON_KINDS = frozenset({Kind.CHECKIN, Kind.CHECKOUT, Kind.DECLARE, Kind.AMEND})

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Record, strict=True)


def encode_record(record: Record) -> bytes:
    """The record's one canonical form: UTF-8 JSON, fields in the order of `Record`, no spaces.

    Raises RecordInvalid where a field is outside its range (what cannot be read back must never be
    written).
    """
    payload = _encoder.encode(record)
    if decode_record(payload) != record:
        raise RecordInvalid("a number of this record is not finite")
    return payload


def decode_record(payload: bytes | memoryview) -> Record:
    """The record of exact bytes. Raises RecordInvalid.

    Bytes that are not the canonical form are refused (duplicate keys, spaces, another order of
    keys, another spelling of a number), so that one record has one hash.
    """
    if len(payload) > MAX_RECORD_BYTES:
        raise RecordInvalid(
            f"a record has at most {MAX_RECORD_BYTES} bytes, this has {len(payload)}"
        )
    try:
        record = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordInvalid(f"not a record: {error}") from None
    if _encoder.encode(record) != bytes(payload):
        raise RecordInvalid("not a record: not in canonical form")
    _check_kind(record)
    return record


def _check_kind(record: Record) -> None:
    if record.concerns_person:
        if record.official is None or record.method is None or record.status is None:
            raise RecordInvalid(f"a {record.kind} record needs official, method and status")
        if record.status in (Status.UNKNOWN, Status.STALE):
            raise RecordInvalid(f"{record.status} is never recorded")
        if (record.kind is Kind.CHECKOUT) and record.status is not Status.LEFT:
            raise RecordInvalid("a check-out sets the status left")
    elif record.detail is None:
        raise RecordInvalid(f"a {record.kind} record needs a detail")
    if (record.kind is Kind.AMEND) != (record.supersedes is not None):
        raise RecordInvalid("an amend, and only an amend, names the record that it supersedes")
    if record.kind is Kind.ERASURE and record.official is None:
        raise RecordInvalid("an erasure names the official")

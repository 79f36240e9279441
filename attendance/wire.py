"""The wire between kiosk, desk and server, written once and used from both ends.

`docs/wire.md` tells the story; this module is the reference. All messages are JSON; unknown fields
are ignored in replies and refused in requests, so that an old kiosk understands a newer server.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from attendance.chain import HEAD_BYTES, run_chain
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.records import (
    MAX_INT,
    Counter,
    DeviceId,
    Nanoseconds,
    OfficialId,
    ShortText,
    UnixMs,
    Uuid,
)
from attendance.signing import SIGNATURE_BYTES, DeviceKeys, check, from_text, to_text
from attendance.statuses import SiteKind, Status

VERSION = 1
PREFIX = "/api/v1"
PAIR = f"{PREFIX}/pair"
CURSOR = f"{PREFIX}/cursor"
RECORDS = f"{PREFIX}/records"
WHEREABOUTS = f"{PREFIX}/whereabouts"
GALLERY = f"{PREFIX}/gallery"
DESK_SITES = f"{PREFIX}/desk/sites"
DESK_KIOSKS = f"{PREFIX}/desk/kiosks"
DESK_ROSTER = f"{PREFIX}/desk/roster"
DESK_PORTRAITS = f"{PREFIX}/desk/portraits"  # /OFFICIAL
DESK_GALLERIES = f"{PREFIX}/desk/galleries"  # /DEVICE
DESK_WITHDRAWALS = f"{PREFIX}/desk/withdrawals"
DESK_ERASURES = f"{PREFIX}/desk/erasures"

MAX_BATCH = 500
MAX_COMPRESSED = 1 << 20
MAX_UNPACKED = 4 << 20
MAX_JSON = 1 << 20
MAX_PORTRAIT = 1 << 20
#: A sealed gallery: 5,000 officials with ten templates of 128 float32 each, and their names.
MAX_GALLERY = 32 << 20

HEADER_DEVICE = "Quxiang-Device"
HEADER_SIGNATURE = "Quxiang-Signature"

Hex = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Key = Annotated[str, msgspec.Meta(min_length=44, max_length=44)]
Signature = Annotated[str, msgspec.Meta(min_length=88, max_length=88)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a device sends."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the server answers."""


class PairRequest(Request, frozen=True, kw_only=True):
    """Pairs a device by a one-time code. The keys are base64 of 32 bytes."""

    v: int = VERSION
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    kind: Annotated[str, msgspec.Meta(pattern=r"\A(kiosk|desk)\Z")]
    sign_key: Key
    box_key: Key


class PairReply(Reply, frozen=True, kw_only=True):
    """Who the device is now. `desk_key` is None until a desk is paired."""

    v: int = VERSION
    device: str
    township: str
    site: str | None
    site_kind: SiteKind | None
    server_key: str
    desk_key: str | None
    server_ms: int


class Health(Request, frozen=True, kw_only=True):
    """What a kiosk says of itself, for the server's site page."""

    camera: ShortText | None = None
    lamps: ShortText | None = None
    clock: ShortText | None = None
    disk_free_mb: Count | None = None
    version: ShortText | None = None


class CursorRequest(Request, frozen=True, kw_only=True):
    """Where the kiosk's chain stands, and its boot clock at the moment of asking.

    `anchor` and `rtt_ns` report the round trip of the anchor got last; `pending` counts records
    that no ack has answered yet.
    """

    v: int = VERSION
    epoch: Counter
    seq: Count
    head: Hex
    boot_id: Uuid
    boottime_ns: Nanoseconds
    wall_ms: UnixMs
    pending: Count
    gallery: Count = 0
    anchor: ShortText | None = None
    rtt_ns: Nanoseconds | None = None
    health: Health | None = None


class AnchorOffer(Reply, frozen=True, kw_only=True):
    """The server's half of a time proof; the kiosk adds the round trip (`attendance.clock`)."""

    id: str
    server_ms: int
    boot_id: str
    boottime_ns: int


class CursorReply(Reply, frozen=True, kw_only=True):
    """Where the server's copy of this kiosk's chain stands.

    `state` is `ok` (send what follows the cursor), `ahead` (the server has records that the kiosk
    lost: open epoch + 1 that cites `head`), `fork` (same seq, other bytes) or `revoked`.
    `desk_key` is the key that signs galleries, None until a desk is paired; a kiosk that already
    holds one does not take another.
    """

    v: int = VERSION
    state: str
    epoch: int
    seq: int
    head: str
    anchor: AnchorOffer
    gallery: int = 0
    desk_key: str | None = None


class Batch(Request, frozen=True, kw_only=True):
    """Consecutive records `first..last` of one epoch, as the exact bytes that the chain covers.

    `before` is the head before `first`, `head` the one after `last`; `cites` is the server's head
    that an epoch after the first continues from. `signature` is the kiosk's, over `batch_claim`.
    """

    v: int = VERSION
    device: DeviceId
    epoch: Counter
    first: Counter
    last: Counter
    before: Hex
    head: Hex
    cites: Hex | None = None
    records: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]
    signature: Signature


class Result(Reply, frozen=True, kw_only=True):
    """The ack of one record: `stored`, `duplicate` or `rejected`, and why."""

    seq: int
    record_id: str | None
    result: str
    why: str | None = None


class BatchReply(Reply, frozen=True, kw_only=True):
    """One result a record, in order, and the cursor after them."""

    v: int = VERSION
    results: list[Result]
    epoch: int
    seq: int
    head: str


class WhereaboutsRow(Reply, frozen=True, kw_only=True):
    """One official as the server knows them; the fields of `attendance.whereabouts.Whereabouts`."""

    official: str
    name: str
    title: str
    status: Status
    basis: str = "nothing"
    since_ms: int | None = None
    until_ms: int | None = None
    cls: str | None = None
    pending: bool = False


class Snapshot(Reply, frozen=True, kw_only=True):
    """Whereabouts of everybody whom this kiosk's board shows, as of `as_of_ms`."""

    v: int = VERSION
    version: str
    as_of_ms: int
    rows: list[WhereaboutsRow]


class Manifest(Reply, frozen=True, kw_only=True):
    """What the desk promises of a gallery, signed by the desk over these exact bytes.

    `version` never goes back. `tombstones` are officials whose templates the kiosk must erase and
    acknowledge by an `erasure` record.
    """

    v: int = VERSION
    device: str
    version: int
    made_ms: int
    expires_ms: int
    model: str
    people: int
    sealed_sha256: str
    tombstones: list[str]


class GalleryPackage(Reply, frozen=True, kw_only=True):
    """A sealed gallery on its way to one kiosk. The server can read only the manifest."""

    v: int = VERSION
    manifest: msgspec.Raw
    signature: str
    sealed: str


class Person(Reply, frozen=True, kw_only=True):
    """One official inside a sealed gallery.

    `templates` are little-endian float32 of shape (k, d), concatenated, L2-normalised, empty for
    whom no face is enrolled. `pin` is an argon2id hash of HMAC-SHA256(`pin_key` of the contents,
    six digits), None where there is none. `second_factor` asks for the PIN after the face.
    """

    official: str
    name: str
    title: str
    templates: bytes = b""
    pin: str | None = None
    second_factor: bool = False


class GalleryContents(Reply, frozen=True, kw_only=True):
    """What a sealed gallery holds (msgpack, since templates are bytes)."""

    v: int = VERSION
    device: str
    version: int
    model: str
    dimension: int
    pin_key: bytes
    people: list[Person]


class SiteRow(Reply, frozen=True, kw_only=True):
    """A site as the desk sees it."""

    site: str
    kind: SiteKind


class KioskRow(Reply, frozen=True, kw_only=True):
    """A paired kiosk as the desk sees it; `gallery` is the version that the server holds for it."""

    device: str
    site: str
    site_kind: SiteKind
    sign_key: str
    box_key: str
    gallery: int
    revoked: bool = False


class RosterRow(Request, frozen=True, kw_only=True):
    """An official's public particulars and where they are expected."""

    official: OfficialId
    name: Name
    title: Text
    phone: Annotated[str, msgspec.Meta(max_length=40)]
    work_group: Text
    sites: Annotated[list[Name], msgspec.Meta(max_length=200)]


class Roster(Request, frozen=True, kw_only=True):
    """Officials to add or to update; nobody is removed by being left out."""

    v: int = VERSION
    officials: Annotated[list[RosterRow], msgspec.Meta(max_length=5000)]


class RosterResult(Reply, frozen=True, kw_only=True):
    """What became of one row: `stored` or `rejected`, and why (`unknown_site: NAME`)."""

    official: str
    result: str
    why: str | None = None


class RosterReply(Reply, frozen=True, kw_only=True):
    """One result a row, in order."""

    v: int = VERSION
    results: list[RosterResult]


class Withdrawal(Request, frozen=True, kw_only=True):
    """An official withdrew consent at the desk."""

    v: int = VERSION
    official: OfficialId
    at_ms: UnixMs


class ErasureRow(Reply, frozen=True, kw_only=True):
    """A kiosk's receipt: its `erasure` record, with the head that vouches for it."""

    device: str
    site: str
    official: str
    record_id: str
    epoch: int
    seq: int
    head: str
    received_ms: int


class Problem(Reply, frozen=True, kw_only=True):
    """Every 4xx and 5xx of the interface: a word for programs, a sentence for people."""

    error: str
    message: str
    wanted: int | None = None


_encoder = msgspec.json.Encoder()
M = TypeVar("M")


def encode(message: Any) -> bytes:
    """A message as JSON."""
    return _encoder.encode(message)


def decode(body: bytes | memoryview, kind: type[M], limit: int = MAX_JSON) -> M:
    """A message of that kind. Raises WireInvalid."""
    if len(body) > limit:
        raise WireInvalid(f"at most {limit} bytes are read, this has {len(body)}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireInvalid(f"malformed message: {error}") from None


def encode_contents(contents: GalleryContents) -> bytes:
    """A gallery's contents as msgpack, to be sealed."""
    return msgspec.msgpack.encode(contents)


def decode_contents(body: bytes) -> GalleryContents:
    """A gallery's contents. Raises WireInvalid."""
    try:
        return msgspec.msgpack.decode(body, type=GalleryContents)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireInvalid(f"malformed gallery: {error}") from None


def unpack(body: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """Gzip undone, never more than `limit` bytes of it. Raises WireInvalid."""
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error:
        raise WireInvalid("not gzip") from None
    if len(data) > limit:
        raise WireInvalid(f"unpacks to more than {limit} bytes")
    if not stream.eof or stream.unused_data:
        raise WireInvalid("the gzip stream is cut short or has a tail")
    return data


BATCH_DOMAIN = "quxiang/batch/1"
REQUEST_DOMAIN = "quxiang/request/1"
REPLY_DOMAIN = "quxiang/reply/1"
MANIFEST_DOMAIN = "quxiang/manifest/1"


def batch_claim(batch: Batch) -> bytes:
    """What a batch's signature covers: device, epoch, range and heads, a line each."""
    cites = batch.cites or ""
    return (
        f"{batch.device}\n{batch.epoch}\n{batch.first}\n{batch.last}\n"
        f"{batch.before}\n{batch.head}\n{cites}"
    ).encode()


def encode_batch(
    keys: DeviceKeys,
    device: str,
    epoch: int,
    first: int,
    before: bytes,
    payloads: Sequence[bytes],
    cites: bytes | None = None,
) -> bytes:
    """A signed, gzipped batch of records `first, first + 1, ...`.

    `payloads` are the exact bytes of the records, `before` the head before the first of them.
    Raises WireInvalid for none or more than MAX_BATCH.
    """
    if not 1 <= len(payloads) <= MAX_BATCH:
        raise WireInvalid(f"a batch has 1 to {MAX_BATCH} records")
    unsigned = Batch(
        device=device,
        epoch=epoch,
        first=first,
        last=first + len(payloads) - 1,
        before=before.hex(),
        head=run_chain(before, payloads).hex(),
        cites=None if cites is None else cites.hex(),
        records=[msgspec.Raw(payload) for payload in payloads],
        signature="",
    )
    signature = to_text(keys.sign(BATCH_DOMAIN, batch_claim(unsigned)))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:
        stream.write(encode(msgspec.structs.replace(unsigned, signature=signature)))
    return packed.getvalue()


def decode_batch(body: bytes, public: bytes) -> tuple[Batch, list[bytes]]:
    """A batch and the exact bytes of its records, its own claims checked.

    `public` is the device's Ed25519 key. Raises WireInvalid (size, form, range, heads that do not
    follow) or SignatureInvalid. What it does not check: whether `before` is the server's head.
    """
    if len(body) > MAX_COMPRESSED:
        raise WireInvalid(f"a batch has at most {MAX_COMPRESSED} bytes")
    batch = decode(unpack(body), Batch, MAX_UNPACKED)
    check(
        public,
        BATCH_DOMAIN,
        batch_claim(batch),
        from_text(batch.signature, SIGNATURE_BYTES),
    )
    payloads = [bytes(raw) for raw in batch.records]
    if batch.last - batch.first + 1 != len(payloads):
        raise WireInvalid("the range does not fit the number of records")
    if run_chain(bytes.fromhex(batch.before), payloads) != bytes.fromhex(batch.head):
        raise WireInvalid("the heads do not follow from the records")
    return batch, payloads


def request_claim(method: str, target: str, body: bytes) -> bytes:
    """What `Quxiang-Signature` of a request covers: method, path and query, the body's hash."""
    return f"{method.upper()}\n{target}\n{hashlib.sha256(body).hexdigest()}".encode()


def sign_request(
    keys: DeviceKeys, device: str, method: str, target: str, body: bytes
) -> dict[str, str]:
    """The two headers that prove who asks. `target` is the path with its query."""
    signature = keys.sign(REQUEST_DOMAIN, request_claim(method, target, body))
    return {HEADER_DEVICE: device, HEADER_SIGNATURE: to_text(signature)}


def check_request(public: bytes, signature: str, method: str, target: str, body: bytes) -> None:
    """Raises SignatureInvalid unless the device with this key sent exactly this."""
    check(
        public,
        REQUEST_DOMAIN,
        request_claim(method, target, body),
        from_text(signature, SIGNATURE_BYTES),
    )


def reply_claim(request_signature: str, status: int, body: bytes) -> bytes:
    """What a reply's signature covers: the request that it answers, the status, the body."""
    return f"{request_signature}\n{status}\n{hashlib.sha256(body).hexdigest()}".encode()


def check_reply(
    public: bytes, signature: str | None, request_signature: str, status: int, body: bytes
) -> None:
    """Raises SignatureInvalid unless the server with this key answered exactly this request so."""
    if signature is None:
        raise SignatureInvalid("the answer is not signed: this is not the township's server")
    check(
        public,
        REPLY_DOMAIN,
        reply_claim(request_signature, status, body),
        from_text(signature, SIGNATURE_BYTES),
    )


def parse_head(text: str) -> bytes:
    """A head from hexadecimal. Raises WireInvalid."""
    try:
        head = bytes.fromhex(text)
    except ValueError:
        raise WireInvalid("a head is 64 hexadecimal digits") from None
    if len(head) != HEAD_BYTES:
        raise WireInvalid("a head is 64 hexadecimal digits")
    return head

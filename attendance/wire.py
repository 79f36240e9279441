"""The wire between kiosk, desk and server, written once and used from both ends.

`docs/wire.md` tells the story; this module and the types of `attendance.messages` are the
reference.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from attendance.chain import HEAD_BYTES, heads_of, run_chain
from attendance.decoding import json_of, msgpack_of
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.messages import (
    MAX_BATCH as MAX_BATCH,
)
from attendance.messages import (
    VERSION as VERSION,
)
from attendance.messages import (
    AnchorOffer as AnchorOffer,
)
from attendance.messages import (
    Batch as Batch,
)
from attendance.messages import (
    BatchReply as BatchReply,
)
from attendance.messages import (
    CursorReply as CursorReply,
)
from attendance.messages import (
    CursorRequest as CursorRequest,
)
from attendance.messages import (
    ErasureRow as ErasureRow,
)
from attendance.messages import (
    ExpectedRow as ExpectedRow,
)
from attendance.messages import (
    GalleryContents as GalleryContents,
)
from attendance.messages import (
    GalleryPackage as GalleryPackage,
)
from attendance.messages import (
    Health as Health,
)
from attendance.messages import (
    KioskRow as KioskRow,
)
from attendance.messages import (
    Manifest as Manifest,
)
from attendance.messages import (
    PairHint as PairHint,
)
from attendance.messages import (
    PairReply as PairReply,
)
from attendance.messages import (
    PairRequest as PairRequest,
)
from attendance.messages import (
    Person as Person,
)
from attendance.messages import (
    Problem as Problem,
)
from attendance.messages import (
    Reply as Reply,
)
from attendance.messages import (
    Request as Request,
)
from attendance.messages import (
    Result as Result,
)
from attendance.messages import (
    Roster as Roster,
)
from attendance.messages import (
    RosterReply as RosterReply,
)
from attendance.messages import (
    RosterResult as RosterResult,
)
from attendance.messages import (
    RosterRow as RosterRow,
)
from attendance.messages import (
    Run as Run,
)
from attendance.messages import (
    SiteRow as SiteRow,
)
from attendance.messages import (
    Snapshot as Snapshot,
)
from attendance.messages import (
    WhereaboutsRow as WhereaboutsRow,
)
from attendance.messages import (
    Withdrawal as Withdrawal,
)
from attendance.messages import (
    Withdrawn as Withdrawn,
)
from attendance.records import decode_record
from attendance.signing import SIGNATURE_BYTES, DeviceKeys, check, from_text, to_text

PREFIX = "/api/v1"
PAIR = f"{PREFIX}/pair"
CURSOR = f"{PREFIX}/cursor"
RECORDS = f"{PREFIX}/records"
#: The query by which a kiosk asks for a brief answer.
BRIEF = "acks=brief"
WHEREABOUTS = f"{PREFIX}/whereabouts"
GALLERY = f"{PREFIX}/gallery"
PORTRAITS = f"{PREFIX}/portraits"  # /TOKEN
RELEASE = f"{PREFIX}/release"  # /NUMBER
DESK_SITES = f"{PREFIX}/desk/sites"
DESK_EXPECTED = f"{PREFIX}/desk/expected"
DESK_KIOSKS = f"{PREFIX}/desk/kiosks"
DESK_ROSTER = f"{PREFIX}/desk/roster"
DESK_PORTRAITS = f"{PREFIX}/desk/portraits"  # /OFFICIAL
DESK_GALLERIES = f"{PREFIX}/desk/galleries"  # /DEVICE
DESK_WITHDRAWALS = f"{PREFIX}/desk/withdrawals"
DESK_ERASURES = f"{PREFIX}/desk/erasures"

MAX_COMPRESSED = 1 << 20
MAX_UNPACKED = 4 << 20
MAX_JSON = 1 << 20
MAX_PORTRAIT = 1 << 20
#: A sealed gallery: 5,000 officials with ten templates of 128 float32 each, and their names.
MAX_GALLERY = 32 << 20

#: How long a gallery is in force, in days: its manifest's life.
GALLERY_DAYS = 90
#: Rows of `GET /desk/expected` at the most, some 6 MB at their longest: a desk reads 8 MiB.
MAX_EXPECTED = 20_000

HEADER_DEVICE = "Quxiang-Device"
HEADER_SIGNATURE = "Quxiang-Signature"

_encoder = msgspec.json.Encoder()
M = TypeVar("M")


def encode(message: Any) -> bytes:
    """A message as JSON."""
    return _encoder.encode(message)


def decode(body: bytes | memoryview, kind: type[M], limit: int = MAX_JSON) -> M:
    """A message of that kind; a request in which a key stands twice is none. Raises WireInvalid."""
    if len(body) > limit:
        raise WireInvalid(f"at most {limit} bytes are read, this has {len(body)}")
    try:
        message = json_of(kind).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireInvalid(f"malformed message: {error}") from None
    # What a device of this release writes comes back byte for byte: a moment, against a second
    # reading that finds doubled keys.
    if isinstance(message, Request) and encode(message) != body:
        _refuse_doubled_keys(bytes(body))
    return message


def _refuse_doubled_keys(body: bytes) -> None:
    if len(body) > MAX_JSON:
        raise WireInvalid("a message as long as this has no spaces, and its keys in order")
    try:
        json.loads(body, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise WireInvalid(f"malformed message: {error}") from None


def _each_once(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")


def encode_contents(contents: GalleryContents) -> bytes:
    """A gallery's contents as msgpack, to be sealed."""
    return msgspec.msgpack.encode(contents)


def decode_contents(body: bytes) -> GalleryContents:
    """A gallery's contents. Raises WireInvalid."""
    try:
        return msgpack_of(GalleryContents).decode(body)
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
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as stream:
        stream.write(encode(msgspec.structs.replace(unsigned, signature=signature)))
    return packed.getvalue()


def decode_batch(body: bytes, public: bytes) -> tuple[Batch, list[bytes]]:
    """A batch and the exact bytes of its records, its own claims checked; see `open_batch`."""
    batch, payloads, _ = open_batch(body, public)
    return batch, payloads


def open_batch(body: bytes, public: bytes) -> tuple[Batch, list[bytes], list[bytes]]:
    """A batch, the exact bytes of its records and the head after each, its own claims checked.

    `public` is the device's Ed25519 key. Raises WireInvalid (size, form, range, heads that do not
    follow) or SignatureInvalid. What it does not check: whether `before` is the server's head, and
    whether the bytes are records (`attendance.records.decode_records`).
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
    heads = heads_of(bytes.fromhex(batch.before), payloads)
    if heads[-1] != bytes.fromhex(batch.head):
        raise WireInvalid("the heads do not follow from the records")
    return batch, payloads, heads


def brief(reply: BatchReply, batch: Batch) -> BatchReply:
    """The same acks in few bytes: a thin line must not carry every record's id back.

    Only where the cursor stands at the end of the batch, so that its head vouches for all of it.
    """
    if (reply.epoch, reply.seq) != (batch.epoch, batch.last):
        return reply
    runs: list[Run] = []
    rest: list[Result] = []
    for result in reply.results:
        if result.result not in ("stored", "duplicate") or result.why is not None:
            rest.append(result)
        elif runs and runs[-1].last == result.seq - 1 and runs[-1].result == result.result:
            runs[-1] = Run(first=runs[-1].first, last=result.seq, result=result.result)
        else:
            runs.append(Run(first=result.seq, last=result.seq, result=result.result))
    return msgspec.structs.replace(reply, results=rest, runs=runs)


def spelled(reply: BatchReply, head: bytes | None, payloads: dict[int, bytes]) -> list[Result]:
    """The acks of a brief answer, one a record, with the ids of our own records.

    `head` is our head at the reply's cursor, `payloads` are the exact bytes sent, by number. A head
    that is not ours vouches for nothing: the runs are then left out.
    """
    results = list(reply.results)
    if head is not None and head.hex() == reply.head:
        for run in reply.runs:
            for seq in range(max(run.first, min(payloads)), min(run.last, max(payloads)) + 1):
                own = decode_record(payloads[seq]).record_id
                results.append(Result(seq=seq, record_id=own, result=run.result))
    return sorted(results, key=lambda result: result.seq)


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

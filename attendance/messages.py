"""Every message of the wire, as a type; `attendance.wire` re-exports them and moves them.

Unknown fields are refused in requests and ignored in replies, so that an old kiosk understands a
newer server.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

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
from attendance.statuses import SiteKind, Status

VERSION = 1
#: Records of one batch at the most.
MAX_BATCH = 500

Hex = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Key = Annotated[str, msgspec.Meta(min_length=44, max_length=44)]
Signature = Annotated[str, msgspec.Meta(min_length=88, max_length=88)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
Text = Annotated[str, msgspec.Meta(max_length=200)]
RefusalReason = Annotated[
    str, msgspec.Meta(pattern=r"\A(unknown|ambiguous|not_live|quality|locked)\Z")
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a device sends."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the server answers."""


class PairHint(Reply, frozen=True, kw_only=True):
    """What anybody may ask before pairing, to compare it with the code (`GET /pair`).

    `certificate` is the SHA-256 of the certificate that TLS presents, where the server knows it:
    the server's signature over this answer also tells a paired device of a renewed one.
    """

    v: int = VERSION
    server_key: str
    desk_keys: list[str] = []
    certificate: str | None = None


class PairRequest(Request, frozen=True, kw_only=True):
    """Pairs a device by a one-time code. The keys are base64 of 32 bytes.

    `device` is left out, but by a kiosk that was paired already and whose server, put back to an
    older backup, does not know it any more: it asks to be admitted under the id that its records
    are bound to.
    """

    v: int = VERSION
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    kind: Annotated[str, msgspec.Meta(pattern=r"\A(kiosk|desk)\Z")]
    sign_key: Key
    box_key: Key
    device: DeviceId | msgspec.UnsetType = msgspec.UNSET


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
    """What a kiosk says of itself, for the server's site page.

    `refused` counts, since the kiosk was made, how often nobody was recorded, by reason: numbers
    only, nothing of who it was. `oldest_s` is the age in seconds of the oldest record that waits
    for its ack, `rejected` how many lie on the visible pile, `troubles` which parts something is
    wrong with now (`kiosk.troubles`).
    """

    camera: ShortText | None = None
    lamps: ShortText | None = None
    clock: ShortText | None = None
    disk_free_mb: Count | None = None
    version: ShortText | None = None
    refused: dict[RefusalReason, Count] | None = None
    oldest_s: Count | None = None
    rejected: Count | None = None
    gallery_expires_ms: UnixMs | None = None
    troubles: Annotated[list[ShortText], msgspec.Meta(max_length=20)] | None = None


class CursorRequest(Request, frozen=True, kw_only=True):
    """Where the kiosk's chain stands, and its boot clock at the moment of asking.

    `anchor` and `rtt_ns` report the round trip of the anchor got last; `pending` counts records
    that no ack has answered yet; `gallery` is the highest version ever taken, which is the one in
    force unless the kiosk cannot read it.
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


class Result(Reply, frozen=True, kw_only=True, gc=False):
    """The ack of one record: `stored`, `duplicate` or `rejected`, and why."""

    seq: int
    record_id: str | None
    result: str
    why: str | None = None


class Run(Reply, frozen=True, kw_only=True):
    """One ack for the records `first..last`, in a brief answer: `stored` or `duplicate`."""

    first: int
    last: int
    result: str


class BatchReply(Reply, frozen=True, kw_only=True):
    """One result a record, in order, and the cursor after them.

    A brief answer (`attendance.wire.brief`) has `runs` for the acks that say no more than a word;
    `head`, the server's after the batch, then stands for the records' ids.
    """

    v: int = VERSION
    results: list[Result]
    epoch: int
    seq: int
    head: str
    runs: list[Run] = []


class WhereaboutsRow(Reply, frozen=True, kw_only=True):
    """One official as the server knows them; the fields of `attendance.whereabouts.Whereabouts`.

    `portrait` is the token of the public picture (`GET /portraits/TOKEN`), None for none. What a
    kiosk holds of a status in `void` that was declared on the snapshot's day counts no more.
    """

    official: str
    name: str
    title: str
    status: Status
    basis: str = "nothing"
    since_ms: int | None = None
    until_ms: int | None = None
    cls: str | None = None
    pending: bool = False
    phone: str = ""
    portrait: str | None = None
    void: list[Status] = []


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
    `card` and `badge` are 32 bytes of `attendance.tokens.mark` under the same key, None likewise.
    `propose`: they consented to pictures being proposed (`attendance.proposals`).
    """

    official: str
    name: str
    title: str
    templates: bytes = b""
    pin: str | None = None
    second_factor: bool = False
    card: bytes | None = None
    badge: bytes | None = None
    propose: bool = False


class GalleryContents(Reply, frozen=True, kw_only=True):
    """What a sealed gallery holds (msgpack, since templates are bytes).

    `desk_box` is the desk's X25519 key, to which proposed pictures are sealed; empty for none.
    """

    v: int = VERSION
    device: str
    version: int
    model: str
    dimension: int
    pin_key: bytes
    people: list[Person]
    desk_box: bytes = b""


class SiteRow(Reply, frozen=True, kw_only=True):
    """A site as the desk sees it."""

    site: str
    kind: SiteKind


class ExpectedRow(Reply, frozen=True, kw_only=True):
    """The server expects this official at this village site, by a pattern or for some day."""

    official: str
    site: str


class KioskRow(Reply, frozen=True, kw_only=True):
    """A paired kiosk as the desk sees it.

    `gallery` is the highest version that the server ever held for it, or that it says it took: the
    desk's next one is above.
    """

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


class Withdrawn(Reply, frozen=True, kw_only=True):
    """A withdrawal that the server knows of, as the desk once told it."""

    official: str
    at_ms: int


class ErasureRow(Reply, frozen=True, kw_only=True):
    """A kiosk's receipt: its `erasure` record, with the head that vouches for it.

    `version` is the manifest that asked, `signature` the kiosk's (`attendance.receipts`); None in
    what no kiosk of this release made.
    """

    device: str
    site: str
    official: str
    record_id: str
    epoch: int
    seq: int
    head: str
    received_ms: int
    version: int | None = None
    signature: str | None = None


class Problem(Reply, frozen=True, kw_only=True):
    """Every 4xx and 5xx of the interface: a word for programs, a sentence for people."""

    error: str
    message: str
    wanted: int | None = None

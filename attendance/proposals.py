"""Proposed template pictures on their way from a kiosk to the desk, readable by the desk alone.

A kiosk that hardly knew somebody may propose a better picture of them, where they consented to
that in writing. It is sealed to the desk's key and signed by the kiosk; kiosk card, USB stick and
server hold bytes that they cannot open. Nothing here changes a template: a supervisor decides.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from attendance.days import DAY_MS
from attendance.errors import WireInvalid
from attendance.messages import VERSION, Reply, Request, Signature
from attendance.records import DeviceId, OfficialId, UnixMs, Uuid
from attendance.signing import (
    SIGNATURE_BYTES,
    DeviceKeys,
    check,
    from_text,
    seal,
    to_text,
)
from attendance.wire import PREFIX

KIOSK_PROPOSALS = f"{PREFIX}/proposals"
DESK_PROPOSALS = f"{PREFIX}/desk/proposals"  # /ID
DESK_DECISIONS = f"{PREFIX}/desk/decisions"

DOMAIN = "quxiang/proposal/1"
MAX_PICTURE = 96 << 10
"""Bytes of one picture: a JPEG of 320 x 320 pixels has some 30 kB."""
MAX_PACKAGE = 192 << 10
"""Bytes of one package: the picture sealed, in base64, in JSON."""
MAX_OF_ONE = 3
"""Undecided proposals of one official at the most, as many as there are templates."""
MAX_WAITING = 300
"""Undecided proposals of one township at the most: some 20 MB at the server."""
LIFETIME_MS = 30 * DAY_MS
"""A proposal that nobody decided is erased after this long, wherever it lies."""


class ProposalContents(Reply, frozen=True, kw_only=True):
    """What only the desk reads (msgpack). `method` is how the kiosk knew them: `face` or `pin`;
    `score` the best comparison then, `threshold` the engine's; `picture` a JPEG."""

    id: str
    device: str
    official: str
    at_ms: int
    method: str
    score: float
    threshold: float
    liveness: str
    model: str
    picture: bytes


class ProposalPackage(Request, frozen=True, kw_only=True):
    """A sealed proposal. `signature` is the kiosk's, over `claim`."""

    v: int = VERSION
    id: Uuid
    official: OfficialId
    device: DeviceId
    at_ms: UnixMs
    sealed: Annotated[str, msgspec.Meta(max_length=MAX_PACKAGE)]
    signature: Signature


class Decision(Request, frozen=True, kw_only=True):
    """What the desk did with a proposal. `by` is the supervisor who looked at it, empty for
    `erased`: consent was withdrawn, or nobody looked for LIFETIME_MS."""

    v: int = VERSION
    id: Uuid
    official: OfficialId
    device: DeviceId
    what: Annotated[str, msgspec.Meta(pattern=r"\A(accepted|refused|erased)\Z")]
    by: Annotated[str, msgspec.Meta(max_length=40)] = ""
    at_ms: UnixMs


class ProposalRow(Reply, frozen=True, kw_only=True):
    """A proposal that waits at the server for the desk."""

    id: str
    official: str
    device: str
    at_ms: int


def claim(package: ProposalPackage) -> bytes:
    """What the kiosk's signature covers, a line each."""
    digest = hashlib.sha256(package.sealed.encode()).hexdigest()
    return f"{package.id}\n{package.official}\n{package.device}\n{package.at_ms}\n{digest}".encode()


def seal_proposal(contents: ProposalContents, desk_box: bytes, keys: DeviceKeys) -> ProposalPackage:
    """Seal to the desk's X25519 key and sign as the kiosk. Raises WireInvalid for a picture of
    more than MAX_PICTURE bytes."""
    if len(contents.picture) > MAX_PICTURE:
        raise WireInvalid(f"a proposed picture has at most {MAX_PICTURE} bytes")
    unsigned = ProposalPackage(
        id=contents.id,
        official=contents.official,
        device=contents.device,
        at_ms=contents.at_ms,
        sealed=to_text(seal(desk_box, msgspec.msgpack.encode(contents))),
        signature="A" * 88,
    )
    signature = to_text(keys.sign(DOMAIN, claim(unsigned)))
    return msgspec.structs.replace(unsigned, signature=signature)


def check_proposal(package: ProposalPackage, kiosk_public: bytes) -> None:
    """Raises SignatureInvalid unless the kiosk with this Ed25519 key made exactly this."""
    check(kiosk_public, DOMAIN, claim(package), from_text(package.signature, SIGNATURE_BYTES))


def open_proposal(package: ProposalPackage, keys: DeviceKeys) -> ProposalContents:
    """What was sealed to this desk. Raises SignatureInvalid, or WireInvalid where it is not what
    the package says."""
    try:
        contents = msgspec.msgpack.decode(
            keys.open(from_text(package.sealed)), type=ProposalContents
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireInvalid(f"malformed proposal: {error}") from None
    said = (package.id, package.official, package.device, package.at_ms)
    if said != (contents.id, contents.official, contents.device, contents.at_ms):
        raise WireInvalid("the proposal is not what its package says")
    if len(contents.picture) > MAX_PICTURE:
        raise WireInvalid(f"a proposed picture has at most {MAX_PICTURE} bytes")
    return contents

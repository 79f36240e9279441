"""The head of a signed release, as server and kiosk pass it on (`kiosk.releases` installs it)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from attendance.decoding import json_of
from attendance.errors import WireInvalid
from attendance.records import MAX_INT
from attendance.signing import SIGNATURE_BYTES, check, from_text, sign, to_text

MAGIC = b"QUXIANG RELEASE 1\n"
DOMAIN = "quxiang/release/1"
#: Bytes of the manifest's line at the most, and of a whole file.
MAX_LINE = 65_536
MAX_FILE = 1 << 30
MACHINE = r"\A[a-z0-9_]{1,32}\Z"


class ReleaseManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher promises of a release.

    `number` grows with every release; `machine` as `uname -m`, `python` the versions that its
    wheels are for; `size` bytes of payload with this SHA-256; `room` bytes that it takes installed.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    made_ms: int
    machine: Annotated[str, msgspec.Meta(pattern=MACHINE)]
    python: list[str]
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_FILE)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    room: Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]


class Head(msgspec.Struct, frozen=True):
    """The three lines before the payload: decoded, and as the exact bytes."""

    manifest: ReleaseManifest
    line: bytes
    signature: bytes

    @property
    def text(self) -> bytes:
        """The three lines."""
        return MAGIC + self.line + b"\n" + to_text(self.signature).encode() + b"\n"

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.text) + self.manifest.size

    def check(self, public: bytes) -> None:
        """Raises SignatureInvalid unless this Ed25519 key signed it."""
        check(public, DOMAIN, self.line, self.signature)


def make_head(seed: bytes, manifest: ReleaseManifest) -> Head:
    """The head of a release, signed with the publisher's 32-byte seed."""
    line = msgspec.json.encode(manifest)
    return Head(manifest, line, sign(seed, DOMAIN, line))


def parse_head(data: bytes) -> Head:
    """The head at the beginning of a file; more may follow. Raises WireInvalid."""
    lines = data.split(b"\n", 3)
    if len(lines) != 4 or lines[0] + b"\n" != MAGIC or len(lines[1]) > MAX_LINE:
        raise WireInvalid("this is no release")
    try:
        manifest = json_of(ReleaseManifest).decode(lines[1])
        signature = from_text(lines[2].decode("ascii"), SIGNATURE_BYTES)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise WireInvalid("this is no release, or it is damaged") from None
    return Head(manifest, lines[1], signature)

"""What goes into the store and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from attendance.records import Record
from attendance.statuses import Kind, Method, Status


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be recorded; the store adds device, epoch, seq, id, clocks and anchor.

    Fields as in `attendance.records.Record`.
    """

    kind: Kind
    official: str | None = None
    status: Status | None = None
    reason: str | None = None
    until_ms: int | None = None
    method: Method | None = None
    verified: bool = True
    score: float | None = None
    margin: float | None = None
    liveness: str | None = None
    model: str | None = None
    gallery: int | None = None
    supersedes: str | None = None
    detail: str | None = None


class Recorded(NamedTuple):
    """A record that is on the disk: itself, its exact bytes, the chain's head after it."""

    record: Record
    payload: bytes
    head: bytes


class Batch(NamedTuple):
    """Consecutive records to send: `payloads[i]` is number `first + i` of `epoch`.

    `before` is the head before the first, `cites` what an epoch after the first continues from.
    """

    epoch: int
    first: int
    before: bytes
    payloads: list[bytes]
    cites: bytes | None


class Head(NamedTuple):
    """Where the chain stands: epoch, number of the last record (0 where none), 32 bytes."""

    epoch: int
    seq: int
    head: bytes


class Rejection(NamedTuple):
    """A record that the server took and could not use."""

    epoch: int
    seq: int
    why: str
    record: Record


class Acked(NamedTuple):
    """How many records of a reply were answered in which way."""

    stored: int
    duplicate: int
    rejected: int

"""The prune point: from where the evidence still verifies when its old rows are gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.decoding import json_of
from attendance.errors import SignatureInvalid
from attendance.i18n import say
from attendance.signing import check
from server.db import plain
from server.models import CheckpointLeaves, PruneLimit, PrunePoint

DOMAIN = "quxiang/prune/1"
#: What kiosks sent and what people looked at: tables whose old rows go. Decisions about people
#: (corrections, findings, leave, signed months) and consent are kept: they have terms of their own.
PRUNED = ("record", "rejected_record", "quarantined", "contact", "audit_entry")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a kiosk's chain goes on: after record `seq` of `epoch`, whose head was `head`."""

    epoch: int
    seq: int
    head: bytes


class Point(msgspec.Struct, frozen=True):
    """Rows of the tables PRUNED that checkpoint `number` had closed may be gone.

    `size`, `root` and `frontier` are the tree at that checkpoint, made at `closed_ms`; `limits`
    the highest row id by table; `kept` SHA-256 over the leaves of every other table until then;
    `chains` where each kiosk's chain goes on.
    """

    number: int
    closed_ms: int
    size: int
    root: bytes
    frontier: bytes
    limits: dict[str, int]
    kept: dict[str, bytes]
    chains: dict[str, Place]


@dataclass
class Begin:
    """What `verify` begins from: the newest valid point, and what is wrong with any."""

    point: Point | None = None
    bad: list[tuple[str, int, str]] = field(default_factory=list)

    def limit(self, table: str) -> int | None:
        """The highest id of that table that may be gone."""
        return None if self.point is None else self.point.limits.get(table)


#: Built once: every sheet asks it.
_LAST_BODY = select(PrunePoint.body).order_by(PrunePoint.id.desc()).limit(1)


def last(session: Session) -> PrunePoint | None:
    """The newest point, unchecked."""
    return session.scalar(select(PrunePoint).order_by(PrunePoint.id.desc()).limit(1))


def parse(body: str) -> Point:
    """Raises msgspec.DecodeError."""
    return json_of(Point).decode(body)


def removed_until(session: Session) -> int | None:
    """Unix milliseconds: what was stored before may be gone. None where nothing ever went."""
    body = plain(session, _LAST_BODY).scalar()
    return None if body is None else parse(body).closed_ms


def begin(session: Session, server_key: bytes) -> Begin:
    """Checks every point and limit."""
    found = Begin()
    signed: dict[int, Point] = {}
    for row in session.execute(
        select(PrunePoint.id, PrunePoint.checkpoint_id, PrunePoint.body, PrunePoint.signature)
        .order_by(PrunePoint.id)
    ):  # fmt: skip
        try:
            check(server_key, DOMAIN, str(row.body).encode(), row.signature)
            point = parse(row.body)
        except (SignatureInvalid, msgspec.DecodeError):
            found.bad.append(
                (
                    "prune_point",
                    row.id,
                    say("签名不是本服务器的", "its signature is not this server's"),
                )
            )
            continue
        if point.number != row.checkpoint_id or not set(point.limits) <= set(PRUNED):
            found.bad.append(
                (
                    "prune_point",
                    row.id,
                    say("各列与签名时不同", "its columns are not those that were signed"),
                )
            )
            continue
        signed[row.id] = found.point = point
    for limit in session.execute(
        select(PruneLimit.id, PruneLimit.point_id, PruneLimit.table_name, PruneLimit.last_id)
        .order_by(PruneLimit.id)
    ):  # fmt: skip
        known = signed.get(limit.point_id)
        if known is None or known.limits.get(limit.table_name) != limit.last_id:
            found.bad.append(
                (
                    "prune_limit",
                    limit.id,
                    say("没有任何已签名的清除点这样说", "no signed prune point says so"),
                )
            )
    return found


def kept_digest(session: Session, table: str, number: int) -> bytes:
    """SHA-256 over the leaves of a table up to that checkpoint, in the order of the tree."""
    digest = hashlib.sha256()
    for leaves in _kept(session, table, number):
        digest.update(leaves)
    return digest.digest()


def _kept(session: Session, table: str, number: int) -> Iterator[bytes]:
    yield from session.scalars(
        select(CheckpointLeaves.leaves)
        .where(CheckpointLeaves.table_name == table, CheckpointLeaves.checkpoint_id <= number)
        .order_by(CheckpointLeaves.id)
        .execution_options(yield_per=10)
    )

"""Checks what was stored against itself: checkpoints, every chain, every row, every column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.errors import SignatureInvalid
from attendance.signing import check
from server.models import Checkpoint, CheckpointLeaves
from server.services import checkpoints, protected
from server.services.chains import Chains, raw
from server.services.merkle import Tree
from server.services.protected import COLUMNS, PROTECTED, hasher

__all__ = ["PROTECTED", "Bad", "verify"]

#: Row id, hash, number of the checkpoint.
_Leaf = tuple[int, bytes, int]


@dataclass(frozen=True)
class Bad:
    """A row that is not what it was; `str()` is the line that `verify` prints."""

    table: str
    rowid: int | str
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.rowid} {self.reason}"


def verify(
    session: Session, server_key: bytes, witness: checkpoints.Witness | None = None
) -> Iterator[Bad]:
    """Every bad row of every township.

    `server_key` is the server's Ed25519 public key; `witness` is compared with the checkpoints
    where it is given. Where a whole table is meant, the row is `-`.
    """
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        session.rollback()
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    for table in protected.unguarded(session):
        yield Bad(table, "-", "the triggers that refuse UPDATE and DELETE are gone or changed")
    roots: dict[int, tuple[int, bytes]] = {}
    yield from _verify_tree(session, server_key, roots)
    if witness is not None:
        yield from _verify_witness(witness, server_key, roots)
    chains = Chains(session)
    for table in COLUMNS:
        yield from _verify_rows(session, table, chains)
    for where in chains.finish():
        yield Bad(*where)


def _verify_tree(
    session: Session, server_key: bytes, roots: dict[int, tuple[int, bytes]]
) -> Iterator[Bad]:
    """Grows the tree again from its leaves; `roots` gets size and root as they truly are."""
    tree, wanted = Tree(), 1
    for number, at_ms, size, root, signature in session.execute(
        select(
            Checkpoint.id, Checkpoint.at_ms, Checkpoint.size, raw(Checkpoint.root),
            raw(Checkpoint.signature),
        ).order_by(Checkpoint.id)
    ).all():  # fmt: skip
        if number != wanted:
            yield Bad("checkpoint", wanted, "it is missing")
        wanted = number + 1
        for rowid, table, last, leaves in session.execute(
            select(
                CheckpointLeaves.id,
                CheckpointLeaves.table_name,
                CheckpointLeaves.last_id,
                raw(CheckpointLeaves.leaves),
            )
            .where(CheckpointLeaves.checkpoint_id == number)
            .order_by(CheckpointLeaves.id)
        ):
            if table not in COLUMNS or last != int.from_bytes(leaves[-40:-32], signed=True):
                yield Bad("checkpoint_leaves", rowid, "its columns are not those of its leaves")
            tree.extend([leaves[i + 8 : i + 40] for i in range(0, len(leaves), 40)])
        roots[number] = (tree.size, tree.root)
        if (size, root) != roots[number]:
            yield Bad("checkpoint", number, "its root is not that of the leaves kept for it")
        try:
            check(server_key, checkpoints.DOMAIN, checkpoints.claim(number, at_ms, size, root),
                  signature)  # fmt: skip
        except SignatureInvalid:
            yield Bad("checkpoint", number, "its signature is not this server's")


def _verify_witness(
    witness: checkpoints.Witness, server_key: bytes, roots: Mapping[int, tuple[int, bytes]]
) -> Iterator[Bad]:
    if witness.server_key != server_key:
        yield Bad("checkpoint", "-", "the witness holds those of another server key")
    for seen in witness.checkpoints:
        signed = checkpoints.claim(seen.number, seen.at_ms, seen.size, seen.root)
        try:
            check(witness.server_key, checkpoints.DOMAIN, signed, seen.signature)
        except SignatureInvalid:
            yield Bad("checkpoint", seen.number, "the witness's copy has no valid signature")
            continue
        held = roots.get(seen.number)
        if held is None:
            yield Bad("checkpoint", seen.number, "the witness holds it, this database does not")
        elif held != (seen.size, seen.root):
            yield Bad("checkpoint", seen.number, "the witness holds another root: rewritten")


def _leaves(session: Session, table: str) -> Iterator[_Leaf]:
    """The table's leaves in the order of its rows."""
    for number, leaves in session.execute(
        select(CheckpointLeaves.checkpoint_id, raw(CheckpointLeaves.leaves))
        .where(CheckpointLeaves.table_name == table)
        .order_by(CheckpointLeaves.id)
        .execution_options(yield_per=10)
    ):
        for i in range(0, len(leaves), 40):
            rowid = int.from_bytes(leaves[i : i + 8], signed=True)
            yield rowid, leaves[i + 8 : i + 40], number


def _verify_rows(session: Session, table: str, chains: Chains) -> Iterator[Bad]:
    """Rows against their leaves and, for records, against chain and payload, in one reading."""
    hash_of = hasher(table)
    leaves = _leaves(session, table)
    leaf = next(leaves, None)
    records = table == "record"
    for row in protected.rows(session, table):
        rowid = row[0]
        while leaf is not None and leaf[0] < rowid:
            yield _deleted(table, leaf)
            leaf = next(leaves, None)
        if leaf is not None and leaf[0] == rowid:
            if leaf[1] != hash_of(row):
                yield Bad(table, rowid, f"it was changed after checkpoint {leaf[2]}")
            leaf = next(leaves, None)
        elif leaf is not None:
            yield Bad(table, rowid, "it was inserted among rows that a checkpoint had closed")
        if records:
            for reason in chains.take(row):
                yield Bad("record", rowid, reason)
            for where in chains.waiting:
                yield Bad(*where)
            chains.waiting.clear()
    while leaf is not None:
        yield _deleted(table, leaf)
        leaf = next(leaves, None)


def _deleted(table: str, leaf: _Leaf) -> Bad:
    return Bad(table, leaf[0], f"it was deleted after checkpoint {leaf[2]}")

"""Checks what was stored against itself: checkpoints, every chain, every row, every column."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.errors import SignatureInvalid
from attendance.i18n import say
from attendance.signing import check
from server.models import Checkpoint, CheckpointLeaves
from server.services.evidence import checkpoints, deviceseals, protected, retention, seals
from server.services.evidence.leaves import Leaf, Leaves, pack
from server.services.evidence.merkle import Tree
from server.services.evidence.protected import COLUMNS, PROTECTED, Row, hasher
from server.services.evidence.retention import Point
from server.services.records.chains import Chains, places_at, raw

__all__ = ["PROTECTED", "Bad", "Rest", "verify", "verify_above"]


@dataclass(frozen=True)
class Bad:
    """A row that is not what it was; `str()` is the line that `verify` prints."""

    table: str
    rowid: int | str
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.rowid} {self.reason}"


class Rest(NamedTuple):
    """What somebody else found in the records above the row `above`, and at the chains' ends."""

    above: int
    found: Callable[[], tuple[list[Bad], list[Bad]]]


def verify(
    session: Session,
    server_key: bytes,
    witness: checkpoints.Witness | None = None,
    rest: Rest | None = None,
) -> Iterator[Bad]:
    """Every bad row of every township.

    `server_key` is the server's Ed25519 public key; `witness` is compared with the checkpoints
    where it is given. With `rest` another process reads the later records meanwhile
    (`server.services.evidence.halves`). Where a whole table is meant, the row is `-`.
    """
    _stand_still(session)
    for table in protected.unguarded(session):
        yield Bad(
            table,
            "-",
            say(
                "拒绝 UPDATE 和 DELETE 的触发器没有了，或被改过",
                "the triggers that refuse UPDATE and DELETE are gone or changed",
            ),
        )
    start = retention.begin(session, server_key)
    for table, rowid, reason in start.bad:
        yield Bad(table, rowid, reason)
    roots: dict[int, tuple[int, bytes]] = {}
    yield from _verify_tree(session, server_key, roots, start.point)
    if witness is not None:
        yield from _verify_witness(witness, server_key, roots)
    chains = Chains(session, {} if start.point is None else start.point.chains)
    for where in (
        *seals.strangers(session),
        *deviceseals.changed(session, server_key),
        *deviceseals.unreceived(session, server_key),
    ):
        yield Bad(*where)
    if rest is None:
        for table in COLUMNS:
            yield from _verify_rows(session, server_key, table, chains, start.limit(table))
        yield from (Bad(*where) for where in chains.finish())
        return
    limit = start.limit("record")
    yield from _verify_rows(session, server_key, "record", chains, limit, rest.above)
    found = [
        bad
        for table in COLUMNS
        if table != "record"
        for bad in _verify_rows(session, server_key, table, chains, start.limit(table))
    ]
    later, ends = rest.found()
    yield from (*later, *found, *ends)


def verify_above(session: Session, server_key: bytes, above: int) -> tuple[list[Bad], list[Bad]]:
    """Bad records above that row, and what is wrong at the ends of the chains.

    The chains go on from the last record of each kiosk up to there, which are taken as they stand:
    whoever reads up to there checks them.
    """
    _stand_still(session)
    start = retention.begin(session, server_key)
    places = {} if start.point is None else start.point.chains
    chains = Chains(session, {**places, **places_at(session, above)})
    chains.waiting.clear()  # told by who reads up to there
    bad = list(_verify_rows(session, server_key, "record", chains, above))
    return bad, [Bad(*where) for where in chains.finish()]


def _stand_still(session: Session) -> None:
    """All that follows is of one moment."""
    if session.connection().dialect.name != "sqlite":
        session.rollback()
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _verify_tree(
    session: Session, server_key: bytes, roots: dict[int, tuple[int, bytes]], start: Point | None
) -> Iterator[Bad]:
    """Grows the tree again from its leaves; `roots` gets size and root as they truly are.

    Up to a prune point they are as they were signed, and the leaves of the tables that were kept
    are those that the point signed.
    """
    tree, wanted = Tree(), 1
    for table, digest in () if start is None else start.kept.items():
        if retention.kept_digest(session, table, start.number) != digest:  # type: ignore[union-attr]
            yield Bad(
                "checkpoint_leaves",
                "-",
                say(f"{table} 的叶子与签名时不同", f"those of {table} are not what was signed"),
            )
    for number, at_ms, size, root, signature in session.execute(
        select(
            Checkpoint.id, Checkpoint.at_ms, Checkpoint.size, raw(Checkpoint.root),
            raw(Checkpoint.signature),
        ).order_by(Checkpoint.id)
    ).all():  # fmt: skip
        if number != wanted:
            yield Bad("checkpoint", wanted, say("缺失", "it is missing"))
        wanted = number + 1
        if start is not None and number <= start.number:
            if number == start.number:
                tree = Tree(start.size, start.frontier)
                if (tree.size, tree.root) != (size, root):
                    yield Bad(
                        "checkpoint",
                        number,
                        say("树根与清除点不符", "its root is not that of the prune point"),
                    )
            roots[number] = (size, root)
            if not _is_signed(server_key, number, at_ms, size, root, signature):
                yield Bad(
                    "checkpoint",
                    number,
                    say("签名不是本服务器的", "its signature is not this server's"),
                )
            continue
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
                yield Bad(
                    "checkpoint_leaves",
                    rowid,
                    say("各列与其叶子不符", "its columns are not those of its leaves"),
                )
            tree.extend([leaves[i + 8 : i + 40] for i in range(0, len(leaves), 40)])
        roots[number] = (tree.size, tree.root)
        if (size, root) != roots[number]:
            yield Bad(
                "checkpoint",
                number,
                say("树根与所存叶子不符", "its root is not that of the leaves kept for it"),
            )
        if not _is_signed(server_key, number, at_ms, size, root, signature):
            yield Bad(
                "checkpoint",
                number,
                say("签名不是本服务器的", "its signature is not this server's"),
            )


def _is_signed(
    server_key: bytes, number: int, at_ms: int, size: int, root: bytes, signature: bytes
) -> bool:
    claim = checkpoints.claim(number, at_ms, size, root)
    try:
        check(server_key, checkpoints.DOMAIN, claim, signature)
    except SignatureInvalid:
        return False
    return True


def _verify_witness(
    witness: checkpoints.Witness, server_key: bytes, roots: Mapping[int, tuple[int, bytes]]
) -> Iterator[Bad]:
    if witness.server_key != server_key:
        yield Bad(
            "checkpoint",
            "-",
            say("见证文件属于另一台服务器的密钥", "the witness holds those of another server key"),
        )
    for seen in witness.checkpoints:
        signed = checkpoints.claim(seen.number, seen.at_ms, seen.size, seen.root)
        try:
            check(witness.server_key, checkpoints.DOMAIN, signed, seen.signature)
        except SignatureInvalid:
            yield Bad(
                "checkpoint",
                seen.number,
                say("见证文件中的签名无效", "the witness's copy has no valid signature"),
            )
            continue
        held = roots.get(seen.number)
        if held is None:
            yield Bad(
                "checkpoint",
                seen.number,
                say(
                    "见证文件中有，本数据库中没有：被改写，或恢复了较早的备份",
                    "the witness holds it, this database does not: rewritten or an older backup",
                ),
            )
        elif held != (seen.size, seen.root):
            yield Bad(
                "checkpoint",
                seen.number,
                say(
                    "见证文件中的树根不同：被改写，或恢复过备份",
                    "the witness holds another root: rewritten, or a backup was restored",
                ),
            )


def _verify_rows(
    session: Session,
    server_key: bytes,
    table: str,
    chains: Chains,
    after: int | None,
    until: int | None = None,
) -> Iterator[Bad]:
    """Rows against their leaves and their seals and, for records, against chain and payload, in one
    reading.

    Those up to the prune limit `after` are gone, or about to go; those above `until` are another's.
    """
    hash_of = hasher(table)
    leaves = Leaves(session, table, after, until)
    records = table == "record"
    sealed = None
    if table in seals.SEALED:
        passing = table in seals.PASSING
        closed = _closed(session, table, after) if passing else None
        sealed = seals.Seals(session, server_key, table, closed)
    if records:
        yield from _beside(chains)
    for page in protected.pages(session, table, after, until):
        # Nearly always all is well with all of them, which is seen in a third of the time.
        if _are_closed(page, hash_of, leaves):
            if records and not chains.take_all(page):
                yield from _against_chains(page, chains)
        else:
            for row in page:
                for bad in _against_leaves(table, row, hash_of, leaves):
                    yield bad
                    if sealed is not None:
                        sealed.named.add(bad.rowid)
                if records:
                    yield from _against_chains([row], chains)
        if sealed is not None:
            yield from (Bad(*where) for where in sealed.take(page))
    while (leaf := leaves.peek()) is not None:
        yield _deleted(table, leaf)
        if sealed is not None:
            sealed.named.add(leaf.rowid)
        leaves.drop()
    if sealed is not None:
        yield from (Bad(*where) for where in sealed.finish())


def _closed(session: Session, table: str, gone: int | None) -> int | None:
    """The highest id that a checkpoint closed, whether or not its leaves are still held."""
    ends = [end for end in (gone, seals.closed_until(session, table)) if end is not None]
    return max(ends, default=None)


def _against_chains(rows: list[Row], chains: Chains) -> Iterator[Bad]:
    for row in rows:
        for reason in chains.take(row):
            yield Bad("record", row[0], reason)
        yield from _beside(chains)


def _beside(chains: Chains) -> Iterator[Bad]:
    """What was found beside the records until now."""
    for where in chains.waiting:
        yield Bad(*where)
    chains.waiting.clear()


def _are_closed(page: list[Row], hash_of: Callable[[Row], bytes], leaves: Leaves) -> bool:
    """Whether these are the next leaves exactly, or come after all of them."""
    if leaves.peek() is None:
        return True
    try:
        return leaves.take(b"".join([pack(row[0], hash_of(row)) for row in page]))
    except (TypeError, struct.error):  # an id that is none
        return False


def _against_leaves(
    table: str, row: Row, hash_of: Callable[[Row], bytes], leaves: Leaves
) -> Iterator[Bad]:
    rowid = row[0]
    while (leaf := leaves.peek()) is not None and leaf.rowid < rowid:
        yield _deleted(table, leaf)
        leaves.drop()
    if leaf is not None and leaf.rowid == rowid:
        if leaf.digest != hash_of(row):
            yield Bad(
                table,
                rowid,
                say(
                    f"在检查点 {leaf.number} 之后被改过",
                    f"it was changed after checkpoint {leaf.number}",
                ),
            )
        leaves.drop()
    elif leaf is not None:
        yield Bad(
            table,
            rowid,
            say(
                "插在检查点已封存的行之间",
                "it was inserted among rows that a checkpoint had closed",
            ),
        )


def _deleted(table: str, leaf: Leaf) -> Bad:
    return Bad(
        table,
        leaf.rowid,
        say(f"在检查点 {leaf.number} 之后被删除", f"it was deleted after checkpoint {leaf.number}"),
    )

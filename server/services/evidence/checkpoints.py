"""Hourly signed checkpoints over every append-only row, and their copy for an outside witness."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from flask import Flask, Response, g
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from attendance.days import to_ms
from attendance.i18n import say
from attendance.signing import sign
from server.context import context
from server.errors import WitnessInvalid
from server.models import Checkpoint, CheckpointLeaves
from server.services.evidence import seals
from server.services.evidence.merkle import Tree
from server.services.evidence.protected import COLUMNS, SCHEME, Row, hasher, pages

log = logging.getLogger(__name__)

DOMAIN = "quxiang/checkpoint/1"
INTERVAL_MS = 3_600_000
#: Rows of one checkpoint at the most: it holds the write lock for about a second.
MOST_ROWS = 100_000
#: Leaves kept in one row, 40 bytes each.
_SEGMENT = 10_000
#: After a failure it is tried again so much later.
_RETRY_MS = 60_000


class Seen(msgspec.Struct, frozen=True):
    """One checkpoint as a witness holds it."""

    number: int
    at_ms: int
    size: int
    root: bytes
    signature: bytes


class Witness(msgspec.Struct, frozen=True, tag_field="kind", tag="quxiang-witness"):
    """The file of `quxiang-server witness`: JSON, bytes in base64."""

    v: int
    server_key: bytes
    checkpoints: list[Seen]


def claim(number: int, at_ms: int, size: int, root: bytes) -> bytes:
    """What a checkpoint's signature is over, after the domain."""
    return f"{number}\n{at_ms}\n{size}\n{root.hex()}".encode()


def last_of(session: Session) -> Checkpoint | None:
    """The newest checkpoint."""
    return session.scalar(select(Checkpoint).order_by(Checkpoint.id.desc()).limit(1))


def covered(session: Session) -> dict[str, int]:
    """For each table the highest row id that a checkpoint vouches for."""
    found = session.execute(
        select(CheckpointLeaves.table_name, func.max(CheckpointLeaves.last_id)).group_by(
            CheckpointLeaves.table_name
        )
    )
    return {row[0]: row[1] for row in found}


def make(session: Session, seed: bytes, now: datetime, most: int = MOST_ROWS) -> Checkpoint | None:
    """Appends a checkpoint over the rows since the last one, `most` at the most; None without any.

    Needs a writing session; the caller commits. `seed` is the server's Ed25519 seed.
    """
    if session.connection().dialect.name != "sqlite":
        # A row whose transaction ends later must not get an id below what is covered already.
        names = ",".join(f'"{table}"' for table in COLUMNS)
        session.execute(text(f"LOCK TABLE {names}, checkpoint IN SHARE ROW EXCLUSIVE MODE"))
    before = last_of(session)
    tree = Tree() if before is None else Tree(before.size, before.frontier)
    known = covered(session)
    segments: list[CheckpointLeaves] = []
    number = 1 if before is None else before.id + 1
    for table in COLUMNS:
        rows = _rows(session, seed, table, known.get(table))
        for entries, last in _segments(rows, table, most - _count(segments)):
            tree.extend([entries[i + 8 : i + 40] for i in range(0, len(entries), 40)])
            segments.append(
                CheckpointLeaves(
                    checkpoint_id=number, table_name=table, scheme=SCHEME, last_id=last,
                    leaves=entries,
                )
            )  # fmt: skip
    if not segments:
        return None
    at_ms, root = to_ms(now), tree.root
    made = Checkpoint(
        id=number, at_ms=at_ms, size=tree.size, root=root, frontier=tree.frontier,
        signature=sign(seed, DOMAIN, claim(number, at_ms, tree.size, root)),
    )  # fmt: skip
    session.add(made)
    session.flush()
    for segment in segments:  # one by one: their order is the order in the tree
        session.add(segment)
        session.flush()
        if segment.table_name in seals.PASSING:
            at = range(0, len(segment.leaves), 40)
            ids = [int.from_bytes(segment.leaves[i : i + 8], signed=True) for i in at]
            seals.passed(session, segment.table_name, ids)
    return made


def _count(segments: list[CheckpointLeaves]) -> int:
    return sum(len(segment.leaves) for segment in segments) // 40


def _rows(session: Session, seed: bytes, table: str, after: int | None) -> Iterator[Row]:
    """What is to be closed: of a table whose seals pass then, only what has one."""
    for page in pages(session, table, after):
        yield from seals.genuine(session, seed, table, page) if table in seals.PASSING else page


def _segments(rows: Iterator[Row], table: str, most: int) -> Iterator[tuple[bytes, int]]:
    hash_of, entries = hasher(table), bytearray()
    last, count = 0, 0
    if most <= 0:
        return
    for row in rows:
        last, count = row[0], count + 1
        entries += last.to_bytes(8, signed=True) + hash_of(row)
        if len(entries) == 40 * _SEGMENT:
            yield bytes(entries), last
            entries.clear()
        if count >= most:
            break
    if entries:
        yield bytes(entries), last


def make_all(session: Session, seed: bytes, now: datetime) -> Checkpoint | None:
    """Checkpoints until nothing is left; the last one made, or the newest there is."""
    while make(session, seed, now) is not None:
        pass
    return last_of(session)


def write_witness(session: Session, server_key: bytes, path: Path) -> None:
    """Writes the witness file. Raises OSError.

    A file that is there already is replaced only where all that it holds is held here too: raises
    WitnessInvalid otherwise, since it may be the last proof of what was.
    """
    seen = [
        Seen(c.id, c.at_ms, c.size, c.root, c.signature)
        for c in session.scalars(select(Checkpoint).order_by(Checkpoint.id))
    ]
    if path.exists():
        held = read_witness(path)
        if held.server_key != server_key or held.checkpoints != seen[: len(held.checkpoints)]:
            raise WitnessInvalid(
                say(
                    f"{path} 中有本数据库没有的检查点，不会覆盖：请运行 "
                    f"quxiang-server verify --witness {path}",
                    f"{path} holds checkpoints that this database does not, and is not "
                    f"overwritten: run quxiang-server verify --witness {path}",
                )
            )
    waiting = path.with_name(path.name + ".new")
    waiting.write_bytes(msgspec.json.encode(Witness(1, server_key, seen)) + b"\n")
    waiting.replace(path)


def read_witness(path: Path) -> Witness:
    """A witness file. Raises WitnessInvalid, OSError."""
    try:
        witness = msgspec.json.decode(path.read_bytes(), type=Witness)
    except (msgspec.DecodeError, UnicodeDecodeError):
        witness = None
    if witness is None or witness.v != 1:
        raise WitnessInvalid(
            say(
                f"{path} 不是 quxiang-server witness 生成的文件",
                f"{path} is not a file that quxiang-server witness wrote",
            )
        )
    return witness


class Keeper:
    """Makes the hourly checkpoint of a process after an answer that wrote; needs no other clock."""

    def __init__(self) -> None:
        self._due_ms: int | None = None
        self._more = False
        self._one = threading.Lock()

    def due(self, now_ms: int) -> bool:
        """Whether this process ought to look. A clock that was set back by hours does not wait."""
        due = self._due_ms
        return due is None or not due - 2 * INTERVAL_MS < now_ms < due

    def keep(self, begin: Callable[[], Session], seed: bytes, now: datetime) -> bool:
        """Makes a checkpoint where an hour has passed since the last; True where it made one."""
        if not self._one.acquire(blocking=False):
            return False
        try:
            now_ms = to_ms(now)
            self._due_ms = now_ms + _RETRY_MS
            with begin() as session:
                last = last_of(session)
                fresh = last is not None and 0 <= now_ms - last.at_ms < INTERVAL_MS
                if last is not None and fresh and not self._more:
                    self._due_ms = last.at_ms + INTERVAL_MS
                    return False
                before = 0 if last is None else last.size
                made = make(session, seed, now)
                session.commit()
                self._more = made is not None and made.size - before >= MOST_ROWS
                if not self._more:
                    self._due_ms = now_ms + INTERVAL_MS
                return made is not None
        except DBAPIError:
            log.exception("no checkpoint could be made; it is tried again in a minute")
            return False
        finally:
            self._one.release()


def register(app: Flask) -> None:
    """Looks after each answer that changed something; register before the session's own end."""
    keeper = Keeper()

    @app.after_request
    def wrote(response: Response) -> Response:
        from flask import request

        if request.method not in ("GET", "HEAD", "OPTIONS") and response.status_code < 400:
            g.quxiang_wrote = True
        return response

    @app.teardown_appcontext
    def keep(_error: BaseException | None) -> None:
        if not g.pop("quxiang_wrote", False):
            return
        here = context()
        now = here.now()
        if keeper.due(to_ms(now)):
            keeper.keep(lambda: here.database.session(write=True), here.keys.sign_seed, now)

"""Takes old rows out of the server: whole segments of checkpoints, up to a signed point.

The point is written first; then rows and their leaves go in small steps, each a transaction of its
own, so that uploads never wait long. A command that was stopped half-way is finished by the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance.days import DAY_MS, from_ms, to_ms
from attendance.i18n import say
from attendance.signing import sign
from server.config import KEEP_DAYS, LEAST_KEEP_DAYS, ServerKeys
from server.db import Database
from server.errors import InputInvalid
from server.models import (
    Checkpoint,
    CheckpointLeaves,
    Device,
    PruneLimit,
    PrunePoint,
    RecordRow,
    RejectedRecord,
    Township,
)
from server.services.evidence import audit, checkpoints, retention, verify
from server.services.evidence.protected import COLUMNS
from server.services.evidence.retention import PRUNED, Place, Point
from server.services.records import apart

#: A clock that is this far ahead of the newest checkpoint is not believed.
MOST_SILENT = timedelta(days=31)
#: Newest records whose clocks are looked at.
LATEST = 500
#: Tables that may be left empty.
EMPTIED = ("rejected_record", "quarantined")
#: Rows of one step.
STEP = 5_000


@dataclass(frozen=True)
class Pruned:
    """What a call did: rows that went, and the moment before which everything is gone."""

    rows: int
    until: datetime | None


def prune(
    database: Database, keys: ServerKeys, now: datetime, keep_days: int = KEEP_DAYS
) -> Pruned:
    """Removes what was stored more than `keep_days` ago (at least LEAST_KEEP_DAYS).

    Raises InputInvalid: too few days, a clock that cannot be right, or evidence that does not
    verify (nothing is removed before somebody looked at it).
    """
    if keep_days < LEAST_KEEP_DAYS:
        raise InputInvalid(
            "keep_days",
            say(
                f"至少保留 {LEAST_KEEP_DAYS} 天：终端会保留已确认的记录一年以上",
                f"at least {LEAST_KEEP_DAYS} days are kept, as kiosks keep a year and more",
            ),
        )
    with database.session() as session:
        number = _closed_before(session, now, keep_days)
        if number is not None:
            _check_clock(session, now)
            _check(session, keys)
    if number is not None:
        with database.transaction() as session:
            _announce(session, keys, number, now)
    with database.session() as session:
        row = retention.last(session)
        point = None if row is None else retention.parse(row.body)
    if point is None:
        return Pruned(0, None)
    rows = sum(_remove(database, table, point.limits.get(table)) for table in PRUNED)
    for table in PRUNED:
        _remove_leaves(database, table, point.limits.get(table))
    with database.transaction() as session:
        waiting = select(Device).where(Device.apart_from_ms.is_not(None)).with_for_update(of=Device)
        for device in session.scalars(waiting).unique():
            apart.look_again(session, device)
    return Pruned(rows, from_ms(point.closed_ms))


def _closed_before(session: Session, now: datetime, keep_days: int) -> int | None:
    """The newest checkpoint that is old enough and above the last point; None where none is."""
    newest = checkpoints.last_of(session)
    if newest is None:
        return None
    if now - from_ms(newest.at_ms) > MOST_SILENT:
        raise InputInvalid(
            "clock",
            say(
                "最近一个月没有任何新记录：请先核对服务器时钟，让一台终端同步后再试",
                "nothing was stored for a month: check the server's clock, let a kiosk sync, and "
                "try again",
            ),
        )
    last = retention.last(session)
    above = 0 if last is None else last.checkpoint_id
    found = None
    size = session.scalar(select(Checkpoint.size).where(Checkpoint.id == above)) or 0
    for row in session.execute(
        select(Checkpoint.id, Checkpoint.size)
        .where(Checkpoint.id > above, Checkpoint.at_ms <= to_ms(now) - keep_days * DAY_MS)
        .order_by(Checkpoint.id)
    ):
        # One that was cut off at its most rows closes the tables at different moments.
        if row.size - size < checkpoints.MOST_ROWS:
            found = row.id
        size = row.size
    return found


def _check_clock(session: Session, now: datetime) -> None:
    """Kiosks' clocks must bear out what the server takes for the time, or all would be old."""
    newest = select(RecordRow.wall_ms, RecordRow.received_ms).order_by(RecordRow.id.desc())
    most = MOST_SILENT // timedelta(milliseconds=1)
    clocks = session.execute(newest.limit(LATEST)).all()
    if not clocks:
        return  # nothing of anybody's could go
    for wall_ms, received_ms in clocks:
        if abs(to_ms(now) - received_ms) <= most and abs(received_ms - wall_ms) <= most:
            return
    raise InputInvalid(
        "clock",
        say(
            "最近一个月没有哪台终端的时钟与服务器一致：请先核对服务器时钟，让一台终端签到并同步"
            "后再试",
            "no kiosk's clock of the last month agrees with the server's: check the server's "
            "clock, let somebody check in and the kiosk sync, and try again",
        ),
    )


def _check(session: Session, keys: ServerKeys) -> None:
    bad = next(verify.verify(session, keys.sign_public), None)
    if bad is not None:
        raise InputInvalid(
            "evidence",
            say(
                f"证据不一致（{bad}），未清除任何记录：请先运行 quxiang-server verify",
                f"the evidence does not hold ({bad}), nothing was removed: run quxiang-server "
                "verify first",
            ),
        )


def _announce(session: Session, keys: ServerKeys, number: int, now: datetime) -> None:
    """Writes the point that closes with that checkpoint."""
    closed = session.get_one(Checkpoint, number)
    limits = {
        row[0]: row[1]
        for row in session.execute(
            select(CheckpointLeaves.table_name, func.max(CheckpointLeaves.last_id))
            .where(
                CheckpointLeaves.checkpoint_id <= number, CheckpointLeaves.table_name.in_(PRUNED)
            )
            .group_by(CheckpointLeaves.table_name)
        )
    }
    last = retention.last(session)
    before = None if last is None else retention.parse(last.body)
    if before is not None:
        limits = {**before.limits, **limits}
    chains = dict(before.chains) if before is not None else {}
    # Locked: a contact meanwhile seals the same row anew.
    kiosks = select(Device).where(Device.kind == "kiosk").with_for_update(of=Device)
    for device in session.scalars(kiosks.order_by(Device.id)).unique():
        place = _last_place(session, device.id, limits)
        if place is not None:
            chains[device.id] = place
            device.pruned_epoch, device.pruned_seq = place.epoch, place.seq
            device.pruned_head = place.head
    point = Point(
        number=number,
        closed_ms=closed.at_ms,
        size=closed.size,
        root=closed.root,
        frontier=closed.frontier,
        limits=limits,
        kept={t: retention.kept_digest(session, t, number) for t in COLUMNS if t not in PRUNED},
        chains=chains,
    )
    body = msgspec.json.encode(point, order="sorted").decode()
    row = PrunePoint(
        checkpoint_id=number, at_ms=to_ms(now), body=body,
        signature=sign(keys.sign_seed, retention.DOMAIN, body.encode()),
    )  # fmt: skip
    session.add(row)
    session.flush()
    for table, last_id in sorted(limits.items()):
        session.add(PruneLimit(point_id=row.id, table_name=table, last_id=last_id))
    for township_id in session.scalars(select(Township.id)).all():
        told = f"checkpoint {number}"
        audit.note_for(session, township_id, "command", "prune", told, now)
    session.flush()


def _last_place(session: Session, device: str, limits: dict[str, int]) -> Place | None:
    """Where the kiosk's chain goes on after what is about to go."""
    places = []
    for table in (RecordRow, RejectedRecord):
        limit = limits.get(table.__tablename__)
        if limit is None:
            continue
        row = session.execute(
            select(table.epoch, table.seq, table.head)
            .where(table.device_id == device, table.id <= limit)
            .order_by(table.epoch.desc(), table.seq.desc())
            .limit(1)
        ).first()
        if row is not None:
            places.append((row.epoch, row.seq, row.head))
    return Place(*max(places)) if places else None


def _remove(database: Database, table: str, limit: int | None) -> int:
    """Rows up to that id, oldest first; how many went."""
    count = 0
    while limit is not None:
        with database.transaction() as session:
            connection = session.connection()
            if connection.dialect.name == "sqlite":
                # What a page held is overwritten: it is about people.
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            name, mark = f'"{table}"', "?" if connection.dialect.name == "sqlite" else "%s"
            # The newest row of all stays: SQLite gave its number again, below the limit. In tables
            # that may be left empty it does not (revision 0094).
            newest = "" if table in EMPTIED else f"AND id < (SELECT max(id) FROM {name}) "  # noqa: S608
            top = connection.exec_driver_sql(
                f"SELECT max(id) FROM (SELECT id FROM {name} WHERE id <= {mark} {newest}"  # noqa: S608
                f"ORDER BY id LIMIT {STEP}) AS oldest",
                (limit,),
            ).scalar()
            if top is None:
                return count
            count += connection.exec_driver_sql(
                f"DELETE FROM {name} WHERE id <= {mark}",  # noqa: S608
                (top,),
            ).rowcount
    return count


def _remove_leaves(database: Database, table: str, limit: int | None) -> None:
    while limit is not None:
        with database.transaction() as session:
            row = session.scalar(
                select(CheckpointLeaves)
                .where(CheckpointLeaves.table_name == table, CheckpointLeaves.last_id <= limit)
                .order_by(CheckpointLeaves.id)
                .limit(1)
            )
            if row is None:
                return
            session.delete(row)

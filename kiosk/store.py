"""The durable store: a record, its place in the chain and in the outbox, in one transaction.

Every method may be called from any thread; other processes (`checkin`, `sync`, `status` beside the
running kiosk) open the same file with a `Store` of their own. Whatever cannot be written or read
raises `StoreUnusable`; the next call tries anew, so recording goes on when the fault has cleared.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator

from attendance.chain import genesis, next_head, verify_chain
from attendance.clock import Anchor
from attendance.days import MAX_MS, MIN_MS
from attendance.errors import ChainBroken, RecordInvalid
from attendance.records import Record, decode_record, encode_record
from attendance.statuses import Kind
from attendance.whereabouts import Fact
from attendance.wire import MAX_BATCH, Result
from kiosk import pruned, timeline
from kiosk.clock import Reading
from kiosk.database import Database
from kiosk.drafts import Acked, Batch, Draft, Head, Recorded, Rejection
from kiosk.errors import StoreUnusable

__all__ = ["Acked", "Batch", "Draft", "Head", "Recorded", "Rejection", "Store"]

#: Bytes of records in one batch: what cannot be compressed at all still fits into 1 MiB.
BATCH_BYTES = 900_000
#: A further time proof of the same boot is kept after this long, or where it is twice as sharp:
#: a proof every 15 s would wear the card for nothing (0.06 s of drift in ten minutes).
ANCHOR_EVERY_NS = 600 * 1_000_000_000
#: Where the chain stands, and the newest time proof of a boot: all that a record must know, in one
#: question, since somebody stands there and waits.
_STAND = """
SELECT e.epoch, e.cites, r.seq, r.head,
       (SELECT id FROM anchors WHERE boot_id = ? ORDER BY boottime_ns DESC LIMIT 1)
FROM (SELECT epoch, cites FROM epochs ORDER BY epoch DESC LIMIT 1) AS e
LEFT JOIN records AS r
  ON r.epoch = e.epoch AND r.seq = (SELECT max(seq) FROM records WHERE epoch = e.epoch)
"""


#: epoch, cites, seq, head, anchor, as `_STAND` answers.
_Stand = tuple[int, bytes, int | None, bytes | None, str | None]


class Store(Database):
    """The kiosk's records; `open`, `transaction` and `close` are `Database`'s."""

    _proofs: timeline.Proofs | None = None
    #: Where the chain stood after the last check-in, as long as nobody wrote since.
    _stood: tuple[object, _Stand] | None = None

    # -- recording --------------------------------------------------------------------------

    def record(self, draft: Draft, reading: Reading) -> Recorded:
        """Records it: durable when this returns.

        Raises StoreUnusable (nothing was recorded as far as anybody may be told) and RecordInvalid
        for a draft that no record can hold. Where a full disk got room it is tried once more.
        """
        try:
            return self._record(draft, reading)
        except StoreUnusable as error:
            if not error.room_made:
                raise
        return self._record(draft, reading)

    def _record(self, draft: Draft, reading: Reading) -> Recorded:
        with self._guard:
            with self.transaction() as db:
                # Asked within the transaction: nobody else writes until its end. A connection sees
                # by the one number what others wrote, by the other what it wrote itself.
                others = db.execute("PRAGMA data_version").fetchone()[0]
                at = (db, others, self._writes, reading.boot_id)
                known = self._stood
                stand = known[1] if known is not None and known[0] == at else None
                cites, made = self._append(db, draft, reading, stand)
            record = made.record
            self._stood = (
                (db, others, self._writes, reading.boot_id),
                (record.epoch, cites, record.seq, made.head, record.anchor),
            )
        return made

    def append(self, db: sqlite3.Connection, draft: Draft, reading: Reading) -> Recorded:
        """Records it within a transaction of the caller's, whose end makes it durable."""
        return self._append(db, draft, reading, None)[1]

    def record_erasure(
        self, official: str, version: int, detail: str, reading: Reading
    ) -> Recorded | None:
        """The receipt that an official's templates are gone, once for each manifest that asks.

        A kiosk that missed the manifests between two withdrawals confirms the second one all the
        same. `detail` is `attendance.receipts.receipt_detail`.
        """
        with self.transaction() as db:
            known = db.execute(
                "SELECT 1 FROM erased WHERE official = ? AND version >= ?", (official, version)
            ).fetchone()
            if known is not None:
                return None
            db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (official, version))
            draft = Draft(kind=Kind.ERASURE, official=official, gallery=version, detail=detail)
            return self.append(db, draft, reading)

    def forget_erasures(self, still_asked: Iterable[str]) -> None:
        """Those no longer asked for may be enrolled, and withdraw, anew."""
        kept = set(still_asked)
        with self._read() as db:
            known = {row[0] for row in db.execute("SELECT official FROM erased")}
        if known - kept:
            with self.transaction() as db:
                gone = [(official,) for official in sorted(known - kept)]
                db.executemany("DELETE FROM erased WHERE official = ?", gone)

    def _append(
        self, db: sqlite3.Connection, draft: Draft, reading: Reading, stand: _Stand | None
    ) -> tuple[bytes, Recorded]:
        """What the epoch cites, and the record. `stand`: None where it must be asked for."""
        epoch, cites, last, before, anchor = (
            stand or db.execute(_STAND, (reading.boot_id,)).fetchone()
        )
        if last is None or before is None:
            last, before = self._begin(db, epoch, cites)
        record = Record(
            device=self.device,
            epoch=epoch,
            seq=last + 1,
            record_id=str(uuid.uuid4()),
            kind=draft.kind,
            official=draft.official,
            status=draft.status,
            reason=draft.reason,
            until_ms=draft.until_ms,
            method=draft.method,
            verified=draft.verified,
            wall_ms=min(max(MIN_MS, reading.wall_ms), MAX_MS),  # no clock turns a check-in away
            boot_id=reading.boot_id,
            boottime_ns=reading.boottime_ns,
            anchor=anchor,
            score=draft.score,
            margin=draft.margin,
            liveness=draft.liveness,
            model=draft.model,
            gallery=draft.gallery,
            supersedes=draft.supersedes,
            detail=draft.detail,
        )
        payload = encode_record(record)
        head = next_head(before, payload)
        place = (record.epoch, record.seq)
        db.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (*place, payload, head))
        db.execute("INSERT INTO outbox VALUES (?, ?)", place)
        return cites, Recorded(record, payload, head)

    # -- chain ------------------------------------------------------------------------------

    def head(self) -> Head:
        """Where the chain stands."""
        with self._read() as db:
            return self._head(db)

    def _head(self, db: sqlite3.Connection) -> Head:
        epoch, cites = db.execute(
            "SELECT epoch, cites FROM epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        last = db.execute(
            "SELECT seq, head FROM records WHERE epoch = ? ORDER BY seq DESC LIMIT 1", (epoch,)
        ).fetchone()
        return Head(epoch, *(last or self._begin(db, epoch, cites)))

    def _begin(self, db: sqlite3.Connection, epoch: int, cites: bytes) -> tuple[int, bytes]:
        """(seq, head) that the rows kept of an epoch follow: those pruned last, or the genesis."""
        row = db.execute("SELECT seq, head FROM pruned WHERE epoch = ?", (epoch,)).fetchone()
        return (0, genesis(self.device, epoch, cites)) if row is None else (row[0], bytes(row[1]))

    def head_at(self, epoch: int, seq: int) -> bytes | None:
        """The head after record `seq` (0: before the first), None where there is no such record.

        Of what was pruned only the last head is still known.
        """
        with self._read() as db:
            row = db.execute("SELECT cites FROM epochs WHERE epoch = ?", (epoch,)).fetchone()
            if row is not None and seq == 0:
                return genesis(self.device, epoch, row[0])
            if row is not None and (begin := self._begin(db, epoch, row[0]))[0] == seq:
                return begin[1]
            row = db.execute(
                "SELECT head FROM records WHERE epoch = ? AND seq = ?", (epoch, seq)
            ).fetchone()
            return None if row is None else bytes(row[0])

    def open_epoch(
        self, cites: bytes, server_epoch: int, server_seq: int, reading: Reading
    ) -> Head:
        """Goes on in a new epoch, whose genesis cites the server's head.

        The server holds records that this card lost (evidence.md, "Server ahead"); the first
        record of the epoch says so. What the outbox still holds of the old epoch stays there.
        Receipts of erasure that went with a history that was set aside may be written anew.
        """
        with self.transaction() as db:
            at = self._head(db)
            epoch = max(at.epoch, server_epoch) + 1
            db.execute("INSERT INTO epochs VALUES (?, ?)", (epoch, cites))
            lost = Draft(
                kind=Kind.FAULT,
                detail=f"the card ended at {at.epoch}/{at.seq}, the server at {server_epoch}/"
                f"{server_seq}: epoch {epoch} continues from the server's head",
            )
            self.append(db, lost, reading)
            for place in db.execute("SELECT payload FROM rejected NATURAL JOIN records").fetchall():
                receipt = decode_record(place[0])
                if receipt.kind is Kind.ERASURE:
                    db.execute(
                        "DELETE FROM erased WHERE official = ? AND version = ?",
                        (receipt.official, receipt.gallery),
                    )
            return self._head(db)

    def verify(self) -> int:
        """Runs the whole chain again; how many records. Raises ChainBroken at the first bad one.

        What was pruned is gone; the chain then starts where the record of its prune point says.
        """
        with self._read() as db:
            for epoch, cites in db.execute("SELECT * FROM epochs ORDER BY epoch").fetchall():
                seq, head = self._begin(db, epoch, cites)
                try:
                    verify_chain(head, self._links(db, epoch), seq + 1)
                except ChainBroken as error:
                    raise ChainBroken(error.seq, f"epoch {epoch}: {error}") from None
            pruned.check(db)
            count = db.execute("SELECT count(*) FROM records").fetchone()[0]
            stray = db.execute(
                "SELECT epoch, seq FROM outbox EXCEPT SELECT epoch, seq FROM records LIMIT 1"
            ).fetchone()
            if stray is not None:
                raise ChainBroken(stray[1], f"epoch {stray[0]}: record {stray[1]} is missing")
        return int(count)

    def _links(self, db: sqlite3.Connection, epoch: int) -> Iterator[tuple[int, bytes, bytes]]:
        rows = db.execute(
            "SELECT seq, CAST(payload AS BLOB), CAST(head AS BLOB) FROM records "
            "WHERE epoch = ? ORDER BY seq",
            (epoch,),
        )
        for seq, payload, head in rows:
            yield seq, payload, head
            # Only reached once the link was found to follow.
            try:
                record = decode_record(payload)
            except RecordInvalid as error:
                raise ChainBroken(seq, f"record {seq} cannot be read: {error}") from None
            if (record.device, record.epoch, record.seq) != (self.device, epoch, seq):
                raise ChainBroken(seq, f"record {seq} belongs elsewhere")

    # -- outbox -----------------------------------------------------------------------------

    def pending(self) -> int:
        """How many records no ack has answered yet."""
        with self._read() as db:
            return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def first_pending(self) -> tuple[int, int] | None:
        """(epoch, seq) of the oldest record that waits for its ack."""
        with self._read() as db:
            row = db.execute("SELECT epoch, seq FROM outbox ORDER BY epoch, seq LIMIT 1").fetchone()
            return None if row is None else (row[0], row[1])

    def oldest_waiting_s(self, now: Reading, now_ms: int) -> int | None:
        """For how many seconds the oldest record has waited for its ack; 0 where none waits.

        `now_ms` is the true time as well as the kiosk knows it. Within one boot the boot clock
        tells; across boots the record's best guess, which a doubtful clock makes doubtful too.
        """
        with self._read() as db:
            # CROSS: else SQLite reads a year's records to find that none of them waits.
            row = db.execute(
                "SELECT payload FROM outbox CROSS JOIN records USING (epoch, seq) "
                "ORDER BY epoch, seq LIMIT 1"
            ).fetchone()
            if row is None:
                return 0
            record = decode_record(row[0])
            if record.boot_id == now.boot_id:
                return max(0, (now.boottime_ns - record.boottime_ns) // 1_000_000_000)
            self._proofs = timeline.proofs(db, self._proofs)
            return max(0, (now_ms - self._proofs.when(record).at_ms) // 1000)

    def batch(self, after_epoch: int, after_seq: int, limit: int = MAX_BATCH) -> Batch | None:
        """Up to `limit` records of one epoch that follow that place; None at the chain's end."""
        with self._read() as db:
            start = db.execute(
                "SELECT epoch, seq FROM records WHERE (epoch, seq) > (?, ?) "
                "ORDER BY epoch, seq LIMIT 1",
                (after_epoch, after_seq),
            ).fetchone()
            if start is None:
                return None
            epoch, first = start
            rows = db.execute(
                "SELECT payload FROM records WHERE epoch = ? AND seq >= ? ORDER BY seq LIMIT ?",
                (epoch, first, limit),
            )
            payloads: list[bytes] = []
            size = 0
            for (payload,) in rows:
                size += len(payload) + 1
                if payloads and size > BATCH_BYTES:
                    break
                payloads.append(bytes(payload))
            before = self.head_at(epoch, first - 1)
            if before is None:
                raise ChainBroken(first - 1, f"epoch {epoch}: record {first - 1} is missing")
            cites = db.execute("SELECT cites FROM epochs WHERE epoch = ?", (epoch,)).fetchone()[0]
            return Batch(epoch, first, before, payloads, bytes(cites) or None)

    def acknowledge(self, epoch: int, results: Iterable[Result]) -> Acked:
        """Takes answered records out of the outbox; a rejected one goes to the visible pile.

        An ack counts only where it names the record's own id, so that a server that skipped one or
        mixed them up empties nothing; an unknown word leaves the record waiting.
        """
        counts = {"stored": 0, "duplicate": 0, "rejected": 0}
        with self.transaction() as db:
            for result in results:
                row = db.execute(
                    "SELECT payload FROM records NATURAL JOIN outbox WHERE epoch = ? AND seq = ?",
                    (epoch, result.seq),
                ).fetchone()
                if result.result not in counts:
                    continue
                if row is None:  # answered before: nothing waits for this ack
                    counts[result.result] += 1
                    continue
                own_id = decode_record(row[0]).record_id
                nameless = result.result == "rejected" and result.record_id is None
                if result.record_id != own_id and not nameless:
                    continue
                counts[result.result] += 1
                place = (epoch, result.seq)
                db.execute("DELETE FROM outbox WHERE epoch = ? AND seq = ?", place)
                if result.result == "rejected":
                    why = (result.why or "")[:500]
                    db.execute("INSERT OR REPLACE INTO rejected VALUES (?, ?, ?)", (*place, why))
        return Acked(**counts)

    def rejected(self) -> list[Rejection]:
        """The visible pile: what the server could not use, and why."""
        with self._read() as db:
            rows = db.execute(
                "SELECT epoch, seq, why, payload FROM rejected "
                "CROSS JOIN records USING (epoch, seq) ORDER BY epoch, seq"
            ).fetchall()
        return [Rejection(e, s, why, decode_record(payload)) for e, s, why, payload in rows]

    def rejected_count(self) -> int:
        """How many lie on that pile."""
        with self._read() as db:
            return int(db.execute("SELECT count(*) FROM rejected").fetchone()[0])

    # -- time and facts ---------------------------------------------------------------------

    def add_anchor(self, anchor: Anchor) -> bool:
        """Keeps a time proof where it tells more than the last one of its boot; whether it did."""
        with self._read() as db:
            last = db.execute(
                "SELECT boottime_ns, rtt_ns FROM anchors WHERE boot_id = ? "
                "ORDER BY boottime_ns DESC LIMIT 1",
                (anchor.boot_id,),
            ).fetchone()
        if (
            last is not None
            and anchor.boottime_ns - last[0] < ANCHOR_EVERY_NS
            and anchor.rtt_ns * 2 >= last[1]
        ):
            return False
        with self.transaction() as db:
            at = self._head(db)
            db.execute(
                "INSERT INTO anchors VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
                (
                    anchor.id,
                    anchor.server_ms,
                    anchor.boot_id,
                    anchor.boottime_ns,
                    anchor.rtt_ns,
                    at.epoch,
                    at.seq,
                ),
            )
        return True

    def newest_anchor(self, boot_id: str) -> Anchor | None:
        """The last time proof of that boot, which may hold a year's, one every ten minutes."""
        with self._read() as db:
            row = db.execute(
                "SELECT id, server_ms, boot_id, boottime_ns, rtt_ns FROM anchors "
                "WHERE boot_id = ? ORDER BY boottime_ns DESC LIMIT 1",
                (boot_id,),
            ).fetchone()
        return None if row is None else Anchor(*row)

    def facts(self, since_ms: int, until_ms: int) -> list[Fact]:
        """What the kiosk's own records say of people between two true times, oldest first.

        Unix milliseconds, `until_ms` not before now; a record counts by the best guess of its time
        from this kiosk's proofs.
        """
        with self._read() as db:
            self._proofs = timeline.proofs(db, self._proofs)
            return timeline.facts(db, since_ms, until_ms, self._proofs)

    def last_of(self, official: str) -> Record | None:
        """The newest record about that official among the last few thousand."""
        with self._read() as db:
            for record in timeline.newest(db):
                if record.official == official and record.concerns_person:
                    return record
        return None

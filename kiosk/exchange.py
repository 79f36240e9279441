"""One sync exchange with the township's server (docs/wire.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import requests

from attendance import wire
from attendance.clock import WALL_TOLERANCE_MS, Anchor
from attendance.days import MAX_MS, MIN_MS
from attendance.errors import ChainBroken, WireInvalid
from attendance.signing import DeviceKeys
from attendance.wire import CursorReply, Health, Snapshot
from kiosk.clock import Clock
from kiosk.config import KioskConfig
from kiosk.drafts import Acked, Batch
from kiosk.errors import GalleryRefused, KioskError, ServerRefused, ServerUnreachable
from kiosk.link import Gap, Link
from kiosk.portraits import Portraits
from kiosk.proposals import sender
from kiosk.store import Store
from kiosk.vault import Vault, gallery_taken, settle_erasures

#: An exchange with nothing new writes the card at most this often.
NOTE_EVERY_MS = 60_000
_MOST_GAPS = 3
#: Records at a time on the way back to where two histories part: any so many fit into one batch.
_BACK = 200

T = TypeVar("T")


@dataclass(frozen=True)
class SyncReport:
    """What an exchange did.

    `heard_ms` is the kiosk's wall clock when the server last answered; `wall_off_ms` how far that
    wall clock was ahead of the server's time (negative: behind); `gallery_version` what is in
    force now, `gallery_fault` why a newer one was not taken; `desk_changed` that the server now
    names another desk key than the pinned one, which is not taken.
    """

    sent: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    pending: int = 0
    gallery_installed: bool = False
    gallery_version: int = 0
    gallery_fault: KioskError | None = None
    snapshot: Snapshot | None = None
    heard_ms: int = 0
    wall_off_ms: int = 0
    desk_changed: bool = False


class SyncClient:
    """One kiosk's exchanges with its server. One thread at a time; other processes may sync too.

    `clock` stamps what the kiosk writes; `save` keeps a configuration that learned the desk's key,
    `load` reads the one kept, since a command may have taken another desk meanwhile; `health` is
    asked before each cursor; `portraits` follow the board where there are any.
    """

    def __init__(
        self,
        config: KioskConfig,
        keys: DeviceKeys,
        store: Store,
        vault: Vault,
        clock: Clock,
        session: requests.Session | None = None,
        *,
        save: Callable[[KioskConfig], None] | None = None,
        health: Callable[[], Health | None] | None = None,
        portraits: Portraits | None = None,
        load: Callable[[], KioskConfig] | None = None,
    ) -> None:
        self._portraits = portraits
        self._config = config
        self._keys = keys
        self._store = store
        self._vault = vault
        self._clock = clock
        self._link = Link(config, keys, session, self._repin)
        self._save = save
        self._load = load
        self._health = health
        self._last_anchor: Anchor | None = None
        self._wall_off_ms = 0
        self._handed = (0, 0)
        self._looked_back: tuple[int, int] | None = None

    @property
    def config(self) -> KioskConfig:
        """The configuration, with a desk key that was learned meanwhile."""
        return self._config

    def close(self) -> None:
        """Lets connections go."""
        self._link.close()

    def exchange(self) -> SyncReport:
        """One whole exchange.

        Raises ServerUnreachable, ServerRefused (its `word` says why) and StoreUnusable; what was
        acknowledged until then stays acknowledged.
        """
        before = self._link.answers
        try:
            return self._exchange()
        except ServerUnreachable as error:
            error.heard = self._link.answers > before
            raise

    def ask_desk(self) -> str | None:
        """The desk's key that the server names, None where there is no desk. Raises as `exchange`.

        Nothing is to be concluded from it: a person vouches for a key (`kiosk.desks`).
        """
        return self._ask_cursor().desk_key

    def _exchange(self) -> SyncReport:
        self._settle_erasures()
        cursor = self._ask_cursor()
        desk_changed = self._learn_desk(cursor)
        try:
            cursor, sent, acked = self._records_up(cursor)
        except (ServerRefused, ServerUnreachable, ChainBroken):
            self._erase_all_the_same(cursor)
            raise
        gallery_installed, fault = self._fetch_gallery(cursor.gallery)
        if gallery_installed and self._settle_erasures():
            more, receipts = self._send(cursor)
            sent += more
            acked = Acked(*(a + b for a, b in zip(acked, receipts, strict=True)))
        if sent:
            self._ask_cursor()  # tells the server that this site's records are complete until now
        snapshot = self._fetch_snapshot(cursor.anchor.server_ms)
        heard = self._clock.read().wall_ms
        self._note(heard, snapshot)
        if self._portraits is not None:
            self._portraits.follow(snapshot.rows, self._fetch_portrait)
        self._vault.pile.send(sender(self._link.ask), self._clock.read())
        return SyncReport(
            sent,
            *acked,
            pending=self._store.pending(),
            gallery_installed=gallery_installed,
            gallery_version=self._vault.version,
            gallery_fault=fault,
            snapshot=snapshot,
            heard_ms=heard,
            wall_off_ms=self._wall_off_ms,
            desk_changed=desk_changed,
        )

    # -- steps ------------------------------------------------------------------------------

    def _records_up(self, cursor: CursorReply) -> tuple[CursorReply, int, Acked]:
        """Sends what the server lacks; the cursor after which, how many, and their acks."""
        if cursor.state in ("fork", "revoked"):
            self._hand_over(cursor)
            raise _set_apart(cursor.state)
        self._looked_back = None
        if cursor.state == "ahead":
            # It vouched for our head, so what waits for an ack is there already, byte for byte.
            self._send(cursor)
            self._open_epoch(cursor)
            self._settle_erasures()
            cursor = self._ask_cursor()
        return cursor, *self._send(cursor)

    def _erase_all_the_same(self, cursor: CursorReply) -> None:
        """Takes a newer gallery although the records do not go up: who withdrew is not to wait
        until somebody settles that, or the server has room for them. The receipt is written now
        and goes later."""
        with contextlib.suppress(ServerRefused, ServerUnreachable):  # the first fault is told
            if self._fetch_gallery(cursor.gallery)[0]:
                self._settle_erasures()

    def _settle_erasures(self) -> bool:
        return bool(settle_erasures(self._vault, self._store, self._keys, self._clock.read()))

    def _ask_cursor(self) -> CursorReply:
        head = self._store.head()
        now = self._clock.read()
        last = self._last_anchor or self._store.newest_anchor(now.boot_id)
        request = wire.CursorRequest(
            epoch=head.epoch,
            seq=head.seq,
            head=head.head.hex(),
            boot_id=now.boot_id,
            boottime_ns=now.boottime_ns,
            wall_ms=min(max(MIN_MS, now.wall_ms), MAX_MS),
            pending=self._store.pending(),
            # So that a desk that was put back to a backup counts on from there.
            gallery=max(self._vault.version, gallery_taken(self._store)),
            anchor=last.id if last else None,
            rtt_ns=last.rtt_ns if last else None,
            health=self._health() if self._health else None,
        )
        answer = self._link.ask("POST", wire.CURSOR, wire.encode(request))
        rtt_ns = self._clock.read().boottime_ns - now.boottime_ns
        reply = _decoded(answer.body, CursorReply)
        offer = reply.anchor
        self._wall_off_ms = now.wall_ms - offer.server_ms
        if (offer.boot_id, offer.boottime_ns) == (now.boot_id, now.boottime_ns):
            self._last_anchor = Anchor(
                offer.id, offer.server_ms, offer.boot_id, offer.boottime_ns, rtt_ns
            )
            self._store.add_anchor(self._last_anchor)
        return reply

    def _repin(self, digest: str) -> None:
        """Keeps the fingerprint of a renewed certificate."""
        self._read_desk()
        self._learned(msgspec.structs.replace(self._config, pin=digest))

    def _learned(self, config: KioskConfig) -> None:
        if self._save:
            self._save(config)
        self._config = config

    def _learn_desk(self, cursor: CursorReply) -> bool:
        """Pins the desk's key at first use; True where another one was offered later."""
        if cursor.desk_key is None or cursor.desk_key == self._config.desk_key:
            return False
        self._read_desk()
        if cursor.desk_key == self._config.desk_key:
            return False
        if self._config.desk_key is not None:
            return True
        learned = msgspec.structs.replace(self._config, desk_key=cursor.desk_key)
        _ = learned.desk_public
        self._learned(learned)
        return False

    def _read_desk(self) -> None:
        with contextlib.suppress(KioskError):
            kept = self._load().desk_key if self._load else self._config.desk_key
            self._config = msgspec.structs.replace(self._config, desk_key=kept)

    def _open_epoch(self, cursor: CursorReply) -> None:
        self._store.open_epoch(
            wire.parse_head(cursor.head), cursor.epoch, cursor.seq, self._clock.read()
        )

    def _send(self, cursor: CursorReply) -> tuple[int, Acked]:
        """Sends from the cursor on, and again whatever still waits for an ack that was lost."""
        place = (cursor.epoch, cursor.seq)
        waiting = self._store.first_pending()
        if waiting is not None and waiting <= place:
            place = (waiting[0], waiting[1] - 1)
        sent, gaps, limit = 0, 0, wire.MAX_BATCH
        total = Acked(0, 0, 0)
        while (batch := self._store.batch(*place, limit)) is not None:
            try:
                target = f"{wire.RECORDS}?{wire.BRIEF}"
                answer = self._link.ask("POST", target, self._sealed(batch))
            except Gap as gap:
                gaps += 1
                if gaps > 1 and gap.wanted < batch.first:
                    raise _removed(gap.wanted, batch.first) from None
                if gaps > _MOST_GAPS or gap.wanted > batch.first:
                    raise
                place = (batch.epoch, gap.wanted - 1)
                continue
            except ServerRefused as error:
                if error.word != "too_large" or len(batch.payloads) == 1:
                    raise
                limit = len(batch.payloads) // 2
                continue
            reply = _decoded(answer.body, wire.BatchReply)
            last = batch.first + len(batch.payloads) - 1
            own = self._store.head_at(reply.epoch, reply.seq)
            told = wire.spelled(reply, own, dict(enumerate(batch.payloads, batch.first)))
            ours = [r for r in told if batch.first <= r.seq <= last]
            acked = self._store.acknowledge(batch.epoch, ours)
            sent += len(batch.payloads)
            total = Acked(*(a + b for a, b in zip(total, acked, strict=True)))
            if not sum(acked):
                raise ServerRefused(
                    "malformed",
                    "服务器没有确认任何记录，记录留在本机。",
                    "the server acknowledged none of the records: they stay here",
                )
            place = (batch.epoch, last)
        return sent, total

    def _hand_over(self, cursor: CursorReply) -> None:
        """Everything that waits, for the review: kept apart by the server, acknowledged by none.

        And of a fork what was acknowledged before, back to where the histories part: a past that
        was written anew waits for nothing, and the server saw only that the last head differs.
        """
        waiting = self._store.first_pending()
        if waiting is not None:
            self._hand_over_from(max(self._handed, (waiting[0], waiting[1] - 1)), cursor)
        if cursor.state == "fork":
            head = self._store.head()
            self._look_back(waiting or (head.epoch, head.seq + 1), cursor)

    def _hand_over_from(self, place: tuple[int, int], cursor: CursorReply) -> None:
        while (batch := self._store.batch(*place)) is not None:
            try:
                self._link.ask("POST", wire.RECORDS, self._sealed(batch))
            except ServerRefused as error:
                if error.word != cursor.state:
                    raise
            place = (batch.epoch, batch.first + len(batch.payloads) - 1)
            self._handed = place

    def _look_back(self, start: tuple[int, int], cursor: CursorReply) -> None:
        """Sends what lies before `start`, the newest first, until the server knows all of it."""
        epoch, seq = self._looked_back or start
        while seq > 1:
            before = max(seq - 1 - _BACK, 0)
            batch = self._store.batch(epoch, before, seq - 1 - before)
            if batch is None or batch.epoch != epoch or batch.first >= seq:
                break
            try:
                self._link.ask("POST", wire.RECORDS, self._sealed(batch))
                seq = 1
            except ServerRefused as error:
                if error.word != cursor.state:
                    raise
                seq = batch.first
            self._looked_back = (epoch, seq)

    def _sealed(self, batch: Batch) -> bytes:
        return wire.encode_batch(
            self._keys,
            self._config.device,
            batch.epoch,
            batch.first,
            batch.before,
            batch.payloads,
            batch.cites,
        )

    def _fetch_gallery(self, offered: int) -> tuple[bool, KioskError | None]:
        have = self._vault.version
        if offered <= have:
            return False, None
        # Base64 in JSON is a third longer than the seal.
        answer = self._link.ask("GET", f"{wire.GALLERY}?have={have}", limit=wire.MAX_GALLERY * 2)
        if answer.status == 204:
            return False, None
        try:
            package = wire.decode(answer.body, wire.GalleryPackage, wire.MAX_GALLERY * 2)
            now_ms = self._clock.read().wall_ms
            self._vault.install(package, self._config, self._keys, now_ms, self._store)
        except GalleryRefused as error:
            return False, error
        except (WireInvalid, OSError) as error:
            return False, GalleryRefused(f"人脸库未能保存：{error}", f"gallery not kept: {error}")
        return True, None

    def _fetch_snapshot(self, since_ms: int) -> Snapshot:
        """`since_ms` is the server's time when this exchange began: an answer from before it is
        an old one played again, whose signature still fits."""
        answer = self._link.ask("GET", wire.WHEREABOUTS, limit=wire.MAX_UNPACKED)
        snapshot = _decoded(answer.body, Snapshot, wire.MAX_UNPACKED)
        if snapshot.as_of_ms < since_ms - WALL_TOLERANCE_MS:
            raise ServerRefused(
                "stale",
                "服务器给出的去向表是旧的，未采用：请检查服务器时钟和网络。",
                "the whereabouts that the server sent are old ones, which are not taken: check its "
                "clock and the network",
            )
        return snapshot

    def _fetch_portrait(self, token: str) -> bytes:
        return self._link.ask("GET", f"{wire.PORTRAITS}/{token}", limit=wire.MAX_PORTRAIT).body

    def _note(self, heard_ms: int, snapshot: Snapshot) -> None:
        known = last_snapshot(self._store)
        stale = abs(heard_ms - (last_contact(self._store) or 0)) >= NOTE_EVERY_MS
        if stale or known is None or known.rows != snapshot.rows:
            self._store.set_meta(
                snapshot=wire.encode(snapshot).decode(), last_contact_ms=str(heard_ms)
            )


def last_snapshot(store: Store) -> Snapshot | None:
    """The server's last snapshot, kept through restarts."""
    text = store.meta("snapshot")
    try:
        return wire.decode(text.encode(), Snapshot, wire.MAX_UNPACKED) if text else None
    except WireInvalid:
        return None  # of a release that said it otherwise: the next exchange brings another


def last_contact(store: Store) -> int | None:
    """The kiosk's wall clock when the server last answered, Unix milliseconds, to the minute."""
    heard = store.number("last_contact_ms")
    return heard if heard is not None and MIN_MS <= heard <= MAX_MS else None


def _removed(wanted: int, first: int) -> ServerRefused:
    """The server was restored from a backup older than what this kiosk still keeps."""
    return ServerRefused(
        "gap",
        f"服务器要第 {wanted} 条起的记录，本机只保留第 {first} 条起（更早的已确认后清除）："
        "登记照常，记录都在本机；请在服务器上恢复较新的备份。",
        f"the server wants records from number {wanted} on, this kiosk keeps those from {first} on "
        "(older ones went after the server had confirmed them): recording goes on and all is kept "
        "here; restore a newer backup on the server",
    )


def _set_apart(state: str) -> ServerRefused:
    if state == "revoked":
        return ServerRefused(
            "revoked",
            "本终端已被停用：登记照常，记录已送交审核，请联系管理员。",
            "this kiosk was revoked: recording goes on, its records await a review; call the "
            "administrator",
        )
    return ServerRefused(
        "fork",
        "本终端的记录与服务器上的不一致：登记照常，记录已送交审核，请联系管理员。",
        "the server holds other records under the same numbers: recording goes on, they await a "
        "review; call the administrator",
    )


def _decoded(body: bytes, kind: type[T], limit: int = wire.MAX_JSON) -> T:
    try:
        return wire.decode(body, kind, limit)
    except WireInvalid as error:
        raise ServerRefused(
            "malformed",
            "看不懂服务器的回答：请把终端和服务器升级到同一版本。",
            f"the server's answer is not understood; bring both to one version: {error}",
        ) from error
